"""Whether confidence can be trusted: expected calibration error, reliability curve, accuracy at coverage.

Everything is computed from pairs (confidence, right): the probability that a model gave its likeliest answer,
and 1 where that answer was right, else 0. A calibrated model is right in 70 % of the answers of which it is
70 % sure (Naeini et al. 2015; Guo et al. 2017).
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from engine.stats.intervals import (
    LEVEL,
    RESAMPLES,
    Array,
    Interval,
    bootstrap_sums,
    chunks,
    expanded,
    finite,
    percentiles,
    share_of,
    wilson,
    within,
)
from engine.stats.paired import Paired, compare

BINS = 10  # at most; of equal mass: each holds as many examples as the others, or one more
_FILLED = 10  # examples that a bin holds at least
FEWEST = 2 * _FILLED  # examples below which there are no two bins
COVERAGE = 0.8  # the share of the examples that are answered, the surest ones
_SHARE = (0.0, 1.0)


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """The examples of which a model was about equally sure: how sure it was, and how often it was right."""

    n: int
    confidence: float
    right: float
    low: float | None
    high: float | None


def bins_of(confidence: Array) -> tuple[NDArray[np.intp], int]:
    """The bin of each example, from the least sure up, and how many bins there are.

    There are BINS, or fewer where they would hold less than ten examples each. Equal confidences part where
    a bin is full, by lot: data may be in the order of its answers, which would show as gaps.
    """
    n = len(confidence)
    bins = min(BINS, max(1, n // _FILLED))
    places, lot = np.empty(n, dtype=np.intp), np.random.default_rng(0).permutation(n)
    places[lot[np.argsort(confidence[lot], kind="stable")]] = np.arange(n) * bins // max(n, 1)
    return places, bins


def binned(confidence: Array, right: Array) -> Array:
    """Each example's parts [n, 3 x bins]: by bin its excess of confidence, the square of that, and 1."""
    n, (places, bins) = len(confidence), bins_of(confidence)
    excess = confidence - right
    found = np.zeros((n, 3 * bins))
    for column, values in enumerate((excess, excess**2, np.ones(n))):
        found[np.arange(n), column * bins + places] = values
    return found


def _apart(sums: Array) -> tuple[Array, Array, Array]:
    bins = sums.shape[-1] // 3
    return sums[..., :bins], sums[..., bins : 2 * bins], sums[..., 2 * bins :]


def plain_error(sums: Array) -> Array:
    """The expected calibration error of summed parts [..., 3 x bins], as it is commonly computed.

    The gaps of the bins, weighted by their examples. Chance alone opens gaps, so it is too large: by about
    0.07 for a calibrated model on 200 examples.
    """
    excess, _, counts = _apart(sums)
    error: Array = np.abs(excess).sum(axis=-1) / counts.sum(axis=-1)
    return error


def _corrected(sums: Array) -> Array:
    """The plain error less what chance adds to it; below 0 where chance opened less than it usually does.

    A bin's mean gap g has the standard error s; the mean of |g + noise| over noise of that size is a folded
    normal's (Kumar et al. 2019, section 5.1, there by simulation).
    """
    from scipy.special import ndtr

    excess, squares, counts = _apart(sums)
    n = np.maximum(counts, 1.0)
    gap = np.abs(excess) / n
    error = np.sqrt(np.maximum(squares / n - gap**2, 0.0) / np.maximum(n - 1, 1.0))
    known = np.maximum(error, 1e-12)
    folded = known * math.sqrt(2 / math.pi) * np.exp(-(gap**2) / (2 * known**2))
    folded += gap * (1 - 2 * ndtr(-gap / known))
    corrected: Array = ((2 * gap - folded) * counts).sum(axis=-1) / counts.sum(axis=-1)
    return corrected


def calibration_error(sums: Array) -> Array:
    """The expected calibration error of summed parts [..., 3 x bins], corrected for chance, at least 0."""
    error: Array = np.maximum(_corrected(sums), 0.0)
    return error


def calibration_interval(confidence: Array, right: Array, seed: int = 0) -> Interval:
    """The calibration error with its 95 % interval; without a value for fewer than FEWEST examples.

    Resamples are noisier than the sample, and their errors larger: the interval is the reflected ("basic")
    one (Davison & Hinkley 1997, section 5.2), which takes that off. It begins at 0 unless the gaps are larger
    than those of labels drawn with the model's own confidences. Where every answer was right, or every one
    wrong, it is as much wider as others may be.
    """
    n = len(confidence)
    if n < FEWEST:
        return Interval(None, None, None, n)
    parts = binned(confidence, right)
    total = parts.sum(axis=0)
    resampled = _corrected(bootstrap_sums(parts, seed, RESAMPLES))
    low, high = _reflected(_corrected(total), resampled - plain_error(total), n)
    if low is not None and high is not None:
        low, high = low - _unseen(right), high + _unseen(right)
    if low is not None and chance_of_calibration(confidence, right, seed) > 1 - LEVEL:
        low = 0.0
    low, high = within(low, high, _SHARE)
    return Interval(finite(calibration_error(total)), low, high, n)


