"""Slices of an eval set (by category, length, feature of the prompt), and the gaps between their groups."""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TypeVar

import numpy as np

from engine.data.example import Example, is_synthetic
from engine.data.leak import is_counted
from engine.data.versions import example_of
from engine.metrics.language import detect
from engine.metrics.metric import mean
from engine.metrics.text import words
from engine.stats.intervals import RESAMPLES
from engine.stats.paired import Paired, compare
from store.read import evidence
from store.read.history import Connection, leaks, run
from store.read.slices import LEAKED, NOT_LEAKED, NOT_SYNTHETIC, SIMILAR, SYNTHETIC, UNLIKE

T = TypeVar("T")
TOO_FEW = "no prompt has both terms"
_FEWEST, _PER_TEST = 1000, 40  # resamples: enough for the smallest p-value to survive the correction


@dataclass(frozen=True, slots=True)
class Disparity:
    """A measure's mean for prompts about `first` minus that for the same prompts about `second`.

    `paired` is None, and `reason` says why, where they cannot be compared.
    """

    measure: str
    first: str
    second: str
    paired: Paired | None
    reason: str | None = None


def term_of(example: Example) -> str | None:
    """The group of people that a prompt is about: its field `term`."""
    term = example.extra.get("term")
    return str(term) if term is not None and str(term).strip() else None


def disparities(
    examples: Iterable[Example], values: Mapping[str, Mapping[str, float]], seed: int = 0
) -> list[Disparity]:
    """Each measure for each two terms, over the prompts (`group`) that are there with both.

    `values` holds a number for each measure and example id; missing ones leave their prompt out. Several
    examples of one prompt and term count by their mean. Intervals are paired bootstrap ones, so a prompt is
    only ever set against itself.
    """
    prompts: dict[str, dict[str, list[str]]] = {}
    for example in examples:
        term = term_of(example)
        if term is not None and example.group is not None:
            prompts.setdefault(example.group, {}).setdefault(term, []).append(example.id)
    terms = sorted({term for prompt in prompts.values() for term in prompt})
    pairs = list(combinations(terms, 2))
    resamples = min(RESAMPLES, max(_FEWEST, _PER_TEST * len(pairs) * len(values)))
    found = []
    for measure, scores in values.items():
        means = {name: _means(prompt, scores) for name, prompt in prompts.items()}
        found += [_disparity(measure, *pair, means, seed, resamples) for pair in pairs]
    return found


def equal_opportunities(examples: Sequence[Example], most: int = 10) -> dict[str, list[str]]:
    """The examples of each label, by the name of their true positive rate; none without two labels.

    A difference of it between groups is the equal-opportunity difference (Hardt et al. 2016), here with each
    prompt set against itself, which a label that is the same for both groups allows.
    """
    prompts: dict[str, set[str | None]] = {}
    for example in examples:
        if example.group is not None and term_of(example) is not None:
            prompts.setdefault(example.group, set()).add(example.label)
    found: dict[str, list[str]] = defaultdict(list)
    for example in examples:
        if example.label is not None and prompts.get(example.group or "") == {example.label}:
            found[f"true_positive_rate:{example.label}"].append(example.id)
    return dict(found) if 1 < len(found) <= most else {}


def _means(prompt: Mapping[str, list[str]], scores: Mapping[str, float]) -> dict[str, float]:
    known = {term: [scores[one] for one in ids if one in scores] for term, ids in prompt.items()}
    return {term: sum(values) / len(values) for term, values in known.items() if values}


def _disparity(
    measure: str,
    first: str,
    second: str,
    means: Mapping[str, Mapping[str, float]],
    seed: int,
    resamples: int,
) -> Disparity:
    both = [prompt for prompt in means.values() if first in prompt and second in prompt]
    if not both:
        return Disparity(measure, first, second, None, reason=TOO_FEW)
    one, other = (np.array([(prompt[term], 1.0) for prompt in both]) for term in (first, second))
    return Disparity(measure, first, second, compare(one, other, mean, seed, resamples))


MOST = 40
_SHORT = 4
_LENGTHS = ((25, "up to 25 words"), (100, "26 to 100 words"), (400, "101 to 400 words"))
_LONGEST = "over 400 words"
_SAMPLE = 20_000  # characters of a prompt that are searched for features
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
    suite = example.extra.get("suite")
    suites = (f"suite: {suite}",) if isinstance(suite, str) else ()
    return (*suites, *category, f"prompt of {bucket}", *(name for name, present in found.items() if present))


def slice_ids(examples: Sequence[Example]) -> dict[str, list[str]]:
    """The ids of the examples in each slice."""
    members: dict[str, list[str]] = defaultdict(list)
    for example in examples:
        for name in features(example):
            members[name].append(example.id)
    return dict(members)


def of_the_set(
    ids: Sequence[T], leaked: Collection[T], alike: Collection[T], written: Collection[T]
) -> dict[str, list[T]]:
    """The examples that leaked and those that did not, as two slices; none unless there are some of each.

    And likewise those like a training question with another answer (`alike`), and those like none at all;
    and the synthetic ones, which a model has `written`, and the others.
    """
    halves = (
        {
            LEAKED: [one for one in ids if one in leaked],
            NOT_LEAKED: [one for one in ids if one not in leaked],
        },
        {
            SIMILAR: [one for one in ids if one in alike],
            UNLIKE: [one for one in ids if one not in alike and one not in leaked],
        },
        {
            SYNTHETIC: [one for one in ids if one in written],
            NOT_SYNTHETIC: [one for one in ids if one not in written],
        },
    )
    return {name: own for half in halves if all(half.values()) for name, own in half.items()}


def members(connection: Connection, run_id: int) -> dict[str, frozenset[int]]:
    """The store's ids of the examples in each slice of a stored run, the largest slice first."""
    rows = evidence.run_examples(connection, run_id)
    found: dict[str, list[int]] = {}
    written = set()
    for row in rows:
        example = example_of(row)
        for name in features(example):
            found.setdefault(name, []).append(row.id)
        if is_synthetic(example):
            written.add(row.example)
    leaked = {row.example for row in leaks(connection, run_id) if is_counted(row.tier, row.field)}
    alike = (run(connection, run_id).data_summary or {}).get("similar_ids") or ()
    by_name = {row.example: row.id for row in rows}
    for name, own in of_the_set(list(by_name), leaked, set(alike), written).items():
        found[name] = [by_name[one] for one in own]
    return {name: frozenset(found[name]) for name in sorted(found, key=lambda one: (-len(found[one]), one))}


def largest(members: Mapping[str, Sequence[str]], most: int = MOST) -> dict[str, Sequence[str]]:
    """The `most` slices with the most examples, in their order: few are tested together."""
    kept = sorted(members, key=lambda name: len(members[name]), reverse=True)[:most]
    return {name: ids for name, ids in members.items() if name in kept}


def _several(query: str) -> bool:
    """Whether a prompt asks for several things: a list of them, questions, or one "then" the other."""
    return len(_ITEM.findall(query)) > 1 or len(_QUESTION.findall(query)) > 1 or bool(_THEN.search(query))
