"""How far raters agree: judge with judge, judge with people, people with one another; rank correlations.

Every coefficient is computed from additive parts of each rated item, so that its interval comes from
resampling items. What cannot be computed (all items rated alike) has no value and says why.

Where the scores take few values, as ratings do, both coefficients follow from how often each pair of values
occurs. That table is a sum over items, so that its interval comes from resampling sums, like every other.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal, TypeVar

import numpy as np

from engine.stats.intervals import Array, bootstrap_interval

T = TypeVar("T")
Level = Literal["nominal", "ordinal", "interval"]
RESAMPLES = 2_000
ALIKE = "every item was rated alike: agreement beyond chance is not defined"
NO_ITEM = "no item was rated by both"


@dataclass(frozen=True, slots=True)
class Agreement:
    """A coefficient with its 95 % bootstrap interval over n items; `reason` says why there is no value.

    Where every resample gives the same value, as with raters who never differ, there is no interval: its
    width of nothing would claim a certainty that n items do not give.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int
    reason: str | None = None


def raw_agreement(first: Sequence[object], second: Sequence[object], seed: int = 0) -> Agreement:
    """The share of items on which two raters say the same; None is an item that a rater did not rate."""
    both = rated_by_both(first, second)
    parts = np.array([(float(one == other), 1.0) for one, other in both]).reshape(-1, 2)
    return with_interval(parts, lambda sums: sums[..., 0] / sums[..., 1], seed)


def pairwise_agreement(ratings: Sequence[Sequence[object]], seed: int = 0) -> Agreement:
    """The share of pairs of ratings of the same item that are alike, for any number of raters.

    `ratings` holds each item's ratings; an item counts once two raters rated it, with each pair of them.
    """
    items = [[value for value in item if value is not None] for item in ratings]
    pairs = [list(combinations(item, 2)) for item in items if len(item) > 1]
    parts = np.array([(sum(one == other for one, other in each), len(each)) for each in pairs], dtype=float)
    return with_interval(parts.reshape(-1, 2), lambda sums: sums[..., 0] / sums[..., 1], seed)


def cohen_kappa(first: Sequence[object], second: Sequence[object], seed: int = 0) -> Agreement:
    """Cohen's kappa (1960) of two raters over unordered categories, as scikit-learn's `cohen_kappa_score`."""
    both = rated_by_both(first, second)
    categories = sorted({value for pair in both for value in pair}, key=str)
    size = len(categories)
    cells = np.zeros((len(both), size * size))
    for row, (one, other) in enumerate(both):
        cells[row, categories.index(one) * size + categories.index(other)] = 1.0

    def kappa(sums: Array) -> Array:
        table = sums.reshape(*sums.shape[:-1], size, size)
        total = table.sum(axis=(-1, -2))
        observed = np.trace(table, axis1=-2, axis2=-1) / total
        expected = (table.sum(axis=-1) * table.sum(axis=-2)).sum(axis=-1) / total**2
        return _beyond_chance(observed, expected)

    return with_interval(cells, kappa, seed)


def fleiss_kappa(ratings: Sequence[Sequence[object]], seed: int = 0) -> Agreement:
    """Fleiss' kappa (1971) of several raters over unordered categories.

    `ratings` holds each item's ratings, as many for each item; who gave them does not matter. Items with
    fewer ratings than the others, or with None among them, are left out.
    """
    most = max((len(item) for item in ratings), default=0)
    items = [item for item in ratings if len(item) == most and None not in item]
    categories = sorted({value for item in items for value in item}, key=str)
    if most < 2:
        return Agreement(None, None, None, 0, NO_ITEM)
    counts = np.array([[list(item).count(value) for value in categories] for item in items], dtype=float)
    counts = counts.reshape(len(items), len(categories))
    agreeing = (counts * (counts - 1)).sum(axis=1) / (most * (most - 1))

    def kappa(sums: Array) -> Array:
        n = sums[..., -1]
        shares = sums[..., 1:-1] / (n * most)[..., None]
        return _beyond_chance(sums[..., 0] / n, (shares**2).sum(axis=-1))

    return with_interval(np.column_stack([agreeing, counts, np.ones(len(items))]), kappa, seed)


