"""Attention of one new token per row, for rows of very different length.

In one piece, every row's keys would be read up to the longest row's. Rows of like length stand side by side
in the slots, so the batch is cut into bands, and each band's keys are read no further than its own longest.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from engine.models.rows import Row

NAME = "sdpa_in_bands"


class Band(NamedTuple):
    """Rows `start` to `stop` of a step, none of which has more than `width` tokens."""

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


def side_by_side(rows: Sequence[Row | None], new: Sequence[Row], size: int) -> list[Row]:
    """The rows at work and new ones, without gaps, in bands of `size` rows of like length, longest first.

    Rows that are in their band already stay where they are: moving one costs a copy of all it has read.
    """
    at = {row: place for place, row in enumerate(rows) if row is not None}
    ranked = sorted([*at, *new], key=lambda row: row.position, reverse=True)
    order: list[Row | None] = [None] * len(ranked)
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


def bands_of(rows: Sequence[Row], size: int) -> list[Band]:
    """The bands of rows that stand side by side; a row's newest token is its last."""
    positions = [row.position for row in rows]
    return [
        Band(start, min(start + size, len(rows)), max(positions[start : start + size]) + 1)
        for start in range(0, len(rows), size)
    ]
