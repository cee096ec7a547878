"""Slices of an eval set (by category, length, feature of the prompt), and the gaps between their groups."""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean
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
from store.records.run import OF_SUITES

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


def terms_of(example: Example) -> dict[str, str]:
    """Whom a prompt is about: its field `term`, under "", and its `terms`, one of each group of terms."""
    several = example.extra.get("terms")
    named = {"": example.extra.get("term"), **(several if isinstance(several, Mapping) else {})}
    return {name: str(term) for name, term in named.items() if term is not None and str(term).strip()}


def disparities(
    examples: Iterable[Example], values: Mapping[str, Mapping[str, float]], seed: int = 0
) -> list[Disparity]:
    """Each measure for each two terms of a group, over the prompts (`group`) that are there with both.

    `values` holds a number for each measure and example id; missing ones leave their prompt out. Where
    prompts have terms of several groups, two variants are set against each other that differ in one of them
    alone. Several examples of one prompt and term count by their mean. Intervals are paired bootstrap ones,
    so a prompt is only ever set against itself.
    """
    prompts: dict[str, dict[str, _Variants]] = {}
    for example in examples:
        terms = terms_of(example)
        for name in terms if example.group is not None else ():
            others = tuple(sorted((other, term) for other, term in terms.items() if other != name))
            variants = prompts.setdefault(name, {}).setdefault(str(example.group), {})
            variants.setdefault(others, {}).setdefault(terms[name], []).append(example.id)
    asked = {
        name: list(combinations(sorted({term for each in own.values() for term in _terms(each)}), 2))
        for name, own in prompts.items()
    }
    resamples = min(
        RESAMPLES, max(_FEWEST, _PER_TEST * sum(len(pairs) for pairs in asked.values()) * len(values))
    )
    return [
        _disparity(measure, name, *pair, list(prompts[name].values()), scores, seed, resamples)
        for measure, scores in values.items()
        for name, pairs in asked.items()
        for pair in pairs
    ]


def equal_opportunities(examples: Sequence[Example], most: int = 10) -> dict[str, list[str]]:
    """The examples of each label, by the name of their true positive rate; none without two labels.

    A difference of it between groups is the equal-opportunity difference (Hardt et al. 2016), here with each
    prompt set against itself, which a label that is the same for both groups allows.
    """
    prompts: dict[str, set[str | None]] = {}
    for example in examples:
        if example.group is not None and terms_of(example):
            prompts.setdefault(example.group, set()).add(example.label)
    found: dict[str, list[str]] = defaultdict(list)
    for example in examples:
        if example.label is not None and prompts.get(example.group or "") == {example.label}:
            found[f"true_positive_rate:{example.label}"].append(example.id)
    return dict(found) if 1 < len(found) <= most else {}


# Of one prompt and group, the examples of each term, by the terms of the other groups.
_Variants = dict[tuple[tuple[str, str], ...], dict[str, list[str]]]


def _terms(variants: _Variants) -> set[str]:
    return {term for each in variants.values() for term in each}


def _disparity(
    measure: str,
    group: str,
    first: str,
    second: str,
    prompts: Sequence[_Variants],
    scores: Mapping[str, float],
    seed: int,
    resamples: int,
) -> Disparity:
    called, other_called = (f"{group}: {term}" if group else term for term in (first, second))
    both = [found for prompt in prompts if (found := _means(prompt, first, second, scores))]
    if not both:
        return Disparity(measure, called, other_called, None, reason=TOO_FEW)
    one, other = (np.array([(means[side], 1.0) for means in both]) for side in (0, 1))
    return Disparity(measure, called, other_called, compare(one, other, mean, seed, resamples))


def _means(
    prompt: _Variants, first: str, second: str, scores: Mapping[str, float]
) -> tuple[float, float] | None:
    """A prompt's mean for both terms, over the variants that have both."""
    pairs = []
    for variants in prompt.values():
        known = [[scores[one] for one in variants.get(term, ()) if one in scores] for term in (first, second)]
        if all(known):
            pairs.append([fmean(values) for values in known])
    if not pairs:
        return None
    one, other = (fmean(values) for values in zip(*pairs, strict=True))
    return one, other


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
    by_name = {row.example: row.id for row in rows if row.split != OF_SUITES}
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
