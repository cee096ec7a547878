"""A plan's models spread over a Ray cluster: a thread here for each actor there.

The run's worker is the head: it alone writes the store, with what the actors hand over as they finish it.
"""

import math
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

import ray

from engine.cluster.line import MOST_DEATHS, Line
from engine.cluster.remote import RemoteLoader
from engine.cluster.seat import ActorLost, Seat
from engine.errors import CannotRun
from engine.phases.compute import Step
from engine.phases.generate import Loader
from engine.phases.work import Stopped, Work
from engine.plan.plan import Model

PATIENCE = 0.5  # seconds between two looks of a thread without work
HALT = "halt"  # the request that stops a thread once the others have failed or nothing is left


@dataclass(frozen=True, slots=True)
class Shape:
    """How many actors a cluster takes at most, and what each of them takes of it."""

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
        shape, line = _shape(self._work.plan.compute.workers, spread), Line(spread)
        count = min(shape.most, len(spread))
        with ThreadPoolExecutor(count, thread_name_prefix="actor") as pool:
            threads = [pool.submit(self._serve, place, shape, line, step) for place in range(count)]
        errors = [error for thread in threads if (error := thread.exception()) is not None]
        for error in sorted(errors, key=lambda error: isinstance(error, Stopped)):
            raise error

    def _serve(self, place: int, shape: Shape, line: Line, step: Step) -> None:
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

    def _seat(self, place: int, shape: Shape, work: Work) -> Seat:
        """This thread's actor, started where there is none; the cluster may have to make room first."""
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

    def _advance(self, place: int, model: Model, line: Line, step: Step, work: Work) -> None:
        seat = self._seats[place]
        before = seat.answers
        try:
            step(work, model, RemoteLoader(work, seat))
        except ActorLost as lost:
            del self._seats[place]
            work.recorder.event(
                "warning",
                "generate",
                f"{model.name}: its actor ({seat.where}) died; another does what it had not finished. {lost}",
            )
            line.again(model, str(lost), moved=seat.answers > before)
        else:
            line.done(model)


def _shape(workers: int | None, models: Sequence[Model]) -> Shape:
    """One actor for each GPU, or each machine where there is none, or as many as the plan says at most."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    gpus = int(sum(node.get("GPU", 0) for node in nodes))
    if gpus and any(model.device != "cpu" for model in models):
        return Shape(min(workers or gpus, gpus), 1, 1)
    cores = [int(node["CPU"]) for node in nodes if node.get("CPU", 0) >= 1]
    if not cores:
        raise CannotRun("the Ray cluster has neither a GPU nor a processor for the plan's models")
    most = min(workers or len(cores), sum(cores))
    return Shape(most, max(1, min(cores) // math.ceil(most / len(cores))), 0)
