"""Several comparisons looked at together: intervals and p-values that allow for it, and the n it takes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Protocol

from engine.stats.paired import DETECTABLE, holm

LEVEL = 0.05
POWER = 0.80
_NORMAL = NormalDist()


class Compared(Protocol):
    """A difference with its 95 % interval and p-value over n examples."""

    @property
    def delta(self) -> float | None: ...
    @property
    def low(self) -> float | None: ...
    @property
    def high(self) -> float | None: ...
    @property
    def p(self) -> float | None: ...
    @property
    def n(self) -> int: ...
    @property
    def smallest_detectable(self) -> float | None: ...


@dataclass(frozen=True, slots=True)
class Look:
    """One comparison of a family: p corrected, and the interval at the level that its p was held to.

    `among` is the number of comparisons that Holm's step leaves in the race with this one, `family` all.
    """

    p: float
    low: float
    high: float
    among: int
    family: int

    def within(self, reach: float | None) -> "Look":
        """The same, its interval of differences no larger than `reach`; None: any is possible."""
        if reach is None:
            return self
        return replace(self, low=max(self.low, -reach), high=min(self.high, reach))

    def is_settled(self, level: float = LEVEL) -> bool:
        """Whether chance is ruled out: p is small enough, and the interval leaves out 0."""
        return self.p <= level and (self.low > 0 or self.high < 0)


def looks(family: Sequence[Compared]) -> list[Look]:
    """All comparisons of a family, in the order given; each must have a p-value and an interval.

    Holm (1979) holds the k-th smallest of m p-values to 0.05 / (m - k + 1); its interval is widened to the
    same level, each side by the ratio of the normal quantiles, so that the two say the same.
    """
    order = sorted(range(len(family)), key=lambda place: family[place].p or 0.0)
    among = dict(zip(order, range(len(family), 0, -1), strict=True))
    corrected = holm([item.p or 0.0 for item in family])
    return [
        Look(p, *_widened(item, among[place]), among[place], len(family))
        for place, (item, p) in enumerate(zip(family, corrected, strict=True))
    ]


def examples_needed(item: Compared, among: int = 1) -> int | None:
    """About how many examples would show the difference that was seen, in 80 % of studies.

    At 5 % two-sided, corrected for `among` comparisons; None where n or the spread is not known. The standard
    error shrinks with the root of n.
    """
    if not item.n or not item.smallest_detectable or not item.delta:
        return None
    error = item.smallest_detectable / DETECTABLE
    wanted = _quantile(among) + _NORMAL.inv_cdf(POWER)
    return max(item.n + 1, rounded(item.n * (wanted * error / item.delta) ** 2))


def _widened(item: Compared, among: int) -> tuple[float, float]:
    delta, low, high = item.delta or 0.0, item.low or 0.0, item.high or 0.0
    ratio = _quantile(among) / _quantile(1)
    return delta - ratio * (delta - low), delta + ratio * (high - delta)


def _quantile(among: int) -> float:
    return _NORMAL.inv_cdf(1 - LEVEL / (2 * among))


def rounded(needed: float) -> int:
    """To two figures: it is an estimate."""
    size: int = 10 ** max(0, math.floor(math.log10(max(needed, 1.0))) - 1)
    return math.ceil(needed / size) * size
