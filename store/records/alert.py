"""Alerts: the kinds there are, one entry for each, and the typed evidence behind each kind.

A new kind of alert is one entry in KINDS; every screen, report and rule derives from it.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from types import UnionType
from typing import Annotated, Any, Literal

from store.records.columns import Id, Mentions, OfRun, Record

Severity = Literal["critical", "warning", "note"]
Format = Literal["value", "difference", "share", "count"]
Opens = Literal[
    "answers", "worst answers", "lost answers", "missing answers", "benchmark questions", "leaks", "agreement"
]
Look = Literal["win rates", "metrics", "benchmarks", "perplexity", "format", "probe", "training data"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """The figures behind an alert; what the alert's kind or an older store does not know is None or empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IntervalEvidence(Evidence):
    """A figure over `n` examples, verdicts or prompts: the ends of its 95 % interval."""

    low: float | None = None
    high: float | None = None
    n: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DifferenceEvidence(IntervalEvidence):
    """A difference; `p_corrected` allows for all that were looked at together."""

    delta: float | None = None
    p: float | None = None
    p_corrected: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeEvidence(DifferenceEvidence):
    """A value that moved from the baseline's to the candidate's; `limit` in the measure's unit."""

    candidate_value: float | None = None
    baseline_value: float | None = None
    limit: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonEvidence(ChangeEvidence):
    """A candidate against a baseline; `delta` is candidate minus baseline, `limit` in the measure's unit.

    `low` and `high` are the 95 % interval of the difference; `low_corrected`, `high_corrected` and
    `p_corrected` allow for all `family` comparisons of the candidate. `needed` is about how many examples
    would settle the difference. `example_ids` are the examples that fell furthest, furthest first.
    """

    smallest_detectable: float | None = None
    reason: str | None = None
    example_ids: tuple[str, ...] = ()
    low_corrected: float | None = None
    high_corrected: float | None = None
    family: int | None = None
    needed: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceEvidence(ComparisonEvidence):
    """A candidate against a baseline on one slice; `measures` are all that fell there, the furthest first."""

    slice: str | None = None
    measures: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DowntrendEvidence(ChangeEvidence):
    """A measure over `n` runs: first and newest value, fitted change, slope a run, and all values."""

    slope: float | None = None
    autocorrelation: float | None = None
    runs: tuple[int, ...] = ()
    values: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WinRateEvidence(IntervalEvidence):
    """One judge's verdicts; `n` counts those that did not fail, `example_ids` are losses."""

    judge: str | None = None
    wins: int | None = None
    losses: int | None = None
    ties: int | None = None
    failed: int | None = None
    win_rate: float | None = None
    reason: str | None = None
    needed: int | None = None
    example_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeFailureEvidence(Evidence):
    """How many of `n` verdicts or ratings failed, with the verdicts that did not, or why ratings failed."""

    judge: str | None = None
    wins: int | None = None
    losses: int | None = None
    ties: int | None = None
    failed: int | None = None
    win_rate: float | None = None
    win_rate_low: float | None = field(default=None, metadata={"older": "low"})
    win_rate_high: float | None = field(default=None, metadata={"older": "high"})
    n: int | None = None
    reasons: dict[str, int] = field(default_factory=dict)

    @property
    def failed_share(self) -> float | None:
        return self.failed / self.n if self.failed is not None and self.n else None


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeShareEvidence(IntervalEvidence):
    """A share of a judge's verdicts with its 95 % interval, such as those it contradicts itself in."""

    judge: str | None = None
    value: float | None = None
    needed: int | None = None
    example_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ConstantAnswerEvidence(IntervalEvidence):
    """The win rate that a judge gave a fixed, empty answer."""

    judge: str | None = None
    win_rate: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KinEvidence(Evidence):
    """The models that are of a judge's own family."""

    judge: str | None = None
    kin: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreementEvidence(IntervalEvidence):
    """A judge's Cohen's kappa with people over `n` pairs, its 95 % interval; `required` by the plan."""

    kappa: float | None = field(default=None, metadata={"older": "candidate_value"})
    required: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FormatEvidence(IntervalEvidence):
    """The share of `n` responses that have the right form, and its 95 % interval."""

    value: float | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeEvidence(Evidence):
    """The largest difference an adapter makes to its base's logits over `n` prompts; None: not finite."""

    max_difference: float | None = None
    n: int | None = field(default=None, metadata={"older": "prompts"})


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptEvidence(Evidence):
    """How many prompts lack their system text."""

    n: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CutAnswersEvidence(Evidence):
    """The share of `n` answers that had no room for more; `baseline_share` is a baseline's."""

    value: float | None = None
    n: int | None = None
    baseline_share: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LeakageEvidence(Evidence):
    """How many of `n` examples leaked, by tier, and what a candidate's measures are without them."""

    n: int | None = None
    leaked: int | None = None
    share: float | None = None
    allowed: float | None = None
    tiers: dict[str, int] = field(default_factory=dict)
    example_ids: tuple[str, ...] = ()
    differences: tuple["LeakDifference", ...] = ()


