"""Runs programs that a model wrote: one process each, which isolates itself.

The isolation: user, process, mount, network, IPC and host-name namespaces; a read-only root of
Python's library and the shared libraries alone, with a small /tmp in memory; an empty environment and session
keyring, no descriptors but one to its tests and its standard error; no capabilities, no way to new ones; a
filter of system calls; limits on CPU and wall time, memory of all processes together, their number, files.
Where the kernel refuses namespaces the rest is left ("process only"), which takes `allow_weak`.

All programs at a time share the memory of one. A program that needs more than its share is started again
alone, with all of it, so that its outcome does not depend on its neighbours.
"""

import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import Empty, SimpleQueue

from engine.sandbox.jail import OVER_SHARE, ProgramLimits
from engine.sandbox.limits import ControlGroup
from engine.sandbox.wire import Closed, frame, read_frame

_ROOT = Path(__file__).resolve().parents[2]
_START = (
    "import sys; sys.path.insert(0, {root!r}); from engine.sandbox import jail; sys.path.pop(0); jail.main()"
)
_GRACE_S = 5.0
LEAST_SHARE = 64 << 20  # bytes: as many programs at a time as have this much each


@dataclass(frozen=True, slots=True)
class Job:
    """A program and its tests, both Python source; the tests see the names that the program defines."""

    program: str
    tests: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a job.

    `passed` None means that it is unknown: no sandbox, or invalid tests. `isolation` lists what held, from
    "namespaces" or "process only" on, each as named in `engine.sandbox.jail`; None when nothing was executed.
    `stderr` is how the program's standard error begins: what the program wants it to be.
    """

    passed: bool | None
    reason: str | None
    isolation: str | None
    stderr: str = ""


class Sandbox:
    """Runs jobs, several at a time. `close` ends its processes, as does the end of this one."""

    def __init__(
        self, limits: ProgramLimits | None = None, allow_weak: bool = False, workers: int | None = None
    ) -> None:
        self._limits = limits or ProgramLimits()
        self._allow_weak = allow_weak
        fitting = max(1, self._limits.memory // LEAST_SHARE)
        self._workers = min(workers or os.cpu_count() or 1, fitting)
        self._shares = threading.Semaphore(self._workers)
        self._alone = threading.Lock()
        self._idle: SimpleQueue[_Worker] = SimpleQueue()
        self._folder = tempfile.TemporaryDirectory(prefix="assay-sandbox-")
        # The users that programs run as must be able to reach their scratch folder.
        Path(self._folder.name).chmod(0o711)

    def __enter__(self) -> "Sandbox":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        while not self._idle.empty():
            self._idle.get().end()
        self._folder.cleanup()

    def run_all(self, jobs: Iterable[Job]) -> Iterator[Outcome]:
        """One outcome for each job, in their order."""
        with ThreadPoolExecutor(self._workers) as pool:
            yield from pool.map(self.run, jobs)

    def run(self, job: Job) -> Outcome:
        """Executes one program against its tests."""
        with self._shares:
            outcome = self._run(job, self._limits.memory // self._workers)
        if outcome.reason != OVER_SHARE:
            return outcome
        # Only one may wait for all shares at a time: two would wait for each other.
        with self._alone, ExitStack() as shares:
            for _ in range(self._workers):
                shares.enter_context(self._shares)
            return self._run(job, self._limits.memory)

    def _run(self, job: Job, share: int) -> Outcome:
        if not sys.platform.startswith("linux"):
            return Outcome(None, "the sandbox needs Linux", None)
        tests = frame(job.tests)
        header = {
            "program": job.program,
            "tests_size": len(tests),
            "limits": asdict(self._limits),
            "share": share,
            "mount_point": self._folder.name,
            "allow_weak": self._allow_weak,
        }
        try:
            worker = self._idle.get_nowait()
        except Empty:
            worker = _Worker()
        try:
            outcome = worker.run(frame(header) + tests, self._limits.wall_s)
        except BaseException:
            worker.end()
            raise
        if worker.ended:
            worker.end()
        else:
            self._idle.put(worker)
        return outcome


class _Worker:
    """The permanent process: it starts once, and a job costs three forks."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [_interpreter(), "-I", "-S", "-X", "utf8", "-c", _START.format(root=str(_ROOT))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            env={},
            cwd="/",
            start_new_session=True,
        )
        self.ended = False

    def run(self, frames: bytes, wall_s: float) -> Outcome:
        assert self._process.stdin is not None and self._process.stdout is not None
        deadline = time.monotonic() + wall_s + _GRACE_S
        answer = self._process.stdout.fileno()

        def read(size: int) -> bytes:
            if not select.select([answer], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise TimeoutError
            return os.read(answer, size)

        try:
            self._write(frames)
            return Outcome(**read_frame(read))
        except Closed as error:
            self.ended = True
            if isinstance(error.__cause__, TimeoutError):
                return Outcome(False, f"not finished after {wall_s:g} s", None)
            return Outcome(None, f"the sandbox did not start: {self._complaint()}", None)

    def _write(self, frames: bytes) -> None:
        assert self._process.stdin is not None
        view = memoryview(frames)
        try:
            while view:
                view = view[os.write(self._process.stdin.fileno(), view) :]
        except OSError as error:
            raise Closed from error

    def _complaint(self) -> str:
        self._process.kill()
        complaint = self._process.communicate()[1].decode("utf-8", "replace").strip()
        return complaint.splitlines()[-1] if complaint else f"exit code {self._process.returncode}"

    def end(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()
        ControlGroup.remove(self._process.pid)


def _interpreter() -> str:
    """The interpreter itself: a virtual environment's would bring its settings."""
    return str(getattr(sys, "_base_executable", sys.executable))
