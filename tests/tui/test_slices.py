"""The Slices screen: the worse ones first, of one measure or of all, with a way into Review."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from tests.tui.history import NOW
from tests.tui.test_compare import text_of
from tui.app.app import AssayApp
from tui.screens.compare.screen import CompareScreen
from tui.screens.review.screen import ReviewScreen
from tui.screens.slices import SlicesScreen

Settled = Callable[[Pilot[int]], Awaitable[None]]


async def test_slices_show_the_worse_ones_first_and_open_in_review(
    store_folder: Path, settled: Settled
) -> None:
    app = AssayApp(store_folder, run=2, screen="compare", now=lambda: NOW)
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await pilot.press("slash", *"rougeL", "enter", "G", "s")
        await settled(pilot)
        assert isinstance(app.screen, SlicesScreen)
        lines = text_of(app).splitlines()
        assert "rougeL" in lines[1] and "− 2 worse" in lines[1]
        assert "category: shipping" in lines[3] and "−0.310" in lines[3] and "− worse" in lines[3]
        assert "0.004" in lines[3] and "−0.410..−0.210" in lines[3]
        assert "exact_match" not in text_of(app)
        await pilot.press("a")
        assert "exact_match" in text_of(app) and "all measures" in text_of(app)
        await pilot.press("slash", *"billing", "enter")
        assert "shipping" not in text_of(app)
        await pilot.press("escape", "g", "enter")
        await settled(pilot)
        assert isinstance(app.screen, ReviewScreen) and "shipping" in text_of(app)
        await pilot.press("escape")
        await settled(pilot)
        assert isinstance(app.screen, SlicesScreen)
        await pilot.press("escape")
        await settled(pilot)
        assert isinstance(app.screen, CompareScreen)


async def test_a_run_without_slices_says_what_they_need(store_folder: Path, settled: Settled) -> None:
    app = AssayApp(store_folder, run=1, screen="compare", now=lambda: NOW)
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await pilot.press("s")
        await settled(pilot)
        assert "no slices were computed" in text_of(app)


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
