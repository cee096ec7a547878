"""Classification: the label that a response gives, and what its errors add up to over the set.

Every summary is computed from additive counts per label, so that intervals and comparisons resample it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.data.example import Example
from engine.errors import BadInput
from engine.metrics.answers import NotJson, find_json
from engine.metrics.labels import LabelFinder
from engine.metrics.measures import fraction
from engine.metrics.metric import Score, Sums, missing, no_text
from engine.models.model import Response

NO_LABELS = 'the plan names no labels: [metrics] classification = { labels = ["…", "…"] }'
NO_LABEL = "the example has no label"
NOT_FOUND = "no label found in the response"
_SHOWN = 60


def counts(sums: Sums) -> tuple[Sums, Sums, Sums]:
    """Right answers, examples and answers of each label, [..., k] each, from summed parts [..., 3k + 1].

    The last of the parts counts responses in which no label was found: examples without an answer.
    """
    k = (sums.shape[-1] - 1) // 3
    return sums[..., :k], sums[..., k : 2 * k], sums[..., 2 * k : 3 * k]


def per_class_f1(sums: Sums) -> Sums:
    """F1 of each label, [..., k]; 0 where a label was neither given nor right, as scikit-learn has it."""
    right, support, given = counts(sums)
    return _over(2 * right, support + given)


def combine_macro_f1(sums: Sums) -> Sums:
    """Mean F1 of the labels that occur in the examples or the answers."""
    _, support, given = counts(sums)
    present = support + given > 0
    return _over(per_class_f1(sums).sum(axis=-1), present.sum(axis=-1))


def combine_weighted_f1(sums: Sums) -> Sums:
    """F1 of the labels, weighted by their examples."""
    _, support, _ = counts(sums)
    return _over((per_class_f1(sums) * support).sum(axis=-1), support.sum(axis=-1))


def combine_kappa(sums: Sums) -> Sums:
    """Cohen's kappa of answers and labels (Cohen 1960); not found is an answer that is never right.

    Not a number where chance alone agrees wholly: one label on both sides.
    """
    right, support, given = counts(sums)
    n = support.sum(axis=-1)
    chance = _over((support * given).sum(axis=-1), n**2)
    with np.errstate(divide="ignore", invalid="ignore"):
        kappa: Sums = (_over(right.sum(axis=-1), n) - chance) / (1 - chance)
    return kappa


def combine_mcc(sums: Sums) -> Sums:
    """Matthews' correlation for several labels (Gorodkin 2004); 0 where one side has a single label."""
    right, support, given = counts(sums)
    n = support.sum(axis=-1)
    covariance = right.sum(axis=-1) * n - (support * given).sum(axis=-1)
    answers = (given**2).sum(axis=-1) + sums[..., -1] ** 2
    spread = (n**2 - answers) * (n**2 - (support**2).sum(axis=-1))
    return _over(covariance, np.sqrt(spread))


@dataclass(frozen=True, slots=True)
class ClassRow:
    """One label's line in a classifier's table: no answers, no precision; no examples, no recall (None)."""

    label: str
    precision: float | None
    recall: float | None
    f1: float
    support: int


def per_class(parts: Sums, labels: Sequence[str]) -> list[ClassRow]:
    """The table of the labels (sorted, as `LabelFinder` has them) from the examples' parts [n, 3k + 1]."""
    sums = parts.sum(axis=0)
    right, support, given = counts(sums)
    return [
        ClassRow(
            label,
            float(right[place] / given[place]) if given[place] else None,
            float(right[place] / support[place]) if support[place] else None,
            float(per_class_f1(sums)[place]),
            int(support[place]),
        )
        for place, label in enumerate(labels)
    ]


def confusion(parts: Sums) -> NDArray[np.int64]:
    """Examples by label and answer (the last column: not found), [k, k + 1], from parts [n, 3k + 1]."""
    k = (parts.shape[-1] - 1) // 3
    matrix = np.zeros((k, k + 1), dtype=np.int64)
    np.add.at(matrix, (parts[:, k : 2 * k].argmax(axis=1), parts[:, 2 * k :].argmax(axis=1)), 1)
    return matrix


