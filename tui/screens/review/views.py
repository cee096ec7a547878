"""One example's answers as Review shows them, and the ways of looking at them.

Each way makes a sheet of a width out of what Review has read.
"""

from collections.abc import Callable, Sequence
from itertools import zip_longest
from typing import NamedTuple

from textual.content import Content, Span
from textual.events import Resize

from engine.data.messages import turn_text
from store.read.answers import ModelAnswer, PairView
from store.read.rows import ResponseRow
from tui.screens.review.data import ComparedPair, Review
from tui.text.diff import AlignedPair, Diff, Segment, diff, text_of
from tui.text.gate import counted, cut, fit, join, middle, number, plain
from tui.text.json_fields import NoJsonFound, field_rows, read_json, reordered
from tui.text.overlay import code_marks, overlaid, raw_rows
from tui.text.side_by_side import (
    GUTTER,
    HEADING,
    SCROLLED,
    Cell,
    Sheet,
    across,
    column,
    folded,
    rows,
    spanning,
    unified,
    wrapped,
)
from tui.widgets.lines import Lines


class Turn(NamedTuple):
    """Something that was said to both models, or both models' answers where `asked` is None."""

    title: str
    asked: str | None
    left: str | None = None
    right: str | None = None


def turns_of(view: PairView) -> list[Turn]:
    """The conversation in order. A side that is None has no answer to that turn."""
    messages = view.example.messages or [{"role": "user", "content": view.example.query}]
    questions = [str(turn) for turn in (view.example.extra or {}).get("turns") or ()]
    left, right = _answers(view.baseline), _answers(view.candidate)
    found = [Turn(message.get("role", "user"), turn_text(message)) for message in messages]
    for place in range(max(1, len(left), len(right), len(questions))):
        if place:
            asked = questions[place] if place < len(questions) else "– this turn was not recorded"
            found.append(Turn(f"user, turn {place + 1}", asked))
        title = f"answers, turn {place + 1}"
        found.append(Turn(title, None, _at(left, place), _at(right, place)))
    return found


def _answers(response: ResponseRow | None) -> list[str]:
    if response is None or response.text is None:
        return []
    return response.turns or [response.text]


def _at(answers: list[str], place: int) -> str | None:
    return answers[place] if place < len(answers) else None


UNLIKE = "nothing in common"
IDENTICAL = "identical answers"
BY_LINE = "too long to compare by word: by line"
NARROWEST = 36  # cells of a column of which there are more than two
MOST = 4  # columns
_NOTE = "$warn"


class ViewOptions(NamedTuple):
    """How a person looks at answers; it stays from example to example until they leave the app."""

    view: str = "side by side"
    models: bool = False  # all models of the run instead
    unfolded: bool = False
    thoughts: bool = False  # traces in full


def sheet(look: ViewOptions, review: Review, width: int) -> Sheet:
    """The answers of the pair that stands in Review; there is one."""
    assert review.pair is not None
    if look.models:
        return _models(review.pair.answers, look, width)
    made = VIEWS[look.view].make(review, review.pair, width)
    return made._replace(rows=[*_thoughts(look, review, made.columns, width), *made.rows])


def _thoughts(look: ViewOptions, review: Review, columns: int, width: int) -> list[Sequence[Cell]]:
    """What the models thought before they answered, folded unless it was asked for; nothing without traces.

    Its segments count as changed, since no equal lines of two traces are folded.
    """
    assert review.pair is not None
    sides = _read(look, review.pair)
    if not has_thoughts(look, review.pair):
        return []
    names = review.names
    if "reference" in look.view:
        names = ("", names[look.view.startswith("right")])
    sized = [f"{name} {_size(side)}" for name, side in zip(names, sides, strict=True) if name]
    titles = spanning(f"{_sign(look)} reasoning before the answer: {', '.join(sized)} · i", width, HEADING)
    if not look.thoughts:
        return [*titles]
    texts = [side.thinking or "" if side else "" for side in sides]
    if columns == 1:
        told = [f"{name}:\n{text}" for name, text in zip(names, texts, strict=True) if text]
        texts = ["\n\n".join(told)]
    room = across(width) if columns == 1 else column(width, columns)
    cells = [wrapped([Segment(text, True, "$muted")], room, feeds=False) for text in texts]
    return [*titles, *_padded(cells, columns), *spanning("answer", width, HEADING)]


