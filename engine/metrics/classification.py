"""Classification: the label of a response, and the summaries of its errors over the set.

Every summary is computed from additive counts per label, so that intervals and comparisons can resample it.
They equal scikit-learn's figures, which cannot be summed. Its tables of labels are scikit-learn's own.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.data.example import Example, normalise
from engine.errors import BadInput
from engine.metrics.json_values import JsonNotFound, find_json
from engine.metrics.metric import Measure, Score, Sums, fraction, missing, no_text
from engine.metrics.text import spaced
from engine.models.model import Response
from engine.stats.intervals import finite

# A hyphen joins words ("non-toxic" is not "toxic"), and so does the point of a decimal number.
_BEFORE = r"(?<![\w-])(?<!\d[.,])"
_AFTER = r"(?![\w-]|[.,]\d)"
NO_LABELS = 'the plan names no labels: [metrics] classification = { labels = ["…", "…"] }'
NO_LABEL = "the example has no label"
NOT_FOUND = "no label found in the response"
_SHOWN = 60
# What may stand between "not" and the label that it denies. Any other word ends its reach: "no complaints, so
# positive" and "not what I hoped for but positive" name their label.
_BETWEEN = (
    r"an?|the|any|at|all|be|been|being|is|are|was|were|it|it's|its|that|this|these|of|as|to|in|into|under|from|so|such|what"
    r"|i|we|i'd|we'd|one|would|could|can|you|really|clearly|quite|very|too|entirely|completely|fully|wholly|purely|overly"
    r"|longer|particularly|especially|necessarily|exactly|actually|even|remotely|think|believe|say|see|consider\w*|find|feel\w*"
    r"|call\w*|classif\w*|labell?\w*|categor\w*|describ\w*|regard\w*|seen|seem\w*|sound\w*|appear\w*|look\w*|express\w*"
    r"|convey\w*|show\w*|contain\w*|suggest\w*|indicat\w*|imply|implies|have|has|having|fall|falls|belong|belongs|count"
    r"|way|means|by|sentiment|review|text|class|case|example|instance|hint|sign|trace|evidence"
    r"|ein\w*|als|zu|der|die|das|wirklich|sehr|ganz|unbedingt|besonders|gerade|eindeutig|du|tout|une?|la|le|vraiment|très"
    r"|être|de|es|parece|está|fue|era|sea|son|se|puede|creo|que|el|muy|ser|como|considerar|realmente|é|um|uma|é|è|sembra"
    r"|essere|molto|является|это|очень|[是属屬于於算能说說会會认認为為这這那条條个個的评評论論应應该該被归歸类類完全太很够夠有任何具可情感正视視作当當]"
)
_REACH = rf"(?: ?(?:{_BETWEEN})(?!'?\w))*+ ?[\"'*_“„«「（(]*$"
# "Never seen such a positive review" denies nothing, nor does "no" before a sentence of its own.
_AS_NEVER_BEFORE = r"(?! (?:\w+ ){0,4}?(?:been|seen|looked|sounded|seemed) (?:so|such)\b)"
_DENIAL = re.compile(
    rf"(?:(?<!\w)(?:not|(?:never|no(?! (?:it|this|that|these|i|we|you|the)\b)){_AS_NEVER_BEFORE}"
    r"|neither|nor|none|nothing|hardly|barely|scarcely|cannot|without|unlike|lacks?|fails"
    r"|(?:is|are|was|were|do|does|did|ca|wo|would|could|should)nt|\w+n't"
    r"|far from|anything but|(?:rather|other|less) than"
    r"|instead of|as opposed to|rul\w+ out|exclud\w+|reject\w+|doubt|by no means"
    r"|nicht|kein\w*|weder|(?<!noch )nie(?:mals)?|nie(?:mals)?(?! (?:\w+ ){0,4}?so\b)"
    r"|kaum|keineswegs|statt|pas|jamais|aucune?|ni|guère|plutôt que"
    r"|nunca|tampoco|ningún|não|nem|non|né|mai|nessun\w?|niet|geen|inte|ikke|не|ни|нет|không|bukan|tidak|ليس|ليست)"
    r"(?!\w|\** (?:only|just|merely|doubt|question|seen such|nur|seulement|sólo|solo|só|только)\b)\**"
    r"|不(?! ?[错錯仅僅但只光过過管论論同断斷])|[并並绝絕而] ?非|没 ?有|沒 ?有|毫 ?无|毫 ?無|未)" + _REACH
)
# A denial that is itself denied: "can't be anything but positive", "no doubt that it is positive".
_AFFIRMED = re.compile(
    r"(?:(?<!\w)(?:(?:not|never|no|nothing|none|hardly|little|cannot|without|beyond|\w+n't)"
    r"(?: (?!(?:and|but|i|we) )\w+){0,4}? (?:anything but|(?:other|less) than|doubt)"
    r"|(?:can't|cannot|couldn't|never|nothing if) not)(?!\w)"
    r"|(?:不 (?:得|能|可|会|會|可 能)|[没沒] 有|[无無莫]) 不)" + _REACH
)
_DENIED_AFTER = re.compile(
    r"[\"'*_”“»」）)]* ?(?:\? ?(?:no\b(?! doubt)|not (?:really|at all|exactly))"
    r"|(?:is|was|would be|can be|does|do|ist|war|est|es)(?: \w+)? (?:not|wrong|incorrect|ruled|nicht|pas)\b"
    r"|(?:isn't|wasn't|doesn't|wouldn't|cannot|can't|değil|नहीं|아니|아닙|아님)"
    r"|(?:で は|じ ゃ|で) (?:な い|な く|あ り ま せ)|的 ?(?:说 ?法|判 ?断) ?(?:不|错))"
)
_OTHERWISE = re.compile(r" ?(?:or|oder|ou|o|nor|noch|ni|или|或|、|/)(?: ?者)?(?: (?:an?|the|in fact))? ?$")


class LabelFinder:
    """Finds labels as whole words: at the start of a text before anywhere in it, and longer ones first.

    So "not sure" is never read as "no". A label that is denied ("not positive") is not given. Case, Unicode
    forms and apostrophes are normalised; scripts without word spaces are matched by character. `labels` holds
    them sorted.
    """

    def __init__(self, labels: Sequence[str], where: str = "labels") -> None:
        if isinstance(labels, str) or not all(isinstance(label, str) and label.strip() for label in labels):
            raise BadInput(f"{where}: expected a list of texts, found {labels!r}.")
        self.labels = tuple(sorted(labels))
        self._places = {_form(label): place for place, label in enumerate(self.labels)}
        if len(self._places) < len(self.labels):
            raise BadInput(f"{where}: two labels are the same except for case, white space or Unicode form.")
        forms = sorted(self._places, key=lambda form: (-len(form), form))
        self._start = re.compile(rf"[\W_]*?({_either(forms)}){_AFTER}")
        self._anywhere = [
            re.compile(f"{_BEFORE}({_either(list(same))}){_AFTER}") for _, same in groupby(forms, key=len)
        ]

    def place(self, text: str) -> int | None:
        """The place in `labels` of a text that is exactly a label, else None."""
        return self._places.get(_form(text))

    def find(self, text: str) -> int | None:
        """The place in `labels` of the label that a text gives; None where it gives none."""
        form = _form(text)
        found = self._start.match(form) if self.labels else None
        if found and _DENIED_AFTER.match(form, found.end()):
            found = None
        for pattern in self._anywhere if self.labels else ():
            given = (match for match in pattern.finditer(form) if not self._denied(form, match))
            found = found or next(given, None)
        return self._places[found.group(1)] if found else None

    def _denied(self, form: str, match: re.Match[str]) -> bool:
        """Whether a label is denied, by itself or with the one before it ("not positive or neutral")."""
        start, earliest = match.start(), max(0, match.start() - _SHOWN)
        denied = _DENIAL.search(form, earliest, start) and not _AFFIRMED.search(form, earliest, start)
        if denied or _DENIED_AFTER.match(form, match.end()):
            return True
        joined = _OTHERWISE.search(form, earliest, start)
        before = (other for pattern in self._anywhere for other in pattern.finditer(form, earliest, start))
        return joined is not None and any(
            other.end() == joined.start() and self._denied(form, other) for other in before
        )


def _form(text: str) -> str:
    return " ".join(spaced(normalise(text).replace("’", "'")).split())


def _either(forms: Sequence[str]) -> str:
    return "|".join(map(re.escape, forms))


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

    NaN if chance agreement is 1: a single label on both sides.
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
    """One label's line in a classifier's table; no answers, no precision; no examples, no recall (None)."""

    label: str
    precision: float | None
    recall: float | None
    f1: float
    support: int


def per_class(parts: Sums, labels: Sequence[str], counts: Sums | None = None) -> list[ClassRow]:
    """scikit-learn's table of the labels from the examples' parts [n, 3k + 1]; `counts` [n]: of each.

    `labels` are sorted, as `LabelFinder` has them. A label that occurs on neither side has F1 0.
    """
    from sklearn.metrics import precision_recall_fscore_support

    truths, answers, weights = _places(parts, counts)
    precision, recall, f1, support = precision_recall_fscore_support(
        truths, answers, labels=range(len(labels)), sample_weight=weights, zero_division=np.nan
    )
    return [
        ClassRow(
            label,
            finite(precision[place]),
            finite(recall[place]),
            finite(f1[place]) or 0.0,
            round(support[place]),
        )
        for place, label in enumerate(labels)
    ]


def confusion(parts: Sums, counts: Sums | None = None) -> list[list[float]]:
    """scikit-learn's table of examples by label and answer, [k, k + 1], from parts [n, 3k + 1].

    `counts` [n] say how many examples have each row of parts, one where they are not given. The last column
    counts examples in whose responses no label was found. An example with several samples counts as one, in
    parts where they differ.
    """
    from sklearn.metrics import confusion_matrix

    truths, answers, weights = _places(parts, counts)
    k = (parts.shape[-1] - 1) // 3
    matrix = confusion_matrix(truths, answers, labels=range(k + 1), sample_weight=weights)[:k]
    return [[int(cell) if cell == int(cell) else round(float(cell), 2) for cell in row] for row in matrix]


def _places(parts: Sums, counts: Sums | None) -> tuple[NDArray[np.intp], NDArray[np.intp], Sums]:
    """The places of each example's label and of its answers, k where none was found, and their weights."""
    k = (parts.shape[-1] - 1) // 3
    given = parts[:, 2 * k :] if counts is None else parts[:, 2 * k :] * counts[:, None]
    examples, answers = given.nonzero()
    return parts[examples, k : 2 * k].argmax(axis=1), answers, given[examples, answers]


