"""The line at the bottom where a person types an answer or says yes or no; it stands over the footer."""

from collections.abc import Callable

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.content import Content
from textual.events import Key, Mount
from textual.widgets import Input

from tui.keys import bindings
from tui.widgets.lines import Line


class Prompt(Horizontal):
    """One line of input. `done` gets the text on enter, None on escape; `changed` each text in between."""

    BINDINGS = bindings("app.back")

    def __init__(
        self,
        label: str,
        done: Callable[[str | None], None],
        *,
        changed: Callable[[str], None] | None = None,
        value: str = "",
    ) -> None:
        super().__init__()
        self._label = Content.styled(f"{label} ", "$heading")
        self._value = value
        self._done = done
        self._changed = changed

    def compose(self) -> ComposeResult:
        label = Line()
        label.set(self._label)
        label.styles.width = self._label.cell_length
        yield label
        yield Input(self._value, compact=True, select_on_focus=False)

    def on_mount(self, event: Mount) -> None:
        field = self.query_one(Input)
        field.cursor_blink = False
        field.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        if self._changed is not None:
            self._changed(event.value)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self._done(event.value)

    def action_back(self) -> None:
        self._done(None)


class Question(Line, can_focus=True):
    """A question that `y` answers with yes and any other key with no."""

    def __init__(self, question: Content, done: Callable[[bool], None]) -> None:
        super().__init__()
        self._done = done
        self.set(question + Content.styled("  y: yes · any other key: no", "$muted"))

    def on_mount(self, event: Mount) -> None:
        self.focus()

    def on_key(self, event: Key) -> None:
        event.stop()
        event.prevent_default()
        self._done(event.key == "y")
