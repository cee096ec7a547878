"""The shapes in which stored rows reach screens and reports."""

import re
from dataclasses import dataclass
from typing import Annotated, Any

from store.records.alert import Evidence, KeptAlert, read_evidence
from store.records.columns import PARSED
from store.records.judging import CountedVerdicts
from store.records.results import AnswerContent, RunDifference, SampledMean, TaskValue

_STEP = re.compile(
    r"(?<![A-Za-z])(?:checkpoint|ckpt|step|iter(?:ation)?)s?[-_ .=]?(\d{1,12})(?!\d|.*/.)", re.IGNORECASE
)
GROUPS = "benchmark_groups"  # in a model's details: the single tasks of each group of benchmarks


def step_in(name: str) -> re.Match[str] | None:
    """Where a name tells a training step, or a path in its last part: its first group. A number alone, as in
    `rank-16`, is none.
    """
    matches = list(_STEP.finditer(name))
    return matches[-1] if matches else None


@dataclass(frozen=True, slots=True)
class RunRow:
    """One line of the history. `status` says "interrupted" where the worker has died."""

    id: int
    name: str
    status: str
    created: float
    started: float | None
    finished: float | None
    passed: bool | None
    eval_set: str | None
    request: str | None
    phase: str | None
    error: str | None
    plan_hash: str
    candidates: str
    win_rate: float | None  # the highest of a candidate, by the first judge, against the first baseline
    win_rate_without_synthetic: float | None  # the same candidate's, over examples that no model wrote
    critical: int  # alerts not yet acknowledged
    warnings: int
    imported: str | None = None  # the tool whose published results it holds
    tags: str | None = None  # those that it has now
    place: int | None = None  # in the queue, from 1; None for a run that does not wait there


