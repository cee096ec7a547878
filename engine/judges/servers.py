"""The servers that this process asks: one control of each, whoever asks and from whatever thread."""

import asyncio
import itertools
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from urllib.parse import urlsplit, urlunsplit

from engine.errors import Paused
from engine.judges.breaker import Breaker, clock
from engine.judges.limiter import Limiter

WORTH_TELLING = 3.0  # seconds of a pause that people are told of
LONGEST_PAUSE = 300.0
GRACE_S = 1.5  # for answers under way when a person stops the run: they are paid for
_numbers = itertools.count()
_lock = threading.Lock()
_servers: dict[tuple[str, str | None], "Server"] = {}
_most: int | None = None  # calls at once that a person allows each server


def public_url(server: str) -> str:
    """A server's address without what may be secret in it: user, password, query."""
    parts = urlsplit(server)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), "", ""))


class Fault:
    """What went wrong with one request, as far as it says something about its server."""

    __slots__ = ("reason", "refused")

    def __init__(self) -> None:
        self.reason: str | None = None  # None: the server answers, whatever it says
        self.refused = False


class Server:
    """One server under one key: how many requests at once, when to wait, when to try again."""

    def __init__(self, address: str, scale: float) -> None:
        self.address = address
        self.limiter = Limiter()
        self.breaker = Breaker(scale)
        self.contacted = False
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
        """What this server is waited for, for people; None when it is not."""
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
        if fault.reason is None:
            self.breaker.success()
        else:
            self._failed(call, fault.reason, fault.refused, era)

    def _failed(self, call: int, reason: str, refused: bool, era: int) -> None:
        outage = self.breaker.failure(call, reason, refused=refused, era=era)
        if outage is None:
            return
        if outage.over:
            self.breaker.forget()
            raise self.give_up(
                f"{self.address} cannot be reached, since {clock(outage.since)}: {reason}",
                "start it, then resume; what was judged is kept",
            )
        self.limiter.collapse(outage.wait)

    def give_up(self, reason: str, way_out: str = "") -> Paused:
        """Ends the calls that wait for this server, and those to come until `start`; returns their error."""
        self._given_up = Paused(reason, way_out)
        self.limiter.abort(self._given_up)
        return self._given_up

    def interrupt(self, reason: str) -> None:
        """As `give_up`; requests under way have GRACE_S for their answers, and are ended then."""
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
    place = (public_url(address), key_variable)
    with _lock:
        if place not in _servers:
            _servers[place] = Server(place[0], scale)
            _servers[place].limiter.allow(_most)
        return _servers[place]


def call_number() -> int:
    """A number that no other call of this process has."""
    return next(_numbers)


def waiting() -> str | None:
    """What this process waits for, of all its servers; None when it works."""
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
    """Ends all calls, those that wait at once, those under way when their answer is there, or soon after."""
    for server in list(_servers.values()):
        if server.clients or server.waiting is not None:
            server.interrupt(reason)


def forget() -> None:
    """Drops what was learned about all servers, as a new process would."""
    with _lock:
        _servers.clear()
