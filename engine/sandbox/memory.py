"""The memory of all processes of one program together: kept by a control group of the kernel, else counted.

A control group (cgroup v2) is used where this process may make one beside or below its own. Elsewhere
the memory is summed over the processes every few milliseconds; each of them alone has its limit in any case.
"""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

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
        """Bytes that they take together; 0 where they are not `visible`."""
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
        """A new one, None where the kernel or the permissions allow none."""
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
        """Puts this process, and its children to come, into the group."""
        os.write(self._processes, b"0")

    def kills(self) -> int:
        """How many of its processes were killed so far."""
        return int(dict(line.split() for line in os.pread(self._events, 4096, 0).splitlines())[b"oom_kill"])

    @staticmethod
    def remove(maker: int) -> None:
        """Removes the group that a process made, unless it made none or something still runs in it."""
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
