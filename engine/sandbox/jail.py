"""The sandbox from inside: a permanent process, and three per job, each with fewer rights than the last.

The first reads jobs and forks. Its child, the launcher, isolates itself and waits; the launcher's child
checks, and its grandchild is the program, in a process namespace of its own where the tests do not exist.
When the launcher's child ends, the kernel ends all that is left."""

import ctypes
import os
import resource
import select
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from engine.sandbox.checker import check
from engine.sandbox.limits import ControlGroup, Processes, call_filter, filter_calls, leave_keyring
from engine.sandbox.wire import Closed, receive, send, serve

SCRATCH_BYTES = 16 << 20  # the size of the one folder that can be written to
SCRATCH_FILES = 1000
FILE_BYTES = 8 << 20  # the largest single file
OPEN_FILES = 64
KEPT_BYTES = 2000  # of what a program writes to its standard error
# A user id that nobody on the machine has, so that limits and permissions are the program's own.
FIRST_FREE_USER = 2_000_000_000

_NEWNS, _NEWUTS, _NEWIPC, _NEWUSER, _NEWPID, _NEWNET = (
    0x00020000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000,
)  # fmt: skip
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_REMOUNT, _MS_BIND, _MS_REC, _MS_PRIVATE = (
    1, 2, 4, 32, 4096, 16384, 1 << 18,
)  # fmt: skip
_KEPT_FLAGS = 2 | 4 | 8 | 1024 | 2048  # nosuid, nodev, noexec, noatime, nodiratime: locked by the owner
_MNT_DETACH = 2
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
_PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 4, 38
_CAPABILITY_VERSION_3 = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)
NAMESPACES, PROCESS_ONLY = "namespaces", "process only"
FILTER, KEYRING, GROUP, SUM = "system-call filter", "own keyring", "memory by cgroup", "memory by sum"
OVER_SHARE = "its processes used more than their share of the memory"
_LOOK_S = 0.01  # between two sums of the processes' memory
_ENDING_S = 1.0  # how long a program that closed its connection may take to end
_SIGNALS: dict[int, str] = {
    signal.SIGKILL: "it was killed, by a limit or by itself",
    signal.SIGSEGV: "it crashed (segmentation fault)",
    signal.SIGXFSZ: "it wrote too large a file",
    signal.SIGSYS: "it made a system call of another machine",
}


@dataclass(frozen=True, slots=True)
class ProgramLimits:
    """What one program may use: `cpu_s` and `wall_s` in seconds, processes and threads.

    `memory` in bytes bounds all its processes together, those of its tests too, and each of them alone.
    """

    cpu_s: int = 5
    wall_s: float = 10.0
    memory: int = 512 << 20
    processes: int = 16


def enter_namespaces() -> None:
    """Own mounts, network, future processes, IPC and host name; in a user namespace unless run as root.

    Raises OSError where the kernel or a container's policy refuses.
    """
    if not hasattr(_libc, "unshare"):
        raise OSError("this system has no namespaces")
    kinds = _NEWNS | _NEWUTS | _NEWIPC | _NEWPID | _NEWNET
    try:
        if os.geteuid() != 0:
            raise PermissionError
        _call("unshare", kinds)
    except PermissionError:
        user, group = os.geteuid(), os.getegid()
        _call("unshare", kinds | _NEWUSER)
        Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1", encoding="ascii")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1", encoding="ascii")
    socket.sethostname("sandbox")


def enter_process_namespace() -> None:
    """Future children cannot name, trace or signal any other process."""
    _call("unshare", _NEWPID)


