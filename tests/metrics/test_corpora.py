"""Perplexity of plain text: strided, each token predicted once, equal to a loop over single positions."""

import math
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from engine.errors import BadInput
from engine.generate.local import LocalBase, LocalModel
from engine.metrics.corpora import CorpusNll, corpus_nll, read_corpus, windows
from engine.plan import Model
from tests.generate.tiny import CONTEXT, make_model

TEXT = "the cat sat on the mat and the dog ran. " * 12


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("corpora") / "base")


@pytest.fixture(scope="module")
def model(folder: Path) -> LocalModel:
    return LocalModel(
        LocalBase(str(folder), "float32", "cpu"), Model(name="m", role="baseline", path=str(folder))
    )


def by_hand(folder: Path, text: str) -> tuple[float, int]:
    """One position at a time, each with the context that the window's rule gives it."""
    tokenizer, model = (
        AutoTokenizer.from_pretrained(folder),
        AutoModelForCausalLM.from_pretrained(folder).eval(),
    )
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    total, end = 0.0, CONTEXT
    for place in range(1, len(ids)):
        while place >= end:
            end = min(len(ids), end + CONTEXT // 2)
        start = max(0, end - CONTEXT)
        with torch.inference_mode():
            logits = model(torch.tensor([ids[start:place]])).logits[0, -1]
        total -= float(logits.log_softmax(-1)[ids[place]])
    return total, len(ids) - 1


@pytest.mark.parametrize("length", [40, 200, len(TEXT)])
def test_it_equals_one_position_at_a_time(folder: Path, model: LocalModel, length: int) -> None:
    text = TEXT[:length]
    (found,) = corpus_nll(model, [("file", text)], batch_tokens=3 * CONTEXT)
    nll, tokens = by_hand(folder, text)
    assert found.tokens == tokens
    assert found.nll == pytest.approx(nll, rel=1e-5)
    assert found.perplexity == pytest.approx(math.exp(nll / tokens), rel=1e-5)
    assert found.bits_per_byte == pytest.approx(nll / math.log(2) / len(text.encode()), rel=1e-5)


def test_the_batch_changes_nothing(model: LocalModel) -> None:
    one, many = (next(corpus_nll(model, [("x", TEXT)], batch_tokens=size)) for size in (1, 10_000))
    assert one.nll == pytest.approx(many.nll, rel=1e-6)


@pytest.mark.parametrize("length", [2, 8, 9, 12, 13, 100])
def test_every_token_but_the_first_is_predicted_once(length: int) -> None:
    ids = list(range(length))
    predicted = [
        one for piece in windows("x", ids, 8) for one in piece.ids[len(piece.ids) - piece.predicted :]
    ]
    assert predicted == ids[1:]
    assert all(len(piece.ids) <= 8 and len(piece.ids) > piece.predicted for piece in windows("x", ids, 8))


def test_too_short_a_text_is_missing(model: LocalModel) -> None:
    (found,) = corpus_nll(model, [("x", "")])
    assert found == CorpusNll("x", None, 0, 0, "the text has fewer than two tokens")
    assert (found.perplexity, found.bits_per_byte) == (None, None)


def test_an_empty_or_absent_file_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text(" \n")
    for name in ("empty.txt", "absent.txt"):
        with pytest.raises(BadInput, match=name):
            read_corpus(tmp_path / name)