def krippendorff_alpha(
    ratings: Sequence[Sequence[float | str | None]], level: Level = "nominal", seed: int = 0
) -> Agreement:
    """Krippendorff's alpha (2011 computation), for any number of raters and missing ratings.

    `ratings` holds one rater's ratings after another, each over all items, None where one is missing. An item
    counts once two raters rated it. Categories are ordered as numbers are, or by name.
    """
    items = [[value for value in item if value is not None] for item in zip(*ratings, strict=True)]
    items = [item for item in items if len(item) > 1]
    values = sorted({value for item in items for value in item}, key=_rank)
    size = len(values)
    places = {value: place for place, value in enumerate(values)}
    parts = np.zeros((len(items), size * size))
    for row, item in enumerate(items):
        parts[row] = _coincidences([places[value] for value in item], size).ravel()

    def alpha(sums: Array) -> Array:
        table = sums.reshape(*sums.shape[:-1], size, size)
        counts = table.sum(axis=-1)
        apart = _distances(values, counts, level)
        total = counts.sum(axis=-1)
        observed = (table * apart).sum(axis=(-1, -2)) / total
        pairs = counts[..., :, None] * counts[..., None, :]
        expected = (pairs * apart).sum(axis=(-1, -2)) / (total * (total - 1))
        with np.errstate(divide="ignore", invalid="ignore"):
            found: Array = 1 - observed / expected
        return found

    return with_interval(parts, alpha, seed)


def rated_by_both(first: Sequence[T | None], second: Sequence[T | None]) -> list[tuple[T, T]]:
    """The ratings of the items that both raters rated."""
    pairs = zip(first, second, strict=True)
    return [(one, other) for one, other in pairs if one is not None and other is not None]


def with_interval(parts: Array, combine: Callable[[Array], Array], seed: int) -> Agreement:
    """A coefficient of the items' additive parts [items, k], with its interval."""
    if len(parts) == 0:
        return Agreement(None, None, None, 0, NO_ITEM)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = bootstrap_interval(parts, combine, seed, RESAMPLES, ends=(-1.0, 1.0))
    low, high = found.low, found.high
    if low == high:
        low = high = None
    return Agreement(found.value, low, high, found.n, ALIKE if found.value is None else None)


