"""Perplexity of plain text: strided, each token predicted once, equal to a loop over single positions."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import processors
from transformers import AutoModelForCausalLM, AutoTokenizer

from engine.errors import BadInput
from engine.metrics.perplexity import (
    PASSAGE,
    CorpusNll,
    corpus_hash,
    corpus_measures,
    corpus_nll,
    parts,
    passages,
    read_corpus,
)
from engine.models.local import LocalBase, LocalModel
from engine.models.prompt import beginning
from engine.plan.plan import Model
from tests.models.tiny import CONTEXT, make_model

TEXT = "the cat sat on the mat and the dog ran. " * 12


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("corpora") / "base")


@pytest.fixture(scope="module")
def model(folder: Path) -> LocalModel:
    return LocalModel(
        LocalBase(str(folder), "float32", "cpu"), Model(name="m", role="baseline", path=str(folder))
    )


@pytest.fixture(scope="module")
def bare(folder: Path) -> LocalModel:
    """The model with a tokenizer that puts nothing before a text."""
    made = LocalModel(
        LocalBase(str(folder), "float32", "cpu"), Model(name="m", role="baseline", path=str(folder))
    )
    made.tokenizer.backend_tokenizer.post_processor = processors.ByteLevel()
    return made


def by_hand(folder: Path, text: str, bos: bool = True) -> tuple[float, int]:
    """One position at a time, each with the context that the window's rule gives it."""
    tokenizer, model = (
        AutoTokenizer.from_pretrained(folder),
        AutoModelForCausalLM.from_pretrained(folder).eval(),
    )
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    begins = [tokenizer.bos_token_id] if bos else []
    ids = begins + ids
    total, end = 0.0, CONTEXT
    for place in range(1, len(ids)):
        while place >= end:
            end = min(len(ids), end + CONTEXT // 2)
        start = max(0, end - CONTEXT)
        with torch.inference_mode():
            seen = begins + ids[start + len(begins) : place] if start else ids[:place]
            logits = model(torch.tensor([seen])).logits[0, -1]
        total -= float(logits.log_softmax(-1)[ids[place]])
    return total, len(ids) - 1


@pytest.mark.parametrize("bos", [True, False])
@pytest.mark.parametrize("length", [40, 200, len(TEXT)])
def test_it_equals_one_position_at_a_time(
    folder: Path, model: LocalModel, bare: LocalModel, length: int, bos: bool
) -> None:
    text = TEXT[:length]
    (found,) = corpus_nll(model if bos else bare, [(7, text)], batch_tokens=3 * CONTEXT)
    nll, tokens = by_hand(folder, text, bos)
    assert (found.text, found.tokens, found.bytes) == (7, tokens, len(text.encode()))
    assert found.nll == pytest.approx(nll, rel=1e-5)
    for measure, sums in zip(corpus_measures("c"), parts(found.nll, found.tokens, found.bytes), strict=True):
        expected = math.exp(nll / tokens) if measure.name == "perplexity:c" else nll / math.log(2) / length
        assert float(measure.combine(np.array(sums))) == pytest.approx(expected, rel=1e-5)


def test_it_is_the_loss_that_the_model_itself_gives_for_the_tokenizers_own_ids(
    folder: Path, model: LocalModel
) -> None:
    ids = AutoTokenizer.from_pretrained(folder)(TEXT[:60], return_tensors="pt")["input_ids"]
    weights = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64).eval()
    with torch.inference_mode():
        loss = float(weights(ids, labels=ids).loss)
    (found,) = corpus_nll(model, [(0, TEXT[:60])])
    assert found.nll is not None
    assert found.nll / found.tokens == pytest.approx(loss, rel=1e-5)


def test_a_text_begins_with_what_the_tokenizer_puts_before_it_and_no_end(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
    assert beginning(tokenizer) == [bos]
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", bos), ("</s>", eos)]
    )
    assert beginning(tokenizer) == [bos]
    tokenizer.backend_tokenizer.post_processor = processors.ByteLevel()
    assert beginning(tokenizer) == []


def test_the_batch_changes_nothing(model: LocalModel) -> None:
    texts = [(place, TEXT[: 20 + 37 * place]) for place in range(9)]
    one, many = (
        {item.text: item.nll for item in corpus_nll(model, texts, batch_tokens=size)} for size in (1, 10_000)
    )
    assert one == pytest.approx(many, rel=1e-6) and len(one) == 9


def test_too_short_a_text_is_missing(model: LocalModel) -> None:
    (found,) = corpus_nll(model, [(0, "")])
    assert found == CorpusNll(0, None, 0, 0, "the text has too few tokens")


def test_plain_text_is_cut_between_paragraphs_and_nothing_is_lost(tmp_path: Path) -> None:
    paragraphs = [f"{place} " + "word " * 100 for place in range(12)]
    text = "\n\n".join(paragraphs)
    (tmp_path / "plain.txt").write_text(text)
    found = read_corpus(tmp_path / "plain.txt")
    assert "\n\n".join(found) == text and len(found) == 3
    assert all(len(passage) >= PASSAGE for passage in found[:-1])
    assert list(passages("short")) == ["short"]


def test_records_and_folders_are_read(tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    (folder / "deeper").mkdir(parents=True)
    (folder / "a.jsonl").write_text('{"text": "one"}\n{"text": " "}\n{"text": "two"}\n')
    (folder / "deeper" / "b.txt").write_text("three")
    assert read_corpus(folder)[:1] == ["one"] and read_corpus(folder)[-1] == "three"
    assert len(read_corpus(folder)) == 3
    assert corpus_hash(["a", "b"]) != corpus_hash(["ab"]) != corpus_hash(["b", "a"])


def test_what_is_no_corpus_is_bad_input_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text(" \n")
    (tmp_path / "wrong.jsonl").write_text('{"text": "good"}\n{"content": "x"}\n')
    for name in ("empty.txt", "absent.txt", "wrong.jsonl:2"):
        with pytest.raises(BadInput, match=name):
            read_corpus(tmp_path / name.partition(":")[0])
