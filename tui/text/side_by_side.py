"""An aligned pair of texts as rows for the screen: both sides wrapped by cells to a common number of rows.

Each segment goes through the gate before it is measured, so what is wrapped is what is shown. Joining the
rows of one side gives back its gated text but for the line feeds, which become row ends.

Marks are laid over a text by place: code, invisible characters. They cut its segments; they alter nothing.
Fences are those of CommonMark (https://spec.commonmark.org/0.31.2/#fenced-code-blocks). The tokenizer knows
no language in full: it tells comments, strings and keywords apart in one pass that no input can slow down.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, zip_longest
from typing import NamedTuple

from rich.cells import cell_len, split_graphemes
from textual.content import Content

from tui.text.diff import AlignedPair, Diff, Segment, text_of
from tui.text.gate import HIDDEN, printable

_WORD = re.compile(r"\S+|\s+")
_LINE_FEED = "⏎"  # shown only where one side has a line feed that the other has not


class SideRow(NamedTuple):
    """One row of the screen. A side may be one space wider than requested: it ends a line, and may be cut."""

    left: tuple[Segment, ...]
    right: tuple[Segment, ...]


def rows(diff: Diff, width: int, *, feeds: bool = True) -> list[SideRow]:
    """The rows of a comparison whose two columns are `width` cells wide each."""
    found: list[SideRow] = []
    for left, right in diff.pairs:
        if left is right or left == right:
            found.extend(SideRow(side, side) for side in wrapped(left, width, feeds=feeds))
        else:
            both = (wrapped(side, width, feeds=feeds) for side in (left, right))
            found.extend(SideRow(a, b) for a, b in zip_longest(*both, fillvalue=()))
    return found


def wrapped(segments: Sequence[Segment], width: int, *, feeds: bool = True) -> list[tuple[Segment, ...]]:
    """One side's segments as gated rows of at most `width` cells, broken between words where possible.

    With `feeds`, a line feed among changed words is visible as ⏎ unless all of the side is changed.
    """
    partly = feeds and any(not segment.changed for segment in segments)
    shown = [Segment(_gated(segment, partly), segment.changed, segment.style) for segment in segments]
    text = "".join(segment.text for segment in shown)
    found: list[tuple[Segment, ...]] = []
    pieces = _Pieces(shown)
    start = 0
    for line in text.removesuffix("\n").split("\n") if text else ():
        for end in _breaks(line, max(1, width)):
            found.append(pieces.take(end - start))
            start = end
        pieces.take(1)  # the line feed
        start = 0
    return found


def _gated(segment: Segment, partly: bool) -> str:
    shown = printable(segment.text)
    return shown.replace("\n", f"{_LINE_FEED}\n") if segment.changed and partly else shown


class _Pieces:
    """Hands out segments by number of characters."""

    def __init__(self, segments: Sequence[Segment]) -> None:
        self._segments = segments
        self._at = 0
        self._offset = 0

    def take(self, count: int) -> tuple[Segment, ...]:
        found: list[Segment] = []
        while count and self._at < len(self._segments):
            text, changed, style = self._segments[self._at]
            piece = text[self._offset : self._offset + count]
            found.append(Segment(piece, changed, style))
            count -= len(piece)
            self._offset += len(piece)
            if self._offset == len(text):
                self._at, self._offset = self._at + 1, 0
        return tuple(found)


def _breaks(line: str, width: int) -> Iterator[int]:
    """The places where the rows of one line end, the last being the line's own end."""
    if len(line) <= width and line.isascii():
        yield len(line)
        return
    used = 0
    for match in _WORD.finditer(line):
        word = match[0]
        cells = cell_len(word)
        blank = word.isspace()
        if used + cells <= width + blank:  # one space may hang over the edge
            used += cells
        elif cells <= width and not blank:
            yield match.start()
            used = cells
        else:
            for start, size in _graphemes(word):
                if used and used + size > width:
                    yield match.start() + start
                    used = 0
                used += size
    yield len(line)


def _graphemes(word: str) -> Iterable[tuple[int, int]]:
    """The start of each visible character, and its cells."""
    if word.isascii():
        return ((start, 1) for start in range(len(word)))
    return ((start, size) for start, _, size in split_graphemes(word)[0])


GUTTER = 3  # cells between two columns
SCROLLED = 2  # cells at the right of a row over the whole width, for the sign that there is more
NEAR = 2  # equal rows that stay open beside one that differs
LEAST = 4  # rows that are worth folding
HEADING = "$heading"

Cell = tuple[Segment, ...]


class Sheet(NamedTuple):
    """Columns of one width. A row with one cell goes over all of them.

    A changed segment looks like its column, unless it has a style of its own.
    """

    headings: Sequence[Content]
    rows: Sequence[Sequence[Cell]]
    columns: int = 2
    marked: bool = True  # whether what is changed is worth marking: not where nothing is the same
    folds: bool = True  # whether what is not changed is the same elsewhere


