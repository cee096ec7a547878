"""Judges, their judgments, and what those add up to."""

from typing import Any

from sqlalchemy import Index, UniqueConstraint
from sqlmodel import Field, SQLModel

from store.tables import columns


class Judge(SQLModel, table=True):
    """Who grades in one run, with everything that makes its judgments comparable or not."""

    __table_args__ = (UniqueConstraint("run_id", "name"),)

    id: int | None = Field(default=None, primary_key=True)
    run_id: int = columns.run()
    name: str
    kind: str
    is_language_model: bool
    prompt_hash: str
    details: dict[str, Any] | None = columns.json()


class Judgment(SQLModel, table=True):
    """One grading call: what came back, and what was understood of it."""

    __table_args__ = (
        UniqueConstraint("judge_id", "candidate_id", "baseline_id", "example_id", "order", "turn"),
        Index("judgment_created", "judge_id", "id"),
    )

    id: int | None = Field(default=None, primary_key=True)
    judge_id: int = Field(foreign_key="judge.id", ondelete="CASCADE")
    candidate_id: int = Field(foreign_key="model.id")
    baseline_id: int = Field(foreign_key="model.id")
    example_id: int = Field(foreign_key="example.id")
    turn: int = 0  # 0: the whole answer or conversation; from 1: that turn alone
    order: str  # candidate_first baseline_first
    winner: str | None = None  # candidate baseline tie; NULL when the judgment failed
    candidate_score: float | None = None
    baseline_score: float | None = None
    confidence: float | None = None  # 0 to 1, from the probabilities of the answer tokens
    reasoning: str = ""
    raw: str = ""
    failure: str | None = None
    flags: list[str] | None = columns.json()
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
    turn: int = Field(default=0, primary_key=True)
    outcome: str  # win loss tie failed
    consistent: bool | None = None  # did both orders say the same; NULL when one failed
    reason: str | None = None


class WinRate(SQLModel, table=True):
    """One judge's verdicts on one candidate against one baseline, counted."""

    __table_args__ = {"sqlite_with_rowid": False}

    judge_id: int = Field(foreign_key="judge.id", ondelete="CASCADE", primary_key=True)
    candidate_id: int = Field(foreign_key="model.id", primary_key=True)
    baseline_id: int = Field(foreign_key="model.id", primary_key=True)
    turn: int = Field(default=0, primary_key=True)
    wins: int
    losses: int
    ties: int
    failed: int
    win_rate: float | None = None
    low: float | None = None
    high: float | None = None
    position_bias: float | None = None
    length_controlled: float | None = None
    length_controlled_low: float | None = None
    length_controlled_high: float | None = None
    reason: str | None = None


class Rating(SQLModel, table=True):
    """One pointwise grading call: one response, its score, and what was understood of it."""

    __table_args__ = (UniqueConstraint("judge_id", "model_id", "example_id", "turn"),)

    id: int | None = Field(default=None, primary_key=True)
    judge_id: int = Field(foreign_key="judge.id", ondelete="CASCADE")
    model_id: int = Field(foreign_key="model.id")
    example_id: int = Field(foreign_key="example.id")
    turn: int = 0  # 0: the whole answer or conversation; from 1: that turn alone
    score: float | None = None  # on the judge's own scale; NULL when the rating failed
    scores: dict[str, float] | None = columns.json()  # by criterion of the rubric
    confidence: float | None = None
    reasoning: str = ""
    raw: str = ""
    failure: str | None = None
    flags: list[str] | None = columns.json()
    tokens_in: int | None = None
    tokens_out: int | None = None
    cost: float | None = None
    latency_s: float | None = None
    attempts: int = 1
    cached: bool = False
    reported_model: str | None = None
    created: float


class Ranking(SQLModel, table=True):
    """A model's strength among all that one judge compared (Bradley-Terry, on Elo's scale)."""

    __table_args__ = {"sqlite_with_rowid": False}

    judge_id: int = Field(foreign_key="judge.id", ondelete="CASCADE", primary_key=True)
    model_id: int = Field(foreign_key="model.id", primary_key=True)
    turn: int = Field(default=0, primary_key=True)
    strength: float | None = None
    low: float | None = None
    high: float | None = None
    n: int
    reason: str | None = None


class Audit(SQLModel, table=True):
    """One figure about a judge itself: a leaning, its agreement with another, the calls it saved.

    `subject` says about whom: "candidate against baseline", another judge, or nothing.
    """

    __table_args__ = {"sqlite_with_rowid": False}

    judge_id: int = Field(foreign_key="judge.id", ondelete="CASCADE", primary_key=True)
    measure: str = Field(primary_key=True)
    subject: str = Field(default="", primary_key=True)
    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    reason: str | None = None
    details: dict[str, Any] | None = columns.json()
