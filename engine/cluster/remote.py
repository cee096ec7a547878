"""Models that answer elsewhere in the cluster, for phases that need not know."""

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from engine.cluster.seat import Seat
from engine.data.examples import Example
from engine.models.holder import base_key
from engine.models.model import Generator, Load, Response, Settings
from engine.phases.generate import Loader, hold_to_fingerprint
from engine.phases.work import Work
from engine.plan.plan import Benchmarks, Model

if TYPE_CHECKING:
    from engine.benchmarks.results import KnownTask, TaskResult
    from engine.metrics.perplexity import CorpusNll, Nll
    from engine.models.local import Probe
    from engine.models.noise import NoiseFloor


class RemoteModel:
    """A generator whose weights are in an actor. Raises ActorLost when that dies."""

    def __init__(self, work: Work, model: Model, seat: Seat) -> None:
        self.name = model.name
        self._work = work
        self._model = model
        self._seat = seat
        self._load: Load | None = None
        seat.base = base_key(model)

    @cached_property
    def fingerprint(self) -> str:
        fingerprint, _ = self._facts()
        return fingerprint

    def describe(self) -> dict[str, Any]:
        _, facts = self._facts()
        return facts | {"worker": self._seat.where}

    def generate(self, examples: Sequence[Example], settings: Settings) -> Iterator[list[Response]]:
        for batch, load in self._stream("generate", examples, settings):
            self._load = load
            self._seat.answers += bool(batch)
            yield batch

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
    """Opens the models of this plan that have weights in one actor of the cluster."""

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
