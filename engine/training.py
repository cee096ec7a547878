"""A callback for trainings: their checkpoints are evaluated as they are saved, and their numbers come back.

For transformers' Trainer and what is built on it (TRL, Axolotl, LLaMA-Factory, Unsloth), as an object or by
its class path, `engine.training.AssayCallback`. The evaluation is that of `assay follow`, in a process of its
own; whatever goes wrong with it, the training goes on.
"""

import logging
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from engine.phases.work import STOP
from engine.run.launch import follow, follower, read_followed, start
from store import people
from store.database import locate
from store.read import history, live
from store.session import opened

PLAN = "ASSAY_PLAN"  # the environment variable with the plan, for a callback that is named by its class path
OURS = "assay/"
STEP = f"{OURS}step"
_POLL = 0.2  # seconds between two looks at whether a checkpoint is evaluated
_HEED = 1.0  # seconds between two looks for STOP
_ALL = 1_000
log = logging.getLogger("assay.training")


class AssayCallback(TrainerCallback):  # type: ignore[misc]  # transformers is untyped
    """Follows the training that it is given to, from its first checkpoint on.

    `plan` is the plan's file [$ASSAY_PLAN, or plan.toml], `store` the store's folder [$ASSAY_STORE, or the
    nearest .assay]. With `between_steps` the training waits while a checkpoint is evaluated, at most
    `patience` seconds. With a `trainer` the numbers are logged as it logs its own, at once; without one the
    newest come with its next log, after reporting callbacks, and all come into its history.

    The measures of a checkpoint are logged as `assay/<measure>`, and its step as `assay/step`. A STOP file in
    the output folder ends the training. `failures` counts what went wrong here; the first is told.
    """

    def __init__(
        self,
        plan: str | Path | None = None,
        store: str | Path | None = None,
        *,
        between_steps: bool = False,
        patience: float = 300.0,
        trainer: Any = None,
    ) -> None:
        self.plan = Path(plan or os.environ.get(PLAN) or "plan.toml").absolute()
        self.store = locate(str(store) if store else None, Path.cwd())
        self.between_steps = between_steps
        self.patience = patience
        self.trainer = trainer
        self.failures = 0
        self.run_id: int | None = None
        self._worker: int | None = None
        self._taken: set[str] = set()  # checkpoints whose numbers are logged, or wait for that
        self._waiting: list[dict[str, float]] = []
        self._heeded = 0.0
        self._began = 0, 0.0  # at which step, and when

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Says what is wrong with the plan before the first checkpoint."""
        self._began = state.global_step, time.time()
        if state.is_world_process_zero:
            with self._unharmed():
                Path(args.output_dir).mkdir(parents=True, exist_ok=True)
                read_followed(self.plan, Path(args.output_dir))

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Sees to it that a worker is there, which finds the checkpoint."""
        if not state.is_world_process_zero:
            return
        with self._unharmed():
            self._ensure_worker(Path(args.output_dir))
            if self.between_steps:
                self._wait(lambda: self._is_settled(f"checkpoint-{state.global_step}"))
            self._take(state)
        self._hand_in(state)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        stop = Path(args.output_dir) / STOP
        if self._is_there(stop, state):
            log.warning("%s ends the training at step %d; remove it to train on", stop, state.global_step)
            control.should_training_stop = True

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any
    ) -> None:
        """Adds what has come in since, once for each log of the training's own."""
        if not state.is_world_process_zero or any(name.startswith(OURS) for name in logs or ()):
            return
        with self._unharmed():
            self._take(state)
        if self._waiting and self.trainer is None and logs is not None:
            logs.update(self._waiting[-1])
        self._hand_in(state)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Tells the worker that no checkpoint is to come; it outlives the training until it is done."""
        if not state.is_world_process_zero or self.run_id is None:
            return
        with self._unharmed():
            with opened(self.store) as connection:
                people.follow_on(connection, self.run_id, {"once": True, "over": True}, again=False)
            if self.between_steps:
                self._wait(lambda: False)
            self._take(state)
        self._hand_in(state)

    @contextmanager
    def _unharmed(self, harm: str = "checkpoints are not evaluated") -> Iterator[None]:
        """What is raised inside is counted, and told the first time: it is never the training's end."""
        try:
            yield
        except Exception as error:
            self.failures += 1
            if self.failures == 1:
                log.warning("%s, and the training goes on: %s", harm, error)

    def _ensure_worker(self, outputs: Path) -> None:
        if self._is_alive():
            return
        found = follower(*read_followed(self.plan, outputs), self.store)
        if found is not None and found.status == "running":
            self.run_id, self._worker = found.id, found.worker_pid
            return
        self.run_id = follow(self.plan, self.store, outputs)
        self._worker = start(self.store, self.run_id)

    def _is_alive(self) -> bool:
        return history.worker_alive(self._worker, socket.gethostname(), time.time())

    def _wait(self, done: Callable[[], bool]) -> None:
        """Until it is done, the worker has ended, or patience is at its end."""
        until = time.monotonic() + self.patience
        while not done() and self._is_alive() and time.monotonic() < until:
            time.sleep(_POLL)

    def _rows(self) -> list[live.CheckpointRow]:
        if self.run_id is None:
            return []
        with opened(self.store) as connection:
            return live.checkpoints(connection, self.run_id, limit=_ALL)

    def _is_settled(self, name: str) -> bool:
        return any(row.folder == name and (row.evaluated or row.failed) for row in self._rows())

    def _take(self, state: Any) -> None:
        """The numbers of the checkpoints that were evaluated since, in the order of their steps.

        Not those in the history of a training that was resumed, nor those of an earlier one, which it has
        yet to reach.
        """
        has = {entry.get(STEP) for entry in state.log_history}
        first, began = self._began
        for row in reversed(self._rows()):
            if row.evaluated is None or row.name in self._taken or row.step in has:
                continue
            self._taken.add(row.name)
            if row.step > state.global_step or (row.step > first and row.evaluated < began):
                continue
            with opened(self.store) as connection:
                values = live.headlines(connection, row.id, limit=_ALL)
            numbers = {f"{OURS}{measure}": value for measure, value in values if value is not None}
            self._waiting.append({**numbers, STEP: float(row.step)})

    def _hand_in(self, state: Any) -> None:
        """Puts the numbers into the training's history, through the trainer where it is known."""
        waiting, self._waiting = self._waiting, []
        for numbers in waiting:
            if self.trainer is None:
                state.log_history.append({**numbers, "step": state.global_step})
            else:
                with self._unharmed():
                    self.trainer.log(numbers)

    def _is_there(self, stop: Path, state: Any) -> bool:
        """Whether STOP is there. The processes of one training come to one answer at the same step."""
        from torch import distributed

        together = distributed.is_available() and distributed.is_initialized()
        if together and state.global_step % max(1, int(state.logging_steps or 1)):
            return False
        if not together and time.monotonic() - self._heeded < _HEED:
            return False
        self._heeded = time.monotonic()
        there = [False]
        with self._unharmed(f"{stop} cannot be looked for"):
            there = [stop.exists()]
        if together:
            distributed.broadcast_object_list(there, src=0)
        return there[0]
