"""How many requests may be under way at once: found out, not assumed."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Overloaded(Exception):
    """Raised inside a slot: the server asks for less."""


class Limiter:
    """Additive increase, multiplicative decrease, as in TCP (Jacobson 1988).

    Starts at `min(4, ceiling)` and grows by one with every request that succeeds until the first overload,
    then by one per round of requests. An overload halves it, once for all requests that were under way.
    """

    def __init__(self, ceiling: int) -> None:
        self._ceiling = ceiling
        self._limit = float(min(4, ceiling))
        self._active = 0
        self._decreases = 0
        self._resume_at = 0.0
        self._room = asyncio.Condition()

    @property
    def limit(self) -> int:
        return int(self._limit)

    def pause(self, seconds: float) -> None:
        """Lets nobody in for so long; who is in stays."""
        self._resume_at = max(self._resume_at, time.monotonic() + seconds)

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Holds one request's place. Leaving it without an exception counts as a success."""
        await self._enter()
        era = self._decreases
        try:
            yield
        except Overloaded:
            if era == self._decreases:
                self._limit = max(1.0, self._limit / 2)
                self._decreases += 1
            raise
        else:
            step = 1.0 if self._decreases == 0 else 1.0 / self._limit
            self._limit = min(float(self._ceiling), self._limit + step)
        finally:
            self._active -= 1
            async with self._room:
                self._room.notify(2)

    async def _enter(self) -> None:
        while True:
            async with self._room:
                await self._room.wait_for(lambda: self._active < self.limit)
                wait = self._resume_at - time.monotonic()
                if wait <= 0:
                    self._active += 1
                    return
            await asyncio.sleep(wait)
