"""Slices of an eval set: the examples of a category, of a length, or with a feature in their prompt."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence

from engine.data.example import Example
from engine.metrics.language import detect
from engine.metrics.text import words

MOST = 40
_SHORT = 4
_LENGTHS = ((25, "up to 25 words"), (100, "26 to 100 words"), (400, "101 to 400 words"))
_LONGEST = "over 400 words"
_SAMPLE = 20_000  # characters of a prompt that its features are sought in
_NEGATION = re.compile(
    r"\b(?:not|no|never|none|nothing|nobody|without|neither|nor|cannot|\w+n['’]t"
    r"|nicht|kein\w*|nie|ohne|ne|pas|jamais|sans|nunca|sin|não|non|не|нет|никогда|без)\b|不|没|ない|ません",
    re.IGNORECASE,
)
_CODE = re.compile(
    r"```|~~~|^\s*(?:def|class|import|#include|public|function|SELECT|const|let|var)\b.*[(;{:*]"
    r"|\w+\([^)\n]*\)\s*[;{]|</?\w+>",
    re.MULTILINE,
)
_ITEM = re.compile(r"^\s*(?:[-*•]|\d{1,3}[.)])\s+\S", re.MULTILINE)
_THEN = re.compile(
    r"\b(?:then|also|additionally|finally|afterwards|dann|außerdem|ensuite|luego|затем)\b", re.IGNORECASE
)
_QUESTION = re.compile(r"[?？؟]")
_DIGIT = re.compile(r"\d")


def features(example: Example) -> tuple[str, ...]:
    """The slices that an example is in: its category, and what its last question is like.

    Rules of thumb over the text; a prompt may have several features, and always has one length.
    """
    query = example.query[:_SAMPLE]
    length = len(words(query))
    bucket = next((name for most, name in _LENGTHS if length <= most), _LONGEST)
    language = example.extra.get("language") or detect(query)
    found = {
        "very short prompt": length <= _SHORT,
        "negation": bool(_NEGATION.search(query)),
        "several instructions": _several(query),
        "code": bool(_CODE.search(query)),
        "not English": language not in (None, "en"),
        "numbers": bool(_DIGIT.search(query)),
    }
    category = (f"category: {example.category}",) if example.category else ()
    return (*category, f"prompt of {bucket}", *(name for name, present in found.items() if present))


def slice_ids(examples: Sequence[Example]) -> dict[str, list[str]]:
    """The ids of the examples in each slice."""
    members: dict[str, list[str]] = defaultdict(list)
    for example in examples:
        for name in features(example):
            members[name].append(example.id)
    return dict(members)


def largest(members: Mapping[str, Sequence[str]], most: int = MOST) -> dict[str, Sequence[str]]:
    """The `most` slices with the most examples, in their order: few are tested together."""
    kept = sorted(members, key=lambda name: len(members[name]), reverse=True)[:most]
    return {name: ids for name, ids in members.items() if name in kept}


def _several(query: str) -> bool:
    """Whether a prompt asks for several things: a list of them, questions, or one "then" the other."""
    return len(_ITEM.findall(query)) > 1 or len(_QUESTION.findall(query)) > 1 or bool(_THEN.search(query))
