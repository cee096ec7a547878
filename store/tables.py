"""The tables, one class for each thing that the vocabulary names.

Rows are appended and stay; what changes in place is a run's status and request, an alert's acknowledgement,
and the two live tables (progress and vitals), which describe the present and nothing else.
Times are seconds since the epoch (UTC). A missing value is NULL and has its reason beside it.
"""

from typing import Any

from sqlalchemy import JSON, Column, Index, Integer, UniqueConstraint
from sqlmodel import Field, SQLModel


def _json() -> Any:
    return Field(default=None, sa_column=Column(JSON, nullable=True))


def _run() -> Any:
    return Field(foreign_key="run.id", ondelete="CASCADE", index=True)


class Run(SQLModel, table=True):
    """One execution of a plan, with all that is needed to repeat it."""

    id: int | None = Field(default=None, primary_key=True)
    name: str = Field(index=True)
    status: str = Field(default="queued", index=True)  # queued running paused finished failed cancelled
    request: str | None = None  # what a person asked of the worker: pause or cancel
    created: float
    started: float | None = None
    finished: float | None = None
    passed: bool | None = None
    error: str | None = None
    phase: str | None = None
    plan: str
    plan_hash: str = Field(index=True)
    plan_folder: str
    plan_file: str
    options: dict[str, Any] | None = _json()  # --limit, --only: part of what was asked
    eval_set: str | None = Field(default=None, index=True)  # version: a hash of the content
    eval_set_file: str | None = None
    data_summary: dict[str, Any] | None = _json()
    seed: int = 0
    environment: dict[str, Any] | None = _json()
    worker_pid: int | None = None
    worker_host: str | None = None
    heartbeat: float | None = None
    log: str | None = None


class Model(SQLModel, table=True):
    """One thing that answers, in its role in one run."""

    __table_args__ = (UniqueConstraint("run_id", "name"),)

    id: int | None = Field(default=None, primary_key=True)
    run_id: int = _run()
    name: str
    role: str
    kind: str  # local server recorded
    position: int
    fingerprint: str | None = None
    details: dict[str, Any] | None = _json()
    probe: dict[str, Any] | None = _json()
    passed: bool | None = None


class Example(SQLModel, table=True):
    """One eval item of one eval-set version, stored once whatever the number of runs on it."""

    __table_args__ = (UniqueConstraint("eval_set", "example"),)

    id: int | None = Field(default=None, primary_key=True)
    eval_set: str
    example: str  # the example's own id
    position: int
    query: str
    messages: list[dict[str, str]] | None = _json()
    references: list[str] | None = _json()
    label: str | None = None
    category: str | None = None
    extra: dict[str, Any] | None = _json()


class RunExample(SQLModel, table=True):
    """Which examples a run evaluates, in which order: its selection out of an eval set."""

    __table_args__ = {"sqlite_with_rowid": False}

    run_id: int = Field(foreign_key="run.id", ondelete="CASCADE", primary_key=True)
    position: int = Field(primary_key=True)
    example_id: int = Field(foreign_key="example.id")
    split: str | None = None


class Response(SQLModel, table=True):
    """What one model answered to one example."""

    __table_args__ = (UniqueConstraint("model_id", "example_id"),)

    id: int | None = Field(default=None, primary_key=True)
    model_id: int = Field(foreign_key="model.id", ondelete="CASCADE")
    example_id: int = Field(foreign_key="example.id")
    text: str | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    finish_reason: str | None = None
    latency_s: float | None = None
    cached: bool = False
    reason: str | None = None  # why there is no text
    created: float


class Metric(SQLModel, table=True):
    """A measure as a run used it: its declaration, version and settings."""

    __table_args__ = {"sqlite_with_rowid": False}

    run_id: int = Field(foreign_key="run.id", ondelete="CASCADE", primary_key=True)
    measure: str = Field(primary_key=True)
    position: int
    direction: str
    low: float | None = None
    high: float | None = None
    unit: str
    version: str
    source: str
    meaning: str
    settings: dict[str, Any] | None = _json()


