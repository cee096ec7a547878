"""A bootstrap interval over examples that come one at a time, in memory that does not grow with them."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from engine.stats.intervals import OPEN, Ends, Interval, bootstrap_interval
from engine.stats.resampling import Array, Combine

GROUPS = 10_000


class RunningInterval:
    """The combined value of all parts added, with its 95 % interval.

    Up to GROUPS examples this is `bootstrap_interval` itself. Beyond, each example's parts are added to one
    of GROUPS sums, drawn at random so that a sorted file makes no difference, and the sums are resampled in
    the examples' place: random groups (Wolter 2007, ch. 2). Their spread estimates the same standard error,
    with GROUPS - 1 degrees of freedom: to 0.7 %, less than what 10,000 resamples themselves leave open.
    """

    def __init__(self, combine: Combine, seed: int = 0, ends: Ends = OPEN) -> None:
        self._combine = combine
        self._ends = ends
        self._seed = seed
        # Apart from the resamples' own draws, which start from the seed alone.
        self._draw = np.random.default_rng([seed, GROUPS])
        self._waiting: list[Sequence[float]] = []
        self._sums: Array | None = None
        self._n = 0

    def add(self, parts: Sequence[float]) -> None:
        """One example's parts, k numbers, as many for each example."""
        if len(self._waiting) == GROUPS:
            self._sums = self._grouped()
        self._waiting.append(parts)
        self._n += 1

    def interval(self) -> Interval:
        if self._n == 0:
            return Interval(None, None, None, 0)
        parts = np.array(self._waiting, dtype=np.float64) if self._sums is None else self._grouped()
        return replace(bootstrap_interval(parts, self._combine, self._seed, ends=self._ends), n=self._n)

    def _grouped(self) -> Array:
        """The groups' sums [GROUPS, k] with what waits, which waits no more."""
        waiting = np.array(self._waiting, dtype=np.float64)
        if self._sums is None:
            self._sums = np.zeros((GROUPS, waiting.shape[1]))
        np.add.at(self._sums, self._draw.integers(0, GROUPS, len(waiting)), waiting)
        self._waiting.clear()
        return self._sums
