"""Workers forked from a process that has loaded the model libraries, which each would load for seconds.

`assay run` starts workers of its own in the tests of the command line, the terminal and the story.
"""

import multiprocessing
import os
import signal
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

from engine.run import worker
from store import database

ROOT = Path(__file__).parents[2]
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["tests.e2e.warm", __name__])


def rows(store: Path, *tables: str) -> int:
    """How many rows these tables have together."""
    with closing(database.connect(store)) as connection:
        return sum(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables)


class Worker:
    """A worker's process in a session of its own, its log kept in the store.

    With `kill_at` it kills itself once these tables have more rows than that, however busy the machine is.
    """

    def __init__(self, store: Path, run_id: int, kill_at: tuple[int, tuple[str, ...]] | None = None) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        self._process = _FORKS.Process(target=_work, args=(store, run_id, environment, kill_at), daemon=True)
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        code = self._process.exitcode
        assert code is not None, f"the worker did not end within {timeout} s"
        return code


def _kill_at(store: Path, count: int, tables: tuple[str, ...]) -> None:
    while rows(store, *tables) <= count:
        time.sleep(0.02)
    os.kill(os.getpid(), signal.SIGKILL)


def _work(
    store: Path, run_id: int, environment: dict[str, str], kill_at: tuple[int, tuple[str, ...]] | None
) -> None:
    os.setsid()
    os.environ.clear()
    os.environ.update(environment)
    with (store / "worker.log").open("ab") as log:
        for stream in (1, 2):
            os.dup2(log.fileno(), stream)
    sys.argv = ["worker", "--store", str(store), str(run_id)]
    if kill_at is not None:
        threading.Thread(target=_kill_at, args=(store, *kill_at), daemon=True).start()
    worker.main()
