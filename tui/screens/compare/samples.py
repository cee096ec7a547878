"""Samples: one benchmark task's questions with the target and both models' answers, losses first."""

from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.content import Content

from store.read.query import matches
from tui.keys import bindings
from tui.screens.base import RunScreen, beside
from tui.screens.choosing import FilteredScreen
from tui.text.gate import join, number, one_line, plain, wrap
from tui.widgets.lines import Pane
from tui.widgets.rows import Columns, FlexColumn, Rows

if TYPE_CHECKING:
    from store.read.history import Connection
    from store.read.rows import BenchmarkSampleRow

COLUMNS = Columns(
    FlexColumn("result", 10, key=lambda row: _result(row).plain),
    FlexColumn("question", 20, grow=3, key=lambda row: row.question),
    FlexColumn("target", 10, grow=1, key=lambda row: row.target),
    FlexColumn("candidate", 12, grow=2, key=lambda row: row.candidate_answer),
    FlexColumn("baseline", 10, grow=2, key=lambda row: row.baseline_answer),
)


class SamplesScreen(FilteredScreen, RunScreen):
    NAME = "Samples"
    FOOTER = ("move.down", "move.up", "find.filter")
    BINDINGS = bindings("move.pane", "find.filter")
    DEFAULT_CSS = """
    SamplesScreen #sample { height: 40vh; padding: 0 1; border-top: solid $rule; }
    """

    def __init__(self, run_id: int, candidate: str, baseline: str, task: str) -> None:
        super().__init__(run_id)
        self._compared = (candidate, baseline)
        self._questions: list[BenchmarkSampleRow] = []
        self._benchmark = task

    def compose(self) -> ComposeResult:
        empty = "the answers to this task were not kept, or the two models got different prompts"
        rows = Rows(_row, empty=empty, columns=COLUMNS, id="samples")
        yield from self.framed(beside(rows, Pane(focusable=True, id="sample")))

    def title_line(self) -> Content:
        about = one_line(f"{self._benchmark}: {self._compared[0]} against {self._compared[1]}", "bold")
        return join([about, f"run {self.run_id}"], "  ")

    def read_run(self, connection: "Connection") -> "list[BenchmarkSampleRow]":
        from store.read import answers

        return answers.benchmark_samples(connection, self.run_id, *self._compared, self._benchmark)

    def show_run(self, data: "list[BenchmarkSampleRow]") -> None:
        self._questions = data
        self.filtered()

    def filtered(self) -> None:
        found = [row for row in self._questions if matches(self._search, _searched(row))]
        self.query_one("#samples", Rows).show(found, key=lambda row: row.doc_id)
        self.redraw()

    def on_rows_moved(self, event: "Rows.Moved") -> None:
        self.redraw()

    def redraw(self) -> None:
        row: BenchmarkSampleRow | None = self.query_one("#samples", Rows).item
        lines: list[Content] = []
        if row is not None:
            candidate, baseline = self._compared
            for name, text in (
                ("question", row.question),
                ("target", row.target),
                (f"{candidate} · {number(row.candidate_value)}", row.candidate_answer),
                (f"{baseline} · {number(row.baseline_value)}", row.baseline_answer),
            ):
                lines.append(one_line(name, "$heading"))
                lines += wrap(plain(text), self.beside_cells)
        self.query_one("#sample", Pane).show(lines, keep_place=False)


def _row(row: "BenchmarkSampleRow", width: int) -> Content:
    cells: list[Content | str] = [
        _result(row),
        row.question,
        row.target,
        row.candidate_answer,
        row.baseline_answer,
    ]
    return COLUMNS.row(cells, width)


def _searched(row: "BenchmarkSampleRow") -> dict[str, str]:
    return {
        "result": _result(row).plain, "question": row.question, "target": row.target,
        "candidate": row.candidate_answer, "baseline": row.baseline_answer,
    }  # fmt: skip


def _result(row: "BenchmarkSampleRow") -> Content:
    if row.candidate_value is None or row.baseline_value is None:
        return Content.styled("? missing", "$muted")
    if row.candidate_value < row.baseline_value:
        return Content.styled("− worse", "$bad")
    return (
        Content.styled("+ better", "$good") if row.candidate_value > row.baseline_value else Content("= same")
    )
