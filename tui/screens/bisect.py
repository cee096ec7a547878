"""Since when: one example over the checkpoints of a training, or over the runs, and where it was lost."""

from typing import TYPE_CHECKING, NamedTuple

from textual.app import ComposeResult
from textual.content import Content

from tui.screens.base import RunScreen
from tui.text.diff import Segment, diff, first_change
from tui.text.gate import MISSING, join, number, one_line, plain, told_apart, wrap
from tui.widgets.lines import Line, Pane
from tui.widgets.rows import CellContent, Columns, FlexColumn, Rows

if TYPE_CHECKING:
    from store.read.history import Connection
    from store.read.trends import Attempt, Bisection

CHANGED = "bold $warn"  # the words that the answer before has not
RIGHT = {
    True: ("+ right", "$good"),
    False: ("− wrong", "bold $bad"),
    None: ("? not known", "$muted"),
}
_MODEL = FlexColumn("model", 12, grow=1, drop=2)
_REST = (
    FlexColumn("", 11),
    FlexColumn("value", 6, align="right", drop=1),
    FlexColumn("", 6),
    FlexColumn("answer, from the words that differ", 20, grow=3),
)
STEPS = Columns(FlexColumn("", 12), *_REST)  # a step tells a checkpoint
RUNS = Columns(FlexColumn("", 12), _MODEL, *_REST)


class AttemptLine(NamedTuple):
    """An attempt as a line of the list, with the answer before it."""

    attempt: "Attempt"
    where: str
    before: str | None
    is_lost: bool  # whether the example was lost here


class BisectScreen(RunScreen):
    """`measure` says right or wrong; None is the one that flips go by."""

    NAME = "Since when"
    FOOTER = ("move.open",)
    DEFAULT_CSS = """
    BisectScreen #said, BisectScreen #asked { padding: 0 1; }
    BisectScreen #attempts { height: 2fr; }
    BisectScreen #answer { padding: 0 1; border-top: solid $rule; }
    """

    def __init__(
        self, run_id: int, example_id: int, candidate: str, baseline: str, measure: str | None = None
    ) -> None:
        super().__init__(run_id)
        self._example_id = example_id
        self._compared = candidate, baseline
        self._measure = measure
        self._found: Bisection | None = None

    def compose(self) -> ComposeResult:
        yield from self.framed(
            Line(id="asked"),
            Line(id="said"),
            Line(id="heading"),
            Rows(self._row, empty="no answer to this example is recorded", id="attempts"),
            Pane(focusable=True, id="answer"),
        )

    @property
    def rows(self) -> "Rows[AttemptLine]":
        return self.query_one("#attempts", Rows)

    @property
    def run_at_cursor(self) -> int | None:
        return self.rows.item.attempt.run_id if self.rows.item is not None else None

    def read_run(self, connection: "Connection") -> "Bisection":
        from store.read.trends import bisect

        candidate, baseline = (name or None for name in self._compared)
        return bisect(connection, self.run_id, self._example_id, candidate, baseline, self._measure)

    def show_run(self, data: "Bisection") -> None:
        is_first, self._found = self._found is None, data
        lines = _lines(data)
        self.rows.show(lines, key=lambda line: (line.attempt.run_id, line.attempt.model))
        if is_first:
            mine = self.run_id, self._compared[0]
            lost = [line.is_lost for line in lines]
            own = [(line.attempt.run_id, line.attempt.model) == mine for line in lines]
            at = lost if any(lost) else own
            self.rows.go_to(at.index(True) if any(at) else 0)
        self.redraw()

    def on_rows_moved(self, event: "Rows.Moved") -> None:
        self._show_answer()

    # Drawing

    def redraw(self) -> None:
        found = self._found
        if found is None:
            return
        asked = [plain(found.example, "bold"), one_line(found.query, "$muted")]
        self.query_one("#asked", Line).set(join(asked, "  "))
        by = plain(f"  by {found.measure}" if found.measure else "", "$muted")
        said = plain(found.said, "bold $bad" if found.losses else "bold")
        self.query_one("#said", Line).set(join([said, by]))
        self.query_one("#heading", Line).set(join(["  ", self._columns.heading(self.size.width - 2)]))
        self._show_answer()

    @property
    def _columns(self) -> Columns:
        return STEPS if self._found and self._found.is_sweep else RUNS

    def _row(self, line: AttemptLine, width: int) -> Content:
        attempt = line.attempt
        names = tuple(dict.fromkeys(each.attempt.model for each in self.rows.items))

        def model(cells: int) -> str:
            return told_apart(names, cells)[attempt.model]

        cells: list[CellContent] = [
            line.where,
            *([model] if self._columns is RUNS else []),
            Content.styled(*RIGHT[attempt.right]),
            number(attempt.value),
            Content.styled("◂ lost", "bold $bad") if line.is_lost else "",
            _answer(line),
        ]
        return self._columns.row(cells, width)

    def _show_answer(self) -> None:
        """The selected answer in full, below what was expected; what the one above has not is marked."""
        line, found, width = self.rows.item, self._found, self.size.width - 2
        lines: list[Content] = []
        if line is not None and found is not None:
            expected = one_line(" ⏐ ".join(found.references) or MISSING)
            lines += wrap(join([Content.styled("reference  ", "$heading"), expected]), width)
            lines += wrap(join([Content.styled("answer     ", "$heading"), _whole(line)]), width)
        self.query_one("#answer", Pane).show(lines, keep_place=False)

    # Going on

    def on_rows_opened(self, event: "Rows.Opened") -> None:
        """Review at this example, with the model of the row."""
        from tui.screens import load

        line, found = self.rows.item, self._found
        if line is None or found is None:
            return
        if line.attempt is found.baseline:
            self.say("the baseline stands beside every checkpoint: open one of them")
            return
        run_id, model = line.attempt.run_id, line.attempt.model
        hand = self.assay.in_hand(run_id)
        hand.take(model, self._compared[1] if run_id == self.run_id else None)
        hand.example_id, hand.is_taken = line.attempt.example_id, True
        self.app.push_screen(load("review")(run_id))


def _lines(found: "Bisection") -> list[AttemptLine]:
    whole = [*([found.baseline] if found.baseline else []), *found.attempts]
    lost = [after for _, after in found.losses]
    texts = [None, *(attempt.text for attempt in whole)]
    return [
        AttemptLine(attempt, found.where(attempt), before, any(attempt is each for each in lost))
        for attempt, before in zip(whole, texts, strict=False)
    ]


def _answer(line: AttemptLine) -> Content:
    """The answer's first words that differ, in one line; why there is none, or why it is not known."""
    text, why = line.attempt.text, line.attempt.reason
    if text is None:
        return one_line(why or "", "$muted")
    if text == line.before:
        return Content.styled("= the same answer", "$muted")
    segments = [Segment(text[:1_000], False)] if line.before is None else first_change(line.before, text)
    return join(one_line(part.text, CHANGED if part.changed else "") for part in segments)


def _whole(line: AttemptLine) -> Content:
    text, why = line.attempt.text, line.attempt.reason
    noted = [plain(f"{why}\n", "$warn")] if why else []
    if text is None or line.before is None or text == line.before:
        return join([*noted, plain(text or "")])
    segments = (segment for pair in diff(line.before, text).pairs for segment in pair.right)
    return join([*noted, *(plain(part.text, CHANGED if part.changed else "") for part in segments)])
