"""Blocks of lines beside one another, all of one size, of which one is chosen."""

from collections.abc import Callable, Sequence

from textual.content import Content
from textual.events import Click, Resize
from textual.message import Message

from tui.text.gate import fit, join
from tui.widgets.lines import Lines

LEAST, MOST = 4, 9  # lines of a block
GAP = 2  # cells between blocks


class Panels(Lines):
    """Any number of blocks in columns, read across; those below the last visible row scroll into sight.

    `draw(place, width, height)` gives a block's lines; what it gave stands until `changed`.
    """

    class Clicked(Message):
        """A block was clicked, so many times."""

        def __init__(self, place: int, times: int) -> None:
            super().__init__()
            self.place, self.times = place, times

    def __init__(self, draw: Callable[[int, int, int], Sequence[Content]], *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._draw = draw
        self._blocks: dict[int, Sequence[Content]] = {}
        self._count, self._columns, self._top = 0, 1, 0

    def show(self, count: int, columns: int) -> None:
        self._count, self._columns = count, max(1, columns)
        self.changed()

    def changed(self, *places: int) -> None:
        """Draws these blocks anew, or all."""
        for place in places or tuple(self._blocks):
            self._blocks.pop(place, None)
        self.redraw()

    def keep_in_sight(self, place: int) -> None:
        row, seen = place // self._columns, max(1, self.size.height // self.block_height)
        top = min(max(self._top, row - seen + 1), row)
        if top != self._top:
            self._top = top
            self.redraw()

    @property
    def block_height(self) -> int:
        rows = -(-self._count // self._columns) or 1
        seen = max(1, min(rows, self.size.height // LEAST))
        return max(LEAST, min(MOST, self.size.height // seen))

    @property
    def block_width(self) -> int:
        return max(1, (self.size.width - GAP * (self._columns - 1)) // self._columns)

    def line(self, y: int) -> Content:
        row, within = divmod(y, self.block_height)
        first = (self._top + row) * self._columns
        places = range(first, min(first + self._columns, self._count))
        if (row + 1) * self.block_height > self.size.height:  # no part of a block is shown
            return Content("")
        return join((self._line(place, within) for place in places), " " * GAP)

    def _line(self, place: int, within: int) -> Content:
        if place not in self._blocks:
            self._blocks[place] = self._draw(place, self.block_width, self.block_height)
        lines = self._blocks[place]
        return fit(lines[within] if within < len(lines) else "", self.block_width)

    def on_resize(self, event: Resize) -> None:
        self._blocks.clear()
        super().on_resize(event)

    def on_click(self, event: Click) -> None:
        at = event.get_content_offset(self)
        if at is not None:
            row, column = self._top + at.y // self.block_height, at.x // (self.block_width + GAP)
            place = row * self._columns + min(column, self._columns - 1)
            if place < self._count:
                self.post_message(self.Clicked(place, event.chain))
