"""Monitor: small plots of production traffic, the alerts on them, and the way to a week's answers."""

import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from textual.content import Content
from textual.pilot import Pilot

from engine.data.examples import read_examples
from engine.traffic.watch import watch
from samples.make_traffic import FOLDER
from store.read import weeks
from store.session import opened as opened_store
from tests.traffic.played import WEEK_1, WEEK_S, play
from tests.tui.driver import Driver, driven, opened
from tests.tui.history import NOW
from tests.tui.test_hostile import CORPUS, RAW
from tests.tui.test_imports import HEAVY
from tui.app.app import AssayApp
from tui.app.settings import AppSettings
from tui.screens.monitor import MonitorScreen
from tui.screens.proposals import ProposalsScreen
from tui.screens.review.screen import ReviewScreen
from tui.sections.monitor import MonitorSection, monitor
from tui.widgets.panels import Panels
from tui.widgets.plot import Spot, small

Settled = Callable[[Pilot[int]], Awaitable[None]]
SIZES = [(80, 24), (160, 48)]
END = WEEK_1 + 8 * WEEK_S


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, MonitorSection]:
    """Eight weeks of one variant, four of another, and what watching them tells."""
    store = play(tmp_path_factory.mktemp("monitor") / "store", variant="a")
    play(store, weeks=range(1, 5), variant="b")
    examples = read_examples(FOLDER / "eval" / "product.jsonl")
    with opened_store(store) as connection:
        return store, monitor(watch(connection, evaluation=("product.jsonl", examples), now=END))


def watching(store: Path, section: MonitorSection, **more: Any) -> AssayApp:
    """The app on Monitor, to which the figures of this state of the store are known already."""
    app = AssayApp(store, run=None, screen="monitor", **{"now": lambda: NOW, **more})
    with opened_store(store) as connection:
        app.kept["monitor 7 "] = weeks.traffic_state(connection), section
    return app


@pytest.fixture
def own(played: tuple[Path, MonitorSection], tmp_path: Path) -> AssayApp:
    """On a copy, for a test that writes."""
    store, section = played
    return watching(Path(shutil.copytree(store, tmp_path / "store")), section)


async def to(ui: Driver, measure: str) -> None:
    """Goes to a measure's plot."""
    for _ in range(20):
        if f"›{measure}" in ui.text:
            return
        await ui.tap("j")
        await ui.settled()
    raise AssertionError(f"no plot of {measure}:\n{ui.text}")


def flat(ui: Driver) -> str:
    """All text in one line, wherever it was broken."""
    return " ".join(ui.text.split())


# Small plots


def spot(value: float | None, low: float | None = None, high: float | None = None, **more: Any) -> Spot:
    return Spot(value, low, high, **{"joined": True, "name": "", **more})


def texts(lines: list[Content]) -> list[str]:
    return [line.plain for line in lines]


@pytest.mark.parametrize("rows", [1, 3, 6])
@pytest.mark.parametrize("width", [12, 36, 90])
def test_a_small_plot_keeps_to_its_size(width: int, rows: int) -> None:
    spots = [spot(0.5, 0.4, 0.6), spot(None), spot(0.9, 0.8, 1.0, marked=True)]
    for ascii in (False, True):
        drawn = texts(small(spots, width, rows, (0.4, 1.0), level=0.7, chosen=1, ascii=ascii))
        assert len(drawn) == rows and max(map(len, drawn)) <= width
        assert ascii is False or "".join(drawn).isascii()


def test_a_small_plot_marks_alerts_and_what_is_missing() -> None:
    spots = [spot(0.5), spot(None), spot(0.9, marked=True), spot(0.9, marked=True)]
    drawn = texts(small(spots, 40, 4, (0.5, 0.9), chosen=3))
    assert drawn[0].count("!") == 1 and drawn[0].count("◆") == 1 and drawn[-1].count("×") == 1
    assert drawn[0].split("│")[0].strip() == "0.900" and drawn[-1].split("│")[0].strip() == "0.500"
    assert small(spots, 40, 2, ()) == [Content("")] * 2


