"""An event loop beside a program that has none: coroutines there, an ordinary iterator here."""

import asyncio
import queue
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from engine.errors import Paused

T = TypeVar("T")


class Pool(Generic[T]):
    """Coroutines under way in a thread of their own, and their results in the order in which they finish.

    Leaving the context cancels what is under way, waits for its end, and then awaits `close`.
    """

    def __init__(self, close: Callable[[], Awaitable[None]]) -> None:
        self._close = close
        self._finished: queue.SimpleQueue[Future[T]] = queue.SimpleQueue()
        self._under_way = 0
        self._paused: Paused | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="judge", daemon=True)

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

    def start(self, work: Coroutine[Any, Any, T]) -> None:
        self._under_way += 1
        asyncio.run_coroutine_threadsafe(work, self._loop).add_done_callback(self._finished.put)

    def next(self) -> T:
        """Waits for the next result; raises what its coroutine raised.

        Paused comes last: what is under way by then has been paid for.
        """
        while self._under_way or self._paused is None:
            finished = self._finished.get()
            self._under_way -= 1
            try:
                return finished.result()
            except Paused as error:
                self._paused = self._paused or error
        raise self._paused

    async def _end(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._close()
        await self._loop.shutdown_asyncgens()
        await self._loop.shutdown_default_executor()
