"""When a candidate that fell behind a baseline raises an alert, how severe, and in which words.

A fall beyond its limit is critical or a warning only when it is settled: its interval leaves out 0, and its
p-value, Holm-corrected over everything that the candidate is held to at once, is at most 0.05. Else it is a
note that says how many examples would settle it.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from engine.alerts import Alert, AlertKind, Severity
from engine.comparison import Comparison
from engine.stats.paired import holm

SIGNIFICANT = 0.05
_ROUNDING = 1e-9  # 0.80 - 0.75 is a fall of 0.05, not of more


@dataclass(frozen=True, slots=True)
class Limits:
    """The largest fall that is allowed and the largest that goes without a warning.

    In the measure's unit, or as a share of the baseline's value when `relative`.
    """

    critical: float
    warning: float | None
    relative: bool

    def amount(self, value: float) -> str:
        return f"{100 * value:.3g}%" if self.relative else f"{value:.3f}".rstrip("0").rstrip(".")

    def said(self, severity: Severity) -> str:
        if severity == "warning" and self.warning is not None:
            warning, critical = self.amount(self.warning), self.amount(self.critical)
            return f"The plan warns above {warning} and fails above {critical}."
        return f"The plan allows at most {self.amount(self.critical)}."


@dataclass(frozen=True, slots=True)
class Held:
    """A comparison that a gate holds against its limits."""

    kind: AlertKind
    comparison: Comparison
    limits: Limits

    @property
    def fall(self) -> float | None:
        """How much worse the candidate is, in the limits' terms; None where the two don't compare."""
        worsening = self.comparison.worsening
        if worsening is None or not self.limits.relative:
            return worsening
        baseline = abs(self.comparison.baseline_value or 0.0)
        if baseline == 0:
            return math.copysign(math.inf, worsening) if worsening else 0.0
        return worsening / baseline


def alerts_on(held: Sequence[Held]) -> list[Alert]:
    """The alerts on all comparisons held, each candidate's being one family of tests."""
    alerts = []
    for candidate in dict.fromkeys(item.comparison.candidate for item in held):
        family = [item for item in held if item.comparison.candidate == candidate]
        tested = [item for item in family if item.comparison.p is not None]
        corrected = dict(
            zip(map(id, tested), holm([item.comparison.p or 0.0 for item in tested]), strict=True)
        )
        for item in family:
            alert = _alert(item, corrected.get(id(item)), len(tested))
            if alert is not None:
                alerts.append(alert)
    return alerts


def number(value: float) -> str:
    """A value as alerts print it: three decimals, or four figures where it is large."""
    return f"{value:.3f}" if abs(value) < 1000 else f"{value:.4g}"


def evidence(comparison: Comparison, corrected: float | None = None) -> dict[str, Any]:
    """What stands behind an alert on a comparison."""
    return {
        "candidate_value": comparison.candidate_value,
        "baseline_value": comparison.baseline_value,
        "delta": comparison.delta,
        "low": comparison.low,
        "high": comparison.high,
        "p": comparison.p,
        "p_corrected": corrected,
        "n": comparison.n,
        "smallest_detectable": comparison.smallest_detectable,
        "reason": comparison.reason,
        "example_ids": list(comparison.worst),
    }


def _alert(item: Held, corrected: float | None, family: int) -> Alert | None:
    comparison = item.comparison
    if comparison.delta is None:
        severity: Severity = "note" if item.kind == "perplexity_rise" else "warning"
        return _made(item, severity, _not_compared(item), None) if _is_gap(item) else None
    severity_wanted = _severity(item)
    if severity_wanted is None:
        return None
    if corrected is None:
        message = f"{_finding(item)}. No interval could be computed, so chance can't be ruled out. "
        return _made(item, "warning", message + item.limits.said(severity_wanted), None)
    how_sure = _how_sure(comparison, corrected, family)
    if _excludes_zero(comparison) and corrected <= SIGNIFICANT:
        message = f"{_finding(item)} ({how_sure}). {item.limits.said(severity_wanted)}"
        return _made(item, severity_wanted, message, corrected)
    message = (
        f"Not settled: {_finding(item)}, but it may be chance ({how_sure}). {_more_examples(comparison)}"
    )
    return _made(item, "note", f"{message} {item.limits.said(severity_wanted)}", corrected)


