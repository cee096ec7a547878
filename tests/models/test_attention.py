"""Rows of like length side by side: which row stands where, and that the bands change no answer."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from engine.models.model import Settings
from engine.models.rows import DecodingRow, Request, Rules
from engine.models.slots import Band, Slots, bands_of, in_bands, prefill, side_by_side, why_static

RULES = Rules(None, frozenset(), Settings())
Lengths = st.lists(st.integers(1, 40), max_size=12)


def rows_of(lengths: list[int]) -> list[DecodingRow]:
    rows = [DecodingRow(place, Request([5] * length, 9), RULES) for place, length in enumerate(lengths)]
    for row in rows:
        row.tokens.append(7)
    return rows


@given(lengths=Lengths, gone=st.sets(st.integers(0, 11)), new=Lengths, size=st.integers(1, 5))
def test_no_row_is_lost_and_no_band_has_a_row_longer_than_one_before_it(
    lengths: list[int], gone: set[int], new: list[int], size: int
) -> None:
    at_work = [None if place in gone else row for place, row in enumerate(rows_of(lengths))]
    coming = rows_of(new)
    order = side_by_side(at_work, coming, size)
    assert set(order) == {row for row in at_work if row is not None} | set(coming)
    assert len(order) == len(set(order))
    bands = [order[start : start + size] for start in range(0, len(order), size)]
    for before, after in pairwise(bands):
        assert min(row.position for row in before) >= max(row.position for row in after)


@given(lengths=Lengths, size=st.integers(1, 5))
def test_rows_that_stand_well_are_not_moved(lengths: list[int], size: int) -> None:
    rows = side_by_side([], rows_of(lengths), size)
    for row in rows:
        row.tokens.append(8)
    assert side_by_side(rows, [], size) == rows


def test_a_band_reads_as_far_as_its_longest_row() -> None:
    assert bands_of(rows_of([9, 7, 4, 3, 2]), 2) == [Band(0, 2, 10), Band(2, 4, 5), Band(4, 5, 3)]


@pytest.mark.parametrize("heads", [4, 2, 1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_bands_give_the_logits_of_one_piece(heads: int, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=300,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=heads,
        initializer_range=0.3,
    )
    model = LlamaForCausalLM(config).eval().to(dtype)
    assert why_static(model) is None
    prompts = [[9] * 12, [10, 11] * 5, [12] * 3, [13, 14]]
    found = []
    for bands in ([Band(0, 4, 13)], [Band(0, 2, 13), Band(2, 4, 4)], [Band(0, 1, 13), Band(1, 4, 11)]):
        with torch.inference_mode():
            _, cache = prefill(model, prompts)
            slots = Slots(cache, 4, 16)
            slots.fill(range(4), cache, range(4))
            positions = torch.tensor([len(prompt) for prompt in prompts])
            found.append(slots.step(model, torch.tensor([20, 21, 22, 23]), positions, bands))
    for logits in found[1:]:
        torch.testing.assert_close(logits, found[0])


def test_slots_change_places_without_loss(base: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(base).eval()
    with torch.inference_mode():
        _, cache = prefill(model, [[9, 10, 11], [12, 13, 14], [15, 16, 17]])
        slots = Slots(cache, 3, 4)
        slots.fill([0, 1, 2], cache, [0, 1, 2])
        slots.move([0, 2], [2, 0], 3)
    for layer, filled in zip(slots.layers, cache.layers, strict=True):
        for kept, given_ in ((layer.keys, filled.keys), (layer.values, filled.values)):
            torch.testing.assert_close(kept[:, :, :3], given_[[2, 1, 0]])


def test_the_model_keeps_its_own_attention(base: Path) -> None:
    model: Any = AutoModelForCausalLM.from_pretrained(base)
    with pytest.raises(KeyError), in_bands(model):
        assert model.config._attn_implementation != "sdpa"
        raise KeyError
    assert model.config._attn_implementation == "sdpa"
