"""Fifth phase: the metrics that need only the text of the answers."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from engine.examples import Example
from engine.generate.model import Response
from engine.metrics.metric import Measure, Metric, Score, load_metric, load_metrics, score_pairs
from engine.phases.generate import stored_responses
from engine.phases.work import Meter, Work
from engine.plan import Model, Plan
from store import tables

Pair = tuple[Example, Response]

CHUNK = 500
SLOW_CHUNK = 64  # of metrics that run programs or models: what a crash or a pause may cost


def text_metrics(plan: Plan) -> dict[str, Metric]:
    """The plan's metrics but perplexity, which is measured while the weights are loaded."""
    return {name: load(plan, name) for name in plan.metrics.use if name != "perplexity"}


def load(plan: Plan, name: str) -> Metric:
    return load_metric(name, plan.metrics.settings.get(name, {}))


def measures(plan: Plan) -> list[Measure]:
    """Every measure that the plan's metrics give, in the plan's order."""
    return [measure for name in plan.metrics.use for measure in load(plan, name).measures]


def declare(work: Work) -> None:
    """Records what is measured and how, before the first value.

    Raises BadInput when two metrics give a measure of the same name, which their files may have come to do
    since the plan was checked.
    """
    if work.recorder.rows(tables.Metric, run_id=work.recorder.run_id):
        return
    declared = [
        (measure, work.plan.metrics.settings.get(name, {}))
        for name, metric in load_metrics(work.plan.metrics.use, work.plan.metrics.settings).items()
        for measure in metric.measures
    ]
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
                "settings": {key: _kept(value) for key, value in settings.items()},
            }
            for place, (measure, settings) in enumerate(declared)
        ],
    )


def _kept(value: Any) -> str:
    """A setting as it is kept with the run: of a file its content, since the file may change."""
    return value.read_text(encoding="utf-8") if isinstance(value, Path) and value.is_file() else str(value)


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
    for chunk in _chunks(pairs, SLOW_CHUNK if hasattr(metric, "score_many") else CHUNK):
        rows = [
            score_row(value, model_id, work.example_ids[example.id])
            for (example, _), scores in zip(chunk, score_pairs(metric, chunk), strict=True)
            for value in scores
        ]
        work.recorder.append(tables.Score, rows)
        meter.advance(len(chunk))
        work.checkpoint()


def _chunks(pairs: list[Pair], size: int) -> Iterator[list[Pair]]:
    """Chunks of about `size`; the answers to one question stay together, since pass@k counts them."""
    questions: dict[str, list[Pair]] = {}
    for pair in pairs:
        questions.setdefault(pair[0].query, []).append(pair)
    chunk: list[Pair] = []
    for answers in questions.values():
        chunk += answers
        if len(chunk) >= size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


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
