"""The number of parallel requests from this process to a server, found by measuring."""

import asyncio
import threading
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

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