def test_plots_with_the_same_ends_have_the_same_scale() -> None:
    one, other = (texts(small([spot(value)], 30, 5, (0.0, 1.0))) for value in (0.1, 0.9))
    assert [line.split("│")[0] for line in one] == [line.split("│")[0] for line in other]
    assert "●" in one[4] and "●" in other[0]


# The screen


@pytest.mark.parametrize("size", SIZES, ids=["80x24", "160x48"])
@pytest.mark.parametrize("keys", ["", "b", "hh"], ids=["one", "beside", "earlier"])
def test_monitor_looks(
    size: tuple[int, int],
    keys: str,
    snap_compare: Callable[..., bool],
    played: tuple[Path, MonitorSection],
    settled: Settled,
) -> None:
    async def pressed(pilot: Pilot[int]) -> None:
        await settled(pilot)
        await pilot.press(*keys)
        await settled(pilot)

    assert snap_compare(watching(*played), terminal_size=size, run_before=pressed)


async def test_an_alert_says_its_cause_and_is_acknowledged(own: AssayApp) -> None:
    async with driven(own, (120, 36)) as ui:
        before = len(ui.on(MonitorScreen)._stored.alerts)
        assert f"! {before} open alerts" in ui.head
        await to(ui, "thumbs up")
        assert "week of 2026-02-23" in ui.text
        assert "from 2026-02-02 on, thumbs up lower: 63.2%" in flat(ui), "the week's own figure is another"
        assert "likely cause: another model or version answers: tickets overfit" in flat(ui)
        await ui.press("a")
        assert f"! {before - 1} open alerts" in ui.head and "acknowledged by" in ui.text
        assert "people ask something else than" in flat(ui)
        await ui.press("a", "a")
        assert f"! {before - 2} open alerts" in ui.head and "no open alert at this point" in ui.text
        await ui.press("g")
        assert "week of 2026-01-05" in ui.text and "another model" not in ui.text
    with sqlite3.connect(own.store.folder / "assay.db") as connection:
        found = connection.execute("SELECT measure FROM trafficalert WHERE acknowledged ORDER BY 1")
        assert found.fetchall() == [("questions",), ("thumbs_up",)]
    connection.close()


async def test_variants_one_by_one_and_beside_one_another(own: AssayApp) -> None:
    async with driven(own, (120, 36)) as ui:
        assert "a 1 of 2" in ui.text
        await to(ui, "thumbs up")
        await ui.press("v")
        assert "b 2 of 2" in ui.text and "›thumbs up" in ui.text, "it stays at the measure"
        assert "missing: no events" in ui.text, "the other variant had traffic in four weeks alone"
        await ui.press("b")
        assert "2 variants beside one another" in ui.text
        assert "›b: thumbs up" in ui.text and " a: thumbs up" in ui.text
        await ui.press("k", "b")
        assert "a 1 of 2" in ui.text and "›thumbs up" in ui.text


async def test_what_the_eval_set_has_nothing_of_is_named(own: AssayApp) -> None:
    async with driven(own, (160, 48)) as ui:
        assert "not in the eval set: “" in ui.text and "recall" in ui.text
        await ui.press("p")
        assert isinstance(ui.screen, ProposalsScreen)


async def test_enter_opens_the_weeks_worst_answers_in_review(own: AssayApp) -> None:
    """By the command itself, in a process of its own; the second time the run is there already."""
    store = own.store.folder

    def runs() -> list[tuple[int, str]]:
        with opened_store(store) as connection:
            return list(map(tuple, connection.execute("SELECT id, status FROM run")))

    async with driven(own, (120, 36)) as ui:
        await ui.tap("enter")
        await ui.until(lambda: isinstance(ui.screen, ReviewScreen), "Review")
        review = ui.on(ReviewScreen)
        await ui.until(lambda: runs() == [(review.run_id, "finished")])
        await ui.shows("week of 2026-02-23, wor", "corrections", "1/50")
        await ui.press("escape")
        await ui.until(lambda: "enter worst: run 1, 0 of" in flat(ui))
        await ui.press("enter")
        assert ui.on(ReviewScreen).run_id == review.run_id and len(runs()) == 1


