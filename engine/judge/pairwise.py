"""A language model behind an OpenAI-compatible server that says which of two responses is better."""

import asyncio
import itertools
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from engine.judge.cache import JudgmentCache, judgment_key
from engine.judge.client import CallFailed, ChatServer, public_url
from engine.judge.judge import Call, Judgment, Side
from engine.judge.loop import Pool
from engine.judge.prompt import RESPONSE_FORMAT, Messages, PairwisePrompt
from engine.judge.rubric import Rubric
from engine.judge.verdicts import Parsed, ParseFailure, addresses_judge, parse_pairwise
from engine.judge.wire import Reply

if TYPE_CHECKING:
    from engine import plan


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What came of one question: the last reply, empty if none came, and why it is no judgment, if so."""

    key: str
    reply: Reply
    failure: str | None


class PairwiseJudge:
    """Asks for a JSON object with `reasoning`, `winner` and `scores`, once more if it cannot be read.

    An answer that could be read is in the cache as soon as it is there; a failure never is, so a rerun
    tries again. `backoff_s`: see ChatServer.
    """

    is_language_model = True

    def __init__(
        self, spec: "plan.Judge", rubric: Rubric | None, cache: JudgmentCache | None, backoff_s: float = 0.5
    ) -> None:
        self.name = spec.name
        self._spec = spec
        self._server = public_url(str(spec.server))
        self._cache = cache
        self._backoff_s = backoff_s
        self._prompt = PairwisePrompt(rubric, spec.seed)
        self._rejected: set[str] = set()
        self.prompt_hash = self._prompt.hash

    def describe(self) -> dict[str, Any]:
        """What decides the judgments; `rejected`: parameters that the server turned out not to take."""
        return {
            "kind": self._spec.kind,
            "model": self._spec.model,
            "server": self._server,
            "settings": self._settings(),
            "rejected": sorted(self._rejected),
            "prompt_hash": self.prompt_hash,
            "note": "a language model",
        }

    def judge(self, calls: Iterable[Call]) -> Iterator[Judgment]:
        """Judgments as they finish; reads at most two rounds of requests ahead in `calls`.

        With a cache, equal questions under way at the same time share one request.
        """
        source = iter(calls)
        numbers = itertools.count()
        waiting: dict[str, list[Call]] = {}
        pending = 0
        with ExitStack() as stack:
            session: tuple[ChatServer, Pool[_Outcome]] | None = None
            while True:
                while pending < 2 * self._spec.concurrency and (call := next(source, None)):
                    messages = self._prompt.messages(call)
                    key = self._key(messages) if self._cache else str(next(numbers))
                    if (known := self._known(key)) is not None:
                        yield _judgment(call, known, None, cached=True)
                        continue
                    pending += 1
                    if key in waiting:
                        waiting[key].append(call)
                        continue
                    # Opened when first needed: a rerun out of the cache needs neither server nor key.
                    if session is None:
                        session = self._open(stack)
                    server, pool = session
                    waiting[key] = [call]
                    pool.start(self._ask(server, key, messages))
                if session is None or not pending:
                    return
                outcome = session[1].next()
                for index, call in enumerate(waiting.pop(outcome.key)):
                    pending -= 1
                    yield _judgment(call, outcome.reply, outcome.failure, cached=index > 0)

    def _open(self, stack: ExitStack) -> tuple[ChatServer, Pool[_Outcome]]:
        server = ChatServer(self._spec, self._rejected, self._backoff_s)
        return server, stack.enter_context(Pool[_Outcome](server.close))

    def _settings(self) -> dict[str, Any]:
        spec = self._spec
        return {"temperature": spec.temperature, "seed": spec.seed, "max_tokens": spec.max_tokens}

    def _key(self, messages: Messages) -> str:
        return judgment_key(self._server, self._spec.model, self.prompt_hash, self._settings(), messages)

    def _known(self, key: str) -> Reply | None:
        reply = self._cache.get(key) if self._cache else None
        return reply if reply is not None and isinstance(_read(reply), Parsed) else None

    async def _ask(self, server: ChatServer, key: str, messages: Messages) -> _Outcome:
        try:
            reply = await server.complete(messages, RESPONSE_FORMAT)
        except CallFailed as error:
            return _Outcome(key, _no_reply(error.attempts), error.reason)
        failure = _failure(reply)
        if failure is not None and reply.finish_reason != "length" and reply.refused is None:
            again = self._prompt.repair(messages, reply.text, failure)
            try:
                reply = _repaired(reply, await server.complete(again, RESPONSE_FORMAT))
                failure = _failure(reply)
            except CallFailed as error:
                reply = replace(reply, attempts=reply.attempts + error.attempts)
                failure = f"{failure}; asked again: {error.reason}"
        if failure is None and self._cache is not None:
            await asyncio.to_thread(self._cache.put, key, reply)
        return _Outcome(key, reply, failure)


def _read(reply: Reply) -> Parsed | ParseFailure:
    parsed = parse_pairwise(reply.text)
    if isinstance(parsed, Parsed):
        return parsed
    if reply.refused is not None:
        return ParseFailure(f"the judge refused: {reply.refused}")
    return ParseFailure("truncated at max_tokens") if reply.finish_reason == "length" else parsed


def _failure(reply: Reply) -> str | None:
    read = _read(reply)
    return read.reason if isinstance(read, ParseFailure) else None


def _no_reply(attempts: int) -> Reply:
    return Reply("", None, None, None, None, latency_s=0.0, attempts=attempts)


def _repaired(first: Reply, second: Reply) -> Reply:
    """The second answer, with what both have cost."""
    return replace(
        second,
        tokens_in=_sum(first.tokens_in, second.tokens_in),
        tokens_out=_sum(first.tokens_out, second.tokens_out),
        latency_s=first.latency_s + second.latency_s,
        attempts=first.attempts + second.attempts,
        repaired=True,
    )


def _sum(first: int | None, second: int | None) -> int | None:
    return None if first is None or second is None else first + second


def _judgment(call: Call, reply: Reply, failure: str | None, cached: bool) -> Judgment:
    """A reply in terms of candidate and baseline instead of A and B."""
    parsed = _read(reply) if failure is None else None
    winner: Side | None = None
    reasoning = ""
    scores: dict[str, float] = {}
    flags: tuple[str, ...] = ()
    if isinstance(parsed, Parsed):
        a, b = call.sides
        winner = {"A": a, "B": b, "tie": "tie"}[parsed.winner]
        reasoning, flags = parsed.reasoning, parsed.flags
        scores = dict(zip(call.sides, parsed.scores, strict=True)) if parsed.scores else {}
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
        raw=reply.text,
        tokens_in=reply.tokens_in,
        tokens_out=reply.tokens_out,
        cost=None,
        latency_s=reply.latency_s,
        attempts=reply.attempts,
        cached=cached,
        failure=failure,
        flags=flags,
        reported_model=reply.model,
    )
