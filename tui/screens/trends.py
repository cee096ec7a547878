"""Trends: one measure over the runs, or over the checkpoints of one, and what is behind the line."""

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from textual.app import ComposeResult
from textual.content import Content

from tui.keys import bindings, written
from tui.screens.base import RunScreen
from tui.screens.choosing import FilteredScreen
from tui.text.gate import counted, join, middle, number, one_line, plain, short_age, signed, told_apart, wrap
from tui.widgets.lines import Line, Pane
from tui.widgets.plot import Spot, plot
from tui.widgets.rows import CellContent, Columns, FlexColumn, Rows

if TYPE_CHECKING:
    from store.read.history import Connection
    from store.read.runs import Words
    from store.read.trends import Named, Point

SHOWN_RUNS = 2_000  # the newest; older ones are left to the command
COLUMNS = Columns(
    FlexColumn("run", 6, align="right", key=lambda step: step.point.run_id),
    FlexColumn("name", 10, grow=2, key=lambda step: step.point.run_name),
    FlexColumn("candidate", 10, grow=1, key=lambda step: step.point.candidate),
    FlexColumn("value", 7, align="right", key=lambda step: step.point.value),
    FlexColumn("95% CI", 16, drop=2),
    FlexColumn("change", 7, align="right", key=lambda step: step.change),
    FlexColumn("n", 6, align="right", drop=3, key=lambda step: step.point.n),
    FlexColumn("age", 4, align="right", drop=1, key=lambda step: -step.point.created),
)
BETTER = {"higher": "higher is better", "lower": "lower is better"}


class TrendData(NamedTuple):
    """All measures there are, and one of them over the runs, oldest first."""

    measures: "tuple[Named, ...]"
    name: str  # "" where no measure has the words that were typed
    points: "tuple[Point, ...]"
    gaps: tuple[str | None, ...]  # why a point is not joined to the one before it
    by_step: bool = False  # the points are this run's checkpoints


class TrendRow(NamedTuple):
    """A point as a line of the list, with what it compares with."""

    point: "Point"
    gap: str | None
    change: float | None


