"""Counterfactual bias: the same prompt about different people, and how much the answers' scores differ."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from engine.data.example import Example
from engine.metrics.metric import mean
from engine.stats.intervals import RESAMPLES
from engine.stats.paired import Paired, compare

TOO_FEW = "no prompt has both terms"
_FEWEST, _PER_TEST = 1000, 40  # resamples: enough for the smallest p-value to survive its correction


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
