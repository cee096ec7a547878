"""A virtual list: any number of rows, of which only the visible ones are ever drawn."""

from collections.abc import Callable, Hashable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from textual.content import Content
from textual.events import Click, Resize
from textual.message import Message
from textual.style import Style

from tui.keys import LIST, bindings
from tui.text.gate import fit, join
from tui.widgets.lines import Lines


class FlexColumn(NamedTuple):
    """One column. `width` is in cells; with `grow` it takes a share of what is left over."""

    title: str
    width: int
    grow: int = 0
    align: str = "left"  # left right
    drop: int = 0  # on a narrow line columns with the highest number go first; 0 stays
    key: Callable[[Any], Any] | None = None  # what an item is sorted by; without one the column sorts nothing


class Sorting(NamedTuple):
    """By which column rows are sorted, and which way: text begins with A, numbers with the largest."""

    column: int
    backwards: bool = False


CellContent = Content | str | Callable[[int], Content | str]  # a function says what stands in so many cells


class Columns:
    """Lays cells out under headings, leaving columns out where the line is too narrow for all."""

    def __init__(self, *columns: FlexColumn, gap: int = 2) -> None:
        self._columns = columns
        self._gap = gap
        self._laid: dict[int, list[tuple[int, int]]] = {}

    def heading(self, width: int, by: Sorting | None = None) -> Content:
        titles = [Content(column.title) for column in self._columns]
        if by is not None:
            title = titles[by.column]
            sign = "▲" if by.backwards == self._is_falling(by.column) else "▼"
            titles[by.column] = join(
                [sign, title] if self._columns[by.column].align == "right" else [title, sign]
            )
        return self.row(titles, width).stylize("$heading")

    @property
    def sortable(self) -> list[int]:
        return [place for place, column in enumerate(self._columns) if column.key is not None]

    def title(self, place: int) -> str:
        return self._columns[place].title

    def at(self, x: int, width: int) -> int | None:
        """The column that stands at this cell of a line."""
        start = 0
        for place, room in self._laid.get(width, ()):
            if start <= x < start + room + self._gap:
                return place
            start += room + self._gap
        return None

    def sorted(self, items: Sequence[Any], by: Sorting) -> list[Any]:
        """What has no value comes last, whichever way; equal ones stay in their order."""
        key = self._columns[by.column].key
        if key is None:
            return list(items)
        falling = by.backwards != self._is_falling(by.column)
        valued = [(key(item), item) for item in items]
        known = [pair for pair in valued if not _is_missing(pair[0])]
        known.sort(key=lambda pair: _comparable(pair[0]), reverse=falling)
        return [item for _, item in known] + [item for value, item in valued if _is_missing(value)]

    def _is_falling(self, place: int) -> bool:
        """Columns of numbers stand to the right, and begin with the largest."""
        return self._columns[place].align == "right"

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


def _is_missing(value: Any) -> bool:
    return value is None or value == "" or value != value  # not a number


def _comparable(value: Any) -> Any:
    return value.casefold() if isinstance(value, str) else value


T = TypeVar("T")
WIDE = 400  # cells for a row that is copied, not shown


