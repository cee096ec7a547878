"""Flips in groups on the screen: from the decision to a group, its tag, its undo and its eval set."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from store import database
from store.read import failures
from tests.engine.runs import carry_out, queue, recorded_plan
from tests.engine.test_flips import RIGHT, WRONG, examples
from tests.tui.conftest import Settled
from tests.tui.driver import Driver, opened
from tests.tui.history import NOW
from tui.app.app import AssayApp
from tui.app.settings import AppSettings
from tui.screens.decision import DecisionScreen
from tui.screens.review.aside import FlipGroupsScreen
from tui.screens.review.screen import ReviewScreen


@pytest.fixture(scope="module")
def flipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in which twelve examples turned wrong, nine of them on a tracking number, and three right."""
    folder = tmp_path_factory.mktemp("flips")
    rows = [
        row | {"query": row["query"] + (" \x1b[2J[red]" if row["id"] == "r00" else "")} for row in examples()
    ]
    before = {row["id"]: WRONG if row["id"] in ("o01", "o02", "o03") else RIGHT for row in rows}
    lost = {f"r{place:02}" for place in range(11)} | {"o10"}
    after = {row["id"]: WRONG if row["id"] in lost else RIGHT for row in rows}
    plan = recorded_plan(folder, rows, {"before": before, "after": after}, '[metrics]\nuse = ["exact_match"]')
    carry_out(folder / "store", queue(folder / "store", plan)).set_run(status="finished", started=NOW - 9)
    return folder / "store"


@pytest.fixture
def store(flipped: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(flipped, tmp_path / "store"))


def go_to(ui: Driver, name: str) -> None:
    table = ui.on(FlipGroupsScreen).table
    table.go_to(next(place for place, row in enumerate(table.items) if row.key == name))


async def test_enter_narrows_the_queue_to_a_group_and_esc_widens_it(flipped: Path) -> None:
    async with opened(flipped, "decision", run=1, settings=AppSettings(annotator="ann")) as ui:
        await ui.press("f")
        assert "1/15" in ui.text and "d groups" in ui.lines[-1]
        await ui.press("d")
        assert "− 12 turned wrong  + 3 right · of 60 examples · by exact_match" in ui.text
        row = next(line for line in ui.lines if "tracking number" in line)
        assert "9 of 12" in row and "2.1%" in row
        go_to(ui, "lost words tracking number")
        await ui.settled()
        assert "9 of 12 that turned wrong contain “tracking number” (2.1% of the rest)" in ui.text
        await ui.press("enter")
        assert isinstance(ui.screen, ReviewScreen) and "1/9" in ui.text and "in lost words" in ui.text
        await ui.press("escape")
        assert "/15" in ui.text
        await ui.press("d", "j", "enter")
        assert "1/3" in ui.text and "in gained" in ui.text
        await ui.press("escape", "escape")
        assert isinstance(ui.screen, DecisionScreen)


async def test_a_tag_goes_on_all_answers_of_the_group_and_one_undo_takes_it_off(store: Path) -> None:
    def tagged() -> list[str]:
        return sorted(row.example for row in failures.failures(database.connect(store)))

    async with opened(store, "decision", run=1, size=(120, 36)) as ui:
        await ui.press("f", "d")
        go_to(ui, "lost words tracking number")
        await ui.press("f", *"late", "enter")
        assert "tagged 9 answers late" in ui.text
        assert tagged() == [f"r{place:02}" for place in range(9)]
        go_to(ui, "lost slice category: refund")
        await ui.press("f", "l")
        assert "tagged 2 answers late; 9 had it already" in ui.text
        await ui.press("escape", "u")
        assert "undone: 2 answers: tag late" in ui.text and len(tagged()) == 9
        await ui.press("u")
        assert "undone: 9 answers" in ui.text and tagged() == []


async def test_a_group_becomes_an_eval_set(store: Path) -> None:
    async with opened(store, "decision", run=1, size=(120, 36)) as ui:
        await ui.press("f", "d")
        go_to(ui, "lost slice category: refund")
        await ui.press("e", "enter")
        await ui.shows("11 records in flips-lost-slice-category-refund-run-1.jsonl", "in a plan: [data]")
    (file,) = (store / "exports").iterdir()
    assert [json.loads(line)["id"] for line in file.read_text().splitlines()][-1] == "r10"


async def test_what_hides_or_has_no_flips_says_so(flipped: Path, store_folder: Path) -> None:
    async with opened(flipped, "review", run=1, settings=AppSettings(blind=True, read_only=True)) as ui:
        await ui.press("d")
        assert isinstance(ui.screen, ReviewScreen) and "while blind" in ui.text
        await ui.press("B", "d", "e")
        assert "nothing is written" in ui.text
    async with opened(store_folder, "review", run=2) as ui:
        await ui.press("right_square_bracket", "right_square_bracket", "d")
        assert isinstance(ui.screen, FlipGroupsScreen) and "no example flipped" in ui.text


@pytest.mark.parametrize("size", [(80, 24), (120, 36)])
def test_groups_of_flips_look(
    snap_compare: Any, flipped: Path, settled: Settled, size: tuple[int, int]
) -> None:
    async def groups(pilot: Any) -> None:
        await settled(pilot)
        await pilot.press("f")
        await settled(pilot)
        await pilot.press("d", "j", "j", "j")
        await settled(pilot)

    app = AssayApp(flipped, run=1, screen="decision", now=lambda: NOW)
    assert snap_compare(app, terminal_size=size, run_before=groups)
