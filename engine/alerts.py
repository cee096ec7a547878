"""What an alert is, and what it takes to pass."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

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
