"""The score phase: metrics of the answers' texts, and their time and tokens."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from engine.compare.comparison import Comparison, from_paired
from engine.data.example import Example, eval_set_version
from engine.data.suites import PREFIX
from engine.errors import CannotRun
from engine.metrics import calibration
from engine.metrics.batch import Scorers, useful_processes
from engine.metrics.efficiency import CACHED, NO_LATENCY
from engine.metrics.load import load_metric, load_metrics
from engine.metrics.metric import NO_TOKENS, Measure, Metric, Score, score_pairs
from engine.metrics.samples import sampled_measures, score_samples
from engine.metrics.suites import suite_metrics
from engine.models.folder import adapter_of, weight_files, weight_shapes
from engine.models.model import Response
from engine.phases.generate import stored_answers, stored_responses
from engine.phases.scoring.perplexity import measures_of_corpora
from engine.phases.work import Meter, Work, closed_after, score_row
from engine.plan.plan import Model, Plan
from engine.stats.paired import Paired
from store import records
from store.read.query import by_key

METRIC = "efficiency"
TOGETHER = "no interval: it is computed over all answers together"
_TOTAL = "tokens_{}_total"
_MEAN = "tokens_{}_mean"


@dataclass(frozen=True, slots=True)
class _Aggregate:
    """A number over all of a model's answers; `column` is its source."""

    measure: Measure
    column: str
    of: Callable[[Sequence[float]], float]
    missing: str


@dataclass(frozen=True, slots=True)
class Costs:
    """The efficiency records."""

    scores: list[dict[str, Any]]
    comparisons: list[Comparison]


def _percentile(percent: int) -> _Aggregate:
    measure = Measure(
        name=f"latency_p{percent}_s",
        direction="lower",
        low=0.0,
        high=None,
        unit="s",
        needs=frozenset({"latency"}),
        version="1",
        source="clock",
        meaning=f"seconds within which {percent}% of the answers were complete",
        independent=False,
    )
    return _Aggregate(measure, "latency_s", lambda values: float(np.percentile(values, percent)), NO_LATENCY)


def _tokens(side: str, what: str) -> tuple[_Aggregate, _Aggregate]:
    total = Measure(
        name=_TOTAL.format(side),
        direction="none",
        low=0.0,
        high=None,
        unit="tokens",
        needs=frozenset({"tokens"}),
        version="1",
        source="the model's tokenizer, or its server's count",
        meaning=f"tokens of all {what} together",
        independent=False,
    )
    mean = replace(total, name=_MEAN.format(side), meaning=f"tokens of one of the {what}, on average")
    column = f"tokens_{side}"
    return _Aggregate(total, column, lambda values: float(sum(values)), NO_TOKENS), _Aggregate(
        mean, column, lambda values: float(np.mean(values)), NO_TOKENS
    )


_AGGREGATES = (
    *(_percentile(percent) for percent in (50, 95, 99)),
    *_tokens("in", "prompts"),
    *_tokens("out", "answers"),
)


def measures_of_efficiency(plan: Plan) -> list[tuple[Measure, dict[str, Any]]]:
    """The measures, with the concurrency under which they are taken; none where the plan leaves them out."""
    if METRIC not in plan.metrics.use:
        return []
    generation = plan.generation
    rows = (
        f"up to {generation.batch_size} answers at a time"
        if "batch_size" in generation.model_fields_set
        else "as many answers at a time as memory allows"
    )
    settings = {"concurrency": f"servers: {generation.concurrency} requests at a time; models here: {rows}"}
    return [(item.measure, settings) for item in _AGGREGATES]


def efficiency(work: Work) -> Costs:
    """Percentiles and totals over each model's answers. Cached ones have no time of this run.

    Timings of one batch hang together, so that there is no interval and no test, only the difference.
    """
    if METRIC not in work.plan.metrics.use:
        return Costs([], [])
    own = {work.example_ids[example.id] for example in work.examples}
    rows = {
        model.name: [row for row in stored_answers(work, model) if row.example_id in own]
        for model in work.plan.models
    }
    asked = len(work.examples) * work.plan.generation.samples
    scores: list[dict[str, Any]] = []
    comparisons: list[Comparison] = []
    for item in _AGGREGATES:
        known = {name: _known(item, answers) for name, answers in rows.items()}
        values = {name: item.of(numbers) if numbers else None for name, numbers in known.items()}
        for model in work.plan.models:
            n = len(known[model.name])
            scores.append(
                {
                    "model_id": work.model_ids[model.name],
                    "measure": item.measure.name,
                    "value": values[model.name],
                    "low": None,
                    "high": None,
                    "n": n,
                    "missing": asked - n,
                    "reason": _reason(item, rows[model.name]) if n < asked else None,
                }
            )
        comparisons += [
            _comparison(item.measure, candidate, baseline, values, known)
            for candidate in work.plan.candidates
            for baseline in work.plan.baselines
        ]
    return Costs(scores, comparisons)