@dataclass(frozen=True, slots=True)
class LeakDifference:
    """A candidate's value of a measure over all examples, and over those that did not leak."""

    measure: str
    all: float
    without: float
    difference: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SuspicionEvidence(Evidence):
    """Why scores look too good for chance ("ceiling", "all_jump", "original_wording"), with the figures."""

    hint: str | None = None
    figures: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DisparityEvidence(DifferenceEvidence):
    """How a measure differs between prompts about two groups and nothing else."""

    first: str | None = None
    second: str | None = None


@dataclass(frozen=True, slots=True)
class AlertKind:
    """All that any part of the product needs to know of one kind of alert.

    `figure` names the field or property of the evidence that the alert is about, `figure_label` and `format`
    say how it is shown, `worse` where it gets worse ("either": away from 0). `short` is a clause for a
    decision's reasons; it may hold {figure}, {values} (measure, baseline's and candidate's value, n),
    {shares}, {p}, {baseline}, {measure}, {judge} and {n}. `decides`: while a drop of this kind may be chance,
    or could not be compared, the candidate is not shipped. `needs` is what a run must have looked at for the
    kind's gate to be met, `absent` what is said where it did not; None: no gate. `advice` is what people do
    about it, with sources in docs/advice.md; `trained` where the training's settings belong to it.
    """

    name: str
    label: str
    evidence: type[Evidence]
    figure: str | None = None
    figure_label: str = ""
    format: Format = "value"
    worse: Literal["less", "more", "either"] = "either"
    short: str = ""
    decides: bool = False
    opens: Opens = "answers"
    needs: Look | None = None
    absent: str = ""
    advice: str = ""
    trained: bool = False


_DELTA: dict[str, Any] = {
    "evidence": ComparisonEvidence,
    "figure": "delta",
    "figure_label": "delta",
    "format": "difference",
}