def column(width: int, columns: int) -> int:
    """The cells of one column."""
    return max(2, (width - GUTTER * (columns - 1)) // columns)


def across(width: int) -> int:
    """The cells of a row over all columns."""
    return max(2, width - SCROLLED)


def spanning(text: str, width: int, style: str = "") -> list[tuple[Cell]]:
    """A text as rows over all columns."""
    return [(row,) for row in wrapped([Segment(text, False, style)], across(width))]


def unified(found: Diff, width: int, *, marked: bool = True) -> list[tuple[Cell]]:
    """One column: what only the left has under −, what only the right has under +, what both have once.

    Its changed segments bear their style, but for those of texts of which nothing is worth marking.
    """
    signs = ("− ", "underline $warn"), ("+ ", "underline $good")
    room = across(width) - 2
    rows: list[tuple[Cell]] = []
    for left, right in found.pairs:
        if left is right or left == right:
            rows.extend(((Segment("  ", False), *row),) for row in wrapped(left, room))
            continue
        for side, (sign, style) in zip((left, right), signs, strict=True):
            head = Segment(sign, True, style.removeprefix("underline "))
            rows.extend(((head, *_styled(row, style if marked else "")),) for row in wrapped(side, room))
    return rows


def _styled(row: Cell, style: str) -> Iterator[Segment]:
    return (part._replace(style=style) if part.changed else part for part in row)


def folded(rows: Sequence[Sequence[Cell]]) -> list[range]:
    """The rows of each line: one, or many where they are equal and far from a difference.

    Nothing is folded where nothing differs.
    """
    found: list[range] = []
    place = 0
    for same, group in groupby(rows, _equal):
        count = sum(1 for _ in group)
        start, end = place, place + count
        place = end
        shut = range(start + NEAR * (start > 0), end - NEAR * (end < len(rows)))
        if same and len(shut) >= LEAST and count < len(rows):
            found += [range(n, n + 1) for n in range(start, shut.start)]
            found.append(shut)
            found += [range(n, n + 1) for n in range(shut.stop, end)]
        else:
            found += [range(n, n + 1) for n in range(start, end)]
    return found


def _equal(row: Sequence[Cell]) -> bool:
    return not any(part.changed or (part.style == HEADING and len(row) == 1) for cell in row for part in cell)


class Mark(NamedTuple):
    """A stretch of a text and its style; `shown` replaces it where it is invisible itself."""

    start: int
    end: int
    style: str
    shown: str | None = None


def overlaid(parts: Iterable[Sequence[Segment]], marks: Sequence[Mark]) -> list[tuple[Segment, ...]]:
    """The parts of one text, in order, cut where marks begin and end. A changed piece keeps its own look.

    `marks` are in order and do not overlap; their places count from the first part's first character.
    """
    found: list[tuple[Segment, ...]] = []
    place = at = 0
    for segments in parts:
        cut: list[Segment] = []
        for text, changed, style in segments:
            start, end = place, place + len(text)
            while at < len(marks) and marks[at].start < end:
                mark = marks[at]
                begin, stop = max(start, mark.start), min(end, mark.end)
                cut.append(Segment(text[start - place : begin - place], changed, style))
                shown = text[begin - place : stop - place] if mark.shown is None else mark.shown
                cut.append(Segment(shown, changed, "" if changed else mark.style))
                start = stop
                if mark.end > end:
                    break
                at += 1
            cut.append(Segment(text[start - place :], changed, style))
            place = end
        found.append(tuple(segment for segment in cut if segment.text))
    return found


_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})[ \t]*+([^\s`]*)([^\n`]*)$", re.MULTILINE)
_HASH = re.compile(r"py\w*|sh|bash|shell|zsh|console|ya?ml|toml|ruby|rb|r|perl|make|dockerfile|ini")
_DASHES = re.compile(r"sql|lua|haskell|hs|elm")
_SLASHES = re.compile(
    r"c|h|cpp|c\+\+|cc|java|js|jsx|javascript|tsx?|typescript|go|rust|rs|jsonc?|php|swift|kotlin|cs|csharp|scala|css"
)
_KEYWORDS = (
    "abstract|and|as|assert|async|await|begin|break|case|catch|class|const|continue|create|def|default|delete"
    "|do|done|elif|else|elseif|end|enum|esac|except|export|extends|extern|false|False|fi|final|finally|fn|for"
    "|foreach|from|func|function|global|goto|group|if|impl|implements|import|in|insert|interface|into|is|join"
    "|lambda|let|limit|loop|match|mod|module|mut|namespace|new|nil|None|nonlocal|not|null|on|or|order|package"
    "|pass|private|protected|pub|public|raise|return|select|self|set|static|struct|super|switch|table|then"
    "|this|throw|throws|trait|true|True|try|type|typedef|typeof|union|unless|update|use|using|val|values|var"
    "|virtual|void|when|where|while|with|yield|SELECT|FROM|WHERE|AND|OR|NOT|NULL|INSERT|INTO|VALUES|UPDATE"
    "|SET|DELETE|CREATE|TABLE|JOIN|LEFT|RIGHT|INNER|OUTER|ON|GROUP|BY|ORDER|HAVING|LIMIT|AS|CASE|THEN|END"
)
_STRING = (
    r'"""(?s:.*?)(?:"""|\Z)|\'\'\'(?s:.*?)(?:\'\'\'|\Z)|"(?:[^"\\\n]|\\.)*+"?'
    # Bounded: an apostrophe that opens nothing is looked at from many places.
    r"|'(?:[^'\\\n]|\\.){0,200}+'|`[^`\n]*+`"
)
_HASH_COMMENT = r"(?<!\S)\#[^\n]*+"
_SLASH_COMMENT = r"//[^\n]*+|/\*(?s:.*?)(?:\*/|\Z)"
_DASH_COMMENT = r"--[^\n]*+"
_STYLES = {"comment": "italic $muted", "string": "$heading", "keyword": "$key"}


