"""The bottom line of a screen: what was said a moment ago, else the open question, else the keys."""

from collections.abc import Sequence

from textual.content import Content
from textual.timer import Timer

from tui.keys import REGISTRY, written
from tui.text.gate import cut, join, plain
from tui.widgets.lines import Line

SAY_SECONDS = 6.0


class Footer(Line):
    """Each of the three comes back when what stands before it ends, whatever the size is by then."""

    def __init__(self) -> None:
        super().__init__(id="footer")
        self._names: Sequence[str] = ()
        self._question: Content | None = None
        self._said: tuple[str, str] | None = None  # what, and in which style
        self._end: Timer | None = None

    def keys(self, names: Sequence[str]) -> None:
        """These actions' keys stand here, most wanted first."""
        self._names = names
        self._draw()

    def say(self, text: str, style: str) -> None:
        """A short message, for some seconds."""
        self._hush()
        self._said = text, style
        self._end = self.set_timer(SAY_SECONDS, self._said_enough)
        self._draw()

    def ask(self, label: str, hint: str) -> None:
        """What is asked and how to answer, until `asked`."""
        self._hush()
        self._question = plain(label, "$heading") + Content.styled(f"  {hint}", "$muted")
        self._draw()

    def asked(self) -> None:
        """The question is closed."""
        self._question = None
        self._draw()

    def _said_enough(self) -> None:
        self._hush()
        self._draw()

    def _hush(self) -> None:
        """Takes back what was said, and its timer: that would end what is said next."""
        self._said = None
        if self._end is not None:
            self._end.stop()

    def _draw(self) -> None:
        width = self.screen.size.width - 2
        if self._said is not None:
            self.set(plain(cut(self._said[0], width), self._said[1]))
        else:
            self.set(self._question or _footed(self._names, width))


def _footed(names: Sequence[str], room: int) -> Content:
    """The keys as far as there is room, then help and quit, for which there always is."""
    always = [_key("app.help"), _key("app.quit")]
    room -= sum(part.cell_length + 2 for part in always)
    parts: list[Content] = []
    for part in map(_key, names):
        room -= part.cell_length + 2
        if room >= -2:
            parts.append(part)
    return join([*parts, *always], "  ")


def _key(name: str) -> Content:
    return join([Content.styled(written(name), "$key"), Content.styled(f" {REGISTRY[name].label}", "$muted")])
