"""Win rates from verdicts, and the two biases that judges are known for: position and length."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from engine.stats.intervals import Interval, bootstrap_interval, wilson
from engine.stats.resampling import Array

Outcome = Literal["win", "loss", "tie", "failed"]
Winner = Literal["candidate", "baseline", "tie"]

_POINTS = {"win": 1.0, "tie": 0.5, "loss": 0.0}
_LENGTH_PENALTY = 1.0


@dataclass(frozen=True, slots=True)
class WinRate:
    """Verdicts counted, and the candidate's share with its 95 % interval; a tie is half a win.

    Failed judgments are counted apart and are in no rate; the rate is None where nothing else is left.
    """

    wins: int
    losses: int
    ties: int
    failed: int
    win_rate: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class PositionBias:
    """How often each place won over single calls; `rate` is the first place's share of the decided ones.

    0.5 is no bias, 1 a judge that always takes the first response. Only examples count that were judged in
    both orders, since one order alone would show the better model as a favoured place.
    """

    first: int
    second: int
    tie: int
    rate: float | None
    low: float | None
    high: float | None


def win_rate(outcomes: Sequence[Outcome], seed: int = 0) -> WinRate:
    """The candidate's win rate; bootstrap interval, Wilson's where all verdicts are alike."""
    points = np.array([_POINTS[outcome] for outcome in outcomes if outcome != "failed"])
    interval = _share(np.column_stack([points, np.ones_like(points)]), seed)
    return WinRate(
        wins=outcomes.count("win"),
        losses=outcomes.count("loss"),
        ties=outcomes.count("tie"),
        failed=outcomes.count("failed"),
        win_rate=interval.value,
        low=interval.low,
        high=interval.high,
    )


def position_bias(pairs: Sequence[tuple[Winner | None, Winner | None]], seed: int = 0) -> PositionBias:
    """The first place's share of decided calls.

    Each pair is one example's two winners: with the candidate shown first, then with the baseline so;
    None for a failed judgment. The interval is over examples, since the two calls on one are not independent.
    """
    first = second = tie = 0
    parts = []
    for shown_first, shown_second in pairs:
        if shown_first is None or shown_second is None:
            continue
        firsts = (shown_first == "candidate") + (shown_second == "baseline")
        ties = (shown_first == "tie") + (shown_second == "tie")
        first, second, tie = first + firsts, second + 2 - firsts - ties, tie + ties
        if ties < 2:
            parts.append((float(firsts), float(2 - ties)))
    interval = _share(np.array(parts).reshape(-1, 2), seed)
    return PositionBias(first, second, tie, interval.value, interval.low, interval.high)


def length_controlled(
    outcomes: Sequence[Outcome], candidate_lengths: Sequence[int], baseline_lengths: Sequence[int]
) -> float | None:
    """The win rate that would be expected were both responses equally long (lengths in characters).

    AlpacaEval 2's form (Dubois et al. 2024) without its instruction difficulty, which exists for its own
    prompts alone: a logistic regression of the outcome on a model term and tanh(length difference / its
    standard deviation), read with the length term at 0. The length term has a unit ridge penalty, so that it
    stays finite where length alone decides; without length differences the result is the plain win rate.
    """
    if not len(outcomes) == len(candidate_lengths) == len(baseline_lengths):
        raise ValueError("an outcome and two lengths are needed for each example")
    counted = np.array([outcome != "failed" for outcome in outcomes], dtype=bool)
    points = np.array([_POINTS[outcome] for outcome in outcomes if outcome != "failed"])
    if len(points) == 0:
        return None
    rate = float(points.mean())
    difference = (np.array(candidate_lengths, dtype=float) - np.array(baseline_lengths, dtype=float))[counted]
    if rate in (0.0, 1.0) or not difference.any():
        return rate
    # All longer by the same amount: what length did can't be told from what the model did.
    if np.all(difference == difference[0]):
        return None
    return _rate_at_equal_length(points, np.tanh(difference / difference.std(ddof=1)))


def _rate_at_equal_length(points: Array, lengths: Array) -> float:
    from scipy.optimize import minimize

    def loss(weights: Array) -> tuple[float, Array]:
        logits = weights[0] + weights[1] * lengths
        misfit = _sigmoid(logits) - points
        value = np.sum(np.logaddexp(0.0, logits) - points * logits)
        gradient = np.array([misfit.sum(), misfit @ lengths + _LENGTH_PENALTY * weights[1]])
        return float(value + _LENGTH_PENALTY * weights[1] ** 2 / 2), gradient

    fitted = minimize(loss, np.zeros(2), jac=True, method="BFGS")
    return float(_sigmoid(fitted.x[:1])[0])


def _sigmoid(logits: Array) -> Array:
    values: Array = 0.5 * (1.0 + np.tanh(logits / 2))
    return values


def _share(parts: Array, seed: int) -> Interval:
    """A share from parts [n, (successes, trials)]."""
    interval = bootstrap_interval(parts, lambda sums: sums[..., 0] / sums[..., 1], seed)
    if interval.value is None or (interval.low is not None and interval.low != interval.high):
        return interval
    successes, trials = parts.sum(axis=0)
    return wilson(float(successes), int(trials))
