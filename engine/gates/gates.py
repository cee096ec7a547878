"""The plan's thresholds and the standing checks, turned into alerts.

What a gate needs and could not be computed never passes in silence: it is critical where the plan sets the
threshold itself (win rate, format compliance).
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from engine.gates.alerts import Alert, passed
from engine.gates.judges import Verdicts, inconsistency_alerts, judge_alerts, win_rate_alerts
from engine.gates.measures import benchmark_alerts, fall_alerts, metric_alerts
from engine.plan.plan import Gates

__all__ = [
    "Alert",
    "Effect",
    "Standing",
    "Verdicts",
    "benchmark_alerts",
    "fall_alerts",
    "format_alerts",
    "inconsistency_alerts",
    "judge_alerts",
    "metric_alerts",
    "passed",
    "probe_alerts",
    "win_rate_alerts",
]

NO_EFFECT = 1e-6  # logits no further apart than this are the same logits


@dataclass(frozen=True, slots=True)
class Standing:
    """A candidate's format compliance, 0 to 1, over n responses; `reason` says why it is missing."""

    candidate: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Effect:
    """How far an adapter moves the logits of its base: the largest difference over so many prompts."""

    candidate: str
    max_difference: float
    prompts: int


def format_alerts(standings: Sequence[Standing], gates: Gates, candidates: Sequence[str]) -> list[Alert]:
    """Format compliance under the plan's minimum; a missing one is critical."""
    minimum = gates.min_format_compliance
    if minimum is None:
        return []
    unknown = [
        Standing(candidate, None, None, None, 0, "it was not measured")
        for candidate in candidates
        if candidate not in {standing.candidate for standing in standings}
    ]
    alerts = [_format_alert(standing, minimum) for standing in [*standings, *unknown]]
    return [alert for alert in alerts if alert is not None]


def probe_alerts(effects: Sequence[Effect]) -> list[Alert]:
    """Adapters that leave their base as it was, or break it: their scores would be the base's, or noise."""
    alerts = []
    for effect in effects:
        largest = effect.max_difference
        # NaN fails this comparison, as it should.
        if effect.prompts and NO_EFFECT < largest < math.inf:
            continue
        alerts.append(
            Alert(
                "critical",
                "adapter_no_effect",
                effect.candidate,
                None,
                "logits",
                _probe_message(effect),
                {"max_difference": largest if math.isfinite(largest) else None, "n": effect.prompts},
            )
        )
    return alerts


def _format_alert(standing: Standing, minimum: float) -> Alert | None:
    if standing.value is None:
        why = standing.reason or "no response could be checked"
        message = f"The format compliance of {standing.candidate} could not be computed: {why}."
    elif standing.value < minimum:
        message = (
            f"{standing.value:.1%} of the responses of {standing.candidate} have the right form "
            f"({_range(standing.low, standing.high)}n = {standing.n})."
        )
    else:
        return None
    return Alert(
        "critical",
        "format",
        standing.candidate,
        None,
        "format_compliance",
        f"{message} The plan asks for {minimum:.1%}.",
        asdict(standing),
    )


def _range(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"95% interval {low:.1%} to {high:.1%}, "


def _probe_message(effect: Effect) -> str:
    if not effect.prompts:
        return f"Whether the adapter of {effect.candidate} does anything is unknown: no prompt was tried."
    if effect.max_difference <= NO_EFFECT:
        return (
            f"The adapter of {effect.candidate} has no effect: over {effect.prompts} prompts its logits "
            f"equal the base's (largest difference {effect.max_difference:.3g}). Its scores are the base's. "
            "Was it trained, saved, and loaded from the right folder?"
        )
    return (
        f"The adapter of {effect.candidate} breaks the model: over {effect.prompts} prompts some logits are "
        "no finite numbers. Was it trained in a precision that overflowed?"
    )
