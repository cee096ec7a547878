"""The servers that this process asks, and how many calls at once each takes: one control for each of them.

A breaker says when to leave a server alone, a limiter how many requests it gets at once.
"""

import asyncio
import itertools
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass

from engine.errors import Paused
from engine.servers.address import read_address

START = 4
ROUND = 16  # a round is one request per place, but no fewer than these: its pace means something
GAIN = 1.1  # a round that is not this much faster than the best one has gained nothing
FLAT_ROUNDS = 2
HOLD_S = 30.0
_CLIMB, _PROBE = 1.0, 0.25  # growth per success: doubles in a round, or adds a quarter


class Overloaded(Exception):
    """Raised inside a slot: the server asks for less."""


@dataclass(slots=True, eq=False)
class _Waiter:
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[None]
    granted: bool = False

    def tell(self, error: Exception | None = None) -> None:
        def set_result() -> None:
            if self.future.done():
                return
            if error is None:
                self.future.set_result(None)
            else:
                self.future.set_exception(error)

        # A loop that has closed has taken its tasks along.
        with suppress(RuntimeError):
            self.loop.call_soon_threadsafe(set_result)


class Limiter:
    """One server's slots; every method may be called from any thread, `slot` in any event loop.

    Slow start and multiplicative decrease, as in TCP (Jacobson 1988), with a check that growth pays off:
    begins at `min(4, ceiling)` and doubles with every round while all places are in use, until an overload
    halves it (once for all requests that were under way; from then on it grows by one a round), or until two
    rounds in a row were not 10 % faster than the best one before. Then it goes back to what that round had,
    and tries a quarter more every 30 seconds.
    """

    def __init__(self, ceiling: int | None = None) -> None:
        self._ceiling = float("inf") if ceiling is None else float(ceiling)
        self._lock = threading.Lock()
        self._waiting: deque[_Waiter] = deque()
        self._wake_at = float("inf")  # when the next timer wakes those who wait
        self._active = 0
        self._resume_at = 0.0
        self._most: int | None = None  # that a person allows
        self._era = 0
        self._restart(START)

    def _restart(self, limit: int) -> None:
        self._limit = min(float(limit), self._ceiling)
        self._overloaded = False
        self._era += 1  # who is under way says nothing about the new limit
        self._climb(_CLIMB, 0.0)

    @property
    def limit(self) -> int:
        return int(self._limit) if self._most is None else min(int(self._limit), self._most)

    def allow(self, most: int | None) -> None:
        """Lets in no more than so many at once from now on, or as many as it finds out; who is in stays."""
        with self._lock:
            self._most = most
            self._admit()

    @property
    def active(self) -> int:
        return self._active

    @property
    def resume_at(self) -> float:
        """When the pause ends, by `time.monotonic`; in the past when there is none."""
        return self._resume_at

    def pause(self, seconds: float) -> None:
        """Admits no request for that long; admitted ones go on."""
        with self._lock:
            self._resume_at = max(self._resume_at, time.monotonic() + seconds)

    def collapse(self, seconds: float) -> None:
        """Admits no request for that long, then one at a time until one succeeds: a probe."""
        with self._lock:
            self._resume_at = time.monotonic() + seconds
            self._restart(1)

    def resume(self) -> None:
        """Ends a pause now."""
        with self._lock:
            self._resume_at = 0.0
            self._admit()

    def abort(self, error: Exception) -> None:
        """Raises the error for everybody who waits for a place."""
        with self._lock:
            while self._waiting:
                self._waiting.popleft().tell(error)

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Holds one request's place. Leaving it without an exception counts as a success."""
        await self._enter()
        era = self._era
        succeeded = overloaded = False
        try:
            yield
            succeeded = True
        except Overloaded:
            overloaded = True
            raise
        finally:
            with self._lock:
                if overloaded and era == self._era:
                    self._limit = max(1.0, self._limit / 2)
                    self._overloaded = True
                    self._era += 1
                elif succeeded:
                    self._grow()
                self._active -= 1
                self._admit()

    async def _enter(self) -> None:
        with self._lock:
            if self._active < self.limit and time.monotonic() >= self._resume_at:
                self._active += 1
                return
            loop = asyncio.get_running_loop()
            waiter = _Waiter(loop, loop.create_future())
            self._waiting.append(waiter)
            self._wake_later()
        try:
            await waiter.future
        except asyncio.CancelledError:
            with self._lock:
                if waiter.granted:
                    self._active -= 1
                    self._admit()
                elif waiter in self._waiting:
                    self._waiting.remove(waiter)
            raise

    def _admit(self) -> None:
        """Lets in who waits, first come, first served. The lock is held."""
        self._wake_later()
        if time.monotonic() < self._resume_at:
            return
        while self._waiting and self._active < self.limit:
            waiter = self._waiting.popleft()
            if waiter.future.cancelled() or waiter.loop.is_closed():
                continue
            waiter.granted = True
            self._active += 1
            waiter.tell()

    def _wake_later(self) -> None:
        """Sees to it that a pause ends for those who wait; a timer, since their loops may come and go."""
        wait = self._resume_at - time.monotonic()
        if wait <= 0 or not self._waiting or self._wake_at <= self._resume_at:
            return
        self._wake_at = self._resume_at
        timer = threading.Timer(wait, self._wake)
        timer.daemon = True
        timer.start()

    def _wake(self) -> None:
        with self._lock:
            self._wake_at = float("inf")
            self._admit()

    def _climb(self, step: float, best: float) -> None:
        self._step = step
        self._best = best  # successes a second
        self._best_limit = self._limit
        self._flat = 0
        self._hold_until = 0.0
        self._next_round()

    def _next_round(self) -> None:
        self._round_limit = self._limit
        self._succeeded = 0
        self._began = time.monotonic()

    def _grow(self) -> None:
        if self._active < self.limit and not self._waiting:
            self._next_round()  # places are free: the pace is somebody else's
            return
        if self._overloaded:
            self._limit = min(self._ceiling, self._limit + 1 / self._limit)
            return
        self._succeeded += 1
        if self._succeeded >= max(ROUND, self._round_limit):
            self._judge_round()
        if not self._hold_until:
            self._limit = min(self._ceiling, self._limit + self._step)

    def _judge_round(self) -> None:
        now = time.monotonic()
        pace = self._succeeded / max(now - self._began, 1e-9)
        if self._hold_until:
            if now >= self._hold_until:
                self._climb(_PROBE, pace)
            else:
                self._next_round()
            return
        if pace > GAIN * self._best:
            self._best, self._best_limit, self._flat = pace, self._round_limit, 0
        else:
            self._flat += 1
        if self._flat == FLAT_ROUNDS:
            self._limit = self._best_limit
            self._hold_until = now + HOLD_S
        self._next_round()


