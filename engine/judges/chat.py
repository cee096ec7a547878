"""Chat models as judges: which of two responses is better, or what a single one is worth."""

from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any, Generic, Protocol, TypeVar

from engine.judges.answers import Parsed, ParseFailure, Scale, Scored, addresses_judge
from engine.judges.asking import Answered, Asker, Messages, Question, judgment_key, no_reply
from engine.judges.judge import Call, Judgment, Rating, RatingCall, Side
from engine.judges.questions import sendable
from engine.plan.rubric import Better
from engine.servers.wire import Reply

C = TypeVar("C")  # a call: what is asked about
P = TypeVar("P")  # what an answer in that form says
N = TypeVar("N", int, float)
_Call = TypeVar("_Call", contravariant=True)
_Parsed = TypeVar("_Parsed", covariant=True)


class Form(Protocol[_Call, _Parsed]):
    """How calls are presented to a model, and how its answers are parsed.

    `hash` (16 hex digits) identifies the form: judgments under different hashes are not comparable. `choices`
    are the values of the answer's deciding part, which come back as `Reply.choices` from who can weigh them.
    `nudge` asks for the simplest answer that can be read.
    """

    hash: str
    nudge: str
    response_format: dict[str, Any] | None
    choices: tuple[str, ...]

    def lacks(self, call: _Call) -> str | None:
        """Why this call cannot be asked about, None when it can."""
        ...

    def messages(self, call: _Call) -> Messages:
        """The question; the same call always gives the same text."""
        ...

    def read(self, text: str) -> _Parsed | ParseFailure: ...

    def repair(self, messages: Messages, answer: str, problem: str) -> Messages:
        """The conversation that asks once more after an answer that could not be read."""
        ...


@dataclass(frozen=True, slots=True)
class Heard(Generic[C, P]):
    """The outcome of one call: `said` is None exactly when `failure` says why."""

    call: C
    said: P | None
    reply: Reply
    failure: str | None
    cached: bool


def interview(asker: Asker, form: Form[C, P], calls: Iterable[C]) -> Generator[Heard[C, P], None, None]:
    """The outcomes of the calls as they arrive; a call without the form's inputs costs no request."""
    lacking: list[Heard[C, P]] = []

    def questions() -> Iterator[Question[C]]:
        for call in calls:
            if missing := form.lacks(call):
                lacking.append(Heard(call, None, no_reply(attempts=0), missing, cached=False))
            else:
                yield _question(form, call)

    with closing(asker.ask(questions())) as answers:
        for answered in answers:
            while lacking:
                yield lacking.pop()
            yield _heard(form, answered)
    yield from lacking


def _heard(form: Form[C, P], answered: Answered[C]) -> Heard[C, P]:
    call, reply, failure = answered.question.about, answered.reply, answered.failure
    said = None if failure else form.read(reply.text)
    if isinstance(said, ParseFailure):
        return Heard(call, None, reply, _reason(reply, said), answered.cached)
    return Heard(call, said, reply, failure, answered.cached)


def _question(form: Form[C, P], call: C) -> Question[C]:
    messages = form.messages(call)
    again = call.repeat if isinstance(call, RatingCall) else 0

    def problem(reply: Reply) -> str | None:
        said = form.read(reply.text)
        return _reason(reply, said) if isinstance(said, ParseFailure) else None

    def repair(answer: str, problem: str, last: bool) -> Messages:
        if not last:
            return form.repair(messages, answer, problem)
        # Without the answers so far, which may be what leads astray.
        return [*messages[:-1], {**messages[-1], "content": f"{messages[-1]['content']}\n\n{form.nudge}"}]

    return Question(
        about=call,
        key=judgment_key(form.hash, messages, *([again] if again else [])),
        messages=messages,
        response_format=form.response_format,
        problem=problem,
        repair=repair,
        choices=form.choices,
        repeat=again,
    )


def _reason(reply: Reply, unreadable: ParseFailure) -> str:
    """Why an answer cannot be parsed, with its cause if any."""
    if reply.refused is not None:
        return sendable(f"the judge refused: {reply.refused}")
    return "truncated at max_tokens" if reply.finish_reason == "length" else unreadable.reason


class PairwiseJudge:
    """Asks about the two orders of a pair in two independent calls."""

    def __init__(self, name: str, asker: Asker, form: Form[Call, Parsed]) -> None:
        self.name = name
        self.is_language_model = asker.is_language_model
        self.prompt_hash = form.hash
        self._asker = asker
        self._form = form

    def describe(self) -> dict[str, Any]:
        return {"kind": "pairwise", **self._asker.describe(), "prompt_hash": self.prompt_hash}

    def judge(self, calls: Iterable[Call]) -> Iterator[Judgment]:
        """Judgments as they finish."""
        with closing(interview(self._asker, self._form, calls)) as answers:
            for heard in answers:
                yield _judgment(heard)


