"""Rating one answer from 1 to 5, one criterion after another, one key each."""

from collections.abc import Awaitable, Callable, Sequence

from textual.content import Content
from textual.events import Key

from tui.text.gate import cut, join, plain
from tui.widgets.lines import Line

GRADES = "12345"


class RatingLine(Line):
    """Asks for each criterion in turn; a grade is recorded before the next is asked for.

    `rate` records one and says whether that worked; `done` is called at the end, and on escape.
    """

    DEFAULT_CSS = "RatingLine { padding: 0 1; }"

    def __init__(
        self,
        whose: str,
        criteria: Sequence[str],
        rate: Callable[[str, str], Awaitable[bool]],
        done: Callable[[], None],
    ) -> None:
        super().__init__(focusable=True)
        self._whose = whose
        self._criteria = criteria
        self._rate = rate
        self._done = done
        self._at = 0
        self._ask()

    def _ask(self) -> None:
        name = self._criteria[self._at]
        place = f" {self._at + 1}/{len(self._criteria)}" if len(self._criteria) > 1 else ""
        self.set(
            join(
                [
                    plain(f"{cut(self._whose, 20)}: {cut(name, 30)}{place}", "$heading"),
                    Content.styled("  1 worst – 5 best · space: not this one · esc: leave", "$muted"),
                ]
            )
        )

    async def on_key(self, event: Key) -> None:
        if event.key.startswith("ctrl+"):
            return
        event.stop()
        event.prevent_default()
        if event.key == "escape":
            self._done()
        elif event.key == "space" or (
            event.character is not None
            and event.character in GRADES
            and await self._rate(self._criteria[self._at], event.character)
        ):
            self._at += 1
            if self._at == len(self._criteria):
                self._done()
            else:
                self._ask()
