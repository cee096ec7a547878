"""BERTScore and embedding cosine equal what their definitions give, computed by hand on a tiny model."""

import math
from pathlib import Path

import pytest
import torch
from transformers import AutoModel, AutoTokenizer, BertConfig, BertModel, PerceiverTokenizer

from engine.data.example import Example
from engine.errors import BadInput
from engine.metrics.load import load_metric
from engine.metrics.text_models import BertScore, EmbeddingCosine, Encoder
from engine.models.model import Response
from tests.metrics.encoders import CONTEXT, make_encoder

PAIRS = [
    ("the cat sat on a mat", "a dog ran far away ."),
    ("the cat", "the cat"),
    ("dog ran !", "the dog ran far away and sat on the mat ."),
    ("unknown words here", "the mat"),
]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_encoder(tmp_path_factory.mktemp("encoder"))


def pair(response: str | None, *references: str) -> tuple[Example, Response]:
    example = Example("x", "q", ({"role": "user", "content": "q"},), references=references)
    return example, Response("x", response, None, None, None, None, reason=None if response else "no answer")


def states(folder: Path, text: str, layer: int) -> list[list[float]]:
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        hidden = model(
            **tokenizer(text, return_tensors="pt", return_token_type_ids=False), output_hidden_states=True
        )
    return [[float(value) for value in row] for row in hidden.hidden_states[layer][0]]


def cosine(one: list[float], other: list[float]) -> float:
    dot = sum(a * b for a, b in zip(one, other, strict=True))
    return dot / math.sqrt(sum(a * a for a in one)) / math.sqrt(sum(b * b for b in other))


def bert_score(folder: Path, response: str, reference: str, layer: int) -> tuple[float, float, float]:
    """As bert_score.utils.greedy_cos_idf with idf off: [CLS] and [SEP] weigh 0, and may be matched."""
    ours, theirs = states(folder, response, layer), states(folder, reference, layer)
    precision = [max(cosine(one, other) for other in theirs) for one in ours[1:-1]]
    recall = [max(cosine(one, other) for one in ours) for other in theirs[1:-1]]
    p, r = sum(precision) / len(precision), sum(recall) / len(recall)
    return p, r, 2 * p * r / (p + r)


