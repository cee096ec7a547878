"""Evaluation questions whose meaning stands in the training data: nearest neighbours of embeddings.

The only part of this folder that needs torch and transformers; both are imported when a model is loaded.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from engine.data.example import Example
from engine.data.leak import EXCERPT_LENGTH, Leak, questions, same_answer, training_text, turns_of
from engine.errors import BadInput

SAME_MEANING = 0.85  # least cosine for models without a measured one: finds little, and little that is wrong
_NEIGHBOURS = 8  # of a question in one stretch of training rows, the nearest of which may be a template
_POOLINGS = {"pooling_mode_cls_token": "cls", "pooling_mode_mean_tokens": "mean"}
_AT_ONCE = 64  # texts of one batch


class Embedder(Protocol):
    """Turns texts into vectors of length 1."""

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """One row per text, shape (texts, dimensions)."""


class MeasuredModel(NamedTuple):
    """The least cosine at which one model takes two questions for the same, as measured on public pairs.

    A model is known by what it computes, since names and architectures are shared by models whose cosines
    differ: `dimensions`, and `cosines` between the texts of PROBE, first and second, first and third, second
    and third, within TOLERANCE.
    """

    name: str
    dimensions: int
    cosines: tuple[float, float, float]
    least: float


PROBE = (
    "How do I reset my password?",
    "I forgot my password, what should I do?",
    "Which city is the capital of France?",
)
TOLERANCE = 0.01  # half precision and other kernels stay well within it
# The least with the highest mean F1 over the sets of docs/data.md, which has the figures.
MEASURED: tuple[MeasuredModel, ...] = (
    MeasuredModel("all-MiniLM-L6-v2", 384, (0.829, 0.053, 0.015), 0.74),  # mean F1 0.88 over six sets
    MeasuredModel("all-mpnet-base-v2", 768, (0.793, 0.049, 0.039), 0.71),  # mean F1 0.86 over five of them
)


def measured(embedder: Embedder) -> MeasuredModel | None:
    """What was measured for this model, None where nothing was."""
    first, second, third = vectors = embedder.embed(PROBE)
    cosines = (first @ second, first @ third, second @ third)
    return next(
        (
            known
            for known in MEASURED
            if known.dimensions == vectors.shape[1] and np.allclose(known.cosines, cosines, 0, TOLERANCE)
        ),
        None,
    )


class LocalEmbedder:
    """A sentence-transformers model in a local folder, run through transformers.

    Pooling is what `1_Pooling/config.json` says (CLS or mean), the mean where there is none, as
    sentence-transformers does. Raises BadInput for a folder without a model, and for other poolings.
    """

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        if not (folder / "config.json").is_file():
            raise BadInput(
                f"{folder}: holds no model (no config.json)",
                "Name the folder of a sentence-transformers model that was downloaded before.",
            )
        self._pooling = _pooling(folder)
        from transformers import AutoModel, AutoTokenizer

        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            self._model: Any = AutoModel.from_pretrained(folder, local_files_only=True).to(device).eval()
        except (OSError, ValueError) as error:
            raise BadInput(f"{folder}: cannot be loaded as a model: {error}") from error
        if self._tokenizer.pad_token is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token
        self._device = device

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """One row per text, shape (texts, dimensions); longer texts are cut at the model's length."""
        batches = [texts[at : at + _AT_ONCE] for at in range(0, len(texts), _AT_ONCE)]
        return np.concatenate([self._batch(list(batch)) for batch in batches])

    def _batch(self, texts: list[str]) -> NDArray[np.float32]:
        import torch

        limit = min(self._tokenizer.model_max_length, 512)
        inputs = self._tokenizer(
            texts, padding=True, truncation=True, max_length=limit, return_tensors="pt"
        ).to(self._device)
        with torch.inference_mode():
            states = self._model(**inputs).last_hidden_state.float()
        if self._pooling == "cls":
            pooled = states[:, 0]
        else:
            weights = inputs["attention_mask"].unsqueeze(-1).float()
            pooled = (states * weights).sum(1) / weights.sum(1).clamp(min=1e-9)
        vectors: NDArray[np.float32] = torch.nn.functional.normalize(pooled, dim=1).cpu().numpy()
        return vectors


def _pooling(folder: Path) -> str:
    file = folder / "1_Pooling" / "config.json"
    if not file.is_file():
        return "mean"
    settings = json.loads(file.read_text("utf-8"))
    used = [key for key, value in settings.items() if key.startswith("pooling_mode_") and value is True]
    known = [_POOLINGS[key] for key in used if key in _POOLINGS]
    if len(used) != 1 or not known:
        raise BadInput(f"{file}: pools by {', '.join(used) or 'nothing'}; only CLS and mean are known")
    return known[0]


class Meaning:
    """The evaluation set by the meaning of its questions; found are training questions within `least`.

    Without `least`, it is the one measured for the model, or SAME_MEANING; `known` tells which, and `rule`
    says it. Under another answer they are similar, and no leak.
    """

    def __init__(self, evaluation: Sequence[Example], embedder: Embedder, least: float | None = None) -> None:
        self.known = measured(embedder) if least is None else None
        self.least = least if least is not None else self.known.least if self.known else SAME_MEANING
        self.calibrated = least is not None or self.known is not None
        self._examples, self._embedder = evaluation, embedder
        self._vectors = embedder.embed(["\n".join(turns_of(example, "user")) for example in evaluation])
        self._best: dict[int, Leak] = {}

    @property
    def rule(self) -> str:
        """The least cosine and where it comes from, for people."""
        if self.known:
            origin = f"calibrated for {self.known.name}"
        else:
            origin = "as set" if self.calibrated else "a general value: not calibrated for this model"
        return f"the same meaning: cosine of at least {self.least:g}, {origin}"

    def look_up(self, rows: Sequence[Example]) -> None:
        """Compares the questions of some training rows."""
        texts = [(row, text) for row in rows for text in questions(row) if text.strip()]
        if not texts:
            return
        alike = self._embedder.embed([text for _, text in texts]) @ self._vectors.T
        for number in np.flatnonzero(alike.max(axis=0) >= self.least).tolist():
            for place in np.argsort(-alike[:, number], kind="stable")[:_NEIGHBOURS].tolist():
                if alike[place, number] >= self.least:
                    row, text = texts[place]
                    self._keep(number, row, text, float(alike[place, number]))

    def _keep(self, number: int, row: Example, text: str, score: float) -> None:
        example, kept = self._examples[number], self._best.get(number)
        same = same_answer(example, row)
        similar, close = same is False, round(score, 4)
        if kept is not None and (kept.similar, -kept.score) <= (similar, -close):
            return
        found = text[:EXCERPT_LENGTH]
        self._best[number] = Leak(
            example.id, "meaning", close, row.line, "both" if same else "query", found,
            training_text(row, found), similar,
        )  # fmt: skip

    def leaks(self) -> Iterator[tuple[int, Leak]]:
        """What was found, with the example's place in the evaluation set."""
        yield from self._best.items()
