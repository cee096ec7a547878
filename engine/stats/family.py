"""Statistics without NumPy: comparisons looked at together, the n that it takes, a share's interval, kappa.

Standard library only: the screens and reports use it.
"""

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

LEVEL = 0.05
POWER = 0.80
FEWEST = 8  # values: from fewer a spread is too uncertain to say how many it takes
FEWEST_LABELS = 10  # labelled pairs below which a judge's agreement with people is neither told nor tested
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
    """How many comparisons Holm's step corrects each p-value for: those with one as large or larger."""
    ordered = sorted(p)
    return [len(p) - bisect_left(ordered, one) for one in p]


@lru_cache(maxsize=4096)
def sign_test(wins: int, losses: int) -> float:
    """The exact two-sided p-value of as many wins as losses being as likely; 1 where there are none."""
    n = wins + losses
    whole = math.lgamma(n + 1) - n * math.log(2)
    tail = (whole - math.lgamma(k + 1) - math.lgamma(n - k + 1) for k in range(min(wins, losses) + 1))
    return min(1.0, 2 * math.fsum(map(math.exp, tail)))


def widened(delta: float, low: float, high: float, count: int) -> tuple[float, float]:
    """A 95 % interval at the level of one of `count` comparisons.

    Holm holds the k-th smallest of m p-values to 0.05 / (m - k + 1). Each side of the interval is widened by
    the ratio of the normal quantiles to the same level, so that the two say the same.
    """
    ratio = _quantile(count) / CRITICAL_Z
    return delta - ratio * (delta - low), delta + ratio * (high - delta)


def beyond(distance: float, half: float) -> float:
    """The p-value, on the two-sided scale, of a value that lies `distance` within a limit being beyond it.

    `half` is the side of its 95 % interval towards the limit, so that p is 0.05 where the two meet.
    """
    if half <= 0:
        return float(distance < 0)
    return min(1.0, 2 * _NORMAL.cdf(-CRITICAL_Z * distance / half))


def examples_needed(error: float, distance: float, n: int, count: int = 1) -> int | None:
    """About how many examples would show a difference of this size in 80 % of studies at 5 %, two-sided.

    `error` is the standard error over n examples, which shrinks with the root of n; `count` is the number of
    comparisons that p is corrected for. None for fewer than FEWEST examples, and without a spread or a
    distance.
    """
    if n < FEWEST or not error or not distance:
        return None
    return max(n + 1, examples_for(distance, error * math.sqrt(n), count))


def examples_for(distance: float, deviation: float, count: int = 1) -> int:
    """`examples_needed` from the standard deviation of the examples' differences; FEWEST at least."""
    return max(FEWEST, to_two_figures((_errors(count) * deviation / distance) ** 2))


def smallest_difference(examples: int, deviation: float, count: int = 1) -> float:
    """The difference that so many examples show in 80 % of studies: `examples_for` the other way round."""
    return _errors(count) * deviation / math.sqrt(examples)


def _errors(count: int) -> float:
    """Standard errors that a difference must measure to be shown among so many comparisons."""
    return _quantile(count) + _NORMAL.inv_cdf(POWER)


def _quantile(count: int) -> float:
    return _NORMAL.inv_cdf(1 - LEVEL / (2 * count))


def to_two_figures(needed: float) -> int:
    """A number of examples rounded up: one that is estimated has no more figures that mean anything."""
    size: int = 10 ** max(0, math.floor(math.log10(max(needed, 1.0))) - 1)
    return math.ceil(needed / size) * size


AGREEMENT = 0.875  # of models that differ by a fine-tune, on seven examples of eight


def spread_of_shares(differing: float) -> float:
    """The standard deviation of the differences of a yes-or-no measure between two models.

    `differing` is the share of examples on which one of the two is right alone: only they tell the models
    apart (McNemar's variance, for small differences).
    """
    return math.sqrt(differing)


def smallest_change(examples: int, count: int = 1) -> float:
    """The smallest difference between two models' rates that so many paired examples show, from 0 to 1.

    For a yes-or-no measure, at 5 % two-sided and 80 % power. AGREEMENT is the share of examples on which
    both models do equally well, unless they differ by more than it leaves: then they differ on as many
    examples as the difference says. Raises ValueError without examples.
    """
    if examples < 1:
        raise ValueError("no example, no comparison")
    usual = smallest_difference(examples, spread_of_shares(1 - AGREEMENT), count)
    return usual if usual <= 1 - AGREEMENT else min(_errors(count) ** 2 / examples, 1.0)


@dataclass(frozen=True, slots=True)
class Interval:
    """A value with its confidence interval over n examples.

    `value` is None without examples. `low` and `high` are None with fewer than two, and where the values are
    all equal and could be anything.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int


def wilson(successes: float, n: int, level: float = 1 - LEVEL) -> Interval:
    """A share with its score interval (Wilson 1927), which keeps a width at 0 and at 1.

    `successes` may hold halves (ties).
    """
    if n == 0:
        return Interval(None, None, None, 0)
    z = _NORMAL.inv_cdf(0.5 + level / 2)
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return Interval(share, max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half)), n)


def share_of(successes: float, n: int, level: float = 1 - LEVEL) -> Interval:
    """A share with its interval: exact (Clopper & Pearson 1934) for fewer than FEWEST, else Wilson's.

    Of so few, Wilson's covers as little as 86 % for some shares; the exact one at least the level for all.
    `successes` may hold halves (ties), which count towards either end.
    """
    if not 0 < n < FEWEST:
        return wilson(successes, n, level)
    tail = (1 - level) / 2
    low = _root(lambda share: _at_least(math.floor(successes), n, share) - tail)
    high = _root(lambda share: tail - (1 - _at_least(math.ceil(successes) + 1, n, share)))
    return Interval(successes / n, low if successes >= 1 else 0.0, high if successes <= n - 1 else 1.0, n)


def _at_least(count: int, n: int, share: float) -> float:
    """The probability of at least so many of n."""
    return sum(math.comb(n, k) * share**k * (1 - share) ** (n - k) for k in range(count, n + 1))


def _root(rising: Callable[[float], float]) -> float:
    """Where between 0 and 1 a rising function is 0."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < 0 else (low, middle)
    return (low + high) / 2


def majority(outcomes: Sequence[str]) -> str:
    """The most frequent outcome, "both bad" being a tie; a tie too if there is no single one."""
    counts = Counter("tie" if outcome == "both_bad" else outcome for outcome in outcomes).most_common(2)
    return "tie" if len(counts) > 1 and counts[1][1] == counts[0][1] else counts[0][0]


def kappa(pairs: Sequence[tuple[str, str]]) -> float | None:
    """Cohen's kappa (1960) without its interval, as `engine.stats.agreement.cohen_kappa` has it with one.

    None without pairs, and where both raters gave one and the same outcome to all.
    """
    n = len(pairs)
    ours, theirs = (Counter(side) for side in zip(*pairs, strict=True)) if pairs else (Counter(), Counter())
    expected = sum(ours[outcome] * theirs[outcome] for outcome in ours)
    if expected == n * n:
        return None
    return (n * sum(one == other for one, other in pairs) - expected) / (n * n - expected)
