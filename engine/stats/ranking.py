"""Strengths of several models from comparisons of two at a time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from engine.stats.intervals import percentiles
from engine.stats.resampling import Array, bootstrap_sums

RESAMPLES = 1_000
CENTRE, SPREAD = 1000.0, 400.0  # of Elo's scale: 400 points are odds of ten to one
_STEPS = 2_000
_PRECISION = 1e-9

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
