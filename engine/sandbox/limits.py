"""Limits on one program: the memory of all its processes together, and what it may ask the kernel for.

A control group (cgroup v2) is used where this process may make one beside or below its own. Elsewhere
the memory is summed over the processes every few milliseconds; each of them alone has its limit in any case.
"""

import ctypes
import errno
import os
import re
import struct
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

# Name, number on x86-64, number on 64-bit ARM ("-": not there), as in the kernel's unistd.h.
ALLOWED = """
read 0 63, write 1 64, readv 19 65, writev 20 66, pread64 17 67, pwrite64 18 68, preadv 295 69,
pwritev 296 70, preadv2 327 286, pwritev2 328 287, open 2 -, openat 257 56, close 3 57, close_range 436 436,
creat 85 -, stat 4 -, fstat 5 80, lstat 6 -, newfstatat 262 79, statx 332 291, lseek 8 62, access 21 -,
faccessat 269 48, faccessat2 439 439, readlink 89 -, readlinkat 267 78, getdents 78 -, getdents64 217 61,
mkdir 83 -, mkdirat 258 34, rmdir 84 -, unlink 87 -, unlinkat 263 35, rename 82 -, renameat 264 38,
renameat2 316 276, link 86 -, linkat 265 37, symlink 88 -, symlinkat 266 36, chmod 90 -, fchmod 91 52,
fchmodat 268 53, truncate 76 45, ftruncate 77 46, fsync 74 82, fdatasync 75 83, fallocate 285 47,
fadvise64 221 223, utimensat 280 88, utime 132 -, utimes 235 -, futimesat 261 -, flock 73 32, fcntl 72 25,
dup 32 23, dup2 33 -, dup3 292 24, pipe 22 -, pipe2 293 59, getcwd 79 17, chdir 80 49, fchdir 81 50,
umask 95 166, statfs 137 43, fstatfs 138 44, sendfile 40 71, copy_file_range 326 285, splice 275 76,
getxattr 191 8, lgetxattr 192 9, fgetxattr 193 10, listxattr 194 11, llistxattr 195 12, flistxattr 196 13,
mmap 9 222, mprotect 10 226, munmap 11 215, mremap 25 216, madvise 28 233, brk 12 214, mincore 27 232,
msync 26 227, membarrier 324 283, rseq 334 293, fork 57 -, vfork 58 -, exit 60 93, exit_group 231 94,
wait4 61 260, waitid 247 95, pidfd_open 434 434, kill 62 129, tkill 200 130, tgkill 234 131, getpid 39 172,
getppid 110 173, gettid 186 178, getuid 102 174, geteuid 107 175, getgid 104 176, getegid 108 177,
getresuid 118 148, getresgid 120 150, getgroups 115 158, getpgid 121 155, getpgrp 111 -, setpgid 109 154,
getsid 124 156, setsid 112 157, set_tid_address 218 96, set_robust_list 273 99, get_robust_list 274 100,
futex 202 98, sched_yield 24 124, sched_getaffinity 204 123, sched_getparam 143 121,
sched_getscheduler 145 120, sched_get_priority_max 146 125, sched_get_priority_min 147 126,
getpriority 140 141, getrlimit 97 163, setrlimit 160 164, prlimit64 302 261, getrusage 98 165,
times 100 153, sysinfo 99 179, uname 63 160, getrandom 318 278, getcpu 309 168, time 201 -,
gettimeofday 96 169, clock_gettime 228 113, clock_getres 229 114, nanosleep 35 101, clock_nanosleep 230 115,
alarm 37 -, getitimer 36 102, setitimer 38 103, rt_sigaction 13 134, rt_sigprocmask 14 135,
rt_sigreturn 15 139, rt_sigpending 127 136, rt_sigsuspend 130 133, rt_sigtimedwait 128 137,
sigaltstack 131 132, pause 34 -, restart_syscall 219 128, poll 7 -, ppoll 271 73, select 23 -,
pselect6 270 72, epoll_create 213 -, epoll_create1 291 20, epoll_ctl 233 21, epoll_wait 232 -,
epoll_pwait 281 22, epoll_pwait2 441 441, eventfd 284 -, eventfd2 290 19, sendto 44 206, recvfrom 45 207,
shutdown 48 210, getsockname 51 204, getsockopt 55 209
"""
# Allowed for some values of one argument: its place, the bits that count, the values that they may have.
ALLOWED_FOR: dict[str, tuple[int, int, tuple[int, ...]]] = {
    "clone 56 220": (0, 0x7E020000, (0,)),  # no new namespace
    "ioctl 16 29": (1, 0xFFFFFFFF, (0x5401, 0x541B, 0x5421, 0x5450, 0x5451)),  # a terminal? readable, modes
    "prctl 157 167": (0, 0xFFFFFFFF, (15, 16)),  # a thread's name
    "socketpair 53 199": (0, 0xFFFFFFFF, (1,)),  # AF_UNIX, which event loops wake themselves by
}
_MACHINES = {"x86_64": (1, 0xC000003E, 250), "aarch64": (2, 0xC00000B7, 219)}  # column, AUDIT_ARCH_…, keyctl
_LOAD, _AND, _EQUAL, _RETURN = 0x20, 0x54, 0x15, 0x06  # BPF: a word of seccomp_data, and three more
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # places in seccomp_data
_ALLOW, _ERROR, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_PR_SET_SECCOMP, _FILTER, _JOIN_SESSION_KEYRING = 22, 2, 1

