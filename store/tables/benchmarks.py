"""Benchmark tasks as lm-eval ran them."""

from sqlalchemy import Index
from sqlmodel import Field, SQLModel


class BenchmarkScore(SQLModel, table=True):
    """One benchmark task's metric for one model, as lm-eval computed it."""

    __table_args__ = (Index("benchmarkscore_identity", "identity"), {"sqlite_with_rowid": False})

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
    # A hash of all that decides the value: weights, task, shots, limit, template.
    identity: str | None = None
    reused_from: int | None = None  # the run that measured it, where this one did not have to


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
