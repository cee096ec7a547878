"""The head's end of one actor: asked from one thread, patient, and told when the actor is gone."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray.exceptions import (
    NodeDiedError,
    ObjectLostError,
    OutOfMemoryError,
    RayActorError,
    RayError,
    RayTaskError,
    WorkerCrashedError,
)

from engine.cluster.actor import Actor
from engine.errors import AssayError, CannotRun
from engine.models.holder import BaseKey

LOOK = 0.2  # seconds between two looks at whether the run is asked to stop
_GONE = (RayActorError, WorkerCrashedError, NodeDiedError, ObjectLostError, OutOfMemoryError)
_REASON = 300  # characters of Ray's account of a death


class ActorLost(Exception):
    """The actor's process or machine has died; what it had not handed over yet is not done."""


class Seat:
    """One actor of the cluster, and the base that it holds."""

    def __init__(self, cache: Any, host: str, *, cpus: float, gpus: float) -> None:
        make = ray.remote(num_cpus=cpus, num_gpus=gpus, max_restarts=0)(Actor)
        self._handle = make.remote(cache, host)
        self.base: BaseKey | None = None
        self.where = "not started yet"
        self.answers = 0  # batches of finished work that it has handed over

    def open(self, checkpoint: Callable[[], None]) -> None:
        """Waits until the cluster has started the actor. Raises what `checkpoint` raises, and ActorLost."""
        self.where = self.ask("where", checkpoint)

    def ask(self, method: str, checkpoint: Callable[[], None], *arguments: Any) -> Any:
        """One answer of the actor. Raises ActorLost when it dies, and the actor's own errors."""
        with _said_plainly():
            answer = getattr(self._handle, method).remote(*arguments)
            while not ray.wait([answer], timeout=LOOK)[0]:
                checkpoint()
            return ray.get(answer)

    def stream(self, method: str, checkpoint: Callable[[], None], *arguments: Any) -> Iterator[Any]:
        """The actor's answers as they come. Raises like `ask`."""
        with _said_plainly():
            answers = getattr(self._handle, method).options(num_returns="streaming").remote(*arguments)
            while True:
                while not ray.wait([answers], timeout=LOOK)[0]:
                    checkpoint()
                answer = next(answers, None)
                if answer is None:
                    return
                yield ray.get(answer)

    def close(self) -> None:
        """Ends the actor at once, whatever it is doing."""
        ray.kill(self._handle)


@contextmanager
def _said_plainly() -> Iterator[None]:
    try:
        yield
    except RayTaskError as error:
        # The actor itself is well: its own error, as it would have been raised here.
        if isinstance(error.cause, AssayError):
            raise error.cause from None
        raise
    except _GONE as error:
        raise ActorLost(_reason(error)) from error
    except RayError as error:
        raise CannotRun(f"the Ray cluster failed: {_reason(error)}") from error


def _reason(error: RayError) -> str:
    """What Ray says of it, in one line: the last one, after the addresses, tells most."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = lines[-1] if lines else type(error).__name__
    return told if len(told) <= _REASON else f"{told[:_REASON]}…"
