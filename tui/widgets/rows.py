"""A virtual list: any number of rows, of which only the visible ones are ever drawn."""

from collections.abc import Callable, Hashable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from textual.content import Content
from textual.events import Click, Resize
from textual.message import Message
from textual.style import Style

from tui.keys import LIST, bindings
from tui.text.gate import fit, join
from tui.widgets.lines import WHEEL, Lines


class FlexColumn(NamedTuple):
    """One column. `width` is in cells; with `grow` it takes a share of what is left over."""

    title: str
    width: int
    grow: int = 0
    align: str = "left"  # left right
    drop: int = 0  # on a narrow line columns with the highest number go first; 0 stays


CellContent = Content | str | Callable[[int], str]  # a function says what stands in so many cells


class Columns:
    """Lays cells out under headings, leaving columns out where the line is too narrow for all."""

    def __init__(self, *columns: FlexColumn, gap: int = 2) -> None:
        self._columns = columns
        self._gap = gap
        self._laid: dict[int, list[tuple[int, int]]] = {}

    def heading(self, width: int) -> Content:
        return self.row([Content(column.title) for column in self._columns], width).stylize("$heading")

    def row(self, cells: Sequence[CellContent], width: int) -> Content:
        """One line; a cell of type str goes through the gate."""
        if width not in self._laid:
            self._laid[width] = self._layout(width)
        return join(
            (
                fit(cell(room) if callable(cell := cells[place]) else cell, room, self._columns[place].align)
                for place, room in self._laid[width]
            ),
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


T = TypeVar("T")
WIDE = 400  # cells for a row that is copied, not shown


class Rows(Lines, Generic[T], can_focus=True):
    """Rows with a cursor. `draw(item, width)` gives a row's content.

    Moving the cursor repaints two lines. At the edge the list moves by half its height, so that holding a key
    costs a repaint of all lines once in half a screen, not once a row.
    """

    BINDINGS = bindings(*LIST, "move.open")
    COMPONENT_CLASSES = {"rows--cursor", "rows--cursor-away"}
    DEFAULT_CSS = """
    Rows > .rows--cursor {
        background: $block-cursor-background; color: $block-cursor-foreground; text-style: bold;
    }
    Rows > .rows--cursor-away { background: $block-cursor-blurred-background; }
    """

    class Moved(Message):
        """The cursor stands on another item."""

        def __init__(self, rows: "Rows[Any]") -> None:
            super().__init__()
            self.rows = rows

        @property
        def control(self) -> "Rows[Any]":
            return self.rows

    class Opened(Moved):
        """Enter was pressed on an item."""

    class NearEnd(Moved):
        """The cursor nears the end of what was loaded."""

    def __init__(
        self,
        draw: Callable[[T, int], Content],
        *,
        empty: str = "nothing here",
        marked: Callable[[], int] | None = None,
        id: str | None = None,
    ) -> None:
        """`marked` says how many cells of a row the cursor marks; None: all of them."""
        super().__init__(id=id)
        self._draw = draw
        self._marked = marked
        self._empty = empty
        self.items: Sequence[T] = ()
        self.cursor = 0
        self.top = 0

    @property
    def item(self) -> T | None:
        """What the cursor stands on; None when there are no rows."""
        return self.items[self.cursor] if self.cursor < len(self.items) else None

    def show(
        self,
        items: Sequence[T],
        *,
        empty: str | None = None,
        key: Callable[[T], Hashable] | None = None,
    ) -> None:
        """Replaces the rows. With `key` the cursor stays on the item that it was on, wherever that is now."""
        before, place = self.item, self.cursor
        if key is not None and before is not None:
            held = key(before)
            place = next((i for i, item in enumerate(items) if key(item) == held), place)
        self._empty = self._empty if empty is None else empty
        self.items = items
        self._place(place, self.top + place - self.cursor if self.top else 0)
        self.redraw()
        if self.item != before:
            self.post_message(self.Moved(self))

    def line(self, y: int) -> Content:
        index = self.top + y
        if index >= len(self.items):
            return Content.styled(f"  {self._empty}", "$muted") if not self.items and y == 0 else Content("")
        mark = "›" if index == self.cursor else " "
        row = fit(self._draw(self.items[index], self.size.width - 2), self.size.width - 2)
        if index != self.cursor:
            return Content("  ") + row
        # Under the cursor one style: fewer bytes a move, and contrast that does not depend on the row's own.
        if self._marked is None:
            return Content(f"{mark} {row.plain}")
        start = row.truncate(self._marked(), ellipsis=False).plain
        return Content(f"{mark} {start}").stylize(self._cursor_style) + row[len(start) :]

    @property
    def copied(self) -> str:
        drawn = "" if self.item is None else self._draw(self.item, WIDE).plain
        return "  ".join(cell for cell in drawn.split("  ") if cell.strip()).strip()

    def base_style(self, y: int) -> Style:
        at_cursor = self.items and self.top + y == self.cursor
        return self._cursor_style if at_cursor and self._marked is None else self.visual_style

    @property
    def _cursor_style(self) -> Style:
        return self.get_visual_style("rows--cursor" if self.has_focus else "rows--cursor-away")

    def go_to(self, index: int) -> None:
        """Puts the cursor on a row, as near to it as there are rows."""
        old = self.cursor
        self._place(index, self.top)
        if self.cursor == old:
            return
        self.redraw()
        self.post_message(self.Moved(self))
        if self.cursor + self.size.height >= len(self.items):
            self.post_message(self.NearEnd(self))

    def _place(self, index: int, top: int) -> None:
        height, last = max(1, self.size.height), len(self.items) - 1
        self.cursor = max(0, min(last, index))
        if self.cursor < top:
            top = self.cursor - (height - 1) // 2
        elif self.cursor >= top + height:
            top = self.cursor - height // 2
        self.top = max(0, min(top, last - height + 1))

    def on_focus(self) -> None:
        self.redraw()

    def on_blur(self) -> None:
        self.redraw()

    def on_resize(self, event: Resize) -> None:
        self._place(self.cursor, self.top)
        super().on_resize(event)

    def on_click(self, event: Click) -> None:
        self.go_to(self.top + event.y)

    def on_mouse_scroll_down(self) -> None:
        self.go_to(self.cursor + WHEEL)

    def on_mouse_scroll_up(self) -> None:
        self.go_to(self.cursor - WHEEL)

    def action_down(self) -> None:
        self.go_to(self.cursor + 1)

    def action_up(self) -> None:
        self.go_to(self.cursor - 1)

    def action_page_down(self) -> None:
        self.go_to(self.cursor + max(1, self.size.height // 2))

    def action_page_up(self) -> None:
        self.go_to(self.cursor - max(1, self.size.height // 2))

    def action_top(self) -> None:
        self.go_to(0)

    def action_bottom(self) -> None:
        self.go_to(len(self.items) - 1)

    def action_open(self) -> None:
        if self.item is not None:
            self.post_message(self.Opened(self))