def _severity(item: Held) -> Severity | None:
    fall, limits = item.fall, item.limits
    if fall is None:
        return None
    if fall > limits.critical + _ROUNDING:
        return "critical"
    if limits.warning is not None and fall > limits.warning + _ROUNDING:
        return "warning"
    return None


def _is_gap(item: Held) -> bool:
    """Whether a missing delta is worth a word: a benchmark was asked for, a metric has one side at least."""
    comparison = item.comparison
    sides = (comparison.candidate_value, comparison.baseline_value)
    return item.kind == "benchmark_drop" or any(side is not None for side in sides)


def _excludes_zero(comparison: Comparison) -> bool:
    low, high = comparison.low, comparison.high
    return low is not None and high is not None and (low > 0 or high < 0)


def _finding(item: Held) -> str:
    comparison = item.comparison
    first, second = number(comparison.candidate_value or 0.0), number(comparison.baseline_value or 0.0)
    who, whom, measure = comparison.candidate, comparison.baseline, comparison.measure
    change = f"a {'rise' if comparison.direction == 'lower' else 'drop'} of {_size(item)}"
    if item.kind == "benchmark_drop":
        return (
            f"{who} has forgotten some of what {whom} can do: {measure} is {first} against {second}, {change}"
        )
    if item.kind == "perplexity_rise":
        what = f"the corpus {corpus}" if (corpus := measure.partition(":")[2]) else "the references"
        return f"{who} expects {what} less than {whom} does: {measure} is {first} against {second}, {change}"
    return f"{who} falls behind {whom} on {measure}: {first} against {second}, {change}"


def _size(item: Held) -> str:
    return item.limits.amount(item.fall or 0.0) if item.limits.relative else number(item.fall or 0.0)


def _how_sure(comparison: Comparison, corrected: float, family: int) -> str:
    p = "p < 0.001" if corrected < 0.001 else f"p = {corrected:.3f}"
    among = f" after correction for {family} comparisons" if family > 1 else ""
    low, high = comparison.low or 0.0, comparison.high or 0.0
    interval = f"difference {comparison.delta:+.3f}, 95% interval {low:+.3f} to {high:+.3f}"
    return f"{interval}, n = {comparison.n}, {p}{among}"


def _more_examples(comparison: Comparison) -> str:
    detectable, delta = comparison.smallest_detectable, comparison.delta
    if detectable is None or not delta:
        return "More examples would settle it."
    needed = math.ceil(comparison.n * (detectable / delta) ** 2)
    if needed <= comparison.n:
        return "A few more examples would settle it."
    return f"About {needed} examples would settle a difference of this size."


def _not_compared(item: Held) -> str:
    comparison = item.comparison
    values = ", ".join(
        f"{name} has {'no value' if value is None else number(value)}"
        for name, value in (
            (comparison.candidate, comparison.candidate_value),
            (comparison.baseline, comparison.baseline_value),
        )
    )
    reason = f": {comparison.reason}" if comparison.reason else ""
    pair = f"{comparison.candidate} could not be compared with {comparison.baseline}"
    return f"{pair} on {comparison.measure}{reason} ({values}). Whether it fell is unknown."


def _made(item: Held, severity: Severity, message: str, corrected: float | None) -> Alert:
    comparison = item.comparison
    return Alert(
        severity,
        item.kind,
        comparison.candidate,
        comparison.baseline,
        comparison.measure,
        message,
        evidence(comparison, corrected),
    )


def surprises(comparisons: Iterable[Comparison]) -> list[Comparison]:
    """For each pair of models its perplexities, or its bits per byte where the perplexities don't compare.

    Those of the references, and those of each corpus ("perplexity:general").
    """
    chosen: dict[tuple[str, str, str], Comparison] = {}
    for comparison in comparisons:
        measure, _, corpus = comparison.measure.partition(":")
        pair = (comparison.candidate, comparison.baseline, corpus)
        if measure == "perplexity":
            if comparison.delta is not None or pair not in chosen:
                chosen[pair] = comparison
        elif measure == "bits_per_byte" and (
            pair not in chosen or (chosen[pair].delta is None and comparison.delta is not None)
        ):
            chosen[pair] = comparison
    return list(chosen.values())
