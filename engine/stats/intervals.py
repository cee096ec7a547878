"""Confidence intervals of one model's value, from all examples at once or from a stream of them.

They rest on the two ways of resampling here, as p-values do, in bounded memory.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from engine.stats.family import Interval as Interval
from engine.stats.family import share_of as share_of
from engine.stats.family import wilson as wilson

Array = NDArray[np.float64]
Combine = Callable[[Array], Array]

_CELLS = 2_000_000  # examples x resamples held at a time: about 16 MB an array
_MANY = 1_000  # examples from which on drawing each one's count apart changes nothing that can be measured


def chunks(resamples: int, n: int) -> Iterator[int]:
    """Sizes of the portions in which so many resamples of n examples fit into memory."""
    portion = max(1, _CELLS // max(n, 1))
    for done in range(0, resamples, portion):
        yield min(portion, resamples - done)


def bootstrap_sums(parts: Array, seed: int, resamples: int) -> Array:
    """Sums of the parts [n, k] over examples drawn with replacement: [resamples, k].

    Draws are counted per example and multiplied in, so the cost hardly grows with k, and all columns of
    one resample rest on the same draw, which is what makes a paired bootstrap paired. From 1,000 examples
    each one's count is drawn by itself, from the Poisson distribution of mean 1 (Hanley & MacGibbon 2006):
    resamples then differ a little in size, which no value that is a ratio of sums depends on.
    """
    if np.all(parts == parts[0]):
        # Summing in another order would round differently and give equal data an interval with a width.
        return np.broadcast_to(parts.sum(axis=0), (resamples, parts.shape[1]))
    n = len(parts)
    # Weights of 1 stand in many measures' parts: each different column is multiplied once.
    columns, places = np.unique(parts, axis=1, return_inverse=True)
    if n * resamples <= _CELLS:
        return (_few_draws(seed, resamples, n) @ columns)[:, places.ravel()]
    rng = np.random.default_rng(seed)
    counted = _poisson if n >= _MANY else _multinomial
    sums = np.concatenate([counted(rng, size, n) @ columns for size in chunks(resamples, n)])
    return sums[:, places.ravel()]


@lru_cache(maxsize=2)
def _few_draws(seed: int, resamples: int, n: int) -> Array:
    """The counts of draws that many measures of few examples share."""
    counted = _poisson if n >= _MANY else _multinomial
    return counted(np.random.default_rng(seed), resamples, n)


def _multinomial(rng: np.random.Generator, size: int, n: int) -> Array:
    """How often each of n examples is in each of so many draws of n: [size, n]."""
    drawn = rng.integers(0, n, size=(size, n)) + np.arange(size)[:, None] * n
    return np.bincount(drawn.ravel(), minlength=size * n).reshape(size, n).astype(np.float64)


def _poisson(rng: np.random.Generator, size: int, n: int) -> Array:
    """Counts of mean 1, each by itself, looked up in a table of the distribution to 16 bits: [size, n]."""
    drawn = np.frombuffer(rng.bytes(2 * size * n), dtype=np.uint16)
    return _POISSON[drawn].reshape(size, n)


def _poisson_table() -> Array:
    """The count for each of 65,536 equally likely numbers."""
    chances = np.cumsum([math.exp(-1) / math.factorial(count) for count in range(12)])
    return np.searchsorted(chances, (np.arange(1 << 16) + 0.5) / (1 << 16)).astype(np.float64)


_POISSON = _poisson_table()


def _coins(rng: np.random.Generator, size: int, n: int) -> Array:
    """Tosses of a coin, 0 or 1: [size, n]."""
    tossed = np.frombuffer(rng.bytes(size * ((n + 7) // 8)), dtype=np.uint8).reshape(size, -1)
    return np.unpackbits(tossed, axis=1, count=n).astype(np.float64)


def swapped_sums(candidate: Array, baseline: Array, seed: int, resamples: int) -> tuple[Array, Array]:
    """Both sums, each [resamples, k], with the two models swapped on every example by the toss of a coin."""
    rng = np.random.default_rng(seed)
    differing = np.any(candidate != baseline, axis=1)
    excess = (candidate - baseline)[differing]
    total = candidate.sum(axis=0) + baseline.sum(axis=0)
    candidates: Array = np.repeat(baseline.sum(axis=0)[None], resamples, axis=0)
    varying = np.any(excess != 0, axis=0)
    kept = [_coins(rng, size, len(excess)) @ excess[:, varying] for size in chunks(resamples, len(excess))]
    candidates[:, varying] += np.concatenate(kept)
    return candidates, total - candidates


RESAMPLES = 10_000
LEVEL = 0.95
ENOUGH = 500  # examples from which on percentiles are as good as what is studentised
MANY = 50  # values from which on resamples show enough of what may be drawn
FEW = 8  # examples below which resamples are too much alike
TAIL = 12  # values below which even their skew says little of the tail
HEAP = 0.4  # of the values: so many equal ones hide the others
ROUNDING = 1e-12  # spreads up to this are those of equal values

Ends = tuple[float | None, float | None]
OPEN: Ends = (None, None)
SHARE: Ends = (0.0, 1.0)


def bootstrap_interval(
    parts: Array,
    combine: Combine,
    seed: int = 0,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    ends: Ends = OPEN,
) -> Interval:
    """The combined value of the parts [n, k] with its interval, which keeps within the `ends` of its range.

    `share_of` for a share (values 0 and 1 of weight 1), `of_mean` for other means. For everything else
    percentiles of resamples with a correction for small n, and Student's t for fewer than FEW examples.
    """
    n = len(parts)
    if n == 0:
        return Interval(None, None, None, 0)
    value = finite(combine(parts.sum(axis=0)))
    if n < 2 or value is None:
        return Interval(value, None, None, n)
    is_mean = is_plain_mean(parts, combine)
    if is_mean and np.all(np.isin(parts[:, 0], (0.0, 1.0))):
        return share_of(float(parts[:, 0].sum()), n, level)
    if np.all(parts == parts[0]):
        return Interval(value, *of_equal(value, n, ends, level), n)
    found = of_mean(parts[:, 0], ends, seed, resamples, level) if is_mean else None
    if found is None:
        values = combine(bootstrap_sums(parts, seed, resamples))
        found = of_few(value, values, n, level) if n < FEW else percentiles(values, expanded(n, level))
    return Interval(value, *within(*found, ends), n)


def of_mean(
    values: Array,
    ends: Ends,
    seed: int,
    resamples: int,
    level: float = LEVEL,
    few: int = FEW,
    unseen: float = 0.5,
) -> tuple[float | None, float | None] | None:
    """The interval of a mean of values that are not all equal; None where percentiles of resamples are right.

    Of fewer than MANY values: with so much of a value `unseen` at either end of the range where there are
    fewer than `few`, or many are equal. Else studentised, unless they repeat.
    """
    n = len(values)
    most_alike = int(np.unique(values, return_counts=True)[1].max())
    least, most = ends
    if n < MANY and least is not None and most is not None and (n < few or most_alike >= max(2, HEAP * n)):
        return with_unseen(values, least, most, unseen, seed, resamples, level)
    if n < FEW or (n < ENOUGH and most_alike <= max(1, n // 10)):
        return studentised(values, seed, resamples, level)
    return None


def with_unseen(
    values: Array,
    least: float,
    most: float,
    unseen: float,
    seed: int,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> tuple[float | None, float | None]:
    """The interval of a mean of few or heaped values between two ends.

    Gaffke's bounds (2005; Learned-Miller & Thomas 2020) weigh the values as the Bayesian bootstrap does,
    with one more at the end. They hold for every distribution and cover 98 to 99 %. Half a value there, as
    Jeffreys' interval has beside Clopper and Pearson's, covers 94 to 99 %.
    """
    weights = _weights(len(values), unseen, seed, resamples)
    seen, rest = weights[:, :-1] @ values, weights[:, -1]
    return percentiles(seen + rest * least, level)[0], percentiles(seen + rest * most, level)[1]


@lru_cache(maxsize=4)
def _weights(n: int, unseen: float, seed: int, resamples: int) -> Array:
    """Shares of a whole, [resamples, n + 1], uniform but for the last, that of so much of a value."""
    drawn = np.random.default_rng(seed).standard_gamma([1.0] * n + [unseen], (resamples, n + 1))
    shares: Array = drawn / drawn.sum(axis=1, keepdims=True)
    return shares


def within(low: float | None, high: float | None, ends: Ends) -> tuple[float | None, float | None]:
    """An interval cut at the ends of the range."""
    if low is None or high is None:
        return None, None
    least, most = ends
    return (low if least is None else max(low, least)), (high if most is None else min(high, most))


def of_equal(value: float, n: int, ends: Ends, level: float = LEVEL) -> tuple[float | None, float | None]:
    """The interval of a mean over n values that are all equal; none where an end of the range is open.

    None of n values was another one, so the score interval (Wilson 1927) says how many others there may be;
    each may lie at the ends.
    """
    least, most = ends
    if least is None or most is None:
        return None, None
    others = wilson(0, n, level).high or 0.0
    return value - others * (value - least), value + others * (most - value)


def students(value: float, error: float, n: int, level: float = LEVEL) -> tuple[float, float]:
    """Student's t interval of a value with its standard error over n examples."""
    from scipy.special import stdtrit

    half = float(stdtrit(n - 1, 0.5 + level / 2)) * error
    return value - half, value + half


