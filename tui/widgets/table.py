"""Columns of text: widths that share a line, headings, and cells that stay inside them."""

from collections.abc import Sequence
from typing import NamedTuple

from textual.content import Content

from tui.text.gate import fit, join


class FlexColumn(NamedTuple):
    """One column. `width` is in cells; with `grow` it takes a share of what is left over."""

    title: str
    width: int
    grow: int = 0
    align: str = "left"  # left right
    drop: int = 0  # on a narrow line columns with the highest number go first; 0 stays


class Columns:
    """Lays cells out under headings, leaving columns out where the line is too narrow for all."""

    def __init__(self, *columns: FlexColumn, gap: int = 2) -> None:
        self._columns = columns
        self._gap = gap
        self._laid: dict[int, list[tuple[int, int]]] = {}

    def heading(self, width: int) -> Content:
        return self.row([Content(column.title) for column in self._columns], width).stylize("$heading")

    def row(self, cells: Sequence[Content | str], width: int) -> Content:
        """One line; a cell of type str goes through the gate."""
        if width not in self._laid:
            self._laid[width] = self._layout(width)
        return join(
            (fit(cells[place], room, self._columns[place].align) for place, room in self._laid[width]),
            " " * self._gap,
        )

    def _layout(self, width: int) -> list[tuple[int, int]]:
        """Which columns stand on a line of this width, and how many cells each has."""
        kept = list(range(len(self._columns)))
        while self._needed(kept) > width:
            droppable = [place for place in kept if self._columns[place].drop]
            if not droppable:
                break
            kept.remove(max(droppable, key=lambda place: self._columns[place].drop))
        spare = max(0, width - self._needed(kept))
        shares = sum(self._columns[place].grow for place in kept)
        return [
            (place, column.width + (spare * column.grow // shares if shares else 0))
            for place, column in ((place, self._columns[place]) for place in kept)
        ]

    def _needed(self, kept: list[int]) -> int:
        return sum(self._columns[place].width for place in kept) + self._gap * (len(kept) - 1)
