"""Calibration in a run: each model's probabilities of the answers of its examples, and of its benchmarks."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from engine.benchmarks.results import BenchmarkSample, leaves
from engine.compare.comparison import Comparison, compare_forecasts
from engine.data.example import Example
from engine.metrics.calibration import (
    BRIER,
    CHOSEN,
    CONFIDENCE,
    ERROR,
    FEW,
    NAME,
    RECORDED,
    SURE,
    AnswerCalibration,
    AnswerSet,
    Forecast,
    answers_to,
    forecast,
    forecast_parts,
    is_kind,
    of_task,
    pairs_of,
    scores_of,
)
from engine.metrics.classification import Classification
from engine.metrics.metric import Measure, Score
from engine.metrics.perplexity import NO_END, Nll
from engine.models.server import ServerModel
from engine.phases.benchmarks import first_with_weights, is_benchmarked
from engine.phases.generate import Loader
from engine.phases.scoring.perplexity import STORED_AT_ONCE
from engine.phases.work import Piece, Work, closed_after, score_row
from engine.plan.plan import Model, Plan
from engine.stats.calibration import (
    FEWEST,
    accuracy_at_coverage,
    calibration_interval,
    reliability,
)
from engine.stats.intervals import Interval, bootstrap_interval
from store import records
from store.read.rows import GROUPS

_PHASE = "perplexity"  # of the steps with weights, the one for likelihoods
_MEASURES = tuple(measure.name for measure in AnswerCalibration.measures)
_NO_ROOM = "the likelihood could not be computed"


def is_asked(plan: Plan) -> bool:
    """Whether the plan measures the probabilities of its examples' answers."""
    return NAME in plan.metrics.use


def piece(work: Work, model: Model) -> Piece:
    return Piece(_PHASE, f"{model.name}, {NAME}", "examples", len(work.examples))


def answers_of(plan: Plan, examples: Iterable[Example]) -> dict[str, AnswerSet | str]:
    """The possible answers of each example by its id, or why it has none."""
    labels: tuple[str, ...] = ()
    key = None
    if "classification" in plan.metrics.use:
        settings = plan.metrics.settings.get("classification", {})
        labels, key = Classification(**settings).labels, settings.get("field")
    return {example.id: answers_to(example, labels, key) for example in examples}


def calibrate(work: Work, model: Model, loader: Loader) -> None:
    """Stores the scores of each example's probabilities that has none yet."""
    todo = work.unscored(model, _MEASURES)
    own = piece(work, model)
    meter = work.meter(own.phase, own.item, own.unit, total=own.total, done=own.total - len(todo))
    answers = answers_of(work.plan, todo)
    waiting: list[tuple[Example, list[Score]]] = []

    def store() -> None:
        model_id = work.model_ids[model.name]
        rows = [
            score_row(score, model_id, work.example_ids[example.id])
            for example, scores in waiting
            for score in scores
        ]
        work.recorder.append([records.StoredScore(**row) for row in rows])
        meter.advance(len(waiting))
        waiting.clear()

    for example, found in _forecasts(work, model, loader, todo, answers):
        known = answers[example.id]
        waiting.append((example, scores_of(found, known if isinstance(known, AnswerSet) else None)))
        if len(waiting) == STORED_AT_ONCE:
            store()
            work.checkpoint()
    store()


_Found = tuple[Example, Forecast | str]


def _forecasts(
    work: Work, model: Model, loader: Loader, todo: list[Example], answers: Mapping[str, AnswerSet | str]
) -> Iterator[_Found]:
    """Each example with what its probabilities come to, or why there are none."""
    asked: list[tuple[Example, AnswerSet]] = []
    for example in todo:
        known = answers[example.id]
        if isinstance(known, str) or model.kind == "recorded":
            yield example, known if isinstance(known, str) else RECORDED
        else:
            asked.append((example, known))
    if not asked:
        return
    yield from (_served if model.kind == "server" else _measured)(work, model, loader, asked)


