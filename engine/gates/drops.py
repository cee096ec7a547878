"""Alerts on drops behind baselines beyond a limit, and on slow declines from run to run.

A drop is critical or a warning only where the comparison's ruling rules chance out. Else it is a note with
the number of examples needed. A limit adds severity, never another test.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

from engine.compare.comparison import Comparison
from engine.compare.forgetting import DROP
from engine.compare.ruling import Ruling
from engine.compare.slices import Slice, is_checked
from engine.metrics.metric import Measure
from engine.plan.plan import Gates
from engine.stats.family import holm
from engine.stats.trend import Trend, mann_kendall
from store.read.query import by_key
from store.read.rows import AlertRow
from store.read.slices import PERTURBED
from store.records.alert import Alert, ComparisonEvidence, DowntrendEvidence, Severity, SliceEvidence


@dataclass(frozen=True, slots=True)
class DropLimits:
    """The largest drop allowed, and the largest without a warning; None: no limit.

    In the measure's unit, or as a share of the baseline's value when `relative`.
    """

    critical: float | None
    warning: float | None
    relative: bool

    def amount(self, value: float) -> str:
        if self.relative:
            return f"{100 * value:,.0f}%" if abs(value) >= 10 else f"{100 * value:.3g}%"
        return f"{value:.3f}".rstrip("0").rstrip(".")

    def said(self, severity: Severity) -> str:
        if self.critical is None:
            return f"The plan warns above {self.amount(self.warning or 0.0)}."
        if severity == "warning" and self.warning is not None:
            warning, critical = self.amount(self.warning), self.amount(self.critical)
            return f"The plan warns above {warning} and fails above {critical}."
        return f"The plan allows at most {self.amount(self.critical)}."


@dataclass(frozen=True, slots=True)
class CheckedComparison:
    """A comparison checked against the limits of a gate.

    `way` is what counts as a drop: "worse" by the measure's direction, "more" for a value that should not
    rise, "either" for a drift without a better end. Without an interval a drop is a warning, or a note where
    the plan did not ask for this limit (`asked` False). `ends` bound the measure's range; None: open.
    """

    kind: str
    comparison: Comparison
    limits: DropLimits
    way: Literal["worse", "more", "either"] = "worse"
    asked: bool = True
    ends: tuple[float | None, float | None] = (None, None)

    @property
    def drop(self) -> float | None:
        """How much worse the candidate is, in the limits' terms; None if not comparable."""
        worsening = self._worsening
        if worsening is None or not self.limits.relative:
            return worsening
        baseline = abs(self.comparison.baseline_value or 0.0)
        if baseline == 0:
            return math.copysign(math.inf, worsening) if worsening else 0.0
        return worsening / baseline

    @property
    def limit(self) -> float:
        """The limit that decides, in the measure's unit."""
        limits = self.limits
        limit = limits.critical if limits.critical is not None else limits.warning or 0.0
        return limit * abs(self.comparison.baseline_value or 0.0) if limits.relative else limit

    @property
    def allowed(self) -> float | None:
        """The largest worsening within the limit, in the measure's unit; None for drifts."""
        return self.limit if self.way == "worse" and self.asked else None

    @property
    def ruling(self) -> Ruling:
        if self.comparison.ruling is None:
            raise ValueError(f"no ruling on {self.comparison.measure}")
        return self.comparison.ruling

    @property
    def _worsening(self) -> float | None:
        delta = self.comparison.delta
        if delta is None or self.way == "worse":
            return self.comparison.worsening
        return abs(delta) if self.way == "either" else delta


@dataclass(frozen=True, slots=True)
class ExceededLimit:
    """A checked comparison that dropped beyond a limit."""

    checked: CheckedComparison
    severity: Severity  # of the limit

    @property
    def ruling(self) -> Ruling:
        return self.checked.ruling


ROUNDING = 1e-9  # 0.80 - 0.75 is a drop of 0.05, not of more


def alerts_on(checked: Sequence[CheckedComparison]) -> list[Alert]:
    """The alerts on all checked comparisons, candidate by candidate, each by its ruling."""
    names = list(dict.fromkeys(item.comparison.candidate for item in checked))
    ordered = sorted(checked, key=lambda item: names.index(item.comparison.candidate))
    return [alert for item in ordered if (alert := _alert(item)) is not None]


