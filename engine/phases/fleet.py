"""Spreads a plan's models over a Ray cluster, in an order that minimises loading of bases.

The run's worker is the head: it alone writes the store, with what the actors return as they finish it.
"""

import math
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import ray

from engine.cluster.actor import ActorLost, Seat
from engine.data.example import Example
from engine.errors import CannotRun
from engine.models.holder import BaseKey, base_key
from engine.models.model import Generator, Load, Response, Settings
from engine.phases.generate import Loader, Step, hold_to_fingerprint
from engine.phases.work import Stopped, Work
from engine.plan.plan import Benchmarks, Model

if TYPE_CHECKING:
    from engine.benchmarks.results import KnownTask, TaskResult
    from engine.metrics.perplexity import CorpusNll, Nll
    from engine.models.local import Probe
    from engine.models.noise import NoiseFloor

MOST_DEATHS = 3  # of actors with one model, in a row: then the model is what kills them


class ModelQueue:
    """The work queue of a fleet's threads: each takes a model at a time, until none is left or one failed."""

    def __init__(self, models: Sequence[Model]) -> None:
        self._waiting = list(models)
        self._held: Counter[BaseKey] = Counter()
        self._deaths: Counter[str] = Counter()
        self._under_way = 0
        self._changed = threading.Condition()
        self.failed = False

    @property
    def over(self) -> bool:
        """Whether nothing is left to do, or to wait for."""
        return self.failed or not (self._waiting or self._under_way)

    def take(self, holding: BaseKey | None, patience: float) -> Model | None:
        """The next model for an actor: of the base that it holds, else of one that no actor is at, else any.

        None when there is none: for now, after so many seconds, or for good where the line is over.
        """
        with self._changed:
            self._changed.wait_for(lambda: bool(self._waiting) or self.over, timeout=patience)
            if self.failed or not self._waiting:
                return None
            ranks = [(base_key(model) != holding, self._held[base_key(model)] > 0) for model in self._waiting]
            model = self._waiting.pop(ranks.index(min(ranks)))
            self._held[base_key(model)] += 1
            self._under_way += 1
            return model

    def done(self, model: Model) -> None:
        with self._changed:
            self._leave(model)

    def again(self, model: Model, reason: str, *, moved: bool) -> None:
        """Puts back a model whose actor has died, in front; `moved` when it got on before.

        Raises CannotRun when it has taken too many actors with it without getting on.
        """
        with self._changed:
            self._deaths[model.name] = 1 if moved else self._deaths[model.name] + 1
            if self._deaths[model.name] >= MOST_DEATHS:
                raise CannotRun(
                    f"{model.name}: {MOST_DEATHS} actors died in a row before it made progress: {reason}",
                    "For a model that does not fit into the memory of one GPU or machine, use a server that "
                    "splits it (vLLM, tensor parallelism), and name the server in the plan.",
                )
            self._waiting.insert(0, model)
            self._leave(model)

    def fail(self) -> None:
        """Gives out nothing any more."""
        with self._changed:
            self.failed = True
            self._changed.notify_all()

    def _leave(self, model: Model) -> None:
        self._held[base_key(model)] -= 1
        self._under_way -= 1
        self._changed.notify_all()


class RemoteModel:
    """A generator whose weights are in an actor. Raises ActorLost when that dies."""

    def __init__(self, work: Work, model: Model, seat: Seat) -> None:
        self.name = model.name
        self._work = work
        self._model = model
        self._seat = seat
        self._load: Load | None = None
        self._told: dict[str, Any] | None = None  # while it generates, when it cannot be asked
        seat.base = base_key(model)

    @cached_property
    def fingerprint(self) -> str:
        fingerprint, _ = self._facts()
        return fingerprint

    def describe(self) -> dict[str, Any]:
        facts = self._told or self._facts()[1]
        return facts | {"worker": self._seat.where}

    def generate(self, examples: Sequence[Example], settings: Settings) -> Iterator[list[Response]]:
        try:
            for batch, load, told in self._stream("generate", examples, settings):
                self._load, self._told = load, told
                self._seat.answers += bool(batch)
                yield batch
        finally:
            self._told = None

    def load(self) -> Load | None:
        return self._load

    def probe(self, examples: Sequence[Example]) -> "Probe":
        probe: Probe = self._ask("probe", examples)
        return probe

    def noise(self, examples: Sequence[Example], settings: Settings) -> "NoiseFloor":
        noise: NoiseFloor = self._ask("noise", examples, settings)
        return noise

    def nll(self, items: Sequence[tuple[Example, str]]) -> Iterator["Nll"]:
        for some in self._stream("nll", items):
            self._seat.answers += bool(some)
            yield from some

    def corpus(self, texts: Sequence[tuple[int, str]]) -> Iterator["CorpusNll"]:
        for some in self._stream("corpus", texts):
            self._seat.answers += bool(some)
            yield from some

    def tasks(
        self,
        settings: Benchmarks,
        tasks: Sequence[str],
        progress: Callable[[str, int, int], None],
        known: frozenset[str],
    ) -> Iterator["TaskResult | KnownTask"]:
        for answered, result in self._stream("tasks", settings, tasks, known):
            self._seat.answers += 1
            if answered is not None:
                progress(*answered)
            yield result

    def close(self) -> None:
        """The actor keeps its base for the next model."""

    def _facts(self) -> tuple[str, dict[str, Any]]:
        facts: tuple[str, dict[str, Any]] = self._ask("facts")
        return facts

    def _ask(self, method: str, *arguments: Any) -> Any:
        return self._seat.ask(method, self._work.checkpoint, self._model, *arguments)

    def _stream(self, method: str, *arguments: Any) -> Iterator[Any]:
        return self._seat.stream(method, self._work.checkpoint, self._model, *arguments)


