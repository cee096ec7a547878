"""Win rates from verdicts, and how often a place wins rather than a model."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from engine.stats.intervals import SHARE, Interval, bootstrap_interval, wilson
from engine.stats.resampling import Array

Outcome = Literal["win", "loss", "tie", "failed"]
Winner = Literal["candidate", "baseline", "tie"]

POINTS = {"win": 1.0, "tie": 0.5, "loss": 0.0}


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
    points = np.array([POINTS[outcome] for outcome in outcomes if outcome != "failed"])
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


def _share(parts: Array, seed: int) -> Interval:
    """A share from parts [n, (successes, trials)]."""
    if len(parts) and np.all(parts == parts[0]):
        successes, trials = parts.sum(axis=0)
        return wilson(float(successes), int(trials))
    return bootstrap_interval(parts, lambda sums: sums[..., 0] / sums[..., 1], seed, ends=SHARE)
