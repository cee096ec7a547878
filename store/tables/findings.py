"""What a run concludes: comparisons, leaks and alerts."""

from typing import Any

from sqlmodel import Field, SQLModel

from store.tables import columns


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
    # What the comparison says: the ruling of engine.compare.ruling.
    standing: str
    family: str
    family_size: int
    p_corrected: float | None = None
    low_corrected: float | None = None
    high_corrected: float | None = None
    needed: int | None = None


class Leak(SQLModel, table=True):
    """One eval example found in the training data."""

    id: int | None = Field(default=None, primary_key=True)
    run_id: int = columns.run()
    example_id: int = Field(foreign_key="example.id")
    tier: str
    score: float
    train_line: int
    field: str
    excerpt: str
    train_text: str | None = None  # the training example it was found in


class Alert(SQLModel, table=True):
    """A gate or check that tripped."""

    id: int | None = Field(default=None, primary_key=True)
    run_id: int = columns.run()
    severity: str  # critical warning note
    kind: str
    candidate: str
    baseline: str | None = None
    measure: str
    message: str
    evidence: dict[str, Any] | None = columns.json()
    created: float
    # The alert of an earlier run that said the same and was acknowledged: this one is then acknowledged too,
    # or stands open again because it is worse.
    follows: int | None = None
    acknowledged: float | None = None
    acknowledged_by: str | None = None
    note: str | None = None
