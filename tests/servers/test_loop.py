"""The event loop beside a program without one: results come as they finish, a pause comes last."""

import asyncio

import pytest

from engine.errors import Paused
from engine.servers.client import Pool


async def _nothing() -> None:
    return None


async def _paused() -> int:
    raise Paused("a pause was asked for")


async def _soon(result: int) -> int:
    await asyncio.sleep(0.05)
    return result


def test_results_that_come_after_a_pause_are_given_out_before_it() -> None:
    with Pool[int](_nothing) as pool:
        pool.start(_paused())
        pool.start(_soon(1))
        pool.start(_soon(2))
        assert {pool.next(), pool.next()} == {1, 2}
        # Nothing is under way any more, and nothing else will come: waiting for it would be for ever.
        with pytest.raises(Paused):
            pool.next()
        with pytest.raises(Paused):
            pool.next()
