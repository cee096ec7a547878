"""The mouse: a click selects, sorts, or does what a key at the bottom does; two open; the wheel scrolls."""

from pathlib import Path

from textual.events import MouseScrollDown, MouseScrollUp

from tests.tui.driver import Driver, opened
from tui.screens.decision import DecisionScreen
from tui.screens.help import HelpScreen
from tui.screens.live.screen import EventsScreen, LiveScreen
from tui.screens.review.screen import ReviewScreen
from tui.screens.runs import RunsScreen
from tui.screens.start import StartScreen


async def click(ui: Driver, text: str, times: int = 1) -> None:
    """Clicks on the first place where this text stands."""
    y, line = next((y, line) for y, line in enumerate(ui.lines) if text in line)
    await ui.pilot.click(offset=(line.index(text), y), times=times)
    await ui.settled()


async def wheel(ui: Driver, text: str, *, down: bool = True) -> None:
    """Turns the wheel by a notch over the first place where this text stands."""
    y, line = next((y, line) for y, line in enumerate(ui.lines) if text in line)
    event = MouseScrollDown if down else MouseScrollUp
    await ui.pilot._post_mouse_events([event], offset=(line.index(text), y))
    await ui.settled()


async def test_a_click_selects_and_two_open(store_folder: Path) -> None:
    async with opened(store_folder, run=None, size=(120, 36)) as ui:
        await click(ui, "tickets-v1")
        assert ui.on(RunsScreen).run_at_cursor == 1
        await ui.pilot.click(offset=(10, 20))  # below the rows there is nothing to select
        assert ui.on(RunsScreen).run_at_cursor == 1
        await click(ui, "tickets-v2", times=2)
        assert ui.on(DecisionScreen).run_id == 2
        questions = ui.on(DecisionScreen).questions
        await click(ui, f"{questions.items[1].question}  ")
        assert questions.has_focus and questions.cursor == 1


async def test_a_click_on_a_key_at_the_bottom_does_it(store_folder: Path) -> None:
    async with opened(store_folder, run=None, size=(120, 36)) as ui:
        await click(ui, "s start")
        assert isinstance(ui.screen, StartScreen)
        await ui.press("escape")
        await click(ui, "? help")
        assert isinstance(ui.screen, HelpScreen)
        await click(ui, "Alerts: which checks failed", times=2)
        assert "Alerts" in ui.lines[0]
        await ui.press("L")
        await click(ui, "e events")
        assert isinstance(ui.screen, EventsScreen)


async def test_a_click_beside_a_question_leaves_it(store_folder: Path) -> None:
    async with opened(store_folder, run=None, size=(120, 36)) as ui:
        await click(ui, "/ filter")
        assert "filter  enter save" in ui.text
        await ui.press(*"v1")
        assert ui.on(RunsScreen).rows.items[0].id == 1 and len(ui.on(RunsScreen).rows.items) == 1
        await click(ui, "tickets-v1")
        assert "enter save" not in ui.text and len(ui.on(RunsScreen).rows.items) == 3
        await ui.press("x")
        assert "y: yes" in ui.text
        await click(ui, "tickets-v2")
        assert "y: yes" not in ui.text and ui.on(RunsScreen).rows.has_focus


async def test_the_wheel_moves_through_lists_and_texts(sweep: Path, store_folder: Path) -> None:
    async with opened(sweep, "decision", run=1) as ui:
        rows = ui.on(DecisionScreen).candidates
        here = rows.cursor
        await wheel(ui, "don't ship")
        assert rows.cursor == here + 3
        await wheel(ui, "don't ship", down=False)
        assert rows.cursor == here
    async with opened(store_folder, "live", run=2) as ui:
        assert "Decision  H: why" in ui.text
        await wheel(ui, "Phases")
        assert isinstance(ui.screen, LiveScreen) and "Decision  H: why" not in ui.text
    async with opened(store_folder, "review", run=2, size=(80, 24)) as ui:
        answers = ui.on(ReviewScreen)._front
        answers.top = 0
        await wheel(ui, "│")
        assert answers.top == min(3, answers._last_top())
