"""The bottom line: messages, questions and keys, each in its turn."""

from pathlib import Path

import pytest

from tests.tui.conftest import Settled
from tests.tui.driver import opened, text_of
from tui.app.app import AssayApp
from tui.screens.runs import RunsScreen
from tui.widgets.menu import Footer


def bottom(app: AssayApp) -> str:
    return text_of(app).splitlines()[-1]


async def test_a_message_outlives_a_resize_as_after_the_editor(store_folder: Path, settled: Settled) -> None:
    async with opened(store_folder, run=None) as ui:
        assert isinstance(ui.screen, RunsScreen)
        ui.screen.say("the editor crashed; what you wrote is kept " + "far away " * 9, error=True)
        await ui.pilot.resize_terminal(100, 24)
        await ui.settled()
        assert "! the editor crashed" in ui.lines[23]


async def test_a_question_keeps_its_label_when_what_was_said_before_it_ends(
    store_folder: Path, settled: Settled
) -> None:
    async with opened(store_folder, run=None) as ui:
        assert isinstance(ui.screen, RunsScreen)
        ui.screen.say("this is said")
        footer = ui.screen.query_one(Footer)
        earlier = footer._end
        assert earlier is not None
        await ui.press("slash")
        assert "filter  enter save" in ui.text and "this is said" not in ui.text
        assert earlier._task is None or earlier._task.cancelling() or earlier._task.done()
        ui.screen.say("meanwhile")
        await ui.settled()
        assert "meanwhile" in ui.text
        footer._said_enough()
        await ui.settled()
        assert "filter  enter save" in ui.text and "enter open" not in ui.text
        await ui.press("escape")
        assert "enter open" in bottom(ui.app)


@pytest.mark.parametrize(
    ("screen", "keys", "why"),
    [
        ("runs", "xpand", "there is no run under the cursor"),
        ("alerts", "a", "there is no alert under the cursor"),
        ("review", "1ntrf", "there is no example here"),
        ("trends", "p", "no measure has these words in its name"),
    ],
)
async def test_a_key_that_can_do_nothing_now_says_why(
    store_folder: Path, screen: str, keys: str, why: str
) -> None:
    async with opened(store_folder, screen) as ui:
        await ui.press("slash", *"zzzz", "enter")
        for key in keys:
            ui.screen.query_one(Footer)._said_enough()
            await ui.press(key)
            assert f"! {why}" in bottom(ui.app), key