def of_few(value: float, resampled: Array, n: int, level: float = LEVEL) -> tuple[float | None, float | None]:
    """Student's t interval of a value whose standard error only its resamples show."""
    computed = resampled[np.isfinite(resampled)]
    if len(computed) < 2:
        return None, None
    # Resamples of n examples spread too little by the root of (n - 1) / n.
    error = float(np.std(computed, ddof=1)) * math.sqrt(n / (n - 1))
    return students(value, error, n, level) if error > ROUNDING else (None, None)


def is_plain_mean(parts: Array, combine: Combine) -> bool:
    """Whether the parts [n, k] are values of weight 1 that are averaged."""
    if parts.shape[1] != 2 or not np.all(parts[:, 1] == 1.0):
        return False
    total = parts.sum(axis=0)
    return bool(np.isclose(float(combine(total)), total[0] / total[1], rtol=1e-12, atol=0.0))


def studentised(
    values: Array, seed: int, resamples: int = RESAMPLES, level: float = LEVEL
) -> tuple[float | None, float | None]:
    """The bootstrap-t interval of a mean (Efron 1982, Hall 1988): right for skewed values and few of them.

    Of fewer than MANY values, each side is at least Student's t and at most twice that; of fewer than TAIL,
    t at 98 % in place of 95 %.
    """
    n, mean, spread = len(values), float(values.mean()), float(values.std())
    sums = bootstrap_sums(np.column_stack([values, values**2, np.ones_like(values)]), seed, resamples)
    means = sums[:, 0] / sums[:, 2]
    with np.errstate(divide="ignore", invalid="ignore"):
        spreads = np.sqrt(np.maximum(0.0, sums[:, 1] / sums[:, 2] - means**2))
        low, high = percentiles((means - mean) / np.where(spreads > ROUNDING, spreads, np.nan), level)
    if low is None or high is None:
        return None, None
    below, above = high * spread, -low * spread
    if n < MANY:
        wide = level if n >= TAIL else 1 - 0.4 * (1 - level)
        least = students(0.0, spread / math.sqrt(n - 1), n, wide)[1]
        below, above = (min(max(side, least), 2 * least) for side in (below, above))
    return mean - below, mean + above


def expanded(n: int, level: float = LEVEL) -> float:
    """The level at which percentiles of resamples of n examples cover `level`.

    The bootstrap's spread is too small by the root of (n - 1) / n, and the normal's tails by those of
    Student's t: the expanded percentile interval (Hesterberg 2015, "What teachers should know about the
    bootstrap", section 4.5).
    """
    from scipy.special import ndtr, stdtrit

    quantile = float(stdtrit(n - 1, 0.5 + level / 2))
    return 1.0 - 2.0 * float(ndtr(-math.sqrt(n / (n - 1)) * quantile))


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
