"""Rank correlations of two raters' scores, with intervals.

Where the scores take few values, as ratings do, both coefficients follow from how often each pair of values
occurs. That table is a sum over items, so that its interval comes from resampling sums, like every other.
"""

from collections.abc import Callable, Sequence

import numpy as np

from engine.stats.agreement import RESAMPLES, Agreement, rated_by_both, with_interval
from engine.stats.resampling import Array

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
