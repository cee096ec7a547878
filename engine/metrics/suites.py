"""The metrics of public suites, under names that tell their measures from those of a plan's own examples."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from engine.data.example import Example
from engine.data.suites import PREFIX, SUITES, suite_of
from engine.metrics.load import load_metric
from engine.metrics.metric import Measure, Metric, Score, score_pairs
from engine.models.model import Response

# What a metric needs before it measures anything, where only a plan can name it.
_NEEDED = {"toxicity": "model"}


class OfSuites:
    """A metric on the questions of the suites that it scores. Whether a verdict is passed is asked once."""

    def __init__(self, metric: Metric, suites: Collection[str]) -> None:
        self.suites = tuple(suites)
        self.measures = tuple(
            replace(measure, name=PREFIX + measure.name, verdict=False) for measure in metric.measures
        )
        self._metric = metric

    def asked(self, examples: Iterable[Example]) -> list[Example]:
        """Those of its suites."""
        return [example for example in examples if suite_of(example) in self.suites]

    def score(self, example: Example, response: Response) -> list[Score]:
        return self.score_many([(example, response)])[0]

    def score_many(self, pairs: Sequence[tuple[Example, Response]]) -> list[list[Score]]:
        """The metric's scores of all pairs, under the names of these measures."""
        return [
            [replace(score, measure=PREFIX + score.measure) for score in scores]
            for scores in score_pairs(self._metric, pairs)
        ]


def suite_metrics(
    examples: Iterable[Example], settings: Mapping[str, Mapping[str, Any]]
) -> dict[str, OfSuites]:
    """The metrics of the suites that these examples are of, by the metric's name.

    `settings` are the plan's, for what a suite does not bring itself. Those that lack what they need are left
    out: see `unscored`.
    """
    return _metrics_of(dict.fromkeys(map(suite_of, examples)), settings)


def suite_measures() -> list[Measure]:
    """Every measure of suites but those of metrics that need a plan's settings."""
    return [measure for metric in _metrics_of(SUITES, {}).values() for measure in metric.measures]


def _metrics_of(suites: Iterable[str], settings: Mapping[str, Mapping[str, Any]]) -> dict[str, OfSuites]:
    by_metric: dict[str, list[str]] = {}
    for name in suites:
        for metric in SUITES[name].metrics:
            by_metric.setdefault(metric, []).append(name)
    return {
        metric: OfSuites(load_metric(metric, _settings(metric, names, settings)), names)
        for metric, names in by_metric.items()
        if not _lacks(metric, settings)
    }


def unscored(
    examples: Iterable[Example], settings: Mapping[str, Mapping[str, Any]], rubrics: Collection[object]
) -> dict[str, str]:
    """The suites of which nothing is measured, each with what it takes: no metric does, nor a judge of single
    responses by one of these rubrics.
    """
    found = {}
    for name in dict.fromkeys(map(suite_of, examples)):
        suite = SUITES[name]
        if suite.rubric not in rubrics and all(_lacks(metric, settings) for metric in suite.metrics):
            needs = [f"{metric} = {{ {_NEEDED[metric]} = … }} under [metrics]" for metric in suite.metrics]
            needs += (
                [f'a judge with kind = "pointwise" and rubric = "{suite.rubric}"'] if suite.rubric else []
            )
            found[name] = " or ".join(needs)
    return found


def _lacks(metric: str, settings: Mapping[str, Mapping[str, Any]]) -> bool:
    return metric in _NEEDED and not settings.get(metric, {}).get(_NEEDED[metric])


def _settings(
    metric: str, names: Sequence[str], settings: Mapping[str, Mapping[str, Any]]
) -> Mapping[str, Any]:
    own = [SUITES[name].settings for name in names if metric in SUITES[name].settings]
    return own[0][metric] if own else settings.get(metric, {}) if metric in _NEEDED else {}