def enter_empty_root(mount_point: Path) -> None:
    """A root of nothing but Python's library and the system's shared ones, read-only, and /tmp to write to.

    No /proc, no /sys, no /etc, no home, no program to start. `mount_point` is any folder: it is covered in
    this mount namespace only. Raises OSError.
    """
    _mount("none", "/", None, _MS_REC | _MS_PRIVATE)
    _mount("tmpfs", mount_point, "tmpfs", _MS_NOSUID, "size=1m,mode=755")
    for folder in _libraries():
        _bind(folder, mount_point)
    for name in ("tmp", "dev"):
        (mount_point / name).mkdir()
    (mount_point / "dev/null").touch()
    _mount("/dev/null", mount_point / "dev/null", None, _MS_BIND)
    scratch = f"size={SCRATCH_BYTES},nr_inodes={SCRATCH_FILES},mode=777"
    _mount("tmpfs", mount_point / "tmp", "tmpfs", _MS_NOSUID | _MS_NODEV, scratch)
    os.chdir(mount_point)
    _call("pivot_root", b".", b".")
    _call("umount2", b".", _MNT_DETACH)
    _mount("none", "/", None, _MS_REMOUNT | _MS_RDONLY | _MS_NOSUID)
    os.chdir("/tmp")


def _libraries() -> list[Path]:
    """Folders with what the interpreter loads late, outermost first; links stay links."""
    wanted = {
        "/lib",
        "/lib64",
        "/usr/lib",
        "/usr/lib64",
        f"{sys.base_prefix}/lib",
        f"{sys.base_prefix}/lib64",
    }
    wanted |= {place for place in sys.path if place.startswith("/")}
    found: list[Path] = []
    for folder in sorted(path for path in map(Path, wanted) if path.is_dir()):
        if folder.is_symlink() or not any(folder.is_relative_to(outer) for outer in found):
            found.append(folder)
    return found


def _bind(folder: Path, root: Path) -> None:
    inside = root / folder.relative_to("/")
    inside.parent.mkdir(parents=True, exist_ok=True)
    if folder.is_symlink():
        inside.symlink_to(folder.readlink())
        return
    inside.mkdir()
    _mount(folder, inside, None, _MS_BIND | _MS_REC)
    kept = os.statvfs(inside).f_flag & _KEPT_FLAGS
    _mount("none", inside, None, _MS_REMOUNT | _MS_BIND | _MS_RDONLY | _MS_NOSUID | kept)
    for packages in inside.glob("python3*/site-packages"):
        _mount("tmpfs", packages, "tmpfs", _MS_RDONLY | _MS_NOSUID, "size=4k")


def drop_rights(limits: ProgramLimits, user: int, namespaces: bool, calls: bytes | None) -> None:
    """Drops all rights of this process for good, and applies its limits.

    Root becomes `user`. With `namespaces`, the process then enters a user namespace without any mapping: it
    is nobody there, and the kernel makes no further namespaces for nobody. `calls` is the filter of
    its system calls. Dies with its parent.
    """
    if os.geteuid() == 0 and _is_machine_root():
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    if namespaces:
        _call("unshare", _NEWUSER)
        header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
        _call("capset", header, (ctypes.c_uint32 * 6)())
    prctl(_PR_SET_NO_NEW_PRIVS, 1)
    prctl(_PR_SET_DUMPABLE, 0)
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (limits.cpu_s, limits.cpu_s))
    resource.setrlimit(resource.RLIMIT_AS, (limits.memory, limits.memory))
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_BYTES, FILE_BYTES))
    resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, OPEN_FILES))
    resource.setrlimit(resource.RLIMIT_NPROC, (limits.processes, limits.processes))
    if calls is not None:
        filter_calls(calls)


def _is_machine_root() -> bool:
    """Whether root here may become any user: not so where one user alone is mapped to root."""
    try:
        os.setresgid(FIRST_FREE_USER, -1, -1)
    except OSError:
        return False
    os.setresgid(0, -1, -1)
    return True


def prctl(option: int, value: int) -> None:
    """Sets an option of this process: PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER (orphans come to it) …"""
    _call("prctl", option, value, 0, 0, 0)


def _mount(source: str | Path, target: str | Path, kind: str | None, flags: int, data: str = "") -> None:
    _call(
        "mount",
        os.fsencode(source),
        os.fsencode(target),
        kind.encode() if kind else None,
        ctypes.c_ulong(flags),
        data.encode() or None,
    )


