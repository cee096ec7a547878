"""The tier of meaning, with a real but untrained encoder: pooling, nearest neighbours, and clear refusals."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast, set_seed

from bench import leakage as bench
from engine.data import meaning
from engine.data.example import Example
from engine.data.leakage import find_leaks
from engine.data.meaning import MEASURED, PROBE, SAME_MEANING, LocalEmbedder, Meaning, MeasuredModel
from engine.errors import BadInput
from engine.plan.plan import read_plan
from store import records
from tests.engine.runs import carry_out, lines, queue, recorded_plan
from tui.cli.main import command, guarded

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


def known(folder: Path, shift: float = 0.0) -> MeasuredModel:
    """What the table would say about this model, or about one whose cosines differ by `shift`."""
    one, two, three = LocalEmbedder(folder).embed(PROBE)
    cosines = (float(one @ two) + shift, float(one @ three), float(two @ three))
    return MeasuredModel("tiny", len(one), cosines, 0.7)


def test_a_known_model_has_its_measured_least_unless_one_is_set(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluation, embedder = [example("a", "where is my order")], LocalEmbedder(folder)
    monkeypatch.setattr(meaning, "MEASURED", (*MEASURED, known(folder, 0.005)))
    search = Meaning(evaluation, embedder)
    assert (search.least, search.calibrated) == (0.7, True) and "calibrated for tiny" in search.rule
    search = Meaning(evaluation, embedder, 0.9)
    assert search.least == 0.9 and search.rule.endswith("at least 0.9, as set")


def test_a_model_that_computes_something_else_is_not_calibrated(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(meaning, "MEASURED", (*MEASURED, known(folder, 0.03)))
    search = Meaning([example("a", "where is my order")], LocalEmbedder(folder))
    assert (search.least, search.calibrated) == (SAME_MEANING, False)
    assert "0.85, a general value: not calibrated for this model" in search.rule


def test_the_command_says_by_which_cosine_it_searched(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [
        str(lines(tmp_path / f"{name}.jsonl", [{"query": f"where is my {name} order", "reference": "here"}]))
        for name in ("train", "eval")
    ]

    def leakage(*options: str) -> tuple[int, str, str]:
        code = guarded(lambda: command(["leakage", *files, *options]))
        return code, *capsys.readouterr()

    assert "not calibrated for this model" in leakage("--meaning", str(folder))[1]
    report = json.loads(leakage("--meaning", str(folder), "--meaning-least", "0.3", "--json")[1])
    assert report["meaning"] == {"least": 0.3, "calibrated_for": None}
    code, _, error = leakage("--meaning-least", "0.3")
    assert code == 2 and "Name the model with --meaning" in error


def test_a_run_says_by_which_cosine_it_searched(folder: Path, tmp_path: Path) -> None:
    asked = [{"id": name, "query": f"tell me a joke about {name}", "reference": name} for name in WORDS[:8]]
    lines(tmp_path / "train.jsonl", [{"query": "money back please", "answer": "no"}])
    answers = {row["id"]: "no" for row in asked}
    file = recorded_plan(tmp_path, asked, {"base": answers, "tuned": answers}, "")
    text = file.read_text()

    def with_data(more: str) -> Path:
        file.write_text(text.replace("[data]\n", f"[data]\ntrain = 'train.jsonl'\n{more}\n"))
        return file

    model = f"embedding_model = '{folder}'"
    for more, level, said in (
        (model, "warning", "at least 0.85, a general value: not calibrated for this model"),
        (f"{model}\nmeaning_least = 0.9", "info", "at least 0.9, as set"),
    ):
        run = carry_out(tmp_path / "store", queue(tmp_path / "store", with_data(more)))
        told = {row.message: row.level for row in run.rows(records.Event, run_id=run.run_id)}
        assert told[f"the same meaning: cosine of {said}"] == level
    with pytest.raises(BadInput, match="name its embedding_model"):
        read_plan(with_data("meaning_least = 0.9"))


def test_pairs_give_precision_recall_and_f1(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "pairs.jsonl"
    pairs = [("where is my order", "where is my order", True), ("tell me a joke", "money back", False)]
    file.write_text(
        "".join(json.dumps({"question": a, "other": b, "same": same}) + "\n" for a, b, same in pairs)
    )
    bench.main(["--meaning", str(folder), "--pairs", str(file)])
    told = capsys.readouterr().out
    assert "in use: a cosine of 0.85, not calibrated" in told and "for the table: 32 dimensions" in told
    assert re.search(r"pairs +2 pairs   precision \d\.\d{3}   recall 1\.000   F1 \d\.\d{3}", told)
    alike, same = np.array([0.9, 0.8, 0.7, 0.6], np.float32), np.array([True, False, True, True])
    assert bench.figures(alike, same, 0.75) == pytest.approx((1 / 2, 1 / 3, 2 / 5))
    file.write_text('{"question": "a"}\n')
    with pytest.raises(BadInput, match=r"pairs\.jsonl:1: no pair"):
        bench.cosines(file, LocalEmbedder(folder))
    with pytest.raises(SystemExit):
        bench.main(["--meaning", str(folder)])
    assert "--pairs FILE" in capsys.readouterr().err
