"""The sandbox from inside: a process that stays, and three for each job, each with less than the one before.

The first reads jobs and forks. Its child, the launcher, isolates itself and waits; the launcher's child
checks, and its grandchild is the program, in a process namespace of its own where the tests do not exist.
When the launcher's child ends, the kernel ends all that is left.
"""

import os
import select
import shutil
import signal
import socket
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from engine.sandbox import isolate
from engine.sandbox.checker import check
from engine.sandbox.isolate import Limits
from engine.sandbox.program import serve
from engine.sandbox.wire import Closed, receive, send

NAMESPACES, PROCESS_ONLY = "namespaces", "process only"
_ENDING_S = 1.0  # how long a program that closed its connection may take to end
_SIGNALS: dict[int, str] = {
    signal.SIGKILL: "it was killed, by a limit or by itself",
    signal.SIGSEGV: "it crashed (segmentation fault)",
    signal.SIGXFSZ: "it wrote too large a file",
}


@dataclass(frozen=True, slots=True)
class _Job:
    program: str
    tests: int  # a descriptor: their text is read where they run, and nowhere else
    limits: Limits
    namespaces: bool
    user: int


def main() -> None:
    """Reads jobs from standard input, a header and the tests' frame; answers each on standard output."""
    while True:
        try:
            header = receive(0)
            tests = _set_aside(header["tests_size"])
        except Closed:
            return
        launcher = os.fork()
        if launcher == 0:
            _run(partial(_launch, header, tests))
        os.close(tests)
        if os.waitpid(launcher, 0)[1] != 0:
            send(1, _nothing("the sandbox itself failed"))


def _set_aside(size: int) -> int:
    """A file in memory with the next bytes of standard input, which never come into this process's own."""
    tests = os.memfd_create("tests")
    while size > 0:
        moved = os.splice(0, tests, size)
        if moved == 0:
            raise Closed
        size -= moved
    os.lseek(tests, 0, os.SEEK_SET)
    return tests


def _nothing(reason: str) -> dict[str, Any]:
    return {"passed": None, "reason": reason, "isolation": None}


def _launch(header: dict[str, Any], tests: int) -> None:
    send(1, _answer(header, tests))


def _answer(header: dict[str, Any], tests: int) -> dict[str, Any]:
    isolate.prctl(isolate.PR_SET_PDEATHSIG, signal.SIGKILL)
    isolate.prctl(isolate.PR_SET_CHILD_SUBREAPER, 1)
    mount_point = Path(header["mount_point"])
    refusal = _isolate(mount_point)
    if refusal and not header["allow_weak"]:
        return _nothing(f"no sandbox here ({refusal}), and allow_weak is not set")
    user = isolate.FIRST_FREE_USER + os.getpid()
    job = _Job(header["program"], tests, Limits(**header["limits"]), not refusal, user)
    scratch = _scratch(mount_point, user) if refusal else None
    passed, reason = _verdict(job)
    if scratch is not None:
        os.chdir("/")
        shutil.rmtree(scratch, ignore_errors=True)
    return {"passed": passed, "reason": reason, "isolation": PROCESS_ONLY if refusal else NAMESPACES}


def _isolate(mount_point: Path) -> str | None:
    """Why the kernel's isolation is not to be had; None when it is in place."""
    try:
        isolate.enter_namespaces()
        isolate.enter_empty_root(mount_point)
    except OSError as error:
        return error.strerror or str(error)
    return None


def _scratch(parent: Path, user: int) -> Path:
    folder = Path(tempfile.mkdtemp(dir=parent))
    if os.geteuid() == 0:
        os.chown(folder, user, user)
    os.chdir(folder)
    return folder


def _verdict(job: _Job) -> tuple[bool | None, str | None]:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _run(lambda: _check(job, writing))
    os.close(writing)
    try:
        if not select.select([reading], [], [], job.limits.wall_s)[0]:
            return False, f"not finished after {job.limits.wall_s:g} s"
        passed, reason = receive(reading)
        return passed, reason
    except Closed:
        return False, "ended before there was a verdict"
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        _end_orphans()


def _end_orphans() -> None:
    """Kills what is left where no process namespace did; whoever loses its parent comes here next."""
    own = Path(f"/proc/self/task/{os.getpid()}/children")
    while own.exists() and (left := own.read_text(encoding="ascii").split()):
        for process in left:
            os.kill(int(process), signal.SIGKILL)
            os.waitpid(int(process), 0)


def _check(job: _Job, verdict: int) -> None:
    if job.namespaces:
        isolate.enter_process_namespace()
    here, there = socket.socketpair()
    program = os.fork()
    if program == 0:
        _run(lambda: _program(job, there.detach()))
    there.close()
    tests = receive(job.tests)
    stream = here.detach()
    _keep_only(verdict, stream)
    isolate.drop_rights(job.limits, job.user, job.namespaces)
    try:
        outcome = check(tests, stream)
    except Closed:
        outcome = (False, _end_of(program, job.limits))
    send(verdict, outcome)


def _program(job: _Job, stream: int) -> None:
    _keep_only(stream)
    isolate.drop_rights(job.limits, job.user, job.namespaces)
    with suppress(Closed):
        serve(job.program, stream)


def _run(work: Callable[[], None]) -> None:
    """A forked process's work, and nothing of its parent's after it; exit code 1 if it did not end well."""
    code = 1
    try:
        work()
        code = 0
    finally:
        os._exit(code)


def _keep_only(*streams: int) -> None:
    """Standard streams lead nowhere, all other descriptors but these are closed."""
    nowhere = os.open("/dev/null", os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)
    start = 3
    for stream in sorted(streams):
        os.closerange(start, stream)
        start = stream + 1
    os.closerange(start, os.sysconf("SC_OPEN_MAX"))


def _end_of(process: int, limits: Limits) -> str:
    """How the program's process came to its end before its tests did."""
    select.select([os.pidfd_open(process)], [], [], _ENDING_S)
    ended, status, usage = os.wait4(process, os.WNOHANG)
    if ended == 0:
        return "the program closed its connection to the tests"
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return f"the program ended itself with exit code {code} before its tests did"
    # The kernel counts ticks for the limit and time for the usage, which may lie a little under it.
    spent = usage.ru_utime + usage.ru_stime >= 0.9 * limits.cpu_s
    what = f"its {limits.cpu_s} s of CPU time were up" if spent else _SIGNALS.get(-code, f"signal {-code}")
    return f"the program ended before its tests did: {what}"
