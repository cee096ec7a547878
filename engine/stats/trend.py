"""Whether values that come one after the other drift, however small each step is."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

_EXACT = 50  # values up to which p is counted, not approximated; only without ties
_ROUNDING = 1e-12
_SMALLEST = 1e-15  # p-values below are all the same to the normal distribution's inverse
_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class Trend:
    """A monotonic trend over n values: Kendall's S and tau, its two-sided p, and the slope per step.

    `low` and `high` hold the slope with 95 % confidence. `autocorrelation` is that of neighbours once the
    slope is taken out; where `is_dependent`, neighbours hang together and p is smaller than it should be.
    """

    n: int
    s: int
    tau: float
    p: float
    slope: float
    low: float
    high: float
    autocorrelation: float | None
    is_dependent: bool

    @property
    def change(self) -> float:
        """What the slope adds up to from the first value to the last."""
        return self.slope * (self.n - 1)

    @property
    def p_allowing(self) -> float:
        """p, made larger where neighbours hang together: by the variance of S for a first-order
        autoregression (Hamed & Rao 1998, simplified).
        """
        if not self.is_dependent or self.autocorrelation is None or self.p >= 1.0:
            return self.p
        wider = math.sqrt((1 + self.autocorrelation) / (1 - self.autocorrelation))
        return 2 * (1 - _NORMAL.cdf(_NORMAL.inv_cdf(1 - max(self.p, _SMALLEST) / 2) / wider))


def mann_kendall(values: Sequence[float]) -> Trend | None:
    """The Mann-Kendall test (Mann 1945, Kendall 1975) with the Theil-Sen slope (Theil 1950, Sen 1968).

    p is exact for up to 50 values without ties, else normal with the correction for ties and for
    continuity. None with fewer than three values, or when one is not finite.
    """
    data = np.array(values, dtype=np.float64)
    n = len(data)
    if n < 3 or not np.all(np.isfinite(data)):
        return None
    first, second = np.triu_indices(n, 1)
    rises = data[second] - data[first]
    scale = _ROUNDING * max(1.0, float(np.abs(data).max()))
    signs = np.where(np.abs(rises) <= scale, 0, np.sign(rises)).astype(int)
    s = int(signs.sum())
    tied = _tied(data)
    slopes = np.sort(rises / (second - first))
    low, high = _slope_interval(slopes, n, tied)
    slope = float(np.median(slopes))
    left = _autocorrelation(data - slope * np.arange(n))
    return Trend(
        n,
        s,
        s / _pairs_not_tied(n, tied),
        _p(s, n, tied),
        slope,
        low,
        high,
        left,
        # One-sided at 5 %: it is neighbours that pull the same way that make p too small.
        left is not None and left > 1.645 / math.sqrt(n),
    )


def _tied(data: NDArray[np.float64]) -> NDArray[np.int64]:
    counts = np.unique(data, return_counts=True)[1]
    tied: NDArray[np.int64] = counts[counts > 1].astype(np.int64)
    return tied


def _pairs_not_tied(n: int, tied: NDArray[np.int64]) -> float:
    """The greatest S that such ties allow: tau-b against time, which has no ties."""
    pairs = n * (n - 1) / 2
    return math.sqrt(pairs * max(pairs - float((tied * (tied - 1) / 2).sum()), 1.0))


def _variance(n: int, tied: NDArray[np.int64]) -> float:
    ties = float((tied * (tied - 1) * (2 * tied + 5)).sum())
    return (n * (n - 1) * (2 * n + 5) - ties) / 18


def _p(s: int, n: int, tied: NDArray[np.int64]) -> float:
    if s == 0:
        return 1.0
    if len(tied) == 0 and n <= _EXACT:
        return _exact_p(abs(s), n)
    return math.erfc((abs(s) - 1) / math.sqrt(_variance(n, tied)) / math.sqrt(2))


def _exact_p(s: int, n: int) -> float:
    """The share of all orders of n values whose S is as far from 0."""
    counts = _inversions(n)
    discordant = (n * (n - 1) // 2 - s) // 2
    return min(1.0, 2 * sum(counts[: discordant + 1]) / math.factorial(n))


@cache
def _inversions(n: int) -> tuple[int, ...]:
    """How many orders of n values have 0, 1, 2, … pairs the wrong way round."""
    counts = [1]
    for size in range(2, n + 1):
        longer = [0] * (size * (size - 1) // 2 + 1)
        for place, count in enumerate(counts):
            for added in range(size):
                longer[place + added] += count
        counts = longer
    return tuple(counts)


def _slope_interval(slopes: NDArray[np.float64], n: int, tied: NDArray[np.int64]) -> tuple[float, float]:
    """Sen's interval: the slopes so many places from the median one."""
    places = 1.959964 * math.sqrt(_variance(n, tied))
    lower = max(0, round((len(slopes) - places) / 2) - 1)
    upper = min(len(slopes) - 1, round((len(slopes) + places) / 2))
    return float(slopes[lower]), float(slopes[upper])


def _autocorrelation(rest: NDArray[np.float64]) -> float | None:
    """Of each value with the next one; None where they do not vary."""
    centred = rest - rest.mean()
    total = float((centred**2).sum())
    return float((centred[1:] * centred[:-1]).sum()) / total if total > _ROUNDING else None
