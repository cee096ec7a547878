"""Keys and values of many rows at once, each row in a slot of its own and at a position of its own.

transformers' caches give all rows of a batch one length, so a batch runs until its longest row is done. Here
every row is written where it stands, so that rows of different lengths share one step, and a finished row's
slot can be filled with the next prompt. Only plain full attention can be kept so.
"""

from collections.abc import Sequence
from typing import Any

import torch
from transformers.cache_utils import Cache, CacheLayerMixin, DynamicCache

from engine.models.attention import Band, in_bands


class _Layer(CacheLayerMixin):  # type: ignore[misc]  # transformers is untyped here
    """One layer's keys and values: [slots, heads, capacity, size]."""

    def __init__(self, like: Any, slots: int, capacity: int) -> None:
        super().__init__()
        self.keys = like.keys.new_zeros(slots, like.keys.shape[1], capacity, like.keys.shape[3])
        # Zeros, not whatever memory holds: a masked position has no weight, but 0 x NaN is NaN.
        self.values = like.values.new_zeros(slots, like.values.shape[1], capacity, like.values.shape[3])
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
        """Nothing to do: memory is taken when the slots are made."""

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
