"""What a metric is, what it measures, and where each one is found."""

import importlib
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from engine.data.example import Example
from engine.errors import BadInput
from engine.models.model import Response
from engine.plan.errors import listed, nearest

Sums = NDArray[np.float64]
Direction = Literal["higher", "lower", "none"]

NO_REFERENCE = "the example has no reference"
NO_TOKENS = "the response comes without a count of its tokens"
CLASH_WAY_OUT = "Leave one of the two out, or give the measure of your own metric another name."


def mean(sums: Sums) -> Sums:
    """Sum of values over sum of weights, along the last axis: the combination of most measures."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio: Sums = sums[..., 0] / sums[..., 1]
    return ratio


@dataclass(frozen=True, slots=True)
class Measure:
    """One number that a metric gives.

    `low` and `high` are the ends of its range (None = open); `needs` names what a response must come with:
    "references", "schema", "tokens", "latency", "weights". `combine` turns the sum of the examples' parts,
    an array [..., k], into the value of the whole set, an array [...]; so a corpus value and every
    resampled corpus value come from the same rule. `independent` False says that the examples' values hang
    together (the answers of one batch share its time), so that their spread gives no interval.
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


@dataclass(frozen=True, slots=True)
class Score:
    """One measure's value for one response.

    `value` None means missing, and `reason` says why; beside a value, `reason` explains it (which key broke
    the schema). `parts` are the additive statistics that `Measure.combine` takes; None stands for (value, 1).
    """

    measure: str
    value: float | None
    reason: str | None = None
    parts: tuple[float, ...] | None = None

    def additive(self) -> tuple[float, ...] | None:
        """The parts to sum over examples; None for a missing score."""
        if self.value is None:
            return None
        return self.parts if self.parts is not None else (self.value, 1.0)


class Metric(Protocol):
    """Scores responses; every measure is answered for every response, missing ones with their reason.

    A metric that is quicker with many at a time, or needs all samples of a task at once, also has
    `score_many(pairs)`, which gives one list of scores for each pair: see `score_pairs`. One of the
    latter kind also has `task(example)`: a hashable that the samples of a task share, None for no task.
    """

    measures: tuple[Measure, ...]

    def score(self, example: Example, response: Response) -> list[Score]: ...


REGISTRY: dict[str, str] = {
    "rouge": "engine.metrics.overlap:Rouge",
    "bleu": "engine.metrics.overlap:Bleu",
    "bleu_orders": "engine.metrics.overlap:BleuOrders",
    "sacrebleu": "engine.metrics.overlap:SacreBleu",
    "chrf": "engine.metrics.overlap:ChrF",
    "meteor": "engine.metrics.meteor:Meteor",
    "exact_match": "engine.metrics.exact:ExactMatch",
    "token_f1": "engine.metrics.exact:TokenF1",
    "contains": "engine.metrics.exact:Contains",
    "regex": "engine.metrics.exact:Regex",
    "numeric": "engine.metrics.numeric:Numeric",
    "edit_similarity": "engine.metrics.exact:EditSimilarity",
    "classification": "engine.metrics.classification:Classification",
    "entities": "engine.metrics.extraction:Entities",
    "tags": "engine.metrics.extraction:Tags",
    "set_f1": "engine.metrics.extraction:SetF1",
    "json_fields": "engine.metrics.json_values:JsonFields",
    "format": "engine.metrics.json_schema:FormatCompliance",
    "checks": "engine.metrics.checks:Instructions",
    "length": "engine.metrics.efficiency:Length",
    "efficiency": "engine.metrics.efficiency:Efficiency",
    "perplexity": "engine.metrics.perplexity:Perplexity",
    "code": "engine.metrics.code:Code",
    "refusals": "engine.metrics.safety:Refusals",
    "personal_data": "engine.metrics.safety:PersonalData",
    "toxicity": "engine.metrics.text_models:Toxicity",
    "toxic_words": "engine.metrics.safety:ToxicWords",
    "sentiment": "engine.metrics.text_models:Sentiment",
    "bertscore": "engine.metrics.text_models:BertScore",
    "embedding": "engine.metrics.text_models:EmbeddingCosine",
}


def load_metric(name: str, settings: Mapping[str, Any]) -> Metric:
    """The metric of that name, made with its own table of settings.

    The name is one of REGISTRY, a place in a Python file ("my_metrics.py:polite") or an entry point of an
    installed package. Raises BadInput for an unknown metric or setting, with the nearest name that is known.
    """
    if name in REGISTRY:
        module, attribute = REGISTRY[name].split(":")
        return _make(name, getattr(importlib.import_module(module), attribute), settings)
    from engine.metrics import own

    packages = own.installed()
    if own.is_own(name) or name in packages:
        return own.load_own(name, settings, _make)
    known = [*REGISTRY, *packages]
    raise BadInput(f'unknown metric "{name}"{nearest(name, known)}', f"Metrics: {listed(known)}.")


def load_metrics(names: Iterable[str], settings: Mapping[str, Mapping[str, Any]]) -> dict[str, Metric]:
    """The metrics of those names, each made with its own table of `settings`, in order.

    Raises BadInput as `load_metric` does, and when two of them give a measure of the same name.
    """
    metrics = {name: load_metric(name, settings.get(name, {})) for name in names}
    for problem in clashes(metrics):
        raise BadInput(problem, CLASH_WAY_OUT)
    return metrics


def clashes(metrics: Mapping[str, Metric]) -> list[str]:
    """Of each measure that two metrics give, a sentence naming both: their values could not be told apart."""
    first: dict[str, str] = {}
    return [
        f'the metrics "{first[measure.name]}" and "{name}" both give a measure named "{measure.name}"'
        for name, metric in metrics.items()
        for measure in metric.measures
        if first.setdefault(measure.name, name) != name
    ]


def _make(name: str, kind: Any, settings: Mapping[str, Any]) -> Metric:
    parameters = inspect.signature(kind).parameters
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        for key in settings.keys() - parameters.keys():
            known = listed(parameters)
            hint = f"Settings: {known}." if known else f'The metric "{name}" has no settings.'
            raise BadInput(f"unknown setting metrics.{name}.{key}{nearest(key, parameters)}", hint)
    metric: Metric = kind(**settings)
    return metric


def score_pairs(metric: Metric, pairs: Sequence[tuple[Example, Response]]) -> list[list[Score]]:
    """Each pair's scores, many at a time where the metric can."""
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
) -> Measure:
    """A measure from 0 to 1 where higher is better."""
    return Measure(name, "higher", 0.0, 1.0, unit, frozenset(needs), version, source, meaning, combine)


def gap(example: Example, response: Response) -> str:
    """Why a response can't be set against a reference, where the example has none or the response no text."""
    return no_text(response) if example.references else NO_REFERENCE


def combine_f1(sums: Sums) -> Sums:
    """Micro F1 of summed parts [..., (found rightly, found, wanted)]; 1 where nothing was wanted or found."""
    right, found, wanted = sums[..., 0], sums[..., 1], sums[..., 2]
    total = found + wanted
    scores: Sums = np.where(total == 0, 1.0, 2 * right / np.where(total == 0, 1.0, total))
    return scores
