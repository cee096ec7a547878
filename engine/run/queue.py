"""The queue of a store: waiting runs, started in turn, one at a time on each GPU.

A run waits with status "queued" and a priority. One process at a time starts them (`work`), each when a GPU
has the memory that it needs and no other run of the queue; without a GPU, one run at a time. Nothing of the
queue is kept in that process: killed at any moment and started again, it goes on where it was.
"""

import os
import socket
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from engine.errors import AssayError, BadInput
from engine.models.vitals import gpu_memory
from engine.phases.work import plan_of
from engine.plan.errors import in_units
from engine.preflight.check import asked_in_all
from engine.preflight.estimate import gpu_need
from engine.run import launch
from store import people
from store.database import Unavailable, explain, hold, is_held, prepare
from store.errors import StoreError
from store.read import history, runs
from store.read.history import Connection
from store.records import Run
from store.session import opened

EVERY_S = 1.0  # between two looks at the queue
_TRIES = 20  # to take the queue, of which `is_worked` holds the lock for a moment
_OPEN = ("queued", "running")


def _lock(folder: Path) -> Path:
    return folder / "queue.lock"


def is_worked(folder: Path) -> bool:
    """Whether a process starts the runs of a store's queue."""
    return is_held(_lock(folder))


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    for _ in range(_TRIES):
        if (lock := hold(_lock(folder))) is not None:
            break
        time.sleep(0.05)
    else:
        raise BadInput(f"the queue of {folder} is worked on already", "`assay queue` lists it")
    try:
        yield
    finally:
        os.close(lock)


def work(folder: Path, say: Callable[[str], None], *, once: bool = False) -> None:
    """Starts the waiting runs of a store in turn, for ever or, with `once`, until none waits or runs.

    `say` is told what starts and how it ends. Raises BadInput while another process works on the queue.
    """
    prepare(folder)
    with opened(folder) as connection, _held(folder):
        queue = QueueWork(connection, folder, say)
        queue.recover()
        said = ""
        while True:
            try:
                if not queue.look() and once:
                    return
                said = ""
            except Unavailable as error:
                if once:
                    raise
                if said != str(error):
                    said = str(error)
                    say(f"{explain(error, folder)}; trying again")
            time.sleep(EVERY_S)


@dataclass(slots=True)
class _Started:
    pid: int
    gpu: int | None


class QueueWork:
    """The queue in the eyes of the one process that works on it.

    `memory` tells the free and the whole bytes of each GPU by its number.
    """

    def __init__(
        self,
        connection: Connection,
        folder: Path,
        say: Callable[[str], None],
        memory: Callable[[], dict[int, tuple[int, int]]] = gpu_memory,
    ) -> None:
        self._connection = connection
        self._folder = folder
        self._say = say
        self._memory = memory
        self._under_way: dict[int, _Started] = {}
        self._needs: dict[int, int | None] = {}
        self._told: tuple[int, str] | None = None  # why the first run waits

    def recover(self) -> None:
        """Takes runs over that the queue started before: those that live, and those that died with it."""
        for run in runs.started(self._connection):
            if run.status == "running":
                self._under_way[run.id] = _Started(run.worker_pid or 0, run.gpu)
            elif (held := hold(history.lock_file(self._folder, run.id))) is not None:
                people.wait_again(self._connection, run.id)
                os.close(held)
                self._say(f"run {run.id} goes on: its worker died while nobody worked on the queue")

    def look(self) -> bool:
        """Sees what has ended and starts what can start; returns whether anything waits or is under way."""
        for run_id, started in list(self._under_way.items()):
            self._see(run_id, started)
        waits = [run for run in runs.waiting(self._connection) if run.id not in self._under_way]
        while waits and self._place(waits[0]):
            waits.pop(0)
        return bool(waits or self._under_way)

    def _see(self, run_id: int, started: _Started) -> None:
        try:
            run = history.run(self._connection, run_id)
        except StoreError:  # removed for good
            del self._under_way[run_id]
            return
        if run.status == "queued":
            if history.worker_alive(started.pid, socket.gethostname(), time.time()):
                return
            # Told to end by a signal, it waits again; where it never began, its start has failed.
            if run.worker_pid != started.pid:
                reason = (
                    f"its worker ended before it began; logs/run-{run_id}.log in the store has the details"
                )
                people.fail_start(self._connection, run_id, reason)
                self._say(f"run {run_id} could not be started: {reason}")
            del self._under_way[run_id]
        elif run.status not in _OPEN:
            why = f": {run.error}" if run.error else ""
            passed = {True: ", passed", False: ", a gate failed", None: ""}[run.passed]
            self._say(f"run {run_id} is {run.status}{passed}{why}")
            del self._under_way[run_id]

    def _place(self, run: Run) -> bool:
        """Starts a run if there is room for it; tells once why there is none."""
        try:
            gpu, wait = self._room(run)
            if wait is None:
                people.give_gpu(self._connection, run.id, gpu)
                pid = launch.start(self._folder, run.id, gpu)
        except (AssayError, StoreError) as error:
            people.fail_start(self._connection, run.id, error.message)
            self._say(f"run {run.id} could not be started: {error}")
            return True
        if wait is not None:
            if self._told != (run.id, wait):
                self._say(f"run {run.id} waits: {wait}")
            self._told = run.id, wait
            return False
        self._under_way[run.id] = _Started(pid, gpu)
        self._say(f"run {run.id} started" + ("" if gpu is None else f" on GPU {gpu}"))
        return True

    def _room(self, run: Run) -> tuple[int | None, str | None]:
        """The GPU for a run, None where it may use what there is, and why it has to wait, if it has to."""
        memory = self._memory()
        busy = {run_id: started.gpu for run_id, started in self._under_way.items()}
        others = runs.started(self._connection, queued=False)
        busy |= {other.id: other.gpu for other in others if other.status == "running"}
        if not memory:
            return None, f"{_named(busy)} under way" if busy else None
        need = self._need(run)
        if need is None and self._under_way:
            return None, f"it takes its GPUs itself, and {_named(self._under_way)} under way"
        if roaming := [run_id for run_id in self._under_way if busy[run_id] is None]:
            return None, f"{_named(roaming)} on any GPU"
        if need is None:
            return None, None
        given = {run_id: gpu for run_id, gpu in busy.items() if gpu is not None}
        free = {number: sizes[0] for number, sizes in memory.items() if number not in given.values()}
        if not free:
            return None, f"{_named(given)} under way"
        number = max(free, key=lambda number: free[number])
        # One that no GPU is large enough for holds nobody up: it starts, and says itself what it lacks.
        if free[number] < need <= max(whole for _, whole in memory.values()):
            return None, f"it needs {in_units(need)}, and GPU {number} has {in_units(free[number])} free"
        return number, None

    def _need(self, run: Run) -> int | None:
        """See `gpu_need`; 0 where there is no estimate."""
        if run.id not in self._needs:
            try:
                plan = plan_of(run)
                examples = asked_in_all(plan, self._folder, (run.options or {}).get("limit"))
                self._needs[run.id] = gpu_need(plan, examples)
            except Exception as error:  # its worker says what is wrong; the others must not wait for it
                self._say(f"run {run.id}: the memory that it needs cannot be estimated: {error}")
                self._needs[run.id] = 0
        return self._needs[run.id]


def _named(busy: Collection[int]) -> str:
    several = "s" if len(busy) > 1 else ""
    return f"run{several} {', '.join(map(str, sorted(busy)))} {'are' if several else 'is'}"
