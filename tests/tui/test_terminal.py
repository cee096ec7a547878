"""The app in a terminal of its own: what it writes, byte by byte, and how it leaves."""

import fcntl
import os
import pty
import select
import signal
import sqlite3
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.tui.history import HOSTILE

RUN = """
import sys
from pathlib import Path
from tui.app.app import run
sys.exit(run(Path(sys.argv[1]), 2, sys.argv[2]))
"""
LEFT = b"\x1b[?1049l"  # back from the alternate screen
DEADLINE = 30.0


class Terminal:
    def __init__(self, store: Path, screen: str) -> None:
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            os.environ.update(TERM="xterm-256color", COLORTERM="truecolor")
            os.execv(sys.executable, [sys.executable, "-c", RUN, str(store), screen])
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", 36, 120, 0, 0))

    def read(self, quiet: float = 0.6) -> bytes:
        """What it writes until it has been silent for a while."""
        found = b""
        while select.select([self.master], [], [], quiet)[0]:
            try:
                found += os.read(self.master, 1 << 16)
            except OSError:  # the other end is closed
                break
        return found

    def until(self, text: str) -> bytes:
        found, deadline = b"", time.monotonic() + DEADLINE
        while text.encode() not in found:
            assert time.monotonic() < deadline, found
            found += self.read(0.2)
        return found + self.read()

    def press(self, keys: str) -> bytes:
        os.write(self.master, keys.encode())
        return self.read()

    def wait(self) -> int:
        deadline = time.monotonic() + DEADLINE
        while True:
            pid, state = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(state)
            assert time.monotonic() < deadline, "it did not end"
            self.read(0.05)


@contextmanager
def terminal(store: Path, screen: str) -> Iterator[Terminal]:
    opened = Terminal(store, screen)
    try:
        yield opened
    finally:
        os.close(opened.master)
        try:
            os.kill(opened.pid, signal.SIGKILL)
            os.waitpid(opened.pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass


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
        assert len(opened.until("crit")) < 25_000
        assert opened.read(3.0) == b""
        assert 0 < len(opened.press("j")) <= 600


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_end_restores_the_terminal(hostile_store: Path, sent: signal.Signals) -> None:
    with terminal(hostile_store, "runs") as opened:
        opened.until("crit")
        os.kill(opened.pid, sent)
        written = opened.read(2.0)
        assert LEFT in written
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


def test_q_leaves_with_0(hostile_store: Path) -> None:
    with terminal(hostile_store, "runs") as opened:
        opened.until("crit")
        assert LEFT in opened.press("q")
        assert opened.wait() == 0