class Classification:
    """Accuracy, F1, agreement and the share of responses without a label.

    Settings: `labels`, all of them; `field`, the key of the JSON that holds the label ("result.category" for
    a nested one), without which it is searched in the text. A response without a label counts as wrong.
    """

    measures: tuple[Measure, ...] = (
        fraction(
            "accuracy",
            "responses that give the example's label",
            "rule",
            needs=["label"],
            version="4",
            verdict=True,
        ),
        replace(
            fraction(
                "label_not_found",
                "responses in which no label could be found (they count as wrong)",
                "rule",
                needs=["label"],
                version="4",
            ),
            direction="lower",
        ),
        fraction(
            "macro_f1",
            "F1 of each label, averaged over labels",
            "scikit-learn f1_score, macro",
            needs=["label"],
            version="4",
            unit="F-measure",
            combine=combine_macro_f1,
        ),
        fraction(
            "weighted_f1",
            "F1 of each label, weighted by its examples",
            "scikit-learn f1_score, weighted",
            needs=["label"],
            version="4",
            unit="F-measure",
            combine=combine_weighted_f1,
        ),
        replace(
            fraction(
                "kappa",
                "agreement with the labels beyond chance",
                "Cohen 1960; scikit-learn cohen_kappa_score",
                needs=["label"],
                version="4",
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
                version="4",
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
        if field is not None:  # 2: which of several JSON values in prose counts
            self.measures = tuple(replace(measure, version="2") for measure in self.measures)

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
            except JsonNotFound as error:
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
    """A ratio; 0 if the denominator is 0."""
    empty = denominator == 0
    ratio: Sums = np.where(empty, 0.0, numerator / np.where(empty, 1.0, denominator))
    return ratio
