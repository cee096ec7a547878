"""The proof that an adapter does something: logits with it on and off."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from engine.models.base import LocalBase


@dataclass(frozen=True, slots=True)
class Probe:
    """How much an adapter changes the logits, over every position of a few prompts; 0 means no effect."""

    max_difference: float
    mean_difference: float
    prompts: int


def probe_adapter(base: LocalBase, adapter: Path, prompts: Sequence[list[int]]) -> Probe:
    """Compares the logits with the adapter on and off over these prompts."""
    largest, total, count = 0.0, 0.0, 0
    for ids in prompts:
        difference = (_logits(base, adapter, ids) - _logits(base, None, ids)).abs()
        largest = max(largest, float(difference.max()))
        total += float(difference.sum(dtype=torch.float64))
        count += difference.numel()
    return Probe(largest, total / count if count else 0.0, len(prompts))


def _logits(base: LocalBase, adapter: Path | None, ids: list[int]) -> Any:
    # In this order: an adapter that is loaded in inference mode could not be switched off outside it.
    with base.active(adapter) as model, torch.inference_mode():
        return model(torch.tensor([ids], device=model.device)).logits.float()
