"""What is said of answers: by judges, with what it adds up to, and by people."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from store.records.columns import KEY, ZERO, Id, OfRun, Record, Refers


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotation(Record):
    """What a person said about a response or a pair; undoing appends, nothing is deleted."""

    INDEXES: ClassVar = {"annotation_run_example": ("run_id", "example_id")}

    id: Id = 0
    run_id: Annotated[int, Refers("run", "CASCADE")]
    example_id: Annotated[int, Refers("example")]
    left_id: Annotated[int | None, Refers("model")] = None
    right_id: Annotated[int | None, Refers("model")] = None
    kind: str  # preference thumbs rating tag note correction flag undo
    value: str
    criterion: str | None = None  # of a rating: which of the rubric's
    blind: Annotated[bool, ZERO] = False  # were the models' names hidden
    control: Annotated[bool, ZERO] = False  # a repeated item, which measures the person's consistency
    queue: str | None = None  # in which it was met: only a random one stands for all examples
    seconds: float | None = None  # that the person looked before deciding
    undoes: Annotated[int | None, Refers("annotation")] = None
    turn: Annotated[int, ZERO] = 0  # 0: whole answers; from 1: a preference on an earlier turn alone
    annotator: str
    created: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureTag(Record):
    """A kind of failure that people tag answers with."""

    NUMBERED: ClassVar = True

    name: Annotated[str, KEY]
    letter: str | None = None
    merged_into: str | None = None  # the tag that stands for this one now
    created_by: str
    created: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewPlace(Record):
    """Where a person left off in one queue of one run's review."""

    run_id: Annotated[int, KEY, Refers("run", "CASCADE")]
    annotator: Annotated[str, KEY]
    queue: Annotated[str, KEY]
    example_id: Annotated[int, Refers("example")]
    updated: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RunMark(Record):
    """What a person said of a run as a whole; taking back appends the opposite."""

    id: Id = 0
    run_id: OfRun
    kind: str  # tag untag note accept withdraw delete restore ask
    value: str = ""
    user: str
    created: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredJudge(Record):
    """Who grades in one run, with everything that makes its judgments comparable or not."""

    UNIQUE: ClassVar = ("run_id", "name")

    id: Id = 0
    run_id: OfRun
    name: str
    kind: str
    is_language_model: bool
    prompt_hash: str
    details: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GradingCall(Record):
    """What came back from a grading call, and what it took."""

    confidence: float | None = None  # 0 to 1, from the probabilities of the answer tokens
    reasoning: str = ""
    raw: str = ""
    failure: str | None = None
    flags: list[str] | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    cost: float | None = None
    latency_s: float | None = None
    attempts: int = 1
    cached: bool = False
    reported_model: str | None = None
    created: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredJudgment(GradingCall):
    """One grading call: what came back, and what was understood of it."""

    UNIQUE: ClassVar = ("judge_id", "candidate_id", "baseline_id", "example_id", "order", "turn")
    INDEXES: ClassVar = {"judgment_created": ("judge_id", "id")}

    id: Id = 0
    judge_id: Annotated[int, Refers("judge", "CASCADE")]
    candidate_id: Annotated[int, Refers("model")]
    baseline_id: Annotated[int, Refers("model")]
    example_id: Annotated[int, Refers("example")]
    turn: Annotated[int, ZERO] = 0  # 0: the whole answer or conversation; from 1: that turn alone
    order: str  # candidate_first baseline_first
    winner: Literal["candidate", "baseline", "tie"] | None = None  # None when the judgment failed
    candidate_score: float | None = None
    baseline_score: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict(Record):
    """Candidate against baseline on one example, from both orders of one judge."""

    judge_id: Annotated[int, KEY, Refers("judge", "CASCADE")]
    candidate_id: Annotated[int, KEY, Refers("model")]
    baseline_id: Annotated[int, KEY, Refers("model")]
    example_id: Annotated[int, KEY, Refers("example")]
    turn: Annotated[int, KEY, ZERO] = 0
    outcome: Literal["win", "loss", "tie", "failed"]
    consistent: bool | None = None  # did both orders say the same; NULL when one failed, or none was asked
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedVerdicts(Record):
    """One judge's verdicts on one candidate against one baseline, counted."""

    wins: int
    losses: int
    ties: int
    failed: int
    win_rate: float | None = None
    low: float | None = None
    high: float | None = None
    position_bias: float | None = None
    length_controlled: float | None = None
    length_controlled_low: float | None = None
    length_controlled_high: float | None = None
    length_controlled_reason: str | None = None  # why there is none
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredWinRate(CountedVerdicts):
    """The verdicts over whole answers (turn 0), or those on one turn."""

    judge_id: Annotated[int, KEY, Refers("judge", "CASCADE")]
    candidate_id: Annotated[int, KEY, Refers("model")]
    baseline_id: Annotated[int, KEY, Refers("model")]
    turn: Annotated[int, KEY, ZERO] = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRating(GradingCall):
    """One pointwise grading call: one response, its score, and what was understood of it."""

    UNIQUE: ClassVar = ("judge_id", "model_id", "example_id", "turn")

    id: Id = 0
    judge_id: Annotated[int, Refers("judge", "CASCADE")]
    model_id: Annotated[int, Refers("model")]
    example_id: Annotated[int, Refers("example")]
    turn: int = 0  # 0: the whole answer or conversation; from 1: that turn alone
    score: float | None = None  # on the judge's own scale; NULL when the rating failed
    repeats: list[float | None] | None = None  # each time's score, where the judge was asked several times
    scores: dict[str, float] | None = None  # by criterion of the rubric


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking(Record):
    """A model's strength among all that one judge compared (Bradley-Terry, on Elo's scale)."""

    judge_id: Annotated[int, KEY, Refers("judge", "CASCADE")]
    model_id: Annotated[int, KEY, Refers("model")]
    turn: Annotated[int, KEY] = 0
    strength: float | None = None
    low: float | None = None
    high: float | None = None
    n: int
    reason: str | None = None


SHARED_RATES = "shared_rates"  # of an audit: the candidates' win rates over what all were judged on
WITHOUT_SYNTHETIC = "win_rate_without_synthetic"  # of an audit: over the examples that no model wrote
IDENTICAL = "identical answers"  # the reason of a tie without a call
# The source of a judge's grades of harm, which say nothing of how well a task is done.
HARM = "LLM-as-a-judge on harmful questions alone"
REFUSAL_RULES = "the wording rules of refusals"  # the subject of a judge's agreement with them


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit(Record):
    """One figure about a judge itself: a leaning, its agreement with another, the calls it saved.

    `subject` says about whom: "candidate against baseline", another judge, or nothing.
    """

    judge_id: Annotated[int, KEY, Refers("judge", "CASCADE")]
    measure: Annotated[str, KEY]
    subject: Annotated[str, KEY] = ""
    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    reason: str | None = None
    details: dict[str, Any] | None = None