_libc = ctypes.CDLL(None, use_errno=True)


def _machine() -> str:
    return os.uname().machine if sys.maxsize > 1 << 32 else "32 bits"


def call_filter() -> bytes | None:
    """The filter for this machine; None where the kernel takes none, or its calls are not known here."""
    known = _MACHINES.get(_machine())
    # Without an address a kernel that knows filters finds the address wrong, any other the request.
    refused = _libc.prctl(_PR_SET_SECCOMP, _FILTER, None, 0, 0) != 0
    return _filter(*known[:2]) if known and refused and ctypes.get_errno() == errno.EFAULT else None


def filter_calls(code: bytes) -> None:
    """Puts a filter on this process and its children, for good. Raises OSError.

    Takes a process that can't gain rights. Most calls are refused as a kernel without them would, so that
    the C library takes an older one where it has one.
    """
    program = _FilterProgram(len(code) // 8, code)
    if _libc.prctl(_PR_SET_SECCOMP, _FILTER, ctypes.byref(program), 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "the filter of system calls was refused")


class _FilterProgram(ctypes.Structure):
    """The kernel's `sock_fprog`."""

    _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_char_p))


def leave_keyring() -> bool:
    """Leaves the session's keyring for an empty one; False where the kernel or a policy refuses."""
    _, _, keyctl = _MACHINES.get(_machine(), (0, 0, 0))
    return bool(keyctl) and _libc.syscall(keyctl, _JOIN_SESSION_KEYRING, None) >= 0


def _filter(column: int, architecture: int) -> bytes:
    def number(call: str) -> int | None:
        given = call.split()[column]
        return None if given == "-" else int(given)

    def step(code: int, value: int, when: int = 0, otherwise: int = 0) -> bytes:
        return struct.pack("=HBBI", code, when, otherwise, value)

    allow, missing = step(_RETURN, _ALLOW), step(_RETURN, _ERROR | errno.ENOSYS)
    steps = [step(_LOAD, _ARCHITECTURE), step(_EQUAL, architecture, 1), step(_RETURN, _KILL)]
    steps.append(step(_LOAD, _NUMBER))
    for call in ALLOWED.split(","):
        if (found := number(call)) is not None:
            steps += [step(_EQUAL, found, 0, 1), allow]
    for call, (argument, bits, values) in ALLOWED_FOR.items():
        found = number(call)
        assert found is not None
        steps.append(step(_EQUAL, found, 0, 3 + 2 * len(values)))
        # The lower half of the argument: these calls take 32 bits of it.
        steps += [step(_LOAD, _ARGUMENTS + 8 * argument), step(_AND, bits)]
        for value in values:
            steps += [step(_EQUAL, value, 0, 1), allow]
        steps.append(step(_RETURN, _ERROR | errno.EPERM))
    return b"".join([*steps, missing])