def _measured(
    work: Work, model: Model, loader: Loader, asked: list[tuple[Example, AnswerSet]]
) -> Iterator[_Found]:
    """By the likelihood of each answer after the example's prompt.

    Where one answer begins with another, each counts with the end token after it: else the shorter one could
    not be the less likely.
    """
    # Without a chat template an answer follows its prompt after a space, as in lm-eval's tasks.
    details = work.recorder.rows(records.StoredModel, id=work.model_ids[model.name])[0].details or {}
    lead = "" if details.get("template") else " "
    items = [
        (replace(example, id=f"{place} {choice}"), f"{lead}{text}")
        for place, (example, known) in enumerate(asked)
        for choice, text in enumerate(known.texts)
    ]
    left = {place: len(known.texts) for place, (_, known) in enumerate(asked)}
    found: dict[int, dict[int, Nll]] = defaultdict(dict)
    with closed_after(loader.nll(model, items)) as measured:
        for nll in measured:
            place, choice = map(int, nll.example_id.split())
            found[place][choice] = nll
            left[place] -= 1
            if not left[place]:
                example, known = asked[place]
                yield example, _forecast_of([found[place][each] for each in range(len(known.texts))], known)
                del found[place]


def _forecast_of(nlls: list[Nll], known: AnswerSet) -> Forecast | str:
    ended = any(text != other and other.startswith(text) for text in known.texts for other in known.texts)
    likelihoods = []
    for nll in nlls:
        if nll.nll is None or (ended and nll.end is None):
            return nll.reason or (NO_END if ended else _NO_ROOM)
        likelihoods.append(-nll.nll - ((nll.end or 0.0) if ended else 0.0))
    return forecast(likelihoods, known.correct)


def _served(
    work: Work, model: Model, loader: Loader, asked: list[tuple[Example, AnswerSet]]
) -> Iterator[_Found]:
    """By the log-probabilities of an answer's first token, which is all that the API gives."""
    generator = loader.open(model)
    assert isinstance(generator, ServerModel)
    known = {example.id: (example, answers) for example, answers in asked}
    with closed_after(generator.first_tokens([example for example, _ in asked])) as batches:
        for batch in batches:
            for example_id, told in batch:
                example, answers = known[example_id]
                yield example, told if isinstance(told, str) else _by_first_token(told, answers)


def _by_first_token(told: Mapping[str, float], answers: AnswerSet) -> Forecast | str:
    likelihoods = []
    for text in answers.texts:
        own = [value for token, value in told.items() if token.strip() == text]
        if not own:
            return (
                f"{text!r:.40} is none of the {len(told)} first tokens that the server gives likelihoods of"
            )
        likelihoods.append(float(np.logaddexp.reduce(own)))
    return forecast(likelihoods, answers.correct)


Logged = BenchmarkSample | records.StoredBenchmarkSample


@dataclass(frozen=True, slots=True)
class TaskLog:
    """One model's samples of benchmarks by task, and the tasks of each group."""

    samples: Mapping[str, Sequence[Logged]]
    groups: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class CalibrationResult:
    """The calibration records, and the measures that they are of.

    `curves` are each model's reliability curves, by what they are of: a task, or "" for the run's examples.
    """

    measures: list[Measure] = field(default_factory=list)
    scores: list[dict[str, Any]] = field(default_factory=list)
    comparisons: list[Comparison] = field(default_factory=list)
    curves: dict[str, dict[str, list[dict[str, Any]]]] = field(default_factory=lambda: defaultdict(dict))


@dataclass(frozen=True, slots=True)
class _KnownForecasts:
    """One model's forecasts, by what pairs them with another's; of `missing` more there are none."""

    forecasts: Mapping[str, Forecast]
    missing: int = 0
    reason: str | None = None


def calibration_of(work: Work) -> CalibrationResult:
    """What each model's probabilities are worth, and candidates against baselines.

    Of the examples, and of the multiple-choice tasks among the benchmarks where the plan asks for them.
    """
    result = CalibrationResult()
    candidates, seed = [model.name for model in work.plan.candidates], work.plan.data.seed
    if is_asked(work.plan):
        known = {model.name: _of_examples(work, model) for model in work.plan.models}
        baselines = [model.name for model in work.plan.baselines]
        _add(result, work.model_ids, AnswerCalibration.of_all, known, (candidates, baselines), seed)
    if work.plan.benchmarks is not None and work.plan.benchmarks.calibration:
        asked = [model for model in work.plan.models if is_benchmarked(work, model)]
        twins = {model.name: first_with_weights(work, model).name for model in work.plan.baselines}
        baselines = [name for name in dict.fromkeys(twins) if twins[name] == name]
        logged = {model.name: _logged(work, model) for model in asked}
        tasks = work.plan.benchmarks.tasks
        add_tasks(result, work.model_ids, tasks, logged, (candidates, baselines), seed)
    return result