def comparison_figures(comparison: Comparison) -> dict[str, Any]:
    """The ComparisonEvidence of a comparison and its ruling."""
    ruling = comparison.ruling
    return {
        "candidate_value": comparison.candidate_value,
        "baseline_value": comparison.baseline_value,
        "delta": comparison.delta,
        "low": comparison.low,
        "high": comparison.high,
        "p": comparison.p,
        "p_corrected": ruling.p if ruling else None,
        "low_corrected": ruling.low if ruling else None,
        "high_corrected": ruling.high if ruling else None,
        "family": ruling.size if ruling and ruling.low is not None else None,
        "needed": ruling.needed if ruling else None,
        "n": comparison.n,
        "smallest_detectable": comparison.smallest_detectable,
        "reason": comparison.reason,
        "example_ids": comparison.worst,
    }


def _alert(item: CheckedComparison) -> Alert | None:
    comparison = item.comparison
    if comparison.delta is None:
        severity: Severity = "warning" if item.asked and item.kind != "perplexity_rise" else "note"
        gap = ComparisonEvidence(**comparison_figures(comparison))
        return _made(item, severity, _not_compared(comparison), gap) if _is_gap(item) else None
    severity_of_limit = _exceeded(item)
    if severity_of_limit is None:
        return None
    exceeded = ExceededLimit(item, severity_of_limit)
    found = ComparisonEvidence(**comparison_figures(comparison), limit=item.limit)
    if item.ruling.low is None:
        return _made(item, "warning" if item.asked else "note", _message(exceeded), found)
    return _made(item, severity_of_limit if item.ruling.is_decided else "note", _message(exceeded), found)


def _exceeded(item: CheckedComparison) -> Severity | None:
    drop, limits = item.drop, item.limits
    if drop is None:
        return None
    if limits.critical is not None and drop > limits.critical + ROUNDING:
        return "critical"
    if limits.warning is not None and drop > limits.warning + ROUNDING:
        return "warning"
    return None


def _is_gap(item: CheckedComparison) -> bool:
    """Whether a missing delta is worth an alert: for a benchmark, or where one value is known."""
    comparison = item.comparison
    if not item.asked:
        return False
    sides = (comparison.candidate_value, comparison.baseline_value)
    return item.kind == "benchmark_drop" or any(side is not None for side in sides)


def _made(item: CheckedComparison, severity: Severity, message: str, found: ComparisonEvidence) -> Alert:
    comparison = item.comparison
    return Alert(
        severity, item.kind, comparison.candidate, comparison.baseline, comparison.measure, message, found
    )


def surprises(comparisons: Iterable[Comparison]) -> list[Comparison]:
    """Perplexities of the references and of each corpus; bits per byte where those aren't comparable."""
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


def _message(exceeded: ExceededLimit) -> str:
    """The whole message on a drop beyond a limit."""
    checked, limit = exceeded.checked, exceeded.checked.limits.said(exceeded.severity)
    ruling = exceeded.ruling
    if ruling.low is None or ruling.high is None:
        return f"{_finding(checked)}. No interval could be computed, so it may be chance. {limit}"
    sure = _how_sure(checked.comparison, ruling, ruling.low, ruling.high)
    if ruling.is_decided:
        return f"{_finding(checked)} ({sure}). {limit}"
    needs = f"needs about {ruling.needed:,} examples" if ruling.needed else "needs more examples"
    return (
        f"Inconclusive: {needs}. {_values(checked)}, {_change(checked)} that "
        f"{_counted(checked.comparison)} cannot tell from noise ({sure}). {limit}"
    )


def _not_compared(comparison: Comparison) -> str:
    values = ", ".join(
        f"{name} has {'no value' if value is None else number(value)}"
        for name, value in (
            (comparison.candidate, comparison.candidate_value),
            (comparison.baseline, comparison.baseline_value),
        )
    )
    reason = f": {comparison.reason}" if comparison.reason else ""
    pair = f"{comparison.candidate} could not be compared with {comparison.baseline}"
    what = "loses more" if comparison.measure.startswith(DROP) else "fell"
    return f"{pair} on {comparison.measure}{reason} ({values}). Whether it {what} is unknown."


