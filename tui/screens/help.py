"""Help: the keys that are alive on the screen it was called from, as they are bound right now."""

from collections.abc import Iterable

from textual.app import ComposeResult
from textual.binding import ActiveBinding
from textual.content import Content
from textual.events import Resize

from tui.keys import EVERYWHERE, REGISTRY, written
from tui.screens.base import AssayScreen
from tui.text import join
from tui.widgets.lines import Line, Pane


class HelpScreen(AssayScreen):
    NAME = "Help"
    DEFAULT_CSS = "HelpScreen #help, HelpScreen #more { padding: 0 1; }"

    def __init__(self, alive: Iterable[ActiveBinding]) -> None:
        super().__init__()
        ids = dict.fromkeys(active.binding.id for active in alive if active.enabled and active.binding.id)
        self._here = [name for name in ids if name in REGISTRY and name not in EVERYWHERE]
        self._everywhere = [name for name in EVERYWHERE if name in ids]

    def compose(self) -> ComposeResult:
        yield from self.framed(Pane(self._lines(), focusable=True, id="help"), Line(id="more"))

    def on_resize(self, event: Resize) -> None:
        super().on_resize(event)
        self.call_after_refresh(self._hint)

    def on_pane_scrolled(self) -> None:
        self._hint()

    def _hint(self) -> None:
        """Says that there is more below, and by which keys it comes."""
        below = self.query_one("#help", Pane).below
        keys = f"{written('move.down')}  {written('move.page_down')}"
        said = f"↓ {below} more: {keys}" if below else ""
        self.query_one("#more", Line).set(Content.styled(said, "$heading"))

    def _lines(self) -> list[Content]:
        return [
            Content.styled("On this screen", "$heading"),
            *map(_line, self._here),
            Content(""),
            Content.styled("Everywhere", "$heading"),
            *map(_line, self._everywhere),
        ]


def _line(name: str) -> Content:
    return join([Content.styled(written(name).rjust(9), "$key"), Content(REGISTRY[name].help)], "  ")
