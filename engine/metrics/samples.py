"""Several samples of one answer: the example's score, and what only several samples can tell.

An example is the unit of every statistic. Its score is the mean over its samples, so that intervals and
paired tests resample examples, and never take the samples of one example for independent.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from statistics import fmean, variance

from engine.data.final import final_answer
from engine.metrics.metric import Measure, Metric, Score, fraction
from engine.models.model import Response
from engine.plan.metrics import of_samples
from store.read.query import by_key


def pass_at_k(n: int, passed: int, k: int) -> float:
    """The chance that of k samples, drawn without replacement from n of which some passed, one passes.

    1 - C(n - passed, k) / C(n, k) (Chen et al. 2021). Raises ValueError when there are fewer than k samples.
    """
    _hold(n, passed, k)
    return 1.0 - math.comb(n - passed, k) / math.comb(n, k)


def pass_hat_k(n: int, passed: int, k: int) -> float:
    """The chance that all of k samples, drawn without replacement from n, pass: C(passed, k) / C(n, k).

    pass^k of Yao et al. 2024 (tau-bench). Raises ValueError when there are fewer than k samples.
    """
    _hold(n, passed, k)
    return math.comb(passed, k) / math.comb(n, k)


def _hold(n: int, passed: int, k: int) -> None:
    if not 0 <= passed <= n or not 1 <= k <= n:
        raise ValueError(f"k = {k} of {passed} passed among {n} samples")


def majority(texts: Sequence[str | None]) -> list[list[int]]:
    """The samples with the most frequent final answer; several lists are a tie, an empty result is no vote.

    A sample without a text or without a final answer has no vote. A number counts however it is written:
    "1/2", "0.5" and "50%" are one answer, "5 cm" and "5 kg" are two. One without a unit goes with those that
    have one, where that is the same for all.
    """
    finals = [None if text is None else final_answer(text) for text in texts]
    units = by_key(dict.fromkeys((final.value, final.unit) for final in finals if final and final.unit))
    shared = {value: unit for value, (unit, *others) in units.items() if not others}
    votes = by_key(
        ((final.value, final.unit or shared.get(final.value)), place)
        for place, final in enumerate(finals)
        if final is not None
    )
    most = max(map(len, votes.values()), default=0)
    return [places for places in votes.values() if len(places) == most]


def sampled_measures(metric: Metric, n: int, ks: Sequence[int]) -> list[Measure]:
    """Measures over n samples, besides the metric's own: pass@k, pass^k and maj@n of each verdict."""
    return [
        fraction(
            f"{kind}{k}:{item.name}",
            f"{_MEANINGS[kind][0].format(k=k)}: {item.meaning}",
            _MEANINGS[kind][1],
            needs=item.needs,
            version=f"{item.version}; 3" if kind == "maj@" else item.version,
        )
        for item in metric.measures
        if item.verdict
        for kind, k in of_samples(item.needs, n, ks)
    ]


_MEANINGS = {
    "pass@": (
        "chance that of {k} samples at least one passes",
        "Chen et al. 2021, unbiased estimator",
    ),
    "pass^": ("chance that {k} samples all pass", "Yao et al. 2024 (tau-bench)"),
    "maj@": ("the final answer that most of {k} samples give passes", "majority vote; ties count their mean"),
}


def score_samples(
    metric: Metric,
    n: int,
    ks: Sequence[int],
    responses: Sequence[Response],
    scored: Sequence[Sequence[Score]],
) -> list[Score]:
    """One example's scores from those of its samples: the metric's own, then what only samples tell."""
    by_measure = by_key((score.measure, score) for score in chain.from_iterable(scored))
    # The parts of pass@k are shares of a task, which add up to it.
    found = [_together(each, name.startswith("pass_at_")) for name, each in by_measure.items()]
    for item in metric.measures:
        for kind, k in of_samples(item.needs, n, ks) if item.verdict else ():
            name, scores = f"{kind}{k}:{item.name}", by_measure[item.name]
            voted = kind == "maj@"
            found.append(_voted(name, responses, scores) if voted else _passed(name, kind, k, scores))
    return found


def _together(scores: Sequence[Score], shares: bool) -> Score:
    """The mean over the samples that have a value; how many lack one is its reason."""
    values = tuple(score.value for score in scores)
    known = [score for score in scores if score.value is not None]
    reason = _reason(
        scores if len(known) == len(scores) else [s for s in scores if s.value is None], len(scores)
    )
    if not known:
        return replace(scores[0], reason=reason, samples=values)
    parts = None
    if any(score.parts is not None for score in known):
        sums = [sum(part) for part in zip(*(score.additive() or () for score in known), strict=True)]
        parts = tuple(total if shares else total / len(known) for total in sums)
    value = fmean(value for value in values if value is not None)
    return Score(scores[0].measure, value, reason, parts, values)


def _reason(scores: Sequence[Score], n: int) -> str | None:
    """The most frequent reason of the scores, with the number of samples that have it, of n."""
    reasons = Counter(score.reason for score in scores if score.reason)
    if not reasons:
        return None
    (reason, count), *_ = reasons.most_common(1)
    return reason if count == n else f"{count} of {n} samples: {reason}"


def _passed(name: str, kind: str, k: int, scores: Sequence[Score]) -> Score:
    values = [score.value for score in scores if score.value is not None]
    if len(values) < k:
        lacking = _reason([score for score in scores if score.value is None], len(scores))
        return Score(name, None, f"{len(values)} samples have a value, and {kind}{k} needs {k}; {lacking}")
    if any(value not in (0, 1) for value in values):
        return Score(name, None, "a sample's value is neither 0 nor 1")
    estimate = pass_at_k if kind == "pass@" else pass_hat_k
    return Score(name, estimate(len(values), round(sum(values)), k))


def _voted(name: str, responses: Sequence[Response], scores: Sequence[Score]) -> Score:
    """The value of the majority's answer; of a tie the mean of its answers, as chance would have it."""
    groups = majority([response.text for response in responses])
    if not groups:
        return Score(name, None, "no sample has a final answer to vote with")
    values = [[value for place in group if (value := scores[place].value) is not None] for group in groups]
    if not all(values):
        reason = next((scores[place].reason for group in groups for place in group), None)
        return Score(name, None, reason or "the majority's answer has no value")
    tie = f"{len(groups)} answers tie with {len(groups[0])} of {len(scores)} samples each: their mean counts"
    return Score(name, fmean(map(fmean, values)), tie if len(groups) > 1 else None)


def spread(samples: Sequence[Sequence[float | None]]) -> float | None:
    """How far the samples of one example lie apart: the root of the mean of the examples' variances (n - 1).

    `samples` are the values of each example's samples; None where no example has two.
    """
    known = [[value for value in values if value is not None] for values in samples]
    variances = [variance(values) for values in known if len(values) > 1]
    return math.sqrt(fmean(variances)) if variances else None
