"""What an alert is, and what it takes to pass."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from engine.compare.comparison import Comparison

Severity = Literal["critical", "warning", "note"]
AlertKind = Literal[
    "win_rate",
    "metric_drop",
    "benchmark_drop",
    "perplexity_rise",
    "format",
    "adapter_no_effect",
    "judge_failures",
    "leakage",
    "nothing_measured",
    "slice_drop",
    "disparity",
    "judge_fooled",
    "self_preference",
    "suspicion",
    "length_drift",
    "latency_drift",
    "refusal_drift",
    "judge_inconsistency",
    "judge_agreement",
    "slow_decline",
]


@dataclass(frozen=True, slots=True)
class Alert:
    """A gate or check that tripped, with the numbers behind it; `evidence` goes into JSON as it is."""

    severity: Severity
    kind: AlertKind
    candidate: str
    baseline: str | None
    measure: str
    message: str
    evidence: dict[str, Any] = field(default_factory=dict)


def passed(alerts: Iterable[Alert], candidate: str) -> bool:
    """Whether nothing critical stands against the candidate."""
    return not any(alert.severity == "critical" and alert.candidate == candidate for alert in alerts)


def unmeasured_alerts(
    candidates: Sequence[str], comparisons: Collection[Comparison], judged: Collection[str]
) -> list[Alert]:
    """Candidates of which nothing is known, critical: no measure has a difference, no judge a win rate.

    Gates that had nothing to look at have not been met. `judged` are the candidates that have a win rate.
    """
    measured = {item.candidate for item in comparisons if item.delta is not None} | set(judged)
    return [
        Alert(
            "critical",
            "nothing_measured",
            candidate,
            None,
            "all measures",
            f"Nothing could be measured of {candidate} against any baseline, so it has not passed. "
            "The scores say why each value is missing.",
        )
        for candidate in candidates
        if candidate not in measured
    ]
