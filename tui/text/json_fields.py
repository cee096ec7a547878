"""JSON as models wrote it, pretty-printed side by side, key by key, with what differs marked.

Every number and repeated key is shown as written. Fields pair by key in any order; list items
pair where they are equal, the others by place.
"""

import json
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise, zip_longest
from typing import Any, NamedTuple, TypeAlias

from tui.text.diff import Segment, common, diff, text_of
from tui.text.side_by_side import SideRow, blocks, wrapped

DEEPEST = 64  # levels of nesting that are shown


class Box(NamedTuple):
    """An object or a list. The keys of an object are JSON texts; those of a list are empty."""

    brackets: str  # "{}" or "[]"
    items: "tuple[tuple[str, Node], ...]"


Node: TypeAlias = Box | str  # a str is the JSON text of a string, a number, true, false or null


class FoundJson(NamedTuple):
    node: Box
    around: int  # characters of the text that do not belong to it, white space and fences aside


class NoJsonFound(ValueError):
    """The reason why a text has no JSON object or list."""


class _Pairs(list[tuple[str, Any]]):
    """The members of an object, repeated ones too."""


class _Number(str):
    """A number's own digits: 1.0 is not 1, and none is too long."""


_DECODER = json.JSONDecoder(
    object_pairs_hook=_Pairs, parse_int=_Number, parse_float=_Number, parse_constant=_Number, strict=False
)
_FENCE_LINE = re.compile(r"(?m)^ {0,3}(?:`{3,}|~{3,})[^\n]*$")


def read_json(text: str) -> FoundJson:
    """The JSON object or list that the text is, or that one of its fenced blocks is.

    Raises NotJson, of which the text says why in words.
    """
    failure: NoJsonFound | None = None
    for candidate, around in _candidates(text):
        try:
            return FoundJson(_parse(candidate), around)
        except NoJsonFound as error:
            failure = failure or error
    raise failure or NoJsonFound("it is empty")


def _candidates(text: str) -> Iterator[tuple[str, int]]:
    yield text, 0
    for block in blocks(text):
        around = (_FENCE_LINE.sub("", part).strip() for part in (text[: block.start], text[block.end :]))
        yield text[block.start : block.end], sum(map(len, around))


def _parse(text: str) -> Box:
    try:
        value = _DECODER.decode(text.strip())
    except json.JSONDecodeError as error:
        raise NoJsonFound(f"{error.msg}, line {error.lineno}") from None
    except RecursionError:
        raise NoJsonFound(f"nested more than {DEEPEST} deep") from None
    if not isinstance(value, list):
        raise NoJsonFound("neither an object nor a list")
    return _box(value, 0)


def _box(value: list[Any], depth: int) -> Box:
    if depth == DEEPEST:
        raise NoJsonFound(f"nested more than {DEEPEST} deep")
    if isinstance(value, _Pairs):
        return Box("{}", tuple((_written(key), _node(item, depth)) for key, item in value))
    return Box("[]", tuple(("", _node(item, depth)) for item in value))


def _node(value: Any, depth: int) -> Node:
    return _box(value, depth + 1) if isinstance(value, list) else _written(value)


def _written(value: Any) -> str:
    return str(value) if isinstance(value, _Number) else json.dumps(value, ensure_ascii=False)


_INDENT = "  "
_NARROW = 16  # cells that are left for the text however deep it is nested


class JsonLine(NamedTuple):
    """A line of either side; a side that is empty has nothing here."""

    depth: int
    left: tuple[Segment, ...]
    right: tuple[Segment, ...]


class Partners(NamedTuple):
    """A field of either side; None where a side has no such field. Keys are empty in lists."""

    key: str
    left: Node | None
    right: Node | None


def field_rows(left: Box, right: Box, width: int) -> list[SideRow]:
    """Both answers as rows of two columns of `width` cells; what differs is changed."""
    found: list[SideRow] = []
    for depth, ours, theirs in _both("", left, right, ("", ""), 0):
        indent = Segment(_INDENT * min(depth, max(0, width - _NARROW) // len(_INDENT)), False)
        rows = _side(indent, ours, width)
        others = rows if ours == theirs else _side(indent, theirs, width)
        found.extend(SideRow(a, b) for a, b in zip_longest(rows, others, fillvalue=()))
    return found


def _side(indent: Segment, side: Sequence[Segment], width: int) -> list[tuple[Segment, ...]]:
    room = width - len(indent.text)
    text = side[0].text if len(side) == 1 else text_of(side)
    if text and len(text) <= room and text.isascii() and text.isprintable():  # most lines: as they are
        return [(indent, *side)]
    return [(indent, *row) for row in wrapped(side, room, feeds=False)]


def reordered(left: Node, right: Node) -> bool:
    """Whether the two have an object whose common keys are in another order."""
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
    """In the left side's order; the right side's own fields come before their next common neighbour."""
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
    """The fields by key and, as keys may repeat, the number of earlier ones with that name."""
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


def _both(name: str, left: Node, right: Node, commas: tuple[str, str], depth: int) -> Iterator[JsonLine]:
    """The lines of a field that both sides have."""
    if left == right or isinstance(left, str) or isinstance(right, str) or left.brackets != right.brackets:
        yield from _values(name, left, right, commas, depth)
        return
    opened = (Segment(name + left.brackets[0], False),)
    yield JsonLine(depth, opened, opened)
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
    yield JsonLine(depth, closed[0], closed[1])


def _values(name: str, left: Node, right: Node, commas: tuple[str, str], depth: int) -> Iterator[JsonLine]:
    """A field whose values are equal, or of which one is no box."""
    if left == right:
        for (at, text), (_, other) in zip(
            _lines(name, left, commas[0], depth), _lines(name, right, commas[1], depth), strict=True
        ):
            yield JsonLine(at, (Segment(text, False),), (Segment(other, False),))
    elif isinstance(left, str) and isinstance(right, str):
        ours, theirs = _compared(left, right)
        head = Segment(name, False)
        yield JsonLine(
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


def _apart(left: Iterator[tuple[int, str]], right: Iterator[tuple[int, str]]) -> Iterator[JsonLine]:
    """Lines on one side only, or unrelated to those beside them."""
    for ours, theirs in zip_longest(left, right):
        depth = (ours or theirs or (0, ""))[0]
        yield JsonLine(depth, *((Segment(side[1], True),) if side else () for side in (ours, theirs)))


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