def _finding(checked: CheckedComparison) -> str:
    comparison, change = checked.comparison, _change(checked)
    first, second = number(comparison.candidate_value or 0.0), number(comparison.baseline_value or 0.0)
    who, whom, measure = comparison.candidate, comparison.baseline, comparison.measure
    if checked.kind == "benchmark_drop":
        return f"{who} has lost skills of {whom}: {measure} is {first} against {second}, {change}"
    if checked.kind == "perplexity_rise":
        what = f"the corpus {corpus}" if (corpus := measure.partition(":")[2]) else "the references"
        return f"{who} predicts {what} worse than {whom}: {measure} is {first} against {second}, {change}"
    if checked.kind == "robustness_drop":
        form = measure.removeprefix(DROP)
        return (
            f"{who} loses more than {whom} when questions are perturbed ({form}): {first} of its score "
            f"against {second}, {change}"
        )
    if checked.kind == "metric_drop":
        return f"{who} falls behind {whom} on {measure}: {first} against {second}, {change}"
    return f"{_values(checked)}, {change}"


def _values(checked: CheckedComparison) -> str:
    comparison = checked.comparison
    first, second = number(comparison.candidate_value or 0.0), number(comparison.baseline_value or 0.0)
    return (
        f"{comparison.measure} of {comparison.candidate} is {first} against {second} of {comparison.baseline}"
    )


def _change(checked: CheckedComparison) -> str:
    rose = (checked.comparison.delta or 0.0) > 0
    drop = checked.drop or 0.0
    size = checked.limits.amount(drop) if checked.limits.relative else number(drop)
    return f"a {'rise' if rose else 'drop'} of {size}"


def _how_sure(comparison: Comparison, ruling: Ruling, low: float, high: float) -> str:
    p = ruling.p or 0.0
    sure = "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
    interval = f"difference {comparison.delta:+.3f}, 95% CI {low:+.3f} to {high:+.3f}"
    among = f", both corrected for {ruling.size} comparisons" if ruling.size > 1 else ""
    return f"{interval}, {_counted(comparison)}, {sure}{among}"


def _counted(comparison: Comparison) -> str:
    return f"n = {comparison.n}" if comparison.n else "an unknown n"


def number(value: float) -> str:
    """Three decimals, or four figures for large values."""
    return f"{value:.3f}" if abs(value) < 1000 else f"{value:.4g}"


TOLD = 5  # alerts on slices for one candidate; the table of slices lists the others

Key = tuple[str, str, str]


def slice_alerts(
    slices: Sequence[Slice], overall: Iterable[Comparison], gates: Gates, measures: Mapping[str, Measure]
) -> list[Alert]:
    """Warnings on slices that dropped beyond the plan's warning limit while the mean did not.

    For measures from 0 to 1 where higher is better, and drops ruled "worse". A slice has one warning, on its
    largest drop; a candidate has TOLD at most.
    """
    fallen = {_key(item) for item in overall if item.ruling is not None and item.ruling.standing == "worse"}
    alerts = []
    for candidate in dict.fromkeys(item.comparison.candidate for item in slices):
        falls = [
            (item, ruling)
            for item in slices
            if item.comparison.candidate == candidate
            and not item.name.startswith(PERTURBED)  # which has a gate of its own
            and is_checked(measures[item.comparison.measure])
            and (ruling := item.comparison.ruling) is not None
            and ruling.standing == "worse"
            and (item.comparison.worsening or 0.0) > gates.warn_metric_drop
            and _key(item.comparison) not in fallen
        ]
        alerts += _told(falls)
    return alerts


def _told(falls: Sequence[tuple[Slice, Ruling]]) -> list[Alert]:
    """One warning for each slice and baseline, largest drops first; of equal ones the surest."""

    def order(fall: tuple[Slice, Ruling]) -> tuple[float, float, int, str, str]:
        item, ruling = fall
        compared = item.comparison
        return -(compared.worsening or 0.0), ruling.p or 0.0, -compared.n, item.name, compared.baseline

    by_slice = by_key(
        ((item.name, item.comparison.baseline), (item, ruling)) for item, ruling in sorted(falls, key=order)
    )
    groups = list(by_slice.values())
    left = len(groups) - TOLD
    return [
        _slice_drop_alert(
            *group[0], [item.comparison.measure for item, _ in group[1:]], left if place == TOLD else 0
        )
        for place, group in enumerate(groups[:TOLD], start=1)
    ]


def _key(comparison: Comparison) -> Key:
    return comparison.candidate, comparison.baseline, comparison.measure


def _slice_drop_alert(item: Slice, ruling: Ruling, others: Sequence[str], left: int) -> Alert:
    comparison, p = item.comparison, ruling.p or 0.0
    first, second = number(comparison.candidate_value or 0.0), number(comparison.baseline_value or 0.0)
    interval = f"95% CI {comparison.low or 0.0:+.3f} to {comparison.high or 0.0:+.3f}"
    sure = "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
    message = (
        f"{comparison.candidate} falls behind {comparison.baseline} on the slice “{item.name}”: "
        f"{comparison.measure} is {first} against {second} ({interval}, n = {comparison.n}, {sure} after "
        f"correction for {ruling.size} slices and measures). Over all examples it does not."
    )
    if others:
        message += f" So did {', '.join(others)}."
    if left > 0:
        message += f" {left} more slices dropped: see `s` in Compare, or --slices."
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


