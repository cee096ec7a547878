"""Slow degradation: a measure that drops from run to run, each step too small for any gate."""

from collections.abc import Sequence
from dataclasses import dataclass

from engine.gates.drops import number
from engine.stats.family import holm
from engine.stats.trend import Trend, mann_kendall
from store.records.alert import Alert, DowntrendEvidence, Severity

SHORTEST = 8  # runs: fewer can't be told from chance among several measures
LEVEL = 0.002  # stricter than a single comparison's, since every new run looks again
_MATERIAL = 1 / 3  # of the gate: a smaller decline is not worth an alert


@dataclass(frozen=True, slots=True)
class MeasureSeries:
    """One candidate's values of a measure over comparable runs, oldest first.

    `limit` is the drop that the gate allows at once, in the measure's unit; `lower`: less is better.
    """

    candidate: str
    measure: str
    lower: bool
    limit: float
    values: tuple[float, ...]
    runs: tuple[int, ...]


def downtrend_alerts(series: Sequence[MeasureSeries]) -> list[Alert]:
    """A warning for each measure in decline; critical where it has lost more than the gate allows at once.

    By the Mann-Kendall test with the Theil-Sen slope; p is corrected over a candidate's measures (Holm) and
    for the dependence of neighbouring runs.
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
            _alert(item, trend, p, len(tested))
            for (item, trend), p in zip(tested, corrected, strict=True)
            if p <= LEVEL and _drop(item, trend) > _MATERIAL * item.limit
        ]
    return alerts


def _drop(item: MeasureSeries, trend: Trend) -> float:
    return trend.change if item.lower else -trend.change


def _alert(item: MeasureSeries, trend: Trend, p: float, family: int) -> Alert:
    drop, steps = _drop(item, trend), trend.n - 1
    severity: Severity = "critical" if drop > item.limit else "warning"
    first, last = item.values[0], item.values[-1]
    sure = "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
    among = f" after correction for {family} measures" if family > 1 else ""
    low, high = sorted((trend.low * steps, trend.high * steps))
    message = (
        f"{item.measure} of {item.candidate} has been getting worse over {trend.n} runs, from "
        f"{number(first)} in run {item.runs[0]} to {number(last)} now: about {abs(trend.slope):.2g} a run, "
        f"{number(drop)} in all (change {trend.change:+.3f}, 95% CI {low:+.3f} to {high:+.3f}; "
        f"Mann-Kendall {sure}{among}). "
        f"At once the plan allows {number(item.limit)}."
    )
    if trend.is_dependent:
        message += " Neighbouring runs are correlated; p allows for it."
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
