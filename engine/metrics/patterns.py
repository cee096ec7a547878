"""Regular expressions over text that models wrote, with a time limit.

A pattern such as (a+)+$ takes longer than a life on the wrong answer; the `regex` package can stop it.
"""

from functools import lru_cache
from typing import Protocol

import regex

from engine.errors import BadInput

TIMEOUT_S = 1.0


class Pattern(Protocol):
    """A compiled pattern of the `regex` package."""

    def search(self, text: str, *, timeout: float) -> object: ...


class TooSlow(Exception):
    """A pattern was stopped at its time limit: whether it matches is not known."""

    def __init__(self) -> None:
        super().__init__(f"the pattern was not done with this response after {TIMEOUT_S:g} s")


def compile_pattern(pattern: object, where: str) -> Pattern:
    """A pattern ready to search with; BadInput, naming where it stands, when it is none."""
    if not isinstance(pattern, str):
        raise BadInput(f"{where}: expected a regular expression, found {pattern!r}.")
    try:
        return _compile(pattern)
    except regex.error as error:
        raise BadInput(f"{where}: {pattern!r} is not a regular expression: {error}.") from error


def found(pattern: Pattern, text: str) -> bool:
    """Whether the pattern matches anywhere in the text; raises TooSlow."""
    try:
        return pattern.search(text, timeout=TIMEOUT_S) is not None
    except TimeoutError as error:
        raise TooSlow from error


@lru_cache(maxsize=1024)
def _compile(pattern: str) -> Pattern:
    compiled: Pattern = regex.compile(pattern, regex.VERSION0)
    return compiled
