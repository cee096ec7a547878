"""The plan's thresholds and the standing checks, turned into alerts.

What a gate needs and could not be computed never passes in silence: it is critical where the plan sets the
threshold itself (win rate, format compliance).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from engine.alerts import Alert, Severity, passed
from engine.comparison import Comparison
from engine.falls import Held, Limits, alerts_on, surprises
from engine.metrics.metric import Measure
from engine.plan import Gates
from engine.stats.winrate import WinRate

__all__ = [
    "Alert",
    "Effect",
    "Standing",
    "Verdicts",
    "benchmark_alerts",
    "format_alerts",
    "judge_alerts",
    "leakage_alerts",
    "metric_alerts",
    "passed",
    "probe_alerts",
    "win_rate_alerts",
]

NO_EFFECT = 1e-6  # logits no further apart than this are the same logits


@dataclass(frozen=True, slots=True)
class Verdicts:
    """One judge's verdicts on a candidate against a baseline; `reason` says why the rate is missing."""

    judge: str
    candidate: str
    baseline: str
    rate: WinRate
    reason: str | None = None


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


def metric_alerts(
    comparisons: Sequence[Comparison], gates: Gates, measures: Mapping[str, Measure]
) -> list[Alert]:
    """Drops on measures from 0 to 1 where higher is better, and rises in perplexity.

    Where the perplexities of two models do not compare, their bits per byte do in its place. Lengths,
    latencies and whatever else has no better side or no bounds raise nothing.
    """
    limits = Limits(gates.max_metric_drop, gates.warn_metric_drop, relative=False)
    rise = Limits(gates.max_perplexity_rise, None, relative=True)
    drops = [item for item in comparisons if _is_bounded(measures[item.measure])]
    return alerts_on(
        [
            *(Held("metric_drop", comparison, limits) for comparison in drops),
            *(Held("perplexity_rise", comparison, rise) for comparison in surprises(comparisons)),
        ]
    )


def benchmark_alerts(comparisons: Sequence[Comparison], gates: Gates) -> list[Alert]:
    """Forgetting: drops on benchmarks, absolute for scores from 0 to 1, else relative to the baseline's."""
    return alerts_on(
        [
            Held(
                "benchmark_drop",
                comparison,
                Limits(gates.max_benchmark_drop, gates.warn_benchmark_drop, not _are_fractions(comparison)),
            )
            for comparison in comparisons
        ]
    )


def win_rate_alerts(verdicts: Sequence[Verdicts], gates: Gates, candidates: Sequence[str]) -> list[Alert]:
    """Win rates under the plan's minimum, for each judge and baseline; a missing one is critical."""
    minimum = gates.min_win_rate
    if minimum is None:
        return []
    alerts = [_win_rate_alert(item, minimum) for item in verdicts]
    judged = {item.candidate for item in verdicts}
    alerts += [
        Alert(
            "critical",
            "win_rate",
            candidate,
            None,
            "win_rate",
            f"The win rate of {candidate} could not be computed: nothing was judged. "
            f"The plan asks for {minimum:.1%}.",
        )
        for candidate in candidates
        if candidate not in judged
    ]
    return [alert for alert in alerts if alert is not None]


def judge_alerts(verdicts: Sequence[Verdicts], gates: Gates) -> list[Alert]:
    """Judges of which too many judgments failed; critical where the plan decides by the win rate."""
    severity: Severity = "warning" if gates.min_win_rate is None else "critical"
    alerts = []
    for item in verdicts:
        failed, total = item.rate.failed, _total(item.rate)
        if not total or failed / total <= gates.max_judge_failures:
            continue
        message = (
            f"{failed} of {total} verdicts of {item.judge} on {item.candidate} against {item.baseline} "
            f"failed ({failed / total:.1%}); the plan allows {gates.max_judge_failures:.1%}. "
            "The win rate rests on the others alone."
        )
        alerts.append(
            Alert(
                severity,
                "judge_failures",
                item.candidate,
                item.baseline,
                "win_rate",
                message,
                {"judge": item.judge, **asdict(item.rate), "n": total},
            )
        )
    return alerts


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


def leakage_alerts(candidates: Sequence[str], leaked: Sequence[str], examples: int) -> list[Alert]:
    """A warning for each candidate when examples (their ids) stand in the training data too."""
    if not leaked:
        return []
    message = (
        f"{len(leaked)} of {examples} examples also stand in the training data. On these a good score of "
        "{candidate} shows memory, not skill: take them out of one of the two."
    )
    return [
        Alert(
            "warning",
            "leakage",
            candidate,
            None,
            "examples",
            message.replace("{candidate}", candidate),
            {"n": examples, "leaked": len(leaked), "example_ids": list(leaked)},
        )
        for candidate in candidates
    ]


def _is_bounded(measure: Measure) -> bool:
    return (measure.direction, measure.low, measure.high) == ("higher", 0.0, 1.0)


def _are_fractions(comparison: Comparison) -> bool:
    values = (comparison.candidate_value, comparison.baseline_value)
    return all(value is None or 0 <= value <= 1 for value in values)


def _total(rate: WinRate) -> int:
    return rate.wins + rate.losses + rate.ties + rate.failed


def _win_rate_alert(item: Verdicts, minimum: float) -> Alert | None:
    rate = item.rate
    against = f"{item.candidate} against {item.baseline}, judged by {item.judge}"
    counts = f"{rate.wins} wins, {rate.losses} losses, {rate.ties} ties, {rate.failed} failed"
    severity: Severity
    if rate.win_rate is None:
        severity = "critical"
        why = item.reason or f"no judgment succeeded ({counts})"
        message = f"The win rate of {against}, could not be computed: {why}. The plan asks for {minimum:.1%}."
    else:
        said = f"{against}: win rate {rate.win_rate:.1%} ({_range(rate.low, rate.high)}{counts})"
        if rate.win_rate < minimum:
            severity = "critical"
            message = f"{said}, under the {minimum:.1%} that the plan asks for."
            if rate.high is not None and rate.high >= minimum:
                message += " The interval reaches the minimum: more examples could still show it met."
        elif rate.low is not None and rate.low < minimum:
            severity = "note"
            message = (
                f"{said} meets the {minimum:.1%} that the plan asks for, but its interval reaches below."
            )
        else:
            return None
    return Alert(
        severity,
        "win_rate",
        item.candidate,
        item.baseline,
        "win_rate",
        message,
        {"judge": item.judge, **asdict(rate), "n": _total(rate) - rate.failed, "reason": item.reason},
    )


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
