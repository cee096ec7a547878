"""A view of answers as a sheet: headings and rows, and the equal rows that are folded."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from textual.content import Content

from tui.text.diff import Diff, Segment
from tui.text.side_by_side import wrapped

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
