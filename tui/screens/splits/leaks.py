"""The leaks: which examples are in the training data, worst first, with both texts."""

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby, zip_longest
from typing import NamedTuple

from textual.content import Content, Span

from engine.data.example import normalise
from store.read.datasets import LeakCount, LeakItem, LeakTexts
from tui.screens.splits.data import LeakEntry, SplitsData
from tui.screens.splits.parts import SplitsPart, plural
from tui.text.diff import Segment, common, tokens
from tui.text.gate import cut, fit, join, one_line, plain
from tui.text.side_by_side import wrapped
from tui.widgets.table import Columns, FlexColumn

LONGEST = 20_000  # characters of a text that are compared and shown
BESIDE = 72  # cells from which on the two texts stand side by side
_GUTTER = " │ "
_TELLING = 4  # a shorter word that is alone in common says nothing
# Underlined too, so that it shows without colour.
_SHARED = "underline $warn"
_WORD = re.compile(r"\w")


class LeakPair(NamedTuple):
    """Both texts in segments (`changed`: the other has no such words) and how many words they share."""

    leak: LeakTexts
    ours: tuple[Segment, ...]
    theirs: tuple[Segment, ...]
    words: int  # of the eval text
    shared: int


def pair(leak: LeakTexts) -> LeakPair:
    """Aligns the part of the example that was found with the training text."""
    references = "\n".join(leak.references or [])
    ours = {"query": leak.query, "reference": references}.get(leak.field, f"{leak.query}\n{references}")
    theirs = leak.excerpt if leak.train_text is None else leak.train_text
    a, b = tokens(ours[:LONGEST]), tokens(theirs[:LONGEST])
    mine, found = _words(a), _words(b)
    matched = _telling(mine, found)
    return LeakPair(
        leak,
        _segments(a, {mine[i][0] for i, _ in matched}, len(ours) - LONGEST),
        _segments(b, {found[j][0] for _, j in matched}, len(theirs) - LONGEST),
        len(mine),
        len(matched),
    )


def _words(found: Sequence[str]) -> list[tuple[int, str]]:
    """Each word's place among the tokens, and the word as leaks are searched for."""
    return [(place, normalise(token)) for place, token in enumerate(found) if _WORD.match(token)]


def _telling(mine: Sequence[tuple[int, str]], found: Sequence[tuple[int, str]]) -> list[tuple[int, int]]:
    """The words in common, in order, without short ones that stand alone."""
    matched = common([word for _, word in mine], [word for _, word in found]) or []
    kept: list[tuple[int, int]] = []
    # Neighbours on both sides have the same distance to their place in the row of matches.
    numbered = enumerate(matched)
    for _, run in groupby(numbered, lambda each: (each[1][0] - each[0], each[1][1] - each[0])):
        stretch = [match for _, match in run]
        if len(stretch) > 1 or len(mine[stretch[0][0]][1]) >= _TELLING:
            kept += stretch
    return kept


def _segments(found: Sequence[str], shared: set[int], beyond: int) -> tuple[Segment, ...]:
    """The text in pieces; what stands between two neighbouring shared words belongs to them."""
    marks = [place in shared for place in range(len(found))]
    last: int | None = None
    for place, token in enumerate(found):
        if marks[place]:
            if last is not None:
                marks[last:place] = [True] * (place - last)
            last = place
        elif _WORD.match(token):
            last = None
    pieces = [
        Segment("".join(token for token, _ in group), not mark)
        for mark, group in groupby(zip(found, marks, strict=True), lambda item: item[1])
    ]
    more = [Segment(f"\n… {beyond:,} more characters", True)] if beyond > 0 else []
    return (*pieces, *more)


def lines(found: LeakPair, width: int) -> list[Content]:
    """The two texts side by side, one under the other where that would be too narrow."""
    if width < BESIDE:
        return [
            *_under(_eval(found), found.ours, width),
            *_under(_train(found), found.theirs, width),
        ]
    column = (width - len(_GUTTER)) // 2
    sides = [_rows(side, column) for side in (found.ours, found.theirs)]
    gutter = Content.styled(_GUTTER, "$rule")
    head = join([fit(_eval(found), column), fit(_train(found), column)], "   ")
    return [
        head,
        *(
            join([fit(left, column), gutter, fit(right, column)])
            for left, right in zip_longest(*sides, fillvalue=Content(""))
        ),
    ]


def _under(head: Content, side: Sequence[Segment], width: int) -> list[Content]:
    return [head, *(join(["  ", row]) for row in _rows(side, width - 2))]


