"""Slow degradation: a measure that falls from run to run, each step too small for any gate."""

from collections.abc import Sequence
from dataclasses import dataclass

from engine.gates.alerts import Alert, Severity
from engine.gates.drop_words import number
from engine.stats.paired import holm
from engine.stats.trend import Trend, mann_kendall

SHORTEST = 8  # runs: fewer can't be told from chance among several measures
LEVEL = 0.002  # stricter than a single comparison's, since every new run looks again
_MATERIAL = 1 / 3  # of the gate: a decline that is certain but smaller is nobody's worry


@dataclass(frozen=True, slots=True)
class Series:
    """One candidate's values of a measure over comparable runs, oldest first.

    `limit` is the fall that the gate allows at once, in the measure's unit; `lower`: less is better.
    """

    candidate: str
    measure: str
    lower: bool
    limit: float
    values: tuple[float, ...]
    runs: tuple[int, ...]


def slow_declines(series: Sequence[Series]) -> list[Alert]:
    """A warning for each measure in decline; critical where it has lost more than the gate allows at once.

    By the Mann-Kendall test with the Theil-Sen slope; p is corrected over a candidate's measures (Holm) and
    for runs that hang together.
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
            if p <= LEVEL and _fall(item, trend) > _MATERIAL * item.limit
        ]
    return alerts


def _fall(item: Series, trend: Trend) -> float:
    return trend.change if item.lower else -trend.change


def _alert(item: Series, trend: Trend, p: float, family: int) -> Alert:
    fall, steps = _fall(item, trend), trend.n - 1
    severity: Severity = "critical" if fall > item.limit else "warning"
    first, last = item.values[0], item.values[-1]
    sure = "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
    among = f" after correction for {family} measures" if family > 1 else ""
    low, high = sorted((trend.low * steps, trend.high * steps))
    message = (
        f"{item.measure} of {item.candidate} has been getting worse over {trend.n} runs, from "
        f"{number(first)} in run {item.runs[0]} to {number(last)} now: about {abs(trend.slope):.2g} a run, "
        f"{number(fall)} in all (change {trend.change:+.3f}, 95% interval {low:+.3f} to {high:+.3f}; "
        f"Mann-Kendall {sure}{among}). "
        f"At once the plan allows {number(item.limit)}."
    )
    if trend.is_dependent:
        message += " Neighbouring runs hang together, which p allows for."
    evidence = {
        "candidate_value": last,
        "baseline_value": first,
        "delta": trend.change,
        "low": low,
        "high": high,
        "p": trend.p,
        "p_corrected": p,
        "n": trend.n,
        "slope": trend.slope,
        "autocorrelation": trend.autocorrelation,
        "limit": item.limit,
        "runs": list(item.runs),
        "values": list(item.values),
    }
    return Alert(severity, "slow_decline", item.candidate, None, item.measure, message, evidence)
