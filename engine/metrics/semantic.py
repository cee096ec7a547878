"""Likeness in meaning, as a language model's vectors see it: BERTScore and the cosine of embeddings."""

from collections.abc import Sequence
from typing import Any

from engine.data.example import Example
from engine.errors import BadInput
from engine.metrics.encoder import Encoder, Read
from engine.metrics.measures import gap
from engine.metrics.metric import Measure, Score, missing
from engine.models.model import Response

NO_MODEL = "no model is named: set metrics.{}.model to a folder or hub id"
TOO_LARGE = "a text does not fit into memory"
CUT = "only the first {} tokens were read"
# The layer that agrees best with people, by model (bert_score.utils.model2layers).
LAYERS = {
    "bert-base-uncased": 9, "bert-large-uncased": 18, "bert-base-multilingual-cased": 9,
    "roberta-base": 10, "roberta-large": 17, "distilbert-base-uncased": 5, "xlm-roberta-base": 9,
    "xlm-roberta-large": 17, "deberta-large-mnli": 18, "deberta-xlarge-mnli": 40,
}  # fmt: skip

Pair = tuple[Example, Response]
Three = tuple[float, float, float]


def match(candidate: Read, reference: Read) -> Three:
    """BERTScore precision, recall and F1 of two texts' token vectors, without idf weights.

    Each token counts its best cosine in the other text. Tokens at the ends can be matched and do not count
    themselves; a text of nothing else scores 0 (Zhang et al. 2020; bert_score.utils.greedy_cos_idf).
    """
    import torch

    if not candidate.counted.any() or not reference.counted.any():
        return 0.0, 0.0, 0.0
    ours, theirs = (torch.nn.functional.normalize(text.vectors, dim=-1) for text in (candidate, reference))
    cosines = ours @ theirs.T
    precision = float(cosines.max(dim=1).values[candidate.counted].mean())
    recall = float(cosines.max(dim=0).values[reference.counted].mean())
    total = precision + recall
    return precision, recall, 2 * precision * recall / total if total else 0.0


class BertScore:
    """BERTScore against the best of the references, for each of precision, recall and F1 as bert-score does.

    `model` is a folder or hub id, `layer` the hidden layer (known for bert-score's common models), and
    `baseline` the three values that rescale to (x - b) / (1 - b), as in bert-score's tables.
    """

    def __init__(
        self,
        model: str = "",
        layer: int | None = None,
        baseline: Sequence[float] | None = None,
        batch_size: int = 32,
    ) -> None:
        self._encoder = Encoder(model, "metrics.bertscore.model", batch_size) if model else None
        self._layer = _layer(self._encoder, layer) if self._encoder else 0
        self._baseline = _baseline(baseline)
        self.measures = _bertscore_measures(self._encoder, self._layer, self._baseline)

    def score(self, example: Example, response: Response) -> list[Score]:
        return self.score_many([(example, response)])[0]

    def score_many(self, pairs: Sequence[Pair]) -> list[list[Score]]:
        """Scores of all pairs, each text read once."""
        if self._encoder is None:
            return [missing(self.measures, NO_MODEL.format("bertscore")) for _ in pairs]
        # bert-score strips its texts too.
        read = _read_all(self._encoder, pairs, self._layer, str.strip)
        return [self._score(example, response, read) for example, response in pairs]

    def _score(self, example: Example, response: Response, read: dict[str, Read | None]) -> list[Score]:
        if response.text is None or not example.references:
            return missing(self.measures, gap(example, response))
        ours = read[response.text.strip()]
        theirs = [read[reference.strip()] for reference in example.references]
        if ours is None or None in theirs:
            return missing(self.measures, TOO_LARGE)
        found = [match(ours, reference) for reference in theirs if reference is not None]
        best = [max(values) for values in zip(*found, strict=True)]
        rescaled = [(value - base) / (1 - base) for value, base in zip(best, self._baseline, strict=True)]
        note = _note(self._encoder, ours, *theirs)
        return [
            Score(measure.name, value, note) for measure, value in zip(self.measures, rescaled, strict=True)
        ]


