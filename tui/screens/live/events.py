"""Events: what happened in a run, the newest first; errors can be had alone."""

import time
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.content import Content

from tui.keys import bindings
from tui.screens.base import RunScreen
from tui.text.gate import join, one_line
from tui.widgets.lines import Line
from tui.widgets.rows import Rows
from tui.widgets.table import Column, Columns

if TYPE_CHECKING:
    from store.read.history import Connection
    from store.read.rows import EventRow

LEVELS = {
    "error": Content.styled("! error", "$bad"),
    "warning": Content.styled("~ warning", "$warn"),
    "info": Content.styled("· info", "$muted"),
}
COLUMNS = Columns(
    Column("time", 19, drop=1), Column("level", 9), Column("phase", 10), Column("message", 20, grow=1)
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
        yield from self.framed(Line(id="heading"), Rows(_row, empty="nothing happened", id="events"))

    def read_run(self, connection: "Connection") -> "list[EventRow]":
        from store.read import live

        return live.events(connection, self.run_id, level=self._level, limit=LIMIT)

    def show_run(self, data: "list[EventRow]") -> None:
        self.query_one("#heading", Line).set(join(["  ", COLUMNS.heading(self.size.width - 2)]))
        self.query_one("#events", Rows).show(data, key=lambda row: row.id)

    def action_errors(self) -> None:
        self._level = "" if self._level else "error"
        self.reload()

    def on_rows_opened(self, event: "Rows.Opened") -> None:
        from tui.screens.message import MessageScreen

        row = event.rows.item
        if row is not None:
            self.app.push_screen(MessageScreen(f"{row.level} in {row.phase}", row.message))


def _row(row: "EventRow", width: int) -> Content:
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(row.time))
    return COLUMNS.row([when, LEVELS[row.level], row.phase, one_line(row.message)], width)
