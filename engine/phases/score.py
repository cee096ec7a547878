"""Fifth phase: the metrics that need only the text of the answers."""

from collections.abc import Sequence
from typing import Any

from engine.examples import Example
from engine.generate.model import Response
from engine.metrics.metric import Measure, Metric, Score, load_metric
from engine.phases.generate import stored_responses
from engine.phases.work import Meter, Work
from engine.plan import Model, Plan
from store import tables

CHUNK = 500


def text_metrics(plan: Plan) -> dict[str, Metric]:
    """The plan's metrics but perplexity, which is measured while the weights are loaded."""
    return {name: load(plan, name) for name in plan.metrics.use if name != "perplexity"}


def load(plan: Plan, name: str) -> Metric:
    return load_metric(name, plan.metrics.settings.get(name, {}))


def measures(plan: Plan) -> list[Measure]:
    """Every measure that the plan's metrics give, in the plan's order."""
    return [measure for name in plan.metrics.use for measure in load(plan, name).measures]


def declare(work: Work) -> None:
    """Records what is measured and how, before the first value."""
    if work.recorder.rows(tables.Metric, run_id=work.recorder.run_id):
        return
    settings = work.plan.metrics.settings
    work.recorder.append(
        tables.Metric,
        [
            {
                "run_id": work.recorder.run_id,
                "measure": measure.name,
                "position": place,
                "direction": measure.direction,
                "low": measure.low,
                "high": measure.high,
                "unit": measure.unit,
                "version": measure.version,
                "source": measure.source,
                "meaning": measure.meaning,
                "settings": {key: str(value) for key, value in settings.get(measure.name, {}).items()},
            }
            for place, measure in enumerate(measures(work.plan))
        ],
    )


def score(work: Work) -> None:
    for name, metric in text_metrics(work.plan).items():
        todo = {model.name: _unscored(work, model, metric) for model in work.plan.models}
        total = len(work.examples) * len(work.plan.models)
        left = sum(len(pairs) for pairs in todo.values())
        meter = work.meter("score", name, "responses", total=total, done=total - left)
        for model in work.plan.models:
            _score_model(work, model, metric, todo[model.name], meter)


def _unscored(work: Work, model: Model, metric: Metric) -> list[tuple[Example, Response]]:
    missing = {example.id for example in work.unscored(model, [measure.name for measure in metric.measures])}
    return [pair for pair in stored_responses(work, model) if pair[0].id in missing]


def _score_model(
    work: Work, model: Model, metric: Metric, pairs: list[tuple[Example, Response]], meter: Meter
) -> None:
    model_id = work.model_ids[model.name]
    for start in range(0, len(pairs), CHUNK):
        chunk = pairs[start : start + CHUNK]
        rows = [
            score_row(value, model_id, work.example_ids[example.id])
            for example, response in chunk
            for value in metric.score(example, response)
        ]
        work.recorder.append(tables.Score, rows)
        meter.advance(len(chunk))
        work.checkpoint()


def score_row(score: Score, model_id: int, example_id: int) -> dict[str, Any]:
    parts: Sequence[float] | None = score.parts
    return {
        "model_id": model_id,
        "measure": score.measure,
        "example_id": example_id,
        "value": score.value,
        "reason": score.reason,
        "parts": list(parts) if parts is not None else None,
    }