class EmbeddingCosine:
    """The cosine of the mean-pooled last hidden states of response and best reference.

    Mean pooling over all tokens, those at the ends too, as sentence-transformers does. `model` is a folder
    or hub id.
    """

    def __init__(self, model: str = "", batch_size: int = 32) -> None:
        self._encoder = Encoder(model, "metrics.embedding.model", batch_size) if model else None
        self.measures = (
            Measure(
                name="embedding_cosine",
                direction="higher",
                low=-1.0,
                high=1.0,
                unit="cosine",
                needs=frozenset({"references"}),
                version=_version(self._encoder, "mean pooling"),
                source="Reimers & Gurevych 2019; sentence_transformers.models.Pooling, mean tokens",
                meaning="likeness of the whole response to the best reference, in one vector each",
            ),
        )

    def score(self, example: Example, response: Response) -> list[Score]:
        return self.score_many([(example, response)])[0]

    def score_many(self, pairs: Sequence[Pair]) -> list[list[Score]]:
        """Scores of all pairs, each text read once."""
        if self._encoder is None:
            return [missing(self.measures, NO_MODEL.format("embedding")) for _ in pairs]
        read = _read_all(self._encoder, pairs, -1, str)
        return [self._score(example, response, read) for example, response in pairs]

    def _score(self, example: Example, response: Response, read: dict[str, Read | None]) -> list[Score]:
        if response.text is None or not example.references:
            return missing(self.measures, gap(example, response))
        texts = [read[text] for text in (response.text, *example.references)]
        whole = [text for text in texts if text is not None]
        if len(whole) < len(texts):
            return missing(self.measures, TOO_LARGE)
        if any(len(text.vectors) == 0 for text in whole):
            return missing(self.measures, "a text without tokens has no vector")
        value = max(cosine(whole[0], reference) for reference in whole[1:])
        return [Score("embedding_cosine", value, _note(self._encoder, *texts))]


def cosine(one: Read, other: Read) -> float:
    """The cosine of two texts' mean vectors."""
    import torch

    means = [text.vectors.mean(dim=0) for text in (one, other)]
    return float(torch.nn.functional.cosine_similarity(*means, dim=0).clamp(-1.0, 1.0))


def _read_all(encoder: Encoder, pairs: Sequence[Pair], layer: int, clean: Any) -> dict[str, Read | None]:
    texts = {
        clean(text): None
        for example, response in pairs
        if response.text is not None and example.references
        for text in (response.text, *example.references)
    }
    return dict(zip(texts, encoder.read(list(texts), layer), strict=True))


def _note(encoder: Encoder | None, *texts: Read | None) -> str | None:
    cut = encoder is not None and any(text is not None and text.cut for text in texts)
    return CUT.format(encoder.context()) if cut and encoder else None


def _layer(encoder: Encoder, layer: int | None) -> int:
    if layer is None:
        layer = LAYERS.get(encoder.name.rstrip("/").rpartition("/")[2])
        if layer is None:
            raise BadInput(
                f"metrics.bertscore.layer: not given, and not known for {encoder.name}",
                f"Choose one from 1 to {encoder.layers}; about three quarters of the way up is usual.",
            )
    if isinstance(layer, bool) or not isinstance(layer, int) or not 0 <= layer <= encoder.layers:
        raise BadInput(f"metrics.bertscore.layer: found {layer!r}; allowed: 0 to {encoder.layers}")
    return layer


def _baseline(baseline: Sequence[float] | None) -> Three:
    if baseline is None:
        return 0.0, 0.0, 0.0
    numbers = list(baseline) if isinstance(baseline, list | tuple) else []
    if len(numbers) != 3 or not all(isinstance(one, int | float) and one < 1 for one in numbers):
        raise BadInput(
            f"metrics.bertscore.baseline: found {baseline!r}; allowed: three numbers below 1",
            "They are precision, recall and F1 of your layer's row in bert-score's rescale_baseline file.",
        )
    return float(numbers[0]), float(numbers[1]), float(numbers[2])


def _bertscore_measures(encoder: Encoder | None, layer: int, baseline: Three) -> tuple[Measure, ...]:
    rescaled = any(baseline)
    how = f"layer {layer}" + (
        f", baseline {' '.join(f'{value:g}' for value in baseline)}" if rescaled else ""
    )
    meanings = {
        "precision": "how well each token of the response is matched by one of the reference",
        "recall": "how well each token of the reference is matched by one of the response",
        "f1": "harmonic mean of BERTScore precision and recall",
    }
    return tuple(
        Measure(
            name=f"bertscore_{name}",
            direction="higher",
            low=None if rescaled else -1.0,
            high=1.0,
            unit="cosine, rescaled" if rescaled else "cosine",
            needs=frozenset({"references"}),
            version=_version(encoder, how),
            source="Zhang et al. 2020; bert_score, idf off",
            meaning=meaning,
        )
        for name, meaning in meanings.items()
    )


def _version(encoder: Encoder | None, how: str) -> str:
    return f"1; {encoder.name} ({encoder.hash}), {how}" if encoder else "1"
