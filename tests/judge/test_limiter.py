"""How many requests may be under way at once."""

import asyncio

import pytest

from engine.judge.limiter import Limiter, Overloaded
from engine.judge.wire import retry_after


async def use(limiter: Limiter, *, overload: bool = False) -> None:
    async with limiter.slot():
        if overload:
            raise Overloaded


async def test_it_starts_low_and_grows_to_the_ceiling() -> None:
    limiter = Limiter(6)
    assert limiter.limit == 4
    for _ in range(10):
        await use(limiter)
    assert limiter.limit == 6
    assert Limiter(1).limit == 1


async def test_an_overload_halves_it_once_for_all_that_were_under_way() -> None:
    limiter = Limiter(8)
    for _ in range(4):
        await use(limiter)
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
    started = asyncio.get_running_loop().time()
    await asyncio.gather(*(use(limiter) for _ in range(20)))
    assert asyncio.get_running_loop().time() - started >= 0.049


async def test_a_cancelled_wait_leaves_no_place_taken() -> None:
    limiter = Limiter(1)
    async with limiter.slot():
        waiting = asyncio.create_task(use(limiter))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    await asyncio.wait_for(use(limiter), 1)


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
