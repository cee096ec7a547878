"""Slices: where a candidate got worse, by category, length and features of the prompt."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.content import Content

from store.read import history, slices
from store.read.history import Connection
from store.read.query import matches
from store.read.slices import SliceRow, SliceScoreRow
from tui.keys import bindings
from tui.screens.choosing import FilteredScreen, PairScreen
from tui.screens.compare.lines import difference, interval, value
from tui.sections.measures import by_form, slice_map
from tui.text.gate import cut, join, middle, plain, probability, wrap
from tui.widgets.lines import Line, Pane
from tui.widgets.pictures import (
    HEAT_KEY,
    HeatCell,
    HeatMap,
    heat_cell,
    heat_columns,
    heat_room,
)
from tui.widgets.rows import Columns, FlexColumn, Rows

Key = tuple[str, str, str]  # a model, a measure and a slice

_WORDS = {
    "worse": ("− worse", "bold $bad"),
    "better": ("+ better", "bold $good"),
    "more": ("≠ more", "$warn"),
    "less": ("≠ less", "$warn"),
    "inconclusive": ("= inconclusive", ""),
    "no worse": ("= no worse", ""),
    "at the floor": ("= at the floor", ""),
    "not tested": ("– not tested", "$muted"),
    "missing": ("– none", "$muted"),
}


@lru_cache(maxsize=16)
def columns(baseline: str, candidate: str, measure: bool) -> Columns:
    """The columns, with the measure's name among them where the slices are those of several."""
    named = [FlexColumn("measure", 15, grow=1, key=lambda row: row.measure)] if measure else []
    both = [
        FlexColumn(baseline, max(7, cell_len(baseline)), 0, "right", 1, lambda row: row.baseline_value),
        FlexColumn(candidate, max(7, cell_len(candidate)), 0, "right", 0, lambda row: row.candidate_value),
    ]
    return Columns(
        FlexColumn("slice", 18, grow=2, key=lambda row: row.slice),
        *named,
        FlexColumn("n", 4, align="right", key=lambda row: row.n),
        *both,
        FlexColumn("delta", 6, align="right", key=lambda row: row.delta),
        FlexColumn("95% CI", 14, align="right", drop=2 if measure else 0),
        FlexColumn("p", 6, align="right", key=lambda row: None if row.p is None else -row.p),
        FlexColumn("", 14, key=lambda row: tuple(_WORDS).index(row.standing)),
        gap=1,
    )


def draw(row: SliceRow, layout: Columns, width: int, *, measure: bool) -> Content:
    """One slice."""
    cells: list[Content | str] = [row.slice.removeprefix("prompt of ")]
    if measure:
        cells.append(row.measure)
    return layout.row(
        [
            *cells,
            f"{row.n:,}",
            value(row.baseline_value),
            value(row.candidate_value),
            difference(row.delta),
            interval(row.low, row.high, sign=True),
            probability(row.p),
            Content.styled(*_WORDS[row.standing]),
        ],
        width,
    )


def explained(
    row: SliceRow | None, scores: Sequence[SliceScoreRow], own: Mapping[Key, str], width: int
) -> list[Content]:
    """The selected slice in full: the difference, and each model's value on it; of a form, its ruling."""
    if row is None:
        return []
    said = f"{difference(row.delta)} [{interval(row.low, row.high, sign=True)}]"
    sure = "" if row.p is None else f", p {probability(row.p)} (Holm)"
    first = [plain(f"{row.slice} · {row.measure} ", "bold")]
    if row.delta is None:
        first.append(plain(f"not compared: {row.reason or 'no reason was recorded'}", "$warn"))
    else:
        first.append(plain(f"{said} on {row.n:,} examples{sure}"))
    found = [
        score
        for score in scores
        if (score.measure, score.slice) == (row.measure, row.slice)
        and score.model in (row.candidate, row.baseline)
    ]
    told = [_score(score, own.get((score.model, score.measure, score.slice), "")) for score in found]
    lines = [join(first), join(told, " · ")]
    return [part for line in lines for part in wrap(line, width)]


def _score(score: SliceScoreRow, own: str) -> Content:
    name = middle(score.model, 24)
    if score.value is None:
        return plain(f"{name} none: {score.reason or 'no reason was recorded'}", "$warn")
    gaps = f", {score.missing} missing: {score.reason or 'no reason was recorded'}" if score.missing else ""
    rest = "" if score.p is None or score.p >= 0.05 else " ≠ the rest"
    ruled = f", {own}" if own else ""
    range_ = interval(score.low, score.high)
    return plain(f"{name} {value(score.value)} [{range_}] n {score.n}{gaps}{rest}{ruled}")


@dataclass(frozen=True, slots=True)
class SlicesData:
    """A run's slices, each model's values on them, and its forms' rulings against its own plain form."""

    rows: list[SliceRow]
    scores: list[SliceScoreRow]
    own: Mapping[Key, str]


