"""Production traffic: what people asked, what they got and said of it, and what follows from it.

Sessions and users are salted hashes, never the ids themselves.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from store.records.columns import INDEXED, KEY, Id, Mentions, Record

UNKNOWN_MODEL = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficEvent(Record):
    """One request and its answer. Its id is a hash of the source's own id, else of what makes it one event,
    so that the same log imported twice adds nothing.
    """

    INDEXES: ClassVar[Mapping[str, Sequence[str]]] = {"ix_trafficevent_when": ("time", "variant")}

    id: Annotated[str, KEY]
    trace: Annotated[str | None, INDEXED] = None  # of what it was a part; feedback may be on that
    within: Annotated[str | None, INDEXED] = None  # the call that it is the inside of, if that is one, too
    time: float  # when it was asked
    received: float  # when it came into this store
    source: str  # the format that it came from
    model: str
    version: str | None = None
    variant: str | None = None  # the arm of an A/B test
    shadow: bool = False  # the answer was made and not shown to anyone
    question: Annotated[str, INDEXED]  # hash of what was said, but for the system's turn
    messages: list[dict[str, Any]]
    response: str | None = None
    calls: list[dict[str, Any]] | None = None  # of tools
    finish_reason: str | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    latency_s: float | None = None
    session: str | None = None
    user: Annotated[str | None, INDEXED] = None
    tags: list[str] | None = None
    personal: list[str] | None = None  # kinds of personal data found in the texts
    masked: bool = False  # they were masked before they were stored
    reason: str | None = None  # why there is no response


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficFeedback(Record):
    """What a person said of one answer; it may come before its event does, or without it."""

    id: Annotated[str, KEY]
    event_id: Annotated[str, Mentions("trafficevent"), INDEXED]
    time: float
    received: float
    thumbs: int | None = None  # 1 or -1
    rating: float | None = None
    correction: str | None = None
    comment: str | None = None
    user: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficReceipt(Record):
    """The collector's answer to an idempotency key: the same request again adds nothing, and gets it, too.

    The key and the content are there as salted hashes.
    """

    key: Annotated[str, KEY]
    content: str  # of the request
    ids: list[str]
    received: Annotated[float, INDEXED]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficMeasures(Record):
    """What was computed of one event, by which version of the rules. None: not known, or not asked of it.

    `cluster` and `distance` say where its question lies among others, in the `space` of that name.
    """

    event_id: Annotated[str, KEY, Mentions("trafficevent")]
    version: str
    characters: int | None = None  # of the response
    cut: bool | None = None  # it ended at the token limit
    refused: bool | None = None
    well_formed: bool | None = None  # in the format that the question asks for
    language: str | None = None  # of the response
    same_language: bool | None = None  # as the question's
    traits: list[str] | None = None  # what the question is like
    space: str | None = None
    cluster: int | None = None  # of questions
    distance: float | None = None  # from the nearest question of the eval set, 0 to 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficWeek(Record):
    """The run whose examples are events of a week, random or the worst ones, for judges and people."""

    UNIQUE: ClassVar = ("start", "variant", "purpose")

    id: Id = 0
    start: float
    variant: str
    purpose: str  # random worst
    run_id: Annotated[int, Mentions("run")]
    n: int  # answers


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficAlert(Record):
    """A measure that left its reference, from the period on in which that was told first."""

    UNIQUE: ClassVar = ("start", "days", "variant", "measure", "reference")

    id: Id = 0
    start: float  # of the period
    days: int  # the period's length
    variant: str
    measure: str
    reference: str  # what it was held against, in words
    cause: str | None = None  # input model format latency; None: nothing tells
    evidence: dict[str, Any]
    created: float
    acknowledged: float | None = None
    by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalProposal(Record):
    """An event that should become an example of the eval set, or a question that a model wrote for it,
    without personal data, and what a person decided of it.

    `synthetic` says of what a model wrote how that came about: its kind, way, source, prompt, model and seed.
    """

    UNIQUE: ClassVar = ("event_id", "eval_set")

    id: Id = 0
    event_id: Annotated[str, Mentions("trafficevent")]  # or the id of what a model wrote
    eval_set: str  # the file that it would go into
    origin: str  # correction thumbs cluster synthetic
    why: str
    messages: list[dict[str, Any]]
    reference: str | None = None
    rejected: str | None = None  # the response that was given, which the reference is to replace
    personal: list[str] | None = None  # kinds of personal data that were masked
    nearest: str | None = None  # the example of the eval set that asks most nearly the same
    similarity: float | None = None  # to it: the cosine of their words, 0 to 1
    created: float
    decision: str | None = None  # accepted training rejected; None: open
    decided: float | None = None
    by: str | None = None
    synthetic: dict[str, Any] | None = None