# What takes memory of its own: anonymous and shared pages and what is swapped out. A page that several
# processes share counts once by its parts, where the kernel tells them (smaps_rollup), else in each.
_SHARED = re.compile(rb"^(?:Pss_Anon|Pss_Shmem|SwapPss): +(\d+)", re.MULTILINE)
_WHOLE = re.compile(rb"^(?:RssAnon|RssShmem|VmSwap):\s+(\d+)", re.MULTILINE)


class Processes:
    """The descendants of this process, seen through /proc as it is now, wherever the root is moved to."""

    def __init__(self) -> None:
        self._own = os.getpid()
        self.visible = Path(f"/proc/{self._own}/task/{self._own}/children").exists()
        self._proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY) if self.visible else -1

    def memory(self) -> int:
        """The memory of all of them in bytes; 0 if they are not `visible`."""
        waiting, total = list(self._children(self._own)), 0
        while waiting:
            process = waiting.pop()
            total += self._memory(process)
            waiting += self._children(process)
        return total

    def _children(self, process: int) -> Iterator[int]:
        with suppress(OSError):  # it has ended
            for thread in self._list(f"{process}/task"):
                yield from map(int, self._read(f"{process}/task/{thread}/children").split())

    def _memory(self, process: int) -> int:
        for name, lines in (("smaps_rollup", _SHARED), ("status", _WHOLE)):
            with suppress(OSError):
                return sum(int(size) << 10 for size in lines.findall(self._read(f"{process}/{name}")))
        return 0

    def _list(self, folder: str) -> list[str]:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY, dir_fd=self._proc)
        try:
            return os.listdir(handle)  # noqa: PTH208  a descriptor has no path
        finally:
            os.close(handle)

    def _read(self, file: str) -> bytes:
        handle = os.open(file, os.O_RDONLY, dir_fd=self._proc)
        try:
            return os.read(handle, 1 << 16)
        finally:
            os.close(handle)


@dataclass(frozen=True, slots=True)
class ControlGroup:
    """A group of processes whose memory the kernel keeps within a limit: all are killed beyond it."""

    _limit: int  # descriptors of its files
    _processes: int
    _events: int

    @classmethod
    def make(cls) -> "ControlGroup | None":
        """A new group; None if the kernel or the permissions do not allow one."""
        for parent in _parents():
            folder = _folder(parent, os.getpid())
            with suppress(OSError):
                if "memory" not in (parent / "cgroup.subtree_control").read_text().split():
                    continue
                folder.mkdir()
                try:
                    with suppress(FileNotFoundError):  # a kernel that does not count swap
                        (folder / "memory.swap.max").write_text("0")
                    (folder / "memory.oom.group").write_text("1")
                    names = ("memory.max", "cgroup.procs")
                    limit, processes = (os.open(folder / name, os.O_WRONLY) for name in names)
                    return cls(limit, processes, os.open(folder / "memory.events", os.O_RDONLY))
                except OSError:
                    folder.rmdir()
        return None

    def keep_within(self, size: int) -> None:
        """Sets the limit in bytes, for the next program."""
        os.write(self._limit, str(size).encode())

    def enter(self) -> None:
        """Puts this process and its future children into the group."""
        os.write(self._processes, b"0")

    def kills(self) -> int:
        """How many of its processes were killed so far."""
        return int(dict(line.split() for line in os.pread(self._events, 4096, 0).splitlines())[b"oom_kill"])

    @staticmethod
    def remove(maker: int) -> None:
        """Removes the group that a process made, unless something still runs in it."""
        for parent in _parents():
            with suppress(OSError):
                _folder(parent, maker).rmdir()


def _folder(parent: Path, maker: int) -> Path:
    return parent / f"assay-{maker}"


def _parents() -> Iterator[Path]:
    """This process's own group, and the one around it, as folders."""
    with suppress(OSError):
        mounts = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
        groups = [
            line[3:] for line in Path("/proc/self/cgroup").read_text().splitlines() if line[:3] == "0::"
        ]
        for mount in mounts:
            if mount[mount.index("-") + 1] == "cgroup2" and groups and groups[0].startswith(mount[3]):
                own = Path(mount[4], groups[0].removeprefix(mount[3]).lstrip("/"))
                yield own
                if own != Path(mount[4]):
                    yield own.parent