def _call(name: str, *arguments: object) -> None:
    if getattr(_libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


@dataclass(frozen=True, slots=True)
class _Means:
    """What the kernel offers here besides namespaces."""

    calls: bytes | None  # the filter of system calls
    group: ControlGroup | None


@dataclass(frozen=True, slots=True)
class _Job:
    program: str
    tests: int  # a descriptor: their text is read where they run, and nowhere else
    limits: ProgramLimits
    share: int  # bytes of memory, within the limit, that it has while others run beside it
    namespaces: bool
    user: int
    means: _Means


def main() -> None:
    """Reads jobs from standard input, a header and the tests' frame; answers each on standard output."""
    try:
        _work(_Means(call_filter(), ControlGroup.make()))
    finally:
        ControlGroup.remove(os.getpid())


def _work(means: _Means) -> None:
    while True:
        try:
            header = receive(0)
            tests = _set_aside(header["tests_size"])
        except Closed:
            return
        launcher = os.fork()
        if launcher == 0:
            _run(partial(_launch, header, tests, means))
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


def _launch(header: dict[str, Any], tests: int, means: _Means) -> None:
    send(1, _answer(header, tests, means))


def _answer(header: dict[str, Any], tests: int, means: _Means) -> dict[str, Any]:
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    processes = Processes()
    own_keyring = leave_keyring()
    mount_point = Path(header["mount_point"])
    refusal = _isolate(mount_point)
    if refusal and not header["allow_weak"]:
        return _nothing(f"no sandbox here ({refusal}), and allow_weak is not set")
    user = FIRST_FREE_USER + os.getpid()
    limits = ProgramLimits(**header["limits"])
    job = _Job(header["program"], tests, limits, header["share"], not refusal, user, means)
    scratch = _scratch(mount_point, user) if refusal else None
    passed, reason, errors = _verdict(job, processes)
    if scratch is not None:
        os.chdir("/")
        shutil.rmtree(scratch, ignore_errors=True)
    holds = {
        PROCESS_ONLY if refusal else NAMESPACES: True,
        FILTER: means.calls is not None,
        KEYRING: own_keyring,
        GROUP: means.group is not None,
        # A segment of shared memory that no process has mapped is in no sum: the filter allows none.
        SUM: means.group is None and means.calls is not None and processes.visible,
    }
    isolation = ", ".join(name for name in holds if holds[name])
    return {"passed": passed, "reason": reason, "isolation": isolation, "stderr": errors}


def _isolate(mount_point: Path) -> str | None:
    """Why the kernel's isolation is unavailable; None when it is in place."""
    try:
        enter_namespaces()
        enter_empty_root(mount_point)
    except OSError as error:
        return error.strerror or str(error)
    return None


def _scratch(parent: Path, user: int) -> Path:
    folder = Path(tempfile.mkdtemp(dir=parent))
    if os.geteuid() == 0:
        os.chown(folder, user, user)
    os.chdir(folder)
    return folder


class _Errors:
    """A program's standard error, read at once so that the program never waits for a reader."""

    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()
        os.set_blocking(self.reading, False)
        self._kept = b""

    def read(self) -> bool:
        """Reads what is available; False at the end."""
        try:
            found = os.read(self.reading, 1 << 16)
        except BlockingIOError:
            return True
        self._kept += found[: KEPT_BYTES - len(self._kept)]
        return bool(found)

    @property
    def text(self) -> str:
        return self._kept.decode("utf-8", "replace")


def _verdict(job: _Job, processes: Processes) -> tuple[bool | None, str | None, str]:
    """Whether the program passed, why not, and how its standard error begins."""
    reading, writing = os.pipe()
    errors = _Errors()
    before = 0
    if job.means.group:
        job.means.group.keep_within(job.share)
        before = job.means.group.kills()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _run(lambda: _check(job, writing, errors.writing))
    os.close(writing)
    os.close(errors.writing)
    try:
        passed, reason = _awaited(job, processes, reading, errors)
    except Closed:
        passed, reason = False, "ended before there was a verdict"
        if job.means.group and job.means.group.kills() > before:
            passed, reason = _too_much(job)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        _end_orphans()
    errors.read()
    return passed, reason, errors.text


def _awaited(
    job: _Job, processes: Processes, reading: int, errors: _Errors
) -> tuple[bool | None, str | None]:
    """The verdict that arrives, or the limit that was passed before. Raises Closed."""
    watched = [reading, errors.reading]
    now = time.monotonic()
    ended, look = now + job.limits.wall_s, now + _LOOK_S
    while True:
        ready = select.select(watched, [], [], max(0.0, min(look, ended) - now))[0]
        if errors.reading in ready and not errors.read():
            watched.remove(errors.reading)
        if reading in ready:
            passed, reason = receive(reading)
            return passed, reason
        now = time.monotonic()
        if now >= ended:
            return False, f"not finished after {job.limits.wall_s:g} s"
        if now >= look:
            if job.means.group is None and processes.memory() > job.share:
                return _too_much(job)
            now = time.monotonic()
            look = now + _LOOK_S


def _too_much(job: _Job) -> tuple[bool | None, str]:
    if job.share < job.limits.memory:
        return None, OVER_SHARE
    return False, f"its processes used more than {job.limits.memory >> 20} MiB of memory in all"


def _end_orphans() -> None:
    """Kills leftover processes where no process namespace did; orphans are reparented here."""
    own = Path(f"/proc/self/task/{os.getpid()}/children")
    while own.exists() and (left := own.read_text(encoding="ascii").split()):
        for process in left:
            os.kill(int(process), signal.SIGKILL)
            os.waitpid(int(process), 0)


def _check(job: _Job, verdict: int, errors: int) -> None:
    if job.means.group:
        job.means.group.enter()
    if job.namespaces:
        enter_process_namespace()
    here, there = socket.socketpair()
    program = os.fork()
    if program == 0:
        _run(lambda: _program(job, there.detach(), errors))
    there.close()
    tests = receive(job.tests)
    stream = here.detach()
    _keep_only(verdict, stream)
    try:
        drop_rights(job.limits, job.user, job.namespaces, job.means.calls)
    except OSError as error:
        send(verdict, (None, f"the sandbox itself failed: {error}"))
        return
    outcome: tuple[bool | None, str | None]
    try:
        outcome = check(tests, stream)
    except Closed:
        outcome = (False, _end_of(program, job.limits))
    send(verdict, outcome)


def _program(job: _Job, stream: int, errors: int) -> None:
    os.dup2(errors, 2)
    _keep_only(2, stream)
    drop_rights(job.limits, job.user, job.namespaces, job.means.calls)
    with suppress(Closed):
        serve(job.program, stream)


def _run(work: Callable[[], None]) -> None:
    """Runs a forked process's work and exits without returning to its parent's code; 1 means failure."""
    code = 1
    try:
        work()
        code = 0
    finally:
        os._exit(code)


def _keep_only(*streams: int) -> None:
    """Redirects the standard streams to nowhere and closes all other descriptors except these."""
    nowhere = os.open("/dev/null", os.O_RDWR)
    for standard in {0, 1, 2}.difference(streams):
        os.dup2(nowhere, standard)
    start = 3
    for stream in sorted(stream for stream in streams if stream >= start):
        os.closerange(start, stream)
        start = stream + 1
    os.closerange(start, os.sysconf("SC_OPEN_MAX"))


def _end_of(process: int, limits: ProgramLimits) -> str:
    """How the program's process ended before its tests did."""
    select.select([os.pidfd_open(process)], [], [], _ENDING_S)
    ended, status, usage = os.wait4(process, os.WNOHANG)
    if ended == 0:
        return "the program closed its connection to the tests"
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return f"the program exited with code {code} before its tests finished"
    # The kernel counts ticks for the limit and time for the usage, which is lower on a busy machine.
    spent = usage.ru_utime + usage.ru_stime >= 0.5 * limits.cpu_s
    what = f"it used up its {limits.cpu_s} s of CPU time" if spent else _SIGNALS.get(-code, f"signal {-code}")
    return f"the program ended before its tests finished: {what}"
