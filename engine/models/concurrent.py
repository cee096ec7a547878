"""Asynchronous work, bounded, for callers that are not asynchronous."""

import asyncio
import queue
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, suppress
from typing import TypeVar

HAND_OVER = 0.5  # seconds: the longest that a caller waits for word
Item = TypeVar("Item")
Result = TypeVar("Result")
Client = TypeVar("Client")


def run_bounded(
    items: Iterable[Item],
    open_client: Callable[[], AbstractAsyncContextManager[Client]],
    work: Callable[[Client, Item], Awaitable[Result]],
    concurrency: int,
) -> Iterator[list[Result]]:
    """Does the work for all items, at most `concurrency` at once, and yields what is finished as it comes.

    While nothing is finished an empty list comes twice a second: a moment at which the caller can stop.
    An event loop runs in a thread of its own; one client serves all items. The first error stops the rest
    and is raised here, after the results that came before it. Closing the iterator cancels what is in flight.
    """
    finished: queue.SimpleQueue[Result | _End] = queue.SimpleQueue()
    runner = _Runner(_all_items(items, open_client, work, concurrency, finished), finished)
    try:
        while True:
            batch = _taken(finished)
            ends = [entry for entry in batch if isinstance(entry, _End)]
            results = [entry for entry in batch if not isinstance(entry, _End)]
            if results or not ends:
                yield results
            for end in ends:
                if end.error:
                    raise end.error
                return
    finally:
        runner.stop()


class _End:
    """The last entry of the queue, with the error that stopped the work, if one did."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


def _taken(finished: "queue.SimpleQueue[Result | _End]") -> "list[Result | _End]":
    """Everything in the queue, waited for a moment."""
    batch: list[Result | _End] = []
    with suppress(queue.Empty):
        batch.append(finished.get(timeout=HAND_OVER))
        while True:
            batch.append(finished.get_nowait())
    return batch


async def _all_items(
    items: Iterable[Item],
    open_client: Callable[[], AbstractAsyncContextManager[Client]],
    work: Callable[[Client, Item], Awaitable[Result]],
    concurrency: int,
    finished: "queue.SimpleQueue[Result | _End]",
) -> None:
    waiting = _Shared(items)

    async def take(client: Client) -> None:
        async for item in waiting:
            finished.put(await work(client, item))

    async with open_client() as client:
        takers = [asyncio.ensure_future(take(client)) for _ in range(concurrency)]
        try:
            await asyncio.gather(*takers)
        finally:
            for taker in takers:
                taker.cancel()
            await asyncio.gather(*takers, return_exceptions=True)


class _Shared(AsyncIterator[Item]):
    """One iterator for many takers: each item goes to whoever asks next."""

    def __init__(self, items: Iterable[Item]) -> None:
        self._items = iter(items)

    async def __anext__(self) -> Item:
        for item in self._items:
            return item
        raise StopAsyncIteration


class _Runner:
    """Runs a coroutine in a thread until it ends or is stopped, and then puts its end into the queue."""

    def __init__(self, work: Awaitable[None], finished: "queue.SimpleQueue[Result | _End]") -> None:
        self._loop = asyncio.new_event_loop()
        self._task: asyncio.Future[None] = asyncio.ensure_future(work, loop=self._loop)
        self._thread = threading.Thread(target=self._run, args=(finished,), daemon=True)
        self._thread.start()

    def _run(self, finished: "queue.SimpleQueue[Result | _End]") -> None:
        error: BaseException | None = None
        try:
            self._loop.run_until_complete(self._task)
        except asyncio.CancelledError:
            pass
        except Exception as problem:  # handed to the thread that waits, which raises it
            error = problem
        finally:
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()
        finished.put(_End(error))

    def stop(self) -> None:
        if self._thread.is_alive():
            # The loop may close between the question and the call: then there is nothing left to stop.
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._task.cancel)
            self._thread.join()
