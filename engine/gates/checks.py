"""Checks that every candidate must pass: something was measured, its adapter works, its format is right.

A gate whose figure could not be computed never passes in silence: it is critical.
"""

import math
import tomllib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from engine.compare.comparable import Incomparable, Side, paired_candidates
from engine.compare.comparison import Comparison
from engine.compare.runs import compare_pairs
from engine.errors import BadInput
from engine.gates.measures import drop_alerts, ruled
from engine.plan.plan import Gates
from store.read import history
from store.records.alert import Alert, FormatEvidence, ProbeEvidence, PromptEvidence


@dataclass(frozen=True, slots=True)
class RunComparison:
    """The newer run's candidates (in the place of the candidate) against the older run's (the baseline)."""

    older: int
    newer: int
    shared: int  # examples that both runs evaluated in the same words
    comparisons: list[Comparison]
    benchmarks: list[Comparison]
    alerts: list[Alert]
    incomparable: list[Incomparable]


def compare_runs(connection: history.Connection, older: int, newer: int) -> RunComparison:
    """Compares candidates of the same name, or the only candidate of each run.

    Drops beyond the newer run's gates become alerts. Raises StoreError for an unknown run, and BadInput when
    one run is compared with itself.
    """
    if older == newer:
        raise BadInput(
            f"run {older} was to be compared with itself", "name two runs; `assay runs` lists them"
        )
    sides = Side(connection, older), Side(connection, newer)
    pairs, unpaired = paired_candidates(*sides)
    found = compare_pairs(sides, pairs)
    gates = _gates(sides[1])
    # Judges' win rates are in no gate between runs, so they are ruled on with what no gate checks.
    every, benchmarks = ruled([*found.metrics, *found.rates], found.benchmarks, gates, found.measures)
    alerts = drop_alerts(every[: len(found.metrics)], benchmarks, gates, found.measures)
    incomparable = [*unpaired, *found.incomparable]
    return RunComparison(older, newer, found.shared, every, benchmarks, alerts, incomparable)


def _gates(side: Side) -> Gates:
    table = tomllib.loads(side.run.plan).get("gates", {})
    try:
        return Gates.model_validate(table)
    except ValidationError as error:
        raise BadInput(f"the gates of run {side.run.id} are not those of this Assay: {error}") from error


NO_EFFECT = 1e-6  # logits no further apart than this are the same logits


def passed(alerts: Iterable[Alert], candidate: str) -> bool:
    """Whether the candidate has no critical alert."""
    return not any(alert.severity == "critical" and alert.candidate == candidate for alert in alerts)


def unmeasured_alerts(
    candidates: Sequence[str], comparisons: Collection[Comparison], judged: Collection[str]
) -> list[Alert]:
    """Critical alerts on candidates without any difference from a baseline and without a win rate.

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


@dataclass(frozen=True, slots=True)
class ComplianceRate:
    """A candidate's format compliance, 0 to 1, over n responses; `reason` says why it is missing."""

    candidate: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class AdapterEffect:
    """The largest difference an adapter makes to its base's logits, over so many prompts."""

    candidate: str
    max_difference: float
    prompts: int


def format_alerts(
    compliances: Sequence[ComplianceRate], gates: Gates, candidates: Sequence[str]
) -> list[Alert]:
    """Format compliance under the plan's minimum; a missing one is critical."""
    minimum = gates.min_format_compliance
    if minimum is None:
        return []
    unknown = [
        ComplianceRate(candidate, None, None, None, 0, "it was not measured")
        for candidate in candidates
        if candidate not in {found.candidate for found in compliances}
    ]
    alerts = [_format_alert(found, minimum) for found in [*compliances, *unknown]]
    return [alert for alert in alerts if alert is not None]


def probe_alerts(effects: Sequence[AdapterEffect]) -> list[Alert]:
    """Critical alerts on adapters that do not change their base's logits, or break them."""
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
                ProbeEvidence(max_difference=largest if math.isfinite(largest) else None, n=effect.prompts),
            )
        )
    return alerts


def prompt_alerts(unread: Mapping[str, int], candidates: Sequence[str]) -> list[Alert]:
    """Critical alerts on system texts that models never read, by model; a baseline's concerns all candidates.

    A "prompted" model that its template does not prompt is the unprompted one under another name.
    """
    return [
        Alert(
            "critical",
            "unread_system",
            candidate,
            None if model == candidate else model,
            "prompts",
            f"The system text never reaches {model}: its chat template leaves it out of {count} "
            f"{'prompt' if count == 1 else 'prompts'}. Put it into the user's turn, or use a template that "
            "takes it.",
            PromptEvidence(n=count),
        )
        for model, count in unread.items()
        if count
        for candidate in ([model] if model in candidates else candidates)
    ]


def _format_alert(found: ComplianceRate, minimum: float) -> Alert | None:
    if found.value is None:
        why = found.reason or "no response could be checked"
        message = f"The format compliance of {found.candidate} could not be computed: {why}."
    elif found.value < minimum:
        message = (
            f"{found.value:.1%} of the responses of {found.candidate} have the right form "
            f"({_range(found.low, found.high)}n = {found.n})."
        )
    else:
        return None
    return Alert(
        "critical",
        "format",
        found.candidate,
        None,
        "format_compliance",
        f"{message} The plan requires {minimum:.1%}.",
        FormatEvidence(value=found.value, low=found.low, high=found.high, n=found.n, reason=found.reason),
    )


def _range(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"95% CI {low:.1%} to {high:.1%}, "


def _probe_message(effect: AdapterEffect) -> str:
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
        "not finite. Was it trained in a precision that overflowed?"
    )
