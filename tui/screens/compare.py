"""Compare: a candidate against a baseline by every metric, judge and benchmark, beside the other models."""

from textual.app import ComposeResult
from textual.content import Content
from textual.events import Resize

from store.history import Connection
from tui.keys import bindings
from tui.screens.base import RunScreen, outcome
from tui.screens.compare_data import (
    Entry,
    Judged,
    Measured,
    Numbers,
    Title,
    entries,
    ordered,
    read_numbers,
    task_of,
)
from tui.screens.compare_lines import brief, draw, explained
from tui.text import cut, join, plain
from tui.widgets.lines import Line, Pane
from tui.widgets.rows import Rows


class Table(Rows[Entry]):
    """Rows whose titles the cursor passes over."""

    def go_to(self, index: int) -> None:
        index = max(0, min(len(self.items) - 1, index))
        onwards, back = range(index, len(self.items)), range(index, -1, -1)
        order = [*onwards, *back] if index >= self.cursor else [*back, *onwards]
        place = next((at for at in order if not isinstance(self.items[at], Title)), self.cursor)
        if place == self.cursor and index < place and self.top:
            self.top = 0  # the first title, which the cursor itself cannot reach
            self.redraw()
        super().go_to(place)


class CompareScreen(RunScreen):
    NAME = "Compare"
    FOOTER = ("move.open", "compare.candidate", "compare.baseline", "compare.details", "find.filter")
    BINDINGS = bindings(
        "compare.candidate", "compare.candidate_back", "compare.baseline", "compare.baseline_back",
        "compare.details", "find.filter",
    )  # fmt: skip
    DEFAULT_CSS = """
    CompareScreen #pair { height: 1; padding: 0 1; background: $panel; }
    CompareScreen #explained { height: 3; padding: 0 1; border-top: solid $rule; }
    """

    def __init__(self, run_id: int) -> None:
        super().__init__(run_id)
        self._numbers: Numbers | None = None
        self._candidate = self._baseline = ""
        self._search = ""
        self._details = False

    def compose(self) -> ComposeResult:
        table = Table(self._row, empty="nothing was computed yet", id="table")
        yield from self.framed(Line(id="pair"), table, Pane(focusable=True, id="explained"))

    @property
    def table(self) -> Table:
        return self.query_one(Table)

    def read_run(self, connection: Connection) -> Numbers:
        return read_numbers(connection, self.run_id)

    def show_run(self, data: Numbers) -> None:
        self._numbers = data
        self._candidate = _kept(self._named("candidate"), self._candidate)
        self._baseline = _kept(self._named("baseline"), self._baseline)
        self._draw()

    def _named(self, role: str) -> list[str]:
        return [model.name for model in self._numbers.models if model.role == role] if self._numbers else []

    def _draw(self) -> None:
        if self._numbers is None:
            return
        self.query_one("#pair", Line).set(self._pair())
        found = entries(self._numbers, self._candidate, self._baseline, self._search)
        empty = f"nothing here is called “{cut(self._search, 30)}”" if self._search else None
        self.table.show(found, empty=empty or "nothing was computed yet", key=_key)
        self.table.go_to(self.table.cursor)
        self._explain()

    def _pair(self) -> Content:
        candidates, baselines = self._named("candidate"), self._named("baseline")
        if not candidates or not baselines or self._numbers is None:
            return Content.styled("this run has no candidate and baseline yet", "$muted")
        passed = next(model.passed for model in self._numbers.models if model.name == self._candidate)
        parts = [
            join([plain(cut(self._candidate, 24), "bold"), Content.styled(" against ", "$muted")])
            + plain(cut(self._baseline, 24), "bold"),
            outcome(passed),
            Content.styled(f"candidate {candidates.index(self._candidate) + 1}/{len(candidates)}", "$muted"),
            Content.styled(f"baseline {baselines.index(self._baseline) + 1}/{len(baselines)}", "$muted"),
            plain(f"only “{cut(self._search, 20)}”", "$warn") if self._search else Content(""),
        ]
        return join([part for part in parts if part], " · ")

    def _row(self, entry: Entry, width: int) -> Content:
        if self._numbers is None:
            return Content("")
        baseline = self._baseline
        if isinstance(entry, Title | Measured) and entry.kind == "benchmark":
            baseline = entry.cells[0].model if isinstance(entry, Measured) else entry.text or baseline
        return draw(entry, tuple(ordered(self._numbers.models, self._candidate, baseline)), width)

    def _explain(self) -> None:
        describe = explained if self._details else brief
        lines = describe(self.table.item, self.size.width - 2)
        self.query_one("#explained", Pane).show(lines, keep_place=False)

    def on_resize(self, event: Resize) -> None:
        super().on_resize(event)
        self._explain()

    def on_rows_moved(self, event: Rows.Moved) -> None:
        self._explain()

    def on_rows_opened(self, event: Rows.Opened) -> None:
        """A metric's examples, the worst first; a judge's losses; a benchmark's questions."""
        from tui.screens.review import ReviewScreen
        from tui.screens.samples import SamplesScreen

        entry = self.table.item
        pair = (self._candidate, self._baseline)
        if isinstance(entry, Judged):
            self.app.push_screen(ReviewScreen(self.run_id, *pair, show="losses"))
        elif isinstance(entry, Measured) and entry.kind == "metric":
            self.app.push_screen(ReviewScreen(self.run_id, *pair, worst_by=entry.name))
        elif isinstance(entry, Measured):
            against = entry.cells[0].model
            self.app.push_screen(SamplesScreen(self.run_id, self._candidate, against, task_of(entry.name)))

    def action_details(self) -> None:
        self._details = not self._details
        self.query_one("#explained").styles.height = 8 if self._details else 3
        self.call_after_refresh(self._explain)

    # Choosing

    def action_candidate(self, step: int) -> None:
        self._candidate = _next(self._named("candidate"), self._candidate, step)
        self._draw()

    def action_baseline(self, step: int) -> None:
        self._baseline = _next(self._named("baseline"), self._baseline, step)
        self._draw()

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


def _key(entry: Entry) -> tuple[str, str]:
    if isinstance(entry, Judged):
        return "verdict", entry.row.judge
    return entry.kind, entry.name if isinstance(entry, Measured) else ""


def _kept(names: list[str], name: str) -> str:
    """The name that was chosen, or the first where it is not there."""
    return name if name in names or not names else names[0]


def _next(names: list[str], name: str, step: int) -> str:
    return names[(names.index(name) + step) % len(names)] if name in names else name
