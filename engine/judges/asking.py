"""Questions to a judging model and its answers. Each answer is paid for once."""

import asyncio
import hashlib
import itertools
import json
from collections.abc import Callable, Generator, Iterable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from engine.servers.client import BACKOFF_S, Access, CallFailed, Client, Pool
from engine.servers.costs import current_ledger
from engine.servers.wire import Reply
from store.cache import JsonCache

if TYPE_CHECKING:
    from engine.plan import plan


def judgment_key(*parts: Any) -> str:
    """The key of one answer: a hash over everything that decides it, as JSON."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


class JudgmentCache(JsonCache):
    """Judges' replies on disk, as JSON."""

    def get(self, key: str) -> Reply | None:
        """The answer kept under the key, with the figures of its first time."""
        value = super().get(key)
        if value is None:
            return None
        try:
            reply = Reply(**value)
        except TypeError:
            reply = None
        if reply is None or not isinstance(reply.text, str):
            self.drop(key)
            return None
        return reply

    def put(self, key: str, reply: Reply) -> None:
        super().put(key, asdict(reply))


RE_ASKS = 2  # where an answer cannot be read
Messages = list[dict[str, str]]
T = TypeVar("T")
Number = TypeVar("Number", int, float)


@dataclass(frozen=True, slots=True)
class Question(Generic[T]):
    """One question, with everything that is needed to get an answer that can be parsed.

    `about` is for the caller. `key` hashes the prompt and everything that decides how the answer is parsed;
    the judging model adds its identity to it. `response_format`: the answer's JSON schema as servers
    take it, None for free text. `problem` says why a reply cannot be read, None when it can; `repair` is
    the conversation that asks once more, from the answer, its problem and whether it is the last time.
    `choices`: the values that the deciding part of the answer may have, for askers that can weigh them
    (see `Reply.choices`). `repeat`: which of several times it is that this is asked, from 0.
    """

    about: T
    key: str
    messages: Messages
    response_format: dict[str, Any] | None
    problem: Callable[[Reply], str | None]
    repair: Callable[[str, str, bool], Messages]
    choices: tuple[str, ...] = ()
    repeat: int = 0


@dataclass(frozen=True, slots=True)
class Answered(Generic[T]):
    """The outcome of one question: the last reply, empty if none came, and why it is unusable, if so."""

    question: Question[T]
    reply: Reply
    failure: str | None
    cached: bool


class Asker(Protocol):
    """One judging model, wherever it runs."""

    is_language_model: bool

    def describe(self) -> dict[str, Any]:
        """JSON-able facts that decide the answers: `model`, `server` (or None), `settings`, `rejected`."""
        ...

    def ask(self, questions: Iterable[Question[T]]) -> Generator[Answered[T], None, None]:
        """Yields answers as they finish, in any order; reads a bounded number of questions ahead, in the
        caller's thread.

        Closing the generator cancels what is outstanding. Raises CannotRun when nothing could be answered.
        """
        ...


def access_of(spec: "plan.Judge", patient: bool = True, who: str = "judge") -> Access:
    """How a plan's judge, or `who` else asks as one does, reaches its server."""
    return Access(
        who=f"{who} {spec.name}",
        server=str(spec.server),
        model=spec.model or "",
        key_variable=spec.api_key_env,
        concurrency=spec.concurrency,
        timeout_s=spec.timeout_s,
        retries=spec.retries,
        patient=patient,
    )


def request(
    spec: "plan.Judge", messages: Messages, response_format: dict[str, Any] | None, repeat: int
) -> dict[str, Any]:
    """A question as OpenAI's API takes it, without the model's name."""
    body = {
        "messages": messages,
        "max_tokens": spec.max_tokens,
        "response_format": response_format,
        "temperature": spec.temperature,
        "seed": spec.seed + repeat,
    }
    return {name: value for name, value in body.items() if value is not None}