class TestBertScore:
    @pytest.mark.parametrize("layer", [1, 3])
    def test_it_equals_the_hand_computation_whatever_the_batch(self, encoder: Path, layer: int) -> None:
        metric = BertScore(str(encoder), layer, batch_size=3)
        scores = metric.score_many([pair(*texts) for texts in PAIRS])
        for row, texts in zip(scores, PAIRS, strict=True):
            assert [score.value for score in row] == pytest.approx(
                bert_score(encoder, *texts, layer), abs=1e-5
            )
        assert metric.score(*pair(*PAIRS[0]))[2].value == pytest.approx(scores[0][2].value, abs=1e-5)

    def test_equal_texts_score_one(self, encoder: Path) -> None:
        values = [score.value for score in BertScore(str(encoder), 2).score(*pair("the cat", " the cat "))]
        assert values == pytest.approx([1.0, 1.0, 1.0], abs=1e-5)

    def test_each_value_is_that_of_its_best_reference(self, encoder: Path) -> None:
        references = ("a dog ran far away .", "the mat", "the cat sat")
        single = [bert_score(encoder, "the cat sat on a mat", one, 2) for one in references]
        scores = BertScore(str(encoder), 2).score(*pair("the cat sat on a mat", *references))
        assert [score.value for score in scores] == pytest.approx(
            [max(values) for values in zip(*single, strict=True)], abs=1e-5
        )

    def test_a_baseline_rescales(self, encoder: Path) -> None:
        plain = BertScore(str(encoder), 2).score(*pair(*PAIRS[0]))
        baseline = [0.3, 0.4, 0.5]
        rescaled = BertScore(str(encoder), 2, baseline)
        for raw, score, base in zip(plain, rescaled.score(*pair(*PAIRS[0])), baseline, strict=True):
            assert raw.value is not None
            assert score.value == pytest.approx((raw.value - base) / (1 - base), abs=1e-6)
        assert "baseline 0.3 0.4 0.5" in rescaled.measures[0].version

    def test_an_empty_response_scores_nought(self, encoder: Path) -> None:
        example, _ = pair("x", "the cat")
        empty = Response("x", "", None, None, None, None)
        assert [score.value for score in BertScore(str(encoder), 2).score(example, empty)] == [0.0, 0.0, 0.0]

    def test_model_and_layer_are_part_of_the_version(self, encoder: Path) -> None:
        versions = {BertScore(str(encoder), layer).measures[0].version for layer in (1, 2)}
        assert len(versions) == 2
        assert all(str(encoder) in version and "layer" in version for version in versions)

    @pytest.mark.parametrize("length", [22, 23, 33, 34, 60])
    def test_a_text_beyond_the_context_is_read_in_windows_and_says_so(
        self, encoder: Path, length: int
    ) -> None:
        tokens = (["the", "cat", "sat", "on", "a", "mat", "and", "dog", "ran", "far", "away"] * 6)[:length]
        content, overlap = CONTEXT - 2, (CONTEXT - 2) // 2
        starts = [0]
        while starts[-1] + content < length:
            starts.append(starts[-1] + content - overlap)
        # Each token's vector: of the later window from behind the middle of the overlap.
        expected: list[list[float]] = []
        for start in starts:
            rows = states(encoder, " ".join(tokens[start : start + content]), 2)[1:-1]
            kept = start + (overlap - overlap // 2 if start else 0)
            expected = expected[:kept] + rows[kept - start :]
        read = Encoder(str(encoder), "x.model", 2).read([" ".join(tokens), "a"], 2, windows=True)[0]
        assert read is not None and read.long == (length > content)
        assert read.counted.tolist() == [False, *[True] * length, False]
        flat = [value for row in expected for value in row]
        assert read.vectors[1:-1].flatten().tolist() == pytest.approx(flat, abs=1e-5)
        score = BertScore(str(encoder), 2).score(*pair(" ".join(tokens), "the cat"))[0]
        note = "read in windows of 24 tokens, the model's context" if length > content else None
        assert (score.value is not None, score.reason) == (True, note)

    def test_missing_things_are_missing(self, encoder: Path) -> None:
        metric = BertScore(str(encoder), 2)
        rows = metric.score_many([pair(None, "the cat"), pair("the cat")])
        assert [[score.value for score in row] for row in rows] == [[None] * 3, [None] * 3]
        assert [row[0].reason for row in rows] == ["no answer", "the example has no reference"]
        unnamed = load_metric("bertscore", {}).score(*pair("the cat", "the cat"))
        assert {score.value for score in unnamed} == {None}
        assert "metrics.bertscore.model" in str(unnamed[0].reason)

    def test_settings_that_cannot_be(self, encoder: Path, tmp_path: Path) -> None:
        model = str(encoder)
        for settings, what in (
            ({"model": str(tmp_path / "none")}, "metrics.bertscore.model"),
            ({"model": "some-lab/not-on-this-machine"}, "metrics.bertscore.model"),
            ({"model": model}, "metrics.bertscore.layer"),
            ({"model": model, "layer": 9}, "allowed: 0 to 3"),
            ({"model": model, "layer": 1, "baseline": [0.1]}, "metrics.bertscore.baseline"),
            ({"model": model, "layer": 1, "batch_size": 0}, "metrics.bertscore.batch_size"),
        ):
            with pytest.raises(BadInput, match=what):
                load_metric("bertscore", settings)


def test_a_tokenizer_in_python_cuts_a_long_text_and_says_so(tmp_path: Path) -> None:
    config = BertConfig(
        vocab_size=262, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=CONTEXT,
    )  # fmt: skip
    BertModel(config).save_pretrained(tmp_path)
    PerceiverTokenizer(model_max_length=CONTEXT).save_pretrained(tmp_path)
    (tmp_path / "vocab.txt").touch()  # its words are bytes
    start = "the cat sat on a mat a"  # fills the context with its two ends
    pairs = [pair("a cat", "a cat"), pair(f"{start} dog", start)]
    for metric in (BertScore(str(tmp_path), 1), EmbeddingCosine(str(tmp_path))):
        short, long = (scores[-1] for scores in metric.score_many(pairs))
        assert [short.value, long.value] == pytest.approx([1.0, 1.0], abs=1e-4) and short.reason is None
        assert long.reason == f"only the first {CONTEXT} tokens were read"


class TestEmbedding:
    def test_it_is_the_cosine_of_the_mean_vectors(self, encoder: Path) -> None:
        scores = EmbeddingCosine(str(encoder), batch_size=2).score_many([pair(*texts) for texts in PAIRS])
        for (score,), texts in zip(scores, PAIRS, strict=True):
            means = []
            for text in texts:
                rows = states(encoder, text, -1)
                means.append([sum(column) / len(rows) for column in zip(*rows, strict=True)])
            assert score.value == pytest.approx(cosine(*means), abs=1e-5)

    def test_the_best_reference_counts(self, encoder: Path) -> None:
        (score,) = EmbeddingCosine(str(encoder)).score(*pair("the cat", "a dog ran far away .", "the cat"))
        assert score.value == pytest.approx(1.0, abs=1e-5)

    def test_a_text_beyond_the_context_is_cut_and_says_so(self, encoder: Path) -> None:
        metric = EmbeddingCosine(str(encoder))
        long, short = (metric.score(*pair(text, "the cat"))[0] for text in ("mat " * 40, "mat " * 22))
        assert (long.value, long.reason) == (short.value, "only the first 24 tokens were read")

    def test_hostile_text_is_read(self, encoder: Path) -> None:
        for text in ("\ud800", "\x00", "🙂" * 100_000):
            (score,) = EmbeddingCosine(str(encoder)).score(*pair(text, "the cat"))
            assert score.value is not None

    def test_without_a_model_it_is_missing(self) -> None:
        (score,) = load_metric("embedding", {}).score(*pair("the cat", "the cat"))
        assert score.value is None
        assert "metrics.embedding.model" in str(score.reason)
