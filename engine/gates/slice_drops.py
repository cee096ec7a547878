"""Slices on which a candidate fell although it did not on the whole: what a mean hides."""

from collections.abc import Iterable, Mapping, Sequence

from engine.compare.comparison import Comparison
from engine.compare.slices import Slice
from engine.gates.alerts import Alert
from engine.gates.drops import SIGNIFICANT, evidence, number
from engine.metrics.metric import Measure
from engine.plan.plan import Gates
from engine.stats.paired import holm

TOLD = 5  # slices that a candidate is warned of; the others stand in the slices' own table

Key = tuple[str, str, str]


def slice_alerts(
    slices: Sequence[Slice], overall: Iterable[Comparison], gates: Gates, measures: Mapping[str, Measure]
) -> list[Alert]:
    """A warning for each slice that fell beyond the plan's warning limit while the mean did not fall.

    Of measures from 0 to 1 where higher is better. A fall counts when its interval leaves out 0 and its
    p-value, corrected over all slices and measures of the candidate (Holm), is at most 0.05. Measures that
    fell on one slice share its warning, which tells of the largest fall; a candidate has TOLD at most.
    """
    fallen = {_key(item) for item in overall if _settled(item, item.p)}
    held = [item for item in slices if _is_bounded(measures[item.comparison.measure])]
    alerts = []
    for candidate in dict.fromkeys(item.comparison.candidate for item in held):
        family = [
            item for item in held if item.comparison.candidate == candidate and item.comparison.p is not None
        ]
        corrected = holm([item.comparison.p or 0.0 for item in family])
        falls = [
            (item, p)
            for item, p in zip(family, corrected, strict=True)
            if _settled(item.comparison, p)
            and (item.comparison.worsening or 0.0) > gates.warn_metric_drop
            and _key(item.comparison) not in fallen
        ]
        alerts += _told(falls, len(family))
    return alerts


def _told(falls: Sequence[tuple[Slice, float]], family: int) -> list[Alert]:
    """One warning for each slice and baseline, the largest falls first."""
    by_slice: dict[tuple[str, str], list[tuple[Slice, float]]] = {}
    for item, p in sorted(falls, key=lambda fall: fall[0].comparison.worsening or 0.0, reverse=True):
        by_slice.setdefault((item.name, item.comparison.baseline), []).append((item, p))
    groups = list(by_slice.values())
    left = len(groups) - TOLD
    return [
        _alert(
            *group[0],
            family,
            [item.comparison.measure for item, _ in group[1:]],
            left if place == TOLD else 0,
        )
        for place, group in enumerate(groups[:TOLD], start=1)
    ]


def _key(comparison: Comparison) -> Key:
    return comparison.candidate, comparison.baseline, comparison.measure


def _is_bounded(measure: Measure) -> bool:
    return (measure.direction, measure.low, measure.high) == ("higher", 0.0, 1.0)


def _settled(comparison: Comparison, p: float | None) -> bool:
    """Whether the candidate fell, and not by chance."""
    if p is None or comparison.low is None or comparison.high is None or not comparison.worsening:
        return False
    return p <= SIGNIFICANT and comparison.worsening > 0 and not comparison.low <= 0 <= comparison.high


def _alert(item: Slice, p: float, family: int, others: Sequence[str], left: int) -> Alert:
    comparison = item.comparison
    first, second = number(comparison.candidate_value or 0.0), number(comparison.baseline_value or 0.0)
    interval = f"95% interval {comparison.low or 0.0:+.3f} to {comparison.high or 0.0:+.3f}"
    sure = "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
    message = (
        f"{comparison.candidate} falls behind {comparison.baseline} on the slice “{item.name}”: "
        f"{comparison.measure} is {first} against {second} ({interval}, n = {comparison.n}, {sure} after "
        f"correction for {family} slices and measures). Over all examples it did not fall."
    )
    if others:
        message += f" So did {', '.join(others)}."
    if left > 0:
        message += f" {left} more slices fell: `s` in Compare, or --slices, lists them."
    return Alert(
        "warning",
        "slice_drop",
        comparison.candidate,
        comparison.baseline,
        comparison.measure,
        message,
        {"slice": item.name, "measures": [comparison.measure, *others], **evidence(comparison, p)},
    )
