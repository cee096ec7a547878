"""Several comparisons looked at together: p-values and intervals that allow for it, and the n it takes.

Standard library only: the screens and reports use it.
"""

import math
from collections.abc import Sequence
from statistics import NormalDist

LEVEL = 0.05
POWER = 0.80
FEWEST = 8  # values: from fewer a spread is too uncertain to say how many it takes
# Standard errors that a true difference must measure to be found in 80 % of studies at 5 %, two-sided.
DETECTABLE = 2.8
_NORMAL = NormalDist()
CRITICAL_Z = _NORMAL.inv_cdf(1 - LEVEL / 2)


def holm(p: Sequence[float]) -> list[float]:
    """p-values corrected for being looked at together, in the order given (Holm 1979)."""
    corrected = [0.0] * len(p)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        largest = max(largest, min(1.0, (len(p) - rank) * p[index]))
        corrected[index] = largest
    return corrected


def among(p: Sequence[float]) -> list[int]:
    """How many comparisons Holm's step corrects each p-value for: all for the smallest, itself included."""
    order = sorted(range(len(p)), key=p.__getitem__)
    left = dict(zip(order, range(len(p), 0, -1), strict=True))
    return [left[place] for place in range(len(p))]


def widened(delta: float, low: float, high: float, count: int) -> tuple[float, float]:
    """A 95 % interval at the level of one of `count` comparisons.

    Holm holds the k-th smallest of m p-values to 0.05 / (m - k + 1). Each side of the interval is widened by
    the ratio of the normal quantiles to the same level, so that the two say the same.
    """
    ratio = _quantile(count) / CRITICAL_Z
    return delta - ratio * (delta - low), delta + ratio * (high - delta)


def examples_needed(error: float, distance: float, n: int, count: int = 1) -> int | None:
    """About how many examples would show a difference of this size in 80 % of studies at 5 %, two-sided.

    `error` is the standard error over n examples, which shrinks with the root of n; `count` is the number of
    comparisons that p is corrected for. None for fewer than FEWEST examples, and without a spread or a
    distance.
    """
    if n < FEWEST or not error or not distance:
        return None
    wanted = _quantile(count) + _NORMAL.inv_cdf(POWER)
    return max(n + 1, _to_two_figures(n * (wanted * error / distance) ** 2))


def _quantile(count: int) -> float:
    return _NORMAL.inv_cdf(1 - LEVEL / (2 * count))


def _to_two_figures(needed: float) -> int:
    size: int = 10 ** max(0, math.floor(math.log10(max(needed, 1.0))) - 1)
    return math.ceil(needed / size) * size
