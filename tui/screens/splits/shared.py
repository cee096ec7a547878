"""An eval example beside the training text that it was found in, with the words that both have marked."""

import re
from collections.abc import Iterable, Sequence
from itertools import groupby, zip_longest
from typing import NamedTuple

from textual.content import Content, Span

from engine.data.example import normalise
from store.read.datasets import LeakTexts
from tui.text.diff import Segment, common, tokens
from tui.text.gate import cut, fit, join, plain
from tui.text.side_by_side import wrapped

LONGEST = 20_000  # characters of a text that are compared and shown
BESIDE = 72  # cells from which on the two texts stand side by side
_GUTTER = " │ "
_TELLING = 4  # a shorter word that is alone in common says nothing
# Underlined too, so that it shows without colour.
_SHARED = "underline $warn"
_WORD = re.compile(r"\w")


class Pair(NamedTuple):
    """Both texts in segments (`changed`: the other has no such words) and how many words they share."""

    leak: LeakTexts
    ours: tuple[Segment, ...]
    theirs: tuple[Segment, ...]
    words: int  # of the eval text
    shared: int


def pair(leak: LeakTexts) -> Pair:
    """Aligns the part of the example that was found with the training text."""
    references = "\n".join(leak.references or [])
    ours = {"query": leak.query, "reference": references}.get(leak.field, f"{leak.query}\n{references}")
    theirs = leak.excerpt if leak.train_text is None else leak.train_text
    a, b = tokens(ours[:LONGEST]), tokens(theirs[:LONGEST])
    mine, found = _words(a), _words(b)
    matched = _telling(mine, found)
    return Pair(
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


def lines(found: Pair, width: int) -> list[Content]:
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


def _eval(found: Pair) -> Content:
    leak = found.leak
    what = {"query": "query", "reference": "reference"}.get(leak.field, "query and reference")
    return join([Content.styled("eval ", "$heading"), plain(cut(leak.example, 24), "bold"), f" {what}"])


def _train(found: Pair) -> Content:
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