class Classification:
    """Accuracy, F1, agreement and the share of responses without a label.

    Settings: `labels`, all of them; `field`, the key of the JSON that holds the label ("result.category" for
    a nested one), without which it is sought in the text. A response without a label counts as wrong.
    """

    measures = (
        fraction("accuracy", "responses that give the example's label", "rule", needs=["label"]),
        replace(
            fraction(
                "label_not_found",
                "responses in which no label could be found (they count as wrong)",
                "rule",
                needs=["label"],
            ),
            direction="lower",
        ),
        fraction(
            "macro_f1",
            "F1 of each label, averaged over labels",
            "scikit-learn f1_score, macro",
            needs=["label"],
            unit="F-measure",
            combine=combine_macro_f1,
        ),
        fraction(
            "weighted_f1",
            "F1 of each label, weighted by its examples",
            "scikit-learn f1_score, weighted",
            needs=["label"],
            unit="F-measure",
            combine=combine_weighted_f1,
        ),
        replace(
            fraction(
                "kappa",
                "agreement with the labels beyond chance",
                "Cohen 1960; scikit-learn cohen_kappa_score",
                needs=["label"],
                unit="kappa",
                combine=combine_kappa,
            ),
            low=-1.0,
        ),
        replace(
            fraction(
                "mcc",
                "correlation of answers and labels, fair to rare labels",
                "Matthews 1975, Gorodkin 2004; scikit-learn matthews_corrcoef",
                needs=["label"],
                unit="correlation",
                combine=combine_mcc,
            ),
            low=-1.0,
        ),
    )

    def __init__(self, labels: Sequence[str] = (), field: str | None = None) -> None:
        if field is not None and not (isinstance(field, str) and field):
            raise BadInput(f"metrics.classification.field: expected a key of the JSON, found {field!r}.")
        self._finder = LabelFinder(labels, "metrics.classification.labels")
        self._field = field

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels in the order of the parts."""
        return self._finder.labels

    def score(self, example: Example, response: Response) -> list[Score]:
        wanted = self._finder.place(example.label) if example.label is not None else None
        if wanted is None:
            return missing(self.measures, self._no_label(example))
        if response.text is None:
            return missing(self.measures, no_text(response))
        given, reason = self._answer(response.text)
        parts = self._parts(wanted, given)
        hit = float(given == wanted)
        return [
            Score("accuracy", hit, reason),
            Score("label_not_found", float(given is None), reason),
            *(Score(measure.name, hit, reason, parts) for measure in self.measures[2:]),
        ]

    def _no_label(self, example: Example) -> str:
        if not self.labels:
            return NO_LABELS
        if example.label is None:
            return NO_LABEL
        return f"the example's label {example.label[:_SHOWN]!r} is none of the plan's labels"

    def _answer(self, text: str) -> tuple[int | None, str | None]:
        """Which label the response gives, and why none, or which."""
        if self._field is None:
            place = self._finder.find(text)
            reason = NOT_FOUND
        else:
            try:
                value = _field(find_json(text), self._field)
            except NotJson as error:
                return None, str(error)
            place = None if value is None else self._finder.place(value)
            reason = (
                f"the field {self._field!r} holds no label" if value is None else f"found {value[:_SHOWN]!r}"
            )
        return place, reason if place is None else f"found {self.labels[place]!r}"

    def _parts(self, wanted: int, given: int | None) -> tuple[float, ...]:
        k = len(self.labels)
        parts = [0.0] * (3 * k + 1)
        parts[k + wanted] = 1.0
        parts[3 * k if given is None else 2 * k + given] = 1.0
        if given == wanted:
            parts[wanted] = 1.0
        return tuple(parts)


def _field(value: Any, path: str) -> str | None:
    """The text, number or truth value under a dotted path of keys, as JSON writes it."""
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, str | int | float) else None


def _over(numerator: Sums, denominator: Sums) -> Sums:
    """A ratio that is 0 over nothing."""
    empty = denominator == 0
    ratio: Sums = np.where(empty, 0.0, numerator / np.where(empty, 1.0, denominator))
    return ratio
