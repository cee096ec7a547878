"""Reading whole prompts: several of like length in one pass, after a beginning that they share."""

from collections.abc import Sequence
from typing import Any

import torch
from transformers.cache_utils import DynamicCache

# Shorter beginnings, such as a template's first marks, cost more to copy than to read again.
SHARED_AT_LEAST = 16


def prefill(
    model: Any, sequences: Sequence[list[int]], shared: DynamicCache | None = None
) -> tuple[Any, DynamicCache]:
    """The logits after each sequence [rows, vocabulary], and the cache that holds them all.

    Rows are padded on the right, where a causal model does not look; `shared` is the cache of a beginning
    that all sequences have, and is not changed. Only the last token's logits of each row are computed.
    """
    done = shared.get_seq_length() if shared else 0
    lengths = torch.tensor([len(sequence) - done for sequence in sequences])
    width = int(lengths.max())
    ids = torch.tensor([sequence[done:] + [0] * (width + done - len(sequence)) for sequence in sequences])
    cache = DynamicCache(config=model.config)
    if shared:
        for layer, first in zip(cache.layers, shared.layers, strict=True):
            layer.update(first.keys.expand(len(ids), -1, -1, -1), first.values.expand(len(ids), -1, -1, -1))
    lasts, last_of_row = (lengths - 1).unique(return_inverse=True)
    logits = model(
        input_ids=ids.to(model.device),
        position_ids=torch.arange(done, done + width, device=model.device).expand(len(ids), -1),
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=lasts.to(model.device),
    ).logits
    return logits[torch.arange(len(ids), device=logits.device), last_of_row.to(logits.device)], cache


def shared_beginning(prompts: Sequence[list[int]]) -> list[int]:
    """The tokens that all prompts begin with, short of any whole prompt; empty when not worth sharing."""
    if len(prompts) < 2:
        return []
    # What the two outermost share in sorted order, all between them share.
    first, last = min(prompts), max(prompts)
    limit = min(len(prompt) for prompt in prompts) - 1
    length = next((place for place in range(limit) if first[place] != last[place]), max(limit, 0))
    return first[:length] if length >= SHARED_AT_LEAST else []
