"""Intervals and tests that stay valid however often they are looked at, and whenever one stops.

A test of a fixed sample size that is looked at every week raises a false alarm sooner or later. Here an
e-value is what a gambler would have won who bets against the hypothesis: its mean is 1 at most while the
hypothesis holds, so the chance that it ever reaches 1/alpha is alpha at most (Ville 1939). An interval holds
the values whose e-value stays below that. For means it is so in the limit of many values, and wide for few.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from engine.stats.family import LEVEL

FEWEST_UNITS = 20  # of each side: the spread of fewer says little
SMALL = 0.1  # standard deviations: the difference that the tests of means find soonest
_SCALES = (1.0, 3.0)  # times SMALL: few values tell large differences alone
_STEPS = 60  # of halving


@dataclass(frozen=True, slots=True)
class Moments:
    """How many independent values, their mean and their variance (over n - 1)."""

    n: int
    mean: float
    variance: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Moments":
        """Those of the values. Raises ValueError without any."""
        if not values:
            raise ValueError("no value, no mean")
        found = np.asarray(values, dtype=np.float64)
        return cls(len(found), float(found.mean()), float(found.var(ddof=1)) if len(found) > 1 else 0.0)


@dataclass(frozen=True, slots=True)
class AnytimeTest:
    """An estimate with its always-valid interval, the logarithm of the e-value against 0, and how many times
    the values there are now would settle it if the estimate stayed; None where they do, or it is 0.

    `error` is its standard error, `information` what `normal_at_any_time` says.

    `p` is always valid too: the chance that it ever falls below alpha is alpha at most while the truth is 0.
    """

    value: float
    low: float
    high: float
    log_e: float
    times: float | None
    error: float
    information: float

    @property
    def p(self) -> float:
        return min(1.0, math.exp(-self.log_e))


def normal_at_any_time(
    value: float, error: float, information: float, alpha: float = LEVEL, scales: Sequence[float] = (1.0,)
) -> AnytimeTest:
    """The test of an estimate with a standard error, mixed over a normal distribution of true values
    (Robbins 1970; Waudby-Smith et al. 2024, "Time-uniform central limit theory").

    `information` is the variance that the gambler expects of true values, over the estimate's own: it grows
    with n, and the interval is narrowest, 3 standard errors each way, where it is about 8. With several
    `scales` there are as many gamblers with a part of the stake each, who expect values so many times as far
    from 0. Raises ValueError unless error and information are positive.
    """
    if not (error > 0 and information > 0):
        raise ValueError("a standard error and its information are greater than 0")
    half = error * _boundary(information, alpha, scales)
    log_e = _log_e_normal(value / error, information, scales)
    times = _times(value / error, information, alpha, scales)
    return AnytimeTest(value, value - half, value + half, log_e, times, error, information)


def difference_at_any_time(one: Moments, other: Moments, alpha: float = LEVEL) -> AnytimeTest | None:
    """The test of the difference of two means, the first less the second, of independent values.

    The spread is that of both sides together, so that a side whose values are all alike so far counts no less
    uncertain than the other. None for fewer than FEWEST_UNITS on a side, and where all values are alike.
    """
    if min(one.n, other.n) < FEWEST_UNITS:
        return None
    n, value = one.n + other.n, one.mean - other.mean
    between = one.n * other.n / n * value * value
    variance = ((one.n - 1) * one.variance + (other.n - 1) * other.variance + between) / (n - 1)
    apart = one.variance / one.n + other.variance / other.n
    effective = one.n * other.n / n
    error = math.sqrt(max(variance / effective, apart))
    return normal_at_any_time(value, error, SMALL * SMALL * effective, alpha, _SCALES) if error > 0 else None


def mean_at_any_time(values: Moments, reference: float, alpha: float = LEVEL) -> AnytimeTest | None:
    """The test of a mean against a known value; None for fewer than FEWEST_UNITS, or all alike."""
    if values.n < FEWEST_UNITS or values.variance <= 0:
        return None
    error = math.sqrt(values.variance / values.n)
    return normal_at_any_time(values.mean - reference, error, SMALL * SMALL * values.n, alpha)


def _end(inside: float, outside: float, is_inside: Callable[[float], bool]) -> float:
    """Where, from a value inside towards an outermost one, the interval ends; never short of it."""
    if is_inside(outside):
        return outside
    for _ in range(_STEPS):
        middle = (inside + outside) / 2
        inside, outside = (middle, outside) if is_inside(middle) else (inside, middle)
    return outside


def _log_e_normal(z: float, information: float, scales: Sequence[float]) -> float:
    expected = [information * scale * scale for scale in scales]
    won = [z * z * each / (2 * (1 + each)) - math.log1p(each) / 2 for each in expected]
    return float(np.logaddexp.reduce(won)) - math.log(len(won))


def _boundary(information: float, alpha: float, scales: Sequence[float]) -> float:
    """The z at which the e-value is 1/alpha: where the first gambler alone has won enough, or before."""
    enough = math.sqrt((1 + 1 / information) * (2 * math.log(len(scales) / alpha) + math.log1p(information)))
    wanted = math.log(1 / alpha)
    return _end(0.0, enough, lambda z: _log_e_normal(z, information, scales) < wanted)


def _times(z: float, information: float, alpha: float, scales: Sequence[float]) -> float | None:
    """How many times the values settle an estimate that stays what it is."""
    wanted, most = math.log(1 / alpha), 64.0

    def is_open(exponent: float) -> bool:
        times = 2.0**exponent
        return _log_e_normal(z * math.sqrt(times), information * times, scales) < wanted

    if not z or not is_open(0.0) or is_open(most):
        return None
    return float(2.0 ** _end(0.0, most, is_open))


_GRID = 1_000
_CAP = 0.75


class ConfidenceSequence:
    """An always-valid 95 % interval for the mean of values in [0, 1] that come one at a time.

    The hedged capital of Waudby-Smith and Ramdas (2024, "Estimating means of bounded random variables by
    betting", theorem 3): for each possible mean, what a gambler would have won who bets that it is wrong. By
    Ville's inequality the capital against the true mean ever reaches 1/alpha with a chance of alpha at most,
    so stopping when the interval clears a threshold keeps the error rate. Values must come in random order.
    """

    def __init__(self, level: float = 0.95) -> None:
        self._alpha = 1.0 - level
        self._means = (np.arange(_GRID) + 0.5) / _GRID
        self._up = np.zeros(_GRID)  # logarithms of both gamblers' capital, for each mean
        self._down = np.zeros(_GRID)
        self._possible = np.ones(_GRID, dtype=bool)
        self._n = 0
        self._sum = 0.5
        self._squares = 0.25

    @property
    def n(self) -> int:
        return self._n

    def add(self, value: float) -> None:
        """Takes in one value. Raises ValueError outside [0, 1]."""
        if not 0.0 <= value <= 1.0:
            raise ValueError(f"{value} is not between 0 and 1")
        self._n += 1
        # The bet rests on what came before this value alone: that is what makes the game fair.
        variance = self._squares / self._n
        bet = math.sqrt(2 * math.log(2 / self._alpha) / (variance * self._n * math.log(1 + self._n)))
        excess = value - self._means
        self._up += np.log1p(np.minimum(bet, _CAP / self._means) * excess)
        self._down += np.log1p(-np.minimum(bet, _CAP / (1 - self._means)) * excess)
        capital = np.maximum(self._up, self._down) + math.log(0.5)
        self._possible &= capital < math.log(1 / self._alpha)
        self._sum += value
        mean = self._sum / (self._n + 1)
        self._squares += (value - mean) ** 2

    def interval(self) -> tuple[float, float]:
        """The means that are still possible: their lowest and highest, a grid step of 0.001 wider."""
        kept = np.flatnonzero(self._possible)
        if len(kept) == 0:
            # Every mean on the grid was ruled out: the truth lies between two of its points.
            mean = (self._sum - 0.5) / self._n
            return max(0.0, mean - 1 / _GRID), min(1.0, mean + 1 / _GRID)
        return float(kept[0]) / _GRID, float(kept[-1] + 1) / _GRID

    def settled(self, threshold: float) -> bool:
        """Whether the mean is known to be above the threshold, or known to be below it."""
        low, high = self.interval()
        return low > threshold or high < threshold
