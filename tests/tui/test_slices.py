"""The Slices screen: the worse ones first, of one measure or of all, with a way into Review."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from tests.tui.driver import opened
from tests.tui.history import NOW
from tui.app.app import AssayApp
from tui.screens.compare.screen import CompareScreen
from tui.screens.review.screen import ReviewScreen
from tui.screens.slices import SlicesScreen

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