def has_thoughts(look: ViewOptions, pair: ComparedPair) -> bool:
    """Whether a trace of what is shown is there to be shown too."""
    return any(side and side.thinking for side in _read(look, pair))


def _read(look: ViewOptions, pair: ComparedPair) -> list[ResponseRow | None]:
    """The answers that stand in the columns; None for one that is not there, and for a reference."""
    if look.models:
        return [answer.response for answer in pair.answers]
    sides = [pair.view.baseline, pair.view.candidate]
    return [None, sides[look.view.startswith("right")]] if "reference" in look.view else sides


def _sign(look: ViewOptions) -> str:
    return "▾" if look.thoughts else "▸"


def _size(response: ResponseRow | None) -> str:
    if response is None or not response.thinking:
        return "nothing"
    if response.thinking_tokens is None:
        return counted(len(response.thinking), "character")
    return counted(response.thinking_tokens, "token")


# Views of the two answers


def _beside(review: Review, pair: ComparedPair, width: int) -> Sheet:
    found, room = _shown(pair), column(width, 2)
    return _pair_sheet(review, pair, [*_by_line(pair.diff, width), *rows(_coloured(found), room)])


def _unified(review: Review, pair: ComparedPair, width: int) -> Sheet:
    if pair.diff is None:
        return _beside(review, pair, width)
    left, right = _headings(review, pair)
    heads = [join([Content.styled(sign, style), head], " ") for sign, style, head in
             (("−", _NOTE, left), ("+", "$good", right))]  # fmt: skip
    alike = likeness(pair.diff) != UNLIKE
    found = [*_by_line(pair.diff, width), *unified(_coloured(pair.diff), width, marked=alike)]
    return Sheet(heads, found, 1, alike)


def _raw(review: Review, pair: ComparedPair, width: int) -> Sheet:
    found, room = _shown(pair), column(width, 2)
    return _pair_sheet(review, pair, [*_by_line(pair.diff, width), *raw_rows(found, room)])


def _json(review: Review, pair: ComparedPair, width: int) -> Sheet:
    texts = [response.whole if response else None for response in (pair.view.baseline, pair.view.candidate)]
    try:
        left, right = (read_json(text or "") for text in texts)
    except NoJsonFound as error:
        which = "left" if _is_broken(texts[0]) else "right"
        why = f"shown as text: the {which} answer is not JSON: {error}"
        beside = _beside(review, pair, width)
        return beside._replace(rows=[*spanning(why, width, _NOTE), *beside.rows])
    said = [f"{found.around:,} characters around the {side} JSON are not shown: v shows them"
            for side, found in (("left", left), ("right", right)) if found.around]  # fmt: skip
    said += ["the fields are in a different order on the right"] if reordered(left.node, right.node) else []
    notes = [row for line in said for row in spanning(line, width, _NOTE)]
    found = field_rows(left.node, right.node, column(width, 2))
    return Sheet(_headings(review, pair), [*notes, *found])


def _is_broken(text: str | None) -> bool:
    try:
        read_json(text or "")
    except NoJsonFound:
        return True
    return False


def _turns(review: Review, pair: ComparedPair, width: int) -> Sheet:
    """The conversation from its first message, each turn's two answers beside each other."""
    found: list[Sequence[Cell]] = []
    room = column(width, 2)
    for turn in turns_of(pair.view):
        found += spanning(turn.title, width, HEADING)
        if turn.asked is not None:
            found += spanning(turn.asked, width)
            continue
        aligned = (
            diff(turn.left, turn.right)
            if turn.left is not None and turn.right is not None
            else _alone(turn.left, turn.right, "– no answer to this turn")
        )
        found += _by_line(aligned, width)
        found += rows(_coloured(aligned), room)
    return Sheet(_headings(review, pair), found, folds=pair.diff is not None)


# One answer against its reference


def _right_against(review: Review, pair: ComparedPair, width: int) -> Sheet:
    return _against(pair.view.candidate, _headings(review, pair, "")[1], pair.view, width)


def _left_against(review: Review, pair: ComparedPair, width: int) -> Sheet:
    return _against(pair.view.baseline, _headings(review, pair, "")[0], pair.view, width)


