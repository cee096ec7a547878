"""Plots in terminal cells: one figure as a line of braille dots, and two figures against each other."""

import locale
import os
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from textual.content import Content

from tui.text.gate import counted, cut, join, number, plain

HALF = "│"
GATE = "◆"
MARK = "!"  # of a value that an alert is about
_EMPTY, _INSIDE, _VALUE = "─", "▒", "█"


def band(
    value: float | None, low: float | None, high: float | None, cells: int, gate: float | None = None
) -> Content:
    """Exactly `cells` wide. All are shares from 0 to 1; a missing value leaves the scale and its marks.

    Of what falls on one cell the value is seen before the gate, the gate before 50 %, and that before the
    interval.
    """
    drawn = [(_EMPTY, "$rule")] * cells
    if low is not None and high is not None:
        for place in range(_cell(low, cells), _cell(high, cells) + 1):
            drawn[place] = (_INSIDE, "$good")
    drawn[_cell(0.5, cells)] = (HALF, "$muted")
    if gate is not None:
        drawn[_cell(gate, cells)] = (GATE, "$warn")
    if value is not None:
        drawn[_cell(value, cells)] = (_VALUE, "bold")
    return join([Content.styled(glyph, style) for glyph, style in drawn])


@lru_cache(maxsize=8)
def gate_of(plan: str) -> float | None:
    """The win rate that a plan asks for; None where it asks for none."""
    import tomllib  # after the first frame

    try:
        found = tomllib.loads(plan).get("gates", {}).get("min_win_rate")
    except tomllib.TOMLDecodeError:  # published results bring whatever they were made with
        return None
    return float(found) if isinstance(found, int | float) else None


def key(gate: float | None) -> Content:
    """What the marks of a band mean."""
    said = f"{HALF} 50%" if gate is None else f"{HALF} 50%  {GATE} gate {100 * gate:g}%"
    return Content.styled(said, "$muted")


def _cell(share: float, cells: int) -> int:
    return max(0, min(cells - 1, int(share * cells)))


_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # of a braille cell, by row and column
_BRAILLE = 0x2800
_ROOM_FOR_BAND = 5  # rows from which an interval is more than noise
_FEWEST = 2  # values of a chart
_ROOM_FOR_POINTS = 3  # cells from one value to the next


class Spot(NamedTuple):
    """One value on the line, from left to right; `joined` to the one before it or not."""

    value: float | None
    low: float | None
    high: float | None
    joined: bool
    name: str  # what stands under it when it is the first or the last
    marked: bool = False  # an alert is about it


class Glyphs(NamedTuple):
    point: str
    chosen: str
    band: str
    gap: str
    axis: str
    side: str
    corner: str
    missing: str
    other: str
    level: str


_UNICODE = Glyphs("●", "◆", "░", "┊", "─", "│", "└", "×", "○", "┄")
_ASCII = Glyphs("o", "@", ":", "!", "-", "|", "+", "x", "*", "=")

_Cell = tuple[int, int]  # column, row from the top


def only_ascii() -> bool:
    """Whether this terminal has no block and braille characters: by its encoding, or $ASSAY_ASCII says so."""
    return "ASSAY_ASCII" in os.environ or "utf" not in locale.getpreferredencoding(False).lower()


