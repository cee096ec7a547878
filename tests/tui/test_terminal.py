"""The app in a terminal of its own: what it writes, byte by byte, and how it leaves."""

import os
import pty
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.tui.history import HOSTILE
from tests.tui.terminal import DEADLINE, RUN, Terminal, terminal

LEFT = b"\x1b[?1049l"  # back from the alternate screen


@pytest.fixture
def hostile_store(own_store: Path) -> Path:
    with sqlite3.connect(own_store / "assay.db") as connection:
        connection.execute("UPDATE alert SET message = ?, measure = ?", (HOSTILE, HOSTILE))
        connection.execute("UPDATE run SET name = ?", (f"name {HOSTILE}",))
        connection.execute("UPDATE run SET status = 'paused' WHERE id = 3")
    connection.close()
    return own_store


def test_no_sequence_from_data_reaches_the_terminal(hostile_store: Path) -> None:
    with terminal(hostile_store, "alerts") as opened:
        written = opened.until("critical") + opened.press("R") + opened.press("L")
        for sequence in (b"\x1b[31mred", b"\x1b]52;", "\u202e".encode(), b"\x00", b"\x07 [/b]"):
            assert sequence not in written
        assert "␛[31mred".encode() in written


def test_few_bytes_for_opening_moving_and_none_for_waiting(hostile_store: Path) -> None:
    with terminal(hostile_store, "runs") as opened:
        assert len(opened.until("crit") + opened.rest(1.0)) < 25_000
        assert opened.rest(3.0) == b""
        assert 0 < len(opened.press("j")) <= 600


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_end_restores_the_terminal(hostile_store: Path, sent: signal.Signals) -> None:
    with terminal(hostile_store, "runs") as opened:
        opened.until("crit")
        os.kill(opened.pid, sent)
        opened.until(LEFT)
        assert opened.wait() == 128 + sent


def test_a_terminal_that_goes_away_ends_the_app(hostile_store: Path) -> None:
    opened = Terminal(hostile_store, "runs")
    opened.until("crit")
    os.close(opened.master)
    deadline = time.monotonic() + DEADLINE
    while not os.waitpid(opened.pid, os.WNOHANG)[0]:
        assert time.monotonic() < deadline, "it went on without a terminal"
        time.sleep(0.05)


def test_a_terminal_that_goes_away_unheard_ends_the_app(hostile_store: Path) -> None:
    """No SIGHUP comes where the terminal isn't the process's controlling one."""
    master, slave = pty.openpty()
    app = subprocess.Popen(
        [sys.executable, "-c", RUN, str(hostile_store), "runs"],
        **{"stdin": slave, "stdout": slave, "stderr": slave},
        env=os.environ | {"TERM": "xterm-256color"},
        start_new_session=True,
    )
    os.close(slave)
    found = b""
    while b"crit" not in found:
        found += os.read(master, 1 << 16)
    os.close(master)
    try:
        assert app.wait(DEADLINE) == 128 + signal.SIGHUP
    finally:
        app.kill()
        app.wait()


CONTINUED = """
import os, signal, sys, threading
from textual.app import App
from tui.app.terminal import ThriftyDriver

class Told(App):
    def on_mount(self):
        if sys.argv[1] == "working":
            os.kill(os.getpid(), signal.SIGCONT)
            self.set_timer(0.5, self.leave)
        else:
            self.exit(0)

    def leave(self):
        self.exit(sum(thread.name == "textual-input" for thread in threading.enumerate()) - 1)

    def on_unmount(self):
        self._loop.run_in_executor(None, self.when_closed)

    def when_closed(self):
        self._driver.exit_event.wait()
        if sys.argv[1] == "leaving":
            os.kill(os.getpid(), signal.SIGCONT)

sys.exit(Told(driver_class=ThriftyDriver).run())
"""


@pytest.mark.parametrize("when", ["leaving", "working"])
def test_a_process_that_is_told_to_continue_reads_its_terminal_once_and_ends(when: str) -> None:
    """A shell that ends tells its jobs so, also one that is just leaving."""
    master, slave = pty.openpty()
    app = subprocess.Popen(
        [sys.executable, "-c", CONTINUED, when],
        **{"stdin": slave, "stdout": slave, "stderr": slave},
        env=os.environ | {"TERM": "xterm-256color"},
        start_new_session=True,
    )
    os.close(slave)
    try:
        found = b""
        while LEFT not in found:
            found += os.read(master, 1 << 16)
        assert app.wait(DEADLINE) == 0
    finally:
        app.kill()
        app.wait()
        os.close(master)


def test_q_leaves_with_0(hostile_store: Path) -> None:
    with terminal(hostile_store, "runs") as opened:
        opened.until("crit")
        opened.send("q")
        opened.until(LEFT)
        assert opened.wait() == 0
