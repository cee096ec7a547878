"""Calls put to a judging model in some form, and its answers read in that form."""

from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from engine.judges.answers import ParseFailure
from engine.judges.asking import Answered, Asker, Messages, Question, no_reply
from engine.judges.cache import judgment_key
from engine.judges.material import sendable
from engine.servers.wire import Reply

C = TypeVar("C")  # a call: what is asked about
P = TypeVar("P")  # what an answer in that form says
_Call = TypeVar("_Call", contravariant=True)
_Parsed = TypeVar("_Parsed", covariant=True)


class Form(Protocol[_Call, _Parsed]):
    """How calls are shown to a model, and how its answers are read.

    `hash` (16 hex digits) identifies all of it: judgments under different hashes do not compare. `choices`
    are the values of the answer's deciding part, which come back as `Reply.choices` from who can weigh them.
    """

    hash: str
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
    """What one call brought: `said` is None exactly when `failure` says why."""

    call: C
    said: P | None
    reply: Reply
    failure: str | None
    cached: bool


def interview(asker: Asker, form: Form[C, P], calls: Iterable[C]) -> Generator[Heard[C, P], None, None]:
    """What each call brought, as it comes; a call that lacks what the form needs costs no request."""
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

    def problem(reply: Reply) -> str | None:
        said = form.read(reply.text)
        return _reason(reply, said) if isinstance(said, ParseFailure) else None

    def repair(answer: str, problem: str) -> Messages:
        return form.repair(messages, answer, problem)

    return Question(
        about=call,
        key=judgment_key(form.hash, messages),
        messages=messages,
        response_format=form.response_format,
        problem=problem,
        repair=repair,
        choices=form.choices,
    )


def _reason(reply: Reply, unreadable: ParseFailure) -> str:
    """Why an answer cannot be read, by its deeper reason where there is one."""
    if reply.refused is not None:
        return sendable(f"the judge refused: {reply.refused}")
    return "truncated at max_tokens" if reply.finish_reason == "length" else unreadable.reason
