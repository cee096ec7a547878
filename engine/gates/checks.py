"""Checks that every candidate must pass (something measured, its adapter works, its format) and of the data.

A gate whose figure is missing never passes silently: it is critical.
"""

import math
import tomllib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import ValidationError

from engine.compare.comparable import Incomparable, Side, as_stored, paired_candidates
from engine.compare.comparison import Comparison, Kind, compare_parts
from engine.compare.ruling import BoundedComparison, rule
from engine.compare.runs import compare_pairs, compare_without_synthetic
from engine.data.leak import TIER_WORDS, Suspicion
from engine.errors import BadInput
from engine.gates.measures import drop_alerts, evaluated, ruled, tripping
from engine.metrics.metric import Direction, Measure, mean
from engine.plan.plan import Gates
from engine.stats.intervals import SHARE, bootstrap_interval
from store.read import history
from store.read.rows import ComparisonRow
from store.records import Run, StoredMetric
from store.records.alert import (
    Alert,
    CutAnswersEvidence,
    FormatEvidence,
    LeakageEvidence,
    LeakDifference,
    ProbeEvidence,
    PromptEvidence,
    Severity,
    SuspicionEvidence,
)

_VISIBLE = 0.0005  # with three decimals


@dataclass(frozen=True, slots=True)
class Leaked:
    """The examples of a run that count as leaked, by id, and how many there are of each tier."""

    ids: tuple[str, ...]
    tiers: Mapping[str, int]
    examples: int  # of the run, leaked or not


def leakage_alerts(
    leaked: Leaked, differences: Mapping[str, Sequence[LeakDifference]], gates: Gates
) -> list[Alert]:
    """One for each candidate (`differences` by name) when examples leaked.

    Critical where their share is larger than the plan allows, else a warning.
    """
    if not leaked.ids:
        return []
    count, share, allowed = len(leaked.ids), len(leaked.ids) / leaked.examples, gates.max_leakage
    severity: Severity = "critical" if allowed is not None and share > allowed else "warning"
    found = ", ".join(f"{n} {TIER_WORDS[tier]}" for tier, n in leaked.tiers.items() if n)
    limit = "" if allowed is None else f", where the plan allows {allowed:.1%}"
    appear = "appears" if count == 1 else "appear"
    head = (
        f"{count} of {leaked.examples} examples ({share:.1%}{limit}) {appear} in the training data: {found}."
    )
    return [
        Alert(
            severity,
            "leakage",
            candidate,
            None,
            "examples",
            f"{head} {_without(candidate, found_of)} Remove them from the training data or the eval set.",
            LeakageEvidence(
                n=leaked.examples,
                leaked=count,
                share=share,
                allowed=allowed,
                tiers=dict(leaked.tiers),
                example_ids=leaked.ids,
                differences=tuple(found_of),
            ),
        )
        for candidate, found_of in differences.items()
    ]


def _without(candidate: str, differences: Sequence[LeakDifference]) -> str:
    if not differences:
        return f"The scores of {candidate} without them are not known."
    most = max(differences, key=lambda item: abs(item.difference))
    if abs(most.difference) < _VISIBLE:
        return f"Without them no measure of {candidate} changes."
    change = f"from {most.all:.3f} to {most.without:.3f}"
    return f"Without them {most.measure} of {candidate} changes most, {change}."


def suspicion_alerts(found: Iterable[tuple[str, str | None, Suspicion]]) -> list[Alert]:
    """Hints that a model was trained on its eval set, each as (model, baseline or None, suspicion).

    Warnings, but a note for a baseline near the ceiling: easy questions explain that too.
    """
    return [
        Alert(
            "note" if item.kind == "ceiling" else "warning",
            "suspicion",
            model,
            baseline,
            item.subject,
            item.message,
            SuspicionEvidence(hint=item.kind, figures=dict(item.figures)),
        )
        for model, baseline, item in found
    ]


@dataclass(frozen=True, slots=True)
class RunComparison:
    """The newer run's candidates (as candidates) against the older run's (as baselines)."""

    older: int
    newer: int
    shared: int  # examples that both runs evaluated in the same words
    comparisons: list[Comparison]
    benchmarks: list[Comparison]
    alerts: list[Alert]
    incomparable: list[Incomparable]
    is_evaluated: bool  # whether the gates had anything to look at
    settings: list[str]  # a sentence for each pair whose models had different settings
    synthetic: int  # of the shared examples, those that a model wrote
    without_synthetic: list[Comparison]  # the same comparisons on the others; no gate checks them

    @property
    def is_empty(self) -> bool:
        """Whether the runs have nothing in common: no candidate, or neither an example nor a benchmark."""
        found = [*self.comparisons, *self.benchmarks]
        return all(item.delta is None for item in found) and not (found and self.shared)


