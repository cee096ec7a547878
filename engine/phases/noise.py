"""The noise floor of a plan's models outside a run, and how many answers two engines give alike."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from engine.data.example import Example
from engine.data.split import sample
from engine.models.holder import BaseKey, Holder, base_key, served
from engine.models.local import LocalModel
from engine.models.noise import ALONE, BATCHED, NoiseFloor, SameAnswers, agreement, noise_floor, texts
from engine.models.served import holding, longest
from engine.phases.generate import settings_of
from engine.plan.plan import Model, Plan
from engine.plan.selection import in_part, whole_set
from engine.servers.control import waiting
from engine.servers.engines import installed
from engine.servers.started import StartedServer
from store.records import Progress

Measured = tuple[Model, NoiseFloor, SameAnswers | None]
COMPARED = "compared"  # the phase in which transformers answers what another engine has answered


class Told:
    """Tells how a measurement gets on: `say` gets a line for people, `show` a row for each piece of work."""

    def __init__(
        self,
        say: Callable[[str], None] = lambda said: None,
        show: Callable[[list[Progress]], None] = lambda rows: None,
    ) -> None:
        self.say = say
        self._show = show
        self._rows: dict[tuple[str, str], Progress] = {}
        self._waiting: str | None = None
        self._since = time.monotonic()

    def expect(self, models: Sequence[Model], way: str, count: int) -> None:
        """That each of these models will be asked so many prompts in a way."""
        for model in models:
            self._rows[way, model.name] = Progress(
                run_id=0, phase=way, item=model.name, position=0, done=0, total=count, unit="answers"
            )

    def answered(self, model: Model) -> Callable[[str, int], None]:
        """What a measurement of that model calls with each batch: its way, and how many answers it has."""

        def advance(way: str, count: int) -> None:
            row, now = self._rows[way, model.name], time.monotonic()
            self._rows[way, model.name] = replace(
                row, done=row.done + count, started=time.time(), seconds=row.seconds + now - self._since
            )
            self._since = now
            self._show(list(self._rows.values()))

        return advance

    def begin(self) -> None:
        """What took time until now was no answering."""
        self._since = time.monotonic()
        self._show(list(self._rows.values()))

    def wait(self) -> None:
        """Says what a server does that is being started, once for each stage."""
        now = waiting()
        if now is not None and now != self._waiting:
            self.say(f"waiting: {now}")
        self._waiting = now

    def started(self, _level: str, said: str) -> None:
        """Says that a server has started, or that it died."""
        self.say(said)
        self.begin()


class _Here:
    """Models whose weights are in this process; a base is loaded, and told of, when it is another one."""

    def __init__(self, told: Told) -> None:
        self._told = told
        self._holder = Holder(None)
        self._key: BaseKey | None = None

    def model(self, model: Model) -> LocalModel:
        opened = self._holder.model(model)
        if base_key(model) != self._key:
            self._told.say(f"loading {model.path}")
            with opened.active():
                self._key = base_key(model)
        self._told.begin()
        return opened

    def close(self) -> None:
        self._holder.close()
        self._key = None


def noise_of(plan: Plan, most: int, told: Told) -> Iterator[Measured]:
    """Each local model of a plan with its noise floor on at most that many of the plan's examples; and where
    another engine answers, how many of its answers are those of transformers.

    No reference is read and no score computed, so a test split stays unseen. Raises BadInput for data or
    models that cannot be used.
    """
    data = plan.data
    examples = sample(in_part(whole_set(data), data), most, data.seed)
    # Models of one base side by side, so that each base is loaded once.
    local = sorted(
        (model for model in plan.models if model.kind == "local"), key=lambda model: str(base_key(model))
    )
    for way, times in ((ALONE, 1), (BATCHED, 2)):
        told.expect(local, way, times * len(examples))
    if plan.generation.engine != "transformers":
        yield from _served_noise(plan, local, examples, told)
        return
    here = _Here(told)
    try:
        yield from _noise_here(local, here, examples, plan, told)
    finally:
        here.close()


def _noise_here(
    models: Sequence[Model], here: _Here, examples: Sequence[Example], plan: Plan, told: Told
) -> Iterator[Measured]:
    for model in models:
        floor = noise_floor(here.model(model), examples, settings_of(plan.generation), told.answered(model))
        yield model, floor, None


def _served_noise(
    plan: Plan, local: Sequence[Model], examples: Sequence[Example], told: Told
) -> Iterator[Measured]:
    """As `noise_of`, of a plan that another engine answers for, with how many answers are transformers'.

    The server's memory is free again before the weights are loaded here.
    """
    engine, settings = installed(plan.generation.engine, plan.compute), settings_of(plan.generation)
    groups, _ = served(plan.models, engine, download=True)
    names = {model.name for group in groups for model in group}
    for group in groups:
        told.expect(group, BATCHED, 3 * len(examples))
        told.expect(group, COMPARED, len(examples))
    here = _Here(told)
    try:
        others = [model for model in local if model.name not in names]
        yield from _noise_here(others, here, examples, plan, told)
        for group in groups:
            here.close()
            most = longest(group, examples, settings.max_new_tokens)
            held = holding(engine, group, plan.compute, most, settings.slots)
            server = StartedServer(engine, held, told.started, told.wait)
            holder = Holder(None, server, plan.generation.timeout_s)
            measured: list[tuple[NoiseFloor, dict[str, str]]] = []
            try:
                for model in group:
                    opened, answered = holder.model(model), told.answered(model)
                    floor = noise_floor(opened, examples, settings, answered)
                    measured.append((floor, texts(opened, examples, settings, BATCHED, answered)))
            finally:
                server.close()
            for model, (floor, answers) in zip(group, measured, strict=True):
                same = texts(here.model(model), examples, settings, COMPARED, told.answered(model))
                yield model, floor, agreement(answers, same)
    finally:
        here.close()
