"""The two answers side by side: headings, aligned rows, one scroll position for both."""

from collections.abc import Sequence

from textual.content import Content, Span
from textual.events import Resize

from store.rows import ResponseRow
from tui.diff import Diff, Pair, Segment
from tui.screens.review_data import Compared, Review
from tui.side_by_side import Row, rows
from tui.text import cut, fit, join, plain
from tui.widgets.lines import Lines

UNLIKE = "nothing in common"
_GUTTER = 3
# What differs is underlined too, so that it shows without colour.
_CHANGED = ("underline $warn", "underline $good")


class Answers(Lines):
    """The baseline's answer on the left, the candidate's on the right."""

    DEFAULT_CSS = "Answers { height: 1fr; }"

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.top = 0
        self._headings: tuple[Content, Content] = (Content(""), Content(""))
        self._pair: Compared | None = None
        self._empty = ""
        self._rows: Sequence[Row] = ()
        self._alike = False  # whether anything is the same on both sides

    def show(self, review: Review, *, keep_place: bool = False) -> None:
        """A pair, from its top unless it is the one that stood here before."""
        view = review.pair.view if review.pair else None
        note = _likeness(review.pair.diff if review.pair else None)
        self._alike = note != UNLIKE
        self._headings = (
            _heading("1", review.baseline.name, "baseline", view.baseline if view else None),
            _heading("2", review.candidate.name, "candidate", view.candidate if view else None, note),
        )
        self._pair, self._empty, self.top = review.pair, "", self.top if keep_place else 0
        self._wrap()
        self.redraw()

    def show_empty(self, why: str) -> None:
        self._headings = (Content(""), Content(""))
        self._pair, self._empty, self.top, self._rows = None, why, 0, ()
        self.redraw()

    @property
    def _column(self) -> int:
        return max(2, (self.size.width - _GUTTER) // 2)

    def _wrap(self) -> None:
        self._rows = rows(_shown(self._pair), self._column) if self._pair else ()
        self.top = min(self.top, self._last_top())

    def _visible(self) -> int:
        return max(1, self.size.height - 1)

    def _last_top(self) -> int:
        return max(0, len(self._rows) - self._visible())

    def line(self, y: int) -> Content:
        if y == 0:
            left, right = (fit(heading, self._column) for heading in self._headings)
            return join([left, right], " " * _GUTTER)
        if self._pair is None:
            return Content.styled(self._empty, "$muted") if y == 2 else Content("")
        place = self.top + y - 1
        row = self._rows[place] if place < len(self._rows) else Row((), ())
        left, right = (self._side(segments, style) for segments, style in zip(row, _CHANGED, strict=True))
        return join([left, Content.styled(f" {self._gutter(y)} ", "$muted"), right])

    def _gutter(self, y: int) -> str:
        """The line between the answers says where they go on beyond the screen."""
        if y == 1 and self.top:
            return "▲"
        if y == self.size.height - 1 and self.top < self._last_top():
            return "▼"
        return "│"

    def _side(self, segments: Sequence[Segment], style: str) -> Content:
        spans: list[Span] = []
        text = ""
        for segment in segments:
            if segment.changed and self._alike:
                spans.append(Span(len(text), len(text) + len(segment.text), style))
            text += segment.text
        content = Content(text, spans)
        if content.cell_length > self._column:  # the one space that may hang over the edge
            content = content[:-1]
        return fit(content, self._column)

    def scroll_lines(self, count: int) -> None:
        """Moves both answers; negative is up."""
        top = max(0, min(self._last_top(), self.top + count))
        if top != self.top:
            self.top = top
            self.redraw()

    def on_resize(self, event: Resize) -> None:
        self._wrap()
        super().on_resize(event)


def _heading(key: str, name: str, role: str, response: ResponseRow | None, note: str = "") -> Content:
    parts = [Content.styled(key, "$key"), plain(cut(name, 24), "bold"), Content.styled(role, "$muted")]
    if note:
        parts.append(Content.styled(note, "$warn"))
    if response is not None:
        facts = [f"{response.tokens_out} tokens"] if response.tokens_out is not None else []
        facts += (
            [f"{response.latency_s:.2f} s"] if response.latency_s is not None and not response.cached else []
        )
        facts += ["from cache"] if response.cached else []
        parts.append(Content.styled(" · ".join(facts), "$muted"))
        if response.text == "":
            parts.append(Content.styled("an empty answer", "$warn"))
        if response.finish_reason == "length":
            parts.append(Content.styled("! cut off at the token limit", "$warn"))
    return join(parts, " ")


def _likeness(found: Diff | None) -> str:
    """What there is to say about the comparison as a whole."""
    if found is None:
        return ""
    segments = [segment for pair in found.pairs for side in pair for segment in side]
    if not any(segment.changed for segment in segments):
        return "identical answers"
    if not any(segment.text.strip() for segment in segments if not segment.changed):
        return UNLIKE
    return "" if found.precision == "words" else "long: sentences compared, not words"


def _shown(compared: Compared) -> Diff:
    """The alignment; where there is none, what there is of each side."""
    if compared.diff is not None:
        return compared.diff
    left, right = (_alone(response) for response in (compared.view.baseline, compared.view.candidate))
    return Diff((Pair(left, right),), "words")


def _alone(response: ResponseRow | None) -> tuple[Segment, ...]:
    if response is None:
        return (Segment("– not answered yet", False),)
    if response.whole is None:
        return (Segment(f"– no answer: {response.reason or 'no reason was recorded'}", True),)
    return (Segment(response.whole, False),)