def _beyond_chance(observed: Array, expected: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        found: Array = np.where(expected < 1, (observed - expected) / (1 - expected), np.nan)
    return found


def _rank(value: float | str) -> tuple[int, float, str]:
    return (1, 0.0, value) if isinstance(value, str) else (0, float(value), "")


def _coincidences(places: list[int], size: int) -> Array:
    """One item's ordered pairs of ratings by different raters, weighted by 1 / (ratings - 1)."""
    counts = np.bincount(places, minlength=size).astype(float)
    table: Array = (np.outer(counts, counts) - np.diag(counts)) / (len(places) - 1)
    return table


def _distances(values: list[float | str], counts: Array, level: Level) -> Array:
    """Squared distances between the values [..., values, values]; ordinal ones depend on the counts."""
    size = len(values)
    if level == "nominal":
        apart: Array = 1.0 - np.eye(size)
        return apart
    if level == "interval":
        numbers = np.array([float(value) for value in values])
        return np.asarray((numbers[:, None] - numbers[None, :]) ** 2, dtype=np.float64)
    # Up to and with each value, so that a difference is what lies between two, half of their own included.
    upto = np.cumsum(counts, axis=-1) - counts / 2
    return np.asarray((upto[..., :, None] - upto[..., None, :]) ** 2, dtype=np.float64)


FEW = 12  # values of one rater up to which the table is smaller than resampling the items themselves
Scores = Sequence[float | None]


def spearman(first: Scores, second: Scores, seed: int = 0) -> Agreement:
    """Spearman's rank correlation of two raters' scores, ties by their mean rank (scipy's `spearmanr`)."""
    from scipy.stats import spearmanr

    return _correlation(
        first, second, _spearman_of_table, lambda one, other: float(spearmanr(one, other).statistic), seed
    )


def kendall(first: Scores, second: Scores, seed: int = 0) -> Agreement:
    """Kendall's tau-b of two raters' scores, which takes ties into account (scipy's `kendalltau`)."""
    from scipy.stats import kendalltau

    return _correlation(
        first, second, _kendall_of_table, lambda one, other: float(kendalltau(one, other).statistic), seed
    )


def _correlation(
    first: Scores,
    second: Scores,
    of_table: Callable[[Array], Array],
    of_items: Callable[[Array, Array], float],
    seed: int,
) -> Agreement:
    pairs = np.array(rated_by_both(first, second), dtype=np.float64).reshape(-1, 2)
    n = len(pairs)
    if n < 2:
        return Agreement(None, None, None, n, "fewer than two items were rated by both")
    sides = [np.unique(column, return_inverse=True) for column in pairs.T]
    sizes = [len(values) for values, _ in sides]
    if min(sizes) == 1:
        return Agreement(None, None, None, n, "a rater gave every item the same score")
    if max(sizes) > FEW:
        return _resampled(pairs, of_items, seed)
    cells = np.zeros((n, sizes[0] * sizes[1]))
    cells[np.arange(n), sides[0][1] * sizes[1] + sides[1][1]] = 1.0
    return with_interval(cells, lambda sums: of_table(sums.reshape(*sums.shape[:-1], *sizes)), seed)


def _spearman_of_table(table: Array) -> Array:
    rows, columns = table.sum(axis=-1), table.sum(axis=-2)
    n = rows.sum(axis=-1)
    one, other = (_centred_ranks(counts) for counts in (rows, columns))
    shared = (table * one[..., :, None] * other[..., None, :]).sum(axis=(-1, -2)) / n
    spread = (rows * one**2).sum(axis=-1) / n * ((columns * other**2).sum(axis=-1) / n)
    found: Array = shared / np.sqrt(spread)
    return found


def _centred_ranks(counts: Array) -> Array:
    """Each value's mean rank, less the mean of all ranks."""
    ranks: Array = np.cumsum(counts, axis=-1) - counts / 2 - counts.sum(axis=-1, keepdims=True) / 2
    return ranks


def _kendall_of_table(table: Array) -> Array:
    n = table.sum(axis=(-1, -2))
    above = np.flip(np.cumsum(np.cumsum(np.flip(table, (-1, -2)), axis=-1), axis=-2), (-1, -2))
    beside = np.flip(np.cumsum(np.cumsum(np.flip(table, -2), axis=-1), axis=-2), -2)
    concordant = (table[..., :-1, :-1] * above[..., 1:, 1:]).sum(axis=(-1, -2))
    discordant = (table[..., :-1, 1:] * beside[..., 1:, :-1]).sum(axis=(-1, -2))
    pairs = n * (n - 1) / 2
    tied = [(counts * (counts - 1) / 2).sum(axis=-1) for counts in (table.sum(axis=-1), table.sum(axis=-2))]
    found: Array = (concordant - discordant) / np.sqrt((pairs - tied[0]) * (pairs - tied[1]))
    return found


def _resampled(pairs: Array, statistic: Callable[[Array, Array], float], seed: int) -> Agreement:
    n = len(pairs)
    rng = np.random.default_rng(seed)
    values = []
    for _ in range(RESAMPLES // 2):
        drawn = pairs[rng.integers(0, n, n)]
        if not any(np.all(column == column[0]) for column in drawn.T):
            values.append(statistic(drawn[:, 0], drawn[:, 1]))
    value = statistic(pairs[:, 0], pairs[:, 1])
    if not values:
        return Agreement(value, None, None, n)
    low, high = np.quantile(values, [0.025, 0.975])
    return Agreement(value, float(low), float(high), n)
