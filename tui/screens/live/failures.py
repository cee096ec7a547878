"""What came to nothing in a run: failed calls of judges and missing answers, each with what came back."""

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
    from store.read.live import FailedRow

COLUMNS = Columns(
    Column("what", 8),
    Column("judge or model", 16),
    Column("example", 12),
    Column("about", 26, drop=1),
    Column("reason", 20, grow=1),
)


class FailedScreen(RunScreen):
    """One line each; enter shows all that came back, `/` keeps those with a text."""

    NAME = "Failures"
    FOOTER = ("move.open", "find.filter")
    BINDINGS = bindings("find.filter")

    def __init__(self, run_id: int) -> None:
        super().__init__(run_id)
        self._search = ""
        self._failed: list[FailedRow] = []

    def compose(self) -> ComposeResult:
        yield from self.framed(Line(id="heading"), Rows(_row, empty="nothing failed", id="failed"))

    def read_run(self, connection: "Connection") -> "list[FailedRow]":
        from store.read import live

        return live.failed(connection, self.run_id)

    def show_run(self, data: "list[FailedRow]") -> None:
        self._failed = data
        self._draw()

    def _draw(self) -> None:
        self.query_one("#heading", Line).set(join(["  ", COLUMNS.heading(self.size.width - 2)]))
        found = [row for row in self._failed if self._search in _searched(row)]
        self.query_one("#failed", Rows).show(found, key=lambda row: row)

    def action_filter(self) -> None:
        before = self._search
        self.ask(
            "filter", self._filter, value=before, changed=self._filter, left=lambda: self._filter(before)
        )

    def _filter(self, text: str) -> None:
        self._search = text.lower()
        self._draw()

    def back(self) -> bool:
        found = bool(self._search)
        if found:
            self._filter("")
        return found

    def on_rows_opened(self, event: "Rows.Opened") -> None:
        from tui.screens.message import MessageScreen

        row: FailedRow | None = event.rows.item
        if row is not None:
            about = f" on {row.about}" if row.about else ""
            came = row.raw or "nothing came back, or nothing was kept of it"
            text = f"{row.who}{about}\n\n{row.reason}\n\nWhat came back:\n{came}\n\nThe query:\n{row.query}"
            self.app.push_screen(MessageScreen(f"Failed {row.kind} of {row.example}", text))


def _row(row: "FailedRow", width: int) -> Content:
    reason = one_line(row.reason, "$bad")
    return COLUMNS.row(
        [row.kind, one_line(row.who), one_line(row.example), one_line(row.about), reason], width
    )


def _searched(row: "FailedRow") -> str:
    return "\n".join((row.kind, row.who, row.about, row.example, row.reason, row.raw, row.query)).lower()