class Score(SQLModel, table=True):
    """One measure's value for one response, or the reason why it has none."""

    __table_args__ = {"sqlite_with_rowid": False}

    model_id: int = Field(foreign_key="model.id", ondelete="CASCADE", primary_key=True)
    measure: str = Field(primary_key=True)
    example_id: int = Field(foreign_key="example.id", primary_key=True)
    value: float | None = None
    reason: str | None = None
    parts: list[float] | None = _json()  # additive statistics, where the value is not a plain mean


class ModelScore(SQLModel, table=True):
    """One measure's value for one model over a run's examples, with its interval."""

    __table_args__ = {"sqlite_with_rowid": False}

    model_id: int = Field(foreign_key="model.id", ondelete="CASCADE", primary_key=True)
    measure: str = Field(primary_key=True)
    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int
    missing: int
    reason: str | None = None


class Judge(SQLModel, table=True):
    """Who grades in one run, with everything that makes its judgments comparable or not."""

    __table_args__ = (UniqueConstraint("run_id", "name"),)

    id: int | None = Field(default=None, primary_key=True)
    run_id: int = _run()
    name: str
    kind: str
    is_language_model: bool
    prompt_hash: str
    details: dict[str, Any] | None = _json()


class Judgment(SQLModel, table=True):
    """One grading call: what came back, and what was understood of it."""

    __table_args__ = (
        UniqueConstraint("judge_id", "candidate_id", "baseline_id", "example_id", "order"),
        Index("judgment_created", "judge_id", "id"),
    )

    id: int | None = Field(default=None, primary_key=True)
    judge_id: int = Field(foreign_key="judge.id", ondelete="CASCADE")
    candidate_id: int = Field(foreign_key="model.id")
    baseline_id: int = Field(foreign_key="model.id")
    example_id: int = Field(foreign_key="example.id")
    order: str  # candidate_first baseline_first
    winner: str | None = None  # candidate baseline tie; NULL when the judgment failed
    candidate_score: float | None = None
    baseline_score: float | None = None
    reasoning: str = ""
    raw: str = ""
    failure: str | None = None
    flags: list[str] | None = _json()
    tokens_in: int | None = None
    tokens_out: int | None = None
    cost: float | None = None
    latency_s: float | None = None
    attempts: int = 1
    cached: bool = False
    reported_model: str | None = None
    created: float


class Verdict(SQLModel, table=True):
    """Candidate against baseline on one example, from both orders of one judge."""

    __table_args__ = {"sqlite_with_rowid": False}

    judge_id: int = Field(foreign_key="judge.id", ondelete="CASCADE", primary_key=True)
    candidate_id: int = Field(foreign_key="model.id", primary_key=True)
    baseline_id: int = Field(foreign_key="model.id", primary_key=True)
    example_id: int = Field(foreign_key="example.id", primary_key=True)
    outcome: str  # win loss tie failed
    consistent: bool | None = None  # did both orders say the same; NULL when one failed
    reason: str | None = None


class WinRate(SQLModel, table=True):
    """One judge's verdicts on one candidate against one baseline, counted."""

    __table_args__ = {"sqlite_with_rowid": False}

    judge_id: int = Field(foreign_key="judge.id", ondelete="CASCADE", primary_key=True)
    candidate_id: int = Field(foreign_key="model.id", primary_key=True)
    baseline_id: int = Field(foreign_key="model.id", primary_key=True)
    wins: int
    losses: int
    ties: int
    failed: int
    win_rate: float | None = None
    low: float | None = None
    high: float | None = None
    position_bias: float | None = None
    length_controlled: float | None = None
    reason: str | None = None


class Comparison(SQLModel, table=True):
    """Candidate against baseline on one measure, paired on the examples both have."""

    __table_args__ = {"sqlite_with_rowid": False}

    candidate_id: int = Field(foreign_key="model.id", ondelete="CASCADE", primary_key=True)
    baseline_id: int = Field(foreign_key="model.id", primary_key=True)
    kind: str = Field(primary_key=True)  # metric benchmark
    measure: str = Field(primary_key=True)
    direction: str
    candidate_value: float | None = None
    baseline_value: float | None = None
    delta: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    n: int = 0
    smallest_detectable: float | None = None
    reason: str | None = None


