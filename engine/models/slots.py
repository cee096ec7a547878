"""Keys and values of many rows, each in its own slot and at its own position.

transformers' caches give all rows of a batch one length, so a batch runs until its longest row is done. Here
rows of different lengths share one step, and the next prompt takes a finished row's slot. Only plain full
attention can be stored this way, so a model's cache and attention are inspected and then tried. Reading every
row's keys up to the longest row's would waste time: rows of similar length are side by side in the slots, the
batch is cut into bands, and each band's keys are read only up to its own longest row.
"""

import inspect
import math
import mmap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from transformers import AttentionInterface
from transformers.cache_utils import Cache, CacheLayerMixin, DynamicCache, DynamicLayer
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from engine.models.packed import PackedLayers
from engine.models.rows import DecodingRow, is_spread

NAME = "sdpa_in_bands"


class Band(NamedTuple):
    """Rows `start` to `stop` of a step, each with at most `width` tokens."""

    start: int
    stop: int
    width: int


def _attention(
    module: Any,
    query: Any,
    key: Any,
    value: Any,
    attention_mask: Any,
    bands: Sequence[Band] = (),
    position_bias: Any = None,
    **options: Any,
) -> tuple[Any, None]:
    """transformers' own fused attention, called once for each band.

    A model whose layers do not hand `bands` on is computed in one piece, which gives the same.
    """
    if len(bands) < 2 or position_bias is not None:
        whole = sdpa_attention_forward(
            module, query, key, value, attention_mask, position_bias=position_bias, **options
        )
        return whole[0], None
    parts = [
        sdpa_attention_forward(
            module,
            query[start:stop],
            key[start:stop, :, :width],
            value[start:stop, :, :width],
            attention_mask[start:stop, :, :, :width],
            **options,
        )[0]
        for start, stop, width in bands
    ]
    return torch.cat(parts), None


AttentionInterface.register(NAME, _attention)


@contextmanager
def in_bands(model: Any) -> Iterator[None]:
    """Lets the model's layers take `bands`, while they would otherwise use the plain fused attention."""
    config = model.config
    given = config._attn_implementation
    config._attn_implementation = NAME
    try:
        yield
    finally:
        config._attn_implementation = given


def side_by_side(
    rows: Sequence[DecodingRow | None], new: Sequence[DecodingRow], size: int
) -> list[DecodingRow]:
    """The rows at work and new ones, without gaps, in bands of `size` rows of like length, longest first.

    Rows that are in their band already stay where they are: moving one costs a copy of all it has read.
    """
    at = {row: place for place, row in enumerate(rows) if row is not None}
    ranked = sorted([*at, *new], key=lambda row: row.position, reverse=True)
    order: list[DecodingRow | None] = [None] * len(ranked)
    for start in range(0, len(ranked), size):
        band = ranked[start : start + size]
        stop = start + len(band)
        coming = []
        for row in band:
            place = at.get(row, -1)
            if start <= place < stop:
                order[place] = row
            else:
                coming.append(row)
        free = (place for place in range(start, stop) if order[place] is None)
        for place, row in zip(free, coming, strict=True):
            order[place] = row
    return [row for row in order if row is not None]


def bands_of(rows: Sequence[DecodingRow], size: int) -> list[Band]:
    """The bands of neighbouring rows; a row's newest token is its last."""
    positions = [row.position for row in rows]
    return [
        Band(start, min(start + size, len(rows)), max(positions[start : start + size]) + 1)
        for start in range(0, len(rows), size)
    ]


def _zeros(like: Any, slots: int, capacity: int) -> Any:
    """Zeros [slots, heads, capacity, size]; a processor's memory is taken as they are written over."""
    shape = (slots, like.shape[1], capacity, like.shape[3])
    if like.device.type != "cpu":
        return like.new_zeros(shape)
    size = math.prod(shape) * like.element_size()
    try:
        room = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except OSError as error:
        raise torch.OutOfMemoryError(f"{size:,} bytes: {error.strerror}") from error
    if hasattr(mmap, "MADV_NOHUGEPAGE"):
        # A huge page would be zeroed as a whole for the few tokens of a row that it holds.
        room.madvise(mmap.MADV_NOHUGEPAGE)
    return torch.frombuffer(room, dtype=like.dtype).view(shape)


