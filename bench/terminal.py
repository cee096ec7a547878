"""A program in a real pseudo-terminal: keys go in, its bytes are counted, its CPU time is read."""

import fcntl
import os
import pty
import select
import signal
import struct
import termios
import time
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType

import psutil


class Terminal:
    """Runs a command in a pty of the given size until the `with` block ends."""

    def __init__(self, command: Sequence[str], *, columns: int = 120, rows: int = 36) -> None:
        self.received = bytearray()
        self.pid, self._file = pty.fork()
        if self.pid == 0:
            environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"}
            environment |= {"COLUMNS": str(columns), "LINES": str(rows)}
            os.execvpe(command[0], list(command), environment)
        fcntl.ioctl(self._file, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self._process = psutil.Process(self.pid)

    def __enter__(self) -> "Terminal":
        return self

    @property
    def file(self) -> int:
        """The terminal's end of the pty."""
        return self._file

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self._file)

    def cpu(self) -> float:
        """User and system seconds that the program has used so far."""
        times = self._process.cpu_times()
        return float(times.user + times.system)

    def memory(self) -> int:
        """Resident bytes."""
        return int(self._process.memory_info().rss)

    def press(self, keys: str) -> None:
        os.write(self._file, keys.encode())

    def read_for(self, seconds: float) -> int:
        """Reads for so long; returns how many bytes came."""
        before, end = len(self.received), time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._read(left)
        return len(self.received) - before

    def read_until(self, marker: bytes, limit: float = 30.0) -> None:
        """Reads until the marker has come; AssertionError when it does not within the limit."""
        begun, end = max(0, len(self.received) - len(marker)), time.monotonic() + limit
        while marker not in self.received[begun:]:
            assert time.monotonic() < end, (
                f"{marker!r} did not appear; the screen ends in {bytes(self.received[-800:])!r}"
            )
            self._read(0.01)

    def settle(self, quiet: float = 0.7, limit: float = 20.0) -> int:
        """Reads until nothing has come for a while; returns how many bytes came."""
        before, end = len(self.received), time.monotonic() + limit
        while time.monotonic() < end and self._read(quiet):
            pass
        return len(self.received) - before

    def _read(self, seconds: float) -> bool:
        ready, _, _ = select.select([self._file], [], [], seconds)
        if not ready:
            return False
        try:
            self.received += os.read(self._file, 65_536)
        except OSError:  # the program has ended
            time.sleep(seconds)
            return False
        return True
