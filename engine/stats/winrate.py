"""Win rates from verdicts, rankings of several models, and when enough pairs were judged."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from engine.stats.intervals import (
    SHARE,
    Array,
    Interval,
    bootstrap_interval,
    bootstrap_sums,
    percentiles,
    share_of,
)

RESAMPLES = 1_000
CENTRE, SPREAD = 1000.0, 400.0  # of Elo's scale: 400 points are odds of ten to one
_STEPS = 2_000
_PRECISION = 1e-9
_SAME = 1e-6  # Elo points between resamples that hold the same

Points = Mapping[tuple[str, str], float]


@dataclass(frozen=True, slots=True)
class Strength:
    """A model's strength in Elo points around 1000, with its 95 % interval; n comparisons it took part in."""

    model: str
    strength: float | None
    low: float | None
    high: float | None
    n: int
    reason: str | None = None


def bradley_terry(models: Sequence[str], examples: Sequence[Points], seed: int = 0) -> list[Strength]:
    """Bradley and Terry's model (1952), fitted by Hunter's MM algorithm (2004); the strongest first.

    Each example holds, for two models (first, second), the points of the first: 1 a win, 0.5 a tie, 0 a loss.
    Intervals come from resampling examples, so that all comparisons on one example stay together. Every model
    is given one drawn comparison with an imagined average one: it keeps the strength of a model that won or
    lost everything finite, and pulls all a little to the middle, the less the more comparisons there are.
    """
    size = len(models)
    place = {model: number for number, model in enumerate(models)}
    wins = np.zeros((len(examples), size * size))
    for row, points in enumerate(examples):
        table = wins[row].reshape(size, size)
        for (first, second), point in points.items():
            table[place[first], place[second]] += point
            table[place[second], place[first]] += 1.0 - point
    if len(examples) == 0:
        return [Strength(model, None, None, None, 0, "nothing was compared") for model in models]
    total = wins.sum(axis=0).reshape(size, size)
    met = (total + total.T).sum(axis=1)
    values = _fit(total[None])[0]
    resampled = _fit(bootstrap_sums(wins, seed, RESAMPLES).reshape(-1, size, size))
    found = [
        _strength(model, float(values[number]), resampled[:, number], round(met[number]))
        for number, model in enumerate(models)
    ]
    return sorted(found, key=lambda item: (item.strength is None, -(item.strength or 0.0)))


def _strength(model: str, value: float, resampled: Array, n: int) -> Strength:
    if n == 0:
        return Strength(model, None, None, None, 0, "was never compared")
    low, high = percentiles(resampled)
    if low is None or high is None or high - low < _SAME:
        return Strength(model, value, None, None, n, "no interval: all examples alike")
    return Strength(model, value, low, high, n)


def _fit(wins: Array) -> Array:
    """Elo points [tables, models] from points won [tables, models, models]; all tables at once."""
    tables, size, _ = wins.shape
    # The imagined average model stands last, of strength 1, and drew with everyone once.
    games = np.zeros((tables, size + 1, size + 1))
    games[:, :size, :size] = wins
    games[:, :size, size] = games[:, size, :size] = 0.5
    won = games.sum(axis=2)
    meetings = games + games.transpose(0, 2, 1)
    strengths = np.ones((tables, size + 1))
    for _ in range(_STEPS):
        expected = (meetings / (strengths[:, :, None] + strengths[:, None, :])).sum(axis=2)
        updated = won / expected
        updated /= updated[:, -1:]
        settled = np.abs(np.log(updated) - np.log(strengths)).max() < _PRECISION
        strengths = updated
        if settled:
            break
    logs = np.log10(strengths[:, :size])
    points: Array = CENTRE + SPREAD * (logs - logs.mean(axis=1, keepdims=True))
    return points


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
    """The candidate's win rate; bootstrap interval, that of a share where all verdicts are alike."""
    points = [POINTS[outcome] for outcome in outcomes if outcome != "failed"]
    interval = share([(point, 1.0) for point in points], seed)
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
    interval = share(parts, seed)
    return PositionBias(first, second, tie, interval.value, interval.low, interval.high)


def share(pairs: Sequence[tuple[float, float]], seed: int = 0) -> Interval:
    """A share from (successes, trials); bootstrap interval, `share_of`'s where all are alike."""
    parts = np.array(pairs).reshape(-1, 2)
    if len(parts) and np.all(parts == parts[0]):
        successes, trials = parts.sum(axis=0)
        return share_of(float(successes), int(trials))
    return bootstrap_interval(parts, lambda sums: sums[..., 0] / sums[..., 1], seed, ends=SHARE)