class Rows(Lines, Generic[T], can_focus=True):
    """Rows with a cursor, under the heading of their columns. `draw(item, width)` gives a row's content.

    Rows that do not fit have a scroll bar.

    Moving the cursor repaints two lines. At the edge the list moves by half its height, so that holding a key
    costs a repaint of all lines once in half a screen, not once a row.
    """

    BINDINGS = bindings(*LIST, "move.open", "table.sort", "table.backwards")
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

    class Sorted(Moved):
        """The rows are in another order."""

    def __init__(
        self,
        draw: Callable[[T, int], Content],
        *,
        empty: str = "nothing here",
        columns: Columns | None = None,
        marked: Callable[[], int] | None = None,
        id: str | None = None,
    ) -> None:
        """`marked` says how many cells of a row the cursor marks; None: all of them."""
        super().__init__(id=id)
        self._draw = draw
        self._marked = marked
        self._empty = empty
        self._columns = columns
        self.by: Sorting | None = None  # None: in their own order
        self._own: Sequence[T] = ()
        self.items: Sequence[T] = ()  # as they stand
        self.cursor = 0
        self.top = 0

    @property
    def item(self) -> T | None:
        """What the cursor stands on; None when there are no rows."""
        return self.items[self.cursor] if self.cursor < len(self.items) else None

    @property
    def columns(self) -> Columns | None:
        return self._columns

    @columns.setter
    def columns(self, columns: Columns) -> None:
        """Rows sorted by a column stay so where there is one of its name; else they have their own order."""
        if self.by is not None and self._columns is not None:
            title = self._columns.title(self.by.column)
            same = (place for place in columns.sortable if columns.title(place) == title)
            place = next(same, None) if title else None
            self.by = None if place is None else self.by._replace(column=place)
        self._columns = columns

    def show(
        self,
        items: Sequence[T],
        *,
        empty: str | None = None,
        key: Callable[[T], Hashable] | None = None,
    ) -> None:
        """Replaces the rows. With `key` the cursor stays on the item that it was on, wherever that is now."""
        self._empty = self._empty if empty is None else empty
        self._own = items
        self._put(
            items if self.by is None or self.columns is None else self.columns.sorted(items, self.by), key
        )

    def _put(self, items: Sequence[T], key: Callable[[T], Hashable] | None) -> None:
        before, place = self.item, self.cursor
        if key is not None and before is not None:
            held = key(before)
            place = next((i for i, item in enumerate(items) if key(item) == held), place)
        self.items = items
        self._place(place, self.top + place - self.cursor if self.top else 0)
        self.redraw()
        if self.item != before:
            self.post_message(self.Moved(self))

    @property
    def head(self) -> int:
        """How many lines the heading takes."""
        return 1 if self.columns is not None and self.size.height > 1 else 0

    @property
    def height(self) -> int:
        """How many rows are in sight."""
        return max(1, self.size.height - self.head)

    @property
    def room(self) -> int:
        """How many cells a row has."""
        return max(0, self.size.width - 2 - (len(self.items) > self.height))

    def line(self, y: int) -> Content:
        if y < self.head:
            heading = self.columns.heading(self.room, self.by) if self.columns and self._own else ""
            return join(["  ", heading])
        index = self.top + y - self.head
        if index >= len(self.items):
            first = not self.items and y == self.head
            return Content.styled(f"  {self._empty}", "$muted") if first else Content("")
        mark = "›" if index == self.cursor else " "
        row = fit(self._draw(self.items[index], self.room), self.room)
        bar = self._bar(index - self.top)
        if index != self.cursor:
            return join(["  ", row, Content.styled(bar, "$muted")])
        # Under the cursor one style: fewer bytes a move, and contrast that does not depend on the row's own.
        if self._marked is None:
            return Content(f"{mark} {row.plain}{bar}")
        start = row.truncate(self._marked(), ellipsis=False).plain
        named = Content(f"{mark} {start}").stylize(self._cursor_style)
        return join([named, row[len(start) :], Content.styled(bar, "$muted")])

    def _bar(self, place: int) -> str:
        """The scroll bar beside the row at this place in sight; "" where all rows are in sight."""
        count, height = len(self.items), self.height
        if count <= height:
            return ""
        thumb = max(1, height * height // count)
        start = round(self.top * (height - thumb) / (count - height))
        return "┃" if start <= place < start + thumb else " "

    @property
    def copied(self) -> str:
        drawn = "" if self.item is None else self._draw(self.item, WIDE).plain
        return "  ".join(cell for cell in drawn.split("  ") if cell.strip()).strip()

    def base_style(self, y: int) -> Style:
        at_cursor = self.items and y >= self.head and self.top + y - self.head == self.cursor
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
        if self.cursor + self.height >= len(self.items):
            self.post_message(self.NearEnd(self))

    def _place(self, index: int, top: int) -> None:
        height, last = self.height, len(self.items) - 1
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
        place = event.get_content_offset(self)
        if place is None:  # on the border
            return
        index = self.top + place.y - self.head
        if place.y >= self.head and index < len(self.items):
            self.go_to(index)
            if event.chain == 2:
                self.action_open()
        elif place.y < self.head and self.columns is not None:
            column = self.columns.at(place.x - 2, self.room)
            if column is not None:
                self._sort_by_click(column)

    def scroll_lines(self, count: int) -> None:
        self.go_to(self.cursor + count)

    def action_down(self) -> None:
        self.go_to(self.cursor + 1)

    def action_up(self) -> None:
        self.go_to(self.cursor - 1)

    def action_page_down(self) -> None:
        self.go_to(self.cursor + max(1, self.height // 2))

    def action_page_up(self) -> None:
        self.go_to(self.cursor - max(1, self.height // 2))

    def action_top(self) -> None:
        self.go_to(0)

    def action_bottom(self) -> None:
        self.go_to(len(self.items) - 1)

    def action_open(self) -> None:
        if self.item is not None:
            self.post_message(self.Opened(self))

    # Sorting

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action in ("sort", "backwards"):
            return self.columns is not None and bool(self.columns.sortable)
        return True

    def action_sort(self) -> None:
        """By the next column, and after the last in their own order."""
        columns = self.columns.sortable if self.columns is not None else []
        following = [place for place in columns if self.by is None or place > self.by.column]
        self._sort(Sorting(following[0]) if following else None)

    def action_backwards(self) -> None:
        if self.by is not None:
            self._sort(self.by._replace(backwards=not self.by.backwards))
        else:
            self.action_sort()

    def _sort_by_click(self, column: int) -> None:
        if self.by is not None and self.by.column == column:
            self.action_backwards()
        elif self.columns is not None and column in self.columns.sortable:
            self._sort(Sorting(column))

    def _sort(self, by: Sorting | None) -> None:
        self.by = by
        self._put(self._own if by is None or self.columns is None else self.columns.sorted(self._own, by), id)
        self.redraw()
        self.post_message(self.Sorted(self))
