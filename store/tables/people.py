"""What people said and looked at."""

from sqlalchemy import Index
from sqlmodel import Field, SQLModel

from store.tables import columns


class Annotation(SQLModel, table=True):
    """What a person said about a response or a pair; undoing appends, nothing is deleted."""

    __table_args__ = (Index("annotation_run_example", "run_id", "example_id"),)

    id: int | None = Field(default=None, primary_key=True)
    run_id: int = Field(foreign_key="run.id", ondelete="CASCADE")
    example_id: int = Field(foreign_key="example.id")
    left_id: int | None = Field(default=None, foreign_key="model.id")
    right_id: int | None = Field(default=None, foreign_key="model.id")
    kind: str  # preference thumbs rating tag note correction flag undo
    value: str
    criterion: str | None = None  # of a rating: which of the rubric's
    blind: bool = False  # were the models' names hidden
    control: bool = False  # a repeated item, which measures the person's consistency
    queue: str | None = None  # in which it was met: only a random one stands for all examples
    seconds: float | None = None  # that the person looked before deciding
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


class RunMark(SQLModel, table=True):
    """What a person said of a run as a whole; taking back appends the opposite."""

    id: int | None = Field(default=None, primary_key=True)
    run_id: int = columns.run()
    kind: str  # tag untag note accept withdraw delete restore
    value: str = ""
    user: str
    created: float


class Exclusion(SQLModel, table=True):
    """An example that a person took out of its eval set, or put back; the newest word on an example counts.

    It is known by its id and its query, so that an edited question is a new example.
    """

    __table_args__ = (Index("exclusion_example", "example", "query_hash"),)

    id: int | None = Field(default=None, primary_key=True)
    eval_set: str  # the version in which the person saw it
    example: str
    query_hash: str
    excluded: bool
    reason: str
    user: str
    created: float


class FailureTag(SQLModel, table=True):
    """A kind of failure that people tag answers with."""

    name: str = Field(primary_key=True)
    letter: str | None = None
    merged_into: str | None = None  # the tag that stands for this one now
    created_by: str
    created: float


class ReviewPlace(SQLModel, table=True):
    """Where a person left off in one queue of one run's review."""

    __table_args__ = {"sqlite_with_rowid": False}

    run_id: int = Field(foreign_key="run.id", ondelete="CASCADE", primary_key=True)
    annotator: str = Field(primary_key=True)
    queue: str = Field(primary_key=True)
    example_id: int = Field(foreign_key="example.id")
    updated: float