def _against(response: ResponseRow | None, head: Content, view: PairView, width: int) -> Sheet:
    """The reference that has most words in common with the answer, and the answer."""
    references = view.example.references or [
        turn_text({"tool_calls": [{"function": call} for call in view.example.right_calls]})
    ]
    answer = response.whole if response else None
    if not any(references):
        said = _side(answer, missing(response))
        found = Diff((AlignedPair(_side(None, "– this example has no reference"), said),), "words")
        shown = rows(_coloured(found), column(width, 2))
        return Sheet((Content.styled("reference", "bold"), head), shown, folds=False)
    place = nearest(references, answer or "")
    label = (
        "reference" if len(references) == 1 else f"reference {place + 1} of {len(references)}, the nearest"
    )
    headings = (Content.styled(label, "bold"), head)
    if answer is None:
        found = _alone(references[place], None, missing(response))
        return Sheet(headings, rows(found, column(width, 2)), folds=False)
    found = diff(references[place], answer)
    alike = likeness(found)
    note = "equals the reference" if alike == IDENTICAL else alike
    headings = (headings[0], join([head, Content.styled(note, _NOTE)] if note else [head], " "))
    compared = rows(_coloured(found), column(width, 2))
    return Sheet(headings, [*_by_line(found, width), *compared], marked=alike != UNLIKE)


def nearest(references: Sequence[str], answer: str) -> int:
    """The place of the reference with the largest share of words in common with the answer (Dice)."""
    words = set(answer.split())
    bags = [set(reference.split()) for reference in references]
    shares = [2 * len(bag & words) / max(1, len(bag) + len(words)) for bag in bags]
    return shares.index(max(shares))


# All models


