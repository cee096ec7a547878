"""When to stop asking a server that does not answer, and when to try it again."""

import threading
import time
from dataclasses import dataclass

FAILURES = 8  # in a row, without a success of any call
REFUSALS = 5  # connections that could not be made: nothing in a question causes that
CALLS = 3  # different questions: one that upsets its server is no outage
LONGEST_WAIT = 60.0
PATIENCE = 1800.0
FIRST_WAIT = 1.0


@dataclass(frozen=True, slots=True)
class Outage:
    """A server is not asked: since when, why, and for how many seconds more (by `time.time`)."""

    since: float
    reason: str
    wait: float
    tries: int
    over: bool  # it has lasted longer than the patience

    def text(self, address: str) -> str:
        """One line for people."""
        again = f"next try at {clock(time.time() + self.wait)}"
        return f"{address} does not answer since {clock(self.since)} ({self.reason}); {again}"


def clock(seconds: float) -> str:
    return time.strftime("%H:%M:%S UTC", time.gmtime(seconds))


class Breaker:
    """Counts failures in a row, and says how long to leave the server alone; for use from any thread.

    Closed until `FAILURES` in a row of at least `CALLS` different calls (or `REFUSALS` connections refused);
    then open: one try after each wait, which doubles from `first_wait` to a minute. A success closes it.
    `scale` shortens all times (tests).
    """

    def __init__(self, scale: float = 1.0) -> None:
        self._scale = scale
        self._lock = threading.Lock()
        self._outage: Outage | None = None
        self._era = 0
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
            self._outage = Outage(time.time(), reason, FIRST_WAIT * self._scale, 0, over=False)
            return self._outage

    def _lengthen(self, reason: str) -> Outage:
        assert self._outage is not None
        self._era += 1
        since, tries = self._outage.since, self._outage.tries + 1
        wait = min(LONGEST_WAIT, FIRST_WAIT * 2**tries) * self._scale
        over = time.time() - since > PATIENCE * self._scale
        self._outage = Outage(since, reason, wait, tries, over)
        return self._outage

    def forget(self) -> None:
        """Closes it without a success: somebody else decides what happens now."""
        with self._lock:
            self._outage = None
            self._reset()
