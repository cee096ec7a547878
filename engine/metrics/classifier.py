"""What a local text classifier makes of a response: toxicity, sentiment, whatever its labels say."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from engine.data.example import Example
from engine.errors import BadInput
from engine.metrics.encoder import Encoder, encodable
from engine.metrics.metric import Direction, Measure, Score, missing, no_text
from engine.models.model import Response
from engine.plan.errors import listed

NO_MODEL = "no classifier is named: set metrics.{}.model to a folder or hub id"
TOO_LARGE = "the text does not fit into memory"
_POSITIVE = ("positive", "pos")

Pair = tuple[Example, Response]


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of a classifier: the metric's name, which label, and what its probability means.

    `usual` are the names that the label mostly has; `of_pieces` makes one number of a long text's pieces.
    """

    metric: str
    label: str
    usual: tuple[str, ...]
    direction: Direction
    meaning: str
    of_pieces: Callable[[Sequence[float]], float]


class TextClassifier:
    """The probability of one label by a transformers text-classification model, for each response.

    `model` is a folder or hub id, `label` the label's name where it is none of the usual ones. Raises
    BadInput when the model is not at hand, or has no such label.
    """

    def __init__(self, asked: Asked, model: str, label: str, batch_size: int) -> None:
        head = "AutoModelForSequenceClassification"
        self._asked = asked
        self._encoder = Encoder(model, f"metrics.{asked.metric}.model", batch_size, head) if model else None
        self._label = _place(self._encoder, asked, label) if self._encoder else 0
        encoder = self._encoder
        self.measures = (
            Measure(
                name=asked.metric,
                direction=asked.direction,
                low=0.0,
                high=1.0,
                unit="probability",
                needs=frozenset(),
                version=f"1; {encoder.name} ({encoder.hash}), label {self._label}" if encoder else "1",
                source="the classifier that the plan names; transformers text-classification",
                meaning=f"probability that {asked.meaning}, as the classifier sees it",
            ),
        )

    def score(self, example: Example, response: Response) -> list[Score]:
        return self.score_many([(example, response)])[0]

    def score_many(self, pairs: Sequence[Pair]) -> list[list[Score]]:
        """Scores of all pairs, in batches."""
        if self._encoder is None:
            return [missing(self.measures, NO_MODEL.format(self._asked.metric)) for _ in pairs]
        texts = list(dict.fromkeys(response.text for _, response in pairs if response.text is not None))
        found = dict(zip(texts, self._encoder.batched(texts, self._classify), strict=True))
        return [[self._score(response, found)] for _, response in pairs]

    def _score(self, response: Response, found: dict[str, float | None]) -> Score:
        name = self._asked.metric
        if response.text is None:
            return Score(name, None, no_text(response))
        value = found[response.text]
        return Score(name, value, TOO_LARGE if value is None else None)

    def _classify(self, texts: Sequence[str]) -> list[float]:
        import torch

        assert self._encoder is not None
        tokenizer, model = self._encoder.load()
        batch = tokenizer(
            [encodable(text) for text in texts],
            padding=True,
            truncation=True,
            max_length=self._encoder.context(),
            return_overflowing_tokens=True,
            return_tensors="pt",
        )
        owners = batch["overflow_to_sample_mapping"].tolist()
        with torch.inference_mode():
            inputs = {key: batch[key].to(model.device) for key in ("input_ids", "attention_mask")}
            values = _probabilities(model(**inputs).logits, model.config)[:, self._label].tolist()
        pieces: list[list[float]] = [[] for _ in texts]
        for owner, value in zip(owners, values, strict=True):
            pieces[owner].append(value)
        return [self._asked.of_pieces(values) for values in pieces]


class Sentiment(TextClassifier):
    """The probability of the positive label by a transformers text-classification model.

    For counterfactual prompts, where a difference between groups counts and neither end is better. Of a text
    longer than the model's context the mean over its pieces counts.
    """

    def __init__(self, model: str = "", label: str = "", batch_size: int = 32) -> None:
        asked = Asked("sentiment", "positive", _POSITIVE, "none", "the response is positive in tone", fmean)
        super().__init__(asked, model, label, batch_size)


def _probabilities(logits: Any, config: Any) -> Any:
    """Labels that exclude one another share 1; several at once, or a single one, stand for themselves."""
    alone = config.num_labels == 1 or config.problem_type == "multi_label_classification"
    return logits.sigmoid() if alone else logits.softmax(dim=-1)


def _place(encoder: Encoder, asked: Asked, label: str) -> int:
    """The place of the label among the model's. Raises BadInput, with its labels."""
    # transformers leaves its own two out of the file.
    known = encoder.config.get("id2label", {0: "LABEL_0", 1: "LABEL_1"})
    names = {int(place): str(name) for place, name in known.items()}
    for name in [label.casefold()] if label else asked.usual:
        for place, own in names.items():
            if own.casefold() == name:
                return place
    if not label and len(names) == 1:
        return next(iter(names))
    what = f'has no label "{label}"' if label else f"has no label that says {asked.label}"
    raise BadInput(
        f"metrics.{asked.metric}.label: {encoder.name} {what}",
        f"Its labels: {listed(names.values()) or 'none'}.",
    )
