"""The processor's cores, shared by the runs that compute on them at the same time.

Processes that each have a thread on every core wait for one another's threads: two of them are slower than
one. So a run that computes here says so in the kernel's list of sockets, where every other run sees it and
from which it goes with its process, however that ends. Torch is imported by who computes, not here.
"""

import logging
import os
import re
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

EVERY_S = 2.0  # between two looks at who else computes
SET_BY_USER = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
MARK = "assay-computes"
_SOCKETS = Path("/proc/net/unix")
log = logging.getLogger("assay.cores")


def are_set() -> bool:
    """Whether the user has set how many threads there are: then they stay as they are."""
    return any(os.environ.get(name) for name in SET_BY_USER)


def mark() -> socket.socket:
    """Tells everybody on this machine that this process computes, for as long as the socket is open."""
    found = socket.socket(socket.AF_UNIX)
    found.bind(f"\0{MARK}-{os.getpid()}-{secrets.token_hex(4)}")
    return found


def computing() -> int:
    """How many processes compute on cores that this one may use too; at least 1."""
    if not _SOCKETS.exists():  # where the kernel keeps no such list, a run sees itself alone
        return 1
    own, found = os.sched_getaffinity(0), set[int]()
    with suppress(OSError):
        listed = _SOCKETS.read_text("utf-8", "replace")
        for pid in map(int, re.findall(rf" @{MARK}-(\d{{1,9}})-\w+$", listed, re.MULTILINE)):
            with suppress(ProcessLookupError):  # of a container that has numbers of its own
                if own & os.sched_getaffinity(pid):
                    found.add(pid)
    return max(1, len(found))


class _Share:
    """What this process takes of the cores, from its first computation on."""

    def __init__(self, fixed: bool) -> None:
        self.fixed = fixed or are_set()
        self._mark: socket.socket | None = None
        self._whole = self._threads = 0
        self._looked = 0.0

    def begin(self) -> None:
        if self._mark is not None:
            return
        import torch

        self._whole = self._threads = torch.get_num_threads()
        with suppress(OSError):  # where it may not tell, it keeps its threads
            self._mark = mark()
        self.look()

    def look(self) -> None:
        if self._mark is None or self.fixed:
            return
        import torch

        if time.monotonic() - self._looked >= EVERY_S:
            count, self._looked = computing(), time.monotonic()
            before, self._threads = self._threads, max(1, self._whole // count)
            if self._threads != before:
                log.info("%d of %d threads; runs that compute here: %d", self._threads, self._whole, count)
        # Each thread of a process has a number of its own.
        if torch.get_num_threads() != self._threads:
            torch.set_num_threads(self._threads)

    def end(self) -> None:
        if self._mark is None:
            return
        import torch

        self._mark.close()
        if torch.get_num_threads() != self._whole:
            torch.set_num_threads(self._whole)


_share: _Share | None = None


@contextmanager
def shared(*, fixed: bool = False) -> Iterator[None]:
    """In this block, what computes here counts as a run; outside of it, threads are left alone.

    `fixed`: it keeps all its threads, since sums differ in their last bits with their number.
    """
    global _share
    before, _share = _share, _Share(fixed)
    try:
        yield
    finally:
        _share.end()
        _share = before


def compute() -> None:
    """Tells that this process computes on the processor from now on, with its share of the threads."""
    if _share is not None:
        _share.begin()


def divisor() -> int:
    """By how many the cores are divided for what is started now and keeps its threads."""
    return 1 if _share is None or _share.fixed else computing()


def adapt() -> None:
    """Takes the share of now, for the thread that calls it between computations that are not compared."""
    if _share is not None:
        _share.look()
