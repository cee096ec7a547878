"""Copies of the weights in a faster layout: the same logits, for plain layers alone, within their memory."""

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from engine.models import packed
from engine.models.batcher import PACKED_FROM, Batcher, BatchLimits
from engine.models.model import Settings
from engine.models.packed import PackedLayers, suits
from engine.models.rows import Request, Rules

IDS = torch.tensor([[9, 10, 11, 20], [12, 21, 22, 23]])


@pytest.fixture(scope="module")
def model(base: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(base).eval()


@pytest.fixture
def products(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What was multiplied with copies, which layers of any size have here."""
    monkeypatch.setattr(packed, "LEAST", 0)
    found: list[Any] = []
    multiply = packed._Product.__call__
    monkeypatch.setattr(
        packed._Product, "__call__", lambda self, given: found.append(given) or multiply(self, given)
    )
    return found


def logits_of(model: Any) -> Any:
    with torch.inference_mode():
        return model(IDS).logits


def linear_layers(model: Any) -> list[Any]:
    return [module for module in model.modules() if isinstance(module, torch.nn.Linear)]


def test_copies_give_the_plain_layers_logits(model: Any, products: list[Any]) -> None:
    plain = logits_of(model)
    copies = PackedLayers(model, 8)
    with copies.used():
        found = logits_of(model)
    torch.testing.assert_close(found, plain)
    assert len(products) == len(linear_layers(model))


def test_copies_made_with_other_threads_give_the_same(model: Any, products: list[Any]) -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        copies = PackedLayers(model, 8)
        with copies.used():
            first = logits_of(model)
            torch.set_num_threads(1)
            second = logits_of(model)
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(first, second)
    torch.testing.assert_close(second, logits_of(model))


def test_afterwards_the_layers_are_as_before(model: Any, products: list[Any]) -> None:
    with pytest.raises(KeyboardInterrupt), PackedLayers(model, 8).used():
        raise KeyboardInterrupt
    logits_of(model)
    assert products == []
    assert all(suits(layer) for layer in linear_layers(model))


@pytest.mark.parametrize("target", ["lm_head", "q_proj"])
def test_an_adapter_is_not_lost(base: Path, products: list[Any], target: str) -> None:
    model: Any = AutoModelForCausalLM.from_pretrained(base).eval()
    config = LoraConfig(r=2, target_modules=[target], init_lora_weights=False)
    adapted = get_peft_model(model, config).eval()
    changed = logits_of(adapted)
    with PackedLayers(adapted.get_base_model(), 8).used():
        torch.testing.assert_close(logits_of(adapted), changed)
        with adapted.disable_adapter():
            plain = logits_of(adapted)
    assert products
    assert not torch.allclose(plain, changed)


def test_without_room_the_output_layer_alone_has_a_copy(
    model: Any, products: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packed, "MOST_BYTES", 0)
    plain = logits_of(model)
    with PackedLayers(model, 8).used():
        torch.testing.assert_close(logits_of(model), plain)
    assert len(products) == 1


def test_a_model_in_16_bits_has_no_copies(base: Path, products: list[Any]) -> None:
    model: Any = AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16)
    with PackedLayers(model, 8).used():
        logits_of(model)
    assert products == []


def test_small_layers_have_no_copies(
    model: Any, products: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    largest = max(layer.weight.numel() for layer in linear_layers(model))
    monkeypatch.setattr(packed, "LEAST", largest)
    with PackedLayers(model, 8).used():
        logits_of(model)
    assert 0 < len(products) < len(linear_layers(model))


@pytest.mark.parametrize("prompts", [PACKED_FROM - 1, PACKED_FROM])
def test_few_prompts_are_answered_without_copies(model: Any, products: list[Any], prompts: int) -> None:
    requests = [Request([9 + place, 30], 5) for place in range(prompts)]
    work = Batcher(requests, Rules(None, frozenset(), Settings()), BatchLimits(8, 64), lambda slots: None)
    work.advance(model, 0)
    assert bool(products) == (prompts == PACKED_FROM)
