import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.tui.conftest import Settled
from tests.tui.driver import opened, text_of
from tests.tui.history import HOUR, NOW, build
from tui.app.app import AssayApp
from tui.screens.compare.screen import CompareScreen
from tui.screens.trends import TrendsScreen
from tui.widgets.plot import Spot, plot

COPIES = 11


@pytest.fixture(scope="module")
def long_history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve runs of which rougeL falls step by step, the last four on another eval set; one has no value."""
    folder = build(tmp_path_factory.mktemp("trends") / "store")
    connection = sqlite3.connect(folder / "assay.db")
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute("DELETE FROM run WHERE id > 1")
    (good,) = connection.execute("SELECT id FROM model WHERE run_id = 1 AND role = 'candidate'").fetchone()
    (highest,) = connection.execute("SELECT max(id) FROM model").fetchone()
    for step in range(1, COPIES + 1):
        copied(connection, "run", "id = 1", id=1 + step, created=NOW - (COPIES - step) * HOUR)
        copied(connection, "metric", "run_id = 1", run_id=1 + step)
        copied(connection, "model", f"id = {good}", id=highest + step, run_id=1 + step)
        copied(connection, "modelscore", f"model_id = {good}", model_id=highest + step)
        connection.execute(
            "UPDATE modelscore SET value = ?1, low = ?1 - 0.04, high = ?1 + 0.04 "
            "WHERE model_id = ?2 AND measure = 'rougeL'",
            (0.9 - 0.03 * step, highest + step),
        )
    connection.execute("UPDATE run SET eval_set = 'newer' WHERE id > 8")
    connection.execute(
        "UPDATE modelscore SET value = NULL, low = NULL, high = NULL, reason = 'no references' "
        "WHERE measure = 'rougeL' AND model_id = ?",
        (highest + 4,),
    )
    connection.commit()
    connection.close()
    return folder


def copied(connection: sqlite3.Connection, table: str, where: str, **changed: object) -> None:
    names = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
    values = ", ".join("?" if name in changed else f'"{name}"' for name in names)
    ordered = [changed[name] for name in names if name in changed]
    connection.execute(f"INSERT INTO {table} SELECT {values} FROM {table} WHERE {where}", ordered)


@pytest.mark.parametrize("size", [(80, 24), (120, 36)])
def test_trends_look(snap_compare: Any, long_history: Path, settled: Settled, size: tuple[int, int]) -> None:
    app = AssayApp(long_history, run=12, screen="trends", now=lambda: NOW)

    async def rouge(pilot: Any) -> None:
        await settled(pilot)
        await pilot.press("slash", *"rougel", "enter")
        await settled(pilot)

    assert snap_compare(app, terminal_size=size, run_before=rouge)


async def test_n_and_p_go_through_the_measures_and_enter_opens_the_run(long_history: Path) -> None:
    async with opened(long_history, run=None, size=(100, 30)) as ui:
        await ui.press("T")
        first = measure_of(ui.app)
        await ui.press("n")
        assert measure_of(ui.app) != first
        await ui.press("p")
        assert measure_of(ui.app) == first
        await ui.press("j", "j", "enter")
        assert isinstance(ui.screen, CompareScreen) and ui.screen.run_id == 10
        await ui.press("escape")
        assert isinstance(ui.screen, TrendsScreen)


async def test_a_gap_and_a_missing_value_say_why(long_history: Path) -> None:
    async with opened(long_history, "trends", run=9, size=(100, 30)) as ui:
        await ui.press("slash", *"rougel", "enter")
        assert "not joined to the run before it: the eval set differs" in ui.text
        assert "┊" in ui.text
        await ui.press(*"jjjj")
        assert "no value: no references" in ui.text


async def test_words_narrow_the_runs_and_esc_takes_them_back(long_history: Path) -> None:
    async with opened(long_history, "trends", run=12, size=(100, 30)) as ui:
        await ui.press("slash", *"rougel eval:newer", "enter")
        assert "4 runs" in ui.text and "rougeL" in ui.text
        await ui.press("slash", *" zzz", "enter")
        assert "no measure has these words" in ui.text
        await ui.press("escape")
        assert "12 runs" in ui.text


def measure_of(app: AssayApp) -> str:
    found = re.search(r"measure (\d+) of", text_of(app))
    assert found is not None
    return found[1]


def drawn(spots: list[Spot], **settings: Any) -> list[str]:
    return [line.plain for line in plot(spots, 40, 12, **settings)]


def spot(value: float | None, *, joined: bool = True, half: float = 0.0) -> Spot:
    ends = (None, None) if value is None or not half else (value - half, value + half)
    return Spot(value, *ends, joined=joined, name="#1")


def test_every_line_of_a_plot_keeps_to_its_width() -> None:
    for count in (2, 7, 60, 500):
        spots = [spot(place % 5 / 5, joined=place > 0, half=0.1) for place in range(count)]
        lines = drawn(spots)
        assert len(lines) == 12
        assert max(map(len, lines)) <= 40


def test_values_that_do_not_compare_have_a_gap_instead_of_a_line() -> None:
    joined = drawn([spot(0.0, joined=False), spot(1.0)])
    apart = drawn([spot(0.0, joined=False), spot(1.0, joined=False)])
    braille = re.compile("[\u2801-\u28ff]")
    assert any(map(braille.search, joined)) and not any("┊" in line for line in joined)
    assert not any(map(braille.search, apart)) and all("┊" in line for line in apart[:10])
    assert sum(line.count("●") for line in apart) == 2


def test_a_missing_value_is_marked_on_the_axis_and_breaks_the_line() -> None:
    lines = drawn([spot(0.5, joined=False), spot(None), spot(0.5)])
    assert lines[-2].count("×") == 1
    assert sum(line.count("●") for line in lines) == 2


def test_equal_values_can_be_drawn() -> None:
    assert "1.000" in "".join(drawn([spot(1.0, joined=False), spot(1.0)])) or drawn([spot(1.0), spot(1.0)])


def test_a_chart_of_one_value_says_what_it_needs_instead() -> None:
    assert drawn([spot(0.5)]) == ["a chart needs 2 runs with a value"]
    assert drawn([spot(0.5), spot(None)]) == ["a chart needs 2 runs with a value; 2 ru…"]
    assert (
        plot([spot(None)], 80, 9)[0].plain == "a chart needs 2 runs with a value; 1 run here, none with one"
    )


def test_an_ascii_plot_is_ascii() -> None:
    spots = [spot(0.2, joined=False, half=0.1), spot(None), spot(0.7, half=0.1), spot(0.4, joined=False)]
    text = "\n".join(drawn(spots, ascii=True, chosen=2))
    assert text.isascii() and {"o", "@", "!", "x"} <= set(text)


def test_marks_of_the_axis_tell_near_values_apart() -> None:
    near = Spot(0.9996, 0.9989, 1.0, joined=True, name="#1")
    marks = [line.split()[0] for line in drawn([near, near]) if line.strip()[:1].isdigit()]
    assert len(set(marks)) == len(marks) == 3
