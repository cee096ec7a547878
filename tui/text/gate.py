"""The one gate for text from models, data and files: control characters visible, markup inert.

All outside text reaches the terminal through `plain` (screens) or `printable` (everything else).
The rest of this module measures text in terminal cells, never in characters.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from rich.cells import cell_len, set_cell_size

from engine.gates.figures import LARGE as LARGE
from engine.gates.figures import MISSING as MISSING
from engine.gates.figures import counted as counted
from engine.gates.figures import magnitude as magnitude
from engine.gates.figures import percent as percent
from engine.gates.figures import probability as probability
from engine.gates.figures import size as size

if TYPE_CHECKING:  # commands print texts, and need nothing that draws screens
    from textual.content import Content

ELLIPSIS = "…"
_SEPARATOR = re.compile(r"[-_/:@ ]+")
_BLOCKS = "▁▂▃▄▅▆▇█"

# C0 but for the line feed, DEL, C1, soft or invisible marks, bidi controls, line separators, tags, lone
# surrogates, and the private-use and non-character ranges that terminals draw as they like.
HIDDEN = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff0-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e0fff]"
)


def printable(text: str) -> str:
    """The text with each control, bidi and invisible character replaced by something visible.

    C0 characters become their Unicode control pictures, others are shown as ‹U+202E›. Line feeds stay.
    """
    return HIDDEN.sub(_picture, text)


def _picture(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code == 0x09:
        return "␉   "
    if code < 0x20:
        return chr(0x2400 + code)
    return "␡" if code == 0x7F else f"‹U+{code:04X}›"


@cache
def _is_in_doubt(character: str) -> bool:
    return (
        character >= "\U0001f000"
        or "\u1100" <= character < "\u1200"  # parts of Hangul syllables
        or character in "\u0e33\u0eb3"  # one letter of two signs, in Thai and Lao
        or unicodedata.category(character) in ("Mn", "Mc", "Me", "Cf", "Cn")
    )


def is_width_in_doubt(text: str) -> bool:
    """Whether terminals may disagree on its cells: combining and joined characters, emoji."""
    return not text.isascii() and any(map(_is_in_doubt, set(text)))


def plain(text: str, style: str = "") -> "Content":
    """The text as inert content: no markup is read from it, no control character survives in it."""
    from textual.content import Content

    return Content.styled(printable(text), style) if style else Content(printable(text))


def one_line(text: str, style: str = "") -> "Content":
    """Like `plain`, with line feeds shown as ⏎, for places that are one line high."""
    return plain(text.replace("\n", "⏎"), style)


def fit(content: "Content | str", cells: int, align: str = "left") -> "Content":
    """Exactly `cells` wide: padded, or cut with an ellipsis. A str goes through the gate."""
    line = one_line(content) if isinstance(content, str) else content
    spare = cells - line.cell_length
    if spare < 0:
        return line.truncate(cells, ellipsis=cells > 1, pad=True)
    return line.pad_left(spare) if align == "right" else line.pad_right(spare)


def cut(text: str, cells: int) -> str:
    """At most `cells` wide, through the gate, with an ellipsis where something was cut."""
    shown = printable(text.replace("\n", "⏎"))
    if cell_len(shown) <= cells:
        return shown
    return set_cell_size(shown, cells - 1) + ELLIPSIS if cells > 0 else ""


def middle(text: str, cells: int) -> str:
    """Like `cut`, with the ellipsis in the middle: names of one family differ at their ends."""
    shown = printable(text.replace("\n", "⏎"))
    spare = cells - len(ELLIPSIS)
    if cell_len(shown) <= cells or spare < 2:
        return cut(text, cells)
    tail = set_cell_size(shown[::-1], spare - spare // 3)[::-1]
    return set_cell_size(shown, spare // 3) + ELLIPSIS + tail


@lru_cache(maxsize=256)
def told_apart(names: tuple[str, ...], cells: int) -> dict[str, str]:
    """Each name in at most `cells`, through the gate, so that names of one family stay different.

    Where one is too long, all lose words that they begin with alike, as few as make room, then words that
    they end with alike; what is still too long loses its middle.
    """
    shown = _shortened({name: printable(name.replace("\n", "⏎")) for name in names}, cells)
    alike: dict[str, list[str]] = {}
    for name, short in shown.items():
        alike.setdefault(short, []).append(name)
    for group in alike.values():
        if 1 < len(group) < len(shown):  # names outside the family had nothing in common with it
            shown |= told_apart(tuple(group), cells)
    return shown


def _shortened(names: dict[str, str], cells: int) -> dict[str, str]:
    shown = _without_shared(list(names.values()), cells)
    shown = [name[::-1] for name in _without_shared([name[::-1] for name in shown], cells)]
    return {name: middle(short, cells) for name, short in zip(names, shown, strict=True)}


def _without_shared(names: Sequence[str], cells: int) -> Sequence[str]:
    if len(names) < 2 or max(map(cell_len, names)) <= cells:
        return names
    first, last, shortest = min(names), max(names), min(map(len, names))
    ends = [found.end() for found in _SEPARATOR.finditer(first) if found.end() < shortest]
    ends = [end for end in ends if last.startswith(first[:end])]
    if not ends:
        return names
    fits = (end for end in ends if max(cell_len(name[end:]) for name in names) < cells)
    end = next(fits, ends[-1])
    return [ELLIPSIS + name[end:] for name in names]


def join(parts: "Iterable[Content | str]", between: str = "") -> "Content":
    """One content out of several; those of type str are the app's own words."""
    from textual.content import Content

    return Content(between).join([Content(part) if isinstance(part, str) else part for part in parts])


