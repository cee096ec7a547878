"""A candidate against a baseline on the same examples."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engine.stats.family import CRITICAL_Z, DETECTABLE
from engine.stats.intervals import (
    FEW,
    OPEN,
    RESAMPLES,
    ROUNDING,
    Array,
    Combine,
    Ends,
    bootstrap_sums,
    expanded,
    finite,
    is_plain_mean,
    of_equal,
    of_few,
    of_mean,
    percentiles,
    swapped_sums,
    wilson,
    within,
)


@dataclass(frozen=True, slots=True)
class Paired:
    """Two values, and how sure their difference (candidate minus baseline) is.

    What n does not allow is None: everything without examples, interval and p with fewer than two. Where all
    differences are equal, which says nothing about their spread, `smallest_detectable` is None, and without a
    known range so is the interval of fewer than FEW differences and of none.
    """

    candidate_value: float | None
    baseline_value: float | None
    delta: float | None
    low: float | None
    high: float | None
    p: float | None
    n: int
    smallest_detectable: float | None


@dataclass(frozen=True, slots=True)
class Sides:
    """One measure's parts under two models, both [n, k], row by row of the same example.

    `reach` is the largest difference that the ends of the measure's range allow; None: an end is open.
    """

    candidate: Array
    baseline: Array
    combine: Combine
    reach: float | None = None


def compare(
    candidate: Array,
    baseline: Array,
    combine: Combine,
    seed: int = 0,
    resamples: int = RESAMPLES,
    reach: float | None = None,
) -> Paired:
    """Compare two models by their parts, both [n, k], row by row of the same example."""
    [found] = compare_all([Sides(candidate, baseline, combine, reach)], seed, resamples)
    return found


def compare_all(measures: Sequence[Sides], seed: int = 0, resamples: int = RESAMPLES) -> list[Paired]:
    """Compare two models on several measures of the same n examples, all by the same draws.

    The 95 % interval is that of the paired bootstrap (Koehn 2004), by the rules of `bootstrap_interval` for
    the differences. Where no example differs, it is the score interval of no difference among n. p is
    two-sided: exact by McNemar's test for means of right and wrong, else from a paired randomisation test,
    which counts the observed arrangement too and so is never 0 (Phipson & Smyth 2010).
    """
    plain = [_without_chance(sides) for sides in measures]
    tested = [sides for sides, known in zip(measures, plain, strict=True) if known is None]
    if not tested:
        return [known for known in plain if known is not None]
    drawn = bootstrap_sums(np.hstack([np.hstack([s.candidate, s.baseline]) for s in tested]), seed, resamples)
    chances = iter(_chances(tested, seed, resamples))
    left = iter(_slices(drawn, [2 * sides.candidate.shape[1] for sides in tested]))
    return [
        _compared(sides, next(left), next(chances), seed, resamples) if known is None else known
        for sides, known in zip(measures, plain, strict=True)
    ]


def _chances(tested: Sequence[Sides], seed: int, resamples: int) -> list[float]:
    """The p-value of each measure, all randomisation tests by the same tosses."""
    exact = [_exact_p(sides) for sides in tested]
    tossed = [sides for sides, p in zip(tested, exact, strict=True) if p is None]
    if not tossed:
        return [p for p in exact if p is not None]
    ours, theirs = (np.hstack(side) for side in ([s.candidate for s in tossed], [s.baseline for s in tossed]))
    widths = [sides.candidate.shape[1] for sides in tossed]
    first, second = (_slices(sums, widths) for sums in swapped_sums(ours, theirs, seed, resamples))
    found = (_randomisation_p(*each) for each in zip(tossed, first, second, strict=True))
    return [next(found) if p is None else p for p in exact]


def _slices(columns: Array, widths: Sequence[int]) -> list[Array]:
    """The columns [rows, sum of widths] apart."""
    return np.split(columns, np.cumsum(widths)[:-1], axis=1)


def _without_chance(sides: Sides) -> Paired | None:
    """What needs no resampling: nothing to compare, too little, or no difference at all."""
    candidate, baseline, combine = sides.candidate, sides.baseline, sides.combine
    if candidate.shape != baseline.shape:
        raise ValueError(f"parts of other examples: {candidate.shape} against {baseline.shape}")
    n = len(candidate) if candidate.ndim == 2 else 0
    if n == 0:
        return _nothing(None, None, 0)
    first, second = (finite(combine(side.sum(axis=0))) for side in (candidate, baseline))
    if first is None or second is None or n < 2:
        return _nothing(first, second, n)
    if np.array_equal(candidate, baseline):
        return Paired(first, second, 0.0, *undivided(n, _reach(sides)), 1.0, n, None)
    return None


def undivided(n: int, reach: float | None) -> tuple[float | None, float | None]:
    """The interval of a difference where none of n examples differs; none without the largest possible."""
    return (None, None) if reach is None else of_equal(0.0, n, (-reach, reach))


def _reach(sides: Sides) -> float | None:
    """The largest difference that can be, which of right and wrong is 1."""
    return 1.0 if sides.reach is None and _exact_p(sides) is not None else sides.reach


def _compared(sides: Sides, sums: Array, p: float, seed: int, resamples: int) -> Paired:
    """From the bootstrap's sums [resamples, 2k] of both sides."""
    combine, (n, width) = sides.combine, sides.candidate.shape
    first, second = (float(combine(side.sum(axis=0))) for side in (sides.candidate, sides.baseline))
    delta = first - second
    deltas = combine(sums[:, :width]) - combine(sums[:, width:])
    if is_plain_mean(sides.candidate, combine) and is_plain_mean(sides.baseline, combine):
        differences = sides.candidate[:, 0] - sides.baseline[:, 0]
        error = float(np.std(differences, ddof=1)) / math.sqrt(n)
    else:
        differences, error = None, float(np.std(deltas[np.isfinite(deltas)], ddof=1))
    reach = _reach(sides)
    ends = OPEN if reach is None else (-reach, reach)
    low: float | None
    high: float | None
    if (is_few_changed(differences) or error <= ROUNDING) and _exact_p(sides) is not None:
        low, high = paired_shares(sides.candidate[:, 0], sides.baseline[:, 0])
    else:
        means = None if _exact_p(sides) is not None else differences
        low, high = of_difference(delta, error, means, deltas, n, ends, seed, resamples)
    low, high = within(low, high, ends)
    detectable = DETECTABLE * error if error > ROUNDING else None
    return Paired(first, second, delta, low, high, p, n, detectable)


