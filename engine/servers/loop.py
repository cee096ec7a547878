"""An event loop for a program without one: coroutines there, an ordinary iterator here."""

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
