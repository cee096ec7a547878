"""When a candidate that fell behind a baseline raises an alert, and how severe it is.

A fall beyond its limit is critical or a warning only when it is settled: its interval leaves out 0 and its
p-value is small, both corrected (Holm 1979) over everything that the candidate is held to at once. Else it is
a note that says how many examples would settle it.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from engine.compare.comparison import Comparison
from engine.gates.alerts import Alert, Severity
from engine.gates.checked import Held as Held
from engine.gates.checked import Limits as Limits
from engine.gates.checked import Ruling
from engine.gates.drop_words import not_compared, told
from engine.gates.drop_words import number as number
from engine.stats.family import LEVEL, Look, examples_needed, looks

SIGNIFICANT = LEVEL
_ROUNDING = 1e-9  # 0.80 - 0.75 is a fall of 0.05, not of more


def alerts_on(held: Sequence[Held]) -> list[Alert]:
    """The alerts on all comparisons held, each candidate's being one family of tests."""
    alerts = []
    for candidate in dict.fromkeys(item.comparison.candidate for item in held):
        family = [item for item in held if item.comparison.candidate == candidate]
        tested = [item for item in family if _has_interval(item.comparison)]
        seen = looks([item.comparison for item in tested])
        corrected = {id(item): look.within(item.reach) for item, look in zip(tested, seen, strict=True)}
        alerts += [alert for item in family if (alert := _alert(item, corrected.get(id(item)))) is not None]
    return alerts


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


def _alert(item: Held, look: Look | None) -> Alert | None:
    comparison = item.comparison
    if comparison.delta is None:
        severity: Severity = "warning" if item.asked and item.kind != "perplexity_rise" else "note"
        return (
            _made(item, severity, not_compared(comparison), evidence(comparison)) if _is_gap(item) else None
        )
    passed = _limit_passed(item)
    if passed is None:
        return None
    needed = None if look is None else examples_needed(comparison, look.among)
    ruling = Ruling(item, passed, look, needed)
    found = evidence(comparison, look.p if look else None) | {"limit": item.limit}
    if look is None:
        return _made(item, "warning" if item.asked else "note", told(ruling), found)
    found |= {"low_corrected": look.low, "high_corrected": look.high, "family": look.family}
    if ruling.is_settled:
        return _made(item, passed, told(ruling), found)
    return _made(item, "note", told(ruling), found | {"needed": needed})


def _has_interval(comparison: Comparison) -> bool:
    return None not in (comparison.p, comparison.low, comparison.high)


def _limit_passed(item: Held) -> Severity | None:
    fall, limits = item.fall, item.limits
    if fall is None:
        return None
    if limits.critical is not None and fall > limits.critical + _ROUNDING:
        return "critical"
    if limits.warning is not None and fall > limits.warning + _ROUNDING:
        return "warning"
    return None


def _is_gap(item: Held) -> bool:
    """Whether a missing delta is worth a word: a benchmark was asked for, a metric has one side at least."""
    comparison = item.comparison
    if not item.asked:
        return False
    sides = (comparison.candidate_value, comparison.baseline_value)
    return item.kind == "benchmark_drop" or any(side is not None for side in sides)


def _made(item: Held, severity: Severity, message: str, found: dict[str, Any]) -> Alert:
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
