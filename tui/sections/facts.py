"""What a run keeps with a model beside its scores: errors by label, adapter size, GPU memory and energy."""

from collections.abc import Iterable
from dataclasses import dataclass

from engine.decision.costs import costs as costs
from store.read.rows import ModelRow


@dataclass(frozen=True, slots=True)
class Label:
    """One label's line in a classifier's table; without answers there is no precision, without examples no
    recall. `answers` are the examples of this label by the label given, the last one: not found.
    """

    name: str
    precision: float | None
    recall: float | None
    f1: float
    support: int
    answers: tuple[int, ...]


NOT_FOUND = "not found"


def labels(model: ModelRow) -> list[Label]:
    """The table of a classifier; empty for a model that was not measured as one."""
    found = (model.details or {}).get("classification")
    if not found:
        return []
    return [
        Label(row["label"], row["precision"], row["recall"], row["f1"], row["support"], tuple(counts))
        for row, counts in zip(found["per_class"], found["confusion"], strict=True)
    ]


def known_costs(models: Iterable[ModelRow]) -> list[tuple[str, dict[str, str]]]:
    """Each model's name with what is known of it; models of which nothing is known are left out."""
    return [(model.name, found) for model in models if (found := dict(costs(model)))]
