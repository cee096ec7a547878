"""How many requests may be under way at once."""

import asyncio
import threading
import time

import pytest

from engine.servers import control
from engine.servers.control import Limiter, Overloaded
from engine.servers.wire import quota_wait, retry_after


async def use(limiter: Limiter, *, overload: bool = False) -> None:
    async with limiter.slot():
        await asyncio.sleep(0)
        if overload:
            raise Overloaded


class Served:
    """A server that answers `at_once` requests side by side, each after `latency` seconds."""

    def __init__(self, at_once: int, latency: float = 0.002) -> None:
        self._places = asyncio.Semaphore(at_once)
        self._latency = latency
        self.busiest = 0
        self.active = 0

    async def ask(self, limiter: Limiter) -> None:
        async with limiter.slot():
            self.active += 1
            self.busiest = max(self.busiest, self.active)
            async with self._places:
                await asyncio.sleep(self._latency)
            self.active -= 1


async def all_in(limiter: Limiter, at_once: int) -> int:
    """How many of `at_once` get in together."""
    leave, entered = asyncio.Event(), 0

    async def stay() -> None:
        nonlocal entered
        async with limiter.slot():
            entered += 1
            await leave.wait()
            await asyncio.sleep(0)

    tasks = [asyncio.create_task(stay()) for _ in range(at_once)]
    while entered < min(at_once, limiter.limit):
        await asyncio.sleep(0)
    found = entered
    leave.set()
    await asyncio.gather(*tasks)
    return found


async def test_it_starts_low_and_grows_to_the_ceiling() -> None:
    limiter = Limiter(6)
    assert limiter.limit == 4
    await asyncio.gather(*(use(limiter) for _ in range(40)))
    assert limiter.limit == 6
    assert Limiter(1).limit == 1


async def test_it_does_not_grow_while_places_are_free() -> None:
    limiter = Limiter()
    for _ in range(50):
        await use(limiter)
    assert limiter.limit == 4


async def test_it_grows_while_that_helps_and_no_further() -> None:
    limiter, server = Limiter(), Served(at_once=16)
    await asyncio.gather(*(server.ask(limiter) for _ in range(3000)))
    assert 8 <= limiter.limit <= 128
    generous, ample = Limiter(), Served(at_once=10_000, latency=0.05)
    await asyncio.gather(*(ample.ask(generous) for _ in range(600)))
    assert ample.busiest > 128


async def test_an_overload_halves_it_once_for_all_that_were_under_way() -> None:
    limiter = Limiter(8)
    await asyncio.gather(*(use(limiter) for _ in range(40)))
    together = asyncio.Barrier(8)

    async def overload() -> None:
        async with limiter.slot():
            await together.wait()
            raise Overloaded

    results = await asyncio.gather(*(overload() for _ in range(8)), return_exceptions=True)
    assert all(isinstance(result, Overloaded) for result in results)
    assert limiter.limit == 4
    await use(limiter)
    assert limiter.limit == 4


async def test_it_never_falls_below_one() -> None:
    limiter = Limiter(4)
    for _ in range(10):
        with pytest.raises(Overloaded):
            await use(limiter, overload=True)
    assert limiter.limit == 1


async def test_nobody_enters_during_a_pause() -> None:
    limiter = Limiter(4)
    limiter.pause(0.05)
    started = time.monotonic()
    await asyncio.gather(*(use(limiter) for _ in range(20)))
    assert time.monotonic() - started >= 0.049


async def test_a_pause_ends_at_once_when_somebody_says_so() -> None:
    limiter = Limiter(4)
    limiter.pause(3600)
    waiting = [asyncio.create_task(use(limiter)) for _ in range(8)]
    await asyncio.sleep(0)
    assert not any(task.done() for task in waiting)
    limiter.resume()
    await asyncio.wait_for(asyncio.gather(*waiting), 5)
    assert all(task.done() and task.exception() is None for task in waiting)


async def test_a_shorter_wait_replaces_a_longer_one() -> None:
    limiter = Limiter(4)
    limiter.pause(3600)
    waiting = asyncio.create_task(use(limiter))
    await asyncio.sleep(0)
    assert not waiting.done()
    limiter.collapse(0.01)
    waiting.cancel()
    await asyncio.wait_for(use(limiter), 5)
    assert limiter.limit == 2, "the one that went first did not count"


