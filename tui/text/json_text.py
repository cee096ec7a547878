"""JSON as a model wrote it, in a fenced block or whole: every number and repeated key as it stands."""

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple, TypeAlias

from tui.text.code_blocks import blocks

DEEPEST = 64  # levels of nesting that are shown


class Box(NamedTuple):
    """An object or a list. The keys of an object are JSON texts; those of a list are empty."""

    brackets: str  # "{}" or "[]"
    items: "tuple[tuple[str, Node], ...]"


Node: TypeAlias = Box | str  # a str is the JSON text of a string, a number, true, false or null


class Found(NamedTuple):
    node: Box
    around: int  # characters of the text that do not belong to it, white space and fences aside


class NotJson(ValueError):
    """Why a text holds no JSON object or list."""


class _Pairs(list[tuple[str, Any]]):
    """The members of an object, repeated ones too."""


class _Number(str):
    """A number's own digits: 1.0 is not 1, and none is too long."""


_DECODER = json.JSONDecoder(
    object_pairs_hook=_Pairs, parse_int=_Number, parse_float=_Number, parse_constant=_Number, strict=False
)
_FENCE_LINE = re.compile(r"(?m)^ {0,3}(?:`{3,}|~{3,})[^\n]*$")


def read_json(text: str) -> Found:
    """The JSON object or list that the text is, or that one of its fenced blocks is.

    Raises NotJson, of which the text says why in words.
    """
    failure: NotJson | None = None
    for candidate, around in _candidates(text):
        try:
            return Found(_parse(candidate), around)
        except NotJson as error:
            failure = failure or error
    raise failure or NotJson("nothing is in it")


def _candidates(text: str) -> Iterator[tuple[str, int]]:
    yield text, 0
    for block in blocks(text):
        around = (_FENCE_LINE.sub("", part).strip() for part in (text[: block.start], text[block.end :]))
        yield text[block.start : block.end], sum(map(len, around))


def _parse(text: str) -> Box:
    try:
        value = _DECODER.decode(text.strip())
    except json.JSONDecodeError as error:
        raise NotJson(f"{error.msg}, line {error.lineno}") from None
    except RecursionError:
        raise NotJson(f"nested more than {DEEPEST} deep") from None
    if not isinstance(value, list):
        raise NotJson("neither an object nor a list")
    return _box(value, 0)


def _box(value: list[Any], depth: int) -> Box:
    if depth == DEEPEST:
        raise NotJson(f"nested more than {DEEPEST} deep")
    if isinstance(value, _Pairs):
        return Box("{}", tuple((_written(key), _node(item, depth)) for key, item in value))
    return Box("[]", tuple(("", _node(item, depth)) for item in value))


def _node(value: Any, depth: int) -> Node:
    return _box(value, depth + 1) if isinstance(value, list) else _written(value)


def _written(value: Any) -> str:
    return str(value) if isinstance(value, _Number) else json.dumps(value, ensure_ascii=False)
