"""Slices: where a candidate is better or worse, by what its prompts are like.

Everything here is computed from examples and the additive parts of their scores; nothing is read or stored.
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from engine.comparison import Comparison, compare_parts
from engine.examples import Example
from engine.metrics.language import detect
from engine.metrics.metric import Measure
from engine.metrics.text import words
from engine.stats.intervals import Interval, bootstrap_interval
from engine.stats.paired import holm

Standing = Literal["worse", "better", "unsettled"]
Parts = Mapping[str, Sequence[float]]

SMALLEST = 5
_LEVEL = 0.05
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


@dataclass(frozen=True, slots=True)
class Slice:
    """One measure on the examples that share a feature, candidate against baseline.

    `p` is corrected for the number of slices looked at (Holm); `standing` is "worse" or "better" where it is
    under 0.05, in the measure's own direction.
    """

    name: str
    comparison: Comparison
    p: float | None
    standing: Standing


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


def slice_values(
    members: Mapping[str, Sequence[str]], measure: Measure, parts: Parts, seed: int = 0
) -> dict[str, Interval]:
    """One model's value on each slice with its 95 % interval and n; slices without a value are left out."""
    values = {}
    for name, ids in members.items():
        rows = [parts[key] for key in ids if key in parts]
        if rows:
            values[name] = bootstrap_interval(np.array(rows, dtype=np.float64), measure.combine, seed)
    return values


def compare_slices(
    members: Mapping[str, Sequence[str]],
    candidate: tuple[str, Parts],
    baseline: tuple[str, Parts],
    measure: Measure,
    seed: int = 0,
    smallest: int = SMALLEST,
) -> list[Slice]:
    """Every slice with at least `smallest` examples that both models, (name, parts by id), have values on.

    The p-values are corrected together (Holm). The order: slices that are settled as worse, the most worsened
    first; then the unsettled; then those settled as better. A measure without a direction is never settled.
    """
    compared = []
    for name, ids in members.items():
        ours, theirs = (
            {key: parts[key] for key in ids if key in parts} for parts in (candidate[1], baseline[1])
        )
        if len(ours.keys() & theirs.keys()) >= smallest:
            compared.append(
                (name, compare_parts(candidate[0], baseline[0], measure, ours, theirs, seed=seed))
            )
    tested = [item for item in compared if item[1].p is not None]
    corrected = dict(
        zip((name for name, _ in tested), holm([float(item.p or 0.0) for _, item in tested]), strict=True)
    )
    slices = [
        Slice(name, item, corrected.get(name), _standing(item, corrected.get(name)))
        for name, item in compared
    ]
    return sorted(slices, key=_order)


def _standing(comparison: Comparison, p: float | None) -> Standing:
    worsening = comparison.worsening
    if p is None or p >= _LEVEL or not worsening:
        return "unsettled"
    return "worse" if worsening > 0 else "better"


def _order(item: Slice) -> tuple[int, float, str]:
    place = {"worse": 0, "unsettled": 1, "better": 2}[item.standing]
    return place, -(item.comparison.worsening or 0.0), item.name


def _several(query: str) -> bool:
    """Whether a prompt asks for several things: a list of them, questions, or one "then" the other."""
    return len(_ITEM.findall(query)) > 1 or len(_QUESTION.findall(query)) > 1 or bool(_THEN.search(query))