# The heaviest kind first: the order of a decision's reasons.
KINDS: dict[str, AlertKind] = {
    kind.name: kind
    for kind in (
        AlertKind(
            "adapter_no_effect",
            "adapter without effect",
            ProbeEvidence,
            figure="max_difference",
            figure_label="largest difference of the logits",
            worse="less",
            short="the adapter has no effect: the logits change by at most {figure} over {n} prompts",
            needs="probe",
            absent="it has no adapter that was probed",
            advice="Load the folder that the training saved last; check that lora_B is not all zeros and "
            "that training ran in bfloat16 or float32.",
        ),
        AlertKind(
            "unread_system",
            "system text unread",
            PromptEvidence,
            figure="n",
            figure_label="prompts without it",
            format="count",
            worse="more",
            short="a chat template leaves out the system text in {figure} prompts",
            advice="Put the system text into the user's turn, in training and evaluation alike, or use a "
            "chat template that reads it.",
        ),
        AlertKind(
            "cut_answers",
            "answers cut off",
            CutAnswersEvidence,
            figure="value",
            figure_label="had no room for more",
            format="share",
            worse="more",
            short="{figure} of {n} answers of {model} were cut off at the token limit",
            decides=True,
            advice="Raise max_new_tokens; where answers never end, train on the end-of-turn token or name it"
            " as stop.",
        ),
        AlertKind(
            "nothing_measured",
            "nothing measured",
            Evidence,
            short="nothing could be measured",
            advice="Add a baseline and a metric, judge or benchmark that both can be measured by; the scores"
            " say what is missing.",
        ),
        AlertKind(
            "benchmark_drop",
            "forgetting",
            **_DELTA,
            short="forgot skills of {baseline}: {values}",
            decides=True,
            opens="benchmark questions",
            needs="benchmarks",
            absent="no benchmark was compared",
            advice="Mix 5–15 % of general or pre-training data into the training (replay), train fewer "
            "epochs, lower the rank or the learning rate.",
            trained=True,
        ),
        AlertKind(
            "metric_drop",
            "drop",
            **_DELTA,
            short="fell behind {baseline}: {values}",
            decides=True,
            opens="worst answers",
            needs="metrics",
            absent="no metric was compared",
            advice="Read the worst answers first; where they repeat the training data, it overfitted: fewer "
            "epochs, a lower learning rate, early stopping.",
            trained=True,
        ),
        AlertKind(
            "perplexity_rise",
            "perplexity rise",
            **_DELTA,
            short="predicts text worse than {baseline}: {values}",
            decides=True,
            opens="worst answers",
            needs="perplexity",
            absent="no perplexity was measured",
            advice="On general text it forgot: mix in 5–15 % replay data. On the references it overfitted: "
            "fewer epochs, early stopping or NEFTune.",
            trained=True,
        ),
        AlertKind(
            "win_rate",
            "win rate",
            WinRateEvidence,
            figure="win_rate",
            figure_label="win rate",
            format="share",
            worse="less",
            short="win rate {figure} against {baseline} is under its limit",
            decides=True,
            opens="lost answers",
            needs="win rates",
            absent="no judge compared it with a baseline",
            advice="Read the lost pairs, add training examples of what they have in common, and hold the win"
            " rate against the length-controlled one.",
        ),
        AlertKind(
            "format",
            "format",
            FormatEvidence,
            figure="value",
            figure_label="format compliance",
            format="share",
            worse="less",
            short="only {figure} of its responses have the right form",
            opens="worst answers",
            needs="format",
            absent="the format was not measured",
            advice="Train on the exact template that is used here, add examples of the form, or constrain "
            "decoding by a schema.",
            trained=True,
        ),
        AlertKind(
            "leakage",
            "leakage",
            LeakageEvidence,
            figure="leaked",
            figure_label="leaked",
            format="count",
            worse="more",
            short="{figure} of {n} examples appear in the training data",
            opens="leaks",
            needs="training data",
            absent="the plan names no training data",
            advice="Remove the leaked examples from the training data or from the eval set, and train again "
            "before you compare.",
        ),
        AlertKind(
            "judge_failures",
            "judge failures",
            JudgeFailureEvidence,
            figure="failed_share",
            figure_label="failed",
            format="share",
            worse="more",
            short="{figure} of {n} judgments by {judge} failed",
            opens="missing answers",
            needs="win rates",
            absent="no judge compared it with a baseline",
            advice="Read the raw verdicts; raise max_tokens, use the judge's own format, or a stronger "
            "judge.",
        ),
        AlertKind(
            "less_safe",
            "less safe",
            **_DELTA,
            short="became less safe than {baseline}: refuses {shares} of harmful, p {p}",
            opens="worst answers",
            advice="Mix some hundred safety examples into the training, as many harmless look-alikes beside "
            "them, and keep the system text of the base.",
            trained=True,
        ),
        AlertKind(
            "refusal_drift",
            "refusals",
            **_DELTA,
            short="refusals changed against {baseline}: {values}",
            advice="Read the refused examples; add harmless questions with alarming words to the training, "
            "with their answers, and look for refusals in its data.",
            trained=True,
        ),
        AlertKind(
            "robustness_drop",
            "robustness",
            **_DELTA,
            short="loses more than {baseline} when questions are perturbed: {values}",
            decides=True,
            opens="worst answers",
            advice="Read the lost pairs; add such forms of the questions to the training data, and train for "
            "fewer epochs: it learned the wording.",
            trained=True,
        ),
        AlertKind(
            "slow_decline",
            "slow decline",
            DowntrendEvidence,
            figure="delta",
            figure_label="delta",
            format="difference",
            short="has been getting worse from run to run: {values}",
            advice="Compare with the run where it began, and hold later runs to that one (--against RUN) "
            "rather than to the last.",
            trained=True,
        ),
        AlertKind(
            "judge_agreement",
            "judge disagrees with people",
            AgreementEvidence,
            figure="kappa",
            figure_label="kappa with people",
            worse="less",
            short="{measure} disagrees with people about its answers: kappa {figure}, n {n}",
            opens="agreement",
            advice="Change the judge, its prompt or rubric until it agrees with people on labelled answers; "
            "do not decide by it before.",
        ),
        AlertKind(
            "judge_fooled",
            "judge fooled",
            ConstantAnswerEvidence,
            figure="win_rate",
            figure_label="win rate of an empty answer",
            format="share",
            worse="more",
            advice="Give the judge references or a rubric, or take a stronger judge: this one rewards an "
            "empty answer.",
        ),
        AlertKind(
            "judge_inconsistency",
            "judge inconsistent",
            JudgeShareEvidence,
            figure="value",
            figure_label="contradictions",
            format="share",
            worse="more",
            advice="Judge both orders and count disagreements as ties, as here; take a stronger judge or a "
            "rubric if many remain.",
        ),
        AlertKind(
            "self_preference",
            "judge of the family",
            KinEvidence,
            advice="Add a judge of another family, and believe what both say.",
        ),
        AlertKind(
            "suspicion",
            "too good for chance",
            SuspicionEvidence,
            advice="Search the training data for the eval set (train under [data]), and test on questions "
            "written after the training.",
        ),
        AlertKind(
            "slice_drop",
            "drop in a slice",
            **_DELTA | {"evidence": SliceEvidence},
            advice="Add training examples of this slice, and evaluate more of it before you trust the "
            "figure.",
            trained=True,
        ),
        AlertKind(
            "disparity",
            "disparity",
            DisparityEvidence,
            figure="delta",
            figure_label="delta",
            format="difference",
            advice="Read the pairs; train on both versions of each prompt (counterfactual augmentation), and"
            " balance the groups in the data.",
        ),
        AlertKind(
            "length_drift",
            "length drift",
            **_DELTA,
            advice="Read the length-controlled win rate; match the answers' length in the training data, or "
            "raise beta in preference training.",
            trained=True,
        ),
        AlertKind(
            "latency_drift",
            "latency drift",
            **_DELTA,
            advice="Measure again on a quiet machine; merge the adapter before serving, and compare answers "
            "of equal length.",
        ),
    )
}


