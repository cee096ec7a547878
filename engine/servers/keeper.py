"""Runs a server and ends all its processes with it: `python -P -m engine.servers PARENT COMMAND…`.

It leads a session of its own and takes in what its descendants leave behind. When the process PARENT dies, by
whatever signal, when it is told to end, or when the server ends by itself, no process of the server stays.
"""

import ctypes
import os
import signal
import subprocess
import sys
from typing import Any

import psutil

GRACE_S = 15  # for the server to end what it has under way
_LEFT_S = 1.0  # for its helpers to end after it
_DIE_WITH_PARENT, _TAKE_IN = 1, 36  # PR_SET_PDEATHSIG and PR_SET_CHILD_SUBREAPER of <linux/prctl.h>


def _control(option: int, value: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def die_with_parent() -> None:
    """SIGTERM for this process when the thread that started it ends."""
    _control(_DIE_WITH_PARENT, signal.SIGTERM)


def keep(parent: int, command: list[str]) -> int:
    """Runs the command to its end; returns its exit code, below 0 for a signal."""
    die_with_parent()
    _control(_TAKE_IN, 1)
    if os.getppid() != parent:
        return 0  # it died before it could be heard of
    server = subprocess.Popen(command, preexec_fn=die_with_parent)

    def end(*_: Any) -> None:
        server.terminate()
        signal.alarm(GRACE_S)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGALRM, lambda *_: server.kill())
    if os.getppid() != parent:
        end()
    code = server.wait()
    _end_the_others()
    return code


def _end_the_others() -> None:
    """Ends the server's workers, and last what tracks their shared memory, which frees what they left."""
    others = psutil.Process().children(recursive=True)
    trackers = [process for process in others if _is_tracker(process)]
    workers = [process for process in others if process not in trackers]
    _, alive = psutil.wait_procs(workers, _LEFT_S)
    for process in alive:
        process.kill()
    psutil.wait_procs(alive, _LEFT_S)
    _, alive = psutil.wait_procs(trackers, _LEFT_S)
    for process in alive:
        process.kill()


def _is_tracker(process: psutil.Process) -> bool:
    try:
        return any("resource_tracker" in part for part in process.cmdline())
    except psutil.Error:
        return False


def main() -> None:
    code = keep(int(sys.argv[1]), sys.argv[2:])
    sys.exit(code if code >= 0 else 128 - code)