def add_tasks(
    result: CalibrationResult,
    ids: Mapping[str, int],
    tasks: Sequence[str],
    logged: Mapping[str, TaskLog],
    sides: tuple[Sequence[str], Sequence[str]],
    seed: int = 0,
) -> None:
    """Adds those of the tasks whose documents have choices; `sides` are candidates and baselines.

    A group or tag has the documents of all its members. `ids` and `logged` are by model.
    """
    for task in tasks:
        known = {name: _of_samples(own, task) for name, own in logged.items()}
        if any(own.forecasts for own in known.values()):
            measures = tuple(of_task(measure, task) for measure in (ERROR, BRIER, SURE))
            _add(result, ids, measures, known, sides, seed)


def declare_tasks(work: Work, found: CalibrationResult) -> None:
    """Records what is measured of the tasks: which ones have choices is known once they have run."""
    rows = work.recorder.rows(records.StoredMetric, run_id=work.recorder.run_id)
    known = {row.measure for row in rows}
    work.declare([(each, {}) for each in found.measures if each.name not in known], start=len(rows))


def _of_examples(work: Work, model: Model) -> _KnownForecasts:
    names = {place: example for example, place in work.example_ids.items()}
    values: dict[str, dict[str, float]] = {name: {} for name in _MEASURES}
    reasons: Counter[str] = Counter()
    for name in _MEASURES:
        rows = work.recorder.rows(records.StoredScore, model_id=work.model_ids[model.name], measure=name)
        for row in rows:
            if row.value is not None:
                values[name][names[row.example_id]] = row.value
            elif row.reason and name == BRIER.name:
                reasons[row.reason] += 1
    found = {
        example: Forecast(brier, values[CONFIDENCE.name][example], values[CHOSEN.name][example])
        for example, brier in values[BRIER.name].items()
    }
    reason = reasons.most_common(1)[0][0] if reasons else None
    return _KnownForecasts(found, len(work.examples) - len(found), reason)


def _logged(work: Work, model: Model) -> TaskLog:
    model_id = work.model_ids[model.name]
    details = work.recorder.rows(records.StoredModel, id=model_id)[0].details or {}
    rows: dict[str, list[records.StoredBenchmarkSample]] = defaultdict(list)
    for row in work.recorder.rows(records.StoredBenchmarkSample, model_id=model_id):
        rows[row.task].append(row)
    return TaskLog(rows, {name: tuple(own) for name, own in (details.get(GROUPS) or {}).items()})


_UNKNOWN = "lm-eval's log does not tell the likelihoods of its choices, or which one is right"


def _of_samples(log: TaskLog, task: str) -> _KnownForecasts:
    found: dict[str, Forecast] = {}
    documents = set()
    for row in (row for leaf in leaves(task, log.groups) for row in log.samples.get(leaf, ())):
        key = f"{row.doc_id} {row.prompt_hash} {row.target_hash} {row.task}"
        documents.add(key)
        if row.likelihoods is not None and row.correct is not None:
            found[key] = forecast(row.likelihoods, row.correct)
    missing = len(documents) - len(found)
    return _KnownForecasts(found, missing, _UNKNOWN if missing else None)


def _add(
    result: CalibrationResult,
    ids: Mapping[str, int],
    measures: tuple[Measure, ...],
    known: Mapping[str, _KnownForecasts],
    sides: tuple[Sequence[str], Sequence[str]],
    seed: int,
) -> None:
    result.measures.extend(measures)
    for name, own in known.items():
        if len(own.forecasts) >= FEWEST:
            bins = reliability(*pairs_of(own.forecasts))
            result.curves[name][measures[0].name.partition(":")[2]] = [asdict(item) for item in bins]
    for measure in measures:
        for name, own in known.items():
            interval = _interval(measure, own.forecasts, seed)
            few = FEW if interval.value is None and own.forecasts else None
            result.scores.append(
                {
                    "model_id": ids[name],
                    "measure": measure.name,
                    **asdict(interval),
                    "missing": own.missing,
                    "reason": few or own.reason,
                }
            )
        result.comparisons.extend(
            compare_forecasts(
                candidate, baseline, measure, known[candidate].forecasts, known[baseline].forecasts, seed
            )
            for candidate in sides[0]
            for baseline in sides[1]
            if candidate in known and baseline in known
        )


def _interval(measure: Measure, forecasts: Mapping[str, Forecast], seed: int) -> Interval:
    if not forecasts:
        return Interval(None, None, None, 0)
    if is_kind(measure, ERROR):
        return calibration_interval(*pairs_of(forecasts), seed)
    if is_kind(measure, SURE):
        return accuracy_at_coverage(*pairs_of(forecasts))
    parts = np.array(list(forecast_parts(measure, forecasts).values()))
    return bootstrap_interval(parts, measure.combine, seed, ends=(measure.low, measure.high))
