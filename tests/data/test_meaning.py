"""The tier of meaning, with a real but untrained encoder: pooling, nearest neighbours, and clear refusals."""

import json
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast, set_seed

from engine.data.example import Example
from engine.data.leakage import find_leaks
from engine.data.meaning import LocalEmbedder, Meaning
from engine.errors import BadInput

WORDS = (
    "where",
    "is",
    "my",
    "order",
    "parcel",
    "money",
    "back",
    "please",
    "tell",
    "a",
    "joke",
    "about",
    "cats",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("encoder")
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    numbers = {word: number for number, word in enumerate(dict.fromkeys([*special, *WORDS]))}
    tokenizer = Tokenizer(models.WordLevel(numbers, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    ).save_pretrained(path)
    set_seed(0)
    BertModel(
        BertConfig(
            vocab_size=len(numbers),
            hidden_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=64,
        )
    ).save_pretrained(path)
    return path


def example(name: str, query: str, *references: str, line: int = 0) -> Example:
    messages = ({"role": "user", "content": query},)
    return Example(name, query, messages, references=references, line=line)


def test_vectors_have_length_one_and_padding_changes_nothing(folder: Path) -> None:
    embedder = LocalEmbedder(folder)
    alone = embedder.embed(["where is my order"])
    beside = embedder.embed(["where is my order", "tell me a joke about cats please"])
    assert np.linalg.norm(beside, axis=1) == pytest.approx([1, 1], abs=1e-5)
    assert beside[0] == pytest.approx(alone[0], abs=1e-5)


def test_the_nearest_training_question_above_the_threshold_is_a_leak(folder: Path) -> None:
    evaluation = [example("a", "where is my order", "here"), example("b", "tell me a joke about cats")]
    rows = [
        example("", "money back please", line=1),
        example("", "my order is where", "Here", line=2),
        example("", "parcel", line=3),
    ]
    embedder = LocalEmbedder(folder)
    alike = embedder.embed([row.query for row in rows]) @ embedder.embed(["where is my order"])[0]
    assert alike.argmax() == 1
    search = Meaning(evaluation, embedder, float(alike.max()) - 1e-4)
    [leak] = [leak for leak in find_leaks(rows, evaluation, search) if leak.example_id == "a"]
    assert (leak.tier, leak.train_line, leak.field) == ("meaning", 2, "both")
    assert leak.score == pytest.approx(float(alike.max()), abs=1e-3)


def test_pooling_is_read_and_unknown_poolings_are_refused(folder: Path, tmp_path: Path) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    settings = tmp_path / "1_Pooling" / "config.json"
    settings.parent.mkdir()
    settings.write_text(json.dumps({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}))
    mean, first = LocalEmbedder(folder).embed(["my order"]), LocalEmbedder(tmp_path).embed(["my order"])
    assert not np.allclose(mean, first)
    settings.write_text(json.dumps({"pooling_mode_weightedmean_tokens": True}))
    with pytest.raises(BadInput, match="only CLS and mean"):
        LocalEmbedder(tmp_path)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"holds no model \(no config\.json\)"):
        LocalEmbedder(tmp_path)
