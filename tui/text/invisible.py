"""What the eye passes over in a text, made visible: line ends, tabs, blanks at line ends, zero widths."""

import re

from tui.text.diff import AlignedPair, Diff, text_of
from tui.text.gate import HIDDEN, printable
from tui.text.overlay import Mark, overlaid
from tui.text.side_by_side import SideRow, rows

# Blanks other than the space, joiners, variation selectors and fillers: printable, but not to be seen.
_UNSEEN = (
    "\xa0\u034f\u115f\u1160\u1680\u17b4\u17b5\u2000-\u200a"
    "\u200c\u200d\u202f\u205f\u3000\u3164\ufe00-\ufe0f\uffa0"
)
_RAW = re.compile(rf"\n|(?<! ) ++(?=\n|\Z)|(?P<unseen>[{_UNSEEN}])|{HIDDEN.pattern}")
_STYLE = "$warn"


def raw_marks(text: str) -> list[Mark]:
    """Each invisible character and what is shown for it; ⏎ stands before the line feed itself."""
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