def plot(
    spots: Sequence[Spot], width: int, height: int, *, chosen: int | None = None, ascii: bool = False
) -> list[Content]:
    """Lines of at most `width` cells: `height` - 2 rows of plot, the axis, and the ends' names."""
    glyphs = _ASCII if ascii else _UNICODE
    rows = max(1, height - 2)
    with_band = rows >= _ROOM_FOR_BAND
    known = [spot.value for spot in spots if spot.value is not None]
    if len(known) < _FEWEST:
        of = (
            f"; {counted(len(spots), 'run')} here, {len(known) or 'none'} with one"
            if len(known) < len(spots)
            else ""
        )
        return [plain(cut(f"a chart needs {_FEWEST} runs with a value{of}", width), "$muted")]
    if with_band:
        known += [end for spot in spots for end in (spot.low, spot.high) if end is not None]
    scale = _Scale(known, rows)
    labels = scale.labels()
    margin = max(len(label) for label in labels.values())
    columns = max(2, width - margin - 2)
    places = _places(len(spots), columns)
    drawn: dict[_Cell, tuple[str, str]] = {}
    if with_band:
        drawn |= dict.fromkeys(_band(spots, places, scale), (glyphs.band, "$muted"))
    drawn |= dict.fromkeys(_gaps(spots, places, rows), (glyphs.gap, "$warn"))
    drawn |= {cell: (glyph, "$good") for cell, glyph in _line(spots, places, scale, ascii).items()}
    drawn |= _points(spots, places, scale, glyphs, chosen, columns)
    lines = _drawn(drawn, labels, margin, columns, rows, glyphs)
    absent = {place for place, spot in zip(places, spots, strict=True) if spot.value is None}
    axis = "".join(glyphs.missing if column in absent else glyphs.axis for column in range(columns))
    lines.append(Content.styled(f"{'':{margin}} {glyphs.corner}{axis}", "$muted"))
    ends = [spots[0].name, spots[-1].name]
    room = places[-1] + 1 - sum(map(len, ends))
    lines.append(Content.styled(" " * (margin + 2) + (" " * max(1, room)).join(ends), "$muted"))
    return lines


_MARGIN = 7  # cells of a small plot's labels


def small(
    spots: Sequence[Spot],
    width: int,
    rows: int,
    ends: Sequence[float],
    *,
    written: Callable[[float], str] = number,
    level: float | None = None,
    chosen: int | None = None,
    ascii: bool = False,
) -> list[Content]:
    """One of several plots beside one another: `rows` lines, bands, and a line at a `level`, no names below.

    Its scale holds all of `ends`, so that plots with the same ones compare. What is missing is a cross at the
    bottom.
    """
    if not ends:
        return [Content("")] * rows
    glyphs = _ASCII if ascii else _UNICODE
    scale = _Scale(ends, rows)
    columns = max(2, width - _MARGIN - 2)
    places = [round(at * (columns - 1) / max(1, len(spots) - 1)) for at in range(len(spots))]
    drawn: dict[_Cell, tuple[str, str]] = dict.fromkeys(_band(spots, places, scale), (glyphs.band, "$muted"))
    if level is not None:
        drawn |= dict.fromkeys(((at, scale.row(level)) for at in range(columns)), (glyphs.level, "$rule"))
    drawn |= {cell: (glyph, "$good") for cell, glyph in _line(spots, places, scale, ascii).items()}
    drawn |= _points(spots, places, scale, glyphs, chosen, columns)
    for index, (at, spot) in enumerate(zip(places, spots, strict=True)):
        if spot.value is None:
            drawn[at, rows - 1] = (glyphs.missing, "bold $warn" if index == chosen else "$muted")
        elif spot.marked:
            glyph = glyphs.chosen if index == chosen else MARK
            drawn[at, scale.row(spot.value)] = (glyph, "bold $bad")
    labels = {row: written(value)[:_MARGIN] for row, value in scale.marked.items()}
    return _drawn(drawn, labels, _MARGIN, columns, rows, glyphs)


def _drawn(
    cells: Mapping[_Cell, tuple[str, str]],
    labels: Mapping[int, str],
    margin: int,
    columns: int,
    rows: int,
    glyphs: Glyphs,
) -> list[Content]:
    """The rows of a plot, behind their labels."""
    lines = []
    for row in range(rows):
        found = _runs([cells.get((column, row), (" ", "")) for column in range(columns)])
        side = Content.styled(f"{labels.get(row, ''):>{margin}} {glyphs.side}", "$muted")
        lines.append(join([side, *(Content.styled(glyph, style) for glyph, style in found)]))
    return lines