def _unseen(right: Array) -> float:
    """How often another outcome may come where all were right, or all wrong: resamples show none (Wilson)."""
    return (wilson(0, len(right)).high or 0.0) if np.all(right == right[0]) else 0.0


def _reflected(value: Array, off: Array, n: int) -> tuple[float | None, float | None]:
    """The interval of a value over n examples, from how far `off` the resampled ones are."""
    low, high = percentiles(off, expanded(n))
    return (None, None) if low is None or high is None else (float(value) - high, float(value) - low)


def chance_of_calibration(confidence: Array, right: Array, seed: int = 0, draws: int = 1_000) -> float:
    """How often a model that is right as often as it claims shows gaps as large as these: a p-value."""
    n, (places, bins) = len(confidence), bins_of(confidence)
    members = np.zeros((n, bins))
    members[np.arange(n), places] = 1.0
    seen = np.abs((confidence - right) @ members).sum()
    rng, reached = np.random.default_rng(seed), 1
    for size in chunks(draws, n):
        drawn = rng.random((size, n)) < confidence
        reached += int((np.abs((confidence - drawn) @ members).sum(axis=1) >= seen - 1e-9).sum())
    return reached / (draws + 1)


def compare_calibration(
    candidate: tuple[Array, Array], baseline: tuple[Array, Array], seed: int = 0
) -> Paired:
    """Two models' calibration errors, each (confidence, right) row by row of the same example.

    The examples are resampled for both at once, each model in its own bins; the interval is reflected as that
    of one model. Fewer than FEWEST examples have no values.
    """
    if len(candidate[0]) < FEWEST:
        return Paired(None, None, None, None, None, None, len(candidate[0]), None)
    ours, theirs = binned(*candidate), binned(*baseline)
    found = compare(ours, theirs, calibration_error, seed, reach=1.0)
    if found.low is None or np.array_equal(ours, theirs):
        return found
    sums, width = bootstrap_sums(np.hstack([ours, theirs]), seed, RESAMPLES), ours.shape[1]
    sides = [side.sum(axis=0) for side in (ours, theirs)]
    value = _corrected(sides[0]) - _corrected(sides[1])
    spread = _corrected(sums[:, :width]) - _corrected(sums[:, width:])
    plain = plain_error(sides[0]) - plain_error(sides[1])
    low, high = _reflected(value, spread - plain, len(ours))
    if low is not None and high is not None:
        unseen = max(_unseen(candidate[1]), _unseen(baseline[1]))
        low, high = low - unseen, high + unseen
    ends = within(low, high, (-1.0, 1.0))
    return replace(found, low=ends[0], high=ends[1])


def reliability(confidence: Array, right: Array) -> list[ReliabilityBin]:
    """The bins from the least sure up, with Wilson's interval of how often the answers were right."""
    places, bins = bins_of(confidence)
    found = []
    for place in range(bins):
        sure, good = confidence[places == place], right[places == place]
        share = wilson(float(good.sum()), len(good))
        found.append(ReliabilityBin(len(good), float(sure.mean()), float(good.mean()), share.low, share.high))
    return found


def accuracy_at_coverage(confidence: Array, right: Array) -> Interval:
    """The accuracy on the surest COVERAGE of the examples with Wilson's interval; `n` are those answered."""
    good, answered = map(float, covered(confidence, right).sum(axis=0))
    n = round(answered)  # COVERAGE of 18 is 14.4, and an interval takes whole ones
    return share_of(min(1.0, good / answered) * n if n else 0.0, n)


def covered(confidence: Array, right: Array, coverage: float = COVERAGE) -> Array:
    """Parts [n, 2] of the accuracy on the surest `coverage` of the examples, and nothing of the others.

    Examples as sure as the last one that is answered share what is left of the answers.
    """
    if not len(confidence):
        return np.zeros((0, 2))
    room = coverage * len(confidence)
    last = np.sort(confidence)[::-1][math.ceil(room) - 1]
    surer, tied = confidence > last, confidence == last
    weights = surer + tied * (room - surer.sum()) / tied.sum()
    return np.column_stack([weights * right, weights])