class SlicesScreen(PairScreen, FilteredScreen):
    """The slices of one measure, or of all, for one candidate and one baseline."""

    NAME = "Slices"
    FOOTER = ("slices.all", "slices.map", "compare.candidate", "compare.baseline", "find.filter")
    BINDINGS = bindings(
        "slices.all", "slices.map", "compare.candidate", "compare.candidate_back", "compare.baseline",
        "compare.baseline_back", "find.filter",
    )  # fmt: skip
    DEFAULT_CSS = """
    SlicesScreen #pair { background: $panel; padding: 0 1; }
    SlicesScreen #explained { height: 4; padding: 0 1; border-top: solid $rule; }
    """

    def __init__(self, run_id: int, measure: str | None = None) -> None:
        super().__init__(run_id)
        self._slices: SlicesData | None = None
        self._measure, self._chosen = measure, measure
        self._map: HeatMap | None = None  # in place of the list
        self._is_map = False
        self._by_cell: dict[tuple[str, str], SliceRow] = {}  # by measure and slice

    def compose(self) -> ComposeResult:
        table: Rows[SliceRow | str] = Rows(self._row, id="table")
        yield from self.framed(Line(id="pair"), table, Pane(id="explained"))

    @property
    def table(self) -> Rows[SliceRow | str]:
        return self.query_one("#table", Rows)

    def read_run(self, connection: Connection) -> SlicesData:
        return SlicesData(
            slices.slices(connection, self.run_id),
            slices.slice_scores(connection, self.run_id),
            by_form(history.metrics(connection, self.run_id), history.model_scores(connection, self.run_id)),
        )

    def show_run(self, data: SlicesData) -> None:
        self._slices = data
        self.redraw()

    def redraw(self) -> None:
        if self._slices is None:
            return
        pair = [row for row in self._slices.rows if (row.candidate, row.baseline) == self.pair]
        if not self._slices.rows:
            pair = slices.untested(self._slices.scores, *self.pair)
        found = [
            row
            for row in pair
            if (self._is_map or self._measure in (None, row.measure))
            and matches(self._search, {"slice": row.slice, "measure": row.measure, "standing": row.standing})
        ]
        self._map = slice_map(found) if self._is_map else None
        self._by_cell = {(row.measure, row.slice): row for row in found}
        self.query_one("#pair", Line).set(self._pair(found))
        self.table.columns = heat_columns(self._map, self._in_sight) if self._map else self._columns()
        rows: Sequence[SliceRow | str] = self._map.slices if self._map else found
        self.table.show(rows, empty=self._empty(pair), key=_key)
        self._explain()

    def _pair(self, found: list[SliceRow]) -> Content:
        worse = sum(row.standing == "worse" for row in found)
        hidden = len(self._map.measures) - len(self._in_sight) if self._map else 0
        parts = [
            self.against(self.size.width // 4),
            plain(cut(self._measure, 24), "bold")
            if self._measure and not self._map
            else Content("all measures"),
            Content.styled(f"− {worse} worse", "bold $bad") if worse else Content("= none clearly worse"),
            plain(f"only “{cut(self._search, 16)}”", "$warn") if self._search else None,
            Content.styled(f"{hidden} more measures: / finds them", "$muted") if hidden else None,
        ]
        return join([part for part in parts if part], " · ")

    def _empty(self, pair: list[SliceRow]) -> str:
        if self._search:
            return f"no slice or measure here is called “{cut(self._search, 30)}”"
        if pair and self._measure:
            return f"{cut(self._measure, 24)} has no slices: a shows those of all measures"
        return "no slices were computed: they need five examples that both models have values on"

    def _columns(self) -> Columns:
        cells = max(7, self.size.width // 10)
        candidate, baseline = (self.short(name, cells) for name in self.pair)
        return columns(baseline, candidate, self._measure is None)

    @property
    def _in_sight(self) -> Sequence[str]:
        """The map's measures that have room."""
        return self._map.measures[: heat_room(self.size.width - 3)] if self._map else ()

    def _row(self, row: SliceRow | str, width: int) -> Content:
        if isinstance(row, str):
            if self._map is None or self.table.columns is None:
                return Content("")
            cells = [heat_cell(self._map.cells.get((row, measure))) for measure in self._in_sight]
            return self.table.columns.row([row.removeprefix("prompt of "), *cells], width)
        return draw(row, self._columns(), width, measure=self._measure is None)

    def _explain(self) -> None:
        scores, own = (self._slices.scores, self._slices.own) if self._slices else ([], {})
        lines = [] if self._map is None else wrap(Content.styled(HEAT_KEY, "$muted"), self.size.width - 2)
        lines += explained(self._at_cursor, scores, own, self.size.width - 2)
        self.query_one("#explained", Pane).show(lines, keep_place=False)

    @property
    def _at_cursor(self) -> SliceRow | None:
        """The slice under the cursor; on the map, on the measure that it fell most on."""
        item = self.table.item
        if not isinstance(item, str):
            return item
        if self._map is None:
            return None
        worst = max(self._map.of(item), key=_fall).row
        return self._by_cell[worst.measure, item]

    def on_rows_moved(self, event: Rows.Moved) -> None:
        self._explain()

    def on_rows_opened(self, event: Rows.Opened) -> None:
        """The examples of a slice, the worst first."""
        from store.read.queues import CATEGORY, SLICE
        from tui.screens.review.screen import ReviewScreen

        row = self._at_cursor
        if row is not None:
            show = row.slice if row.slice.startswith(CATEGORY) else SLICE + row.slice
            self.app.push_screen(
                ReviewScreen(self.run_id, row.candidate, row.baseline, worst_by=row.measure, show=show)
            )

    # Choosing

    def action_all_measures(self) -> None:
        row = self._at_cursor
        if self._is_map:
            self.say("the map has all measures; m leads back to the list")
        elif self._measure is None:
            self._measure = row.measure if row else self._chosen
        else:
            self._chosen, self._measure = self._measure, None
        self.redraw()

    def action_map(self) -> None:
        """From the list to the map of slices and measures, and back."""
        self._is_map, self.table.by = not self._is_map, None
        self.redraw()


def _key(row: SliceRow | str) -> tuple[str, str]:
    return ("", row) if isinstance(row, str) else (row.measure, row.slice)


def _fall(cell: HeatCell) -> tuple[bool, float]:
    """How much a cell speaks of a worsening: settled ones first, then by size."""
    way = cell.row.worsening or 0.0
    return cell.row.standing == "worse", (cell.share or 0.0) * (1 if way > 0 else -1 if way < 0 else 0)
