"""What judging costs: spent as it goes, and never more than was allowed."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from engine.errors import Paused
from engine.judges.prices import Price, Prices, read_prices
from engine.judges.wire import Reply

_BYTES_PER_TOKEN = 3  # fewer than any common text has: what a call could cost, not what it will
_WRAPPING = 50  # tokens that a server's chat template adds


@dataclass(slots=True)
class Bill:
    """What one call came to; None when no answer was paid for, or nobody knows."""

    cost: float | None = None


class Ledger:
    """One run's spending on judges, in US dollars; for use from any thread and event loop.

    `spent` starts with what the run has spent before.
    """

    def __init__(self, prices: Prices, max_cost: float | None = None, spent: float = 0.0) -> None:
        self.prices = prices
        self.max_cost = max_cost
        self._lock = threading.Lock()
        self._spent = spent
        self._held = 0.0
        self._holders = 0
        self._waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    @property
    def spent(self) -> float:
        return self._spent

    @asynccontextmanager
    async def hold(self, worst: float | None) -> AsyncIterator[Bill]:
        """Keeps `worst` dollars free while a call is under way, and books what it came to.

        Waits while the calls under way may yet turn out cheaper than feared. Raises Paused when the money
        that is left does not cover another call. None: the price is unknown, nothing is kept or booked.
        """
        if worst is None:
            yield Bill()
            return
        while not (granted := self._take(worst)):
            event = asyncio.Event()
            with self._lock:
                if not self._holders:
                    raise self._over()
                self._waiting.append((asyncio.get_running_loop(), event))
            await event.wait()
        assert granted
        bill = Bill()
        try:
            yield bill
        finally:
            self._give_back(worst, bill.cost or 0.0)

    def _take(self, worst: float) -> bool:
        with self._lock:
            if self.max_cost is not None and self._spent + self._held + worst > self.max_cost:
                return False
            self._held += worst
            self._holders += 1
            return True

    def book(self, cost: float) -> None:
        """Adds what was spent otherwise."""
        with self._lock:
            self._spent += cost

    def _give_back(self, worst: float, cost: float) -> None:
        with self._lock:
            self._held -= worst
            self._holders -= 1
            self._spent += cost
            waiting, self._waiting = self._waiting, []
        for loop, event in waiting:
            # A loop that has closed has taken its tasks along.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(event.set)

    def _over(self) -> Paused:
        return Paused(
            f"cost cap of ${self.max_cost:,.2f} reached: "
            f"${self._spent:,.2f} spent, another call could pass it",
            "raise max_cost, or resume with --max-cost; what was judged is kept",
        )


def worst_cost(price: Price, messages: Sequence[object], max_tokens: int) -> float:
    """The most that one call could cost, in US dollars."""
    size = len(json.dumps(messages, ensure_ascii=False).encode("utf-8", "surrogatepass"))
    return price.cost(size // _BYTES_PER_TOKEN + _WRAPPING, max_tokens)


def cost_of(price: Price | None, reply: Reply) -> float | None:
    """What an answer cost, in US dollars; None without a price, or where the server counted no tokens."""
    if price is None or reply.tokens_in is None or reply.tokens_out is None:
        return None
    return price.cost(reply.tokens_in, reply.tokens_out, min(reply.tokens_cached or 0, reply.tokens_in))


_current: Ledger | None = None


def open_ledger(ledger: Ledger) -> None:
    """Makes it this process's: a worker executes one run."""
    global _current  # one run, one process, one purse
    _current = ledger


def current_ledger() -> Ledger:
    """This process's ledger; without one that was opened: the shipped prices, no cap."""
    if _current is None:
        open_ledger(Ledger(read_prices()))
    assert _current is not None
    return _current