def _known(item: _Aggregate, answers: Sequence[records.StoredResponse]) -> list[float]:
    timed = item.column == "latency_s"
    return [
        float(getattr(row, item.column))
        for row in answers
        if row.text is not None and getattr(row, item.column) is not None and not (timed and row.cached)
    ]


def _reason(item: _Aggregate, answers: Sequence[records.StoredResponse]) -> str:
    if item.column == "latency_s" and any(row.cached for row in answers):
        return CACHED
    unanswered = next((row.reason for row in answers if row.text is None and row.reason), None)
    return unanswered or item.missing


def _comparison(
    measure: Measure,
    candidate: Model,
    baseline: Model,
    values: dict[str, float | None],
    known: dict[str, list[float]],
) -> Comparison:
    ours, theirs = values[candidate.name], values[baseline.name]
    delta = None if ours is None or theirs is None else ours - theirs
    n = min(len(known[candidate.name]), len(known[baseline.name]))
    lacking = [model.name for model in (candidate, baseline) if values[model.name] is None]
    reason = f"no value for {' and '.join(lacking)}" if lacking else TOGETHER
    paired = Paired(ours, theirs, delta, None, None, None, n, None)
    return from_paired(
        candidate.name, baseline.name, measure.name, measure.direction, "metric", paired, reason
    )


def adapter_facts(model: Model, parameters: int | None) -> dict[str, Any]:
    """The size of a model's adapter: `bytes` of its files, its `parameters`, and their share of them all.

    `trainable_share` is None where the base's `parameters` are not known. Reads headers alone.
    """
    adapter = adapter_of(model)
    assert adapter is not None
    own = sum(int(np.prod(shape)) for _, shape in weight_shapes(adapter).values())
    return {
        "bytes": sum(file.stat().st_size for file in weight_files(adapter)),
        "parameters": own,
        "trainable_share": own / (own + parameters) if parameters else None,
    }


Pair = tuple[Example, Response]

CHUNK = 500
WITH_WEIGHTS = ("perplexity", calibration.NAME)
SLOW_CHUNK = 64  # of metrics that run programs or models: what a crash or a pause may cost


def text_metrics(plan: Plan) -> dict[str, Metric]:
    """The plan's metrics but those that are measured while the weights are loaded."""
    return {name: load(plan, name) for name in plan.metrics.use if name not in WITH_WEIGHTS}


def load(plan: Plan, name: str) -> Metric:
    return load_metric(name, plan.metrics.settings.get(name, {}))


def measures(plan: Plan) -> list[Measure]:
    """Every measure that the plan's metrics give, in the plan's order."""
    return [measure for name in plan.metrics.use for measure in _measures(plan, load(plan, name))]


def _measures(plan: Plan, metric: Metric) -> list[Measure]:
    """A metric's own measures, and what several samples tell beside them."""
    return [*metric.measures, *sampled_measures(metric, plan.generation.samples, plan.metrics.pass_k)]


def declare(work: Work, others: Sequence[tuple[Measure, dict[str, Any]]] = ()) -> None:
    """Records what is measured and how, before the first value.

    `others` are measures that are made of these.

    Raises BadInput when two metrics give a measure of the same name, which their files may have come to do
    since the plan was checked, and CannotRun when this Assay measures by another version than the one that
    began the run: half of the values would mean something else.
    """
    declared: list[tuple[Measure, Mapping[str, Any]]] = [
        (measure, work.plan.metrics.settings.get(name, {}))
        for name, metric in load_metrics(work.plan.metrics.use, work.plan.metrics.settings).items()
        for measure in _measures(work.plan, metric)
    ]
    beside = suite_metrics(work.suites, work.plan.metrics.settings).values()
    of = {metric: {"questions": eval_set_version(metric.asked(work.suites))} for metric in beside}
    declared += [(measure, settings) for metric, settings in of.items() for measure in metric.measures]
    declared += measures_of_efficiency(work.plan)
    declared += measures_of_corpora(work)
    declared += others
    if calibration.NAME in work.plan.metrics.use:
        declared += [(measure, {}) for measure in calibration.AnswerCalibration.of_all]
    known = work.recorder.rows(records.StoredMetric, run_id=work.recorder.run_id)
    versions = {measure.name: measure.version for measure, _ in declared}
    for row in known:
        if row.version != versions.get(row.measure, row.version):
            raise CannotRun(
                f"this run began with version {row.version} of {row.measure}; this Assay measures it by "
                f"version {versions[row.measure]}",
                "start a new run with `assay run`, so that all its values mean the same",
            )
    if known:
        return
    work.declare(
        [(measure, {key: _kept(value) for key, value in settings.items()}) for measure, settings in declared]
    )


