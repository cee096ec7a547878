"""When a candidate that fell behind a baseline raises an alert, how severe it is, and what it says.

A drop beyond its limit is critical or a warning only when it is settled: its interval leaves out 0 and its
p-value is small, both corrected (Holm 1979) over everything that is checked of the candidate at
once. Otherwise it is a note that says how many examples would settle it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from engine.compare.comparison import Comparison
from engine.gates.checked import CheckedComparison, ExceededLimit
from engine.stats.family import LEVEL, Look, examples_needed, looks
from store.records.alert import Alert, ComparisonEvidence, Severity

SIGNIFICANT = LEVEL
_ROUNDING = 1e-9  # 0.80 - 0.75 is a drop of 0.05, not of more


def alerts_on(checked: Sequence[CheckedComparison]) -> list[Alert]:
    """The alerts on all checked comparisons; each candidate's comparisons are one family of tests."""
    alerts = []
    for candidate in dict.fromkeys(item.comparison.candidate for item in checked):
        family = [item for item in checked if item.comparison.candidate == candidate]
        tested = [item for item in family if _has_interval(item.comparison)]
        seen = looks([item.comparison for item in tested])
        corrected = {id(item): look.within(item.reach) for item, look in zip(tested, seen, strict=True)}
        alerts += [alert for item in family if (alert := _alert(item, corrected.get(id(item)))) is not None]
    return alerts


def comparison_figures(comparison: Comparison, corrected: float | None = None) -> dict[str, Any]:
    """The fields of ComparisonEvidence that a comparison fills."""
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
        "example_ids": comparison.worst,
    }


def _alert(item: CheckedComparison, look: Look | None) -> Alert | None:
    comparison = item.comparison
    if comparison.delta is None:
        severity: Severity = "warning" if item.asked and item.kind != "perplexity_rise" else "note"
        gap = ComparisonEvidence(**comparison_figures(comparison))
        return _made(item, severity, _not_compared(comparison), gap) if _is_gap(item) else None
    severity_of_limit = _exceeded(item)
    if severity_of_limit is None:
        return None
    needed = None if look is None else examples_needed(comparison, look.among)
    exceeded = ExceededLimit(item, severity_of_limit, look, needed)
    found = ComparisonEvidence(
        **comparison_figures(comparison, look.p if look else None),
        limit=item.limit,
        low_corrected=look.low if look else None,
        high_corrected=look.high if look else None,
        family=look.family if look else None,
    )
    if look is None:
        return _made(item, "warning" if item.asked else "note", _message(exceeded), found)
    if exceeded.is_settled:
        return _made(item, severity_of_limit, _message(exceeded), found)
    return _made(item, "note", _message(exceeded), replace(found, needed=needed))


def _has_interval(comparison: Comparison) -> bool:
    return None not in (comparison.p, comparison.low, comparison.high)


def _exceeded(item: CheckedComparison) -> Severity | None:
    drop, limits = item.drop, item.limits
    if drop is None:
        return None
    if limits.critical is not None and drop > limits.critical + _ROUNDING:
        return "critical"
    if limits.warning is not None and drop > limits.warning + _ROUNDING:
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


def _message(exceeded: ExceededLimit) -> str:
    """The whole message on a drop beyond a limit."""
    checked, limit = exceeded.checked, exceeded.checked.limits.said(exceeded.severity)
    if exceeded.look is None:
        return f"{_finding(checked)}. No interval could be computed, so chance can't be ruled out. {limit}"
    sure = _how_sure(checked.comparison, exceeded.look)
    if exceeded.is_settled:
        return f"{_finding(checked)} ({sure}). {limit}"
    needs = f"needs about {exceeded.needed:,} examples" if exceeded.needed else "needs more examples"
    return (
        f"Not settled: {needs}. {_values(checked)}, {_change(checked)} that "
        f"{_counted(checked.comparison)} cannot tell from noise ({sure}). {limit}"
    )


def _not_compared(comparison: Comparison) -> str:
    """The message where the two sides gave no difference."""
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


def _finding(checked: CheckedComparison) -> str:
    comparison, change = checked.comparison, _change(checked)
    first, second = number(comparison.candidate_value or 0.0), number(comparison.baseline_value or 0.0)
    who, whom, measure = comparison.candidate, comparison.baseline, comparison.measure
    if checked.kind == "benchmark_drop":
        return (
            f"{who} has forgotten some of what {whom} can do: {measure} is {first} against {second}, {change}"
        )
    if checked.kind == "perplexity_rise":
        what = f"the corpus {corpus}" if (corpus := measure.partition(":")[2]) else "the references"
        return f"{who} expects {what} less than {whom} does: {measure} is {first} against {second}, {change}"
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


def _how_sure(comparison: Comparison, look: Look) -> str:
    p = "p < 0.001" if look.p < 0.001 else f"p = {look.p:.3f}"
    interval = f"difference {comparison.delta:+.3f}, 95% CI {look.low:+.3f} to {look.high:+.3f}"
    among = f", both corrected for {look.family} comparisons" if look.family > 1 else ""
    return f"{interval}, {_counted(comparison)}, {p}{among}"


def _counted(comparison: Comparison) -> str:
    return f"n = {comparison.n}" if comparison.n else "an unknown n"


def number(value: float) -> str:
    """A value as alerts print it: three decimals, or four figures where it is large."""
    return f"{value:.3f}" if abs(value) < 1000 else f"{value:.4g}"