def _models(answers: Sequence[ModelAnswer], look: ViewOptions, width: int) -> Sheet:
    """As many answers beside each other as fit, the others below them."""
    fitting = max(1, min(MOST, (width + 3) // (NARROWEST + 3)))
    banks = -(-len(answers) // fitting)
    columns = -(-len(answers) // banks) if banks else 1
    room = column(width, columns)
    found: list[Sequence[Cell]] = []
    for start in range(0, len(answers), columns):
        bank = answers[start : start + columns]
        titles: list[list[Cell]] = [[(Segment(_title(answer, room), False, HEADING),)] for answer in bank]
        cells = [
            [*_thought(answer.response, look, room), *wrapped(_said_by(answer.response), room)]
            for answer in bank
        ]
        found += [*_padded(titles, columns), *_padded(cells, columns)]
    models, samples = len({answer.response.model for answer in answers}), any(each.sample for each in answers)
    said = f"{models} models of this run answered" if answers else "no model answered this example"
    said += "; judges read the first sample of each" if samples else ""
    return Sheet([Content.styled(said, "$muted")], found, columns, folds=False)


def _thought(response: ResponseRow, look: ViewOptions, room: int) -> list[Cell]:
    """A model's trace above its answer, folded unless it was asked for."""
    if not response.thinking:
        return []
    found = wrapped([Segment(f"{_sign(look)} thought {_size(response)} · i", False, HEADING)], room)
    if look.thoughts:
        found += wrapped([Segment(response.thinking, True, "$muted")], room, feeds=False)
        found.append((Segment("answer", False, HEADING),))
    return found


def _said_by(response: ResponseRow) -> tuple[Segment, ...]:
    text = response.whole
    return _side(None, missing(response)) if text is None else _coloured_text(text)


def _padded(cells: Sequence[Sequence[Cell]], columns: int) -> list[Sequence[Cell]]:
    empty: Cell = ()
    return [[*row, *[empty] * (columns - len(row))] for row in zip_longest(*cells, fillvalue=empty)]


def _title(answer: ModelAnswer, width: int) -> str:
    which = f"sample {answer.sample}" if answer.sample else answer.role
    score = f" · {cut(answer.score.measure, 16)} {number(answer.value, 2)}" if answer.score else ""
    score = (" · cut off" if answer.response.finish_reason == "length" else "") + score
    name = middle(answer.response.model, max(4, width - len(score) - len(which) - 1))
    return f"{name} {which}{score}"


# What the views share


def _pair_sheet(review: Review, pair: ComparedPair, found: Sequence[Sequence[Cell]]) -> Sheet:
    alike = likeness(pair.diff) != UNLIKE
    return Sheet(_headings(review, pair), found, marked=alike, folds=pair.diff is not None)


def _headings(review: Review, pair: ComparedPair, note: str | None = None) -> tuple[Content, Content]:
    """Both sides' headings; the note is how alike they are. Of several samples the pair has the first."""
    note = likeness(pair.diff) if note is None else note
    samples = max((answer.sample or 0 for answer in pair.answers), default=0)
    said = f"sample 1 of {samples}: m shows all" if samples else ""
    return (
        heading("1", review.names[0], review.roles[0], pair.view.baseline, said),
        heading("2", review.names[1], review.roles[1], pair.view.candidate, note),
    )


def heading(key: str, name: str, role: str, response: ResponseRow | None, note: str = "") -> Content:
    """Who answered, and what is to be known of the answer before reading it."""
    parts = [Content.styled(key, "$key"), plain(middle(name, 24), "bold"), Content.styled(role, "$muted")]
    if note:
        parts.append(Content.styled(note, "$warn"))
    if response is not None:
        thought = f", {response.thinking_tokens:,} reasoning" if response.thinking_tokens else ""
        if response.text == "":
            parts.append(Content.styled("an empty answer", "$warn"))
        if response.finish_reason == "length":
            parts.append(Content.styled("! cut off", "$warn"))
        facts = [f"{response.tokens_out} tokens{thought}"] if response.tokens_out is not None else []
        facts += (
            [f"{response.latency_s:.2f} s"] if response.latency_s is not None and not response.cached else []
        )
        facts += ["from cache"] if response.cached else []
        facts += [f"tool calls: {len(response.calls)}"] if response.calls else []
        parts.append(Content.styled(" · ".join(facts), "$muted"))
    return join([part for part in parts if part], " ")


def likeness(found: Diff | None) -> str:
    """What there is to say about the comparison as a whole."""
    if found is None:
        return ""
    segments = [segment for pair in found.pairs for side in pair for segment in side]
    if not any(segment.changed for segment in segments):
        return IDENTICAL
    alike = any(segment.text.strip() for segment in segments if not segment.changed)
    return "" if alike else UNLIKE


def _by_line(found: Diff | None, width: int) -> list[tuple[Cell]]:
    return spanning(BY_LINE, width, _NOTE) if found is not None and found.precision == "lines" else []


def _shown(compared: ComparedPair) -> Diff:
    """The alignment; where there is none, what there is of each side."""
    if compared.diff is not None:
        return compared.diff
    left, right = compared.view.baseline, compared.view.candidate
    sides = [response.whole if response else None for response in (left, right)]
    why = [missing(response) for response in (left, right)]
    return Diff((AlignedPair(_side(sides[0], why[0]), _side(sides[1], why[1])),), "words")


def missing(response: ResponseRow | None) -> str:
    """Why there is no answer."""
    if response is None:
        return "– not answered yet"
    return f"– no answer: {response.reason or 'no reason was recorded'}"


def _side(text: str | None, why: str) -> tuple[Segment, ...]:
    return (Segment(why, False, _NOTE),) if text is None else (Segment(text, False),)


def _alone(left: str | None, right: str | None, why: str) -> Diff:
    return Diff((AlignedPair(_side(left, why), _side(right, why)),), "words")


def _coloured(found: Diff) -> Diff:
    """The comparison with its code highlighted."""
    sides = [_coloured_side(parts) for parts in zip(*found.pairs, strict=True)]
    return Diff(tuple(map(AlignedPair, *sides)), found.precision) if any(map(any, sides)) else found


def _coloured_side(parts: Sequence[tuple[Segment, ...]]) -> Sequence[tuple[Segment, ...]]:
    marks = code_marks("".join(map(text_of, parts)))
    return overlaid(parts, marks) if marks else parts


def _coloured_text(text: str) -> tuple[Segment, ...]:
    return tuple(_coloured_side([(Segment(text, False),)])[0])


class View(NamedTuple):
    key: str  # in the list of views
    note: str
    make: Callable[[Review, ComparedPair, int], Sheet]


VIEWS = {
    "side by side": View("s", "sentence by sentence, words that differ marked", _beside),
    "unified": View("u", "one column: − only left, + only right", _unified),
    "right against reference": View("r", "the reference and the right answer", _right_against),
    "left against reference": View("l", "the reference and the left answer", _left_against),
    "raw": View("w", "line ends, tabs, blanks and invisible characters shown", _raw),
    "turns": View("t", "the conversation, turn by turn", _turns),
    "JSON fields": View("f", "pretty-printed, key by key", _json),
}


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
        equal = self._places[place]
        if len(equal) > 1:
            return self._beyond(Content.styled(f"… {len(equal)} equal lines … z", "$muted"), y)
        return self._row(self._rows[equal.start], y)

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
