"""What is evaluated: examples, which of them a run takes, and what is known of them."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from store.records.columns import INDEXED, KEY, Id, OfRun, Record, Refers


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