def of_difference(
    delta: float,
    error: float,
    differences: Array | None,
    deltas: Array,
    n: int,
    ends: Ends,
    seed: int,
    resamples: int,
) -> tuple[float | None, float | None]:
    """The interval of a difference over n examples, from its standard error and the resampled `deltas`.

    `differences` are those of the examples, where it is a mean of them. However few they are, they seldom
    fill what the ends allow: a quarter of one is counted there, and only where many are equal.
    """
    if error <= ROUNDING and (ends != OPEN or n < FEW):
        return of_equal(delta, n, ends)
    found = None if differences is None else of_mean(differences, ends, seed, resamples, few=0, unseen=0.25)
    if found is not None:
        return found
    return of_few(delta, deltas, n) if n < FEW else percentiles(deltas, expanded(n))


CHANGED = 20  # pairs of right and wrong that changed; resamples of fewer know too few outcomes


def is_few_changed(differences: Array | None) -> bool:
    return differences is not None and int(np.count_nonzero(differences)) < CHANGED


def paired_shares(ours: Array, theirs: Array) -> tuple[float, float]:
    """The interval of a difference of two shares of the same examples, [n] of right (1) and wrong (0) each.

    From the score intervals of the two shares and how they hang together (Newcombe 1998, method 10).
    """
    n = len(ours)
    right, other = float(ours.sum()), float(theirs.sum())
    both = float((ours * theirs).sum())
    agreed = both * (n - right - other + both) - (right - both) * (other - both)
    margins = right * (n - right) * other * (n - other)
    if agreed > 0:
        agreed = max(0.0, agreed - n / 2)
    tie = agreed / math.sqrt(margins) if margins else 0.0
    first, second = wilson(right, n), wilson(other, n)
    assert first.low is not None and first.high is not None
    assert second.low is not None and second.high is not None
    share, base = right / n, other / n
    below, above = (share - first.low, second.high - base), (base - second.low, first.high - share)
    low, high = (math.sqrt(max(0.0, one**2 - 2 * tie * one * two + two**2)) for one, two in (below, above))
    delta = share - base
    return max(-1.0, delta - low), min(1.0, delta + high)


