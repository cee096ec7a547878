"""When a candidate that fell behind a baseline raises an alert, how severe it is, and what it says.

A drop beyond its limit is critical or a warning only when the comparison's ruling rules chance out. Otherwise
it is a note that says how many examples would settle it. A limit adds severity, and never another test.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from engine.compare.comparison import Comparison
from engine.compare.ruling import Ruling
from engine.gates.checked import CheckedComparison, ExceededLimit
from store.records.alert import Alert, ComparisonEvidence, Severity

_ROUNDING = 1e-9  # 0.80 - 0.75 is a drop of 0.05, not of more


def alerts_on(checked: Sequence[CheckedComparison]) -> list[Alert]:
    """The alerts on all checked comparisons, candidate by candidate, each by its ruling."""
    names = list(dict.fromkeys(item.comparison.candidate for item in checked))
    ordered = sorted(checked, key=lambda item: names.index(item.comparison.candidate))
    return [alert for item in ordered if (alert := _alert(item)) is not None]


def comparison_figures(comparison: Comparison) -> dict[str, Any]:
    """The fields of ComparisonEvidence that a comparison and its ruling fill."""
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
    ruling = exceeded.ruling
    if ruling.low is None or ruling.high is None:
        return f"{_finding(checked)}. No interval could be computed, so chance can't be ruled out. {limit}"
    sure = _how_sure(checked.comparison, ruling, ruling.low, ruling.high)
    if ruling.is_decided:
        return f"{_finding(checked)} ({sure}). {limit}"
    needs = f"needs about {ruling.needed:,} examples" if ruling.needed else "needs more examples"
    return (
        f"Inconclusive: {needs}. {_values(checked)}, {_change(checked)} that "
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


def _how_sure(comparison: Comparison, ruling: Ruling, low: float, high: float) -> str:
    p = ruling.p or 0.0
    sure = "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
    interval = f"difference {comparison.delta:+.3f}, 95% CI {low:+.3f} to {high:+.3f}"
    among = f", both corrected for {ruling.size} comparisons" if ruling.size > 1 else ""
    return f"{interval}, {_counted(comparison)}, {sure}{among}"


def _counted(comparison: Comparison) -> str:
    return f"n = {comparison.n}" if comparison.n else "an unknown n"


def number(value: float) -> str:
    """A value as alerts print it: three decimals, or four figures where it is large."""
    return f"{value:.3f}" if abs(value) < 1000 else f"{value:.4g}"
