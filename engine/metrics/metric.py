"""The metric interface, measures, and scores."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from engine.data.example import Example, with_last_references
from engine.models.model import Response

Sums = NDArray[np.float64]
Direction = Literal["higher", "lower", "none"]

NO_REFERENCE = "the example has no reference"
NO_TOKENS = "the response comes without a count of its tokens"


def mean(sums: Sums) -> Sums:
    """Sum of values over sum of weights, along the last axis: the combination of most measures."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio: Sums = sums[..., 0] / sums[..., 1]
    return ratio


@dataclass(frozen=True, slots=True)
class Measure:
    """One number of a metric.

    `low` and `high` are the ends of its range (None = open); `needs` names what a response must have:
    "references", "schema", "calls", "tools", "tokens", "latency", "weights". `combine` turns the sum of the
    examples' parts, an array [..., k], into the value of the whole set, an array [...]; so a corpus value and
    every resampled corpus value come from the same rule. `independent` False says that the examples' values
    are correlated (the answers of one batch share its time), so that their spread gives no interval.
    `verdict`: each response passes (1) or does not (0), so that several samples of it have a pass@k.
    """

    name: str
    direction: Direction
    low: float | None
    high: float | None
    unit: str
    needs: frozenset[str]
    version: str
    source: str
    meaning: str
    combine: Callable[[Sums], Sums] = field(default=mean)
    independent: bool = True
    verdict: bool = False


@dataclass(frozen=True, slots=True)
class Score:
    """One measure's value for one response.

    `value` None means missing, and `reason` says why; beside a value, `reason` explains it (which key broke
    the schema). `parts` are the additive statistics that `Measure.combine` takes; None means (value, 1).
    `samples` are the values of each sample of the answer, where there are several and `value` is their mean.
    """

    measure: str
    value: float | None
    reason: str | None = None
    parts: tuple[float, ...] | None = None
    samples: tuple[float | None, ...] | None = None

    def additive(self) -> tuple[float, ...] | None:
        """The parts to sum over examples; None for a missing score."""
        if self.value is None:
            return None
        return self.parts if self.parts is not None else (self.value, 1.0)


class Metric(Protocol):
    """Scores responses; every measure has a score for every response, missing ones with their reason.

    A metric that is quicker with many at a time, or needs all samples of a task at once, also has
    `score_many(pairs)`, which gives one list of scores for each pair: see `score_pairs`. One of the
    latter kind also has `task(example)`: a hashable that the samples of a task share, None for no task.
    """

    measures: tuple[Measure, ...]

    def score(self, example: Example, response: Response) -> list[Score]: ...


def score_pairs(metric: Metric, pairs: Sequence[tuple[Example, Response]]) -> list[list[Score]]:
    """Each pair's scores, many at a time where the metric can; a conversation counts by its last answer."""
    pairs = [(with_last_references(example), response) for example, response in pairs]
    many = getattr(metric, "score_many", None)
    if many is None:
        return [metric.score(example, response) for example, response in pairs]
    scores: list[list[Score]] = many(pairs)
    return scores


def missing(measures: Iterable[Measure], reason: str) -> list[Score]:
    """A missing score for each measure, all for one reason."""
    return [Score(measure.name, None, reason) for measure in measures]


def no_text(response: Response) -> str:
    """Why a response without text has none."""
    return response.reason or "the model gave no response"


def fraction(
    name: str,
    meaning: str,
    source: str,
    *,
    needs: Iterable[str] = (),
    unit: str = "share",
    version: str = "1",
    combine: Callable[[Sums], Sums] = mean,
    verdict: bool = False,
) -> Measure:
    """A measure from 0 to 1 where higher is better."""
    needed = frozenset(needs)
    return Measure(name, "higher", 0.0, 1.0, unit, needed, version, source, meaning, combine, verdict=verdict)


def gap(example: Example, response: Response) -> str:
    """Why a response can't be set against a reference, where the example has none or the response no text."""
    return no_text(response) if example.references else NO_REFERENCE


def combine_f1(sums: Sums) -> Sums:
    """Micro F1 of summed parts [..., (found rightly, found, wanted)]; 1 where nothing was wanted or found."""
    right, found, wanted = sums[..., 0], sums[..., 1], sums[..., 2]
    total = found + wanted
    scores: Sums = np.where(total == 0, 1.0, 2 * right / np.where(total == 0, 1.0, total))
    return scores