def _eval(found: LeakPair) -> Content:
    leak = found.leak
    what = {"query": "query", "reference": "reference"}.get(leak.field, "query and reference")
    return join([Content.styled("eval ", "$heading"), plain(cut(leak.example, 24), "bold"), f" {what}"])


def _train(found: LeakPair) -> Content:
    leak = found.leak
    said = f"line {leak.train_line:,}"
    counted = f" · {found.shared} of {found.words} words" if found.words else ""
    part = " · an excerpt" if leak.train_text is None else ""
    return join(
        [Content.styled("train ", "$heading"), plain(said, "bold"), Content.styled(counted + part, "$muted")]
    )


def _rows(side: Sequence[Segment], width: int) -> list[Content]:
    return [_row(segments, width) for segments in wrapped(side, width)]


def _row(segments: Iterable[Segment], width: int) -> Content:
    spans: list[Span] = []
    text = ""
    for segment in segments:
        if not segment.changed:
            spans.append(Span(len(text), len(text) + len(segment.text), _SHARED))
        text += segment.text
    content = Content(text, spans)
    return content[:-1] if content.cell_length > width else content  # one space may hang over the edge


# The strictest first, as the list calls them.
TIERS = {"identical": "identical", "near": "near", "ngram": "n-gram", "meaning": "meaning"}
_EXCERPT = 300  # characters of a training text of which the list shows the beginning
_COLUMNS = Columns(
    FlexColumn("example", 12, grow=1),
    FlexColumn("tier", 11),
    FlexColumn("score", 5, align="right"),
    FlexColumn("found", 9, drop=1),
    FlexColumn("line", 9, align="right", drop=2),
    FlexColumn("training text", 20, grow=4),
)


class LeaksPart(SplitsPart):
    """The items are the leaks' ids; the rows of those near the cursor are loaded, and the pair under it."""

    name = "leakage"

    def __init__(
        self, data: SplitsData, loaded: Mapping[int, LeakEntry], pair: LeakPair | None = None
    ) -> None:
        summary = data.summary or {}
        searched = bool(summary.get("training"))
        super().__init__(
            data.leaks, f"{sum(by_tier(data).values()):,}" if searched else "", _empty(data, searched)
        )
        self._data = data
        self._loaded = loaded
        self.pair = pair

    def said(self, width: int) -> Content:
        if self._data.search:
            found = f"{plural(len(self.items), 'pair')} with “{cut(self._data.search, 40)}” · esc shows all"
            return plain(cut(found, width), "$warn")
        hint = "the gravest first · words that both texts have are underlined"
        return Content.styled(hint if self.items else "", "$muted")

    def heading(self, width: int) -> Content:
        return _COLUMNS.heading(width) if self.items else Content("")

    def row(self, item: int, width: int) -> Content:
        leak = self._loaded.get(item)
        if leak is None:
            return Content.styled("…", "$muted")
        row = leak.row
        out = leak.identity in self._data.out
        return _COLUMNS.row(
            [
                row.example,
                _tier(row),
                f"{row.score:.2f}",
                row.field,
                f"{row.train_line:,}",
                Content.styled("× excluded from the next run", "$good")
                if out
                else one_line(row.excerpt[:_EXCERPT]),
            ],
            width,
        )

    def about(self, item: int, width: int) -> list[Content]:
        """Both texts with the words that they share."""
        return lines(self.pair, width) if self.pair is not None and self.pair.leak.id == item else []


def _tier(row: LeakItem) -> Content:
    """How it was found; what is told of without making its example leaked stands back."""
    if row.tier not in TIERS:
        return plain(row.tier, "$muted")
    return (
        Content.styled(TIERS[row.tier], "$warn") if counts(row) else Content.styled("answer only", "$muted")
    )


def counts(row: LeakItem | LeakCount) -> bool:
    """Whether the example counts as leaked: a whole answer may rightly stand under another question."""
    return row.tier in TIERS and (row.field != "reference" or row.tier == "ngram")


def by_tier(data: SplitsData) -> dict[str, int]:
    """Leaked examples by tier: what the run counted, else what it recorded."""
    counted = (data.summary or {}).get("leaks_by_tier")
    if isinstance(counted, Mapping):
        return {tier: int(counted.get(tier) or 0) for tier in TIERS}
    found = [row for row in data.counts if counts(row)]
    return {tier: sum(row.examples for row in found if row.tier == tier) for tier in TIERS}


def _empty(data: SplitsData, searched: bool) -> str:
    if data.search:
        return "no leak matches: esc shows all"
    if data.summary is None:
        return "the data was not read yet"
    if not searched:
        return "the plan names no training data (train in [data]), so no leak was searched for"
    return "no example was found in the training data"
