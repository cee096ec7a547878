"""A candidate against a baseline on the same examples."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from engine.stats.intervals import RESAMPLES, finite, percentiles
from engine.stats.resampling import Array, Combine, bootstrap_sums, swapped_sums

# Standard errors that a true difference must measure to be found in 80 % of studies at 5 %, two-sided.
_DETECTABLE = 2.8
_CRITICAL_Z = NormalDist().inv_cdf(0.975)
_ROUNDING = 1e-12


@dataclass(frozen=True, slots=True)
class Paired:
    """Two values, and how sure their difference (candidate minus baseline) is.

    What n does not allow is None: everything without examples, interval and p with fewer than two;
    `smallest_detectable` also where the examples do not differ at all, since that says nothing about spread.
    """

    candidate_value: float | None
    baseline_value: float | None
    delta: float | None
    low: float | None
    high: float | None
    p: float | None
    n: int
    smallest_detectable: float | None


def compare(
    candidate: Array, baseline: Array, combine: Combine, seed: int = 0, resamples: int = RESAMPLES
) -> Paired:
    """Compare two models by their parts, both [n, k], row by row of the same example.

    The 95 % interval is the percentile interval of the paired bootstrap (Koehn 2004); p comes from a paired
    randomisation test, two-sided, which counts the observed arrangement too and so is never 0
    (Phipson & Smyth 2010).
    """
    if candidate.shape != baseline.shape:
        raise ValueError(f"parts of other examples: {candidate.shape} against {baseline.shape}")
    n, width = candidate.shape if candidate.ndim == 2 else (0, 0)
    if n == 0:
        return _nothing(None, None, 0)
    candidate_value = finite(combine(candidate.sum(axis=0)))
    baseline_value = finite(combine(baseline.sum(axis=0)))
    if candidate_value is None or baseline_value is None or n < 2:
        return _nothing(candidate_value, baseline_value, n)
    if np.array_equal(candidate, baseline):
        return Paired(candidate_value, baseline_value, 0.0, 0.0, 0.0, 1.0, n, None)
    delta = candidate_value - baseline_value
    sums = bootstrap_sums(np.hstack([candidate, baseline]), seed, resamples)
    deltas = combine(sums[:, :width]) - combine(sums[:, width:])
    low, high = percentiles(deltas)
    error = float(np.std(deltas[np.isfinite(deltas)], ddof=1))
    return Paired(
        candidate_value,
        baseline_value,
        delta,
        low,
        high,
        _randomisation_p(candidate, baseline, combine, delta, seed, resamples),
        n,
        _DETECTABLE * error if error > _ROUNDING else None,
    )


def from_stderr(
    candidate: float, candidate_error: float | None, baseline: float, baseline_error: float | None, n: int
) -> Paired:
    """Compare two values that come with standard errors alone, as if their examples were independent.

    A standard error of 0 at 0 or 1, where every item had the same outcome, is replaced by that of the
    adjusted share (Agresti & Coull 1998): so few items could not have shown the other outcome.
    """
    errors = _honest(candidate, candidate_error, n), _honest(baseline, baseline_error, n)
    if errors[0] is None or errors[1] is None or n < 2:
        return _nothing(candidate, baseline, n)
    delta = candidate - baseline
    error = math.hypot(errors[0], errors[1])
    if error == 0:
        return Paired(candidate, baseline, delta, delta, delta, float(delta == 0), n, None)
    p = math.erfc(abs(delta) / error / math.sqrt(2))
    half = _CRITICAL_Z * error
    return Paired(candidate, baseline, delta, delta - half, delta + half, p, n, _DETECTABLE * error)


def holm(p: Sequence[float]) -> list[float]:
    """p-values corrected for being looked at together, in the order given (Holm 1979)."""
    corrected = [0.0] * len(p)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        largest = max(largest, min(1.0, (len(p) - rank) * p[index]))
        corrected[index] = largest
    return corrected


def _randomisation_p(
    candidate: Array, baseline: Array, combine: Combine, delta: float, seed: int, resamples: int
) -> float:
    candidates, baselines = swapped_sums(candidate, baseline, seed, resamples)
    deltas = np.abs(combine(candidates) - combine(baselines))
    scale = max(1.0, abs(float(combine(baseline.sum(axis=0)))))
    reached = int(np.count_nonzero(deltas >= abs(delta) - _ROUNDING * scale))
    return (1 + reached) / (1 + resamples)


def _honest(value: float, error: float | None, n: int) -> float | None:
    if error is None or not math.isfinite(error):
        return None
    if error == 0 and value in (0.0, 1.0):
        share = (value * n + 2) / (n + 4)
        return math.sqrt(share * (1 - share) / (n + 4))
    return error


def _nothing(candidate: float | None, baseline: float | None, n: int) -> Paired:
    delta = None if candidate is None or baseline is None else candidate - baseline
    return Paired(candidate, baseline, delta, None, None, None, n, None)
