"""Metrics that read responses with a local model: classifiers, BERTScore, the cosine of embeddings.

A model is found and checked when the metric is made, and loaded when it is first used.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, TypeVar

from engine.data.example import Example
from engine.errors import BadInput
from engine.metrics.metric import Direction, Measure, Score, gap, missing, no_text
from engine.models import cores
from engine.models.fingerprint import FileHashes, model_hash
from engine.models.folder import check_model_folder
from engine.models.model import Response
from engine.plan.errors import listed
from engine.plan.paths import read_json

Result = TypeVar("Result")

# These families count positions from after the padding token's.
_OFFSET_FAMILIES = {
    "roberta",
    "xlm-roberta",
    "xlm-roberta-xl",
    "camembert",
    "longformer",
    "roberta-prelayernorm",
}
_HASHES = FileHashes()
NO_CLASSIFIER = "no classifier is named: set metrics.{}.model to a folder or hub id"


@dataclass(frozen=True, slots=True)
class KnownClassifier:
    """A public classifier of toxicity: its hub id, its toxic label, and whether several labels can hold."""

    path: str
    label: str
    several: bool


# By the names under which a plan may ask for them.
CLASSIFIERS = {
    "toxic-bert": KnownClassifier("unitary/toxic-bert", "toxic", several=True),  # Detoxify's "original"
    # The one of Hugging Face's `evaluate`.
    "roberta-hate-speech": KnownClassifier(
        "facebook/roberta-hate-speech-dynabench-r4-target", "hate", several=False
    ),
    # Hartvigsen et al. 2022; its labels have no names.
    "toxigen-roberta": KnownClassifier("tomh/toxigen_roberta", "LABEL_1", several=False),
}
_TOXIC = ("toxic", "toxicity", "hate", "offensive", "abusive", "hateful")
_POSITIVE = ("positive", "pos")

NO_MODEL = "no model is named: set metrics.{}.model to a folder or hub id"
TOO_LARGE = "a text does not fit into memory"
CUT = "only the first {} tokens were read"
WINDOWED = "read in windows of {} tokens, the model's context"
# The layer that agrees best with people, by model (bert_score.utils.model2layers).
LAYERS = {
    "bert-base-uncased": 9, "bert-large-uncased": 18, "bert-base-multilingual-cased": 9,
    "roberta-base": 10, "roberta-large": 17, "distilbert-base-uncased": 5, "xlm-roberta-base": 9,
    "xlm-roberta-large": 17, "deberta-large-mnli": 18, "deberta-xlarge-mnli": 40,
}  # fmt: skip

Pair = tuple[Example, Response]
Three = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class EncodedText:
    """A model's encoding of one text.

    `vectors` are float32 on the CPU, [tokens, width]; `counted` [tokens] is False for the tokens that the
    tokenizer puts at the start and end. `long` says that the text was longer than the model's context.
    """

    vectors: Any
    counted: Any
    long: bool


class Encoder:
    """A transformers model from a folder or the hub cache, on the GPU if there is one.

    `setting` is what a person wrote ("metrics.bertscore.model"). Raises BadInput when the model's files are
    not on this machine: no network is used.
    """

    def __init__(self, path: str, setting: str, batch_size: int, head: str = "AutoModel") -> None:
        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
            place = f"{setting.rpartition('.')[0]}.batch_size"
            raise BadInput(f"{place}: found {batch_size!r}; allowed: a whole number from 1")
        try:
            self.folder = check_model_folder(path)
        except BadInput as error:
            raise BadInput(f"{setting}: {error.message}", error.hint) from error
        self.name = path
        self.config = read_json(self.folder / "config.json")
        self.hash = model_hash(self.folder, _HASHES)[:8]
        self.batch_size = batch_size
        self._head = head
        self._loaded: tuple[Any, Any] | None = None

    @property
    def layers(self) -> int:
        return int(self.config.get("num_hidden_layers") or self.config.get("n_layers") or 0)

    def load(self) -> tuple[Any, Any]:
        """The tokenizer, and the model in float32."""
        if self._loaded is None:
            import torch
            import transformers

            device = "cuda" if torch.cuda.is_available() else "cpu"
            kind = getattr(transformers, self._head)
            model = kind.from_pretrained(self.folder, local_files_only=True, dtype=torch.float32)
            tokenizer = transformers.AutoTokenizer.from_pretrained(self.folder, local_files_only=True)
            if tokenizer.pad_token is None:
                tokenizer.pad_token = tokenizer.eos_token
            tokenizer.padding_side = "right"
            self._loaded = tokenizer, model.to(device).eval()
        if self._loaded[1].device.type == "cpu":
            cores.compute()
        return self._loaded

    def context(self) -> int:
        """The most tokens that the model reads at once, those at the ends included."""
        tokenizer, model = self.load()
        positions = getattr(model.config, "max_position_embeddings", None) or 512
        if model.config.model_type in _OFFSET_FAMILIES:
            positions -= (model.config.pad_token_id or 0) + 1
        return int(min(positions, tokenizer.model_max_length))

    def read(self, texts: Sequence[str], layer: int, windows: bool) -> list[EncodedText | None]:
        """Each text's hidden states after `layer` layers; None for one that does not fit into memory.

        With `windows` a text longer than the context is read in windows that overlap by half; of an overlap,
        the first half is taken from the earlier window and the second from the later. Without, it is cut.
        """
        return self.batched(texts, lambda batch: self._read(batch, layer, windows))

    def batched(
        self, texts: Sequence[str], run: Callable[[Sequence[str]], Sequence[Result]]
    ) -> list[Result | None]:
        """Runs texts in batches of like length, halved when memory is short, and puts them back in order."""
        from engine.models.rows import in_batches

        order = sorted(range(len(texts)), key=lambda place: len(texts[place]), reverse=True)
        results: list[Result | None] = [None] * len(texts)

        def work(places: Sequence[int]) -> list[Result | None]:
            return list(run([texts[place] for place in places]))

        done: Iterator[list[Result | None]] = in_batches(
            order, self.batch_size, work, lambda _: None, lambda _: None
        )
        places = iter(order)
        for batch in done:
            for result in batch:
                results[next(places)] = result
        return results

    def tokens(self, texts: Sequence[str], overlap: int = 0) -> tuple[Any, list[list[int]], list[bool]]:
        """The texts' tokens [rows, longest], the rows of each text, and which are longer than the context.

        A long text has several rows, which overlap by so many tokens; a tokenizer in Python only cuts it.
        """
        tokenizer, _ = self.load()
        taken, fast = [encodable(text) for text in texts], tokenizer.is_fast
        batch = tokenizer(
            taken,
            padding=True,
            truncation=True,
            max_length=self.context(),
            stride=overlap if fast else 0,
            return_overflowing_tokens=fast,
            return_special_tokens_mask=True,
            return_tensors="pt",
        )
        if not fast:
            whole = tokenizer(taken)["input_ids"]
            return batch, [[row] for row in range(len(texts))], [len(ids) > self.context() for ids in whole]
        rows: list[list[int]] = [[] for _ in texts]
        for row, owner in enumerate(batch["overflow_to_sample_mapping"].tolist()):
            rows[owner].append(row)
        return batch, rows, [len(own) > 1 for own in rows]

    def _read(self, texts: Sequence[str], layer: int, windows: bool) -> list[EncodedText]:
        import torch

        tokenizer, model = self.load()
        overlap = max(self.context() - tokenizer.num_special_tokens_to_add(), 0) // 2
        batch, rows, long = self.tokens(texts, overlap if windows else 0)
        ids, mask, added = (
            batch["input_ids"],
            batch["attention_mask"].bool(),
            batch["special_tokens_mask"].bool(),
        )
        wanted = [row for own in rows for row in (own if windows else own[:1])]
        read: dict[int, tuple[Any, Any, Any]] = {}
        with torch.inference_mode():
            for start in range(0, len(wanted), self.batch_size):
                part = wanted[start : start + self.batch_size]
                inputs = {key: batch[key][part].to(model.device) for key in ("input_ids", "attention_mask")}
                states = model(**inputs, output_hidden_states=True).hidden_states[layer].float().cpu()
                for place, row in enumerate(part):
                    kept = mask[row]
                    read[row] = states[place][kept], ids[row][kept], added[row][kept]
        ends = [tokenizer.cls_token_id, tokenizer.sep_token_id]
        outside = torch.tensor([end for end in ends if end is not None], dtype=ids.dtype)
        found = []
        for own, longer in zip(rows, long, strict=True):
            windowed = [read[row] for row in own if row in read]
            vectors, tokens = _joined(windowed, overlap) if len(windowed) > 1 else windowed[0][:2]
            found.append(EncodedText(vectors, ~torch.isin(tokens, outside), longer))
        return found


def _joined(windows: Sequence[tuple[Any, Any, Any]], overlap: int) -> tuple[Any, Any]:
    """Vectors and tokens of a text read in windows: each token once, special ones only at the ends."""
    import torch

    vectors, tokens = [], []
    for place, (states, ids, added) in enumerate(windows):
        first, last = place == 0, place == len(windows) - 1
        inner = (~added).nonzero().flatten()
        start = 0 if first else int(inner[0]) + overlap - overlap // 2
        end = len(ids) if last else int(inner[-1]) + 1 - overlap // 2
        vectors.append(states[start:end])
        tokens.append(ids[start:end])
    return torch.cat(vectors), torch.cat(tokens)


def encodable(text: str) -> str:
    """The text with lone surrogates replaced, which no tokenizer accepts."""
    return text.encode("utf-8", "replace").decode("utf-8")


@dataclass(frozen=True, slots=True)
class Asked:
    """A classifier's question: the metric's name, the label, and the meaning of its probability.

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

    `model` is a folder or hub id, `label` the label's name where it is not a usual one. Raises
    BadInput when the model is not on this machine, or has no such label.
    """

    def __init__(
        self, asked: Asked, model: str, label: str, batch_size: int, *, several: bool | None = None
    ) -> None:
        head = "AutoModelForSequenceClassification"
        self._asked = asked
        self._several = several
        self._encoder = Encoder(model, f"metrics.{asked.metric}.model", batch_size, head) if model else None
        self._label = _label_place(self._encoder, asked, label) if self._encoder else 0
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
                meaning=f"probability that {asked.meaning}, by the classifier",
            ),
        )

    def score(self, example: Example, response: Response) -> list[Score]:
        return self.score_many([(example, response)])[0]

    def score_many(self, pairs: Sequence[Pair]) -> list[list[Score]]:
        """Scores of all pairs, in batches."""
        if self._encoder is None:
            return [missing(self.measures, NO_CLASSIFIER.format(self._asked.metric)) for _ in pairs]
        texts = list(dict.fromkeys(response.text for _, response in pairs if response.text is not None))
        found = dict(zip(texts, self._encoder.batched(texts, self._classify), strict=True))
        return [[self._score(response, found)] for _, response in pairs]

    def _score(self, response: Response, found: dict[str, tuple[float, bool] | None]) -> Score:
        name = self._asked.metric
        if response.text is None:
            return Score(name, None, no_text(response))
        read = found[response.text]
        if read is None:
            return Score(name, None, TOO_LARGE)
        value, cut = read
        assert self._encoder is not None
        return Score(name, value, CUT.format(self._encoder.context()) if cut else None)

    def _classify(self, texts: Sequence[str]) -> list[tuple[float, bool]]:
        """Each text's probability, and whether only its start was read."""
        import torch

        assert self._encoder is not None
        _, model = self._encoder.load()
        batch, rows, long = self._encoder.tokens(texts)
        with torch.inference_mode():
            inputs = {key: batch[key].to(model.device) for key in ("input_ids", "attention_mask")}
            found = _probabilities(model(**inputs).logits, model.config, self._several)
            values = found[:, self._label].tolist()
        return [
            (self._asked.of_pieces([values[row] for row in own]), longer and len(own) == 1)
            for own, longer in zip(rows, long, strict=True)
        ]


