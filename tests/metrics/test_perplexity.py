"""Perplexity of the references: the sum a loop by hand gives, weighted by predicted tokens."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaForCausalLM

from engine.metrics.perplexity import (
    BITS_PER_BYTE,
    EVAL_LOSS,
    NO_END,
    PERPLEXITY,
    Nll,
    Perplexity,
    conditional_nll,
    corpus_nll,
    missing_scores,
    scores_from_nll,
)
from engine.models.local import LocalBase, LocalModel
from engine.models.model import Response
from engine.plan.plan import Model
from store.cache import JsonCache
from tests.models.tiny import CONTEXT, TEMPLATE, ask, make_adapter, make_model

REFERENCES = ["the dog ran", "a", "the cat sat on the mat and ran", "дом 🐈"]
ITEMS = [(ask(f"the cat {text}", str(place)), text) for place, text in enumerate(REFERENCES)]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("models") / "tiny-base")


def local(base: Path, adapter: Path | None = None) -> LocalModel:
    model = Model(name="m", role="baseline", path=str(base), adapter=adapter, device="cpu")
    return LocalBase(str(base), device="cpu").generator(model)


def by_hand(weights: Any, prompt: list[int], reference: list[int]) -> float:
    """One forward pass for each predicted token."""
    total = 0.0
    for place, token in enumerate(reference):
        with torch.inference_mode():
            logits = weights(torch.tensor([prompt + reference[:place]])).logits[0, -1]
        total -= float(torch.log_softmax(logits.double(), -1)[token])
    return total


@pytest.mark.parametrize("batch_tokens", [1, 60, 10_000])
def test_the_likelihood_is_what_a_loop_by_hand_gives(base: Path, batch_tokens: int) -> None:
    model, weights = local(base), AutoModelForCausalLM.from_pretrained(base)
    found = {nll.example_id: nll for nll in conditional_nll(model, ITEMS, batch_tokens)}
    for example, text in ITEMS:
        reference = model.tokenizer(text, add_special_tokens=False)["input_ids"]
        nll = found[example.id]
        assert nll.nll == pytest.approx(by_hand(weights, model.prompt(example), reference), rel=1e-6)
        assert (nll.tokens, nll.bytes) == (len(reference), len(text.encode()))


@pytest.mark.parametrize("bos", [True, False])
def test_a_text_beyond_the_context_is_read_in_windows_each_token_once(base: Path, bos: bool) -> None:
    """Windows begin as the prompt does: with BOS where the template writes it."""
    model, weights = local(base), AutoModelForCausalLM.from_pretrained(base)
    if not bos:
        model.tokenizer.chat_template = TEMPLATE.replace("{{ bos_token }}", "")
    text = "the cat sat on the mat " * 40
    example = ask("long")
    prompt, reference = model.prompt(example), model.tokenizer(text, add_special_tokens=False)["input_ids"]
    ids = prompt + reference
    assert len(ids) > 2 * CONTEXT
    total, done = 0.0, len(prompt)
    while done < len(ids):
        end = min(len(ids), max(CONTEXT, done + CONTEXT // 2))
        window = ids[max(0, end - CONTEXT) : end]
        if bos and end > CONTEXT:
            window[0] = model.tokenizer.bos_token_id
        total += by_hand(weights, window[: len(window) - (end - done)], window[len(window) - (end - done) :])
        done = end
    [nll] = conditional_nll(model, [(example, text)])
    assert nll.tokens == len(reference)
    assert nll.nll == pytest.approx(total, rel=1e-6)


def test_an_adapter_changes_the_likelihood_and_leaves_the_bases_alone(base: Path, tmp_path: Path) -> None:
    shared = LocalBase(str(base), device="cpu")
    adapter = make_adapter(tmp_path / "adapter", base)
    plain = shared.generator(Model(name="b", role="baseline", path=str(base)))
    tuned = shared.generator(Model(name="c", role="candidate", path=str(base), adapter=adapter))
    before = list(conditional_nll(plain, ITEMS))
    assert [nll.nll for nll in conditional_nll(tuned, ITEMS)] != [nll.nll for nll in before]
    assert list(conditional_nll(plain, ITEMS)) == before


def test_out_of_memory_halves_the_batch_and_loses_nothing(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = local(base)
    expected = {nll.example_id: nll.nll for nll in conditional_nll(model, ITEMS, 1)}
    forward = LlamaForCausalLM.forward

    def hungry(self: Any, input_ids: Any, logits_to_keep: int = 0, **kwargs: Any) -> Any:
        if len(input_ids) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(self, input_ids, logits_to_keep=logits_to_keep, **kwargs)

    monkeypatch.setattr(LlamaForCausalLM, "forward", hungry)
    found = {nll.example_id: nll.nll for nll in conditional_nll(model, ITEMS)}
    assert found == pytest.approx(expected)
    assert any("out of memory" in note for note in model.describe()["notes"])


def test_an_empty_reference_is_missing_with_its_reason(base: Path) -> None:
    [nll] = conditional_nll(local(base), [(ask("q"), "")])
    assert nll.nll is None
    assert [(score.value, score.reason) for score in scores_from_nll(nll)] == [
        (None, "the reference is empty")
    ] * 3


def test_scores_are_perplexity_bits_per_byte_and_the_loss_with_the_end_token() -> None:
    perplexity, bits, loss = scores_from_nll(Nll("a", nll=math.log(8) * 5, tokens=5, bytes=15, end=1.0))
    assert perplexity.value == pytest.approx(8)
    assert bits.value == pytest.approx(1)
    assert loss.value == pytest.approx((math.log(8) * 5 + 1) / 6)


def test_a_sets_perplexity_weighs_by_predicted_tokens() -> None:
    scores = [scores_from_nll(Nll("a", 10.0, 10, 20)), scores_from_nll(Nll("b", 60.0, 20, 20))]
    sums = np.sum([pair[0].parts for pair in scores], axis=0)
    assert float(PERPLEXITY.combine(sums)) == pytest.approx(math.exp(70 / 30))
    sums = np.sum([pair[1].parts for pair in scores], axis=0)
    assert float(BITS_PER_BYTE.combine(sums)) == pytest.approx(70 / math.log(2) / 40)


def test_a_likelihood_too_small_for_a_number_is_missing() -> None:
    assert scores_from_nll(Nll("a", 1e6, 1, 1))[0].value is None


def test_a_response_alone_has_no_perplexity() -> None:
    response = Response("a", "text", 1, 1, "stop", 0.1)
    scores = Perplexity().score(ask("q"), response)
    assert scores == missing_scores("perplexity needs the model's weights on this machine")
    assert [score.measure for score in scores] == ["perplexity", "bits_per_byte", "eval_loss"]


def test_the_loss_with_the_end_token_is_transformers_own(base: Path) -> None:
    """In 64 bits, the prompt masked, the template's end token after the answer: what a trainer evaluates."""
    model = local(base)
    weights = model.base.model.double()
    total = tokens = 0.0
    for nll in conditional_nll(model, ITEMS):
        example, text = next(item for item in ITEMS if item[0].id == nll.example_id)
        turns = [*example.messages, {"role": "assistant", "content": text}]
        whole = model.tokenizer.apply_chat_template(turns)["input_ids"]
        prompt = model.prompt(example)
        assert whole[: len(prompt)] == prompt and whole[-1] == model.end_of_answer
        labels = torch.tensor([[-100] * len(prompt) + whole[len(prompt) :]])
        with torch.inference_mode():
            found = weights(torch.tensor([whole]), labels=labels)
        exact = float(torch.nn.functional.cross_entropy(found.logits[0, :-1], labels[0, 1:]))
        [*_, score] = scores_from_nll(nll)
        assert (score.measure, score.value) == ("eval_loss", pytest.approx(exact, rel=1e-12))
        assert float(found.loss) == pytest.approx(exact, rel=1e-6)  # transformers sums in 32 bits
        total, tokens = total + score.parts[0], tokens + score.parts[1]
    assert tokens == sum(nll.tokens + 1 for nll in conditional_nll(model, ITEMS))
    assert EVAL_LOSS.combine(np.array([total, tokens])) == pytest.approx(total / tokens)


