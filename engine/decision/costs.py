"""What a model costs beside its scores: adapter size, GPU memory and energy, in words."""

from collections.abc import Iterator

from engine.gates.figures import size
from store.read.rows import ModelRow


def model_costs(model: ModelRow) -> Iterator[tuple[str, str]]:
    """Adapter size and trainable share, peak GPU memory, energy; missing values with their reasons."""
    details = model.details or {}
    adapter, use = details.get("adapter"), details.get("device_use")
    if isinstance(adapter, dict) and "bytes" in adapter:
        share = adapter["trainable_share"]
        known = "size of the base unknown" if share is None else f"{share:.3%} trainable"
        yield "adapter", f"{size(adapter['bytes'])}, {adapter['parameters']:,} parameters, {known}"
    if use:
        memory, energy = use["peak_memory"], use["energy_j"]
        yield "peak GPU memory", f"missing: {use['reason']}" if memory is None else size(memory)
        yield "energy", f"missing: {use['energy_reason']}" if energy is None else f"{energy / 1000:.1f} kJ"
