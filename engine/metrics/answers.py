"""The JSON in a response: strictly the whole of it, or wherever it stands."""

import json
import re
from typing import Any, NoReturn

EMPTY = "the response is empty"
NO_JSON = "no JSON in the response"
_FENCE = re.compile(r"```(?:json)?[ \t]*\n(.*?)\n?[ \t]*```", re.DOTALL | re.IGNORECASE)
_OPENING = re.compile(r"[{\[]")
_ATTEMPTS = 20


class NotJson(ValueError):
    """A text without the JSON that was looked for, and why."""


class TooDeep(NotJson):
    """Brackets within brackets beyond what can be read: whether it is JSON is not known."""

    def __init__(self) -> None:
        super().__init__("nested too deeply to be checked")


def unfenced(text: str) -> str | None:
    """What a Markdown fence holds that is the whole text, else None."""
    fenced = _FENCE.fullmatch(text.strip())
    return fenced.group(1) if fenced else None


def whole_json(text: str) -> Any:
    """The JSON value that a text is, whole and alone. Raises NotJson; NaN and infinities are no JSON."""
    if not text.strip():
        raise NotJson(f"not JSON: {EMPTY}")
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise TooDeep from error
    except ValueError as error:
        raise NotJson(f"not JSON: {error}") from error


def find_json(text: str) -> Any:
    """The JSON value in a response that may say more: the whole, else a fence's, else the first in its prose.

    Raises NotJson. Tolerant on purpose, for measures of what was found; how it was written is for `format`.
    """
    if not text.strip():
        raise NotJson(EMPTY)
    fence = _FENCE.search(text)
    for candidate in (text, fence.group(1) if fence else ""):
        try:
            return whole_json(candidate)
        except NotJson:
            continue
    for opening, _ in zip(_OPENING.finditer(text), range(_ATTEMPTS), strict=False):
        try:
            return _DECODER.raw_decode(text, opening.start())[0]
        except (ValueError, RecursionError):
            continue
    raise NotJson(NO_JSON)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON value")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)
