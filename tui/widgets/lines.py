"""Lines of text that write to the terminal only what changed of them.

Textual repaints a widget's whole region when it is refreshed. Over a slow link that is what makes an app feel
slow, so everything here is drawn line by line, and a change repaints the cells between the first and the last
that differ; of a line whose cells terminals may count otherwise, all of them.
"""

from collections.abc import Sequence

from textual.content import Content
from textual.events import Resize
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip
from textual.style import Style
from textual.widget import Widget

from tui.keys import LIST, bindings
from tui.text.gate import is_width_in_doubt

WHEEL = 3  # lines that a notch of the mouse wheel moves


class Lines(Widget):
    """Draws `line(y)` for each visible y; `redraw()` repaints those whose text or style has changed."""

    ALLOW_SELECT = False
    DEFAULT_CSS = "Lines { height: 1fr; }"

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._drawn: dict[int, tuple[Content, Style]] = {}

    def line(self, y: int) -> Content:
        """The content of the visible line `y`."""
        raise NotImplementedError

    @property
    def copied(self) -> str:
        """Its text, as it goes to the clipboard."""
        return "\n".join(self.line(y).plain.rstrip() for y in range(self.size.height)).strip("\n")

    def base_style(self, y: int) -> Style:
        """What lies under the visible line `y`."""
        return self.visual_style

    def _as_shown(self, y: int) -> Content:
        """The line as this terminal can show it."""
        return arrows(self.line(y)) if getattr(self.app, "ascii", False) else self.line(y)

    def render_line(self, y: int) -> Strip:
        content, style = self._drawn[y] = self._as_shown(y), self.base_style(y)
        strip = Strip(content.render_segments(style), content.cell_length)
        return strip.adjust_cell_length(self.size.width, style.background_style.rich_style)

    def redraw(self) -> None:
        """Repaints the cells that differ from what stands on the screen."""
        for y, (old, old_style) in list(self._drawn.items()):
            if y >= self.size.height:
                del self._drawn[y]
                continue
            new, style = self._as_shown(y), self.base_style(y)
            if style != old_style:
                self.refresh(Region(0, y, self.size.width, 1))
            elif not new.is_same(old):
                in_doubt = is_width_in_doubt(old.plain + new.plain)
                start, end = (0, self.size.width) if in_doubt else _changed(old, new)
                self.refresh(Region(start, y, end - start, 1))

    def scroll_lines(self, count: int) -> None:
        """Moves what is seen by so many lines; negative is up."""

    def on_mouse_scroll_down(self) -> None:
        self.scroll_lines(WHEEL)

    def on_mouse_scroll_up(self) -> None:
        self.scroll_lines(-WHEEL)

    def on_resize(self, event: Resize) -> None:
        self._drawn.clear()
        self.refresh()


def arrows(content: Content) -> Content:
    """Arrows in ASCII take two cells; a blank of the next gap makes room, so that columns stay in line."""
    while (place := content.plain.find("→")) >= 0:
        content = content[:place] + "->" + content[place + 1 :]
        gap = content.plain.find("  ", place + 2)
        if gap >= 0:
            content = content[:gap] + content[gap + 1 :]
    return content


def _changed(old: Content, new: Content) -> tuple[int, int]:
    """The cells from the first to the last where two lines differ, in text or style."""
    width = max(old.cell_length, new.cell_length)
    before, after = old.plain, new.plain
    restyled = {*old.spans} ^ {*new.spans}
    if old.spans != new.spans and not restyled:  # the same styles in another order
        return 0, width
    first = min([_shared(before, after), *(span.start for span in restyled)])
    start = new[:first].cell_length
    if old.cell_length != new.cell_length or len(before) != len(after):
        return start, width
    same = _shared(before[:first:-1], after[:first:-1])
    last = max([len(after) - same, *(min(span.end, len(after)) for span in restyled)])
    return start, max(start + 1, width - new[last:].cell_length)


def _shared(one: str, other: str) -> int:
    """How many characters two texts have in common at their start."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(one), len(other)))


class Pane(Lines):
    """A pane of prepared lines. It scrolls when it can be focused, half a screen or a line at a time."""

    BINDINGS = bindings(*LIST)

    class Scrolled(Message):
        """Another part of the text is seen."""

    def __init__(
        self,
        lines: Sequence[Content] = (),
        *,
        focusable: bool = False,
        id: str | None = None,
    ) -> None:
        super().__init__(id=id)
        self.can_focus = focusable
        self._lines: Sequence[Content] = lines
        self.top = 0

    def show(self, lines: Sequence[Content], *, keep_place: bool = True) -> None:
        """Replaces the text; lines that stay the same are not written again."""
        self._lines = lines
        self.top = min(self.top, self._last_top()) if keep_place else 0
        self.redraw()

    def line(self, y: int) -> Content:
        place = self.top + y
        return self._lines[place] if place < len(self._lines) else Content("")

    @property
    def copied(self) -> str:
        return "\n".join(line.plain.rstrip() for line in self._lines)

    def _last_top(self) -> int:
        return max(0, len(self._lines) - self.size.height)

    @property
    def below(self) -> int:
        """How many lines lie below the last that is seen."""
        return max(0, self._last_top() - self.top)

    def scroll_lines(self, count: int) -> None:
        top = max(0, min(self._last_top(), self.top + count))
        if top != self.top:
            self.top = top
            self.redraw()
            self.post_message(self.Scrolled())

    def action_down(self) -> None:
        self.scroll_lines(1)

    def action_up(self) -> None:
        self.scroll_lines(-1)

    def action_page_down(self) -> None:
        self.scroll_lines(self.size.height // 2)

    def action_page_up(self) -> None:
        self.scroll_lines(-(self.size.height // 2))

    def action_top(self) -> None:
        self.scroll_lines(-self.top)

    def action_bottom(self) -> None:
        self.scroll_lines(len(self._lines))


class Line(Pane):
    """One line of text."""

    DEFAULT_CSS = "Line { height: 1; }"

    def set(self, content: Content) -> None:
        self.show([content])
