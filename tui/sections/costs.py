"""The costs of a run: money for judges, GPU hours, and the resources of each model."""

from collections.abc import Sequence
from dataclasses import dataclass

from engine.decision.facts import model_costs
from store.read.rows import ModelRow


@dataclass(frozen=True, slots=True)
class ModelCosts:
    """One model's resources, as names and values in words."""

    model: str
    facts: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class CostsSection:
    """`dollars` is None where a price is unknown, which `unknown` says; `gpu_hours` where no GPU was used."""

    dollars: float | None
    unknown: str | None
    gpu_hours: float | None
    models: tuple[ModelCosts, ...]  # those of which something is known


def costs(
    spending: tuple[float | None, int], gpu_hours: float | None, models: Sequence[ModelRow]
) -> CostsSection:
    """`spending` is the judges' cost in US dollars, and how many answers have an unknown price."""
    dollars, unknown = judging_cost(spending)
    known = (ModelCosts(model.name, tuple(model_costs(model))) for model in models)
    return CostsSection(dollars, unknown, gpu_hours, tuple(item for item in known if item.facts))


def judging_cost(spending: tuple[float | None, int]) -> tuple[float | None, str | None]:
    """The cost of a run's judges in US dollars, or why it is unknown; never an underestimate."""
    dollars, unknown = spending
    if not unknown:
        return dollars or 0.0, None
    known = f", on top of ${dollars:,.2f}" if dollars else ""
    return None, f"cost: {unknown:,} judges' answers of unknown price{known}"