class BenchmarkScore(SQLModel, table=True):
    """One benchmark task's metric for one model, as lm-eval computed it."""

    __table_args__ = {"sqlite_with_rowid": False}

    model_id: int = Field(foreign_key="model.id", ondelete="CASCADE", primary_key=True)
    task: str = Field(primary_key=True)
    metric: str = Field(primary_key=True)
    filter: str = Field(default="none", primary_key=True)
    value: float | None = None
    stderr: float | None = None
    n: int
    version: str
    shots: int | None = None
    higher_is_better: bool
    task_hash: str | None = None
    reason: str | None = None


class BenchmarkSample(SQLModel, table=True):
    """One benchmark question as one model answered it; the hashes say which samples may be paired."""

    __table_args__ = {"sqlite_with_rowid": False}

    model_id: int = Field(foreign_key="model.id", ondelete="CASCADE", primary_key=True)
    task: str = Field(primary_key=True)
    metric: str = Field(primary_key=True)
    filter: str = Field(default="none", primary_key=True)
    doc_id: int = Field(primary_key=True)
    doc_hash: str
    prompt_hash: str
    target_hash: str
    value: float | None = None
    question: str
    target: str
    answer: str


class Leak(SQLModel, table=True):
    """One eval example found in the training data."""

    id: int | None = Field(default=None, primary_key=True)
    run_id: int = _run()
    example_id: int = Field(foreign_key="example.id")
    tier: str
    score: float
    train_line: int
    field: str
    excerpt: str


class Alert(SQLModel, table=True):
    """A gate or check that tripped."""

    id: int | None = Field(default=None, primary_key=True)
    run_id: int = _run()
    severity: str  # critical warning note
    kind: str
    candidate: str
    baseline: str | None = None
    measure: str
    message: str
    evidence: dict[str, Any] | None = _json()
    created: float
    acknowledged: float | None = None
    acknowledged_by: str | None = None
    note: str | None = None


class Annotation(SQLModel, table=True):
    """What a person said about a response or a pair; undoing appends, nothing is deleted."""

    __table_args__ = (Index("annotation_run_example", "run_id", "example_id"),)

    id: int | None = Field(default=None, primary_key=True)
    run_id: int = Field(foreign_key="run.id", ondelete="CASCADE")
    example_id: int = Field(foreign_key="example.id")
    left_id: int | None = Field(default=None, foreign_key="model.id")
    right_id: int | None = Field(default=None, foreign_key="model.id")
    kind: str  # preference note tag undo
    value: str
    undoes: int | None = Field(default=None, foreign_key="annotation.id")
    annotator: str
    created: float


class SplitUse(SQLModel, table=True):
    """The test lock's ledger: who looked at or ran on a locked split, when and why."""

    id: int | None = Field(default=None, primary_key=True)
    run_id: int | None = Field(default=None, foreign_key="run.id", ondelete="SET NULL")
    eval_set: str = Field(index=True)
    split: str
    user: str
    reason: str
    created: float


class Event(SQLModel, table=True):
    """Something worth telling that happened in a run: an error, a fallback, a resume."""

    id: int | None = Field(default=None, primary_key=True)
    run_id: int = _run()
    time: float
    level: str  # info warning error
    phase: str
    message: str


class Progress(SQLModel, table=True):
    """How far one piece of work of a phase is; overwritten as it goes."""

    __table_args__ = {"sqlite_with_rowid": False}

    run_id: int = Field(foreign_key="run.id", ondelete="CASCADE", primary_key=True)
    phase: str = Field(primary_key=True)
    item: str = Field(primary_key=True)
    position: int = Field(sa_column=Column(Integer, nullable=False))
    done: int
    total: int
    unit: str
    tokens: int = 0
    resumed_from: int = 0  # finished before this worker started: not part of the rate
    started: float | None = None
    updated: float | None = None
    seconds: float = 0.0


class Vitals(SQLModel, table=True):
    """What the machine is doing now, one row a device; overwritten as it goes."""

    __table_args__ = {"sqlite_with_rowid": False}

    run_id: int = Field(foreign_key="run.id", ondelete="CASCADE", primary_key=True)
    device: str = Field(primary_key=True)
    utilisation: float | None = None  # 0 to 1
    memory_used: int | None = None  # bytes
    memory_total: int | None = None
    power_w: float | None = None
    updated: float