@dataclass(frozen=True, slots=True)
class ModelRow:
    id: int
    name: str
    role: str
    kind: str
    fingerprint: str | None
    details: dict[str, Any] | None
    probe: dict[str, Any] | None
    passed: bool | None

    @property
    def step(self) -> int | None:
        """The training step that was recorded with it, else the one that its name tells, or the folder of
        its weights: 200 of checkpoint-200.
        """
        recorded: int | None = ((self.details or {}).get("checkpoint") or {}).get("step")
        if recorded is not None:
            return recorded
        return int(found[1]) if (found := self._step) else None

    @property
    def series(self) -> str:
        """What the checkpoints of one training have in common: the name, or the folder, without the step."""
        found = self._step
        return f"{found.string[: found.start(1)]}*{found.string[found.end(1) :]}" if found else self.name

    @property
    def _step(self) -> re.Match[str] | None:
        details = self.details or {}
        folder = (details.get("adapter") or {}).get("path") or details.get("path") or ""
        return step_in(self.name) or step_in(str(folder))

    @property
    def sweep(self) -> dict[str, Any] | None:
        """How a checkpoint fared in its sweep: measure, value, rank, and whether it was kept."""
        return (self.details or {}).get("sweep")

    @property
    def unreadable(self) -> str | None:
        """Why a checkpoint of a training that is followed could not be evaluated."""
        return ((self.details or {}).get("checkpoint") or {}).get("failed")

    @property
    def chosen_by(self) -> tuple[str, ...]:
        """The measures by which a sweep chose it from more checkpoints than it kept."""
        found = self.sweep or {}
        # Older sweeps did not record how many they kept.
        if (
            not found.get("kept")
            or found.get("value") is None
            or found["of"] <= found.get("keep", found["of"])
        ):
            return ()
        return tuple(name for name in (found["measure"], found.get("held_to")) if name)

    @property
    def chosen_on(self) -> int:
        """On how many of the examples that judge it a sweep chose it."""
        found = self.sweep or {}
        return int(found.get("on_examples", found["sample"])) if self.chosen_by else 0

    def is_chosen_on(self, kind: str, measure: str) -> bool:
        """Whether a sweep chose it by questions of this benchmark, or by the likelihood of this corpus."""
        if kind == "corpus":
            likelihoods = ("perplexity:", "bits_per_byte:")
            corpora = {name.partition(":")[2] for name in self.chosen_by if name.startswith(likelihoods)}
            return measure.partition(":")[2] in corpora
        # A benchmark's measure is named "task · metric".
        asked = self._single_tasks(measure.partition(" · ")[0])
        return kind == "benchmark" and any(asked & self._single_tasks(name) for name in self.chosen_by)

    def _single_tasks(self, name: str) -> set[str]:
        return set(((self.details or {}).get(GROUPS) or {}).get(name, (name,)))

    @property
    def is_cut(self) -> bool:
        """Whether a sweep left it out of the evaluation."""
        return self.sweep is not None and not self.sweep["kept"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelScoreRow(SampledMean):
    model: str
    measure: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonRow(RunDifference):
    candidate: str
    baseline: str
    kind: str  # metric benchmark
    measure: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WinRateRow(CountedVerdicts):
    judge: str
    is_language_model: bool
    candidate: str
    baseline: str
    turn: int = 0  # 0: whole answers and conversations; from 1: that turn alone
    looks: int = 1  # win rates of the candidate that are looked at together


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkRow(TaskValue):
    model: str
    task: str
    metric: str
    filter: str


@dataclass(frozen=True, slots=True)
class BenchmarkSampleRow:
    doc_id: int
    question: str
    target: str
    candidate_answer: str
    candidate_value: float | None
    baseline_answer: str
    baseline_value: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertRow(KeptAlert):
    run_name: str
    evidence: Annotated[Evidence, PARSED]  # of the type that its kind has

    def __post_init__(self) -> None:
        if not isinstance(self.evidence, Evidence):
            object.__setattr__(self, "evidence", read_evidence(self.kind, self.evidence))


@dataclass(frozen=True, slots=True)
class LeakRow:
    """An eval example that was found in the training data."""

    example: str
    tier: str
    score: float
    train_line: int
    field: str  # query reference both
    excerpt: str
    query: str


@dataclass(frozen=True, slots=True)
class LeakItem(LeakRow):
    """A leak by its id in the store."""

    id: int


@dataclass(frozen=True, slots=True)
class LeakTexts(LeakItem):
    """The two texts of a leak; `train_text` is None where only an excerpt was kept."""

    train_text: str | None
    references: list[str] | None


@dataclass(frozen=True, slots=True)
class LatestVerdict:
    judge: str
    candidate: str
    baseline: str
    example: str
    outcome: str
    consistent: bool | None
    query: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseRow(AnswerContent):
    model_id: int
    model: str

    @property
    def whole(self) -> str | None:
        """The answer; of a conversation all of them, each under its turn."""
        if self.text is None or not self.turns or len(self.turns) < 2:
            return self.text
        return "\n\n".join(f"Turn {place}:\n{text}" for place, text in enumerate(self.turns, 1))


@dataclass(frozen=True, slots=True)
class ScoreRow:
    model: str
    measure: str
    value: float | None
    reason: str | None
    samples: list[float | None] | None = None  # of each sample, where there are several


@dataclass(frozen=True, slots=True)
class JudgmentRow:
    judge: str
    is_language_model: bool
    order: str  # candidate_first baseline_first
    winner: str | None
    candidate_score: float | None
    baseline_score: float | None
    reasoning: str
    failure: str | None
    flags: list[str] | None
    turn: int = 0
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class VerdictRow:
    judge: str
    outcome: str
    consistent: bool | None
    reason: str | None
    turn: int = 0
    is_language_model: bool = True


@dataclass(frozen=True, slots=True)
class RatingRow:
    judge: str
    model: str
    turn: int
    score: float | None
    repeats: list[float | None] | None  # each time's score, where it is their mean
    scores: dict[str, float] | None  # by criterion of the rubric
    confidence: float | None
    reasoning: str
    failure: str | None
    flags: list[str] | None


@dataclass(frozen=True, slots=True)
class ExampleRow:
    id: int
    example: str
    query: str
    messages: list[dict[str, str]] | None
    references: list[str] | None
    label: str | None
    category: str | None
    split: str | None
    extra: dict[str, Any] | None

    @property
    def right_calls(self) -> list[dict[str, Any]]:
        """The calls of tools that would be right."""
        return (self.extra or {}).get("calls") or []
