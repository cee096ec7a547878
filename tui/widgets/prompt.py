"""What stands at the bottom while the app asks: a line to type into, or a question for yes or no."""

from collections.abc import Callable

from textual.content import Content
from textual.events import Key
from textual.widgets import Input

from tui.keys import bindings
from tui.widgets.lines import Line


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

    DEFAULT_CSS = "Question { padding: 0 1; }"

    def __init__(self, question: Content, done: Callable[[bool], None]) -> None:
        super().__init__(focusable=True)
        self._done = done
        self.set(question + Content.styled("  y: yes · any other key: no", "$muted"))

    def on_key(self, event: Key) -> None:
        event.stop()
        event.prevent_default()
        self._done(event.key == "y")
