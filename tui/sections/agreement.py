"""People's decisions: the agreement of judges with them in words, and each person's own figures."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import median

from store.read.reviewing import OwnDecision

OUTCOMES = ("win", "tie", "loss")
FIGURES = {
    "raw": "same verdict",
    "raw_without_ties": "same, both decided",
    "kappa": "kappa",
    "alpha": "Krippendorff's alpha",
    "spearman": "Spearman",
    "kendall": "Kendall's tau-b",
}
_POINTS = {"win": 1.0, "loss": 0.0, "tie": 0.5, "both_bad": 0.5}
_Z = 1.959964  # of 95 %
PAUSE = 300.0  # seconds; who looked longer was away
_FEWEST = 3


def gate_in_words(
    low: float, high: float, gate: float, *, labelled: int, examples: int, needed: int | None
) -> str:
    """Whether the corrected win rate meets the gate, or how many random labels it needs.

    `low` and `high` bound the corrected win rate. `needed` labels in all would settle it; None: no number on
    these examples does.
    """
    if low >= gate:
        return f"The gate of {100 * gate:g} % is met, as people would judge."
    if high < gate:
        return f"The gate of {100 * gate:g} % is missed, as people would judge."
    open_ = f"Inconclusive at the gate of {100 * gate:g} %"
    if needed is None:
        return f"{open_}, and no number of labels on these examples would do."
    if needed > examples:
        return f"{open_}: needs about {needed:,} random labels, more than the {examples:,} examples here."
    more = max(0, needed - labelled)
    return f"{open_}: needs about {more:,} more random labels ({needed:,} in all)."


@dataclass(frozen=True, slots=True)
class OwnShare:
    """A share with its 95 % Wilson interval; all None where there is nothing to count."""

    value: float | None
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True, slots=True)
class OwnFigures:
    """A person's own figures; `left` and `again` are of blind decisions only."""

    outcomes: dict[str, int]
    won: OwnShare  # of the candidate, a tie and both bad being half
    judged: float | None  # the judge's win rate on the same examples
    left: OwnShare  # of those that preferred a side
    again: OwnShare  # repeats that got the same answer
    seconds: float | None  # median


def wilson(successes: float, n: int) -> OwnShare:
    """Wilson's score interval; `successes` may have halves.

    Source: Wilson, Probable inference, the law of succession, and statistical inference, JASA 1927.
    """
    if n == 0:
        return OwnShare(None, None, None, 0)
    p, square = successes / n, _Z * _Z
    middle = (p + square / (2 * n)) / (1 + square / n)
    half = _Z * sqrt(p * (1 - p) / n + square / (4 * n * n)) / (1 + square / n)
    return OwnShare(p, max(0.0, middle - half), min(1.0, middle + half), n)


def own_figures(said: Sequence[OwnDecision]) -> OwnFigures:
    """Of all of a person's preferences between two models, repeats included, oldest first."""
    labels = {row.example_id: row for row in said if not row.control}
    repeats = {row.example_id: row for row in said if row.control}
    outcomes = {name: sum(row.outcome == name for row in labels.values()) for name in _POINTS}
    sides = [row.side for row in (*labels.values(), *repeats.values()) if row.blind and row.side]
    both = [(labels[key].outcome, row.outcome) for key, row in repeats.items() if key in labels]
    judged = [_POINTS[row.judged] for row in labels.values() if row.judged in _POINTS]
    timed = [row.seconds for row in said if row.seconds is not None]
    return OwnFigures(
        outcomes,
        wilson(sum(_POINTS[row.outcome] for row in labels.values()), len(labels)),
        sum(judged) / len(judged) if judged else None,
        wilson(sides.count("left"), len(sides)),
        wilson(sum(first == second for first, second in both), len(both)),
        seconds_each(timed) if len(timed) > 2 else median(timed) if timed else None,
    )


def seconds_each(seconds: Sequence[float]) -> float | None:
    """Seconds for a decision: the median, which one long look does not move; None before the third."""
    looked = [each for each in seconds if 0 <= each <= PAUSE]
    return median(looked) if len(looked) >= _FEWEST else None
