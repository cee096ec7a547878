"""The noise floor of a plan's models outside a run, and how many answers two engines give alike."""

from collections.abc import Iterator, Sequence

from engine.data.example import Example
from engine.data.split import sample
from engine.models.holder import Holder, base_key, served
from engine.models.noise import NoiseFloor, SameAnswers, agreement, noise_floor, texts
from engine.models.served import holding, longest
from engine.phases.generate import settings_of
from engine.plan.plan import Model, Plan
from engine.plan.selection import in_part, whole_set
from engine.servers.engines import installed
from engine.servers.started import StartedServer


def noise_of(plan: Plan, most: int) -> Iterator[tuple[Model, NoiseFloor, SameAnswers | None]]:
    """Each local model of a plan with its noise floor on at most that many of the plan's examples; and where
    another engine answers, how many of its answers are those of transformers.

    No reference is read and no score computed, so a test split stays unseen. Raises BadInput for data or
    models that cannot be used.
    """
    data = plan.data
    examples = sample(in_part(whole_set(data), data), most, data.seed)
    if plan.generation.engine != "transformers":
        yield from _served_noise(plan, examples)
        return
    holder = Holder(None)
    try:
        # Models of one base side by side, so that each base is loaded once.
        for model in sorted(plan.models, key=lambda model: str(base_key(model))):
            if model.kind == "local":
                yield model, noise_floor(holder.model(model), examples, settings_of(plan.generation)), None
    finally:
        holder.close()


def _served_noise(
    plan: Plan, examples: Sequence[Example]
) -> Iterator[tuple[Model, NoiseFloor, SameAnswers | None]]:
    """As `noise_of`, of a plan that another engine answers for, with how many answers are transformers'.

    The server's memory is free again before the weights are loaded here.
    """
    engine, settings = installed(plan.generation.engine, plan.compute), settings_of(plan.generation)
    groups, _ = served(plan.models, engine, download=True)
    names = {model.name for group in groups for model in group}
    here = Holder(None)
    try:
        for model in plan.models:
            if model.kind == "local" and model.name not in names:
                yield model, noise_floor(here.model(model), examples, settings), None
        for group in groups:
            here.close()
            most = longest(group, examples, settings.max_new_tokens)
            server = StartedServer(engine, holding(engine, group, plan.compute, most, settings.slots))
            holder = Holder(None, server, plan.generation.timeout_s)
            try:
                floors = [noise_floor(holder.model(model), examples, settings) for model in group]
                told = [texts(holder.model(model), examples, settings) for model in group]
            finally:
                server.close()
            for model, floor, answers in zip(group, floors, told, strict=True):
                yield model, floor, agreement(answers, texts(here.model(model), examples, settings))
    finally:
        here.close()
