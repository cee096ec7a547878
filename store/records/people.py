"""What people say of runs and answers."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

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
    kind: str  # tag untag note accept withdraw delete restore
    value: str = ""
    user: str
    created: float
