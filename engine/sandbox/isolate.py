"""What the kernel holds back from a program: namespaces, an empty root, no rights, limits. Linux only.

Runs inside the sandbox's own process, before any text of a model is executed. Calls go through ctypes, since
Python 3.11 has neither unshare nor mount.
"""

import ctypes
import os
import resource
import signal
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

SCRATCH_BYTES = 16 << 20  # the size of the one folder that can be written to
SCRATCH_FILES = 1000
FILE_BYTES = 8 << 20  # the largest single file
OPEN_FILES = 64
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


@dataclass(frozen=True, slots=True)
class Limits:
    """What one program may use: `cpu_s` and `wall_s` in seconds, `memory` in bytes, processes and threads."""

    cpu_s: int = 5
    wall_s: float = 10.0
    memory: int = 512 << 20
    processes: int = 16


def enter_namespaces() -> None:
    """Own mounts, network, processes to come, IPC and host name; as root of a user namespace when not root.

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
    """Children to come cannot name, trace or signal anything but themselves."""
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


def drop_rights(limits: Limits, user: int, namespaces: bool) -> None:
    """Gives up every right of this process for good, and takes its limits on.

    Root becomes `user`. With `namespaces`, the process then enters a user namespace without any mapping: it
    is nobody there, and the kernel makes no further namespaces for nobody. Dies with its parent.
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
