"""Help: the keys that are alive on the screen it was called from, as they are bound right now."""

from collections.abc import Iterable

from textual.app import ComposeResult
from textual.binding import ActiveBinding
from textual.content import Content
from textual.events import Resize

from tui.keys import EVERYWHERE, REGISTRY, written
from tui.screens.base import AssayScreen
from tui.text.gate import join
from tui.widgets.lines import Line, Pane


class HelpScreen(AssayScreen):
    NAME = "Help"
    DEFAULT_CSS = "HelpScreen #help, HelpScreen #more { padding: 0 1; }"

    def __init__(self, alive: Iterable[ActiveBinding]) -> None:
        super().__init__()
        self._owners = {
            each.binding.key: each.binding.id for each in alive if each.enabled and each.binding.id
        }
        ids = set(self._owners.values())
        here = [name for name in REGISTRY if name in ids and name not in EVERYWHERE]
        # What is this screen's own comes first, how to move is the same everywhere.
        self._here = sorted(here, key=lambda name: name.startswith("move."))
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
            *map(self._line, self._here),
            Content(""),
            Content.styled("Everywhere", "$heading"),
            *map(self._line, self._everywhere),
        ]

    def _line(self, name: str) -> Content:
        """An action with its keys, but those that mean something else on this screen."""
        keys = " ".join(key for key in written(name).split(" ") if self._owners.get(key, name) == name)
        return join([Content.styled(keys.rjust(9), "$key"), Content(REGISTRY[name].help)], "  ")
