"""Confidence intervals of one model's value."""

import math
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np

from engine.stats.resampling import Array, Combine, bootstrap_sums

RESAMPLES = 10_000
LEVEL = 0.95
FEW = 4  # examples up to which a bootstrap has too few different resamples: 35 of four
ENOUGH = 500  # examples from which on percentiles are as good as what is studentised
_ROUNDING = 1e-12


@dataclass(frozen=True, slots=True)
class Interval:
    """A value with its confidence interval over n examples.

    `value` is None without examples; `low` and `high` are None with fewer than two.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int

    def within(self, low: float | None, high: float | None) -> "Interval":
        """The interval with its ends inside the range of what is measured; None is an open end."""
        if self.low is None or self.high is None:
            return self
        floor, ceiling = -math.inf if low is None else low, math.inf if high is None else high
        return replace(self, low=min(max(self.low, floor), ceiling), high=min(max(self.high, floor), ceiling))


def bootstrap_interval(
    parts: Array, combine: Combine, seed: int = 0, resamples: int = RESAMPLES, level: float = LEVEL
) -> Interval:
    """The combined value of the parts [n, k] with its interval.

    Wilson's for a share (values 0 and 1 of weight 1), Student's for the mean of up to FEW other values, whose
    resamples are too few to tell. Else by bootstrap: studentised for the mean of few values that hardly
    repeat, percentiles with a correction for small n for everything else.
    """
    n = len(parts)
    if n == 0:
        return Interval(None, None, None, 0)
    value = finite(combine(parts.sum(axis=0)))
    if n < 2 or value is None:
        return Interval(value, None, None, n)
    low: float | None
    high: float | None
    is_mean = is_plain_mean(parts, combine)
    if is_mean and np.all(np.isin(parts[:, 0], (0.0, 1.0))):
        return wilson(float(parts[:, 0].sum()), n, level)
    if is_mean and n <= FEW and np.unique(parts[:, 0]).size > 1:
        low, high = student(parts[:, 0], level)
    elif is_mean and is_continuous(parts[:, 0]):
        low, high = studentised(parts[:, 0], seed, resamples, level)
    else:
        low, high = percentiles(combine(bootstrap_sums(parts, seed, resamples)), expanded(n, level))
    return Interval(value, low, high, n)


def is_plain_mean(parts: Array, combine: Combine) -> bool:
    """Whether the parts [n, k] are values of weight 1 that are averaged."""
    if parts.shape[1] != 2 or not np.all(parts[:, 1] == 1.0):
        return False
    total = parts.sum(axis=0)
    return bool(np.isclose(float(combine(total)), total[0] / total[1], rtol=1e-12, atol=0.0))


def is_continuous(values: Array) -> bool:
    """Whether so few values, none of which fills a tenth of them, are better studentised."""
    if len(values) >= ENOUGH:
        return False
    return bool(np.unique(values, return_counts=True)[1].max() <= max(1, len(values) // 10))


def student(values: Array, level: float = LEVEL) -> tuple[float, float]:
    """Student's t interval of a mean (1908)."""
    from scipy.special import stdtrit

    n = len(values)
    half = float(stdtrit(n - 1, 0.5 + level / 2)) * float(values.std(ddof=1)) / math.sqrt(n)
    mean = float(values.mean())
    return mean - half, mean + half


def studentised(
    values: Array, seed: int, resamples: int = RESAMPLES, level: float = LEVEL
) -> tuple[float | None, float | None]:
    """The bootstrap-t interval of a mean (Efron 1982, Hall 1988): right for skewed values and few of them."""
    sums = bootstrap_sums(np.column_stack([values, values**2, np.ones_like(values)]), seed, resamples)
    means = sums[:, 0] / sums[:, 2]
    mean, spread = float(values.mean()), float(values.std())
    with np.errstate(divide="ignore", invalid="ignore"):
        spreads = np.sqrt(np.maximum(0.0, sums[:, 1] / sums[:, 2] - means**2))
        low, high = percentiles((means - mean) / np.where(spreads > _ROUNDING, spreads, np.nan), level)
    if low is None or high is None:
        return None, None
    return mean - high * spread, mean - low * spread


def expanded(n: int, level: float = LEVEL) -> float:
    """The level at which percentiles of resamples of n examples cover `level`.

    The bootstrap's spread is too small by the root of (n - 1) / n, and the normal's tails by those of
    Student's t: the expanded percentile interval (Hesterberg 2015, "What teachers should know about the
    bootstrap", section 4.5).
    """
    from scipy.special import ndtr, stdtrit

    quantile = float(stdtrit(n - 1, 0.5 + level / 2))
    return 1.0 - 2.0 * float(ndtr(-math.sqrt(n / (n - 1)) * quantile))


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
