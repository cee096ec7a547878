"""Pictures of stored numbers: the geometry that terminal and report share, and the terminal's drawing of it.

Nothing rests on colour: a sign, a mark or the density of a shade says the same without it, also in ASCII.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from statistics import median
from typing import NamedTuple

from textual.content import Content

from tui.text.gate import cut, fit, join, number, plain, told_apart
from tui.widgets.rows import Columns, FlexColumn

VALUE, LIMIT, ZERO, INSIDE, OWN, ENDS = "●", "◇", "│", "─", "╌", ("├", "┤")
FOREST_KEY = f"{VALUE} delta  {ENDS[0]}{INSIDE}{ENDS[1]} 95% CI  {ZERO} 0  {LIMIT} limit of the gate"
NONE = "·"
SHADES = ("", "░", "▒", "▓", "█")  # from nothing to all
BINS = 10
_EDGE = 2.0  # per cent, so that no mark is cut off


@dataclass(frozen=True, slots=True)
class Scale:
    """The values at the left and right end of a picture; what is outside is at the edge."""

    low: float
    high: float

    def share(self, value: float) -> float:
        """The place of a value, from 0 to 1."""
        return min(1.0, max(0.0, (value - self.low) / (self.high - self.low)))

    def at(self, value: float) -> float:
        """The place of a value in per cent of a picture's width, a little left free at both ends."""
        return _EDGE + self.share(value) * (100 - 2 * _EDGE)

    def cell(self, value: float, cells: int) -> int:
        """The place of a value among so many cells."""
        return min(cells - 1, int(self.share(value) * cells))


def scale(values: Sequence[float | None], *shown: float) -> Scale:
    """A scale that holds all known values and those that must be `shown`, its ends rounded outwards."""
    known = [*(value for value in values if value is not None), *shown]
    low, high = min(known, default=0.0), max(known, default=1.0)
    if low == high:
        low, high = low - (abs(low) or 1.0) / 2, high + (abs(high) or 1.0) / 2
    step = 10.0 ** floor(log10(high - low)) / 2
    return Scale(floor(low / step + 1e-9) * step, ceil(high / step - 1e-9) * step)


# Forest plots


class DrawnDelta(NamedTuple):
    """A difference with its interval, and the differences beyond which a gate trips."""

    value: float | None
    low: float | None
    high: float | None
    limits: Sequence[float] = ()

    @property
    def ends(self) -> list[float]:
        return [end for end in (self.value, self.low, self.high, *self.limits) if end is not None]


def forest_scale(items: Iterable[DrawnDelta]) -> Scale:
    """A scale that holds all differences with their intervals and limits, and some room on each side of 0."""
    found = scale([end for item in items for end in item.ends], 0.0)
    return Scale(min(found.low, -found.high / 4), max(found.high, -found.low / 4))


def around_zero(item: DrawnDelta, shared: Scale) -> Scale:
    """A scale of its own for one difference, with 0 where the shared scale has it."""
    reach = max((end / (shared.high if end > 0 else shared.low) for end in item.ends if end), default=1.0)
    return Scale(shared.low * reach, shared.high * reach)


def forest(item: DrawnDelta, of: Scale, cells: int, style: str, *, own: bool = False) -> Content:
    """One line of a forest plot, exactly `cells` wide; of a missing value the line of no difference alone.

    Of what falls on one cell the value is seen before the limit, the limit before 0, and that before the
    interval. `own` marks a scale that is not the others'.
    """
    drawn = [(" ", "")] * cells
    if item.low is not None and item.high is not None:
        first, last = of.cell(item.low, cells), of.cell(item.high, cells)
        for place in range(first, last + 1):
            drawn[place] = (OWN if own else INSIDE, style)
        drawn[first], drawn[last] = (ENDS[0], style), (ENDS[1], style)
    drawn[of.cell(0.0, cells)] = (ZERO, "$muted")
    for limit in item.limits:
        if of.low <= limit <= of.high:
            drawn[of.cell(limit, cells)] = (LIMIT, "$warn")
    if item.value is not None:
        drawn[of.cell(item.value, cells)] = (VALUE, style or "bold")
    return join([Content.styled(glyph, look) for glyph, look in drawn])


def axis(of: Scale, cells: int) -> str:
    """The ends of a scale and its 0, in so many cells, as far as they have room."""
    low, high = (f"{end:+.3g}".replace("-", "−") if end else "0" for end in (of.low, of.high))
    room = cells - len(low) - len(high)
    if room < 1:
        return ""
    zero = of.cell(0.0, cells)
    line = low + " " * room + high
    if of.low < 0 < of.high and len(low) < zero < cells - len(high) - 1:
        line = line[:zero] + "0" + line[zero + 1 :]
    return line


# Shades


