"""Two JSON answers pretty-printed beside each other, key by key, with the fields that differ marked.

Fields pair by key, whatever their order; list items pair where they are equal, the others by place.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise, zip_longest
from typing import NamedTuple

from tui.text.diff import Segment, common, diff, text_of
from tui.text.json_text import Box, Node
from tui.text.side_by_side import Row, wrapped

_INDENT = "  "
_NARROW = 16  # cells that are left for the text however deep it is nested


class Line(NamedTuple):
    """A line of either side; a side that is empty has nothing here."""

    depth: int
    left: tuple[Segment, ...]
    right: tuple[Segment, ...]


class Partners(NamedTuple):
    """A field of either side; None where a side has no such field. Keys are empty in lists."""

    key: str
    left: Node | None
    right: Node | None


def field_rows(left: Box, right: Box, width: int) -> list[Row]:
    """Both answers as rows of two columns of `width` cells; what differs is changed."""
    found: list[Row] = []
    for depth, ours, theirs in _both("", left, right, ("", ""), 0):
        indent = Segment(_INDENT * min(depth, max(0, width - _NARROW) // len(_INDENT)), False)
        rows = _side(indent, ours, width)
        others = rows if ours == theirs else _side(indent, theirs, width)
        found.extend(Row(a, b) for a, b in zip_longest(rows, others, fillvalue=()))
    return found


def _side(indent: Segment, side: Sequence[Segment], width: int) -> list[tuple[Segment, ...]]:
    room = width - len(indent.text)
    text = side[0].text if len(side) == 1 else text_of(side)
    if text and len(text) <= room and text.isascii() and text.isprintable():  # most lines: as they are
        return [(indent, *side)]
    return [(indent, *row) for row in wrapped(side, room, feeds=False)]


def reordered(left: Node, right: Node) -> bool:
    """Whether the two have an object whose common keys stand in another order."""
    if isinstance(left, str) or isinstance(right, str) or left.brackets != right.brackets:
        return False
    ours, theirs = _numbered(left), _numbered(right)
    if left.brackets == "{}" and [key for key in ours if key in theirs] != [
        key for key in theirs if key in ours
    ]:
        return True
    return any(reordered(a, b) for _, a, b in partners(left, right) if a is not None and b is not None)


def partners(left: Box, right: Box) -> list[Partners]:
    """The fields of two objects, or the items of two lists, as they belong together."""
    return list(_by_key(left, right) if left.brackets == "{}" else _by_place(left, right))


def _by_key(left: Box, right: Box) -> Iterator[Partners]:
    """In the left side's order; what only the right has stands before its next common neighbour."""
    ours, theirs = _numbered(left), _numbered(right)
    before: dict[tuple[str, int], list[Partners]] = {}
    waiting: list[Partners] = []
    for key, value in theirs.items():
        if key in ours:
            before[key], waiting = waiting, []
        else:
            waiting.append(Partners(key[0], None, value))
    for key, value in ours.items():
        yield from before.get(key, ())
        yield Partners(key[0], value, theirs.get(key))
    yield from waiting


def _numbered(box: Box) -> dict[tuple[str, int], Node]:
    """The fields by key and, as keys may repeat, how many of that name stand before."""
    seen: dict[str, int] = {}
    found: dict[tuple[str, int], Node] = {}
    for key, value in box.items:
        seen[key] = seen.get(key, -1) + 1
        found[key, seen[key]] = value
    return found


def _by_place(left: Box, right: Box) -> Iterator[Partners]:
    a, b = [value for _, value in left.items], [value for _, value in right.items]
    equal = common(a, b) or []  # lists too long for that pair by place alone
    for (i, j), (at, to) in pairwise([(-1, -1), *equal, (len(a), len(b))]):
        for one, other in zip_longest(a[i + 1 : at], b[j + 1 : to]):
            yield Partners("", one, other)
        if at < len(a):
            yield Partners("", a[at], b[to])


def _both(name: str, left: Node, right: Node, commas: tuple[str, str], depth: int) -> Iterator[Line]:
    """The lines of a field that both sides have."""
    if left == right or isinstance(left, str) or isinstance(right, str) or left.brackets != right.brackets:
        yield from _values(name, left, right, commas, depth)
        return
    opened = (Segment(name + left.brackets[0], False),)
    yield Line(depth, opened, opened)
    fields = partners(left, right)
    last = [max((n for n, f in enumerate(fields) if f[side] is not None), default=-1) for side in (1, 2)]
    for place, (key, ours, theirs) in enumerate(fields):
        label = f"{key}: " if key else ""
        follow = ("," if place < last[0] else "", "," if place < last[1] else "")
        if ours is not None and theirs is not None:
            yield from _both(label, ours, theirs, follow, depth + 1)
        else:
            yield from _apart(
                _lines(label, ours, follow[0], depth + 1), _lines(label, theirs, follow[1], depth + 1)
            )
    closed = [(Segment(left.brackets[1] + comma, False),) for comma in commas]
    yield Line(depth, closed[0], closed[1])


def _values(name: str, left: Node, right: Node, commas: tuple[str, str], depth: int) -> Iterator[Line]:
    """A field whose values are equal, or of which one is no box."""
    if left == right:
        for (at, text), (_, other) in zip(
            _lines(name, left, commas[0], depth), _lines(name, right, commas[1], depth), strict=True
        ):
            yield Line(at, (Segment(text, False),), (Segment(other, False),))
    elif isinstance(left, str) and isinstance(right, str):
        ours, theirs = _compared(left, right)
        head = Segment(name, False)
        yield Line(
            depth, (head, *ours, Segment(commas[0], False)), (head, *theirs, Segment(commas[1], False))
        )
    else:
        yield from _apart(_lines(name, left, commas[0], depth), _lines(name, right, commas[1], depth))


def _compared(left: str, right: str) -> tuple[list[Segment], list[Segment]]:
    """Two values that differ: texts word by word, all others as a whole."""
    if left[0] == right[0] == '"':
        pairs = diff(left, right).pairs
        return [part for pair in pairs for part in pair.left], [part for pair in pairs for part in pair.right]
    return [Segment(left, True)], [Segment(right, True)]


def _apart(left: Iterator[tuple[int, str]], right: Iterator[tuple[int, str]]) -> Iterator[Line]:
    """Lines that stand on one side only, or have nothing to do with those beside them."""
    for ours, theirs in zip_longest(left, right):
        depth = (ours or theirs or (0, ""))[0]
        yield Line(depth, *((Segment(side[1], True),) if side else () for side in (ours, theirs)))


def _lines(name: str, node: Node | None, comma: str, depth: int) -> Iterator[tuple[int, str]]:
    """One value's lines with their depths; none where there is no value."""
    if node is None:
        return
    if isinstance(node, str):
        yield depth, name + node + comma
    elif not node.items:
        yield depth, name + node.brackets + comma
    else:
        yield depth, name + node.brackets[0]
        for place, (key, value) in enumerate(node.items):
            follow = "," if place + 1 < len(node.items) else ""
            yield from _lines(f"{key}: " if key else "", value, follow, depth + 1)
        yield depth, node.brackets[1] + comma