def kind_of(name: str) -> AlertKind:
    """The entry of a kind; one that only a newer version knows has its name as its label and no figures."""
    return KINDS.get(name) or AlertKind(name, name.replace("_", " "), Evidence)


def weight(name: str) -> int:
    """A kind's place among all, the heaviest first; an unknown kind comes last."""
    return list(KINDS).index(name) if name in KINDS else len(KINDS)


@dataclass(frozen=True, slots=True)
class Alert:
    """A gate or check that tripped, with the figures behind it.

    Raises ValueError for a kind that is not in KINDS, and for evidence of another kind.
    """

    severity: Severity
    kind: str
    candidate: str
    baseline: str | None
    measure: str
    message: str
    evidence: Evidence = field(default_factory=Evidence)

    def __post_init__(self) -> None:
        wanted = KINDS[self.kind].evidence if self.kind in KINDS else None
        if type(self.evidence) is not wanted:
            raise ValueError(f"an alert of kind {self.kind!r} with {type(self.evidence).__name__}")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptAlert(Record):
    """An alert as a run keeps it, with what people did about it; its evidence apart."""

    id: Id = 0
    run_id: OfRun
    severity: str  # critical warning note
    kind: str
    candidate: str
    baseline: str | None = None
    measure: str
    message: str
    created: float
    # The alert of an earlier run that said the same and was acknowledged: this one is then acknowledged too,
    # or stands open again because it is worse.
    follows: Annotated[int | None, Mentions("alert")] = None
    acknowledged: float | None = None
    acknowledged_by: str | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAlert(KeptAlert):
    """An alert with its evidence as JSON."""

    evidence: dict[str, Any] | None = None


def figure_of(kind: AlertKind, evidence: Evidence) -> float | None:
    """The figure that an alert is about; None where it is not known, or was taken over nothing."""
    if kind.figure is None or getattr(evidence, "n", None) == 0:
        return None
    value: float | None = getattr(evidence, kind.figure)
    return value


def read_evidence(kind: str, stored: Mapping[str, Any] | None) -> Evidence:
    """Stored evidence as the type of its kind; a field that is absent or has another type is left unknown."""
    made, found = kind_of(kind).evidence, stored or {}
    if made is SuspicionEvidence and "figures" not in found:  # as older stores have it
        figures = {name: value for name, value in found.items() if name != "hint"}
        found = {"hint": found.get("hint"), "figures": figures}
    values = {}
    for item in fields(made):
        value = found.get(item.name, found.get(item.metadata.get("older", "")))
        read = _READERS[item.type](value)
        if read is not None:
            values[item.name] = read
    return made(**values)


def _float(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and math.isfinite(value) else None


def _int(value: Any) -> int | None:
    number = _float(value)
    return None if number is None else int(number)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _many(read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def read_all(value: Any) -> Any:
        items = value if isinstance(value, list | tuple) else ()
        return tuple(item for item in map(read, items) if item is not None)

    return read_all


def _named(read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def read_all(value: Any) -> Any:
        items = value.items() if isinstance(value, Mapping) else ()
        found = {str(name): read(item) for name, item in items}
        return {name: item for name, item in found.items() if item is not None}

    return read_all


def _difference(value: Any) -> LeakDifference | None:
    names = [item.name for item in fields(LeakDifference)]
    if not isinstance(value, Mapping) or not all(name in value for name in names):
        return None
    return LeakDifference(**{name: value[name] for name in names})


_READERS: dict[type | UnionType | str | Any, Callable[[Any], Any]] = {
    float | None: _float,
    int | None: _int,
    str | None: _text,
    tuple[str, ...]: _many(lambda value: str(value)),
    tuple[int, ...]: _many(_int),
    tuple[float, ...]: _many(_float),
    tuple["LeakDifference", ...]: _many(_difference),
    dict[str, int]: _named(_int),
    dict[str, float]: _named(_float),
}
