"""Watches a run from the command line: progress on standard error, in place on a terminal, else in lines."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from rich.cells import cell_len

from store.read import history, live
from store.read.query import by_key
from store.records import Progress, Run
from tui.sections.eta import rate, read_speed, time_left, write_speed
from tui.text.gate import bar, cut, duration, printable
from tui.text.output import LOG_EVERY_S, asked, redraws

POLL = 0.2  # seconds between looks at the store
REDRAW = 0.5  # seconds between two pictures of the bars
OVER = ("finished", "failed", "cancelled", "paused", "interrupted")
ENDING = "run"  # the phase of the event that a failed run ends with; it is printed at the end
_STEP = 10  # per cent between two lines where there is no terminal


@dataclass(frozen=True, slots=True)
class PhaseProgress:
    """All pieces of work of one phase together."""

    name: str
    items: tuple[str, ...]
    done: int
    total: int
    unit: str
    rate: float | None  # units a second since this worker began, None before the first
    left: float | None  # seconds
    speeds: str = ""  # of the model that answers now, and how many slots it uses


def phases(rows: list[Progress]) -> list[PhaseProgress]:
    """The phases in their order, each with the sums of its items."""
    grouped = by_key((row.phase, row) for row in rows)
    return [_phase(name, items) for name, items in grouped.items()]


def _phase(name: str, rows: list[Progress]) -> PhaseProgress:
    done, total = sum(row.done for row in rows), sum(row.total for row in rows)
    items = tuple(row.item for row in rows)
    return PhaseProgress(name, items, done, total, rows[0].unit, rate(rows), time_left(rows), _speeds(rows))


def _speeds(rows: list[Progress]) -> str:
    under_way = [row for row in rows if row.slots and row.done < row.total]
    if not under_way:
        return ""
    read, written = read_speed(under_way), write_speed(under_way)
    busy, slots = sum(row.busy or 0 for row in under_way), sum(row.slots or 0 for row in under_way)
    parts = [
        "" if read is None else f"prefill {read:,.0f} tok/s",
        "" if written is None else f"decode {written:,.0f} tok/s",
        f"{busy}/{slots} slots",
    ]
    return ", ".join(part for part in parts if part)


class Watcher:
    """Shows one run until it is over."""

    def __init__(
        self, connection: history.Connection, run_id: int, *, quiet: bool = False, after: int = 0
    ) -> None:
        """`after` is the id of the newest event that is known already."""
        self._connection = connection
        self._run_id = run_id
        self._view = None if quiet else view()
        self._event = after
        self._waiting: str | None = None
        self._silent = False

    def watch(self, worker: int | None = None, on_interrupt: Callable[[], bool] | None = None) -> Run:
        """Returns the run as it is when over, or when its worker is gone.

        `worker` is the process id of a worker started here; until it has taken the run, the status that
        stands there is an older one. `on_interrupt` is tried after Ctrl-C until it returns True; without it,
        and at the second Ctrl-C, KeyboardInterrupt is raised.
        """
        version = None
        handled = False
        with _interrupts() as interrupts:
            while True:
                gone = worker is not None and not _is_running(worker)
                run = history.run(self._connection, self._run_id)
                taken = worker is None or run.worker_pid == worker
                current = history.data_version(self._connection)
                if current != version:
                    version = current
                    self._show()
                self._tell_waiting(run)
                if gone or (taken and run.status in OVER):
                    self._close()
                    return run
                if interrupts.count > (1 if on_interrupt else 0):
                    self._close()
                    raise KeyboardInterrupt
                if interrupts.count and on_interrupt and not handled:
                    handled = on_interrupt()
                time.sleep(POLL)

    def _show(self) -> None:
        events = live.events(self._connection, self._run_id, limit=50)
        for event in reversed([event for event in events if event.id > self._event]):
            told = event.level in ("warning", "error") or asked.verbose
            if told and event.phase != ENDING:
                self.say(f"{event.level}: {event.phase}: {event.message}")
        self._event = max([self._event, *(event.id for event in events)])
        if self._view:
            self._view.update(phases(live.progress(self._connection, self._run_id)))

    def _tell_waiting(self, run: Run) -> None:
        waiting = run.waiting if run.status == "running" else None
        if waiting and waiting != self._waiting:
            again = "" if live.STARTING in waiting else f"; `assay resume {run.id}` tries again now"
            self.say(f"waiting: {printable(waiting)}{again}")
        self._waiting = waiting
        silent = history.silence(run)
        if silent and not self._silent:
            self.say(f"{silent}; `assay resume {run.id} --take-over` ends it and continues")
        self._silent = silent is not None

    def say(self, text: str) -> None:
        if self._view:
            self._view.say(text)

    def _close(self) -> None:
        self._show()
        if self._view:
            self._view.close()


class ProgressBars:
    """One line per phase, redrawn in place."""

    def __init__(self) -> None:
        self._drawn: list[str] = []
        self._wanted: list[str] = []
        self._at = 0.0

    def update(self, found: list[PhaseProgress]) -> None:
        self._wanted = [bar_line(phase, _columns()) for phase in found]
        if time.monotonic() - self._at >= REDRAW:
            self._draw()

    def say(self, text: str) -> None:
        self._erase()
        sys.stderr.write(cut(text, _columns() - 1) + "\n")
        self._draw()

    def close(self) -> None:
        self._draw()

    def _draw(self) -> None:
        if self._wanted == self._drawn:
            return
        if len(self._wanted) == len(self._drawn):
            for place, (line, old) in enumerate(zip(self._wanted, self._drawn, strict=True)):
                if line != old:
                    up = len(self._wanted) - place
                    sys.stderr.write(f"\x1b[{up}F{line}\x1b[K\x1b[{up}E")
        else:
            self._erase()
            sys.stderr.write("".join(f"{line}\n" for line in self._wanted))
        sys.stderr.flush()
        self._drawn = self._wanted
        self._at = time.monotonic()

    def _erase(self) -> None:
        if self._drawn:
            sys.stderr.write(f"\x1b[{len(self._drawn)}F\x1b[J")
        self._drawn = []


class ProgressLines:
    """A line for every tenth of a phase, and every minute that it goes on; for logs and pipes."""

    def __init__(self) -> None:
        self._told: dict[str, tuple[int, int, float]] = {}  # by phase: the tenth, how many are done, when

    def update(self, found: list[PhaseProgress]) -> None:
        now = time.monotonic()
        for phase in found:
            step = _percent(phase) // _STEP
            tenth, done, at = self._told.get(phase.name, (-1, -1, now))
            late = phase.done > done and now - at >= LOG_EVERY_S
            if phase.total and (step > tenth or late):
                self._told[phase.name] = (step, phase.done, now)
                self.say(f"{phase.name}: {_percent(phase)}% ({_counts(phase)})")

    def say(self, text: str) -> None:
        sys.stderr.write(cut(text, 2000) + "\n")
        sys.stderr.flush()

    def close(self) -> None:
        pass


def view() -> ProgressBars | ProgressLines:
    """Progress as standard error can show it."""
    return ProgressBars() if redraws() else ProgressLines()


def bar_line(phase: PhaseProgress, columns: int) -> str:
    """One phase in at most `columns` - 1 cells."""
    counts = _counts(phase)
    spare = columns - 1 - 12 - 5 - 12  # with a bar of 12 cells
    if phase.speeds and cell_len(f"{counts}, {phase.speeds}") <= spare:
        counts = f"{counts}, {phase.speeds}"
    room = max(0, min(24, columns - 1 - 12 - 5 - cell_len(counts)))
    filled, empty = bar(phase.done / phase.total if phase.total else 0.0, room)
    return cut(f"{cut(phase.name, 11):11} {filled}{empty} {_percent(phase):3}% {counts}", columns - 1)


def _counts(phase: PhaseProgress) -> str:
    counted = f"{phase.done}/{phase.total} {phase.unit}"
    if phase.rate is None or phase.left is None:
        return counted
    return f"{counted}, {phase.rate:.1f}/s, {duration(phase.left)} left"


def _percent(phase: PhaseProgress) -> int:
    # Rounded down, so that 100 means all.
    return 100 * phase.done // phase.total if phase.total else 0


def _columns() -> int:
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns
    except OSError:
        return 80


class _Interrupts:
    def __init__(self) -> None:
        self.count = 0

    def hear(self, _number: int, _frame: FrameType | None) -> None:
        self.count += 1


@contextmanager
def _interrupts() -> Iterator[_Interrupts]:
    """Counts Ctrl-C instead of raising, so that no query or line is cut in half."""
    heard = _Interrupts()
    if threading.current_thread() is not threading.main_thread():
        yield heard  # Python hears signals in its main thread alone
        return
    before = signal.signal(signal.SIGINT, heard.hear)
    try:
        yield heard
    finally:
        signal.signal(signal.SIGINT, before)


def _is_running(pid: int) -> bool:
    """Whether a worker started by this process still runs; one that ended is reaped."""
    try:
        return os.waitpid(pid, os.WNOHANG) == (0, 0)
    except ChildProcessError:
        return Path(f"/proc/{pid}").exists() or _answers(pid)


def _answers(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