class Toxicity(TextClassifier):
    """The probability of the toxic label by a transformers text-classification model.

    `model` is a folder, a hub id or a name of CLASSIFIERS, `label` the label's name where it is not a usual
    one. A text longer than the model's context is read in pieces, and the worst one counts.
    """

    def __init__(self, model: str = "", label: str = "", batch_size: int = 32) -> None:
        asked = Asked("toxicity", "toxic", _TOXIC, "lower", "the response is toxic", max)
        if known := CLASSIFIERS.get(model):
            model, label = known.path, label or known.label
        super().__init__(asked, model, label, batch_size, several=known.several if known else None)


class Sentiment(TextClassifier):
    """The probability of the positive label by a transformers text-classification model.

    For counterfactual prompts, where a difference between groups counts and neither end is better. Of a text
    longer than the model's context the mean over its pieces counts.
    """

    def __init__(self, model: str = "", label: str = "", batch_size: int = 32) -> None:
        asked = Asked("sentiment", "positive", _POSITIVE, "none", "the response is positive in tone", fmean)
        super().__init__(asked, model, label, batch_size)


def _probabilities(logits: Any, config: Any, several: bool | None) -> Any:
    """Labels that exclude one another share 1; several at once, or a single one, are independent.

    `several` None: as the configuration says, by the rule of transformers' text-classification pipeline.
    """
    if several is None:
        several = config.problem_type == "multi_label_classification"
    alone = config.num_labels == 1 or several
    return logits.sigmoid() if alone else logits.softmax(dim=-1)