def _judgment(heard: Heard[Call, Parsed]) -> Judgment:
    """A reply in terms of candidate and baseline instead of A and B."""
    call, said, reply = heard.call, heard.said, heard.reply
    winner: Side | None = None
    reasoning = ""
    scores: dict[str, float] = {}
    flags: tuple[str, ...] = ()
    confidence = None
    if said is not None:
        a, b = call.sides
        winner = {"A": a, "B": b, "tie": "tie"}[said.winner]
        reasoning, flags = said.reasoning, said.flags
        scores = dict(zip(call.sides, said.scores, strict=True)) if said.scores else {}
        confidence = reply.choices.get(said.winner) if reply.choices else None
    if reply.repaired:
        flags += ("repaired",)
    if any(map(addresses_judge, call.texts)):
        flags += ("addresses_judge",)
    return Judgment(
        call=call,
        winner=winner,
        reasoning=reasoning,
        candidate_score=scores.get("candidate"),
        baseline_score=scores.get("baseline"),
        flags=flags,
        confidence=confidence,
        **_effort(heard),
    )


def _effort(heard: Heard[Any, Any]) -> dict[str, Any]:
    """What an answer took, whatever it says."""
    reply = heard.reply
    return {
        "raw": reply.text,
        "tokens_in": reply.tokens_in,
        "tokens_out": reply.tokens_out,
        "cost": reply.cost,
        "latency_s": reply.latency_s,
        "attempts": reply.attempts,
        "cached": heard.cached,
        "failure": heard.failure,
        "reported_model": reply.version,
    }


class ScoringForm(Form[RatingCall, Scored], Protocol):
    """A form whose answers are scores on a scale; `criteria` are its rubric's, each with its own scale.

    `directions`: see `engine.plan.rubric.Rubric.directions`.
    """

    scale: Scale
    criteria: dict[str, Scale]
    directions: dict[str, Better]


class PointwiseJudge:
    """Asks about each response alone, `repeat` times, and gives the mean."""

    def __init__(self, name: str, asker: Asker, form: ScoringForm, repeat: int = 1) -> None:
        self.name = name
        self.is_language_model = asker.is_language_model
        self.prompt_hash = form.hash
        self.scale = form.scale
        self.criteria = form.criteria
        self.directions = form.directions
        self._asker = asker
        self._form = form
        self._repeat = repeat

    def describe(self) -> dict[str, Any]:
        return {
            "kind": "pointwise",
            **self._asker.describe(),
            **({"repeat": self._repeat} if self._repeat > 1 else {}),
            "prompt_hash": self.prompt_hash,
            "scale": self.scale,
            "criteria": self.criteria,
            **({"directions": self.directions} if self.directions else {}),
        }

    def rate(self, calls: Iterable[RatingCall]) -> Iterator[Rating]:
        """Ratings as they finish."""
        each = (replace(call, repeat=place) for call in calls for place in range(self._repeat))
        waiting: dict[tuple[str, str, int], list[Rating]] = {}
        with closing(interview(self._asker, self._form, each)) as answers:
            for heard in answers:
                item = heard.call.item
                of = (item.example.id, item.model, heard.call.turn)
                found = waiting.setdefault(of, [])
                found.append(_rating(heard))
                if len(found) == self._repeat:
                    yield _averaged(waiting.pop(of))


def _averaged(ratings: list[Rating]) -> Rating:
    """The mean of several ratings of the same response, over those that could be read."""
    ratings.sort(key=lambda rating: rating.call.repeat)
    first, *others = ratings
    if not others:
        return first
    read = [rating for rating in ratings if rating.score is not None]
    # What came out of the cache was paid for before.
    paid = [rating for rating in ratings if not rating.cached] or ratings
    best = read[0] if read else first
    return replace(
        best,
        call=first.call,
        score=_mean([rating.score for rating in read]),
        repeats=tuple(rating.score for rating in ratings),
        scores={name: fmean(rating.scores[name] for rating in read) for name in best.scores},
        extra={name: fmean(r.extra[name] for r in read if name in r.extra) for name in best.extra},
        confidence=_mean([rating.confidence for rating in read]),
        reasoning="\n\n".join(filter(None, (rating.reasoning for rating in ratings))),
        raw="\n\n".join(rating.raw for rating in ratings),
        flags=tuple(dict.fromkeys(flag for rating in ratings for flag in rating.flags)),
        tokens_in=_total([rating.tokens_in for rating in paid]),
        tokens_out=_total([rating.tokens_out for rating in paid]),
        cost=_total([rating.cost for rating in paid]),
        latency_s=sum(rating.latency_s for rating in paid),
        attempts=sum(rating.attempts for rating in paid),
        cached=all(rating.cached for rating in ratings),
    )


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _total(values: list[N | None]) -> N | None:
    """The sum; None where one is unknown."""
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _rating(heard: Heard[RatingCall, Scored]) -> Rating:
    said, reply = heard.said, heard.reply
    flags = said.flags if said else ()
    if reply.repaired:
        flags += ("repaired",)
    if addresses_judge(heard.call.text):
        flags += ("addresses_judge",)
    score = said.score if said else None
    confidence: float | None = None
    if said and reply.choices:
        score, confidence = _expected(reply.choices)
    return Rating(
        call=heard.call,
        score=score,
        scores=said.scores if said else {},
        confidence=confidence,
        reasoning=said.reasoning if said else "",
        flags=flags,
        extra=said.extra if said else {},
        **_effort(heard),
    )


def _expected(choices: dict[str, float]) -> tuple[float, float]:
    """The mean of the grades by their probabilities, and the likeliest one's probability (G-Eval)."""
    total = sum(choices.values())
    mean = sum(float(grade) * probability for grade, probability in choices.items()) / total
    return mean, max(choices.values()) / total
