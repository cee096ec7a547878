"""Lending the terminal to an editor."""

from typing import TYPE_CHECKING, Any

from textual.app import SuspendNotSupported

from tui.app.editing import Edited, edit

if TYPE_CHECKING:
    from textual.app import App


def edited(app: "App[Any]", text: str) -> Edited:
    """What came of editing the text; the app comes back when the editor is left."""
    try:
        with app.suspend():
            return edit(text, "answer.txt")
    except SuspendNotSupported:
        return Edited(None, "this terminal cannot be lent to an editor", None)
