"""The workbench: the shell around the screens.

The first frame needs Textual and the standard library alone. The store is opened behind it in a thread; model
libraries, SQLAlchemy and pydantic are never imported here, runs are started in processes of their own.
"""

import asyncio
import signal
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from textual.app import App
from textual.dom import DOMNode
from textual.events import Event, Key, Paste, Resize
from textual.geometry import Size
from textual.screen import Screen

from tui.app.settings import AppSettings
from tui.keys import EVERYWHERE, bindings, written
from tui.screens import NAMES, opened
from tui.screens.base import AssayScreen, Cards, InHand
from tui.screens.control import Control
from tui.screens.runs import RunsScreen
from tui.screens.watch import NoStore, StoreFailed, StoreWatch

if TYPE_CHECKING:
    from tui.app.terminal import ThriftyDriver

POLL_SECONDS = 0.5
READ_SECONDS = 1.0  # a screen reads at most this often
CHECK_SECONDS = 5.0  # a worker that was killed writes nothing: running runs are looked at again this often
MINUTE = 60.0
LONGEST_KEY_SECONDS = 2.0  # a key of which no end is seen for so long holds up the next no more
NEVER = float("-inf")


class AssayApp(App[int], inherit_bindings=False):
    """The workbench on one store."""

    TITLE = "assay"
    ENABLE_COMMAND_PALETTE = False  # help finds more
    CSS_PATH = Path(__file__).with_name("theme.tcss")
    BINDINGS = bindings(*EVERYWHERE, "move.pane", "move.pane_back")

    def __init__(
        self,
        folder: Path,
        run: int | None = None,
        screen: str | None = None,
        now: Callable[[], float] = time.time,
        driver: "type[ThriftyDriver] | None" = None,
        settings: AppSettings | None = None,
    ) -> None:
        super().__init__(driver_class=driver)
        self.settings = settings or AppSettings()
        self.store = StoreWatch(folder, read_only=self.settings.read_only)
        self.control = Control(self, self)
        self.now = now
        self.run_id: int | None = None
        self.ascii = self.settings.ascii  # a terminal, or a font, that has nothing but ASCII
        self.cards: dict[int, Cards] = {}
        self._in_hand: dict[int, InHand] = {}  # by run, the latest last
        self._first = (screen or "live", run) if run is not None or screen not in (None, "runs") else None
        self._stale = False
        self._typed: deque[Event] = deque()  # waits until the key in front of it has acted
        self._typing = NEVER
        self._read = self._minute = time.monotonic()
        for theme in self.settings.themes.values():
            self.register_theme(theme)
        self.theme = self.settings.themes[self.settings.theme or "dark"].name
        self._mouse = self.settings.mouse
        self.kept: dict[str, object] = {}  # what screens keep of their state until the app is left
        self._laid_out: Size | None = None  # for which size of the terminal
        self.animation_level = "none"

    def get_default_screen(self) -> Screen[None]:
        return RunsScreen()

    def on_mount(self) -> None:
        loop = asyncio.get_running_loop()
        for name in ("SIGHUP", "SIGTERM"):
            loop.add_signal_handler(getattr(signal, name), self.exit, 128 + getattr(signal, name))
        self.set_interval(POLL_SECONDS, self._poll)
        if not self.settings.read_only:
            self.run_worker(self._send_waiting(), exit_on_error=False)
        if self._first is not None:
            self.go(*self._first)

    async def _send_waiting(self) -> None:
        """Has sent again what an experiment tracker could not be told before."""
        from store.read.history import waiting_tracks

        with suppress(NoStore, StoreFailed):
            if rows := await self.store.ask(waiting_tracks):
                from engine.run.tracking import start_due

                start_due(self.store.folder, rows)

    def on_resize(self, event: Resize) -> None:
        if not self.screen_stack:
            return
        # Textual passes over a size that it has; the terminal may have been smaller in between.
        self.screen.refresh()
        # What was drawn for the old size may have come to a terminal that has the new one already.
        if self._laid_out not in (None, event.size):
            self.screen.call_after_refresh(self.action_redraw)
        self._laid_out = event.size

    def on_unmount(self) -> None:
        self.store.close()

    @property
    def front(self) -> AssayScreen | None:
        screens = self.screen_stack  # empty when the app is leaving
        return screens[-1] if screens and isinstance(screens[-1], AssayScreen) else None

    # Keys

    async def on_event(self, event: Event) -> None:
        """Lets a key act before the next one is given to anybody.

        Over a slow link keys come in bursts. Textual gives each to the widget that has the focus at that
        moment, before the keys in front of it have acted: of `n` and a note, the first letters would be taken
        for decisions.
        """
        if not isinstance(event, Key | Paste) or event.is_forwarded:
            await super().on_event(event)
            return
        self._typed.append(event)
        if time.monotonic() - self._typing > LONGEST_KEY_SECONDS:
            await self._hand_on(self._typed.popleft())

    async def _hand_on(self, event: Event) -> None:
        if not self.screen_stack:  # the app is leaving
            return
        self._typing = time.monotonic()
        first = self.focused or self.screen
        await super().on_event(event)
        self._follow(first)

    def _follow(self, node: DOMNode | None) -> None:
        """Goes the way of a key, from the widget that got it up to the app, behind it in each one's queue."""
        while node is not None and node is not self:
            if node.call_later(self._follow, node.parent):
                return
            node = node.parent  # this one is closing, and handles nothing any more
        self.call_later(self._next_key)

    async def _next_key(self) -> None:
        self._typing = NEVER
        if self._typed:
            await self._hand_on(self._typed.popleft())

    # The store

    async def _poll(self) -> None:
        if getattr(self._driver, "is_hung_up", False):  # tests run without a terminal
            self.exit(128 + signal.SIGHUP)
            return
        try:
            self._stale = await self.store.changed() or self._stale
        except NoStore:
            return
        except StoreFailed as error:
            self.store_failed(str(error))
            return
        now, front = time.monotonic(), self.front
        if front is None:
            return
        if (self._stale and now - self._read >= READ_SECONDS) or (
            front.alive and now - self._read >= CHECK_SECONDS
        ):
            self._read, self._stale = now, False
            front.reload()
        if now - self._minute >= MINUTE:
            self._minute = now
            front.minute()

    def store_failed(self, message: str) -> None:
        """Shows why the store cannot be used; there is nothing else to do then but to leave."""
        from tui.screens.base import MessageScreen

        if self.screen_stack and not isinstance(self.screen, MessageScreen):
            self.push_screen(MessageScreen("The store cannot be used", message))

    # Going from screen to screen

    def go(self, name: str, run_id: int | None = None) -> None:
        """Opens a screen on this run, else on the current one, right above Runs: esc leads back there."""
        if self.front is None:
            return
        if run_id is None and self.front.query("#title"):
            # Read off the screen: the message that the cursor moved may still be on its way.
            run_id = self.front.run_at_cursor
        self.run_id = run_id if run_id is not None else self.run_id
        example = self.front.example_at_cursor
        if self.run_id is not None and example is not None and self.run_id == self.front.about_run:
            self.in_hand(self.run_id).example_id = example
        while len(self.screen_stack) > 2:
            self.pop_screen()
        if name == "runs":
            if len(self.screen_stack) > 1:
                self.pop_screen()
            return
        screen = opened(name, self.run_id)
        if screen is None:
            if not self.front.once_read(partial(self.go, name)):
                self.front.say("there is no run yet", error=True)
            return
        if len(self.screen_stack) == 2:
            self.switch_screen(screen)
        else:
            self.push_screen(screen)

    def in_hand(self, run_id: int) -> InHand:
        """What the person has in hand of a run; at first, models of the names that the run before has."""
        before = next(reversed(self._in_hand.values()), InHand())
        known = self._in_hand.pop(run_id, None)
        self._in_hand[run_id] = known or InHand(
            before.candidate, before.baseline, before.judge, is_taken=before.is_taken
        )
        return self._in_hand[run_id]

    def action_go(self, name: str) -> None:
        if self.front is None or not self.front.goes(name):
            self.go(name)

    async def action_back(self) -> None:
        if not (self.front and self.front.back()) and len(self.screen_stack) > 1:
            self.pop_screen()

    async def action_quit(self) -> None:
        self.exit(0)

    def action_jump(self) -> None:
        from tui.screens.help import JumpScreen

        if self.front is not None and not isinstance(self.screen, JumpScreen):
            self.push_screen(JumpScreen(type(self.front)))

    def action_help(self) -> None:
        from tui.screens.help import HelpScreen

        if not isinstance(self.screen, HelpScreen):
            self.push_screen(HelpScreen(self.screen.active_bindings.values()))

    def action_proposals(self) -> None:
        from tui.screens.proposals import ProposalsScreen

        if self.front is not None and not isinstance(self.front, ProposalsScreen):
            self.push_screen(ProposalsScreen())

    async def action_copy(self) -> None:
        """Copies what stands under the cursor to wherever it can go, and says where."""
        from tui.app import terminal

        front = self.front
        text = front.copied if front is not None else ""
        if front is None or not text:
            return
        taken = await asyncio.to_thread(terminal.to_tmux, text)
        sequence = terminal.sequence(text)
        if not taken and sequence is not None and self._driver is not None:
            self._driver.write(sequence)
        try:
            kept = f"in {terminal.to_file(text, self.store.folder)}"
        except OSError as error:
            kept = f"no file: {error.strerror}"
        place = "to the clipboard, where the terminal allows it" if sequence else "too long for the clipboard"
        place = "to tmux's buffer" if taken else place
        front.say(f"copied {len(text):,} characters {place}; {kept}")

    def action_mouse(self) -> None:
        self._mouse = not self._mouse
        if isinstance(self._driver, _Terminal):
            self._driver.report_mouse(self._mouse)
        if self.front is not None:
            said = "off"
            if self._mouse:
                said = f"on; {written('app.mouse')} gives selecting back to the terminal"
            self.front.say(f"mouse reporting is {said}")

    def action_redraw(self) -> None:
        """Draws the whole screen anew, over whatever another program or a wrong count left on it."""
        if isinstance(self._driver, _Terminal):
            self._driver.redraw()
        self.screen.refresh()

    def action_theme(self) -> None:
        """The next theme, until the app is left."""
        themes = self.settings.themes
        names = list(themes)
        now = next(name for name, theme in themes.items() if theme.name == self.theme)
        chosen = names[(names.index(now) + 1) % len(names)]
        self.theme = themes[chosen].name
        if self.front is not None:
            self.front.say(f'theme {chosen}; `theme = "{chosen}"` in the settings file keeps it')


@runtime_checkable
class _Terminal(Protocol):
    """A driver that writes to a terminal; tests have another."""

    def redraw(self) -> None: ...
    def report_mouse(self, on: bool) -> None: ...


def run(
    store_folder: Path, run: int | None = None, screen: str | None = None, settings: AppSettings | None = None
) -> int:
    """Opens the workbench; returns the exit code. `screen` is one of tui.screens.NAMES."""
    if screen is not None and screen not in NAMES:
        raise ValueError(f"no such screen: {screen}; one of {', '.join(NAMES)}")
    from tui.app.terminal import AsciiDriver, ThriftyDriver

    settings = settings or AppSettings()
    driver = AsciiDriver if settings.ascii else ThriftyDriver
    # Without mouse reporting the terminal's own selecting and copying works, over SSH too.
    app = AssayApp(store_folder, run, screen, driver=driver, settings=settings)
    return app.run(mouse=settings.mouse) or 0