FAILURES = 8  # in a row, without a success of any call
REFUSALS = 5  # connections that could not be made: nothing in a question causes that
CALLS = 3  # different questions: one that upsets its server is no outage
LONGEST_WAIT = 60.0
PATIENCE = 1800.0
FIRST_WAIT = 1.0

WORTH_TELLING = 3.0  # seconds of a pause that people are told of
LONGEST_PAUSE = 300.0
GRACE_S = 1.5  # for answers under way when a person stops the run: they are paid for
_numbers = itertools.count()
_lock = threading.Lock()
_servers: dict[tuple[object, str | None], "Server"] = {}
_most: int | None = None  # calls at once that a person allows each server


@dataclass(frozen=True, slots=True)
class Outage:
    """A pause of a server: its start, its reason, and the seconds left (by `time.time`)."""

    since: float
    reason: str
    wait: float
    tries: int
    over: bool  # it has lasted longer than the patience

    def text(self, address: str) -> str:
        """One line for people."""
        again = f"next try at {clock(time.time() + self.wait)}"
        return f"{address} has not answered since {clock(self.since)} ({self.reason}); {again}"


def clock(seconds: float) -> str:
    return time.strftime("%H:%M:%S UTC", time.gmtime(seconds))


class Breaker:
    """Counts consecutive failures, and says how long to pause the server; for use from any thread.

    Closed until `FAILURES` in a row of at least `CALLS` different calls (or `REFUSALS` connections refused);
    then open: one try after each wait, which doubles from `first_wait` to a minute. A success closes it.
    `scale` shortens all times (tests).
    """

    def __init__(self, scale: float = 1.0) -> None:
        self._scale = scale
        self._lock = threading.Lock()
        self._outage: Outage | None = None
        self._era = 0
        self._began = 0.0  # when the outage did, by a clock that nobody sets
        self._reset()

    def _reset(self) -> None:
        self._failures = self._refusals = 0
        self._calls: set[int] = set()

    @property
    def outage(self) -> Outage | None:
        return self._outage

    @property
    def era(self) -> int:
        """Which wait this is; a request that began in an earlier one says nothing about this one."""
        return self._era

    def success(self) -> None:
        if self._failures or self._outage is not None:
            with self._lock:
                self._outage = None
                self._reset()

    def failure(self, call: int, reason: str, *, refused: bool, era: int) -> Outage | None:
        """Counts one failure of a call; returns the outage when a wait begins with it, else None."""
        with self._lock:
            if self._outage is not None:
                return self._lengthen(reason) if era == self._era else None
            self._failures += 1
            self._refusals += refused
            self._calls.add(call)
            if self._refusals < REFUSALS and (self._failures < FAILURES or len(self._calls) < CALLS):
                return None
            self._era += 1
            self._began = time.monotonic()
            self._outage = Outage(time.time(), reason, FIRST_WAIT * self._scale, 0, over=False)
            return self._outage

    def _lengthen(self, reason: str) -> Outage:
        assert self._outage is not None
        self._era += 1
        since, tries = self._outage.since, self._outage.tries + 1
        wait = min(LONGEST_WAIT, FIRST_WAIT * 2**tries) * self._scale
        over = time.monotonic() - self._began > PATIENCE * self._scale
        self._outage = Outage(since, reason, wait, tries, over)
        return self._outage

    def forget(self) -> None:
        """Closes it without a success: somebody else decides what happens now."""
        with self._lock:
            self._outage = None
            self._reset()


