"""Checks of a response's form that a program can decide: how long, in which language, with what in it.

A check is a name and what it is told; it gives the fault as a sentence, or None where the response passes.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from engine.errors import BadInput
from engine.metrics.answers import NotJson, whole_json
from engine.metrics.language import check_language, detect
from engine.metrics.patterns import compile_pattern, found
from engine.metrics.text import words
from engine.plan.errors import listed, nearest

_SHOWN = 60
_ITEM = re.compile(r"^[ \t]{0,3}(\d{1,9})[.)][ \t]+\S", re.MULTILINE)
_HEADING = re.compile(r"^ {0,3}#{1,6}[ \t]+\S", re.MULTILINE)

Check = Callable[[str], str | None]


def make_check(name: str, told: Any, where: str) -> Check:
    """The check of that name; BadInput, naming `where` it stands, for an unknown one or a wrong setting."""
    if name not in _KINDS:
        raise BadInput(
            f'{where}: unknown check "{name}"{nearest(name, _KINDS)}', f"Checks: {listed(_KINDS)}."
        )
    return _KINDS[name](told, f"{where}.{name}")


def _json(told: Any, where: str) -> Check:
    def check(text: str) -> str | None:
        try:
            whole_json(text)
        except NotJson as error:
            return str(error)
        return None

    return _asked(told, where, check)


def _max_words(told: Any, where: str) -> Check:
    limit = _count(told, where)
    return lambda text: _more(len(words(text)), limit, "words")


def _min_words(told: Any, where: str) -> Check:
    limit = _count(told, where)
    return lambda text: _fewer(len(words(text)), limit, "words")


def _max_chars(told: Any, where: str) -> Check:
    limit = _count(told, where)
    return lambda text: _more(len(text), limit, "characters")


def _regex(told: Any, where: str) -> Check:
    pattern = compile_pattern(told, where)
    return lambda text: None if found(pattern, text) else f"the pattern {told[:_SHOWN]!r} does not match"


def _required(told: Any, where: str) -> Check:
    phrases = _phrases(told, where)

    def check(text: str) -> str | None:
        folded = text.casefold()
        absent = [phrase for phrase in phrases if phrase.casefold() not in folded]
        return f"lacks {', '.join(map(repr, absent))}" if absent else None

    return check


def _forbidden(told: Any, where: str) -> Check:
    phrases = _phrases(told, where)

    def check(text: str) -> str | None:
        folded = text.casefold()
        present = [phrase for phrase in phrases if phrase.casefold() in folded]
        return f"holds {', '.join(map(repr, present))}" if present else None

    return check


def _language(told: Any, where: str) -> Check:
    wanted = check_language(told, where)
    if wanted is None:
        raise BadInput(f'{where}: expected a language such as "de", found {told!r}.')

    def check(text: str) -> str | None:
        given = detect(text)
        if given == wanted:
            return None
        return f"written in {given}, not {wanted}" if given else f"not recognised as {wanted}"

    return check


def _numbered_list(told: Any, where: str) -> Check:
    def check(text: str) -> str | None:
        numbers = [int(number) for number in _ITEM.findall(text)]
        return None if {1, 2} <= set(numbers) else "has no numbered list (1. … 2. …)"

    return _asked(told, where, check)


def _heading(told: Any, where: str) -> Check:
    return _asked(
        told, where, lambda text: None if _HEADING.search(text) else "has no Markdown heading (# …)"
    )


def _code_block(told: Any, where: str) -> Check:
    return _asked(told, where, lambda text: None if _fenced(text) else "has no fenced code block (``` … ```)")


_KINDS: Mapping[str, Callable[[Any, str], Check]] = {
    "json": _json,
    "regex": _regex,
    "max_words": _max_words,
    "min_words": _min_words,
    "max_chars": _max_chars,
    "required": _required,
    "forbidden": _forbidden,
    "language": _language,
    "numbered_list": _numbered_list,
    "heading": _heading,
    "code_block": _code_block,
}
CHECKS = tuple(_KINDS)


def _fenced(text: str) -> bool:
    """Whether a fence opens, and one like it closes it on a later line."""
    opened = ""
    for line in text.splitlines():
        mark = line.strip()
        if opened and mark.startswith(opened) and not mark.strip(opened[0]):
            return True
        if not opened and mark.startswith(("```", "~~~")):
            opened = mark[:3]
    return False


def _asked(told: Any, where: str, check: Check) -> Check:
    if told is not True:
        raise BadInput(
            f"{where}: expected true, found {told!r}; leave the check out where it is not asked for."
        )
    return check


def _count(told: Any, where: str) -> int:
    if isinstance(told, bool) or not isinstance(told, int) or told < 0:
        raise BadInput(f"{where}: expected a whole number of 0 or more, found {told!r}.")
    return told


def _phrases(told: Any, where: str) -> list[str]:
    phrases = [told] if isinstance(told, str) else told
    if not phrases or not isinstance(phrases, list) or not all(isinstance(item, str) for item in phrases):
        raise BadInput(f"{where}: expected a phrase or a list of phrases, found {told!r}.")
    return phrases


def _more(count: int, limit: int, unit: str) -> str | None:
    return f"{count} {unit}, where {limit} are the most" if count > limit else None


def _fewer(count: int, limit: int, unit: str) -> str | None:
    return f"{count} {unit}, where {limit} are the fewest" if count < limit else None
