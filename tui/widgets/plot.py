"""A plot in terminal cells: a line of braille dots, a shaded interval, gaps where values do not compare."""

import locale
import os
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from textual.content import Content

from tui.text.gate import counted, cut, join, number, plain

HALF = "│"
GATE = "◆"
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


class Glyphs(NamedTuple):
    point: str
    chosen: str
    band: str
    gap: str
    axis: str
    side: str
    corner: str
    missing: str


_UNICODE = Glyphs("●", "◆", "░", "┊", "─", "│", "└", "×")
_ASCII = Glyphs("o", "@", ":", "!", "-", "|", "+", "x")

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
    known = sum(spot.value is not None for spot in spots)
    if known < _FEWEST:
        of = f"; {counted(len(spots), 'run')} here, {known or 'none'} with one" if known < len(spots) else ""
        return [plain(cut(f"a chart needs {_FEWEST} runs with a value{of}", width), "$muted")]
    scale = _Scale(spots, rows, with_band=rows >= _ROOM_FOR_BAND)
    labels = scale.labels()
    margin = max(len(label) for label in labels.values())
    columns = max(2, width - margin - 2)
    places = _places(len(spots), columns)
    drawn: dict[_Cell, tuple[str, str]] = {}
    if scale.with_band:
        drawn |= dict.fromkeys(_band(spots, places, scale), (glyphs.band, "$muted"))
    drawn |= dict.fromkeys(_gaps(spots, places, rows), (glyphs.gap, "$warn"))
    drawn |= {cell: (glyph, "$good") for cell, glyph in _line(spots, places, scale, ascii).items()}
    drawn |= _points(spots, places, scale, glyphs, chosen, columns)
    lines = []
    for row in range(rows):
        cells = [drawn.get((column, row), (" ", "")) for column in range(columns)]
        side = Content.styled(f"{labels.get(row, ''):>{margin}} {glyphs.side}", "$muted")
        lines.append(join([side, *(Content.styled(glyph, style) for glyph, style in _runs(cells))]))
    absent = {place for place, spot in zip(places, spots, strict=True) if spot.value is None}
    axis = "".join(glyphs.missing if column in absent else glyphs.axis for column in range(columns))
    lines.append(Content.styled(f"{'':{margin}} {glyphs.corner}{axis}", "$muted"))
    ends = [spots[0].name, spots[-1].name]
    room = places[-1] + 1 - sum(map(len, ends))
    lines.append(Content.styled(" " * (margin + 2) + (" " * max(1, room)).join(ends), "$muted"))
    return lines


class _Scale:
    """From values to rows: 0 is the top of the plot, `rows` its bottom."""

    def __init__(self, spots: Sequence[Spot], rows: int, *, with_band: bool) -> None:
        known = [spot.value for spot in spots if spot.value is not None]
        self.with_band = with_band
        if with_band:
            known += [end for spot in spots for end in (spot.low, spot.high) if end is not None]
        self.rows = rows
        self.low, self.high = min(known), max(known)
        if self.low == self.high:
            half = abs(self.low) * 0.05 or 0.5
            self.low, self.high = self.low - half, self.high + half

    def height(self, value: float) -> float:
        """Rows below the top, from 0 to `rows`."""
        return (self.high - value) / (self.high - self.low) * self.rows

    def row(self, value: float) -> int:
        return min(self.rows - 1, int(self.height(value)))

    def labels(self) -> dict[int, str]:
        marked = {0: self.high, self.rows - 1: self.low}
        if self.rows >= 7:
            marked[self.rows // 2] = (self.high + self.low) / 2
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
    wide, high = (1, 1) if ascii else (2, 4)  # dots in a cell
    dots: dict[_Cell, int] = {}
    for index in range(1, len(spots)):
        before, after = spots[index - 1], spots[index]
        if not after.joined or before.value is None or after.value is None:
            continue
        start, end = places[index - 1] * wide, places[index] * wide
        top, bottom = (scale.height(value) * high for value in (before.value, after.value))
        steps = max(1, end - start, round(abs(bottom - top)))
        for step in range(steps + 1):
            x = start + (end - start) * step // steps
            y = min(scale.rows * high - 1, int(_between(top, bottom, step / steps)))
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
