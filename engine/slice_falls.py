"""Slices on which a candidate fell although it did not on the whole: what a mean hides."""

from collections.abc import Iterable, Mapping, Sequence

from engine.alerts import Alert
from engine.comparison import Comparison
from engine.falls import SIGNIFICANT, evidence, number
from engine.metrics.metric import Measure
from engine.metrics.slicing import Slice
from engine.plan import Gates
from engine.stats.paired import holm

Key = tuple[str, str, str]


def slice_alerts(
    slices: Sequence[Slice], overall: Iterable[Comparison], gates: Gates, measures: Mapping[str, Measure]
) -> list[Alert]:
    """A warning for each slice that fell beyond the plan's warning limit while the mean did not fall.

    Of measures from 0 to 1 where higher is better. A fall counts when its interval leaves out 0 and its
    p-value, corrected over all slices and measures of the candidate (Holm), is at most 0.05.
    """
    fallen = {_key(item) for item in overall if _settled(item, item.p)}
    held = [item for item in slices if _is_bounded(measures[item.comparison.measure])]
    alerts = []
    for candidate in dict.fromkeys(item.comparison.candidate for item in held):
        family = [
            item for item in held if item.comparison.candidate == candidate and item.comparison.p is not None
        ]
        corrected = holm([item.comparison.p or 0.0 for item in family])
        alerts += [
            _alert(item, p, len(family))
            for item, p in zip(family, corrected, strict=True)
            if _settled(item.comparison, p)
            and (item.comparison.worsening or 0.0) > gates.warn_metric_drop
            and _key(item.comparison) not in fallen
        ]
    return alerts


def _key(comparison: Comparison) -> Key:
    return comparison.candidate, comparison.baseline, comparison.measure


def _is_bounded(measure: Measure) -> bool:
    return (measure.direction, measure.low, measure.high) == ("higher", 0.0, 1.0)


def _settled(comparison: Comparison, p: float | None) -> bool:
    """Whether the candidate fell, and not by chance."""
    if p is None or comparison.low is None or comparison.high is None or not comparison.worsening:
        return False
    return p <= SIGNIFICANT and comparison.worsening > 0 and not comparison.low <= 0 <= comparison.high


def _alert(item: Slice, p: float, family: int) -> Alert:
    comparison = item.comparison
    first, second = number(comparison.candidate_value or 0.0), number(comparison.baseline_value or 0.0)
    interval = f"95% interval {comparison.low or 0.0:+.3f} to {comparison.high or 0.0:+.3f}"
    sure = "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
    message = (
        f"{comparison.candidate} falls behind {comparison.baseline} on the slice “{item.name}”: "
        f"{comparison.measure} is {first} against {second} ({interval}, n = {comparison.n}, {sure} after "
        f"correction for {family} slices and measures). Over all examples it did not fall."
    )
    return Alert(
        "warning",
        "slice_drop",
        comparison.candidate,
        comparison.baseline,
        comparison.measure,
        message,
        {"slice": item.name, **evidence(comparison, p)},
    )
