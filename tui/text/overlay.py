"""Marks laid over a text by place: code, invisible characters. They cut its segments; they alter nothing.

Fences are those of CommonMark (https://spec.commonmark.org/0.31.2/#fenced-code-blocks). The tokenizer knows
no language in full: it tells comments, strings and keywords apart in one pass that no input can slow down.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from tui.text.diff import AlignedPair, Diff, Segment, text_of
from tui.text.gate import HIDDEN, printable
from tui.text.side_by_side import SideRow, rows


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
