"""What people said and looked at."""

from sqlalchemy import Index
from sqlmodel import Field, SQLModel


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
