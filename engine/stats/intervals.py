"""Confidence intervals of one model's value."""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from engine.stats.resampling import Array, Combine, bootstrap_sums

RESAMPLES = 10_000
LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Interval:
    """A value with its confidence interval over n examples.

    `value` is None without examples; `low` and `high` are None with fewer than two.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int


def bootstrap_interval(
    parts: Array, combine: Combine, seed: int = 0, resamples: int = RESAMPLES, level: float = LEVEL
) -> Interval:
    """The combined value of the parts [n, k] with its percentile bootstrap interval (Efron 1979)."""
    n = len(parts)
    if n == 0:
        return Interval(None, None, None, 0)
    value = finite(combine(parts.sum(axis=0)))
    if n < 2 or value is None:
        return Interval(value, None, None, n)
    low, high = percentiles(combine(bootstrap_sums(parts, seed, resamples)), level)
    return Interval(value, low, high, n)


def wilson(successes: float, n: int, level: float = LEVEL) -> Interval:
    """A share with its score interval (Wilson 1927), which keeps a width at 0 and at 1.

    `successes` may hold halves (ties).
    """
    if n == 0:
        return Interval(None, None, None, 0)
    z = NormalDist().inv_cdf(0.5 + level / 2)
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return Interval(share, max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half)), n)


def percentiles(values: Array, level: float = LEVEL) -> tuple[float | None, float | None]:
    """The ends of the middle `level` of the values, leaving out resamples where nothing could be computed."""
    computed = values[np.isfinite(values)]
    if len(computed) == 0:
        return None, None
    low, high = np.quantile(computed, [0.5 - level / 2, 0.5 + level / 2])
    return float(low), float(high)


def finite(value: float | Array) -> float | None:
    """The number, or None for one that isn't (a ratio over nothing)."""
    number = float(value)
    return number if math.isfinite(number) else None
