"""Drives the app in a test: opens a screen over a store, presses keys, waits for what they lead to.

    async with opened(store, "alerts") as ui:
        await ui.press("a", *"known", "enter")
        assert "✓ seen" in ui.text

Nothing waits for a length of time: `press` returns when the screen in front has come to rest, `until` when
its condition holds. DEADLINE only ends a test that would wait for ever.
"""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakSet

from textual.pilot import Pilot
from textual.screen import Screen
from textual.worker import WorkerCancelled

from tests.tui.history import NOW
from tui.app.app import AssayApp
from tui.screens.base import AssayScreen

S = TypeVar("S", bound=Screen[Any])
DEADLINE = 240.0  # seconds; what a busy machine needs at most, no measure of anything
SAME = 3  # pictures in a row that are equal on a screen at rest
LONG = 30.0  # seconds; what keeps the app at work for longer is held by the test itself
FRAME = 0.02  # seconds; Textual draws what has changed sooner than this


def text_of(app: AssayApp) -> str:
    """What is on the screen, line by line."""
    return "\n".join(strip.text for strip in app.screen._compositor.render_strips())


class Quiet:
    """Knows when the app has nothing more to do: nothing on the loop, now or within a frame, nor in a thread.

    Textual's own `wait_for_idle` sleeps for 20 ms at least, and for a second where anything else in the
    process is at work. That was most of what a test of the app took.
    """

    def __init__(self) -> None:
        self._threads: WeakSet[asyncio.Future[Any]] = WeakSet()
        self._start: Any = asyncio.BaseEventLoop.run_in_executor

    def run_in_executor(self, loop: asyncio.BaseEventLoop, *work: Any) -> "asyncio.Future[Any]":
        """In place of the loop's own: keeps what is under way in mind."""
        under_way: asyncio.Future[Any] = self._start(loop, *work)
        self._threads.add(under_way)
        return under_way

    async def wait(self, min_sleep: float = 0.0, max_sleep: float = 1.0) -> None:
        """In place of `wait_for_idle`; a timer that never rests is waited for as long as `max_sleep`."""
        loop: Any = asyncio.get_running_loop()
        end, slept = loop.time() + LONG, 0.0
        while loop.time() < end and slept < max_sleep:
            await asyncio.sleep(0)
            if loop._ready:
                continue
            if not all(thread.done() for thread in list(self._threads)):
                await asyncio.sleep(0.001)
                continue
            due = min((timer.when() for timer in loop._scheduled if not timer.cancelled()), default=math.inf)
            if (left := due - loop.time()) > FRAME:
                return
            slept += max(left, 0.001)
            await asyncio.sleep(max(left, 0.0))


async def settle(pilot: Pilot[int]) -> None:
    """Waits until the screen in front has read the store, drawn what it read, and nothing more comes."""
    app = pilot.app
    assert isinstance(app, AssayApp)
    end = time.monotonic() + DEADLINE
    same, before = 0, ""
    while same < SAME:
        await pilot.pause()
        try:
            await app.workers.wait_for_complete()
        except WorkerCancelled:  # a newer reading took its place
            same = 0
            continue
        shown = text_of(app)
        same = same + 1 if shown == before else 0
        before = shown
        assert time.monotonic() < end, "the screen never comes to rest"


class Driver:
    """The app under test, with a person's means: keys and eyes."""

    def __init__(self, app: AssayApp, pilot: Pilot[int]) -> None:
        self.app = app
        self.pilot = pilot

    @property
    def text(self) -> str:
        """What is on the screen, line by line."""
        return text_of(self.app)

    @property
    def lines(self) -> list[str]:
        return self.text.splitlines()

    @property
    def head(self) -> str:
        """What stands above the screen's own parts: tabs, title and card."""
        return "\n".join(self.lines[: self._top])

    @property
    def body(self) -> list[str]:
        """The lines below that."""
        return self.lines[self._top :]

    @property
    def _top(self) -> int:
        return self.on(AssayScreen).top

    @property
    def screen(self) -> Screen[Any]:
        return self.app.screen

    def on(self, kind: type[S]) -> S:
        """The screen in front, which is of this kind."""
        assert isinstance(self.app.screen, kind), f"{self.app.screen} is in front"
        return self.app.screen

    async def press(self, *keys: str) -> None:
        """Presses keys and waits until the screen has come to rest."""
        await self.pilot.press(*keys)
        await self.settled()

    async def tap(self, *keys: str) -> None:
        """Presses keys without waiting for more than that each has acted."""
        await self.pilot.press(*keys)

    async def settled(self) -> None:
        """Waits until the screen in front has come to rest."""
        await settle(self.pilot)

    async def until(self, condition: Callable[[], bool], wanted: str = "") -> None:
        """Waits until the condition holds."""
        end = time.monotonic() + DEADLINE
        while not condition():
            assert time.monotonic() < end, f"waited for {wanted or condition}; there was:\n{self.text}"
            await self.pilot.pause(0.02)

    async def shows(self, *texts: str) -> None:
        """Waits until all of these texts are on the screen."""
        await self.until(lambda: all(text in self.text for text in texts), str(texts))


@asynccontextmanager
async def driven(
    app: AssayApp, size: tuple[int, int] = (80, 24), *, settle: bool = True
) -> AsyncIterator[Driver]:
    """Runs the app in a terminal of this size; its first screen has come to rest unless told otherwise."""
    async with app.run_test(size=size) as pilot:
        driver = Driver(app, pilot)
        if settle:
            await driver.settled()
        yield driver


@asynccontextmanager
async def opened(
    store: Path, screen: str | None = None, run: int | None = 2, size: tuple[int, int] = (80, 24), **more: Any
) -> AsyncIterator[Driver]:
    """Opens a screen of a run over a store; `more` are the app's own arguments."""
    app = AssayApp(store, run=run, screen=screen, **{"now": lambda: NOW, **more})
    async with driven(app, size) as driver:
        yield driver
