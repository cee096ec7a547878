"""Two texts side by side: which sentences answer each other, and which words in them differ.

Three steps. Sentences (and lines) that are equal on both sides anchor the texts. Between anchors, sentences
whose words are close enough are paired, as delta pairs lines (https://github.com/dandavison/delta, a distance
below 0.6). In each pair the words that have no partner are marked.

Nothing is altered: joining the segments of one side gives back its text, character for character.
The work is bounded. What is too long for a step is marked as a whole, and `Diff.precision` says so.
"""

import re
from collections.abc import Hashable, Iterable, Sequence
from itertools import groupby, pairwise
from typing import Literal, NamedTuple
from unicodedata import category

NEAR = 0.6  # sentences that differ by less than this share of their words are paired
LCS_CELLS = 64_000_000  # one bit each: 8 MB
PAIRING_CELLS = 60_000  # one Python step each

# A sentence ends after its full stop (with closing quotes or brackets) and white space, or with the line.
# The full stop of a number does not end one: "1. Restart it" stays together.
_SENTENCE_END = re.compile(r"(?<=[^\d\s][.!?…])[\"')\]”’»]*+[^\S\n]++\n?|(?<=[。！？])(?![。！？])\n?|\n")
# Scripts written without spaces count by character, all others by word.
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
_TOKEN = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+(?:['’][^\W{_UNSPACED}]+)*|[^\w\s]|\s+")
_JOINER = "\u200d"


class Segment(NamedTuple):
    """A piece of one side's text; `changed` when the other side has no such piece here.

    `style` is for what a view adds: headings, code, invisible characters.
    """

    text: str
    changed: bool
    style: str = ""


class AlignedPair(NamedTuple):
    """Two aligned parts; either side may be empty."""

    left: tuple[Segment, ...]
    right: tuple[Segment, ...]


class Diff(NamedTuple):
    pairs: tuple[AlignedPair, ...]
    precision: Literal["words", "lines"]  # "lines": somewhere the texts were too long to compare words


class _Budget:
    """The steps left for finding close sentences; `coarse` once something had to be skipped."""

    def __init__(self) -> None:
        self.pairing = PAIRING_CELLS
        self.coarse = False


def text_of(segments: Iterable[Segment]) -> str:
    return "".join(segment.text for segment in segments)


def diff(left: str, right: str) -> Diff:
    """Aligns two texts."""
    a, b = sentences(left), sentences(right)
    budget = _Budget()
    pairs: list[AlignedPair] = []
    i = j = 0
    anchors = common(a, b)
    budget.coarse = anchors is None
    for at, to in [*(anchors or ()), (len(a), len(b))]:
        if i < at or j < to:
            pairs.extend(_between(a[i:at], b[j:to], budget))
        if at < len(a):
            pairs.append(_same(a[at]))
        i, j = at + 1, to + 1
    return Diff(tuple(_flow(pairs)), "lines" if budget.coarse else "words")


_LEAD, _SEEN = 24, 600  # characters of an excerpt before and after the first that differs


def first_change(before: str, after: str) -> tuple[Segment, ...]:
    """An excerpt of a text from a few words before the first that differ on; the start of an equal one.

    What was cut away is an ellipsis. Only the excerpts are compared, so no length of text costs more.
    """
    place, _ = _ends(before, after)
    if place == len(before) == len(after):
        place = 0
    start = after.rfind(" ", 0, max(0, place - _LEAD)) + 1
    found = diff(before[start : place + _SEEN], after[start : place + _SEEN])
    cut = [Segment("…", False)] if start else []
    return (*cut, *(segment for pair in found.pairs for segment in pair.right))


def sentences(text: str) -> list[str]:
    """The text cut after each sentence and each line; joined, they are the text."""
    cuts = [0, *(match.end() for match in _SENTENCE_END.finditer(text)), len(text)]
    return [text[start:end] for start, end in pairwise(cuts) if start < end]


def tokens(text: str) -> list[str]:
    """Words, single punctuation marks and stretches of white space; combining marks stay on their base."""
    starts = [match.start() for match in _TOKEN.finditer(text) if not _continues(text, match.start())]
    return [text[start:end] for start, end in pairwise([*starts, len(text)])]


def _continues(text: str, place: int) -> bool:
    """Whether the character there belongs to the one before it: a combining mark, a joined emoji."""
    if place == 0 or text[place].isascii():
        return place > 0 and text[place - 1] == _JOINER
    mark = text[place]
    return (
        _JOINER in (mark, text[place - 1]) or "\U0001f3fb" <= mark <= "\U0001f3ff" or category(mark)[0] == "M"
    )


def _same(text: str) -> AlignedPair:
    segments = (Segment(text, False),)
    return AlignedPair(segments, segments)


def _whole(left: str, right: str) -> AlignedPair:
    return AlignedPair(
        (Segment(left, True),) if left else (),
        (Segment(right, True),) if right else (),
    )


def _flow(pairs: Iterable[AlignedPair]) -> Iterable[AlignedPair]:
    """Joins equal sentences that follow each other, so that equal paragraphs keep their look."""
    for same, group in groupby(pairs, lambda pair: pair.left == pair.right):
        if same:
            yield _same("".join(text_of(pair.left) for pair in group))
        else:
            yield from group


def _between(a: Sequence[str], b: Sequence[str], budget: _Budget) -> list[AlignedPair]:
    """Pairs of sentences between two anchors, where none is equal to another."""
    cells = len(a) * len(b)
    if cells > budget.pairing:
        budget.coarse = True
        near = []
    else:
        budget.pairing -= cells
        near = _near(a, b)
    pairs: list[AlignedPair] = []
    i = j = 0
    for at, to in [*near, (len(a), len(b))]:
        if i < at or j < to:
            pairs.append(_whole("".join(a[i:at]), "".join(b[j:to])))
        if at < len(a):
            pairs.append(_words(a[at], b[to], budget))
        i, j = at + 1, to + 1
    return pairs


def _near(a: Sequence[str], b: Sequence[str]) -> list[tuple[int, int]]:
    """The in-order pairing with the greatest likeness in sum, of sentences nearer than `NEAR`."""
    bags, others = [_bag(text) for text in a], [_bag(text) for text in b]
    best = [[0.0] * (len(b) + 1) for _ in range(len(a) + 1)]
    paired: set[tuple[int, int]] = set()
    for i, bag in enumerate(bags):
        row, above = best[i + 1], best[i]
        for j, other in enumerate(others):
            score = max(above[j + 1], row[j])
            if shared := len(bag & other):
                likeness = 2 * shared / (len(bag) + len(other))
                if likeness > 1 - NEAR and above[j] + likeness > score:
                    score = above[j] + likeness
                    paired.add((i, j))
            row[j + 1] = score
    return _trace(best, paired)


def _trace(best: list[list[float]], paired: set[tuple[int, int]]) -> list[tuple[int, int]]:
    i, j = len(best) - 1, len(best[0]) - 1
    found: list[tuple[int, int]] = []
    while i and j:
        if (i - 1, j - 1) in paired:
            found.append((i - 1, j - 1))
            i, j = i - 1, j - 1
        elif best[i - 1][j] >= best[i][j - 1]:
            i -= 1
        else:
            j -= 1
    return found[::-1]


def _bag(text: str) -> frozenset[str]:
    return frozenset(token for token in tokens(text) if not token.isspace())


def _words(left: str, right: str, budget: _Budget) -> AlignedPair:
    a, b = tokens(left), tokens(right)
    matches = common(a, b)
    if matches is None:
        budget.coarse = True
        return _whole(left, right)
    return AlignedPair(_segments(a, {i for i, _ in matches}), _segments(b, {j for _, j in matches}))


def _segments(words: Sequence[str], shared: set[int]) -> tuple[Segment, ...]:
    """Neighbours of one kind joined; what is no word joins the changed words on both its sides."""
    changed = [place not in shared for place in range(len(words))]
    last = None  # the newest changed token with only non-words after it
    for place, word in enumerate(words):
        if changed[place]:
            if last is not None:
                changed[last:place] = [True] * (place - last)
            last = place
        elif word[0].isalnum():
            last = None
    return tuple(
        Segment("".join(word for word, _ in group), kind)
        for kind, group in groupby(zip(words, changed, strict=True), lambda item: item[1])
    )


def common(a: Sequence[Hashable], b: Sequence[Hashable]) -> list[tuple[int, int]] | None:
    """A longest common subsequence as pairs of places; None when it would cost too much.

    Bit-parallel (Hyyrö, "Bit-parallel LCS-length computation revisited", 2004): one bit of a row stands for
    one item of `b`, and is 0 where the length grows.
    """
    start, end = _ends(a, b)
    inner, other = a[start : len(a) - end], b[start : len(b) - end]
    if len(inner) * len(other) > LCS_CELLS:
        return None
    head = [(place, place) for place in range(start)]
    tail = [(len(a) - back, len(b) - back) for back in range(end, 0, -1)]
    return [*head, *((i + start, j + start) for i, j in _lcs(inner, other)), *tail]


def _ends(a: Sequence[Hashable], b: Sequence[Hashable]) -> tuple[int, int]:
    """How many items both begin with, and how many both end with."""
    shorter = min(len(a), len(b))
    start = end = 0
    while start < shorter and a[start] == b[start]:
        start += 1
    while end < shorter - start and a[-1 - end] == b[-1 - end]:
        end += 1
    return start, end


def _lcs(a: Sequence[Hashable], b: Sequence[Hashable]) -> list[tuple[int, int]]:
    places: dict[Hashable, int] = {}
    for j, item in enumerate(b):
        places[item] = places.get(item, 0) | 1 << j
    ones = (1 << len(b)) - 1
    row, rows = ones, []
    for item in a:
        hits = row & places.get(item, 0)
        row = ((row + hits) | (row - hits)) & ones
        rows.append(row)
    found: list[tuple[int, int]] = []
    i, j = len(a), len(b)
    while i and j:
        if rows[i - 1] >> j - 1 & 1:
            j -= 1
            continue
        i -= 1
        if i == 0 or rows[i - 1] >> j - 1 & 1:
            j -= 1
            found.append((i, j))
    return found[::-1]