class TrendsScreen(FilteredScreen, RunScreen):
    """`/` takes a part of a measure's name and words that narrow the runs, like tag:release."""

    NAME = "Trends"
    FILTER = "Measure, or tag: model: eval: judge: config: name: status:"
    FOOTER = ("trends.next", "trends.previous", "trends.choose", "move.open")
    BINDINGS = bindings("trends.next", "trends.previous", "trends.choose", "trends.steps")
    DEFAULT_CSS = """
    TrendsScreen #measure { padding: 0 1; }
    TrendsScreen #plot { height: 2fr; padding: 0 1; }
    TrendsScreen #points { border-top: solid $rule; }
    TrendsScreen #why { height: 2; padding: 0 1; }
    """

    def __init__(self, run_id: int) -> None:
        super().__init__(run_id)
        self._measure = ""  # the one wanted, or the first that has the typed words
        self._trend = TrendData((), "", (), ())
        self._by_step: bool | None = None  # until it is known whether the run follows a training

    def compose(self) -> ComposeResult:
        yield from self.framed(
            Line(id="measure"),
            Pane(id="plot"),
            Rows(self._row, empty="no run like that has this measure", columns=COLUMNS, id="points"),
            Pane(id="why"),
        )

    @property
    def rows(self) -> "Rows[TrendRow]":
        return self.query_one("#points", Rows)

    @property
    def run_at_cursor(self) -> int | None:
        return self.rows.item.point.run_id if self.rows.item is not None else None

    def title_line(self) -> Content:
        said = "one measure over the runs, oldest to newest"
        if self._trend.by_step:
            said = f"one measure over the checkpoints of #{self.run_id}; {written('trends.steps')} all runs"
        return Content.styled(said, "$muted")

    def read_run(self, connection: "Connection") -> TrendData:
        from store.read import live, runs, trends

        if self._by_step is None:
            self._by_step = bool(live.checkpoints(connection, self.run_id, limit=1))
        measures = (
            trends.curve_measures(connection, self.run_id) if self._by_step else trends.measures(connection)
        )
        words = runs.read_words(self._search)
        found = _named(measures, words)
        if not found:
            return TrendData(tuple(measures), "", (), (), self._by_step)
        name = self._measure if self._measure in found else found[0]
        narrowed = tuple(word for word in words if word.field)
        points = (
            trends.curve(connection, name, self.run_id)
            if self._by_step
            else trends.trend(connection, name, narrowed, limit=SHOWN_RUNS)
        )
        gaps = trends.breaks(points)
        return TrendData(tuple(measures), name, tuple(points), tuple(gaps), self._by_step)

    def show_run(self, data: TrendData) -> None:
        self._trend, self._measure = data, data.name or self._measure
        steps = [_step(data, place) for place in range(len(data.points))]
        first = not self.rows.items
        self.rows.show(steps[::-1], key=lambda step: (step.point.run_id, step.point.candidate))
        if first:
            ids = [step.point.run_id for step in self.rows.items]
            self.rows.go_to(ids.index(self.run_id) if self.run_id in ids else 0)
        self.redraw()

    def on_rows_moved(self, event: "Rows.Moved") -> None:
        self.redraw()

    def minute(self) -> None:
        self.rows.redraw()

    # Drawing

    def redraw(self) -> None:
        trend = self._trend
        self.query_one("#measure", Line).set(self._measure_line())
        pane = self.query_one("#plot", Pane)
        spots = _spots(trend)
        item = self.rows.item
        chosen = trend.points.index(item.point) if item is not None and item.point in trend.points else None
        drawn = spots and plot(
            spots, pane.size.width, pane.size.height, chosen=chosen, ascii=self.assay.ascii
        )
        pane.show(drawn or [])
        step = self.rows.item
        self.query_one("#why", Pane).show(wrap(_why(step), self.size.width - 2) if step else [])

    @property
    def _nothing(self) -> str:
        if self._search:
            return "no measure has these words in its name"
        none = f"run {self.run_id} has no checkpoints; {written('trends.steps')} all runs"
        return none if self._trend.by_step else "no run has a measure yet"

    def _measure_line(self) -> Content:
        trend = self._trend
        if not trend.name:
            return Content.styled(self._nothing, "$muted")
        place = [item.name for item in trend.measures].index(trend.name)
        measure = trend.measures[place]
        parts = [
            one_line(measure.name, "bold"),
            Content(BETTER.get(measure.direction, "")),
            Content.styled(f"measure {place + 1} of {len(trend.measures)}", "$muted"),
            Content.styled(counted(len(trend.points), "checkpoint" if trend.by_step else "run"), "$muted"),
            one_line(f"/ {self._search}", "$muted") if self._search else Content(""),
        ]
        return join([part for part in parts if part], " · ")

    def _row(self, step: TrendRow, width: int) -> Content:
        point = step.point
        ends = (point.low, point.high)
        span = "" if None in ends else f"[{', '.join(map(number, ends))}]"
        names = tuple(dict.fromkeys(each.candidate for each in self._trend.points))
        cells: list[CellContent] = [
            f"#{point.run_id}",
            partial(middle, point.run_name),
            lambda cells: told_apart(names, cells)[point.candidate],
            number(point.value),
            span,
            "gap" if step.gap else signed(step.change) if step.change is not None else "",
            f"{point.n:,}",
            short_age(self.assay.now() - point.created),
        ]
        return COLUMNS.row(cells, width)

    # What keys do

    def action_steps(self) -> None:
        """The checkpoints of this run, or all runs."""
        self._by_step = not self._by_step
        self.reload()

    def action_measure(self, step: int) -> None:
        """The next measure, or the one before; of those that have the words typed in their names."""
        from store.read.runs import read_words

        names = _named(self._trend.measures, read_words(self._search))
        if self._measure in names:
            self._measure = names[(names.index(self._measure) + step) % len(names)]
            self.reload()
        else:
            self.say(self._nothing, error=True)

    def action_choose(self) -> None:
        self.action_filter()

    def filtered(self) -> None:
        self.reload()

    def on_rows_opened(self, event: "Rows.Opened") -> None:
        from tui.screens import load

        if self.rows.item is not None:
            self.app.push_screen(load("compare")(self.rows.item.point.run_id))


def _named(measures: "Iterable[Named]", words: "Words") -> list[str]:
    """The measures that have the free words in their names, or have them not."""
    free = [word for word in words if not word.field]
    return [
        item.name
        for item in measures
        if all((word.text.casefold() in item.name.casefold()) != word.is_out for word in free)
    ]


def _step(trend: TrendData, place: int) -> TrendRow:
    point, gap = trend.points[place], trend.gaps[place]
    before = trend.points[place - 1].value if place and gap is None else None
    change = None if point.value is None or before is None else point.value - before
    return TrendRow(point, gap, change)


def _spots(trend: TrendData) -> list[Spot]:
    return [
        Spot(point.value, point.low, point.high, place > 0 and gap is None, name_of(point))
        for place, (point, gap) in enumerate(zip(trend.points, trend.gaps, strict=True))
    ]


def name_of(point: "Point") -> str:
    """What stands under a point: its run, or its training step."""
    return f"#{point.run_id}" if point.step is None else f"step {point.step:,}"


def _why(step: TrendRow) -> Content:
    """What the line of the cursor needs said beside its numbers."""
    parts, before = [], "run" if step.point.step is None else "checkpoint"
    if step.gap:
        parts.append(f"not joined to the {before} before it: {step.gap}")
    if step.point.value is None:
        parts.append(f"no value: {step.point.reason or 'not recorded'}")
    without = step.point.without_synthetic
    told = plain("" if without is None else f"{number(without)} without the synthetic examples")
    return join([part for part in (told, plain("; ".join(parts), "$warn")) if part], "; ")
