"""What another tool's files hold, in the words of this one."""

from dataclasses import dataclass, field
from typing import Any, Literal

from engine.data.example import Example
from engine.judges.judge import Order
from engine.judges.verdicts import Verdict

Side = Literal["candidate", "baseline", "tie"]


@dataclass(frozen=True, slots=True)
class Grader:
    """A judge as those files name it; `details` is what they say of it."""

    name: str
    kind: Literal["pairwise", "pointwise"]
    details: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Game:
    """One grading call on a pair. `winner` is None exactly when `failure` says why.

    `turn` 0 is the whole conversation, from 1 that turn alone.
    """

    judge: str
    candidate: str
    baseline: str
    example: str
    turn: int
    order: Order
    winner: Side | None
    raw: str
    failure: str | None = None
    candidate_score: float | None = None
    baseline_score: float | None = None
    confidence: float | None = None
    cost: float | None = None
    latency_s: float | None = None


@dataclass(frozen=True, slots=True)
class ImportedMatch:
    """Candidate against baseline on one example and turn; `points`: the candidate's, where they are graded.

    Points are 0 to 1; None takes them from the outcome (a tie is half a win).
    """

    judge: str
    candidate: str
    baseline: str
    example: str
    turn: int
    outcome: Verdict
    consistent: bool | None
    points: float | None = None


@dataclass(frozen=True, slots=True)
class Grade:
    """One grading call on one response. `score` is None exactly when `failure` says why."""

    judge: str
    model: str
    example: str
    turn: int
    score: float | None
    raw: str
    failure: str | None = None


@dataclass(slots=True)
class Imported:
    """Everything that was read. `answers`: every turn's answer by model and example."""

    source: str
    models: list[str] = field(default_factory=list)
    baselines: list[str] = field(default_factory=list)
    examples: dict[str, Example] = field(default_factory=dict)
    answers: dict[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    graders: dict[str, Grader] = field(default_factory=dict)
    games: list[Game] = field(default_factory=list)
    matches: list[ImportedMatch] = field(default_factory=list)
    grades: list[Grade] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add_model(self, name: str) -> None:
        if name not in self.models:
            self.models.append(name)