class _Scale:
    """From values to rows: 0 is the top of the plot, `rows` its bottom."""

    def __init__(self, known: Sequence[float], rows: int) -> None:
        self.rows = rows
        self.low, self.high = _ends(known)

    def height(self, value: float) -> float:
        """Rows below the top, from 0 to `rows`."""
        return (self.high - value) / (self.high - self.low) * self.rows

    def row(self, value: float) -> int:
        return min(self.rows - 1, int(self.height(value)))

    @property
    def marked(self) -> dict[int, float]:
        """The rows with a label, and the values there."""
        marked = {0: self.high, self.rows - 1: self.low}
        if self.rows >= 7:
            marked[self.rows // 2] = (self.high + self.low) / 2
        return marked

    def labels(self) -> dict[int, str]:
        marked = self.marked
        found = {row: number(value) for row, value in marked.items()}
        if len(set(found.values())) < len(marked):
            return {row: f"{value:.6g}" for row, value in marked.items()}
        return found


def _places(count: int, columns: int) -> list[int]:
    # Few values stand no further apart than is needed to see them one by one.
    used = min(columns - 1, (count - 1) * 8)
    return [round(place * used / (count - 1)) for place in range(count)]


def _band(spots: Sequence[Spot], places: Sequence[int], scale: _Scale) -> set[_Cell]:
    found: set[_Cell] = set()
    for index, (place, spot) in enumerate(zip(places, spots, strict=True)):
        if spot.low is None or spot.high is None:
            continue
        ends = [(place, spot.low, spot.high)]
        before = spots[index - 1] if index and spot.joined else None
        if before is not None and before.low is not None and before.high is not None:
            span = max(1, place - places[index - 1])
            for step in range(1, span):
                share = step / span
                low, high = _between(spot.low, before.low, share), _between(spot.high, before.high, share)
                ends.append((place - step, low, high))
        for column, low, high in ends:
            found |= {(column, row) for row in range(scale.row(high), scale.row(low) + 1)}
    return found


def _between(ours: float, theirs: float, share: float) -> float:
    return ours + (theirs - ours) * share


def _gaps(spots: Sequence[Spot], places: Sequence[int], rows: int) -> set[_Cell]:
    """Upright lines half-way between values that do not compare."""
    return {
        ((places[index - 1] + places[index]) // 2, row)
        for index in range(1, len(spots))
        if not spots[index].joined
        for row in range(rows)
    }


def _line(spots: Sequence[Spot], places: Sequence[int], scale: _Scale, ascii: bool) -> dict[_Cell, str]:
    strokes: list[_Stroke] = [
        ((places[index - 1], scale.height(before.value)), (places[index], scale.height(after.value)))
        for index, (before, after) in enumerate(pairwise(spots), 1)
        if after.joined and before.value is not None and after.value is not None
    ]
    return _strokes(strokes, scale.rows, ascii)


_Stroke = tuple[tuple[float, float], tuple[float, float]]  # from column and row to column and row


def _strokes(strokes: Sequence[_Stroke], rows: int, ascii: bool) -> dict[_Cell, str]:
    """Straight lines in braille dots."""
    wide, high = (1, 1) if ascii else (2, 4)  # dots in a cell
    dots: dict[_Cell, int] = {}
    for (left, top), (right, bottom) in strokes:
        start, end = int(left * wide), int(right * wide)
        steps = max(1, abs(end - start), round(abs(bottom - top) * high))
        for step in range(steps + 1):
            x = start + (end - start) * step // steps
            y = min(rows * high - 1, int(_between(top * high, bottom * high, step / steps)))
            cell = (x // wide, y // high)
            dots[cell] = dots.get(cell, 0) | _DOTS[y % high][x % wide]
    return {cell: "." if ascii else chr(_BRAILLE + bits) for cell, bits in dots.items()}


def _points(
    spots: Sequence[Spot],
    places: Sequence[int],
    scale: _Scale,
    glyphs: Glyphs,
    chosen: int | None,
    columns: int,
) -> dict[_Cell, tuple[str, str]]:
    """The values themselves where they stand apart, those that no line reaches, and the chosen one."""
    roomy = len(spots) * _ROOM_FOR_POINTS <= columns
    found = {}
    for index, spot in enumerate(spots):
        alone = not spot.joined and (index + 1 == len(spots) or not spots[index + 1].joined)
        if spot.value is not None and (roomy or alone):
            found[places[index], scale.row(spot.value)] = (glyphs.point, "bold $good")
    if chosen is not None and (value := spots[chosen].value) is not None:
        found[places[chosen], scale.row(value)] = (glyphs.chosen, "bold $warn")
    return found


def _runs(cells: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Neighbours of one style together."""
    found: list[tuple[str, str]] = []
    for glyph, style in cells:
        if found and found[-1][1] == style:
            found[-1] = (found[-1][0] + glyph, style)
        else:
            found.append((glyph, style))
    return found


class Dot(NamedTuple):
    """Two figures of one thing; `on_front`: joined by the line of those that none beats."""

    x: float
    y: float
    on_front: bool


class Axis(NamedTuple):
    """One axis of a scatter: its ends, the value where nothing has changed, and the gate's limit."""

    low: float
    high: float
    even: float | None = None
    limit: float | None = None


def axis(values: Sequence[float], even: float | None = None, limit: float | None = None) -> Axis:
    """Holds all values and the limit."""
    return Axis(*_ends([*values, *([] if limit is None else [limit])]), even, limit)


def _ends(known: Sequence[float]) -> tuple[float, float]:
    """The least and the largest; where they are one, some room on both sides."""
    low, high = min(known), max(known)
    half = (abs(low) * 0.05 or 0.5) if low == high else 0.0
    return low - half, high + half


def scatter(
    dots: Sequence[Dot],
    x: Axis,
    y: Axis,
    width: int,
    height: int,
    *,
    chosen: int | None = None,
    joined: bool = True,
    ascii: bool = False,
) -> list[Content]:
    """Lines of at most `width` cells: `height` - 2 rows of plot, the axis, and the ends of `x`.

    `joined`: a line joins those on the front.
    Of what falls on one cell the chosen dot is seen before those on the front, and these before the others,
    the line of the front and the limits.
    """
    glyphs = _ASCII if ascii else _UNICODE
    rows = max(1, height - 2)
    scale = _Scale((y.low, y.high), rows)
    labels = scale.labels()
    margin = max(map(len, labels.values()))
    columns = max(2, width - margin - 2)

    def column(value: float) -> float:
        return (value - x.low) / (x.high - x.low) * (columns - 1)

    def cell(dot: Dot) -> _Cell:
        return round(column(dot.x)), scale.row(dot.y)

    drawn: dict[_Cell, tuple[str, str]] = {}
    for at, glyph, style in ((y.even, glyphs.axis, "$rule"), (y.limit, glyphs.level, "$warn")):
        if at is not None and y.low <= at <= y.high:
            drawn |= dict.fromkeys(((place, scale.row(at)) for place in range(columns)), (glyph, style))
    for at, glyph, style in ((x.even, glyphs.side, "$rule"), (x.limit, glyphs.gap, "$warn")):
        if at is not None and x.low <= at <= x.high:
            drawn |= dict.fromkeys(((round(column(at)), row) for row in range(rows)), (glyph, style))
    front = sorted((column(dot.x), scale.height(dot.y)) for dot in dots if dot.on_front)
    strokes = list(pairwise(front)) if joined else []
    drawn |= {at: (glyph, "$good") for at, glyph in _strokes(strokes, rows, ascii).items()}
    for dot in sorted(dots, key=lambda dot: dot.on_front):
        drawn[cell(dot)] = (glyphs.point, "bold $good") if dot.on_front else (glyphs.other, "")
    if chosen is not None:
        drawn[cell(dots[chosen])] = (glyphs.chosen, "bold $warn")
    lines = _drawn(drawn, labels, margin, columns, rows, glyphs)
    lines.append(Content.styled(f"{'':{margin}} {glyphs.corner}{glyphs.axis * columns}", "$muted"))
    ends = [f"{end:,.0f}" if abs(end) >= 10 and end == int(end) else number(end) for end in (x.low, x.high)]
    room = max(1, columns - sum(map(len, ends)))
    return [*lines, Content.styled(" " * (margin + 2) + (" " * room).join(ends), "$muted")]


def nearest(dots: Sequence[Dot], at: int, x: Axis, y: Axis, step: tuple[int, int]) -> int:
    """The dot next to one in a direction, (1, 0) to the right, (0, 1) up; the same where there is none.

    Across counts twice, so that the way leads on rather than aside.
    """
    here, found = dots[at], (float("inf"), at)
    for place, dot in enumerate(dots):
        right, up = (dot.x - here.x) / (x.high - x.low), (dot.y - here.y) / (y.high - y.low)
        along = right * step[0] + up * step[1]
        across = abs(right * step[1]) + abs(up * step[0])
        if along > 0:
            found = min(found, (along + 2 * across, place))
    return found[1]
