"""What a judge is: calls go in, judgments come out as they finish."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from engine import plan
    from engine.example import Example

Order = Literal["candidate_first", "baseline_first"]
Side = Literal["candidate", "baseline", "tie"]
ORDERS: tuple[Order, Order] = ("candidate_first", "baseline_first")


@dataclass(frozen=True, slots=True)
class Pair:
    """Two models' responses to one example."""

    example: "Example"
    candidate: str
    candidate_text: str
    baseline: str
    baseline_text: str


@dataclass(frozen=True, slots=True)
class Call:
    """One question to a judge: a pair, and which response stands in the first place ("A")."""

    pair: Pair
    order: Order

    @property
    def texts(self) -> tuple[str, str]:
        """The responses as the judge sees them: A, then B."""
        texts = (self.pair.candidate_text, self.pair.baseline_text)
        return texts if self.order == "candidate_first" else texts[::-1]

    @property
    def sides(self) -> tuple[Literal["candidate", "baseline"], Literal["candidate", "baseline"]]:
        """Who stands behind A, then behind B."""
        return ("candidate", "baseline") if self.order == "candidate_first" else ("baseline", "candidate")


@dataclass(frozen=True, slots=True)
class Judgment:
    """The outcome of one call.

    `winner` is None exactly when `failure` says why. Scores are 1 to 10, None where the judge gave none.
    Tokens and `attempts` (requests sent) count retries' answers and the repair too; `latency_s` is the
    time of the answered requests, waits left out. A cached judgment keeps the figures of its first time.
    Flags: "addresses_judge" (a response speaks to the judge), "repaired" (read only after asking again),
    "contradicts_scores" (the scores point elsewhere; the winner stands), "no_scores" (none, or outside 1-10).
    """

    call: Call
    winner: Side | None
    reasoning: str
    candidate_score: float | None
    baseline_score: float | None
    raw: str
    tokens_in: int | None
    tokens_out: int | None
    cost: float | None
    latency_s: float
    attempts: int
    cached: bool
    failure: str | None
    flags: tuple[str, ...]
    reported_model: str | None


class Judge(Protocol):
    """Judges calls, each on its own: both orders of a pair are two calls."""

    name: str
    is_language_model: bool
    prompt_hash: str

    def describe(self) -> dict[str, Any]:
        """JSON-able facts: kind, model, server without credentials, settings, prompt hash, note."""
        ...

    def judge(self, calls: Iterable[Call]) -> Iterator[Judgment]:
        """Yields judgments as they finish, in any order; `calls` is read as needed, in the caller's thread.

        Closing the iterator cancels what is outstanding. Raises CannotRun when no call could succeed: a
        wrong key, an unknown model, a server that cannot be reached.
        """
        ...


def calls_for(pairs: Iterable[Pair]) -> Iterator[Call]:
    """Every pair in both orders, one after the other."""
    return (Call(pair, order) for pair in pairs for order in ORDERS)


def load_judge(spec: "plan.Judge", cache_folder: Path | None) -> Judge:
    """The judge that a plan names; judgments are kept in `cache_folder` if given.

    Raises BadInput when its rubric cannot be read.
    """
    if spec.embedded:
        from engine.judge.reference import ReferenceJudge

        return ReferenceJudge(spec.name)
    from engine.judge.cache import JudgmentCache
    from engine.judge.pairwise import PairwiseJudge
    from engine.judge.rubric import read_rubric

    rubric = read_rubric(spec.rubric) if spec.rubric else None
    return PairwiseJudge(spec, rubric, JudgmentCache(cache_folder / "judgments") if cache_folder else None)
