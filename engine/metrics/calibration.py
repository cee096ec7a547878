"""Calibration: whether a model's probability of its answer is how often that answer is right.

The answers are those of multiple-choice questions and of label tasks. A model's probability of each is its
likelihood as the answer to the prompt, as a share of all of them (the rule of lm-eval's `acc`, not normalised
by length). Local weights give likelihoods of any answers; servers give those of an answer's first token.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from engine.data.choices import labels_listed
from engine.data.example import Example, normalise
from engine.metrics.metric import Measure, Score, fraction, missing
from engine.models.model import Response
from engine.stats.calibration import COVERAGE, calibration_error, covered

NAME = "calibration"
NO_CHOICES = "the example has no lettered choices, and the plan's classification metric no labels"
NO_RIGHT = "none of the example's references names one of its choices"
IN_JSON = "the labels are answered in JSON (metrics.classification.field), not alone"
RECORDED = "answers made elsewhere come without probabilities"
FEW = "a calibration error needs 20 examples"
_SOURCE = "softmax over the log-likelihoods of the answers"
_NEEDS = frozenset({"references", "weights"})

BRIER = Measure(
    name="brier",
    direction="lower",
    low=0.0,
    high=2.0,
    unit="squared error",
    needs=_NEEDS,
    version="1",
    source="Brier 1950; scikit-learn brier_score_loss, several classes",
    meaning="squared distance of the answers' probabilities from 1 for the right one and 0 for the others",
)
CONFIDENCE = replace(
    fraction("confidence", "probability of the likeliest answer", _SOURCE, needs=_NEEDS),
    direction="none",
)
CHOSEN = fraction(
    "choice_accuracy",
    "examples whose likeliest answer is the right one",
    _SOURCE,
    needs=_NEEDS,
)
ERROR = Measure(
    name="ece",
    direction="lower",
    low=0.0,
    high=1.0,
    unit="share",
    needs=_NEEDS,
    version="1",
    source="Naeini et al. 2015, bins of equal mass; corrected for chance after Kumar et al. 2019",
    meaning="expected calibration error: how far confidence is from how often the answers are right",
    combine=calibration_error,
)
SURE = fraction(
    f"accuracy@{COVERAGE:.0%}",
    f"accuracy on the {COVERAGE:.0%} of the examples of which the model is surest",
    "selective prediction (El-Yaniv & Wiener 2010)",
    needs=_NEEDS,
)


def of_task(measure: Measure, task: str) -> Measure:
    """The same measure of a benchmark task: "ece:arc_easy"."""
    return replace(
        measure,
        name=f"{measure.name}:{task}",
        needs=frozenset({"weights"}),
        meaning=f"{measure.meaning}; benchmark {task}",
    )


@dataclass(frozen=True, slots=True)
class AnswerSet:
    """What an example may be answered with, and the place of the right answer among it."""

    texts: tuple[str, ...]
    correct: int


def answers_to(example: Example, labels: Sequence[str] = (), field: str | None = None) -> AnswerSet | str:
    """The example's possible answers: the plan's labels where it has one of them, else its lettered choices.

    A text says why there are none.
    """
    wanted = None if example.label is None else normalise(example.label)
    known = [normalise(label) for label in labels]
    if wanted in known:
        return IN_JSON if field else AnswerSet(tuple(labels), known.index(wanted))
    letters = labels_listed(example.query)
    if not letters:
        return NO_CHOICES
    place = next((letters.index(said) for said in example.references if said in letters), None)
    return NO_RIGHT if place is None else AnswerSet(letters, place)


def probabilities(likelihoods: Sequence[float]) -> list[float]:
    """Each answer's share, from log-likelihoods in nats."""
    most = max(likelihoods)
    shares = [math.exp(likelihood - most) for likelihood in likelihoods]
    total = sum(shares)
    return [share / total for share in shares]


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a model's probabilities come to on one example; `right` is 1 where its likeliest answer is."""

    brier: float
    confidence: float
    right: float


def forecast(likelihoods: Sequence[float], correct: int) -> Forecast:
    """From the log-likelihoods in nats; of equally likely answers the first is the likeliest."""
    shares = probabilities(likelihoods)
    likeliest = shares.index(max(shares))
    brier = sum((share - (place == correct)) ** 2 for place, share in enumerate(shares))
    return Forecast(brier, shares[likeliest], float(likeliest == correct))


class AnswerCalibration:
    """The measures of probabilities. Responses alone give none: see `engine.phases.scoring.calibration`.

    `of_all` are those over all examples together: the parts of one do not add up to them.
    """

    measures: tuple[Measure, ...] = (BRIER, CONFIDENCE, CHOSEN)
    of_all: tuple[Measure, ...] = (ERROR, SURE)

    def score(self, example: Example, response: Response) -> list[Score]:
        return missing(self.measures, RECORDED)


def scores_of(found: Forecast | str, answers: AnswerSet | None = None) -> list[Score]:
    """The measures of one example; a text says why they are missing."""
    if isinstance(found, str):
        return missing(AnswerCalibration.measures, found)
    said = None
    if answers is not None:
        said = f"right: {answers.texts[answers.correct]}"
    return [
        Score(BRIER.name, found.brier, said),
        Score(CONFIDENCE.name, found.confidence),
        Score(CHOSEN.name, found.right),
    ]


def pairs_of(forecasts: Mapping[Any, Forecast]) -> tuple[np.ndarray, np.ndarray]:
    """Confidence and right, in the mapping's order."""
    rows = np.array([(item.confidence, item.right) for item in forecasts.values()]).reshape(-1, 2)
    return rows[:, 0], rows[:, 1]


def is_kind(measure: Measure, kind: Measure) -> bool:
    """Whether a measure is `kind`, of examples or of a task."""
    return measure.name.partition(":")[0] == kind.name


def forecast_parts(measure: Measure, forecasts: Mapping[str, Forecast]) -> dict[str, tuple[float, float]]:
    """The additive parts of a Brier score, or of the accuracy on the surest examples."""
    if is_kind(measure, BRIER):
        return {key: (item.brier, 1.0) for key, item in forecasts.items()}
    rows = covered(*pairs_of(forecasts))
    return {key: (float(row[0]), float(row[1])) for key, row in zip(forecasts, rows, strict=True)}