def shade(share: float | None) -> int:
    """The level of a share of the largest: 0 for nothing at all, 4 from 0.75 on."""
    return 0 if not share else min(4, 1 + int(abs(share) * 4))


def shaded(share: float | None, cells: int = 2) -> str:
    return SHADES[shade(share)] * cells


# Confusion tables


class LabelAnswers(NamedTuple):
    """The examples of one label by the label given; the last count is of those where none was found."""

    label: str
    counts: Sequence[float]

    def share(self, count: float) -> float:
        total = sum(self.counts)
        return count / total if total else 0.0


REST = "other labels"


def mostly_mistaken(rows: Sequence[LabelAnswers], most: int) -> tuple[list[str], list[LabelAnswers]]:
    """At most `most` labels, in their order: those with the most mistakes. The others' answers are summed up.

    Returns the labels of the columns, without the last ("not found"), and the rows.
    """
    names = [row.label for row in rows]
    if len(rows) <= most:
        return names, list(rows)
    wrong = [sum(row.counts) - row.counts[place] for place, row in enumerate(rows)]
    worst = sorted(sorted(range(len(rows)), key=lambda place: -wrong[place])[: most - 1])
    others = [place for place in range(len(rows)) if place not in worst]

    def told(counts: Sequence[float]) -> list[float]:
        return [*(counts[place] for place in worst), sum(counts[place] for place in others), counts[-1]]

    shown = [LabelAnswers(names[place], told(rows[place].counts)) for place in worst]
    summed = [sum(column) for column in zip(*(rows[place].counts for place in others), strict=True)]
    return [*(names[place] for place in worst), REST], [*shown, LabelAnswers(REST, told(summed))]


LEAST_CELL, WIDEST_NAME = 7, 20


