"""The bottom line: messages, questions and keys, each in its turn."""

from pathlib import Path

from tests.tui.conftest import Settled, text_of
from tests.tui.history import NOW
from tui.app.app import AssayApp
from tui.screens.runs import RunsScreen
from tui.widgets.footer import Footer


def bottom(app: AssayApp) -> str:
    return text_of(app).splitlines()[-1]


async def test_a_message_outlives_a_resize_as_after_the_editor(store_folder: Path, settled: Settled) -> None:
    app = AssayApp(store_folder, now=lambda: NOW)
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        assert isinstance(app.screen, RunsScreen)
        app.screen.say("the editor crashed; what you wrote is kept " + "far away " * 9, error=True)
        await pilot.resize_terminal(100, 24)
        await settled(pilot)
        assert "! the editor crashed" in text_of(app).splitlines()[23]


async def test_a_question_keeps_its_label_when_what_was_said_before_it_ends(
    store_folder: Path, settled: Settled
) -> None:
    app = AssayApp(store_folder, now=lambda: NOW)
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        assert isinstance(app.screen, RunsScreen)
        app.screen.say("this is said")
        footer = app.screen.query_one(Footer)
        earlier = footer._end
        assert earlier is not None
        await pilot.press("slash")
        await settled(pilot)
        assert "Filter" in text_of(app) and "this is said" not in text_of(app)
        assert earlier._task is None or earlier._task.cancelling() or earlier._task.done()
        app.screen.say("meanwhile")
        await settled(pilot)
        assert "meanwhile" in text_of(app)
        footer._said_enough()
        await settled(pilot)
        assert "Filter" in text_of(app) and "enter open" not in text_of(app)
        await pilot.press("escape")
        await settled(pilot)
        assert "enter open" in bottom(app)