class Block(NamedTuple):
    """The inside of a fenced block: its places in the text, and the language that its fence names."""

    start: int
    end: int
    language: str


def blocks(text: str) -> list[Block]:
    """The fenced blocks; one that is never closed goes on to the text's end."""
    found: list[Block] = []
    opened: re.Match[str] | None = None
    for fence in _FENCE.finditer(text) if "```" in text or "~~~" in text else ():
        if opened is None:
            opened = fence
        elif fence[1].startswith(opened[1]) and not (fence[2] or fence[3].strip()):
            found.append(_block(opened, fence.start()))
            opened = None
    if opened is not None:
        found.append(_block(opened, len(opened.string)))
    return found


def _block(opened: re.Match[str], end: int) -> Block:
    return Block(min(end, opened.end() + 1), end, opened[2].lower())


def code_marks(text: str) -> list[Mark]:
    """Fences, comments, strings and keywords of the text's fenced blocks."""
    return [mark for block in blocks(text) for mark in _marks(text, block)]


def _marks(text: str, block: Block) -> Iterator[Mark]:
    for token in _tokens(block.language).finditer(text, block.start, block.end):
        yield Mark(token.start(), token.end(), _STYLES[token.lastgroup or ""])


_COMPILED: dict[str, re.Pattern[str]] = {}


def _tokens(language: str) -> re.Pattern[str]:
    """The pattern for a language's family; an unknown one may have comments of two kinds."""
    if _HASH.fullmatch(language):
        comment = _HASH_COMMENT
    elif _DASHES.fullmatch(language):
        comment = _DASH_COMMENT
    else:
        comment = _SLASH_COMMENT if _SLASHES.fullmatch(language) else f"{_HASH_COMMENT}|{_SLASH_COMMENT}"
    if comment not in _COMPILED:
        pattern = rf"(?P<comment>{comment})|(?P<string>{_STRING})|(?P<keyword>\b(?:{_KEYWORDS})\b)"
        _COMPILED[comment] = re.compile(pattern)
    return _COMPILED[comment]


# Blanks other than the space, joiners, variation selectors and fillers: printable, but not to be seen.
_UNSEEN = (
    "\xa0\u034f\u115f\u1160\u1680\u17b4\u17b5\u2000-\u200a"
    "\u200c\u200d\u202f\u205f\u3000\u3164\ufe00-\ufe0f\uffa0"
)
_RAW = re.compile(rf"\n|(?<! ) ++(?=\n|\Z)|(?P<unseen>[{_UNSEEN}])|{HIDDEN.pattern}")
_STYLE = "$warn"


def raw_marks(text: str) -> list[Mark]:
    """Each invisible character and its replacement; ⏎ comes before the line feed itself."""
    return [Mark(found.start(), found.end(), _STYLE, _picture(found)) for found in _RAW.finditer(text)]


def _picture(found: re.Match[str]) -> str:
    if found[0] == "\n":
        return "⏎\n"
    if found["unseen"]:
        return f"‹U+{ord(found[0]):04X}›"
    return "·" * len(found[0]) if found[0].startswith(" ") else printable(found[0])


def raw_rows(found: Diff, width: int) -> list[SideRow]:
    """The rows of a comparison with every character of both sides visible."""
    columns = list(zip(*found.pairs, strict=True)) or [(), ()]
    left, right = (overlaid(parts, raw_marks("".join(map(text_of, parts)))) for parts in columns)
    return rows(Diff(tuple(map(AlignedPair, left, right)), found.precision), width, feeds=False)
