"""The win rate at equal length: what is left of it once the longer answer gains nothing by being longer."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from engine.stats.intervals import LEVEL, Array

FEW = 20  # verdicts below which no length effect can be told from chance
# Ridge penalties of the length term. Smaller ones extrapolate too boldly (`python -m bench.length_control`).
PENALTIES = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
_FOLDS = 5
_STEPS = 100
_PRECISION = 1e-9
_WITHOUT_LENGTH = 1e9  # a penalty that leaves no length term
_FREE = 1e-6  # of the model term: finite where one side wins a whole fold

UNKNOWN_TEXTS = "the texts of some pairs are unknown"
TOO_FEW = f"fewer than {FEW} verdicts"
ONE_WINNER = "one model wins every pair"
SAME_DIFFERENCE = "length and model cannot be told apart: all differ in length by the same amount"
NO_BETTER = "the answers' lengths do not predict left-out verdicts: the raw rate stands"


@dataclass(frozen=True, slots=True)
class LengthControlled:
    """A win rate at equal length with its 95 % interval, or the reason why there is none."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    reason: str | None = None


def length_controlled(
    points: Sequence[float | None],
    candidate_lengths: Sequence[int | None],
    baseline_lengths: Sequence[int | None],
    seed: int = 0,
) -> LengthControlled:
    """The win rate to be expected were both answers equally long.

    `points` run from 0 to 1, None where judging failed; lengths are in characters, None where unknown. The
    form is AlpacaEval 2's (Dubois et al. 2024): a logistic regression of the points on a model term, on
    tanh(length difference / its standard deviation), and on the prompt's difficulty, read with the length
    term at 0. AlpacaEval's difficulties exist for its own prompts alone. Here the logarithm of the longer
    answer's length replaces them: prompts that call for long answers differ from others, and without this
    term a model's length is mistaken for theirs. The length term's ridge penalty is that of the least log
    loss on left-out verdicts; where no length term predicts them better, there is no value. The interval is
    the delta method's on the logit scale, with errors robust to a wrong form (Huber).
    """
    if not len(points) == len(candidate_lengths) == len(baseline_lengths):
        raise ValueError("points and two lengths are needed for each example")
    rows = [
        (point, candidate, baseline)
        for point, candidate, baseline in zip(points, candidate_lengths, baseline_lengths, strict=True)
        if point is not None
    ]
    if any(candidate is None or baseline is None for _, candidate, baseline in rows):
        return LengthControlled(reason=UNKNOWN_TEXTS)
    if len(rows) < FEW:
        return LengthControlled(reason=TOO_FEW)
    known, candidates, baselines = np.array(rows, dtype=np.float64).T
    if known.mean() in (0.0, 1.0):
        return LengthControlled(reason=ONE_WINNER)
    difference = candidates - baselines
    if np.all(difference == difference[0]):
        return LengthControlled(reason=SAME_DIFFERENCE)
    demand = np.log1p(candidates) + np.log1p(baselines)
    spread = float(demand.std())
    terms = np.column_stack([
        np.ones(len(known)),
        np.tanh(difference / difference.std(ddof=1)),
        (demand - demand.mean()) / spread if spread else np.zeros(len(known)),
    ])  # fmt: skip
    penalty = _best_penalty(terms, known, seed)
    return LengthControlled(reason=NO_BETTER) if penalty is None else _at_equal_length(terms, known, penalty)


def _best_penalty(terms: Array, points: Array, seed: int) -> float | None:
    """The penalty of the length term that predicts left-out points best; None where no length term does."""
    folds = np.random.default_rng(seed).permutation(np.arange(len(points)) % _FOLDS)
    tried = np.array([*PENALTIES, _WITHOUT_LENGTH])
    losses = np.zeros(len(tried))
    for fold in range(_FOLDS):
        out = folds == fold
        logits = _fitted(terms[~out], points[~out], tried) @ terms[out].T
        losses += (np.logaddexp(0.0, logits) - points[out] * logits).sum(axis=1)
    best = int(losses.argmin())
    return None if best == len(PENALTIES) else PENALTIES[best]


def _fitted(terms: Array, points: Array, penalties: Array) -> Array:
    """The weights [penalties, terms] of the fits under each penalty, all at once by Newton's method."""
    ridge = np.column_stack([np.full_like(penalties, _FREE), penalties, np.ones_like(penalties)])
    weights = np.zeros_like(ridge)
    products = (terms[:, :, None] * terms[:, None, :]).reshape(len(terms), -1)
    for _ in range(_STEPS):
        fitted = _sigmoid(weights @ terms.T)
        slope = (points - fitted) @ terms - ridge * weights
        curvature = (fitted * (1 - fitted) @ products).reshape(len(ridge), 3, 3) + ridge[:, :, None] * np.eye(
            3
        )
        # Far from the optimum a whole Newton step may overshoot.
        step = np.clip(np.linalg.solve(curvature, slope[:, :, None])[:, :, 0], -2.0, 2.0)
        weights += step
        if np.abs(step).max() < _PRECISION:
            break
    return weights


def _at_equal_length(terms: Array, points: Array, penalty: float) -> LengthControlled:
    (weights,) = _fitted(terms, points, np.array([penalty]))
    level = terms * (1.0, 0.0, 1.0)
    fitted, rates = _sigmoid(terms @ weights), _sigmoid(level @ weights)
    value = float(rates.mean())
    curvature = (terms.T * (fitted * (1 - fitted))) @ terms + np.diag([_FREE, penalty, 1.0])
    gradient = (rates * (1 - rates)) @ level
    moved = (terms * (points - fitted)[:, None]) @ np.linalg.solve(curvature, gradient)
    error = math.sqrt(float(((moved + rates - value) ** 2).sum())) / len(points)
    logit = math.log(value / (1 - value))
    reach = NormalDist().inv_cdf((1 + LEVEL) / 2) * error / (value * (1 - value))
    low, high = _sigmoid(np.array([logit - reach, logit + reach]))
    return LengthControlled(value, float(low), float(high))


def _sigmoid(logits: Array) -> Array:
    values: Array = 0.5 * (1.0 + np.tanh(logits / 2))
    return values
