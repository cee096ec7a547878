"""The servers that this process asks: one control each, shared by all askers and threads.

A breaker says when to leave a server alone, a limiter how many requests it gets at once.
"""

import asyncio
import itertools
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass

from engine.errors import Paused
from engine.servers.address import read_address
from engine.servers.limiter import Limiter

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
        self.batch: str | None = None  # the batch that somebody waits for

    @property
    def is_down(self) -> bool:
        return self.breaker.outage is not None

    @property
    def waiting(self) -> str | None:
        """Why this server is waited for, for people; None when it is not."""
        if (outage := self.breaker.outage) is not None:
            return outage.text(self.address)
        left = self.limiter.resume_at - time.monotonic()
        if left < WORTH_TELLING:
            return self.batch
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