def wrap(content: "Content", width: int) -> "list[Content]":
    """The content as lines of at most `width` cells, broken between words where there is room."""
    return content.wrap(max(1, width))


def number(value: float | None, digits: int = 3) -> str:
    """A measure's value; a missing one is a dash, never a zero."""
    if value is None:
        return MISSING
    if abs(value) >= LARGE:
        return magnitude(value)
    return f"{value:.{digits}f}" if abs(value) < 1000 else f"{value:,.0f}"


def signed(value: float | None, digits: int = 3) -> str:
    """A difference with its sign, so that its direction does not rest on colour."""
    if value is None:
        return MISSING
    written = f"{value:+.{digits}f}" if abs(value) < 1000 else f"{value:+,.0f}"
    if abs(value) >= LARGE:
        written = magnitude(value) if value < 0 else f"+{magnitude(value)}"
    return written.replace("-", "−")


_NOW = "now"


def short_age(seconds: float) -> str:
    """How old something is, in the largest unit that fits: 3d, 5h, 7m; "now" under a minute."""
    for length, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds >= length:
            return f"{int(seconds // length)}{unit}"
    return _NOW


def age(seconds: float) -> str:
    """How long ago something was: "3d ago", or "now"."""
    found = short_age(seconds)
    return found if found == _NOW else f"{found} ago"


def duration(seconds: float) -> str:
    """A length of time in at most two units: 48s, 3m 20s, 2h 05m, 1d 03h."""
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3_600:
        return f"{whole // 60}m {whole % 60:02}s"
    if whole < 86_400:
        return f"{whole // 3_600}h {whole % 3_600 // 60:02}m"
    return f"{whole // 86_400}d {whole % 86_400 // 3_600:02}h"


def spark(values: Iterable[float | None]) -> str:
    """One block a value, from the lowest to the highest of them; a missing one is a middle dot."""
    found = list(values)
    known = [value for value in found if value is not None]
    if not known:
        return "·" * len(found)
    low, spread = min(known), (max(known) - min(known)) or 1.0
    flat = min(known) == max(known)
    steps = [None if v is None else 3 if flat else round((v - low) / spread * 7) for v in found]
    return "".join("·" if step is None else _BLOCKS[step] for step in steps)


def bar(share: float, cells: int) -> tuple[str, str]:
    """The filled and the empty part of a bar; it is full only when the share is 1."""
    filled = cells if share >= 1 else min(int(share * cells), cells - 1)
    return "█" * max(0, filled), "░" * (cells - max(0, filled))
