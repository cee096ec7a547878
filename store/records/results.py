"""What models answered and how they did: scores, benchmark tasks, and comparisons."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from store.records.columns import KEY, Id, Mentions, OfRun, Record, Refers


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredModel(Record):
    """One thing that answers, in its role in one run: baseline, candidate, or a checkpoint with the
    files that it had earlier.
    """

    UNIQUE: ClassVar = ("run_id", "name")

    id: Id = 0
    run_id: OfRun
    name: str
    role: str  # baseline candidate earlier
    kind: str  # local server recorded
    position: int
    fingerprint: str | None = None
    details: dict[str, Any] | None = None
    probe: dict[str, Any] | None = None
    passed: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerContent(Record):
    """What came back from a model, and what it took."""

    text: str | None = None  # the last turn's answer
    turns: list[str] | None = None  # every turn's answer, where an example has several
    thinking: str | None = None  # the reasoning trace, which is no part of the answer
    thinking_tokens: int | None = None
    calls: list[dict[str, Any]] | None = None  # of tools, read from the text where the example has tools
    tokens_in: int | None = None
    tokens_out: int | None = None
    finish_reason: str | None = None
    latency_s: float | None = None
    cached: bool = False
    reason: str | None = None  # why there is no text


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredResponse(AnswerContent):
    """What one model answered to one example."""

    UNIQUE: ClassVar[Sequence[str]] = ("model_id", "example_id")

    id: Id = 0
    model_id: Annotated[int, Refers("model", "CASCADE")]
    example_id: Annotated[int, Refers("example")]
    created: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSample(StoredResponse):
    """A further answer of the same model to the same example; the first one is its response."""

    UNIQUE: ClassVar = ("model_id", "example_id", "sample")

    sample: int  # from 1


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredVariant(Record):
    """One of a run's examples in another form (see engine.data.perturb), which no plain measure counts."""

    UNIQUE: ClassVar = ("run_id", "example_id", "perturbation")

    id: Id = 0
    run_id: OfRun
    example_id: Annotated[int, Refers("example")]  # the plain form
    perturbation: str
    query: str
    messages: list[dict[str, Any]]
    references: list[str]
    label: str | None = None
    letters: dict[str, str] | None = None  # of choices that moved: the plain form's, and the one here


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredVariantAnswer(AnswerContent):
    """What one model answered to one variant."""

    UNIQUE: ClassVar[Sequence[str]] = ("model_id", "variant_id", "sample")

    id: Id = 0
    model_id: Annotated[int, Refers("model", "CASCADE")]
    variant_id: Annotated[int, Refers("variant")]
    sample: int  # from 0
    created: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredVariantScore(Record):
    """One measure's value for one variant, or why it has none; `parts` as in StoredScore."""

    model_id: Annotated[int, KEY, Refers("model", "CASCADE")]
    measure: Annotated[str, KEY]
    variant_id: Annotated[int, KEY, Refers("variant")]
    value: float | None = None
    reason: str | None = None
    parts: list[float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredMetric(Record):
    """A measure as a run used it: its declaration, version and settings."""

    run_id: Annotated[int, KEY, Refers("run", "CASCADE")]
    measure: Annotated[str, KEY]
    position: int
    direction: str
    low: float | None = None
    high: float | None = None
    unit: str
    version: str
    source: str
    meaning: str
    settings: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredScore(Record):
    """One measure's value for one example: its response's, or the mean of its samples; or why it has none."""

    model_id: Annotated[int, KEY, Refers("model", "CASCADE")]
    measure: Annotated[str, KEY]
    example_id: Annotated[int, KEY, Refers("example")]
    value: float | None = None
    reason: str | None = None
    parts: list[float] | None = None  # additive statistics, where the value is not a plain mean
    samples: list[float | None] | None = None  # the value of each sample, where there are several


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanValue(Record):
    """A mean over `n` examples, with its 95 % interval; `missing` more have no value."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int
    missing: int
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SampledMean(MeanValue):
    """An estimate over examples that may have several samples."""

    samples: int | None = None  # answers with a value, where examples have several
    samples_missing: int | None = None  # those without
    spread: float | None = None  # the standard deviation between the samples of one example
    # Of what a perturbation costs, the ruling: the model in this form against itself in the plain one.
    standing: str | None = None
    p: float | None = None  # corrected over what the model's perturbations cost it (Holm)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelScore(SampledMean):
    """One measure's value for one model over a run's examples, with its interval."""

    model_id: Annotated[int, KEY, Refers("model", "CASCADE")]
    measure: Annotated[str, KEY]


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceScore(MeanValue):
    """One measure's value for one model over a slice: the examples of a category, a length, a feature."""

    model_id: Annotated[int, KEY, Refers("model", "CASCADE")]
    measure: Annotated[str, KEY]
    slice: Annotated[str, KEY]
    p: float | None = None  # of the slice against the rest, corrected for the number of slices (Holm)


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusScore(Record):
    """How well one model predicts one text of a corpus."""

    model_id: Annotated[int, KEY, Refers("model", "CASCADE")]
    corpus: Annotated[str, KEY]
    text: Annotated[int, KEY]  # its place in the corpus
    nll: float | None = None  # nats
    tokens: int = 0  # predicted
    bytes: int = 0  # of UTF-8
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupDifference(Record):
    """A measure for prompts about a first group less that for the same prompts about a second."""

    delta: float | None = None  # first less second
    low: float | None = None
    high: float | None = None
    p: float | None = None  # corrected over the model's disparities
    n: int = 0
    reason: str | None = None
    standing: str  # the ruling on it: more less inconclusive, not tested, missing


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredDisparity(GroupDifference):
    """How one measure differs when nothing but a group term of the prompt is swapped."""

    model_id: Annotated[int, KEY, Refers("model", "CASCADE")]
    measure: Annotated[str, KEY]
    first: Annotated[str, KEY]
    second: Annotated[str, KEY]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskValue(Record):
    """What lm-eval computed on one benchmark task."""

    value: float | None = None
    stderr: float | None = None
    n: int
    version: str
    shots: int | None = None
    higher_is_better: bool
    task_hash: str | None = None
    reason: str | None = None
    # The run that measured it, where this one did not have to.
    reused_from: Annotated[int | None, Mentions("run")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredBenchmarkScore(TaskValue):
    """One benchmark task's metric for one model, as lm-eval computed it."""

    INDEXES: ClassVar = {"benchmarkscore_identity": ("identity",)}

    model_id: Annotated[int, KEY, Refers("model", "CASCADE")]
    task: Annotated[str, KEY]
    metric: Annotated[str, KEY]
    filter: Annotated[str, KEY] = "none"
    # A hash of all that decides the value: weights, task, shots, limit, template.
    identity: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredBenchmarkSample(Record):
    """One benchmark question as one model answered it; the hashes say which samples may be paired."""

    model_id: Annotated[int, KEY, Refers("model", "CASCADE")]
    task: Annotated[str, KEY]
    metric: Annotated[str, KEY]
    filter: Annotated[str, KEY] = "none"
    doc_id: Annotated[int, KEY]
    doc_hash: str
    prompt_hash: str
    target_hash: str
    value: float | None = None
    question: str
    target: str
    answer: str
    likelihoods: list[float] | None = None  # log-likelihood of each choice in nats, where there are choices
    correct: int | None = None  # the place of the right choice among them


@dataclass(frozen=True, slots=True, kw_only=True)
class RuledDifference(Record):
    """A candidate against a baseline on one measure, paired on the examples both have, with its ruling."""

    direction: str  # higher lower none
    candidate_value: float | None = None
    baseline_value: float | None = None
    delta: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None  # over slices: corrected over the family
    n: int = 0
    reason: str | None = None
    # What the comparison says: the ruling of engine.compare.ruling.
    standing: str
    family: str
    family_size: int
    low_corrected: float | None = None
    high_corrected: float | None = None
    needed: int | None = None  # about how many examples would settle it

    @property
    def relative(self) -> float | None:
        """The difference as a share of the baseline's value; None where that is 0 or not known."""
        return (
            self.delta / abs(self.baseline_value) if self.delta is not None and self.baseline_value else None
        )

    @property
    def worsening(self) -> float | None:
        """How much worse the candidate is, in the measure's unit (negative: better); None where unknown."""
        if self.delta is None or self.direction == "none":
            return None
        return -self.delta if self.direction == "higher" else self.delta


@dataclass(frozen=True, slots=True, kw_only=True)
class RunDifference(RuledDifference):
    """A comparison over all examples of a run."""

    smallest_detectable: float | None = None
    p_corrected: float | None = None
    allowed: float | None = None  # the largest worsening within the plan's gate, in the measure's unit


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredComparison(RunDifference):
    """Candidate against baseline on one measure, paired on the examples both have."""

    candidate_id: Annotated[int, KEY, Refers("model", "CASCADE")]
    baseline_id: Annotated[int, KEY, Refers("model")]
    kind: Annotated[str, KEY]  # metric benchmark
    measure: Annotated[str, KEY]


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceComparison(RuledDifference):
    """Candidate against baseline on one measure over one slice."""

    candidate_id: Annotated[int, KEY, Refers("model", "CASCADE")]
    baseline_id: Annotated[int, KEY, Refers("model")]
    measure: Annotated[str, KEY]
    slice: Annotated[str, KEY]