async def test_after_a_collapse_one_goes_first() -> None:
    limiter = Limiter()
    limiter.collapse(0.0)
    assert await all_in(limiter, 1) == 1
    assert limiter.limit == 2


async def test_who_waits_can_be_sent_home() -> None:
    limiter = Limiter(1)
    limiter.pause(3600)
    waiting = [asyncio.create_task(use(limiter)) for _ in range(3)]
    await asyncio.sleep(0)
    limiter.abort(ConnectionError("gone"))
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(result, ConnectionError) for result in results)
    limiter.resume()
    await asyncio.wait_for(use(limiter), 5)


async def test_a_person_allows_fewer_and_more_again_while_it_works() -> None:
    limiter = Limiter(32)
    served = Served(32, 0.0)
    await asyncio.gather(*(served.ask(limiter) for _ in range(400)))
    assert limiter.limit > 2
    limiter.allow(2)
    assert await all_in(limiter, 10) == 2
    limiter.allow(None)
    assert await all_in(limiter, 4) == 4


def test_what_a_person_allows_holds_for_servers_that_are_met_later() -> None:
    control.allow(3)
    try:
        assert control.server_at("http://met.later:1/v1", None).limiter.limit == 3
        control.allow(None)
        assert control.server_at("http://met.later:1/v1", None).limiter.limit == 4
    finally:
        control.allow(None)


async def test_a_cancelled_wait_leaves_no_place_taken() -> None:
    limiter = Limiter(1)
    async with limiter.slot():
        waiting = asyncio.create_task(use(limiter))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert waiting.cancelled()
    assert await asyncio.wait_for(all_in(limiter, 1), 5) == 1


def test_loops_in_different_threads_share_its_places() -> None:
    limiter = Limiter(5)
    lock, active, busiest, done = threading.Lock(), 0, 0, 0

    async def ask() -> None:
        nonlocal active, busiest, done
        async with limiter.slot():
            with lock:
                active += 1
                busiest = max(busiest, active)
            await asyncio.sleep(0.001)
            with lock:
                active -= 1
                done += 1

    async def many() -> None:
        await asyncio.gather(*(ask() for _ in range(100)))

    threads = [threading.Thread(target=asyncio.run, args=(many(),)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert (done, limiter.active) == (300, 0)
    assert busiest == 5


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "2"}, 2.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "Thu, 01 Jan 1970 00:01:40 GMT"}, 90.0),
        ({"retry-after": "Thu, 01 Jan 1970 00:00:01 GMT"}, 0.0),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": ""}, None),
    ],
)
def test_the_wait_that_a_server_asks_for(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, now=10.0) == seconds


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"remaining-requests": "5", "reset-requests": "1s"}, None),
        ({"remaining-requests": "0", "reset-requests": "1s"}, 1.0),
        ({"remaining-requests": "0", "reset-requests": "6m0s"}, 360.0),
        ({"remaining-requests": "0", "reset-requests": "250ms"}, 0.25),
        ({"remaining-requests": "0", "reset-requests": "1h2m3.5s"}, 3723.5),
        ({"remaining-requests": "0", "reset-requests": "12"}, 12.0),
        ({"remaining-requests": "0", "reset-requests": "tomorrow"}, None),
        ({"remaining-requests": "0"}, None),
        ({"remaining-requests": "many", "reset-requests": "1s"}, None),
        ({"remaining-tokens": "99", "reset-tokens": "2s"}, 2.0),
        ({"remaining-tokens": "100", "reset-tokens": "2s"}, None),
        (
            {
                "remaining-requests": "0",
                "reset-requests": "1s",
                "remaining-tokens": "0",
                "reset-tokens": "3s",
            },
            3.0,
        ),
    ],
)
def test_the_wait_that_a_used_up_quota_asks_for(headers: dict[str, str], seconds: float | None) -> None:
    named = {f"x-ratelimit-{name}": value for name, value in headers.items()}
    assert quota_wait(named, need=100) == seconds