class ServerAsker:
    """Asks an OpenAI-compatible server, and up to RE_ASKS times more where an answer cannot be parsed.

    A parsed answer is cached at once; a failure never is, so a rerun tries again.
    `backoff_s`: see Client; `patient` and `who`: see Access.
    """

    is_language_model = True

    def __init__(
        self,
        spec: "plan.Judge",
        cache: JudgmentCache | None,
        backoff_s: float = BACKOFF_S,
        patient: bool = True,
        who: str = "judge",
    ) -> None:
        self._spec = spec
        self._access = access_of(spec, patient, who)
        self._server = self._access.shown
        self._cache = cache
        self._backoff_s = backoff_s
        self._rejected: set[str] = set()
        self._kept_without: set[str] = set()

    def describe(self) -> dict[str, Any]:
        """Everything that decides the answers; `rejected`: parameters that the server refuses, or did when
        a cached answer was made.
        """
        return {
            "model": self._spec.model,
            "server": self._server,
            "settings": self._settings(),
            "rejected": sorted(self._rejected | self._kept_without),
            "note": "a language model",
        }

    def ask(self, questions: Iterable[Question[T]]) -> Generator[Answered[T], None, None]:
        """Answers as they finish; reads at most two rounds of requests ahead in `questions`.

        With a cache, equal questions in flight share one request.
        """
        source = iter(questions)
        numbers = itertools.count()
        waiting: dict[str, list[Question[T]]] = {}
        pending = 0
        with ExitStack() as stack:
            session: tuple[Client, Pool[_Outcome]] | None = None
            while True:
                while pending < 2 * self._spec.concurrency and (question := next(source, None)):
                    key = self._key(question) if self._cache else str(next(numbers))
                    if (known := self._known(key, question)) is not None:
                        yield Answered(question, known, None, cached=True)
                        continue
                    pending += 1
                    if key in waiting:
                        waiting[key].append(question)
                        continue
                    # Opened when first needed: a rerun out of the cache needs neither server nor key.
                    if session is None:
                        session = self._open(stack)
                    server, pool = session
                    waiting[key] = [question]
                    pool.start(self._ask(server, key, question))
                if session is None or not pending:
                    return
                outcome = session[1].next()
                for index, question in enumerate(waiting.pop(outcome.key)):
                    pending -= 1
                    yield Answered(question, outcome.reply, outcome.failure, cached=index > 0)

    def _open(self, stack: ExitStack) -> "tuple[Client, Pool[_Outcome]]":
        server = Client(self._access, self._rejected, self._backoff_s, current_ledger())
        return server, stack.enter_context(Pool[_Outcome](server.close))

    def _settings(self) -> dict[str, Any]:
        spec = self._spec
        return {"temperature": spec.temperature, "seed": spec.seed, "max_tokens": spec.max_tokens}

    def _key(self, question: Question[T]) -> str:
        return judgment_key(self._server, self._spec.model, self._settings(), question.key)

    def _known(self, key: str, question: Question[T]) -> Reply | None:
        reply = self._cache.get(key) if self._cache else None
        if reply is None or question.problem(reply) is not None:
            return None
        self._kept_without |= set(reply.rejected or ())
        return reply

    async def _ask(self, server: Client, key: str, question: Question[T]) -> "_Outcome":
        messages, form = question.messages, question.response_format
        reply: Reply | None = None
        failure: str | None = None

        async def keep(answer: Reply) -> None:
            nonlocal reply, failure
            reply = answer if reply is None else repaired(reply, answer)
            failure = question.problem(reply)
            if failure is None and self._cache is not None:
                await asyncio.to_thread(self._cache.put, key, reply)

        for again in range(1 + RE_ASKS):
            if reply is not None and failure is not None:
                # A schema may be what stands in the way: the last time goes without.
                last = again == RE_ASKS
                messages, form = question.repair(reply.text, failure, last), None if last else form
            try:
                await server.complete(request(self._spec, messages, form, question.repeat), keep)
            except CallFailed as error:
                if reply is None:
                    return _Outcome(key, no_reply(error.attempts), error.reason)
                reply = replace(reply, attempts=reply.attempts + error.attempts)
                failure = f"{failure}; asked again: {error.reason}"
                break
            assert reply is not None
            if failure is None or not may_be_repaired(reply):
                break
        assert reply is not None
        return _Outcome(key, reply, failure)


@dataclass(frozen=True, slots=True)
class _Outcome:
    key: str
    reply: Reply
    failure: str | None


def no_reply(attempts: int) -> Reply:
    """The placeholder for a reply that never came."""
    return Reply("", None, None, None, None, latency_s=0.0, attempts=attempts)


def may_be_repaired(reply: Reply) -> bool:
    """Whether asking again could end otherwise: not where the answer was cut off or refused."""
    return reply.finish_reason != "length" and reply.refused is None


def repaired(first: Reply, second: Reply) -> Reply:
    """The second answer, with what both have cost."""
    return replace(
        second,
        tokens_in=added(first.tokens_in, second.tokens_in),
        tokens_out=added(first.tokens_out, second.tokens_out),
        tokens_cached=added(first.tokens_cached, second.tokens_cached),
        cost=added(first.cost, second.cost),
        latency_s=first.latency_s + second.latency_s,
        attempts=first.attempts + second.attempts,
        repaired=True,
    )


def added(first: Number | None, second: Number | None) -> Number | None:
    """The sum of two figures; None where one is not known."""
    return None if first is None or second is None else first + second