def from_stderr(
    candidate: float,
    candidate_error: float | None,
    baseline: float,
    baseline_error: float | None,
    n: int | None,
) -> Paired:
    """Compare two values that come with standard errors alone, as if their examples were independent.

    `n` is that of the smaller side; None where nobody knows it, which makes it 0 in what is returned.

    A standard error of 0 at 0 or 1, where every item had the same outcome, is replaced by that of the
    adjusted share (Agresti & Coull 1998): so few items could not have shown the other outcome. Elsewhere two
    standard errors of 0 are no evidence of how sure the difference is.
    """
    errors = _honest(candidate, candidate_error, n), _honest(baseline, baseline_error, n)
    counted = n or 0
    if errors[0] is None or errors[1] is None or (n is not None and n < 2):
        return _nothing(candidate, baseline, counted)
    delta = candidate - baseline
    error = math.hypot(errors[0], errors[1])
    if error == 0:
        return _nothing(candidate, baseline, counted)
    p = math.erfc(abs(delta) / error / math.sqrt(2))
    half = CRITICAL_Z * error
    return Paired(candidate, baseline, delta, delta - half, delta + half, p, counted, DETECTABLE * error)


def mcnemar(lost: int, won: int) -> float:
    """p of the exact test for right and wrong on the same items, two-sided (McNemar 1947).

    `lost` and `won` are the items on which only one of the two was right: without a difference each falls to
    either side like a coin, and the items on which both agree say nothing.
    """
    differing = lost + won
    if not differing:
        return 1.0
    tail, ways = 0, 1
    for count in range(min(lost, won) + 1):
        tail += ways
        ways = ways * (differing - count) // (count + 1)
    return min(1.0, tail / (1 << (differing - 1)))


def _exact_p(sides: Sides) -> float | None:
    """McNemar's where every example is right or wrong and what is compared are means; else None."""
    if not (_right_or_wrong(sides.candidate) and _right_or_wrong(sides.baseline)):
        return None
    if not is_plain_mean(sides.candidate, sides.combine):
        return None
    gaps = sides.candidate[:, 0] - sides.baseline[:, 0]
    return mcnemar(int(np.count_nonzero(gaps < 0)), int(np.count_nonzero(gaps > 0)))


def _right_or_wrong(parts: Array) -> bool:
    return parts.shape[1] == 2 and bool(np.all(parts[:, 1] == 1) and np.all(np.isin(parts[:, 0], (0, 1))))


def _randomisation_p(sides: Sides, ours: Array, theirs: Array) -> float:
    """From the sums [resamples, k] of both sides after each round of swaps."""
    first, second = (float(sides.combine(side.sum(axis=0))) for side in (sides.candidate, sides.baseline))
    deltas = np.abs(sides.combine(ours) - sides.combine(theirs))
    reached = int(np.count_nonzero(deltas >= abs(first - second) - ROUNDING * max(1.0, abs(second))))
    return (1 + reached) / (1 + len(deltas))


def _honest(value: float, error: float | None, n: int | None) -> float | None:
    if error is None or not math.isfinite(error):
        return None
    if error == 0 and value in (0.0, 1.0):
        if n is None:
            return None
        share = (value * n + 2) / (n + 4)
        return math.sqrt(share * (1 - share) / (n + 4))
    return error


def _nothing(candidate: float | None, baseline: float | None, n: int) -> Paired:
    delta = None if candidate is None or baseline is None else candidate - baseline
    return Paired(candidate, baseline, delta, None, None, None, n, None)
