"""The two ways of resampling that all intervals and p-values here rest on, in bounded memory."""

import math
from collections.abc import Callable, Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

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