def _label_place(encoder: Encoder, asked: Asked, label: str) -> int:
    """The place of the label among the model's. Raises BadInput, with its labels, and for a regression."""
    if encoder.config.get("problem_type") == "regression":
        raise BadInput(
            f"metrics.{asked.metric}.model: {encoder.name} gives numbers of a regression, not probabilities",
            "name a model that classifies",
        )
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


def match(candidate: EncodedText, reference: EncodedText) -> Three:
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

    Version 2: a text longer than the model's context is read in windows, where bert-score cuts it.

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
        # As bert-score does.
        read = _read_all(self._encoder, pairs, self._layer, str.strip, windows=True)
        return [self._score(example, response, read) for example, response in pairs]

    def _score(
        self, example: Example, response: Response, read: dict[str, EncodedText | None]
    ) -> list[Score]:
        if response.text is None or not example.references:
            return missing(self.measures, gap(example, response))
        ours = read[response.text.strip()]
        theirs = [read[reference.strip()] for reference in example.references]
        if ours is None or None in theirs:
            return missing(self.measures, TOO_LARGE)
        found = [match(ours, reference) for reference in theirs if reference is not None]
        best = [max(values) for values in zip(*found, strict=True)]
        rescaled = [(value - base) / (1 - base) for value, base in zip(best, self._baseline, strict=True)]
        windows = self._encoder is not None and self._encoder.load()[0].is_fast
        note = _note(WINDOWED if windows else CUT, self._encoder, ours, *theirs)
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
                meaning="similarity of the whole response to the best reference, as vectors",
            ),
        )

    def score(self, example: Example, response: Response) -> list[Score]:
        return self.score_many([(example, response)])[0]

    def score_many(self, pairs: Sequence[Pair]) -> list[list[Score]]:
        """Scores of all pairs, each text read once."""
        if self._encoder is None:
            return [missing(self.measures, NO_MODEL.format("embedding")) for _ in pairs]
        read = _read_all(self._encoder, pairs, -1, str, windows=False)
        return [self._score(example, response, read) for example, response in pairs]

    def _score(
        self, example: Example, response: Response, read: dict[str, EncodedText | None]
    ) -> list[Score]:
        if response.text is None or not example.references:
            return missing(self.measures, gap(example, response))
        texts = [read[text] for text in (response.text, *example.references)]
        whole = [text for text in texts if text is not None]
        if len(whole) < len(texts):
            return missing(self.measures, TOO_LARGE)
        if any(len(text.vectors) == 0 for text in whole):
            return missing(self.measures, "a text without tokens has no vector")
        value = max(cosine(whole[0], reference) for reference in whole[1:])
        return [Score("embedding_cosine", value, _note(CUT, self._encoder, *texts))]


def cosine(one: EncodedText, other: EncodedText) -> float:
    """The cosine of two texts' mean vectors."""
    import torch

    means = [text.vectors.mean(dim=0) for text in (one, other)]
    return float(torch.nn.functional.cosine_similarity(*means, dim=0).clamp(-1.0, 1.0))


def _read_all(
    encoder: Encoder, pairs: Sequence[Pair], layer: int, clean: Any, windows: bool
) -> dict[str, EncodedText | None]:
    texts = {
        clean(text): None
        for example, response in pairs
        if response.text is not None and example.references
        for text in (response.text, *example.references)
    }
    return dict(zip(texts, encoder.read(list(texts), layer, windows), strict=True))


def _note(said: str, encoder: Encoder | None, *texts: EncodedText | None) -> str | None:
    long = any(text is not None and text.long for text in texts)
    return said.format(encoder.context()) if long and encoder else None


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
            version=_version(encoder, how, 2),
            source="Zhang et al. 2020; bert_score, idf off",
            meaning=meaning,
        )
        for name, meaning in meanings.items()
    )


def _version(encoder: Encoder | None, how: str, number: int = 1) -> str:
    return f"{number}; {encoder.name} ({encoder.hash}), {how}" if encoder else str(number)
