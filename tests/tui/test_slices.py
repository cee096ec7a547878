"""The Slices screen: the worse ones first, of one measure or of all, with a way into Review."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from engine.data.leak import is_counted
from store import database
from store.read import evidence, history
from tests.tui.driver import opened
from tests.tui.history import EVAL_SET, NOW
from tests.tui.leaky import set_summary, summary
from tui.app.app import AssayApp
from tui.screens.compare.screen import CompareScreen
from tui.screens.compare.slices import SlicesScreen
from tui.screens.review.data import slices
from tui.screens.review.screen import ReviewScreen

Settled = Callable[[Pilot[int]], Awaitable[None]]


async def test_slices_show_the_worse_ones_first_and_open_in_review(store_folder: Path) -> None:
    async with opened(store_folder, "compare") as ui:
        await ui.press("slash", *"rougeL", "enter", "G", "s")
        assert isinstance(ui.screen, SlicesScreen)
        lines = ui.body
        assert "rougeL" in lines[0] and "− 2 worse" in lines[0]
        assert "category: shipping" in lines[2] and "−0.310" in lines[2] and "− worse" in lines[2]
        assert "0.004" in lines[2] and "−0.410..−0.210" in lines[2]
        assert "exact_match" not in ui.text
        await ui.tap("a")
        assert "exact_match" in ui.text and "all measures" in ui.text
        await ui.tap("slash", *"billing", "enter")
        assert "shipping" not in ui.text
        await ui.press("escape", "g", "enter")
        assert isinstance(ui.screen, ReviewScreen) and "shipping" in ui.text
        await ui.press("escape")
        assert isinstance(ui.screen, SlicesScreen)
        await ui.press("escape")
        assert isinstance(ui.screen, CompareScreen)


async def test_a_run_without_slices_says_what_they_need(store_folder: Path) -> None:
    async with opened(store_folder, "compare", run=1) as ui:
        await ui.press("s")
        assert "no slices were computed" in ui.text


@pytest.mark.parametrize("size", [(80, 24), (120, 36)])
def test_how_slices_look(
    store_folder: Path, settled: Settled, snap_compare: Any, size: tuple[int, int]
) -> None:
    async def before(pilot: Pilot[int]) -> None:
        await settled(pilot)
        await pilot.press("s")
        await settled(pilot)

    app = AssayApp(store_folder, run=2, screen="compare", now=lambda: NOW)
    assert snap_compare(app, terminal_size=size, run_before=before)


def test_the_examples_of_a_slice_are_those_that_the_run_compared_it_on(leaky: Path) -> None:
    connection = history.attach(database.connect(leaky))
    set_summary(connection, summary(connection) | {"similar_ids": ["t-007", "t-008"]})
    counted = {row.example for row in history.leaks(connection, 2) if is_counted(row.tier, row.field)}
    connection.execute(
        "UPDATE leak SET field = 'reference', tier = 'near' WHERE example_id = "
        "(SELECT id FROM example WHERE eval_set = ? AND example = ?)",
        (EVAL_SET, min(counted)),
    )
    names = {row.id: row.example for row in evidence.run_examples(connection, 2)}
    found = {name: {names[one] for one in own} for name, own in slices(connection, 2).items()}
    assert found["leaked"] == counted - {min(counted)}, "an answer alone is no leaked example"
    assert found["not leaked"] == set(names.values()) - found["leaked"]
    assert found["similar to training"] == {"t-007", "t-008"}
    assert found["unlike training"] == set(names.values()) - found["leaked"] - {"t-007", "t-008"}
    assert found["category: shipping"] == {"t-003", "t-004", "t-009"}