def test_an_end_token_changes_no_other_figure_and_may_need_a_window_of_its_own(base: Path) -> None:
    model = local(base)
    prompt = len(model.prompt(ask("long")))
    text = "the cat sat on the mat " * 40
    ids = model.tokenizer(text, add_special_tokens=False)["input_ids"]
    for room in (CONTEXT - prompt - 1, CONTEXT - prompt, CONTEXT + 7):
        item = (ask("long"), model.tokenizer.decode(ids[:room]))
        [ended] = conditional_nll(model, [item])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(LocalModel, "end_of_answer", None)
            [bare] = conditional_nll(model, [item])
        assert ended.tokens == bare.tokens == room and ended.nll == pytest.approx(bare.nll, rel=1e-6)
        assert ended.end is not None and ended.end > 0 and bare.end is None
        assert scores_from_nll(bare)[-1].reason == NO_END


def test_what_was_measured_of_the_same_weights_and_texts_is_not_measured_again(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(dtype: str = "float32") -> LocalModel:
        model = Model(name="m", role="baseline", path=str(base), device="cpu")
        return LocalBase(str(base), dtype, "cpu").generator(model, None, JsonCache(tmp_path / "likelihoods"))

    texts = [(place, f"the cat {text} and ran") for place, text in enumerate(REFERENCES)]
    first = list(conditional_nll(opened(), ITEMS)), list(corpus_nll(opened(), texts))
    monkeypatch.setattr("engine.models.likelihood.window_nll", lambda *_: pytest.fail("measured again"))
    again = list(conditional_nll(opened(), ITEMS)), list(corpus_nll(opened(), texts))
    key = [lambda nll: nll.example_id, lambda nll: nll.text]
    for before, after, by in zip(first, again, key, strict=True):
        assert sorted(after, key=by) == sorted((replace(nll, cached=True) for nll in before), key=by)
    for other in (opened("bfloat16"),):
        with pytest.raises(pytest.fail.Exception):
            list(conditional_nll(other, ITEMS))
    with pytest.raises(pytest.fail.Exception):
        list(conditional_nll(opened(), [(ITEMS[0][0], "another text")]))
