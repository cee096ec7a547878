"""A text of several lines to read: an error in full, an event, whatever is too long for the footer."""

from textual.app import ComposeResult
from textual.content import Content
from textual.events import Resize

from tui.screens.base import AssayScreen
from tui.text.gate import plain, wrap
from tui.widgets.lines import Pane


class MessageScreen(AssayScreen):
    """Shows a text under a heading; esc goes back, which after a store's error tries again."""

    DEFAULT_CSS = "MessageScreen #message { padding: 1 2 0 2; }"

    def __init__(self, heading: str, text: str) -> None:
        super().__init__()
        self._heading = heading
        self._text = text

    def compose(self) -> ComposeResult:
        yield from self.framed(Pane(focusable=True, id="message"))

    def title_line(self) -> Content:
        return plain(self._heading, "bold")

    def on_resize(self, event: Resize) -> None:
        super().on_resize(event)
        width = event.size.width - 4
        lines = [line for part in self._text.split("\n") for line in wrap(plain(part), width)]
        self.query_one("#message", Pane).show(lines, keep_place=False)
