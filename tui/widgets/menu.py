"""What stands at the bottom: the footer's keys, a line to write in, a short list to choose from."""

from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

from textual.content import Content
from textual.events import Key
from textual.timer import Timer
from textual.widgets import Input

from tui.keys import REGISTRY, bindings, written
from tui.text.gate import cut, fit, join, plain
from tui.widgets.lines import Line
from tui.widgets.rows import Rows

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


class Prompt(Input):
    """One line of input. `done` gets the text on enter, None on escape; `changed` each text in between."""

    BINDINGS = bindings("app.back")
    DEFAULT_CSS = "Prompt { height: 1; padding: 0 1; }"

    def __init__(
        self,
        done: Callable[[str | None], None],
        *,
        changed: Callable[[str], None] | None = None,
        value: str = "",
    ) -> None:
        super().__init__(value, compact=True, select_on_focus=False)
        self.cursor_blink = False  # a blinking cursor writes to the terminal for ever
        self._done = done
        self._changed = changed

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        if self._changed is not None:
            self._changed(event.value)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self._done(event.value)

    def action_back(self) -> None:
        self._done(None)


class YesNo(Line):
    """A question that `y` answers with yes and any other key with no."""

    DEFAULT_CSS = "YesNo { padding: 0 1; }"

    def __init__(self, question: Content, done: Callable[[bool], None]) -> None:
        super().__init__(focusable=True)
        self._done = done
        self.set(question + Content.styled("  y: yes · any other key: no", "$muted"))

    def on_key(self, event: Key) -> None:
        event.stop()
        event.prevent_default()
        self._done(event.key == "y")


T = TypeVar("T")
TALLEST = 15
LETTERS = "abcdefhilmnopqrstuvwxyz"  # without those that move the cursor
_MOVING = frozenset(
    {"down", "up", "home", "end", "pagedown", "pageup", "enter", "escape", "j", "k", "g", "G"}
)


class Choice(NamedTuple, Generic[T]):
    """One line of a menu. `text` is from outside; the key is one character, "" where there is none."""

    key: str
    text: str
    value: T
    note: str = ""


class Menu(Rows[Choice[T]], Generic[T]):
    """`done` gets the value that was chosen, None on escape."""

    BINDINGS = bindings("app.back")

    def __init__(
        self, choices: Sequence[Choice[T]], done: Callable[[T | None], None], *, at: int = 0
    ) -> None:
        super().__init__(self._line)
        self._done = done
        self._keys = {choice.key: choice.value for choice in choices if choice.key}
        self._cells = max((len(choice.text) for choice in choices), default=0)
        self.show(choices)
        self.cursor = at
        self.fit(TALLEST)

    def fit(self, most: int) -> int:
        """Takes a line for each choice, of so many at most; returns how many."""
        rows = max(1, min(TALLEST, most, len(self.items)))
        self.styles.height = rows
        return rows

    def _line(self, choice: Choice[T], width: int) -> Content:
        text = fit(plain(cut(choice.text, width)), min(self._cells, width // 2))
        key = Content.styled(choice.key or " ", "$key")
        return join([key, text, plain(choice.note, "$muted")], "  ")

    def on_key(self, event: Key) -> None:
        """Its letters come before everything else; keys that mean nothing here do nothing elsewhere."""
        chosen = event.character in self._keys
        if chosen or not (event.key in _MOVING or event.key.startswith("ctrl+")):
            event.stop()
            event.prevent_default()
        if chosen and event.character is not None:
            self._done(self._keys[event.character])

    def action_open(self) -> None:
        if self.item is not None:
            self._done(self.item.value)

    def action_back(self) -> None:
        self._done(None)
