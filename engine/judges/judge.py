"""The judge interfaces: calls in, judgments of pairs or ratings of responses out as they finish."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from engine.data.example import Example

Order = Literal["candidate_first", "baseline_first"]
Side = Literal["candidate", "baseline", "tie"]
ORDERS: tuple[Order, Order] = ("candidate_first", "baseline_first")
WHOLE = 0  # the turn that stands for the whole answer or conversation


@dataclass(frozen=True, slots=True)
class Pair:
    """Two models' responses to one example; the texts are the last turn's, `…_turns` every turn's answer."""

    example: "Example"
    candidate: str
    candidate_text: str
    baseline: str
    baseline_text: str
    candidate_turns: tuple[str, ...] = ()
    baseline_turns: tuple[str, ...] = ()

    @property
    def turns(self) -> int:
        """How many turns both models answered, of an example with several; else 0."""
        return shared_turns(self.example, self.candidate_turns, self.baseline_turns)

    def is_identical(self, turn: int = WHOLE) -> bool:
        """Whether the judge would see twice the same, up to that turn or (0) as a whole."""
        count = turn or self.turns
        same_turns = self.candidate_turns[:count] == self.baseline_turns[:count]
        return same_turns and (turn > 0 or self.candidate_text == self.baseline_text)


@dataclass(frozen=True, slots=True)
class Call:
    """One question to a judge: a pair, and which response is shown first ("A").

    Turn 0 is the whole answer or conversation, turn 1 and up that turn alone, given those before.
    """

    pair: Pair
    order: Order
    turn: int = WHOLE

    @property
    def texts(self) -> tuple[str, str]:
        """The responses as the judge sees them: A, then B; the turn's answers where one is judged."""
        pair = self.pair
        if self.turn:
            texts = (pair.candidate_turns[self.turn - 1], pair.baseline_turns[self.turn - 1])
        else:
            texts = (pair.candidate_text, pair.baseline_text)
        return texts if self.order == "candidate_first" else texts[::-1]

    @property
    def conversations(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """A's and B's answers up to the judged turn, all of them for the whole; empty for a single answer."""
        pair, count = self.pair, self.turn or self.pair.turns
        turns = (pair.candidate_turns[:count], pair.baseline_turns[:count])
        return turns if self.order == "candidate_first" else turns[::-1]

    @property
    def sides(self) -> tuple[Literal["candidate", "baseline"], Literal["candidate", "baseline"]]:
        """The model names of A, then of B."""
        return ("candidate", "baseline") if self.order == "candidate_first" else ("baseline", "candidate")


@dataclass(frozen=True, slots=True, kw_only=True)
class GradingOutcome:
    """What came back from one call, and what it took.

    Tokens and `attempts` (requests sent) count retries' answers and the repair too; `latency_s` is the
    time of the answered requests, waits left out. A cached outcome keeps the figures of its first time.
    """

    reasoning: str
    raw: str = ""
    tokens_in: int | None = None
    tokens_out: int | None = None
    cost: float | None = None
    latency_s: float = 0.0
    attempts: int = 1
    cached: bool = False
    failure: str | None
    flags: tuple[str, ...]
    reported_model: str | None = None
    confidence: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgment(GradingOutcome):
    """The outcome of one call.

    `winner` is None exactly when `failure` says why. Scores are 1 to 10, None where the judge gave none.
    `confidence`: the winner's probability, 0 to 1, where the judge's answer tokens were weighed.
    Flags: "addresses_judge" (a response speaks to the judge), "repaired" (read only after asking again),
    "contradicts_scores" (the scores point elsewhere; the winner stands), "no_scores" (none, or outside 1-10).
    """

    call: Call
    winner: Side | None
    candidate_score: float | None
    baseline_score: float | None


@dataclass(frozen=True, slots=True)
class Item:
    """One model's response to one example; the text is the last turn's, `turns` every turn's answer."""

    example: "Example"
    model: str
    text: str
    turns: tuple[str, ...] = ()

    @property
    def turn_count(self) -> int:
        """How many turns the model answered, of an example with several; else 0."""
        return shared_turns(self.example, self.turns)


@dataclass(frozen=True, slots=True)
class RatingCall:
    """One question to a rater: a response, as a whole (turn 0) or at one turn; `repeat` counts the times."""

    item: Item
    turn: int = WHOLE
    repeat: int = 0

    @property
    def text(self) -> str:
        """The response as the rater sees it; the turn's answer where one is rated."""
        return self.item.turns[self.turn - 1] if self.turn else self.item.text

    @property
    def conversation(self) -> tuple[str, ...]:
        """The answers up to the rated turn, all of them for the whole; empty for a single answer."""
        return self.item.turns[: self.turn or self.item.turn_count]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rating(GradingOutcome):
    """The outcome of one rating call.

    `score` is on the rater's own scale, None exactly when `failure` says why; with a rubric it is the
    weighted mean of `scores`, its grades by criterion. Where the answer tokens were weighed, the score is
    the expected one and `confidence` the probability of the likeliest.
    Flags: "addresses_judge", "repaired", "contradicts_scores" (the rater's own total is another).
    """

    call: RatingCall
    score: float | None
    scores: dict[str, float]
    extra: dict[str, float] = field(default_factory=dict)  # other numbers of the answer, by their names
    repeats: tuple[float | None, ...] = ()  # each time's score, where the rater was asked several times


class PairJudge(Protocol):
    """Judges calls independently: both orders of a pair are two calls."""

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


class Rater(Protocol):
    """Rates responses independently."""

    name: str
    is_language_model: bool
    prompt_hash: str
    scale: tuple[int, int]
    criteria: dict[str, tuple[int, int]]  # of the rubric, each with its scale; empty without one

    def describe(self) -> dict[str, Any]:
        """As a judge's, with `scale` and `criteria`."""
        ...

    def rate(self, calls: Iterable[RatingCall]) -> Iterator[Rating]:
        """As a judge's `judge`."""
        ...


def shared_turns(example: "Example", *answers: tuple[str, ...]) -> int:
    """How many of an example's turns all these models answered; 0 where it has no more than one turn."""
    count = min([len(example.turns), *map(len, answers)])
    return count if len(example.turns) > 1 else 0
