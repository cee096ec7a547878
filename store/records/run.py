"""Runs and what they evaluate: the request, how far it is, what happened, and the examples they take."""

import time
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

from store.records.columns import HERE, INDEXED, KEY, ZERO, Id, OfRun, Record, Refers


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredExample(Record):
    """One eval item of one eval-set version, stored once whatever the number of runs on it."""

    UNIQUE: ClassVar = ("eval_set", "example")

    id: Id = 0
    eval_set: str
    example: str  # the example's own id
    position: int
    query: str
    messages: list[dict[str, str]] | None = None
    references: list[str] | None = None
    label: str | None = None
    category: str | None = None
    extra: dict[str, Any] | None = None


OF_SUITES = "suite"  # the split of a question that is none of the run's own eval set


@dataclass(frozen=True, slots=True, kw_only=True)
class RunExample(Record):
    """Which examples a run evaluates, in which order: its selection out of an eval set."""

    run_id: Annotated[int, KEY, Refers("run", "CASCADE")]
    position: Annotated[int, KEY]
    example_id: Annotated[int, Refers("example")]
    split: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredLeak(Record):
    """One eval example found in the training data."""

    id: Id = 0
    run_id: OfRun
    example_id: Annotated[int, Refers("example")]
    tier: str
    score: float
    train_line: int
    field: str
    excerpt: str
    train_text: str | None = None  # the training example it was found in


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitUse(Record):
    """The test lock's ledger: who looked at or ran on a locked split, when and why."""

    id: Id = 0
    run_id: Annotated[int | None, Refers("run", "SET NULL")] = None
    eval_set: Annotated[str, INDEXED]
    split: str
    user: str
    reason: str
    created: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Exclusion(Record):
    """An example that a person took out of its eval set, or put back; the newest word on an example counts.

    It is known by its id and its query, so that an edited question is a new example.
    """

    INDEXES: ClassVar = {"exclusion_example": ("example", "query_hash")}

    id: Id = 0
    eval_set: str  # the version in which the person saw it
    example: str
    query_hash: str
    excluded: bool
    reason: str
    user: str
    created: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Run(Record):
    """One execution of a plan, with all that is needed to repeat it."""

    id: Id = 0
    name: Annotated[str, INDEXED]
    status: Annotated[str, INDEXED] = "queued"  # queued running paused finished failed cancelled
    request: str | None = None  # what a person asked of the worker: pause or cancel
    created: float = field(default_factory=time.time)
    started: float | None = None
    finished: float | None = None
    passed: bool | None = None
    error: str | None = None
    waiting: str | None = None  # what the worker waits for: a server that is down, a cost cap
    concurrency: int | None = None  # how many calls at once a person asked for while it runs
    deleted: float | None = None  # when a person put it away; it can be brought back
    phase: str | None = None
    plan: str
    plan_hash: Annotated[str, INDEXED]
    plan_folder: str
    plan_file: str
    options: dict[str, Any] | None = None  # --limit, --only: part of what was asked
    eval_set: Annotated[str | None, INDEXED] = None  # version: a hash of the content
    eval_set_file: str | None = None
    data_summary: dict[str, Any] | None = None
    seed: int = 0
    environment: dict[str, Any] | None = None
    worker_pid: Annotated[int | None, HERE] = None
    worker_host: str | None = None
    heartbeat: float | None = None
    log: Annotated[str | None, HERE] = None
    priority: Annotated[int | None, HERE] = None  # in the store's queue, the highest first; None: not of it
    joined: Annotated[float | None, HERE] = None  # the queue: its order within one priority
    gpu: Annotated[int | None, HERE] = None  # the number of the GPU that the queue gave it

    @property
    def imported(self) -> str | None:
        """The tool whose published results the run holds; None for one that was carried out here."""
        return (self.options or {}).get("imported")

    @property
    def no_data(self) -> str:
        """What stands where the run has no version of an eval set."""
        return f"none, imported from {self.imported}" if self.imported else "not read yet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress(Record):
    """How far one piece of work of a phase is; overwritten as it goes."""

    run_id: Annotated[int, KEY, Refers("run", "CASCADE")]
    phase: Annotated[str, KEY]
    item: Annotated[str, KEY]
    position: int
    done: int
    total: int
    unit: str
    tokens: int = 0  # written by a model or a judge
    prompt_tokens: Annotated[int, ZERO] = 0  # read
    prompt_seconds: Annotated[float, ZERO] = 0.0  # of `seconds`, spent reading prompts
    slots: int | None = None  # rows that can be under way at once: slots, or calls to a server
    busy: int | None = None  # of these, under way now
    cost: float | None = None  # US dollars
    resumed_from: int = 0  # finished before this worker started: not part of the rate
    started: float | None = None
    updated: float | None = None
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Vitals(Record):
    """What the machine is doing now, one row a device; overwritten as it goes."""

    run_id: Annotated[int, KEY, Refers("run", "CASCADE")]
    device: Annotated[str, KEY]
    utilisation: float | None = None  # 0 to 1
    memory_used: int | None = None  # bytes
    memory_total: int | None = None
    power_w: float | None = None
    temperature_c: float | None = None
    updated: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Event(Record):
    """Something worth telling that happened in a run: an error, a fallback, a resume."""

    id: Id = 0
    run_id: OfRun
    time: float
    level: str  # info warning error
    phase: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Track(Record):
    """Where a run stands in one experiment tracker, which may follow the run by hours and never fails it."""

    run_id: Annotated[int, KEY, Refers("run", "CASCADE")]
    tracker: Annotated[str, KEY]  # mlflow wandb tensorboard trackio
    place: str  # address or folder, without keys
    tracked: str | None = None  # the tracker's own id of the run
    status: str  # waiting sent failed
    attempts: int = 0
    reason: str | None = None
    updated: float
