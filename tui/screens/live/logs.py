"""What happened in a run, one line each: failed calls and missing answers, and events."""

import time
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.content import Content

from tui.keys import bindings
from tui.screens.base import RunScreen
from tui.screens.choosing import FilteredScreen
from tui.text.gate import join, one_line
from tui.widgets.lines import Line
from tui.widgets.rows import Rows
from tui.widgets.table import Columns, FlexColumn

if TYPE_CHECKING:
    from store.read.history import Connection
    from store.read.live import FailedRow
    from store.read.rows import EventRow

FAILED = Columns(
    FlexColumn("what", 8),
    FlexColumn("judge or model", 16),
    FlexColumn("example", 12),
    FlexColumn("about", 26, drop=1),
    FlexColumn("reason", 20, grow=1),
)


class FailedScreen(FilteredScreen, RunScreen):
    """One line each; enter shows all that came back, `/` keeps those with a text."""

    NAME = "Failures"
    FOOTER = ("move.open", "find.filter")
    BINDINGS = bindings("find.filter")

    def __init__(self, run_id: int) -> None:
        super().__init__(run_id)
        self._failed: list[FailedRow] = []

    def compose(self) -> ComposeResult:
        yield from self.framed(Line(id="heading"), Rows(_failed_row, empty="nothing failed", id="failed"))

    def read_run(self, connection: "Connection") -> "list[FailedRow]":
        from store.read import live

        return live.failed(connection, self.run_id)

    def show_run(self, data: "list[FailedRow]") -> None:
        self._failed = data
        self.filtered()

    def filtered(self) -> None:
        self.query_one("#heading", Line).set(join(["  ", FAILED.heading(self.size.width - 2)]))
        found = [row for row in self._failed if self._search.lower() in _searched(row)]
        self.query_one("#failed", Rows).show(found, key=lambda row: row)

    def on_rows_opened(self, event: "Rows.Opened") -> None:
        from tui.screens.base import MessageScreen

        row: FailedRow | None = event.rows.item
        if row is not None:
            about = f" on {row.about}" if row.about else ""
            came = row.raw or "nothing came back, or it was not kept"
            text = f"{row.who}{about}\n\n{row.reason}\n\nWhat came back:\n{came}\n\nThe query:\n{row.query}"
            self.app.push_screen(MessageScreen(f"Failed {row.kind} of {row.example}", text))


def _failed_row(row: "FailedRow", width: int) -> Content:
    reason = one_line(row.reason, "$bad")
    return FAILED.row(
        [row.kind, one_line(row.who), one_line(row.example), one_line(row.about), reason], width
    )


def _searched(row: "FailedRow") -> str:
    return "\n".join((row.kind, row.who, row.about, row.example, row.reason, row.raw, row.query)).lower()


LEVELS = {
    "error": Content.styled("! error", "$bad"),
    "warning": Content.styled("~ warning", "$warn"),
    "info": Content.styled("· info", "$muted"),
}
EVENTS = Columns(
    FlexColumn("time", 19, drop=1),
    FlexColumn("level", 9),
    FlexColumn("phase", 10),
    FlexColumn("message", 20, grow=1),
)
LIMIT = 10_000


class EventsScreen(RunScreen):
    NAME = "Events"
    FOOTER = ("move.open", "events.errors")
    BINDINGS = bindings("events.errors")

    def __init__(self, run_id: int) -> None:
        super().__init__(run_id)
        self._level = ""

    def compose(self) -> ComposeResult:
        yield from self.framed(Line(id="heading"), Rows(_event_row, empty="nothing happened", id="events"))

    def read_run(self, connection: "Connection") -> "list[EventRow]":
        from store.read import live

        return live.events(connection, self.run_id, level=self._level, limit=LIMIT)

    def show_run(self, data: "list[EventRow]") -> None:
        self.query_one("#heading", Line).set(join(["  ", EVENTS.heading(self.size.width - 2)]))
        self.query_one("#events", Rows).show(data, key=lambda row: row.id)

    def action_errors(self) -> None:
        self._level = "" if self._level else "error"
        self.reload()

    def on_rows_opened(self, event: "Rows.Opened") -> None:
        from tui.screens.base import MessageScreen

        row = event.rows.item
        if row is not None:
            self.app.push_screen(MessageScreen(f"{row.level} in {row.phase}", row.message))


def _event_row(row: "EventRow", width: int) -> Content:
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(row.time))
    return EVENTS.row([when, LEVELS[row.level], row.phase, one_line(row.message)], width)
