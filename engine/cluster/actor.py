"""An actor of the cluster: one base in memory with the models on it, and the head's handle of it."""

import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

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

from engine.data.example import Example
from engine.errors import AssayError, CannotRun
from engine.models.holder import BaseKey, Holder
from engine.models.model import Load, Response, Settings
from engine.plan.plan import Benchmarks, Model

if TYPE_CHECKING:
    from engine.benchmarks.results import KnownTask, TaskResult
    from engine.metrics.perplexity import CorpusNll, Nll
    from engine.models.local import LocalModel, Probe
    from engine.models.noise import NoiseFloor

NLLS = 16  # likelihoods that travel together
T = TypeVar("T")


class Actor:
    """Does the work that needs weights for a run's head. Model folders must have the same paths here."""

    def __init__(self, cache: Path | None, host: str) -> None:
        # The cache is a SQLite file: safe between the processes of one machine, not over a network.
        self._holder = Holder(cache if host == socket.gethostname() else None)
        self._model: Model | None = None
        self._opened: LocalModel | None = None

    def where(self) -> str:
        """The machine and process that this is, once it can be asked."""
        return f"process {os.getpid()} on {socket.gethostname()}"

    def facts(self, model: Model) -> tuple[str, dict[str, Any]]:
        """The model's fingerprint and what it says of itself."""
        opened = self._open(model)
        return opened.fingerprint, opened.describe()

    def probe(self, model: Model, examples: Sequence[Example]) -> "Probe":
        return self._open(model).probe(examples)

    def noise(self, model: Model, examples: Sequence[Example], settings: Settings) -> "NoiseFloor":
        from engine.models.noise import noise_floor

        return noise_floor(self._open(model), examples, settings)

    def generate(
        self, model: Model, examples: Sequence[Example], settings: Settings
    ) -> Iterator[tuple[list[Response], Load | None, dict[str, Any]]]:
        """The finished responses as they come, each list with the model's load and facts.

        Nothing else can be asked meanwhile.
        """
        opened = self._open(model)
        for batch in opened.generate(examples, settings):
            yield batch, opened.load(), opened.describe()

    def nll(self, model: Model, items: Sequence[tuple[Example, str]]) -> Iterator["list[Nll]"]:
        """The likelihoods as they come, some at a time."""
        from engine.metrics.perplexity import conditional_nll

        yield from _together(conditional_nll(self._open(model), items))

    def corpus(self, model: Model, texts: Sequence[tuple[int, str]]) -> Iterator["list[CorpusNll]"]:
        """The likelihoods of a corpus's texts as they come, some at a time."""
        from engine.metrics.perplexity import corpus_nll

        yield from _together(corpus_nll(self._open(model), texts))

    def tasks(
        self, model: Model, settings: Benchmarks, tasks: Sequence[str], known: frozenset[str]
    ) -> Iterator["tuple[tuple[str, int, int] | None, TaskResult | KnownTask]"]:
        """Each finished benchmark, with how many of its requests were answered, of how many."""
        from engine.benchmarks.harness import run_tasks

        answered: tuple[str, int, int] | None = None

        def report(task: str, done: int, total: int) -> None:
            nonlocal answered
            answered = (task, done, total)

        for result in run_tasks(self._open(model), settings, tasks, report, known):
            yield answered, result
            answered = None

    def _open(self, model: Model) -> "LocalModel":
        """The model as it was opened last, with the notes that it took, while it is the same."""
        if self._opened is None or model != self._model:
            self._opened = self._holder.model(model)
            self._model = model
        return self._opened


def _together(items: Iterator[T]) -> Iterator[list[T]]:
    some: list[T] = []
    for item in items:
        some.append(item)
        if len(some) >= NLLS:
            yield some
            some = []
    yield some


LOOK = 0.2  # seconds between two looks at whether the run is asked to stop
_GONE = (RayActorError, WorkerCrashedError, NodeDiedError, ObjectLostError, OutOfMemoryError)
_REASON = 300  # characters of Ray's account of a death


class ActorLost(Exception):
    """The actor's process or machine has died; results that it had not sent are lost."""


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
        """Stops the actor at once."""
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
    """Ray's reason in one line: the last one, after the addresses, is the most specific."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = lines[-1] if lines else type(error).__name__
    return told if len(told) <= _REASON else f"{told[:_REASON]}…"
