"""Splits: the sizes of eval and training data, what of one stands in the other, who used the test split."""

from dataclasses import dataclass

from textual.app import ComposeResult
from textual.events import Resize

from store import history
from store.history import Connection
from store.rows import LeakRow, SplitUseRow
from tui.keys import bindings
from tui.screens.base import RunScreen
from tui.screens.splits_lines import LEAKS, leak_row, leak_sides, leak_summary, ledger, selection, sizes
from tui.text import cut, join
from tui.widgets.lines import Line, Pane
from tui.widgets.rows import Rows


@dataclass(frozen=True, slots=True)
class Data:
    leaks: list[LeakRow]
    uses: list[SplitUseRow]


class SplitsScreen(RunScreen):
    NAME = "Splits"
    AUTO_FOCUS = "#leaks"
    FOOTER = ("move.open", "find.filter")
    BINDINGS = bindings("find.filter")
    DEFAULT_CSS = """
    SplitsScreen #selection { background: $panel; padding: 0 1; }
    SplitsScreen #sizes { padding: 0 1; }
    SplitsScreen #leaked { padding: 0 1; border-top: solid $rule; height: 2; }
    SplitsScreen #leaks { height: 2fr; }
    SplitsScreen #sides { padding: 0 1; height: 3fr; border-top: solid $rule; }
    SplitsScreen #ledger { padding: 0 1; border-top: solid $rule; }
    """

    def __init__(self, run_id: int) -> None:
        super().__init__(run_id)
        self._data = Data([], [])
        self._search = ""

    def compose(self) -> ComposeResult:
        yield from self.framed(
            Line(id="selection"),
            Pane(focusable=True, id="sizes"),
            Line(id="leaked"),
            Line(id="heading"),
            Rows(leak_row, empty="", id="leaks"),
            Pane(focusable=True, id="sides"),
            Pane(focusable=True, id="ledger"),
        )

    @property
    def leaks(self) -> Rows[LeakRow]:
        return self.query_one("#leaks", Rows)

    def read_run(self, connection: Connection) -> Data:
        eval_set = history.run(connection, self.run_id).eval_set
        uses = history.split_uses(connection, eval_set) if eval_set else []
        return Data(history.leaks(connection, self.run_id), uses)

    def show_run(self, data: Data) -> None:
        self._data = data
        self._draw()

    def on_resize(self, event: Resize) -> None:
        super().on_resize(event)
        self.call_after_refresh(self._draw)

    def _draw(self) -> None:
        if self.run is None:
            return
        width = self.size.width - 2
        summary = self.run.data_summary
        self.query_one("#selection", Line).set(selection(summary, self.run.eval_set))
        lines = sizes(summary, width)
        self.query_one("#sizes", Pane).show(lines)
        self.query_one("#sizes").styles.height = min(len(lines), max(6, self.size.height // 2 - 2))
        self.query_one("#leaked", Line).set(leak_summary(summary, self._data.leaks))
        found = [leak for leak in self._data.leaks if self._search.lower() in _searched(leak)]
        empty = f"no leak with “{cut(self._search, 30)}”" if self._search else ""
        heading = join(["  ", LEAKS.heading(self.size.width - 2)]) if found else join([])
        self.query_one("#heading", Line).set(heading)
        self.leaks.show(found, empty=empty, key=lambda leak: (leak.example, leak.train_line, leak.field))
        uses = ledger(self._data.uses, self.assay.now(), width)
        self.query_one("#ledger", Pane).show(uses)
        self.query_one("#ledger").styles.height = 1 + min(len(uses), max(3, self.size.height // 8))
        self._draw_sides()

    def _draw_sides(self) -> None:
        leak = self.leaks.item
        lines = leak_sides(leak, self.size.width - 2) if leak is not None else []
        self.query_one("#sides", Pane).show(lines, keep_place=False)

    def on_rows_moved(self, event: Rows.Moved) -> None:
        self._draw_sides()

    def on_rows_opened(self, event: Rows.Opened) -> None:
        """The answers to the leaked example."""
        from tui.screens.review import ReviewScreen

        if self.leaks.item is not None:
            self.app.push_screen(ReviewScreen(self.run_id, search=self.leaks.item.example))

    def action_filter(self) -> None:
        before = self._search
        self.ask(
            "filter", self._filter, value=before, changed=self._filter, left=lambda: self._filter(before)
        )

    def _filter(self, text: str) -> None:
        self._search = text
        self._draw()

    def back(self) -> bool:
        found = bool(self._search)
        if found:
            self._filter("")
        return found


def _searched(leak: LeakRow) -> str:
    return f"{leak.example}\n{leak.query}\n{leak.excerpt}".lower()
