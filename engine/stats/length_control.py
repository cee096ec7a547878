"""The win rate at equal length: what is left of it once the longer answer gains nothing by being longer."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engine.stats.intervals import Interval, percentiles
from engine.stats.resampling import Array, chunks
from engine.stats.winrate import POINTS, Outcome

RESAMPLES = 1_000
_PENALTY = 1.0
_STEPS = 100
_PRECISION = 1e-10


@dataclass(frozen=True, slots=True)
class _Data:
    """Points of the candidate and the length term of each judged example."""

    points: Array
    lengths: Array


def length_controlled(
    outcomes: Sequence[Outcome],
    candidate_lengths: Sequence[int],
    baseline_lengths: Sequence[int],
    seed: int = 0,
) -> Interval:
    """The win rate to be expected were both responses equally long (lengths in characters).

    AlpacaEval 2's form (Dubois et al. 2024) without its instruction difficulty, which exists for its own
    prompts alone: a logistic regression of the outcome on a model term and tanh(length difference / its
    standard deviation), read with the length term at 0. The length term has a unit ridge penalty, so that it
    stays finite where length alone decides; without length differences the result is the plain win rate.
    The 95 % interval is by bootstrap over examples (AlpacaEval's published error is the spread of its fitted
    probabilities, which is none of sampling). No value where all differ in length by the same amount: what
    length did cannot be told from what the model did.
    """
    points = [POINTS.get(outcome) for outcome in outcomes]
    return points_at_equal_length(points, candidate_lengths, baseline_lengths, seed)


def points_at_equal_length(
    points: Sequence[float | None],
    candidate_lengths: Sequence[int],
    baseline_lengths: Sequence[int],
    seed: int = 0,
) -> Interval:
    """`length_controlled` for points from 0 to 1, whole or not; None where judging failed."""
    if not len(points) == len(candidate_lengths) == len(baseline_lengths):
        raise ValueError("an outcome and two lengths are needed for each example")
    counted = np.array([point is not None for point in points], dtype=bool)
    known = np.array([point for point in points if point is not None])
    n = len(known)
    if n == 0:
        return Interval(None, None, None, 0)
    difference = (np.array(candidate_lengths, dtype=float) - np.array(baseline_lengths, dtype=float))[counted]
    rate = float(known.mean())
    if rate in (0.0, 1.0):
        return Interval(rate, None, None, n)
    if not difference.any():
        lengths = np.zeros(n)
    elif np.all(difference == difference[0]):
        return Interval(None, None, None, n)
    else:
        lengths = np.tanh(difference / difference.std(ddof=1))
    data = _Data(known, lengths)
    value = float(_rates(data, np.ones((1, n)))[0])
    return Interval(value, *percentiles(_resampled(data, seed)), n)


def _resampled(data: _Data, seed: int) -> Array:
    n = len(data.points)
    rng = np.random.default_rng(seed)
    found = []
    for size in chunks(RESAMPLES, n):
        drawn = rng.integers(0, n, size=(size, n)) + np.arange(size)[:, None] * n
        counts = np.bincount(drawn.ravel(), minlength=size * n).reshape(size, n)
        found.append(_rates(data, counts.astype(np.float64)))
    return np.concatenate(found)


def _rates(data: _Data, counts: Array) -> Array:
    """The rate at equal length for each row of counts [fits, examples], all fitted at once by Newton."""
    model, length = np.zeros(len(counts)), np.zeros(len(counts))
    share = counts @ data.points / counts.sum(axis=1)
    # A resample that one side won whole has no finite model term: its rate is what was seen.
    decided = (share <= 0.0) | (share >= 1.0)
    for _ in range(_STEPS):
        fitted = _sigmoid(model[:, None] + length[:, None] * data.lengths)
        misfit = counts * (fitted - data.points)
        spread = counts * fitted * (1 - fitted)
        slope = np.stack([misfit.sum(axis=1), misfit @ data.lengths + _PENALTY * length])
        a = spread.sum(axis=1)
        b = spread @ data.lengths
        c = spread @ data.lengths**2 + _PENALTY
        determinant = np.where(decided, 1.0, a * c - b * b)
        steps = np.stack([c * slope[0] - b * slope[1], a * slope[1] - b * slope[0]]) / determinant
        # Far from the optimum a whole Newton step may overshoot.
        steps = np.where(decided, 0.0, np.clip(steps, -2.0, 2.0))
        model, length = model - steps[0], length - steps[1]
        if np.abs(steps).max() < _PRECISION:
            break
    return np.where(decided, share, _sigmoid(model))


def _sigmoid(logits: Array) -> Array:
    values: Array = 0.5 * (1.0 + np.tanh(logits / 2))
    return values