class RemoteLoader(Loader):
    """Opens the plan's models with weights in one actor of the cluster."""

    def __init__(self, work: Work, seat: Seat) -> None:
        super().__init__(work)
        self._seat = seat

    def open(self, model: Model) -> Generator:
        return self._remote(model)

    def probe(self, model: Model, examples: Sequence[Example]) -> "Probe":
        return self._remote(model).probe(examples)

    def noise(self, model: Model, examples: Sequence[Example], settings: Settings) -> "NoiseFloor":
        return self._remote(model).noise(examples, settings)

    def nll(self, model: Model, items: Sequence[tuple[Example, str]]) -> "Iterator[Nll]":
        return self._remote(model).nll(items)

    def corpus(self, model: Model, texts: Sequence[tuple[int, str]]) -> "Iterator[CorpusNll]":
        return self._remote(model).corpus(texts)

    def tasks(
        self,
        model: Model,
        settings: Benchmarks,
        tasks: Sequence[str],
        progress: Callable[[str, int, int], None],
        known: frozenset[str],
    ) -> "Iterator[TaskResult | KnownTask]":
        return self._remote(model).tasks(settings, tasks, progress, known)

    def _remote(self, model: Model) -> RemoteModel:
        opened = RemoteModel(self._work, model, self._seat)
        hold_to_fingerprint(self._work, model, opened)
        return opened


PATIENCE = 0.5  # seconds between two looks of a thread without work
HALT = "halt"  # the request that stops a thread once the others have failed or nothing is left


@dataclass(frozen=True, slots=True)
class ActorShape:
    """The maximum number of actors of a cluster, and the resources of each."""

    most: int
    cpus: float
    gpus: float


class Fleet:
    """The actors of one run; each keeps its base until the run ends or another base is needed."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._seats: dict[int, Seat] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for seat in self._seats.values():
            seat.close()
        self._seats.clear()

    def each(self, models: Sequence[Model], step: Step) -> None:
        """Gives every model to the step once: those with weights in the cluster, several at a time.

        Where an actor dies, its model goes on in the next free one, from what is stored.
        """
        here = Loader(self._work)
        for model in models:
            if model.kind != "local":
                step(self._work, model, here)
        spread = [model for model in models if model.kind == "local"]
        if not spread:
            return
        shape, line = _shape(self._work.plan.compute.workers, spread), ModelQueue(spread)
        count = min(shape.most, len(spread))
        with ThreadPoolExecutor(count, thread_name_prefix="actor") as pool:
            threads = [pool.submit(self._serve, place, shape, line, step) for place in range(count)]
        errors = [error for thread in threads if (error := thread.exception()) is not None]
        for error in sorted(errors, key=lambda error: isinstance(error, Stopped)):
            raise error

    def _serve(self, place: int, shape: ActorShape, line: ModelQueue, step: Step) -> None:
        """The life of one thread: an actor, and one model after another on it."""
        asked = self._work.request
        work = replace(self._work, request=lambda: asked() or (HALT if line.over else None))
        try:
            while not line.over:
                seat = self._seat(place, shape, work)
                model = line.take(seat.base, PATIENCE)
                if model is not None:
                    self._advance(place, model, line, step, work)
                else:
                    work.checkpoint()
        except Stopped as stopped:
            if stopped.request != HALT:
                line.fail()
                raise
        except BaseException:
            line.fail()
            raise

    def _seat(self, place: int, shape: ActorShape, work: Work) -> Seat:
        """This thread's actor, started if needed; the cluster may have to make room first."""
        if place in self._seats:
            return self._seats[place]
        reasons: list[str] = []
        cache = work.cache / "responses" if work.cache else None
        while len(reasons) < MOST_DEATHS:
            seat = Seat(cache, socket.gethostname(), cpus=shape.cpus, gpus=shape.gpus)
            self._seats[place] = seat
            try:
                seat.open(work.checkpoint)
                return seat
            except ActorLost as lost:
                del self._seats[place]
                reasons.append(str(lost))
        raise CannotRun(f"{MOST_DEATHS} actors died in a row before they had started: {reasons[-1]}")

    def _advance(self, place: int, model: Model, line: ModelQueue, step: Step, work: Work) -> None:
        seat = self._seats[place]
        before = seat.answers
        try:
            step(work, model, RemoteLoader(work, seat))
        except ActorLost as lost:
            del self._seats[place]
            work.recorder.event(
                "warning",
                "generate",
                f"{model.name}: its actor ({seat.where}) died; another redoes its unfinished work. {lost}",
            )
            line.again(model, str(lost), moved=seat.answers > before)
        else:
            line.done(model)


def _shape(workers: int | None, models: Sequence[Model]) -> ActorShape:
    """One actor per GPU, or per machine without GPUs, up to the plan's maximum."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    gpus = int(sum(node.get("GPU", 0) for node in nodes))
    if gpus and any(model.device != "cpu" for model in models):
        return ActorShape(min(workers or gpus, gpus), 1, 1)
    cores = [int(node["CPU"]) for node in nodes if node.get("CPU", 0) >= 1]
    if not cores:
        raise CannotRun("the Ray cluster has neither a GPU nor a processor for the plan's models")
    most = min(workers or len(cores), sum(cores))
    return ActorShape(most, max(1, min(cores) // math.ceil(most / len(cores))), 0)