def _kept(value: Any) -> str:
    """A setting as it is kept with the run: of a file its content, since the file may change."""
    return value.read_text(encoding="utf-8") if isinstance(value, Path) and value.is_file() else str(value)


def score(work: Work) -> None:
    metrics = text_metrics(work.plan)
    quick = [name for name, metric in metrics.items() if not hasattr(metric, "score_many")]
    count = len(work.examples) * len(work.plan.models) * work.plan.generation.samples
    processes = useful_processes([metrics[name] for name in quick], count * len(quick))
    with Scorers(quick, work.plan.metrics.settings, processes) as scorers:
        for name, metric in metrics.items():
            todo = {model.name: _unscored(work, model, metric) for model in work.plan.models}
            left = sum(len(pairs) for pairs in todo.values())
            meter = work.meter("score", name, "responses", total=count, done=count - left)
            for model in work.plan.models:
                pairs = todo[model.name]
                if name in quick:
                    _score_quickly(work, model, metric, scorers.score([name], pairs), pairs, meter)
                else:
                    _score_slowly(work, model, metric, pairs, meter)
    for name, of_suites in suite_metrics(work.suites, work.plan.metrics.settings).items():
        part = replace(work, examples=of_suites.asked(work.suites))
        todo = {model.name: _unscored(part, model, of_suites) for model in work.plan.models}
        left = sum(len(pairs) for pairs in todo.values())
        count = len(part.examples) * len(work.plan.models) * work.plan.generation.samples
        meter = work.meter("score", f"{PREFIX}{name}", "responses", total=count, done=count - left)
        for model in work.plan.models:
            _score_slowly(part, model, of_suites, todo[model.name], meter)


def _unscored(work: Work, model: Model, metric: Metric) -> list[tuple[Example, Response]]:
    missing = {example.id for example in work.unscored(model, [measure.name for measure in metric.measures])}
    return [pair for pair in stored_responses(work, model) if pair[0].id in missing]


def _score_quickly(
    work: Work,
    model: Model,
    metric: Metric,
    scored: Iterator[list[Score]],
    pairs: list[Pair],
    meter: Meter,
) -> None:
    size = CHUNK * work.plan.generation.samples  # the samples of an example are stored together
    with closed_after(scored) as each:
        for start in range(0, len(pairs), size):
            chunk = pairs[start : start + size]
            _store(work, model, metric, list(zip(chunk, islice(each, len(chunk)), strict=True)), meter)


def _score_slowly(work: Work, model: Model, metric: Metric, pairs: list[Pair], meter: Meter) -> None:
    for chunk in _chunks(pairs, SLOW_CHUNK):
        _store(work, model, metric, list(zip(chunk, score_pairs(metric, chunk), strict=True)), meter)


def _store(
    work: Work, model: Model, metric: Metric, scored: list[tuple[Pair, list[Score]]], meter: Meter
) -> None:
    model_id = work.model_ids[model.name]
    rows = [
        score_row(value, model_id, work.example_ids[example])
        for example, scores in by_example(work.plan, metric, scored).items()
        for value in scores
    ]
    work.recorder.append([records.StoredScore(**row) for row in rows])
    meter.advance(len(scored))
    work.checkpoint()


def by_example(
    plan: Plan, metric: Metric, scored: Iterable[tuple[Pair, list[Score]]]
) -> dict[str, list[Score]]:
    """The scores of each example's answer; where it has several samples, of all of them together."""
    samples = by_key((pair[0].id, (pair, scores)) for pair, scores in scored)
    n = plan.generation.samples
    if n == 1:
        return {example: scores for example, ((_, scores),) in samples.items()}
    return {
        example: score_samples(
            metric, n, plan.metrics.pass_k, [pair[1] for pair, _ in found], [scores for _, scores in found]
        )
        for example, found in samples.items()
    }


def _chunks(pairs: list[Pair], size: int) -> Iterator[list[Pair]]:
    """Chunks of about `size`; the answers to one question stay together, since pass@k counts them."""
    questions = by_key((pair[0].query, pair) for pair in pairs)
    chunk: list[Pair] = []
    for answers in questions.values():
        chunk += answers
        if len(chunk) >= size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