async def test_a_store_opened_for_reading_is_left_as_it_is(played: tuple[Path, MonitorSection]) -> None:
    app = watching(*played, settings=AppSettings(read_only=True))
    async with driven(app) as ui:
        await to(ui, "thumbs up")
        for key in ("a", "enter", "w"):
            await ui.press(key)
            assert isinstance(ui.screen, MonitorScreen) and "--read-only" in ui.text


async def test_without_traffic_it_says_how_to_bring_some(store_folder: Path, tmp_path: Path) -> None:
    for store in (store_folder, tmp_path / "none"):
        async with opened(store, "monitor", run=None) as ui:
            assert "There is no production traffic" in ui.text and "assay traffic import FILE" in ui.text
            await ui.press("j", "l", "enter", "a", "v", "b", "w", "g", "G")
            assert isinstance(ui.screen, MonitorScreen)


async def test_a_click_chooses_a_plot(own: AssayApp) -> None:
    async with driven(own, (120, 36)) as ui:
        panels = ui.screen.query_one(Panels)
        await ui.pilot.click(Panels, offset=(2 + panels.block_width + 4, 1))
        await ui.settled()
        assert ui.on(MonitorScreen)._at == 1


@pytest.mark.parametrize("size", [(30, 8), (60, 15), (80, 24), (240, 70)])
async def test_monitor_fits_any_terminal_whatever_the_texts(
    played: tuple[Path, MonitorSection], tmp_path: Path, size: tuple[int, int]
) -> None:
    store, section = played
    names = {"a": CORPUS[0] + CORPUS[2], "b": CORPUS[1] + CORPUS[5]}

    def renamed(row: Any) -> Any:
        return replace(row, variant=names[row.variant], models={text[:300]: 7 for text in CORPUS})

    told = section.watch
    hostile = replace(
        told,
        rows=[renamed(row) for row in told.rows],
        references={names[name]: renamed(row) for name, row in told.references.items()},
        alerts=[replace(alert, variant=names[alert.variant], by=CORPUS[3]) for alert in told.alerts],
        uncovered=[replace(cluster, name=CORPUS[3] + CORPUS[5]) for cluster in told.uncovered],
        eval_set=CORPUS[3],
    )
    own = Path(shutil.copytree(store, tmp_path / "store"))
    with opened_store(own) as connection:
        for name, text in names.items():
            connection.execute("UPDATE trafficalert SET variant = ? WHERE variant = ?", (text, name))
    async with driven(watching(own, monitor(hostile)), size) as ui:
        for key in ("j", "h", "v", "b", "j", "g"):
            await ui.press(key)
            assert len(ui.lines) == size[1] and not RAW.search(ui.text.replace("\n", "")), key


VISIT = """
import asyncio, json, sys
from pathlib import Path
from tui.app.app import AssayApp

async def visit(folder):
    app = AssayApp(Path(folder), screen="monitor")
    async with app.run_test(size=(120, 36)) as pilot:
        await pilot.pause()
        while not app.screen._plots:
            await app.workers.wait_for_complete()
            await pilot.pause(0.05)
        await pilot.press("j", "h", "v", "b", "b")
        await pilot.pause()
        measures = [plot.line.measure.name for plot in app.screen._plots]
    print(json.dumps([measures, sorted({name.partition(".")[0] for name in sys.modules})]))

asyncio.run(visit(sys.argv[1]))
"""


def test_the_figures_come_from_the_command_and_no_heavy_library_is_loaded(tmp_path: Path) -> None:
    store = play(tmp_path / "store", weeks=(1, 5))
    done = subprocess.run(
        [sys.executable, "-c", VISIT, str(store)], capture_output=True, text=True, check=True
    )
    measures, loaded = json.loads(done.stdout.splitlines()[-1])
    assert {"events", "thumbs_up", "corrected"} <= set(measures) and "rating" not in measures
    assert "textual" in loaded and set(loaded) & HEAVY == set()
