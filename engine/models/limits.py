"""How many rows and tokens a device's free memory allows at a time."""

from dataclasses import dataclass
from typing import Any

import psutil
import torch

from engine.models.prefill import prefill

# On a CPU more slots cost more in attention than they save in steps (bench/generation.py); a GPU takes more.
MOST_SLOTS = {"cuda": 256}
MOST_SLOTS_ELSEWHERE = 64
# About what fills the device in one pass of prompts; more only takes memory.
MOST_TOKENS = {"cuda": 8192}
MOST_TOKENS_ELSEWHERE = 1024
# The share of the free memory that keys and values may take; the rest is for activations and for others.
SHARE = 0.6


@dataclass(frozen=True, slots=True)
class Limits:
    """The most rows in one step, and the most tokens in one prefill."""

    slots: int
    tokens: int

    def halved(self) -> "Limits":
        return Limits(max(1, self.slots // 2), max(1, self.tokens // 2))


def limits_for(model: Any, need: int, wanted: int | None) -> Limits:
    """Limits for a model whose rows need up to that many tokens each.

    A prefilled group waits beside the slots, so memory is counted for twice the rows of the slots at most.
    `wanted` is what the plan asks for at most; None leaves it to the device.
    """
    with torch.inference_mode():
        _, cache = prefill(model, [[0]])
    rows = int(SHARE * free_bytes(model.device)) // (_bytes_per_token(cache) * need)
    kind = model.device.type
    most = MOST_SLOTS.get(kind, MOST_SLOTS_ELSEWHERE)
    slots = max(1, min(rows // 2, most if wanted is None else wanted))
    return Limits(slots, MOST_TOKENS.get(kind, MOST_TOKENS_ELSEWHERE))


def free_bytes(device: torch.device) -> int:
    """Memory that can be had on the device: what is free, and what torch keeps unused."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(free + unused)
    return int(psutil.virtual_memory().available)


def _bytes_per_token(cache: Any) -> int:
    """The memory that one token of one row takes in a filled cache, over all layers."""
    parts = [part for layer in cache.layers for part in (layer.keys, layer.values)]
    return sum(part.shape[1] * part.shape[3] * part.element_size() for part in parts)
