"""The answers to one example, seen in the way that the person chose; one scroll position for all columns."""

from collections.abc import Sequence

from textual.content import Content, Span
from textual.events import Resize

from tui.screens.review.data import Review
from tui.screens.review.views import VIEWS, ViewOptions, sheet
from tui.text.gate import fit, join
from tui.text.side_by_side import GUTTER, SCROLLED, Cell, Sheet, across, column, folded
from tui.widgets.lines import Lines

# What differs is underlined too, so that it shows without colour.
_CHANGED = ("underline $warn", "underline $good")
_NOTHING = Sheet((), ())


class Answers(Lines):
    """The baseline's answer on the left, the candidate's on the right, or what else the look asks for."""

    DEFAULT_CSS = "Answers { height: 1fr; border-title-color: $muted; border-title-background: $background; }"

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.top = 0
        self._look = ViewOptions()
        self._review: Review | None = None
        self._empty = ""
        self._sheet = _NOTHING
        self._rows: Sequence[Sequence[Cell]] = ()
        self._places: Sequence[range] = ()  # the rows that stand in each line; several are folded

    # What is shown

    def show(self, review: Review, *, keep_place: bool = False) -> None:
        """A pair, from its top unless it is the one that stood here before."""
        self._review, self._empty, self.top = review, "", self.top if keep_place else 0
        self._lay_out()

    def show_empty(self, why: str) -> None:
        self._review, self._empty, self.top = None, why, 0
        self._lay_out()

    @property
    def look(self) -> ViewOptions:
        return self._look

    def look_at(self, look: ViewOptions) -> None:
        """Another way of looking at the same answers, from the top."""
        if look != self._look:
            self._look, self.top = look, 0
            self._lay_out()

    @property
    def folds(self) -> int:
        """Rows that are folded away."""
        return sum(len(rows) for rows in self._places if len(rows) > 1)

    def _lay_out(self) -> None:
        if self.size.width:
            self._wrap()
            self.redraw()

    def _wrap(self) -> None:
        pair = self._review.pair if self._review else None
        self._sheet = sheet(self._look, self._review, self.size.width) if self._review and pair else _NOTHING
        self._rows = self._sheet.rows
        shut = self._sheet.folds and not self._look.unfolded
        self._places = folded(self._rows) if shut else [range(n, n + 1) for n in range(len(self._rows))]
        self.top = min(self.top, self._last_top())
        self._entitle()

    def _entitle(self) -> None:
        """Writes the view's name into the border."""
        view = "all models" if self._look.models else self._look.view
        title = (
            f"{view} {[*VIEWS].index(self._look.view) + 1}/{len(VIEWS)} v"
            if not self._look.models
            else f"{view} m"
        )
        if self.border_title != title:
            self.border_title = title

    # Drawing

    def line(self, y: int) -> Content:
        if y == 0:
            return self._heading()
        if self._review is None:
            return Content.styled(self._empty, "$muted") if y == 2 else Content("")
        place = self.top + y - 1
        if place >= len(self._places):
            return self._row([()] * self._sheet.columns, y)
        rows = self._places[place]
        if len(rows) > 1:
            return self._beyond(Content.styled(f"… {len(rows)} equal lines … z", "$muted"), y)
        return self._row(self._rows[rows.start], y)

    def _heading(self) -> Content:
        headings = self._sheet.headings
        if not headings:
            return Content("")
        room = column(self.size.width, len(headings))
        return join([fit(heading, room) for heading in headings], " " * GUTTER)

    def _row(self, row: Sequence[Cell], y: int) -> Content:
        if len(row) == 1:
            return self._beyond(self._cell(row[0], across(self.size.width), ""), y)
        room = column(self.size.width, self._sheet.columns)
        cells = [self._cell(cell, room, _CHANGED[place > 0]) for place, cell in enumerate(row)]
        gutter = f" {self._sign(y) or '│'} ".center(GUTTER)
        first, *others = cells
        rules = [part for cell in others for part in (Content.styled(" │ ", "$muted"), cell)][1:]
        return join([first, Content.styled(gutter, "$muted"), *rules])

    def _beyond(self, content: Content, y: int) -> Content:
        """A row over all columns, with the sign that the answers go on at its end."""
        sign = Content.styled(f"{self._sign(y):>{SCROLLED}}", "$muted")
        return join([fit(content, across(self.size.width)), sign])

    def _sign(self, y: int) -> str:
        """Says where the answers go on beyond the screen."""
        if y == 1 and self.top:
            return "▲"
        return "▼" if y == self.size.height - 1 and self.top < self._last_top() else ""

    def _cell(self, cell: Cell, room: int, changed: str) -> Content:
        spans: list[Span] = []
        text = ""
        for segment in cell:
            style = segment.style or (changed if segment.changed and self._sheet.marked else "")
            if style:
                spans.append(Span(len(text), len(text) + len(segment.text), style))
            text += segment.text
        content = Content(text, spans)
        if content.cell_length > room:  # the one space that may hang over the edge
            content = content[:-1]
        return fit(content, room)

    # Scrolling

    def _last_top(self) -> int:
        return max(0, len(self._places) - max(1, self.size.height - 1))

    def scroll_lines(self, count: int) -> None:
        """Moves all columns; negative is up."""
        top = max(0, min(self._last_top(), self.top + count))
        if top != self.top:
            self.top = top
            self.redraw()

    def on_resize(self, event: Resize) -> None:
        self._wrap()
        super().on_resize(event)