class Fault:
    """The failure of one request, as far as it concerns its server.

    Without a `reason` the server answers, with any content; `neutral`: the result proves neither.
    """

    __slots__ = ("neutral", "reason", "refused")

    def __init__(self) -> None:
        self.reason: str | None = None
        self.refused = False
        self.neutral = False


class Server:
    """One server under one key: the number of parallel requests, when to wait, when to retry."""

    def __init__(self, address: str, scale: float) -> None:
        self.address = address
        self.limiter = Limiter()
        self.breaker = Breaker(scale)
        self.contacted = False
        self.answers = 0  # so far, of any question
        self._given_up: Paused | None = None
        self._interrupted = False
        self.clients = 0  # who asks it now
        self._calls: set[tuple[asyncio.Task[object], asyncio.AbstractEventLoop]] = set()
        self._asked_to_wait = ""
        self.awaited: str | None = None  # what somebody waits for: its start, or a batch
        self.is_gone = False  # it has ended for good, so nobody waits for it

    @property
    def is_down(self) -> bool:
        return self.breaker.outage is not None

    @property
    def waiting(self) -> str | None:
        """Why this server is waited for, for people; None when it is not."""
        if self.is_gone:
            return None
        if (outage := self.breaker.outage) is not None:
            return outage.text(self.address)
        left = self.limiter.resume_at - time.monotonic()
        if left < WORTH_TELLING:
            return self.awaited
        return f"{self.address} asks to wait until {clock(time.time() + left)}{self._asked_to_wait}"

    @contextmanager
    def call(self) -> Iterator[None]:
        """One call from its first request to its answer, which `interrupt` ends with Paused."""
        task = asyncio.current_task()
        assert task is not None
        entry = (task, asyncio.get_running_loop())
        self._calls.add(entry)
        try:
            yield
        except asyncio.CancelledError:
            if self._given_up is None:
                raise
            raise self._given_up from None
        finally:
            self._calls.discard(entry)

    @asynccontextmanager
    async def slot(self, call: int) -> AsyncIterator[Fault]:
        """One request's place; what is written into the Fault decides whether the server counts as down.

        Raises Paused when it has been down for longer than anybody should wait.
        """
        self.check()
        async with self.limiter.slot():
            era = self.breaker.era
            fault = Fault()
            try:
                yield fault
            except Exception:
                self._note(call, fault, era)
                raise
            self._note(call, fault, era)

    def _note(self, call: int, fault: Fault, era: int) -> None:
        if fault.reason is not None:
            self._failed(call, fault.reason, fault.refused, era)
        elif not fault.neutral:
            self.breaker.success()

    def _failed(self, call: int, reason: str, refused: bool, era: int) -> None:
        outage = self.breaker.failure(call, reason, refused=refused, era=era)
        if outage is None:
            return
        if outage.over:
            self.breaker.forget()
            raise self.give_up(
                f"{self.address} has been unreachable since {clock(outage.since)}: {reason}",
                "start it, then resume; finished answers are saved",
            )
        self.limiter.collapse(outage.wait)

    def give_up(self, reason: str, way_out: str = "") -> Paused:
        """Ends the calls that wait for this server, and those to come until `start`; returns their error."""
        self._given_up = Paused(reason, way_out)
        self.limiter.abort(self._given_up)
        return self._given_up

    def interrupt(self, reason: str) -> None:
        """Like `give_up`; running requests have GRACE_S for their answers and are then cancelled."""
        error = self._given_up or self.give_up(reason)
        if not self._interrupted:
            self._interrupted = True
            timer = threading.Timer(GRACE_S, self._end, [error])
            timer.daemon = True
            timer.start()

    def _end(self, error: Paused) -> None:
        if self._given_up is error:
            for task, loop in list(self._calls):
                # A loop that has closed has taken its tasks along.
                with suppress(RuntimeError):
                    loop.call_soon_threadsafe(task.cancel)

    def check(self) -> None:
        """Raises what the calls that wait are ended with, when they are."""
        if self._given_up is not None:
            raise self._given_up

    def start(self) -> None:
        """Somebody begins to ask: what others gave up may have changed."""
        self._given_up = None
        self._interrupted = False

    def answers_others(self) -> None:
        """It answered another question while calls failed in a row: these failed by themselves."""
        self.breaker.success()
        self.limiter.resume()

    def pause(self, seconds: float, reason: str) -> None:
        """Waits as long as the server says, all calls together."""
        self._asked_to_wait = f" ({reason})" if reason else ""
        self.limiter.pause(min(seconds, LONGEST_PAUSE))


