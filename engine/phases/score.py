"""The metrics that need only the text of the answers."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from engine.data.example import Example
from engine.metrics.batch import Scorers, useful_processes
from engine.metrics.load import load_metric, load_metrics
from engine.metrics.metric import Measure, Metric, Score, score_pairs
from engine.models.model import Response
from engine.phases.corpora import measures_of_corpora
from engine.phases.efficiency import measures_of_efficiency
from engine.phases.generate import stored_responses
from engine.phases.work import Meter, Work, closed_after
from engine.plan.plan import Model, Plan
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
    declared: list[tuple[Measure, Mapping[str, Any]]] = [
        (measure, work.plan.metrics.settings.get(name, {}))
        for name, metric in load_metrics(work.plan.metrics.use, work.plan.metrics.settings).items()
        for measure in metric.measures
    ]
    declared += measures_of_efficiency(work.plan)
    declared += measures_of_corpora(work.plan)
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
    metrics = text_metrics(work.plan)
    quick = [name for name, metric in metrics.items() if not hasattr(metric, "score_many")]
    answers = len(work.examples) * len(work.plan.models) * len(quick)
    processes = useful_processes([metrics[name] for name in quick], answers)
    with Scorers(quick, work.plan.metrics.settings, processes) as scorers:
        for name, metric in metrics.items():
            todo = {model.name: _unscored(work, model, metric) for model in work.plan.models}
            total = len(work.examples) * len(work.plan.models)
            left = sum(len(pairs) for pairs in todo.values())
            meter = work.meter("score", name, "responses", total=total, done=total - left)
            for model in work.plan.models:
                pairs = todo[model.name]
                if name in quick:
                    _score_quickly(work, model, scorers.score([name], pairs), pairs, meter)
                else:
                    _score_slowly(work, model, metric, pairs, meter)


def _unscored(work: Work, model: Model, metric: Metric) -> list[tuple[Example, Response]]:
    missing = {example.id for example in work.unscored(model, [measure.name for measure in metric.measures])}
    return [pair for pair in stored_responses(work, model) if pair[0].id in missing]


def _score_quickly(
    work: Work, model: Model, scored: Iterator[list[Score]], pairs: list[Pair], meter: Meter
) -> None:
    with closed_after(scored) as each:
        for start in range(0, len(pairs), CHUNK):
            chunk = pairs[start : start + CHUNK]
            _store(work, model, list(zip(chunk, islice(each, len(chunk)), strict=True)), meter)


def _score_slowly(work: Work, model: Model, metric: Metric, pairs: list[Pair], meter: Meter) -> None:
    for chunk in _chunks(pairs, SLOW_CHUNK):
        _store(work, model, list(zip(chunk, score_pairs(metric, chunk), strict=True)), meter)


def _store(work: Work, model: Model, scored: list[tuple[Pair, list[Score]]], meter: Meter) -> None:
    model_id = work.model_ids[model.name]
    rows = [
        score_row(value, model_id, work.example_ids[example.id])
        for (example, _), scores in scored
        for value in scores
    ]
    work.recorder.append(tables.Score, rows)
    meter.advance(len(scored))
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
