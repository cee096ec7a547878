"""Questions to a model behind a server: with retries, within the server's limits, without leaking the key."""

import asyncio
import queue
import random
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, MutableSet
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import partial
from types import TracebackType
from typing import Any, Generic, Literal, Self, TypeVar

from engine.errors import CannotRun, Paused
from engine.servers.address import read_address, read_key
from engine.servers.control import LONGEST_PAUSE, Fault, Overloaded, call_number, server_at
from engine.servers.costs import Ledger, cost_of, worst_cost
from engine.servers.transport import Broken, NoConnection, RawAnswer, TooLong, Transport
from engine.servers.wire import (
    Native,
    NoReply,
    Reply,
    complaint_of,
    is_too_long,
    named_unsupported,
    quota_wait,
    read_reply,
    retry_after,
    without,
)

T = TypeVar("T")


class Pool(Generic[T]):
    """Coroutines running in a separate thread, and their results in the order in which they finish.

    Leaving the context cancels running coroutines, waits for them, and then awaits `close`.
    """

    def __init__(self, close: Callable[[], Awaitable[None]]) -> None:
        self._close = close
        self._finished: queue.SimpleQueue[Future[T]] = queue.SimpleQueue()
        self._under_way = 0
        self._paused: Paused | None = None
        self._held: Future[T] | None = None  # failed, and to be told after what was finished before it
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="servers", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def under_way(self) -> int:
        """How many coroutines have been started whose results were not given out."""
        return self._under_way

    @property
    def is_ending(self) -> bool:
        """Whether a pause will be raised once nothing is running: nothing new should begin."""
        return self._paused is not None

    def start(self, work: Coroutine[Any, Any, T]) -> None:
        self._under_way += 1
        asyncio.run_coroutine_threadsafe(work, self._loop).add_done_callback(self._finished.put)

    def next(self) -> T:
        """Waits for the next result; raises what its coroutine raised.

        Paused comes last: running calls have already been paid for.
        """
        while self._under_way or self._paused is None:
            if (result := self._result(self._finished.get())) is not None:
                return result[0]
        raise self._paused

    def batch(self, wait_s: float) -> list[T]:
        """All results that are there, waiting so long for the first; empty where none came. Raises as `next`.

        What was finished before something was raised is given out before it.
        """
        batch: list[T] = []
        while self._under_way or self._paused is None:
            try:
                finished = self._held or self._finished.get(timeout=0 if batch else wait_s)
            except queue.Empty:
                return batch
            if batch and finished.exception() is not None:
                self._held = finished
                return batch
            self._held = None
            if (result := self._result(finished)) is not None:
                batch += result
        if batch:
            return batch
        raise self._paused

    def _result(self, finished: Future[T]) -> list[T] | None:
        """The result in a list; None where the work was paused, which is raised once nothing is running."""
        self._under_way -= 1
        try:
            return [finished.result()]
        except Paused as error:
            self._paused = self._paused or error
            return None

    async def _end(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._close()
        await self._loop.shutdown_asyncgens()
        await self._loop.shutdown_default_executor()


BACKOFF_S = 0.5  # before the first retry, where the server names no time; doubles with each
_LONGEST_BACKOFF = 60  # times the first
_DOWN_TRIES = 10  # of one call at a server that answers nobody, before others are asked about
_BUSY_TRIES = 20  # of one call that is told to come later, and nothing else
_LEAST_QUESTION = "Be brief.", "Say yes."
_PATHS = {"chat": "/chat/completions", "completions": "/completions"}


class CallFailed(Exception):
    """The server answers others, but not this call; the reason is for people and contains no key."""

    def __init__(self, reason: str, attempts: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.attempts = attempts


class _Transient(Exception):
    """Worth another try, after `wait` seconds if the server said so; `down`: other calls may fail too."""

    def __init__(self, reason: str, wait: float | None = None, *, down: bool = True) -> None:
        super().__init__(reason)
        self.reason = reason
        self.wait = wait
        self.down = down


class _Unreachable(_Transient):
    """No connection could be made; `wrong`: nor will it be, because of the address or certificate."""

    def __init__(self, error: NoConnection) -> None:
        super().__init__(str(error))
        self.wrong = error.wrong


class _Unreadable(_Transient):
    """An answer with status 200 that is not a completion: a proxy's page, a truncated answer."""


class _Busy(_Transient, Overloaded):
    """Worth another try, with fewer parallel requests; `told`: the server itself says so (429)."""

    def __init__(self, reason: str, wait: float | None = None, *, told: bool = False) -> None:
        super().__init__(reason, wait, down=not told)
        self.told = told


class _Unsupported(Exception):
    """The server does not take these parameters."""

    def __init__(self, names: set[str], reason: str) -> None:
        super().__init__(reason)
        self.names = names


class _Final(Exception):
    """Another try would fail the same way."""


@dataclass(frozen=True, slots=True)
class Access:
    """The asker, the server, the model, and how long to retry.

    `who` begins every message about it: "judge gpt", "model served". `key_variable` is the environment
    variable that holds the key, None where none is needed; `key` is one that this process made itself.
    `native`: completions go through the server's own API.
    `concurrency` is the asker's own limit.
    `retries` are those of one call at a server that answers others. Unless `patient`, it waits for no outage.
    """

    who: str
    server: str
    model: str
    key_variable: str | None
    concurrency: int
    timeout_s: float
    retries: int
    api: Literal["chat", "completions"] = "chat"
    patient: bool = True
    key: str | None = field(default=None, repr=False)
    native: Native | None = None

    @property
    def shown(self) -> str:
        """The address for people."""
        return read_address(self.server).shown


def refused_access(access: Access, status: int) -> CannotRun:
    """The error for a server that refuses access: one for all calls."""
    if access.key_variable is None:
        return CannotRun(
            f"{access.who}: {access.shown} requires a key ({status})",
            "name the environment variable that holds it in api_key_env",
        )
    return CannotRun(
        f"{access.who}: {access.shown} does not accept the key in {access.key_variable} ({status})",
        f"put a valid key in {access.key_variable}, then resume; finished answers are saved",
    )


class Client:
    """Completions from one server, for use in one event loop. Close it there.

    The number of parallel calls is decided for the whole process (see `control`). Costs are booked in
    `ledger`; None: not counted. `refused` collects the names of optional parameters that the server
    does not accept; they are left out from then on, also by a later Client with the same set.
    `backoff_s` is the wait before the first retry where the server names none; it doubles with each.
    """

    def __init__(
        self,
        access: Access,
        refused: MutableSet[str],
        backoff_s: float = BACKOFF_S,
        ledger: Ledger | None = None,
    ) -> None:
        self._access = access
        address = read_address(access.server)
        if access.native is not None:
            address = replace(address, base=address.base.removesuffix("/v1"))
        self._shown = address.shown
        self._transport = Transport(address, access.key or read_key(access.who, access.key_variable))
        self._server = server_at(access.server, access.key_variable, backoff_s / BACKOFF_S)
        self._server.start()
        self._server.clients += 1
        self._own_places = asyncio.Semaphore(access.concurrency)
        self._ledger = ledger
        self._price = ledger.prices.of(access.model, access.server) if ledger else None
        self._refused = refused
        self._backoff_s = backoff_s
        self._jitter = random.Random(access.model)
        self.busy = 0  # requests under way

    async def close(self) -> None:
        self._server.clients -= 1
        await self._transport.close()

    async def complete(
        self, question: Mapping[str, Any], keep: Callable[[Reply], Awaitable[None]] | None = None
    ) -> Reply:
        """The answer to a question: a request's body without the model.

        No further call begins in this one's place before `keep` is done with the answer, so that a kill
        loses no more paid answers than there are places.

        Raises CallFailed when this call fails for good while the server answers others, CannotRun when every
        call would, and Paused, a CannotRun, when a person has to do something before calls can succeed.
        """
        body = {"model": self._access.model, **question}
        worst = None
        if self._price is not None:
            worst = worst_cost(self._price, question.get("messages", ()), question["max_tokens"])
        with self._server.call():
            if self._ledger is None:
                return await self._answered(body, keep)
            async with self._ledger.hold(worst) as bill:
                reply = await self._answered(body, keep)
                # Where the server counts no tokens, the purse assumes the worst.
                bill.cost = reply.cost if reply.cost is not None else worst
                return reply

    async def _answered(
        self, body: Mapping[str, Any], keep: Callable[[Reply], Awaitable[None]] | None
    ) -> Reply:
        call = call_number()
        attempts = retries = down = 0
        left_out: set[str] = set()
        while True:
            attempts += 1
            refused = self._refused | left_out
            try:
                async with self._own_places:
                    async with self._server.slot(call) as fault:
                        reply = await self._attempt(without(body, refused), fault)
                    self._server.answers += 1
                    # Only now is it known that the parameter was what stood in the way.
                    self._refused |= left_out
                    cost = cost_of(self._price, reply)
                    lost = sorted({*refused, *(reply.rejected or ())})
                    reply = replace(reply, attempts=attempts, cost=cost, rejected=lost or None)
                    if keep is not None:
                        await keep(reply)
                    return reply
            except _Unsupported as error:
                left_out |= error.names
            except _Final as error:
                raise CallFailed(str(error), attempts) from None
            except _Transient as error:
                self._end_of_patience(error, retries)
                counts = not isinstance(error, _Unreachable)
                if self._server.is_down and error.down:
                    # Not this call's fault: it waits with all others.
                    down += counts
                    if down > _DOWN_TRIES and await self._answers_others():
                        raise self._failed(error, attempts) from None
                    continue
                retries += counts
                if retries > self._tries(error):
                    if await self._answers_others():
                        raise self._failed(error, attempts) from None
                    self._never_answered(error)
                await self._wait(error, attempts - 1)

    def _tries(self, error: _Transient) -> int:
        told = isinstance(error, _Busy) and error.told
        return max(self._access.retries, _BUSY_TRIES) if told else self._access.retries

    def _failed(self, error: _Transient, attempts: int) -> CallFailed:
        return CallFailed(f"{error.reason} ({attempts} attempts)", attempts)

    def _end_of_patience(self, error: _Transient, retries: int) -> None:
        """Raises what no wait can change, or none that anybody should wait for."""
        if error.wait is not None and error.wait > LONGEST_PAUSE:
            raise self._server.give_up(
                f"{self._access.who}: {self._shown} asks to wait {error.wait:.0f} s: {error.reason}",
                "resume after that time; finished answers are saved",
            )
        if isinstance(error, _Unreachable) and error.wrong and not self._server.contacted:
            raise self._unreachable(error)
        if not self._access.patient and (self._server.is_down or retries >= self._access.retries):
            raise CannotRun(f"{self._access.who}: {self._shown} does not answer: {error.reason}")

    def _never_answered(self, error: _Transient) -> None:
        """Raises CannotRun where the server has not answered any request yet: waiting would not help."""
        if not self._server.contacted:
            raise self._unreachable(error)
        if isinstance(error, _Unreadable) and not self._server.answers:
            raise CannotRun(
                f"{self._access.who}: {self._shown} does not answer like the OpenAI API: {error.reason}",
                'correct the address in the plan, which usually ends in "/v1"; finished answers are saved',
            )

    def _unreachable(self, error: _Transient) -> CannotRun:
        return CannotRun(
            f"{self._access.who}: {self._shown} cannot be reached: {error.reason}",
            "start the server, or correct its address in the plan; finished answers are saved",
        )

    async def _answers_others(self) -> bool:
        """Whether the server answers a plain question now: then it is up.

        Without this, an outage would be blamed on the questions asked during it. Answers to other
        calls prove nothing: a server that shuts down may finish what it has begun.
        """
        plain = self._access.api == "completions"
        system, user = _LEAST_QUESTION
        messages = [{"role": "system", "content": system}, {"role": "user", "content": user}]
        asked = {"prompt": user} if plain else {"messages": messages}
        body = without({"model": self._access.model, **asked, "max_tokens": 1}, self._refused)
        try:
            async with self._own_places, self._server.slot(call_number()) as fault:
                try:
                    await self._attempt(body, fault)
                except _Transient as error:
                    fault.reason = error.reason  # a server that is busy for everybody is no better than none
                    raise
        except (_Final, _Unsupported):
            return True  # it refuses the question, and so it answers
        except _Transient:
            return False
        self._server.answers += 1
        return True

    async def _wait(self, error: _Transient, waits: int) -> None:
        """Waits as long as the server says, all calls together; else alone, twice as long each time."""
        if error.wait is not None:
            self._server.pause(error.wait, error.reason)
            return
        backoff = min(_LONGEST_BACKOFF, 2 ** min(waits, 16)) * self._backoff_s
        await asyncio.sleep(backoff * self._jitter.uniform(0.5, 1.0))

    async def _attempt(self, body: Mapping[str, Any], fault: Fault) -> Reply:
        timeout_s = self._access.timeout_s
        started = time.monotonic()
        self.busy += 1
        try:
            native = self._access.native
            path = _PATHS[self._access.api] if native is None else native.path
            sent = body if native is None else native.ask(body)
            answer = await self._transport.post(path, sent, timeout_s)
            self._server.contacted = True
            if answer.status >= 300:
                raise self._status_fault(answer, body)
            reply = self._read(answer, sent, time.monotonic() - started)
        except TimeoutError:
            fault.reason = f"no answer within {timeout_s:g} s"
            raise _Busy(fault.reason) from None
        except NoConnection as error:
            fault.reason, fault.refused = str(error), True
            raise _Unreachable(error) from None
        except Broken as error:
            fault.reason = str(error)
            raise _Transient(str(error)) from None
        except TooLong as error:
            raise _Final(str(error)) from None
        except _Transient as error:
            fault.reason, fault.neutral = error.reason if error.down else None, True
            raise
        finally:
            self.busy -= 1
        if wait := quota_wait(answer.headers, (reply.tokens_in or 0) + (reply.tokens_out or 0)):
            self._server.pause(wait, "its quota is used up")
        return reply

    def _status_fault(self, answer: RawAnswer, body: Mapping[str, Any]) -> Exception:
        status, data = answer.status, answer.json()
        error = data.get("error", data) if isinstance(data, dict) else None
        details = error if isinstance(error, dict) else {}
        if status in (401, 403):
            return refused_access(self._access, status)
        if status == 404 or 300 <= status < 400:
            return self._wrong_address(answer)
        complaint = complaint_of(error) or answer.content.decode("utf-8", "replace")
        reason = self._transport.clean(f"{status} {complaint}")
        if status == 402 or details.get("code") == "insufficient_quota":
            return self._server.give_up(
                f"{self._access.who}: {self._shown} requires payment first: {reason}",
                "check the account, then resume; finished answers are saved",
            )
        code = details.get("code")
        if status in (400, 422) and not is_too_long(code, complaint):
            names = named_unsupported(body, code, details.get("param"), complaint)
            if names:
                return _Unsupported(names, reason)
        if status == 429 or status >= 500:
            return _Busy(reason, _wait_of(answer), told=status == 429)
        return _Transient(reason, down=False) if status in (408, 409, 425) else _Final(reason)

    def _wrong_address(self, answer: RawAnswer) -> CannotRun:
        if answer.status == 404:
            said = f"has no model {self._access.model}, or the address is wrong (404)"
        else:
            to = self._transport.clean(answer.leads_to)
            said = f"redirects ({answer.status}) to {to}: redirects are not followed"
        return CannotRun(
            f"{self._access.who}: {self._shown} {said}",
            "correct the server or the model in the plan; finished answers are saved",
        )

    def _read(self, answer: RawAnswer, sent: Mapping[str, Any], latency_s: float) -> Reply:
        native, plain = self._access.native, self._access.api == "completions"
        read = None if native is None else partial(native.read, sent)
        try:
            return read_reply(answer.content, latency_s, self._transport.redact, plain=plain, read=read)
        except NoReply:
            said = answer.content.decode("utf-8", "replace")
            raise _Unreadable(self._transport.clean(f"no completion: {said}")) from None


def _wait_of(answer: RawAnswer) -> float | None:
    """How long a refusal says to wait: in so many words, or by the quota that it says is used up."""
    wait = retry_after(answer.headers)
    return quota_wait(answer.headers, 0) if wait is None and answer.status == 429 else wait