def compare_runs(connection: history.Connection, older: int, newer: int) -> RunComparison:
    """Compares candidates of the same name, or the only candidate of each run.

    Drops beyond the newer run's gates become alerts. Raises StoreError for an unknown run, and BadInput when
    one run is compared with itself.
    """
    if older == newer:
        raise BadInput(
            f"run {older} cannot be compared with itself", "name two runs; `assay runs` lists them"
        )
    sides = Side(connection, older), Side(connection, newer)
    pairs, unpaired = paired_candidates(*sides)
    found = compare_pairs(sides, pairs)
    gates = _gates(sides[1].run)
    # No gate checks win rates between runs.
    every, benchmarks = ruled([*found.metrics, *found.rates], found.benchmarks, gates, found.measures)
    checked = (every[: len(found.metrics)], benchmarks, gates, found.measures)
    alerts, is_evaluated = drop_alerts(*checked), bool(evaluated(*checked))
    incomparable = [*unpaired, *found.incomparable]
    synthetic, others = compare_without_synthetic(sides, pairs, found.measures)
    without, _ = ruled(others, [], gates, found.measures)
    return RunComparison(
        older, newer, found.shared, every, benchmarks, alerts, incomparable, is_evaluated, found.settings,
        synthetic, without,
    )  # fmt: skip


def _gates(run: Run) -> Gates:
    try:
        return Gates.model_validate(tomllib.loads(run.plan).get("gates", {}))
    except (ValidationError, tomllib.TOMLDecodeError) as error:
        raise BadInput(f"this version of Assay cannot read the gates of run {run.id}: {error}") from error


Limits = Mapping[tuple[str, str, str, str], tuple[float, ...]]
"""By candidate, baseline, kind and measure: the differences beyond which a gate or a warning trips."""


def limits(run: Run, rows: Sequence[ComparisonRow], metrics: Sequence[StoredMetric]) -> Limits:
    """The limits that a stored run's comparisons are checked against; none where its gates are unreadable.

    Differences are candidate minus baseline, in the measure's unit.
    """
    try:
        gates = _gates(run)
    except BadInput:  # a plan of another version
        return {}
    found = [_as_comparison(row) for row in rows]
    benchmarks = [item for item in found if item.kind == "benchmark"]
    others = [item for item in found if item.kind != "benchmark"]
    measures = {row.measure: as_stored(row, _DIRECTIONS[row.direction]) for row in metrics}
    return {
        (item.candidate, item.baseline, item.kind, item.measure): ends
        for item, ends in tripping(others, benchmarks, gates, measures)
    }


_DIRECTIONS: Mapping[str, Direction] = {"higher": "higher", "lower": "lower", "none": "none"}
_KINDS: Mapping[str, Kind] = {"metric": "metric", "benchmark": "benchmark", "corpus": "corpus"}


def _as_comparison(row: ComparisonRow) -> Comparison:
    """A stored comparison as the gates take it."""
    return Comparison(
        row.candidate, row.baseline, row.measure, _DIRECTIONS[row.direction], _KINDS[row.kind],
        row.candidate_value, row.baseline_value, row.delta, row.low, row.high, row.p, row.n,
        row.smallest_detectable, row.reason,
    )  # fmt: skip


NO_EFFECT = 1e-6  # the largest difference between equal logits
SOME_CUT, MANY_CUT = 0.05, 0.25  # share of the answers that were cut off


UNMEASURED = "nothing_measured"


def passed(alerts: Iterable[Alert], candidate: str) -> bool | None:
    """Whether the candidate has no critical alert; None where no gate had anything to look at."""
    own = [alert for alert in alerts if alert.candidate == candidate]
    if any(alert.severity == "critical" for alert in own):
        return False
    return None if any(alert.kind == UNMEASURED for alert in own) else True


def all_passed(outcomes: Collection[bool | None]) -> bool | None:
    """A run's outcome from its candidates': failed if one did, else None if one is unknown."""
    return False if False in outcomes else None if None in outcomes or not outcomes else True


