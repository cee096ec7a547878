"""Many regular expressions at once, quickly: those are left out whose words a text does not hold.

Of hundreds of rules nearly all fail at each place of a text. Whether it holds a word that a match must hold
is told a hundred times as fast.
"""

import re
from collections.abc import Iterable, Sequence
from re import _parser  # type: ignore[attr-defined]
from typing import Any

# Letters that match others where case is ignored, and are not those in lower case.
_ODD = re.compile("[İıſᲀ-ᲈ]")
_LEAST = 2  # characters of a word that rules anything out


class Alternatives:
    """Regular expressions of which any may match, as if they were joined by "|"; case is ignored."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self._rules = [(re.compile(each, re.IGNORECASE), needed(each)) for each in patterns]
        self._words = sorted({word for _, words in self._rules for word in words or ()})

    def search(self, text: str, start: int = 0) -> re.Match[str] | None:
        """The first match from a place on; of several there, that of the first expression."""
        found = (rule.search(text, start) for rule in self._possible(text))
        return min((each for each in found if each), key=re.Match.start, default=None)

    def _possible(self, text: str) -> Iterable[re.Pattern[str]]:
        if _ODD.search(text):
            return (rule for rule, _ in self._rules)
        lower = text.lower()
        held = {word for word in self._words if word in lower}
        return (rule for rule, words in self._rules if words is None or not words.isdisjoint(held))


def needed(pattern: str) -> frozenset[str] | None:
    """Words in lower case of which each match of an expression holds one; None where there are no such."""
    return _of(_parser.parse(pattern, re.IGNORECASE))


def _of(sequence: Iterable[tuple[Any, Any]]) -> frozenset[str] | None:
    """Of the parts of a sequence the words whose shortest is longest, and of those the fewest."""
    found: list[frozenset[str]] = []
    run = ""
    for kind, value in _flat(sequence):
        if kind is _parser.LITERAL:
            run += chr(value).lower()
            continue
        found.append(frozenset({run}))
        run = ""
        if words := _of_part(kind, value):
            found.append(words)
    found.append(frozenset({run}))
    best = max(found, key=lambda words: (min(map(len, words)), -len(words)))
    return best if min(map(len, best)) >= _LEAST else None


def _flat(sequence: Iterable[tuple[Any, Any]]) -> Iterable[tuple[Any, Any]]:
    """The parts of a sequence, and of the groups in it as they stand one after another."""
    for kind, value in sequence:
        if kind is _parser.SUBPATTERN and not value[1] and not value[2]:
            yield from _flat(value[3])
        else:
            yield kind, value


def _of_part(kind: Any, value: Any) -> frozenset[str] | None:
    if kind is _parser.BRANCH:
        each = [_of(branch) for branch in value[1]]
        return frozenset(word for words in each for word in words or ()) if all(each) else None
    if kind in (_parser.MAX_REPEAT, _parser.MIN_REPEAT) and value[0] > 0:
        return _of(value[2])
    return None
