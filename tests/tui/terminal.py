"""The app in a real terminal: a pty of its own, keys in, bytes out."""

import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

RUN = """
import sys
from pathlib import Path
from tui.app.app import run
sys.exit(run(Path(sys.argv[1]), 2, sys.argv[2]))
"""
DEADLINE = 240.0  # seconds; what a busy machine needs at most, no measure of anything
QUIET = 0.2  # with nothing written for so long a frame is taken as complete


class Terminal:
    """The app on run 2 of a store, in a child process."""

    def __init__(self, store: Path, screen: str, columns: int = 120, lines: int = 36) -> None:
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            # Before the app looks: of a change that comes before it listens it never hears.
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
            # Not `os.execv`: readline has put its own COLUMNS and LINES where that would take them from.
            known = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"}
            os.execve(sys.executable, [sys.executable, "-c", RUN, str(store), screen], known)

    def send(self, keys: str) -> None:
        """Types keys, whether they change the picture or not."""
        os.write(self.master, keys.encode())

    def press(self, keys: str) -> bytes:
        """What is written in answer to keys that change the picture, until nothing more comes."""
        self.send(keys)
        return self._first() + self.rest()

    def until(self, marker: str | bytes) -> bytes:
        """What is written until the marker has come, and then until nothing more comes."""
        wanted = marker.encode() if isinstance(marker, str) else marker
        found, end = b"", time.monotonic() + DEADLINE
        while wanted not in found:
            assert time.monotonic() < end, f"{marker!r} did not appear; the last that did: {found[-500:]!r}"
            found += self._read(0.1)
        return found + self.rest()

    def rest(self, quiet: float = QUIET) -> bytes:
        """What is written until nothing comes for a while."""
        found = b""
        while piece := self._read(quiet):
            found += piece
        return found

    def wait(self) -> int:
        """The app's exit code, once it has left."""
        end = time.monotonic() + DEADLINE
        while True:
            pid, state = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(state)
            assert time.monotonic() < end, "it did not end"
            self._read(0.05)

    def close(self) -> None:
        """Ends the app, however it is."""
        with suppress(OSError):  # closed by the test
            os.close(self.master)
        with suppress(ProcessLookupError, ChildProcessError):
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)

    def _first(self) -> bytes:
        end = time.monotonic() + DEADLINE
        while not (piece := self._read(0.1)):
            assert time.monotonic() < end, "the keys changed nothing"
        return piece

    def _read(self, seconds: float) -> bytes:
        ready, _, _ = select.select([self.master], [], [], seconds)
        if not ready:
            return b""
        try:
            return os.read(self.master, 1 << 16)
        except OSError:  # the app has left and closed its side
            return b""


@contextmanager
def terminal(store: Path, screen: str, columns: int = 120, lines: int = 36) -> Iterator[Terminal]:
    """The app in a terminal of this size, ended afterwards."""
    opened = Terminal(store, screen, columns, lines)
    try:
        yield opened
    finally:
        opened.close()
