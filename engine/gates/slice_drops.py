"""Slices on which a candidate fell although it did not on the whole: what a mean hides."""

from collections.abc import Iterable, Mapping, Sequence

from engine.compare.comparison import Comparison
from engine.compare.ruling import Ruling
from engine.compare.slices import Slice, is_checked
from engine.gates.drops import comparison_figures, number
from engine.metrics.metric import Measure
from engine.plan.plan import Gates
from store.records.alert import Alert, SliceEvidence

TOLD = 5  # alerts on slices for one candidate; the table of slices lists the others

Key = tuple[str, str, str]


def slice_alerts(
    slices: Sequence[Slice], overall: Iterable[Comparison], gates: Gates, measures: Mapping[str, Measure]
) -> list[Alert]:
    """A warning for each slice that fell beyond the plan's warning limit while the mean did not fall.

    Of measures from 0 to 1 where higher is better. A fall counts when the ruling says "worse". Measures that
    fell on one slice share its warning, which tells of the largest fall; a candidate has TOLD at most.
    """
    fallen = {_key(item) for item in overall if item.ruling is not None and item.ruling.standing == "worse"}
    alerts = []
    for candidate in dict.fromkeys(item.comparison.candidate for item in slices):
        falls = [
            (item, ruling)
            for item in slices
            if item.comparison.candidate == candidate
            and is_checked(measures[item.comparison.measure])
            and (ruling := item.comparison.ruling) is not None
            and ruling.standing == "worse"
            and (item.comparison.worsening or 0.0) > gates.warn_metric_drop
            and _key(item.comparison) not in fallen
        ]
        alerts += _told(falls)
    return alerts


def _told(falls: Sequence[tuple[Slice, Ruling]]) -> list[Alert]:
    """One warning for each slice and baseline, the largest falls first."""
    by_slice: dict[tuple[str, str], list[tuple[Slice, Ruling]]] = {}
    for item, ruling in sorted(falls, key=lambda fall: fall[0].comparison.worsening or 0.0, reverse=True):
        by_slice.setdefault((item.name, item.comparison.baseline), []).append((item, ruling))
    groups = list(by_slice.values())
    left = len(groups) - TOLD
    return [
        _alert(*group[0], [item.comparison.measure for item, _ in group[1:]], left if place == TOLD else 0)
        for place, group in enumerate(groups[:TOLD], start=1)
    ]


def _key(comparison: Comparison) -> Key:
    return comparison.candidate, comparison.baseline, comparison.measure


def _alert(item: Slice, ruling: Ruling, others: Sequence[str], left: int) -> Alert:
    comparison, p = item.comparison, ruling.p or 0.0
    first, second = number(comparison.candidate_value or 0.0), number(comparison.baseline_value or 0.0)
    interval = f"95% CI {comparison.low or 0.0:+.3f} to {comparison.high or 0.0:+.3f}"
    sure = "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
    message = (
        f"{comparison.candidate} falls behind {comparison.baseline} on the slice “{item.name}”: "
        f"{comparison.measure} is {first} against {second} ({interval}, n = {comparison.n}, {sure} after "
        f"correction for {ruling.size} slices and measures). Over all examples it did not."
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
        SliceEvidence(
            **comparison_figures(comparison), slice=item.name, measures=(comparison.measure, *others)
        ),
    )
