"""Models whose cache cannot be kept in slots: told by what they are, and answered all the same."""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    FalconConfig,
    FalconForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)

from engine.errors import BadInput
from engine.models.local import LocalBase, LocalModel
from engine.models.model import Settings
from engine.models.slots import why_static
from engine.plan.plan import Model
from tests.models.tiny import CONTEXT, ask, make_tokenizer

SMALL = {"vocab_size": 300, "hidden_size": 32, "num_hidden_layers": 2, "pad_token_id": 0, "eos_token_id": 2}
DECODER = SMALL | {"num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 64}
RANDOM = {"initializer_range": 0.3}
QUESTIONS = [ask("the cat " * length + str(length)) for length in (1, 7, 3, 12)]


def mistral(window: int | None) -> Any:
    return MistralForCausalLM(
        MistralConfig(**DECODER, **RANDOM, sliding_window=window, max_position_embeddings=CONTEXT)
    ).eval()


def test_a_sliding_window_is_told() -> None:
    assert "DynamicSlidingWindowLayer" in str(why_static(mistral(8)))
    assert why_static(mistral(None)) is None


def test_a_state_space_is_told() -> None:
    assert why_static(MambaForCausalLM(MambaConfig(**SMALL, state_size=4)).eval())


def test_an_encoder_decoder_is_told() -> None:
    config = T5Config(vocab_size=300, d_model=32, d_kv=8, d_ff=64, num_layers=1, num_heads=4)
    assert "encoder" in str(why_static(T5ForConditionalGeneration(config).eval()))


def test_positions_that_depend_on_the_batch_are_told() -> None:
    scaled = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}
    model = LlamaForCausalLM(LlamaConfig(**DECODER, rope_parameters=scaled)).eval()
    assert "longest row" in str(why_static(model))


def test_position_biases_made_from_the_mask_are_found_out_by_trying() -> None:
    falcon = {"vocab_size": 300, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    assert why_static(FalconForCausalLM(FalconConfig(**falcon, alibi=True, **RANDOM)).eval())
    assert why_static(
        BloomForCausalLM(BloomConfig(vocab_size=300, hidden_size=32, n_layer=2, n_head=4)).eval()
    )


def opened(folder: Path, model: Any) -> LocalModel:
    model.save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    plan_model = Model(name="m", role="candidate", path=str(folder), device="cpu")
    return LocalBase(str(folder), device="cpu").generator(plan_model)


def windowed(folder: Path, window: int | None) -> LocalModel:
    return opened(folder, mistral(window))


def texts(model: LocalModel, size: int) -> dict[str, str | None]:
    settings = Settings(max_new_tokens=10, batch_size=size, slots=size)
    return {r.example_id: r.text for batch in model.generate(QUESTIONS, settings) for r in batch}


@pytest.mark.parametrize("window", [8, None])
def test_both_ways_give_the_answers_of_one_at_a_time_and_say_which_was_used(
    tmp_path: Path, window: int | None
) -> None:
    model = windowed(tmp_path, window)
    assert model.describe()["batching"] is None
    assert texts(model, 4) == texts(model, 1)
    facts = model.describe()
    if window:
        assert facts["batching"] == "static" and "SlidingWindow" in facts["batching_reason"]
    else:
        assert (facts["batching"], facts["batching_reason"]) == ("continuous", None)
        assert facts["batching_figures"]["new_tokens"] > 0


def gemma() -> Any:
    """Every other layer slides, as in Gemma 2 and 3; and the logits are capped."""
    config = Gemma2Config(**DECODER, **RANDOM, head_dim=8, sliding_window=8, max_position_embeddings=CONTEXT)
    return Gemma2ForCausalLM(config).eval()


def mamba() -> Any:
    return MambaForCausalLM(MambaConfig(**SMALL, **RANDOM, state_size=4)).eval()


@pytest.mark.parametrize("make", [gemma, mamba])
def test_sliding_layers_and_state_spaces_answer_in_batches_what_they_answer_alone(
    tmp_path: Path, make: Callable[[], Any]
) -> None:
    torch.manual_seed(0)
    model = opened(tmp_path, make())
    assert texts(model, 4) == texts(model, 1)
    assert model.describe()["batching"] == "static" and model.describe()["batching_reason"]


def test_an_encoder_decoder_is_refused_by_name(tmp_path: Path) -> None:
    config = T5Config(vocab_size=300, d_model=32, d_kv=8, d_ff=64, num_layers=1, num_heads=4)
    model = opened(tmp_path, T5ForConditionalGeneration(config).eval())
    with pytest.raises(BadInput, match="T5Config"):
        texts(model, 2)


def test_out_of_memory_halves_static_batches_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = windowed(tmp_path, 8)
    expected = texts(model, 1)
    forward = MistralForCausalLM.forward

    @wraps(forward)
    def hungry(self: Any, input_ids: Any, *args: Any, **kwargs: Any) -> Any:
        if len(input_ids) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(self, input_ids, *args, **kwargs)

    monkeypatch.setattr(MistralForCausalLM, "forward", hungry)
    assert texts(model, 4) == expected
    assert any("batches of 2" in note for note in model.describe()["notes"])
