"""After a model's answers: its noise floor, where the plan asks for it."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

from engine.data.selection import in_part, whole_set
from engine.data.split import sample
from engine.models.holder import Holder, base_key
from engine.phases.settings import settings_of
from engine.phases.work import Work
from engine.plan.plan import Model, Plan
from store import tables

if TYPE_CHECKING:
    from engine.models.noise import NoiseFloor
    from engine.phases.generate import Loader


def wants_noise(work: Work, model: Model) -> bool:
    """Whether the model's noise floor is asked for and not measured yet."""
    if work.plan.generation.noise_floor is None or model.kind != "local":
        return False
    return "noise_floor" not in _details(work, model)


def measure_noise(work: Work, model: Model, loader: "Loader") -> None:
    """Measures on a seeded sample of the run's examples, and keeps the figures with the model's facts."""
    examples = sample(work.examples, work.plan.generation.noise_floor or 0, work.plan.data.seed)
    found = asdict(loader.noise(model, examples, settings_of(work.plan.generation)))
    details = _details(work, model) | {"noise_floor": found}
    work.recorder.set_model(work.model_ids[model.name], details=details)


def noise_of(plan: Plan, most: int) -> Iterator[tuple[Model, "NoiseFloor"]]:
    """Each local model of a plan with its noise floor on at most that many of the plan's examples.

    No reference is read and no score computed, so a test split stays unseen. Raises BadInput for data or
    models that cannot be used.
    """
    from engine.models.noise import noise_floor

    data = plan.data
    examples = sample(in_part(whole_set(data), data), most, data.seed)
    holder = Holder(None)
    try:
        # Models of one base side by side, so that each base is loaded once.
        for model in sorted(plan.models, key=lambda model: str(base_key(model))):
            if model.kind == "local":
                yield model, noise_floor(holder.model(model), examples, settings_of(plan.generation))
    finally:
        holder.close()


def _details(work: Work, model: Model) -> dict[str, object]:
    return work.recorder.rows(tables.Model, id=work.model_ids[model.name])[0]["details"] or {}
