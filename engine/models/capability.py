"""Whether a model's rows can be kept in slots: told from what its cache and attention are, then tried."""

import inspect
from typing import Any

import torch
from transformers.cache_utils import DynamicCache, DynamicLayer

from engine.models.attention import Band
from engine.models.prefill import prefill
from engine.models.slots import Slots

# Two prompts of different length, and the token that each is continued with.
_PROMPTS = ([3, 1, 4, 1, 5, 9, 2], [2, 7, 1])
_NEXT = (6, 8)
# The largest difference, as a share of the largest logit, that the order of summing may make.
_TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-3}
_COARSE_TOLERANCE = 5e-2
# What models raise for a cache or mask of a shape that they do not know.
_REFUSALS = (TypeError, ValueError, RuntimeError, IndexError, KeyError, AttributeError, NotImplementedError)


def why_static(model: Any) -> str | None:
    """Why the model cannot be batched continuously; None when it can.

    Judged by capability and never by name. The last test is the proof: a step of two rows of different
    length in slots gives the logits that each row gives alone.
    """
    if model.config.is_encoder_decoder:
        return "it is an encoder–decoder"
    known = inspect.signature(model.forward).parameters
    if absent := [
        name for name in ("past_key_values", "position_ids", "logits_to_keep") if name not in known
    ]:
        return f"its forward pass takes no {absent[0]}"
    if model.config._attn_implementation != "sdpa":
        return f"its attention is {model.config._attn_implementation}, not the one that takes a mask per row"
    if any(_grows_with_length(module) for module in model.modules()):
        return "its position encoding depends on the longest row of a batch"
    others = {type(layer).__name__ for layer in DynamicCache(config=model.config).layers} - {
        DynamicLayer.__name__
    }
    if others:
        return f"its cache is not full attention alone ({', '.join(sorted(others))})"
    try:
        return None if _same_alone_and_in_slots(model) else "a step in slots gives it other logits than alone"
    except _REFUSALS as error:
        return f"a step in slots fails: {' '.join(str(error).split())[:200]}"


def _grows_with_length(module: Any) -> bool:
    kinds = getattr(module, "rope_type", None)
    names = kinds.values() if isinstance(kinds, dict) else [kinds]
    return any("dynamic" in name or name == "longrope" for name in names if isinstance(name, str))


def _same_alone_and_in_slots(model: Any) -> bool:
    vocabulary = model.get_input_embeddings().weight.shape[0]
    prompts = [[token % vocabulary for token in prompt] for prompt in _PROMPTS]
    following = [token % vocabulary for token in _NEXT]
    with torch.inference_mode():
        alone = torch.cat(
            [
                model(torch.tensor([[*prompt, token]], device=model.device)).logits[:, -2:]
                for prompt, token in zip(prompts, following, strict=True)
            ]
        )
        first, cache = prefill(model, prompts)
        longest = max(len(prompt) for prompt in prompts)
        slots = Slots(cache, len(prompts), longest + 1)
        slots.fill(range(len(prompts)), cache, range(len(prompts)))
        bands = [Band(place, place + 1, len(prompt) + 1) for place, prompt in enumerate(prompts)]
        positions = torch.tensor([len(prompt) for prompt in prompts], device=model.device)
        second = slots.step(model, torch.tensor(following, device=model.device), positions, bands)
    together = torch.stack([first, second], dim=1)
    tolerance = _TOLERANCE.get(together.dtype, _COARSE_TOLERANCE)
    return bool((together - alone).abs().max() <= tolerance * alone.abs().max())
