"""The app in a real terminal: a pty of its own, keys in, bytes out."""

import fcntl
import os
import pty
import select
import struct
import sys
import termios
import time
from pathlib import Path

_RUN = """
import sys
from pathlib import Path
from tui.app.app import run
run(Path(sys.argv[1]), 2, sys.argv[2])
"""
DEADLINE = 30.0
QUIET = 0.2  # with nothing written for so long a frame is taken as complete


class Terminal:
    """The app on run 2 of a store, in a child process."""

    def __init__(self, store: Path, screen: str, columns: int, lines: int) -> None:
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            os.environ |= {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
            os.execv(sys.executable, [sys.executable, "-c", _RUN, str(store), screen])
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def press(self, keys: str) -> None:
        os.write(self._fd, keys.encode())

    def until(self, marker: str) -> bytes:
        """What is written until the marker has come, and then until nothing comes any more."""
        found = b""
        end = time.monotonic() + DEADLINE
        while marker.encode() not in found:
            if time.monotonic() > end:
                raise AssertionError(f"{marker!r} did not appear; the last that did: {found[-500:]!r}")
            found += self._read(0.1)
        return found + self.rest()

    def rest(self) -> bytes:
        """What is written until nothing comes for a while."""
        found = b""
        while piece := self._read(QUIET):
            found += piece
        return found

    def _read(self, seconds: float) -> bytes:
        ready, _, _ = select.select([self._fd], [], [], seconds)
        if not ready:
            return b""
        try:
            return os.read(self._fd, 1 << 16)
        except OSError:  # the app has left and closed its side
            return b""

    def close(self) -> None:
        """Quits the app and waits for its end."""
        self.press("q")
        while self._read(1.0):
            pass
        os.waitpid(self.pid, 0)
        os.close(self._fd)
