"""Stopping early without cheating: an interval that holds at every moment, however often one looks."""

import math

import numpy as np

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
