"""The two ways of resampling that all intervals and p-values here rest on, in bounded memory."""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Combine = Callable[[Array], Array]

_CELLS = 2_000_000  # examples x resamples held at a time: about 16 MB an array


def chunks(resamples: int, n: int) -> Iterator[int]:
    """Sizes of the portions in which so many resamples of n examples fit into memory."""
    portion = max(1, _CELLS // max(n, 1))
    for done in range(0, resamples, portion):
        yield min(portion, resamples - done)


def bootstrap_sums(parts: Array, seed: int, resamples: int) -> Array:
    """Sums of the parts [n, k] over examples drawn with replacement: [resamples, k].

    Draws are counted per example and multiplied in, so the cost hardly grows with k, and all columns of
    one resample rest on the same draw, which is what makes a paired bootstrap paired.
    """
    if np.all(parts == parts[0]):
        # Summing in another order would round differently and give equal data an interval with a width.
        return np.broadcast_to(parts.sum(axis=0), (resamples, parts.shape[1]))
    rng = np.random.default_rng(seed)
    n = len(parts)
    sums = []
    for size in chunks(resamples, n):
        drawn = rng.integers(0, n, size=(size, n)) + np.arange(size)[:, None] * n
        counts = np.bincount(drawn.ravel(), minlength=size * n).reshape(size, n)
        sums.append(counts.astype(np.float64) @ parts)
    return np.concatenate(sums)


def swapped_sums(candidate: Array, baseline: Array, seed: int, resamples: int) -> tuple[Array, Array]:
    """Both sums, each [resamples, k], with the two models swapped on every example by the toss of a coin."""
    rng = np.random.default_rng(seed)
    differing = np.any(candidate != baseline, axis=1)
    excess = (candidate - baseline)[differing]
    total = candidate.sum(axis=0) + baseline.sum(axis=0)
    kept = [
        rng.integers(0, 2, size=(size, len(excess))).astype(np.float64) @ excess
        for size in chunks(resamples, len(excess))
    ]
    candidates: Array = baseline.sum(axis=0) + np.concatenate(kept)
    return candidates, total - candidates