class _Layer(CacheLayerMixin):  # type: ignore[misc]  # transformers is untyped here
    """One layer's keys and values: [slots, heads, capacity, size]."""

    def __init__(self, like: Any, slots: int, capacity: int) -> None:
        super().__init__()
        self.keys = _zeros(like.keys, slots, capacity)
        # Zeros, not whatever memory holds: a masked position has no weight, but 0 x NaN is NaN.
        self.values = _zeros(like.values, slots, capacity)
        self.is_initialized = True
        self.rows: Any = None
        self.positions: Any = None
        self.width = 0

    def update(self, key_states: Any, value_states: Any, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        """Writes each row's one new token at its position; gives the first `width` positions of the rows."""
        self.keys[self.rows, :, self.positions] = key_states[:, :, 0]
        self.values[self.rows, :, self.positions] = value_states[:, :, 0]
        live = len(self.rows)
        return self.keys[:live, :, : self.width], self.values[:live, :, : self.width]

    def lazy_initialization(self, key_states: Any, value_states: Any) -> None:
        """Nothing to do: there is room since the slots were made."""

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.width, 0

    def get_seq_length(self) -> int:
        return self.width - 1

    def get_max_length(self) -> int:
        return int(self.keys.shape[2])


class Slots(Cache):  # type: ignore[misc]  # transformers is untyped here
    """A fixed number of slots of `capacity` tokens; the rows of a step are the first slots, with no gap.

    `like` is a filled cache of the model, from which the layers' shapes are taken.
    """

    def __init__(self, like: DynamicCache, slots: int, capacity: int) -> None:
        super().__init__(layers=[_Layer(layer, slots, capacity) for layer in like.layers])
        first = like.layers[0].keys
        self._places = torch.arange(capacity, device=first.device)
        self._rows = torch.arange(slots, device=first.device)
        # The additive mask that both the fused and the plain attention take as it is.
        self._open = torch.zeros((), dtype=first.dtype, device=first.device)
        self._closed = torch.full((), float("-inf"), dtype=first.dtype, device=first.device)

    def step(self, model: Any, tokens: Any, positions: Any, bands: Sequence[Band]) -> Any:
        """Reads one token per row [rows] at its position [rows]; returns the logits [rows, vocabulary].

        The bands hold every row. Running the same step again writes the same values.
        """
        width = max(band.width for band in bands)
        rows = self._rows[: len(tokens)]
        for layer in self.layers:
            layer.rows, layer.positions, layer.width = rows, positions, width
        seen = self._places[:width] <= positions[:, None]
        with in_bands(model):
            return model(
                input_ids=tokens[:, None],
                attention_mask=torch.where(seen, self._open, self._closed)[:, None, None],
                position_ids=positions[:, None],
                past_key_values=self,
                use_cache=True,
                logits_to_keep=1,
                bands=bands,
            ).logits[:, -1]

    def fill(self, places: Sequence[int], source: DynamicCache, rows: Sequence[int]) -> None:
        """Copies rows of a prefilled cache into slots. What a row has beyond its length stays masked."""
        to = torch.tensor(places, device=self._rows.device)
        of = torch.tensor(rows, device=self._rows.device)
        for layer, filled in zip(self.layers, source.layers, strict=True):
            # The group may be padded for a row that ended with its first token, and so needs no slot.
            length = min(filled.keys.shape[2], layer.get_max_length())
            layer.keys[to, :, :length] = filled.keys[of, :, :length]
            layer.values[to, :, :length] = filled.values[of, :, :length]

    def move(self, sources: Sequence[int], targets: Sequence[int], length: int) -> None:
        """Copies the first `length` tokens of slots into other slots, all at once: they may change places."""
        of = torch.tensor(sources, device=self._rows.device)
        to = torch.tensor(targets, device=self._rows.device)
        for layer in self.layers:
            layer.keys[to, :, :length] = layer.keys[of, :, :length]
            layer.values[to, :, :length] = layer.values[of, :, :length]


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
    if is_spread(model):
        return "its layers are on several devices"
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
        return f"its cache is not only full attention ({', '.join(sorted(others))})"
    try:
        return None if _same_alone_and_in_slots(model) else "its logits in slots differ from those alone"
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
    with torch.inference_mode(), PackedLayers(model, len(prompts)).used():
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
