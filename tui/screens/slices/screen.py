"""Slices: where a candidate got worse, by category, length and features of the prompt."""

from dataclasses import dataclass

from textual.app import ComposeResult
from textual.content import Content
from textual.events import Resize

from store.read import history, slices
from store.read.history import Connection
from store.read.rows import ModelRow
from store.read.slices import SliceRow, SliceScoreRow
from tui.keys import bindings
from tui.screens.base import RunScreen
from tui.screens.slices.lines import columns, draw, explained
from tui.text.gate import cut, join, plain
from tui.widgets.lines import Line, Pane
from tui.widgets.rows import Rows
from tui.widgets.table import Columns


@dataclass(frozen=True, slots=True)
class Slices:
    """A run's slices and the models that they compare."""

    models: list[ModelRow]
    rows: list[SliceRow]
    scores: list[SliceScoreRow]


class SlicesScreen(RunScreen):
    """The slices of one measure, or of all, for one candidate and one baseline."""

    NAME = "Slices"
    FOOTER = ("slices.all", "compare.candidate", "compare.baseline", "find.filter")
    BINDINGS = bindings(
        "slices.all", "compare.candidate", "compare.candidate_back", "compare.baseline",
        "compare.baseline_back", "find.filter",
    )  # fmt: skip
    DEFAULT_CSS = """
    SlicesScreen #pair { background: $panel; padding: 0 1; }
    SlicesScreen #explained { height: 4; padding: 0 1; border-top: solid $rule; }
    """

    def __init__(
        self,
        run_id: int,
        candidate: str | None = None,
        baseline: str | None = None,
        measure: str | None = None,
    ) -> None:
        super().__init__(run_id)
        self._slices: Slices | None = None
        self._candidate, self._baseline = candidate, baseline
        self._measure, self._chosen = measure, measure
        self._search = ""

    def compose(self) -> ComposeResult:
        table: Rows[SliceRow] = Rows(self._row, id="table")
        yield from self.framed(Line(id="pair"), Line(id="heading"), table, Pane(id="explained"))

    @property
    def table(self) -> Rows[SliceRow]:
        return self.query_one("#table", Rows)

    def read_run(self, connection: Connection) -> Slices:
        return Slices(
            [model for model in history.models(connection, self.run_id) if not model.is_cut],
            slices.slices(connection, self.run_id),
            slices.slice_scores(connection, self.run_id),
        )

    def show_run(self, data: Slices) -> None:
        self._slices = data
        self._candidate = self._kept("candidate", self._candidate)
        self._baseline = self._kept("baseline", self._baseline)
        self._draw()

    def on_resize(self, event: Resize) -> None:
        super().on_resize(event)
        self._draw()

    def _names(self, role: str) -> list[str]:
        return [model.name for model in self._slices.models if model.role == role] if self._slices else []

    def _kept(self, role: str, name: str | None) -> str | None:
        names = self._names(role)
        return name if name in names else next(iter(names), None)

    def _draw(self) -> None:
        if self._slices is None:
            return
        pair = [
            row
            for row in self._slices.rows
            if row.candidate == self._candidate and row.baseline == self._baseline
        ]
        found = [
            row
            for row in pair
            if self._measure in (None, row.measure)
            and self._search.lower() in f"{row.slice} {row.measure}".lower()
        ]
        self.query_one("#pair", Line).set(self._pair(found))
        width = self.size.width - 2
        self.query_one("#heading", Line).set(Content("  ") + self._columns().heading(width))
        self.table.show(found, empty=self._empty(pair), key=lambda row: (row.measure, row.slice))
        self._explain()

    def _pair(self, found: list[SliceRow]) -> Content:
        against = join(
            [
                plain(cut(self._candidate or "no candidate", 20), "bold"),
                Content.styled(" against ", "$muted"),
                plain(cut(self._baseline or "no baseline", 20), "bold"),
            ]
        )
        worse = sum(row.standing == "worse" for row in found)
        parts = [
            against,
            plain(cut(self._measure, 24), "bold") if self._measure else Content("all measures"),
            Content.styled(f"− {worse} worse", "bold $bad") if worse else Content("= none clearly worse"),
            plain(f"only “{cut(self._search, 16)}”", "$warn") if self._search else None,
        ]
        return join([part for part in parts if part], " · ")

    def _empty(self, pair: list[SliceRow]) -> str:
        if self._search:
            return f"no slice or measure here is called “{cut(self._search, 30)}”"
        if pair and self._measure:
            return f"{cut(self._measure, 24)} has no slices: a shows those of all measures"
        return "no slices were computed: they need five examples that both models have values on"

    def _columns(self) -> Columns:
        return columns(cut(self._baseline or "", 7), cut(self._candidate or "", 7), self._measure is None)

    def _row(self, row: SliceRow, width: int) -> Content:
        return draw(row, self._columns(), width, measure=self._measure is None)

    def _explain(self) -> None:
        scores = self._slices.scores if self._slices else []
        lines = explained(self.table.item, scores, self.size.width - 2)
        self.query_one("#explained", Pane).show(lines, keep_place=False)

    def on_rows_moved(self, event: Rows.Moved) -> None:
        self._explain()

    def on_rows_opened(self, event: Rows.Opened) -> None:
        """The examples of a slice, the worst first."""
        from store.read.queues import CATEGORY, SLICE
        from tui.screens.review.screen import ReviewScreen

        row = self.table.item
        if row is not None:
            show = row.slice if row.slice.startswith(CATEGORY) else SLICE + row.slice
            self.app.push_screen(
                ReviewScreen(self.run_id, row.candidate, row.baseline, worst_by=row.measure, show=show)
            )

    # Choosing

    def action_all_measures(self) -> None:
        row = self.table.item
        if self._measure is None:
            self._measure = row.measure if row else self._chosen
        else:
            self._chosen, self._measure = self._measure, None
        self._draw()

    def action_candidate(self, step: int) -> None:
        self._candidate = _next(self._names("candidate"), self._candidate, step)
        self._draw()

    def action_baseline(self, step: int) -> None:
        self._baseline = _next(self._names("baseline"), self._baseline, step)
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


def _next(names: list[str], name: str | None, step: int) -> str | None:
    return names[(names.index(name) + step) % len(names)] if name in names else name