def confusion(rows: Sequence[LabelAnswers], not_found: str, width: int) -> list[Content]:
    """A line for each label (what is right), a column for each label given; the shade is the row's share."""
    room = max(2, (width - WIDEST_NAME) // (LEAST_CELL + 1) - 1)
    names, shown = mostly_mistaken(rows, room)
    heads = [*names, not_found]
    cells = max(LEAST_CELL, min(14, (width - WIDEST_NAME) // len(heads) - 1))
    short = told_apart(tuple(dict.fromkeys(heads)), cells)
    heading = [fit("label", WIDEST_NAME), *(fit(f"{short[name]}", cells, "right") for name in heads)]
    lines = [join(heading, " ").stylize("$heading")]
    for place, row in enumerate(shown):
        drawn: list[Content] = [fit(row.label, WIDEST_NAME)]
        for column, count in enumerate(row.counts):
            right = column == place
            style = ("bold $good" if right else "$bad") if count else "$muted"
            drawn.append(
                fit(
                    Content.styled(f"{count:g} {shaded(row.share(count))}" if count else NONE, style),
                    cells,
                    "right",
                )
            )
        lines.append(join(drawn, " "))
    return lines


# Histograms


@dataclass(frozen=True, slots=True)
class Histogram:
    """How values spread, in the same bins for all; the last bin holds its upper end too."""

    edges: tuple[float, ...]  # one more than there are bins
    counts: Mapping[str, tuple[int, ...]]
    medians: Mapping[str, float]

    @property
    def scale(self) -> Scale:
        return Scale(self.edges[0], self.edges[-1])

    def largest(self) -> float:
        """The largest share of its own values that any bin holds."""
        return max((count / sum(own) for own in self.counts.values() for count in own if sum(own)), default=0)

    def bin_of(self, value: float) -> int:
        return self.scale.cell(value, len(self.edges) - 1)


def histogram(
    values: Mapping[str, Sequence[float]], low: float | None = None, high: float | None = None
) -> Histogram | None:
    """`values` by name, in bins over the measure's range, else over what there is; None without any value."""
    every = [value for own in values.values() for value in own]
    if not every:
        return None
    of = Scale(low, high) if low is not None and high is not None and low < high else scale(every)
    edges = tuple(of.low + (of.high - of.low) * place / BINS for place in range(BINS + 1))
    counts = {name: [0] * BINS for name in values}
    for name, own in values.items():
        for value in own:
            counts[name][of.cell(value, BINS)] += 1
    return Histogram(
        edges,
        {name: tuple(own) for name, own in counts.items()},
        {name: median(own) for name, own in values.items() if own},
    )


def histogram_lines(found: Histogram, width: int) -> list[Content]:
    """A line for each bin, a bar for each name: its length is the share of that name's values."""
    ends = [number(edge) for edge in found.edges]
    label = 2 * max(map(len, ends)) + 2
    each = max(14, (width - label) // max(1, len(found.counts)) - 2)
    counted = max(len(f"{max(own):,}") for own in found.counts.values())
    bar = max(2, each - counted - 4)
    largest = found.largest() or 1.0
    names = told_apart(tuple(found.counts), each - 16)
    heads = [
        plain(cut(f"{names[name]} n {sum(own):,} median {number(found.medians.get(name))}", each), "$heading")
        for name, own in found.counts.items()
    ]
    lines = [join([" " * label, *(fit(head, each) for head in heads)], "  ")]
    for place in range(len(ends) - 1):
        cells: list[Content] = [Content.styled(f"{ends[place]}..{ends[place + 1]}".rjust(label), "$muted")]
        for name, own in found.counts.items():
            share = own[place] / sum(own) if sum(own) else 0.0
            drawn = "█" * max(1, round(share / largest * bar)) if own[place] else ""
            at_median = name in found.medians and found.bin_of(found.medians[name]) == place
            mark = Content.styled(" ◆" if at_median else "", "$warn")
            text = join([Content.styled(drawn, "$good"), f" {own[place]:,}" if own[place] else "", mark])
            cells.append(fit(text, each))
        lines.append(join(cells, "  "))
    return lines


MEDIAN_KEY = "◆ the bin of the median"


# Heat maps


class HeatRow(NamedTuple):
    """A stored difference of one measure on one slice, as a heat map draws it."""

    name: str
    measure: str
    delta: float | None
    worsening: float | None
    standing: str
    reason: str | None


class HeatCell(NamedTuple):
    """A stored difference; `share` is its size as a share of the largest of its measure."""

    row: HeatRow
    share: float | None

    @property
    def mark(self) -> str:
        """What says that the difference is settled, by its ruling; "" of one that is not."""
        return _MARKS.get(self.row.standing, "")

    @property
    def text(self) -> str:
        """The difference in at most six cells."""
        delta = self.row.delta or 0.0
        digits = 2 if abs(delta) < 10 else 1 if abs(delta) < 100 else 0
        written = f"{delta:+.{digits}f}" if abs(delta) < 10_000 else f"{delta:+.0e}"
        return written.replace("-", "−")


HEAT = 9  # cells of a column
_MARKS = {"worse": "▼", "better": "▲", "more": "≠", "less": "≠"}
HEAT_KEY = "settled: ▼ worse ▲ better ≠ moved; ░▒▓█ size of the delta in its column"


@dataclass(frozen=True, slots=True)
class HeatMap:
    """Differences by slice and measure: those with the most settled ones first, then as they come."""

    measures: tuple[str, ...]
    slices: tuple[str, ...]
    cells: Mapping[tuple[str, str], HeatCell]  # by slice and measure

    def of(self, name: str) -> list[HeatCell]:
        """A slice's differences, measure by measure, as far as there are some."""
        return [cell for measure in self.measures if (cell := self.cells.get((name, measure)))]


def heat_map(rows: Sequence[HeatRow]) -> HeatMap:
    largest: dict[str, float] = {}
    for row in rows:
        largest[row.measure] = max(largest.get(row.measure, 0.0), abs(row.delta or 0.0))
    cells = {
        (row.name, row.measure): HeatCell(
            row, None if row.delta is None else abs(row.delta) / (largest[row.measure] or 1.0)
        )
        for row in rows
    }

    def ordered(keys: Iterable[str], place: int) -> tuple[str, ...]:
        worse, settled = Counter[str](), Counter[str]()
        for key, cell in cells.items():
            worse[key[place]] += cell.row.standing == "worse"
            settled[key[place]] += bool(cell.mark)
        return tuple(sorted(dict.fromkeys(keys), key=lambda key: (-worse[key], -settled[key])))

    return HeatMap(ordered((row.measure for row in rows), 1), ordered((row.name for row in rows), 0), cells)


def heat_cell(cell: HeatCell | None) -> Content:
    if cell is None or cell.row.delta is None:
        return Content.styled(NONE, "$muted")
    way = cell.row.worsening or 0.0
    style = "$bad" if way > 0 else "$good" if way < 0 else ""
    text = f"{shaded(cell.share)}{cell.text}{cell.mark or ' '}"
    return Content.styled(text, f"bold {style}".strip() if cell.mark else style)


def heat_columns(of: HeatMap, measures: Sequence[str]) -> Columns:
    """Slices by their names, and the measures that have room, to be sorted by."""
    short = told_apart(tuple(measures), HEAT)

    def delta(measure: str) -> Callable[[str], float | None]:
        return lambda name: cell.row.delta if (cell := of.cells.get((name, measure))) else None

    columns = (FlexColumn(short[name], HEAT, align="right", key=delta(name)) for name in measures)
    return Columns(FlexColumn("slice", 20, grow=1, key=lambda name: name), *columns, gap=1)


def heat_room(width: int) -> int:
    """How many measures have room beside the slices' names."""
    return max(1, (width - 20) // (HEAT + 1))