def server_at(address: str, key_variable: str | None, scale: float = 1.0) -> Server:
    """The one control of a server in this process; `scale` shortens the breaker's times where it is new."""
    read = read_address(address)
    place = (read.base, read.query), key_variable
    with _lock:
        if place not in _servers:
            _servers[place] = Server(read.shown, scale)
            _servers[place].limiter.allow(_most)
        return _servers[place]


def call_number() -> int:
    """A number that no other call of this process has."""
    return next(_numbers)


def waiting() -> str | None:
    """The wait of this process over all its servers; None when it is not waiting."""
    texts = [text for server in list(_servers.values()) if (text := server.waiting) is not None]
    return "; ".join(texts) or None


def try_again() -> None:
    """Ends all waits now: a person says that the servers are back."""
    for server in list(_servers.values()):
        server.limiter.resume()


def allow(most: int | None) -> None:
    """Asks each server for no more than so many answers at once; None leaves it to what the plan says and
    the server takes, which are never exceeded.
    """
    global _most
    if most != _most:
        _most = most
        for server in list(_servers.values()):
            server.limiter.allow(most)


def interrupt(reason: str) -> None:
    """Ends all calls: waiting ones at once, running ones when their answer arrives, or soon after."""
    for server in list(_servers.values()):
        if server.clients or server.waiting is not None:
            server.interrupt(reason)


def forget() -> None:
    """Drops what was learned about all servers, as a new process would."""
    with _lock:
        _servers.clear()
