"""Examples, models and what the models answered, with every metric's scores."""

from typing import Any

from sqlalchemy import UniqueConstraint
from sqlmodel import Field, SQLModel

from store.tables import columns


class Model(SQLModel, table=True):
    """One thing that answers, in its role in one run."""

    __table_args__ = (UniqueConstraint("run_id", "name"),)

    id: int | None = Field(default=None, primary_key=True)
    run_id: int = columns.run()
    name: str
    role: str
    kind: str  # local server recorded
    position: int
    fingerprint: str | None = None
    details: dict[str, Any] | None = columns.json()
    probe: dict[str, Any] | None = columns.json()
    passed: bool | None = None


class Example(SQLModel, table=True):
    """One eval item of one eval-set version, stored once whatever the number of runs on it."""

    __table_args__ = (UniqueConstraint("eval_set", "example"),)

    id: int | None = Field(default=None, primary_key=True)
    eval_set: str
    example: str  # the example's own id
    position: int
    query: str
    messages: list[dict[str, str]] | None = columns.json()
    references: list[str] | None = columns.json()
    label: str | None = None
    category: str | None = None
    extra: dict[str, Any] | None = columns.json()


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
    text: str | None = None  # the last turn's answer
    turns: list[str] | None = columns.json()  # every turn's answer, where an example has several
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
    settings: dict[str, Any] | None = columns.json()


class Score(SQLModel, table=True):
    """One measure's value for one response, or the reason why it has none."""

    __table_args__ = {"sqlite_with_rowid": False}

    model_id: int = Field(foreign_key="model.id", ondelete="CASCADE", primary_key=True)
    measure: str = Field(primary_key=True)
    example_id: int = Field(foreign_key="example.id", primary_key=True)
    value: float | None = None
    reason: str | None = None
    parts: list[float] | None = columns.json()  # additive statistics, where the value is not a plain mean


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


class SliceScore(SQLModel, table=True):
    """One measure's value for one model over a slice: the examples of a category, a length, a feature."""

    __table_args__ = {"sqlite_with_rowid": False}

    model_id: int = Field(foreign_key="model.id", ondelete="CASCADE", primary_key=True)
    measure: str = Field(primary_key=True)
    slice: str = Field(primary_key=True)
    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int
    missing: int
    p: float | None = None  # of the slice against the rest, corrected for the number of slices (Holm)
    reason: str | None = None


class SliceComparison(SQLModel, table=True):
    """Candidate against baseline on one measure over one slice."""

    __table_args__ = {"sqlite_with_rowid": False}

    candidate_id: int = Field(foreign_key="model.id", ondelete="CASCADE", primary_key=True)
    baseline_id: int = Field(foreign_key="model.id", primary_key=True)
    measure: str = Field(primary_key=True)
    slice: str = Field(primary_key=True)
    direction: str
    candidate_value: float | None = None
    baseline_value: float | None = None
    delta: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None  # corrected over the family
    n: int = 0
    reason: str | None = None
    # What the comparison says: the ruling of engine.compare.ruling.
    standing: str
    family: str
    family_size: int
    low_corrected: float | None = None
    high_corrected: float | None = None
    needed: int | None = None


class CorpusScore(SQLModel, table=True):
    """How well one model predicts one text of a corpus."""

    __table_args__ = {"sqlite_with_rowid": False}

    model_id: int = Field(foreign_key="model.id", ondelete="CASCADE", primary_key=True)
    corpus: str = Field(primary_key=True)
    text: int = Field(primary_key=True)  # its place in the corpus
    nll: float | None = None  # nats
    tokens: int = 0  # predicted
    bytes: int = 0  # of UTF-8
    reason: str | None = None


class Disparity(SQLModel, table=True):
    """How one measure differs when nothing but a group term of the prompt is swapped."""

    __table_args__ = {"sqlite_with_rowid": False}

    model_id: int = Field(foreign_key="model.id", ondelete="CASCADE", primary_key=True)
    measure: str = Field(primary_key=True)
    first: str = Field(primary_key=True)
    second: str = Field(primary_key=True)
    delta: float | None = None  # first less second
    low: float | None = None
    high: float | None = None
    p: float | None = None
    n: int = 0
    reason: str | None = None
