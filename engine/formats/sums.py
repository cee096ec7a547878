"""What imported grades and verdicts add up to."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from engine.data.examples import Example
from engine.formats.imported import Grade, Match
from engine.stats.intervals import Interval, bootstrap_interval
from engine.stats.winrate import POINTS


def points_of(match: Match) -> float | None:
    if match.outcome == "failed":
        return None
    return match.points if match.points is not None else POINTS[match.outcome]


def summary(grades: Iterable[Grade]) -> dict[str, Any]:
    """The mean over all scores; the interval resamples questions, whose turns belong together."""
    by_example: dict[str, list[float]] = defaultdict(list)
    failures: list[str] = []
    for grade in grades:
        if grade.score is None:
            failures.append(grade.failure or "no score")
        else:
            by_example[grade.example].append(grade.score)
    found = mean([(sum(scores), float(len(scores))) for scores in by_example.values()])
    reason = max(set(failures), key=failures.count) if failures else None
    n = sum(len(scores) for scores in by_example.values())
    return asdict(found) | {"n": n, "missing": len(failures), "reason": reason}


def mean(parts: list[tuple[float, float]]) -> Interval:
    return bootstrap_interval(np.array(parts).reshape(-1, 2), lambda sums: sums[..., 0] / sums[..., 1])


def slices(grades: list[Grade], examples: Mapping[str, Example]) -> dict[str, list[Grade]]:
    """By category and by turn, as MT-Bench reports them."""
    found: dict[str, list[Grade]] = defaultdict(list)
    for grade in grades:
        category = examples[grade.example].category
        if category:
            found[f"category: {category}"].append(grade)
        if grade.turn:
            found[f"turn {grade.turn}"].append(grade)
    return found