SHORTEST = 8  # runs: with fewer, nothing is significant among several measures
LEVEL = 0.002  # stricter than for one comparison, since every new run tests again
_MATERIAL = 1 / 3  # share of the gate's limit: smaller declines are not worth an alert


@dataclass(frozen=True, slots=True)
class MeasureSeries:
    """One candidate's values of a measure over comparable runs, oldest first.

    `limit` is the drop that the gate allows in one step, in the measure's unit; `lower`: less is better.
    """

    candidate: str
    measure: str
    lower: bool
    limit: float
    values: tuple[float, ...]
    runs: tuple[int, ...]


def downtrend_alerts(series: Sequence[MeasureSeries]) -> list[Alert]:
    """A warning for each measure in decline; critical where it lost more than the gate allows in one step.

    Mann-Kendall test and Theil-Sen slope; p is corrected over a candidate's measures (Holm) and for the
    correlation of neighbouring runs.
    """
    alerts = []
    for candidate in dict.fromkeys(item.candidate for item in series):
        tested = [
            (item, trend)
            for item in series
            if item.candidate == candidate
            and len(item.values) >= SHORTEST
            and (trend := mann_kendall(item.values)) is not None
        ]
        corrected = holm([trend.p_allowing for _, trend in tested])
        alerts += [
            _downtrend_alert(severity, item, trend, p, len(tested))
            for (item, trend), p in zip(tested, corrected, strict=True)
            if p <= LEVEL and (severity := _severity_of_decline(_drop(item, trend), item.limit)) is not None
        ]
    return alerts


def regraded_decline(alert: AlertRow, limit: float | None) -> Alert | None:
    """A slow decline under another limit of one step, in the measure's unit; None: no longer worth an alert.

    The same alert where the limit is not known, or an older store does not know how much was lost.
    """
    found = alert.evidence
    assert isinstance(found, DowntrendEvidence)
    severity = cast("Severity | None", alert.severity)
    message = alert.message
    if found.delta is not None and found.limit is not None and limit is not None:
        severity = _severity_of_decline(abs(found.delta), limit)
        message = message.replace(_allowed_in_one_step(found.limit), _allowed_in_one_step(limit))
        found = replace(found, limit=limit)
    if severity is None:
        return None
    return Alert(severity, alert.kind, alert.candidate, alert.baseline, alert.measure, message, found)


def _severity_of_decline(drop: float, limit: float) -> Severity | None:
    return "critical" if drop > limit else "warning" if drop > _MATERIAL * limit else None


def _allowed_in_one_step(limit: float) -> str:
    return f"The plan allows {number(limit)} in one step."


def _drop(item: MeasureSeries, trend: Trend) -> float:
    return trend.change if item.lower else -trend.change


def _downtrend_alert(severity: Severity, item: MeasureSeries, trend: Trend, p: float, family: int) -> Alert:
    drop, steps = _drop(item, trend), trend.n - 1
    first, last = item.values[0], item.values[-1]
    sure = "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
    among = f" after correction for {family} measures" if family > 1 else ""
    low, high = sorted((trend.low * steps, trend.high * steps))
    message = (
        f"{item.measure} of {item.candidate} has been getting worse over {trend.n} runs, from "
        f"{number(first)} in run {item.runs[0]} to {number(last)} now: about {abs(trend.slope):.2g} a run, "
        f"{number(drop)} in all (change {trend.change:+.3f}, 95% CI {low:+.3f} to {high:+.3f}; "
        f"Mann-Kendall {sure}{among}). {_allowed_in_one_step(item.limit)}"
    )
    if trend.is_dependent:
        message += " Neighbouring runs are correlated; p accounts for it."
    evidence = DowntrendEvidence(
        candidate_value=last,
        baseline_value=first,
        delta=trend.change,
        low=low,
        high=high,
        p=trend.p,
        p_corrected=p,
        n=trend.n,
        slope=trend.slope,
        autocorrelation=trend.autocorrelation,
        limit=item.limit,
        runs=item.runs,
        values=item.values,
    )
    return Alert(severity, "slow_decline", item.candidate, None, item.measure, message, evidence)
