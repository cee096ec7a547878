"""What a run keeps with a model beside its scores: errors by label, adapter size, GPU memory and energy."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from store.read.rows import ModelRow
from tui.text.gate import size


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


def costs(model: ModelRow) -> Iterator[tuple[str, str]]:
    """Adapter size and trainable share, peak GPU memory and energy, in words; what is missing says why."""
    details = model.details or {}
    adapter, use = details.get("adapter"), details.get("device_use")
    if isinstance(adapter, dict) and "bytes" in adapter:
        share = adapter["trainable_share"]
        known = "the base's size is not known" if share is None else f"{share:.3%} trainable"
        yield "adapter", f"{size(adapter['bytes'])}, {adapter['parameters']:,} parameters, {known}"
    if use:
        memory, energy = use["peak_memory"], use["energy_j"]
        yield "peak GPU memory", f"missing: {use['reason']}" if memory is None else size(memory)
        yield "energy", f"missing: {use['energy_reason']}" if energy is None else f"{energy / 1000:.1f} kJ"


def known_costs(models: Iterable[ModelRow]) -> list[tuple[str, dict[str, str]]]:
    """Each model's name with what is known of it; models of which nothing is known are left out."""
    return [(model.name, found) for model in models if (found := dict(costs(model)))]