def unmeasured_alerts(candidates: Sequence[str], evaluated: Collection[str]) -> list[Alert]:
    """An alert on each candidate for which no gate could be evaluated, which is not a pass."""
    return [
        Alert(
            "warning",
            UNMEASURED,
            candidate,
            None,
            "all measures",
            f"Not evaluated: nothing that a gate checks could be compared for {candidate} with any baseline, "
            "so it has neither passed nor failed. The scores say why each value is missing.",
        )
        for candidate in candidates
        if candidate not in evaluated
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
    """The largest difference an adapter makes to its base's logits over so many prompts; None: not finite."""

    candidate: str
    max_difference: float | None
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
        # NaN, which older runs stored, fails this comparison, as it should.
        if effect.prompts and largest is not None and NO_EFFECT < largest < math.inf:
            continue
        known = largest if effect.prompts and largest is not None and math.isfinite(largest) else None
        alerts.append(
            Alert(
                "critical",
                "adapter_no_effect",
                effect.candidate,
                None,
                "logits",
                _probe_message(effect),
                ProbeEvidence(max_difference=known, n=effect.prompts),
            )
        )
    return alerts


def prompt_alerts(unread: Mapping[str, int], candidates: Sequence[str]) -> list[Alert]:
    """Critical alerts on unread system texts, counted by model; a baseline's concerns all candidates.

    A "prompted" model whose template drops the prompt is the unprompted one under another name.
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
            "reads it.",
            PromptEvidence(n=count),
        )
        for model, count in unread.items()
        if count
        for candidate in ([model] if model in candidates else candidates)
    ]


_CUT = Measure(
    "cut answers", "lower", *SHARE, "share", frozenset(), "1", "assay", "the share of answers cut off"
)


def cut_alerts(
    ends: Mapping[str, Mapping[str, Sequence[int]]], candidates: Sequence[str], baselines: Sequence[str]
) -> list[Alert]:
    """Alerts on the candidates whose answers, or whose baseline's, were often cut off.

    `ends` says by model and example how many answers were cut off, of how many whose end is known. Critical
    where many of the candidate's were, and fewer than half as many of a baseline's: its scores then compare
    length. Where that may be chance it is a note. Without the critical one, and beside the note, a warning on
    the model with the largest share, if the whole interval is above SOME_CUT.
    """
    shares = {
        name: bootstrap_interval(np.array(list(own.values()), dtype=np.float64), mean, ends=SHARE)
        for name, own in ends.items()
        if own
    }

    def share(name: str) -> float:
        return shares[name].value or 0.0

    alerts = []
    for candidate in candidates:
        others = [name for name in baselines if name in shares]
        least = min(others, key=share, default=None)
        model = max((name for name in (candidate, *others) if name in shares), key=share, default=None)
        is_more = False
        if candidate in shares and least and share(candidate) > max(MANY_CUT, 2 * share(least)):
            found = [compare_parts(candidate, name, _CUT, ends[candidate], ends[name]) for name in others]
            rulings = rule("cut answers", [BoundedComparison(item, SHARE) for item in found])
            is_more = rulings[others.index(least)].standing == "worse"
            alerts.append(_cut_alert("critical" if is_more else "note", candidate, candidate, least, ends))
        if not is_more and model and (shares[model].low or 0.0) > SOME_CUT:
            baseline = None if model == candidate else model
            alerts.append(_cut_alert("warning", candidate, model, baseline, ends))
    return alerts


def _cut_alert(
    severity: Severity,
    candidate: str,
    model: str,
    baseline: str | None,
    ends: Mapping[str, Mapping[str, Sequence[int]]],
) -> Alert:
    cut, ended = (sum(own) for own in zip(*ends[model].values(), strict=True))
    beside = None
    if baseline is not None:
        others, all_others = (sum(own) for own in zip(*ends[baseline].values(), strict=True))
        beside = others / all_others
    against = f", of {baseline} {beside:.1%}" if severity != "warning" else ""
    chance = ", which may be chance: needs more examples" if severity == "note" else ""
    return Alert(
        severity,
        "cut_answers",
        candidate,
        baseline,
        "answers",
        f"{cut / ended:.1%} of the answers of {model} ({cut} of {ended}) were cut off at the token limit"
        f"{against}{chance}. Their scores are of unfinished texts. Raise max_new_tokens under [generation].",
        CutAnswersEvidence(value=cut / ended, n=ended, baseline_share=beside),
    )


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
    if effect.max_difference is not None and effect.max_difference <= NO_EFFECT:
        return (
            f"The adapter of {effect.candidate} has no effect: over {effect.prompts} prompts its logits "
            f"equal the base's (largest difference {effect.max_difference:.3g}). Its scores are the base's. "
            "Was it trained, saved, and loaded from the right folder?"
        )
    return (
        f"The adapter of {effect.candidate} breaks the model: over {effect.prompts} prompts some logits are "
        "not finite. Was it trained in a precision that overflowed?"
    )
