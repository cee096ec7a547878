"""An aligned pair of texts as rows for the screen: both sides wrapped by cells to a common number of rows.

Each segment goes through the gate before it is measured, so what is wrapped is what is shown. Joining the
rows of one side gives back its gated text but for the line feeds, which become row ends.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, zip_longest
from typing import NamedTuple

from rich.cells import cell_len, split_graphemes
from textual.content import Content

from tui.text.diff import Diff, Segment
from tui.text.gate import printable

_WORD = re.compile(r"\S+|\s+")
_LINE_FEED = "⏎"  # shown only where one side has a line feed that the other has not


class SideRow(NamedTuple):
    """One row of the screen. A side may be one space wider than requested: it ends a line, and may be cut."""

    left: tuple[Segment, ...]
    right: tuple[Segment, ...]


def rows(diff: Diff, width: int, *, feeds: bool = True) -> list[SideRow]:
    """The rows of a comparison whose two columns are `width` cells wide each."""
    found: list[SideRow] = []
    for left, right in diff.pairs:
        if left is right or left == right:
            found.extend(SideRow(side, side) for side in wrapped(left, width, feeds=feeds))
        else:
            both = (wrapped(side, width, feeds=feeds) for side in (left, right))
            found.extend(SideRow(a, b) for a, b in zip_longest(*both, fillvalue=()))
    return found


def wrapped(segments: Sequence[Segment], width: int, *, feeds: bool = True) -> list[tuple[Segment, ...]]:
    """One side's segments as gated rows of at most `width` cells, broken between words where possible.

    With `feeds`, a line feed among changed words is visible as ⏎ unless all of the side is changed.
    """
    partly = feeds and any(not segment.changed for segment in segments)
    shown = [Segment(_gated(segment, partly), segment.changed, segment.style) for segment in segments]
    text = "".join(segment.text for segment in shown)
    found: list[tuple[Segment, ...]] = []
    pieces = _Pieces(shown)
    start = 0
    for line in text.removesuffix("\n").split("\n") if text else ():
        for end in _breaks(line, max(1, width)):
            found.append(pieces.take(end - start))
            start = end
        pieces.take(1)  # the line feed
        start = 0
    return found


def _gated(segment: Segment, partly: bool) -> str:
    shown = printable(segment.text)
    return shown.replace("\n", f"{_LINE_FEED}\n") if segment.changed and partly else shown


class _Pieces:
    """Hands out segments by number of characters."""

    def __init__(self, segments: Sequence[Segment]) -> None:
        self._segments = segments
        self._at = 0
        self._offset = 0

    def take(self, count: int) -> tuple[Segment, ...]:
        found: list[Segment] = []
        while count and self._at < len(self._segments):
            text, changed, style = self._segments[self._at]
            piece = text[self._offset : self._offset + count]
            found.append(Segment(piece, changed, style))
            count -= len(piece)
            self._offset += len(piece)
            if self._offset == len(text):
                self._at, self._offset = self._at + 1, 0
        return tuple(found)


def _breaks(line: str, width: int) -> Iterator[int]:
    """The places where the rows of one line end, the last being the line's own end."""
    if len(line) <= width and line.isascii():
        yield len(line)
        return
    used = 0
    for match in _WORD.finditer(line):
        word = match[0]
        cells = cell_len(word)
        blank = word.isspace()
        if used + cells <= width + blank:  # one space may hang over the edge
            used += cells
        elif cells <= width and not blank:
            yield match.start()
            used = cells
        else:
            for start, size in _graphemes(word):
                if used and used + size > width:
                    yield match.start() + start
                    used = 0
                used += size
    yield len(line)


def _graphemes(word: str) -> Iterable[tuple[int, int]]:
    """The start of each visible character, and its cells."""
    if word.isascii():
        return ((start, 1) for start in range(len(word)))
    return ((start, size) for start, _, size in split_graphemes(word)[0])


GUTTER = 3  # cells between two columns
SCROLLED = 2  # cells at the right of a row over the whole width, for the sign that there is more
NEAR = 2  # equal rows that stay open beside one that differs
LEAST = 4  # rows that are worth folding
HEADING = "$heading"

Cell = tuple[Segment, ...]


class Sheet(NamedTuple):
    """Columns of one width. A row with one cell goes over all of them.

    A changed segment looks like its column, unless it has a style of its own.
    """

    headings: Sequence[Content]
    rows: Sequence[Sequence[Cell]]
    columns: int = 2
    marked: bool = True  # whether what is changed is worth marking: not where nothing is the same
    folds: bool = True  # whether what is not changed is the same elsewhere


def column(width: int, columns: int) -> int:
    """The cells of one column."""
    return max(2, (width - GUTTER * (columns - 1)) // columns)


def across(width: int) -> int:
    """The cells of a row over all columns."""
    return max(2, width - SCROLLED)


def spanning(text: str, width: int, style: str = "") -> list[tuple[Cell]]:
    """A text as rows over all columns."""
    return [(row,) for row in wrapped([Segment(text, False, style)], across(width))]


def unified(found: Diff, width: int, *, marked: bool = True) -> list[tuple[Cell]]:
    """One column: what only the left has under −, what only the right has under +, what both have once.

    Its changed segments bear their style, but for those of texts of which nothing is worth marking.
    """
    signs = ("− ", "underline $warn"), ("+ ", "underline $good")
    room = across(width) - 2
    rows: list[tuple[Cell]] = []
    for left, right in found.pairs:
        if left is right or left == right:
            rows.extend(((Segment("  ", False), *row),) for row in wrapped(left, room))
            continue
        for side, (sign, style) in zip((left, right), signs, strict=True):
            head = Segment(sign, True, style.removeprefix("underline "))
            rows.extend(((head, *_styled(row, style if marked else "")),) for row in wrapped(side, room))
    return rows


def _styled(row: Cell, style: str) -> Iterator[Segment]:
    return (part._replace(style=style) if part.changed else part for part in row)


def folded(rows: Sequence[Sequence[Cell]]) -> list[range]:
    """The rows of each line: one, or many where they are equal and far from a difference.

    Nothing is folded where nothing differs.
    """
    found: list[range] = []
    place = 0
    for same, group in groupby(rows, _equal):
        count = sum(1 for _ in group)
        start, end = place, place + count
        place = end
        shut = range(start + NEAR * (start > 0), end - NEAR * (end < len(rows)))
        if same and len(shut) >= LEAST and count < len(rows):
            found += [range(n, n + 1) for n in range(start, shut.start)]
            found.append(shut)
            found += [range(n, n + 1) for n in range(shut.stop, end)]
        else:
            found += [range(n, n + 1) for n in range(start, end)]
    return found


def _equal(row: Sequence[Cell]) -> bool:
    return not any(part.changed or (part.style == HEADING and len(row) == 1) for cell in row for part in cell)
