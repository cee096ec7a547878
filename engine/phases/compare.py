"""Values with intervals, candidates against baselines, alerts, and whether the run passed."""

import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from engine.compare.comparison import Comparison, Scores, compare_measures, not_comparable, stored
from engine.gates.checks import all_passed, passed
from engine.gates.drops import slice_alerts
from engine.gates.measures import ruled
from engine.metrics.calibration import NAME as CURVES
from engine.metrics.classification import Classification, confusion, per_class
from engine.metrics.metric import Measure, Score
from engine.metrics.perplexity import DIFFERENT_TOKENIZERS, VALIDATION_LOSS, corpus_measures, is_per_token
from engine.metrics.samples import spread
from engine.metrics.suites import suite_metrics
from engine.models.vitals import DeviceUse, device_use
from engine.phases.alerts import data_alerts, decline_alerts, followed, run_alerts
from engine.phases.benchmarks import benchmark_comparisons
from engine.phases.generate import unasked
from engine.phases.judging.pairs import record_win_rates
from engine.phases.judging.ratings import rating_measures, suite_scores
from engine.phases.reference import EarlierRun, against_reference
from engine.phases.score import adapter_facts, efficiency, load, measures, measures_of_efficiency
from engine.phases.scoring.calibration import CalibrationResult, calibration_of, declare_tasks
from engine.phases.scoring.perplexity import differ_in_tokenizer, surprise
from engine.phases.scoring.robustness import measures_of_robustness, robustness, write_robustness
from engine.phases.slices import (
    Sliced,
    SliceScores,
    all_disparities,
    disparity_alerts,
    slices,
    write_disparities,
    write_slices,
)
from engine.phases.work import FOLLOW, Work
from engine.plan.plan import Model
from engine.stats.intervals import Interval, bootstrap_interval
from store import records
from store.records.alert import Alert
from store.write import Transaction

CLASSIFICATION, USE = "classification", "device_use"
ELSEWHERE = {
    "server": "the answers come from a server, whose devices are unknown",
    "recorded": "the answers were made elsewhere",
}
CLUSTER = "the answers come from a cluster, whose devices are unknown"


@contextmanager
def measured_use(work: Work, model: Model) -> Iterator[None]:
    """Keeps what the GPUs were at while the model answered; parts of a resumed run are added up."""
    reason = ELSEWHERE.get(model.kind) or (CLUSTER if work.plan.compute.engine == "ray" else None)
    if reason:
        yield
        _keep(work, model, asdict(DeviceUse(reason=reason, energy_reason=reason)))
        return
    if not unasked(work, model):
        yield
        return
    before = _details(work, model).get(USE)
    with device_use() as use:
        yield
    _keep(work, model, use.added(before))


def _keep(work: Work, model: Model, use: dict[str, Any]) -> None:
    work.recorder.set_model(work.model_ids[model.name], details=_details(work, model) | {USE: use})


def write_facts(
    work: Work, transaction: Transaction, scored: Mapping[str, SliceScores], trusted: CalibrationResult
) -> None:
    """Adds the adapter's size, a classifier's table and confusion matrix, and curves to a model's facts."""
    for model in work.plan.models:
        details = _details(work, model)
        if model.adapter is not None:
            size = adapter_facts(model, details.get("parameters"))
            details = details | {"adapter": (details.get("adapter") or {}) | size}
        table = _classification(work, scored[model.name])
        if table is not None:
            details = details | {CLASSIFICATION: table}
        if model.name in trusted.curves:
            details = details | {CURVES: trusted.curves[model.name]}
        transaction.update(records.StoredModel, work.model_ids[model.name], details=details or None)


def _classification(work: Work, scored: SliceScores) -> dict[str, Any] | None:
    """Each label's precision, recall, F1 and examples, and examples by label and answer (last: not found)."""
    if CLASSIFICATION not in work.plan.metrics.use:
        return None
    metric = load(work.plan, CLASSIFICATION)
    assert isinstance(metric, Classification)
    rows = list(scored.parts["macro_f1"].values())
    if not rows:
        return None
    parts = np.array(rows)
    return {
        "labels": list(metric.labels),
        "per_class": [asdict(row) for row in per_class(parts, metric.labels)],
        "confusion": confusion(parts),
    }


def _details(work: Work, model: Model) -> dict[str, Any]:
    found: dict[str, Any] | None = work.recorder.rows(records.StoredModel, id=work.model_ids[model.name])[
        0
    ].details
    return found or {}


def compare(work: Work) -> None:
    own, beside = _own_and_beside(work)
    known = [*own, *(item for item in beside if item not in own)]
    meter = work.meter("compare", "all models", "measures", total=len(known) + 1, done=0)
    for row in work.recorder.rows(records.StoredJudge, run_id=work.recorder.run_id):
        record_win_rates(work, row.id)
    scored = {model.name: _Scored(work, model) for model in work.plan.models}
    summaries: list[dict[str, Any]] = []
    comparisons: list[Comparison] = []
    for measure in known:
        asked = beside.get(measure, len(work.examples))
        summaries += [scored[model.name].summary(measure, work, asked) for model in work.plan.models]
        meter.advance(1)
        work.checkpoint()
    comparisons += _metric_comparisons(work, known, scored)
    texts, costs = surprise(work), efficiency(work)
    summaries += [*costs.scores, *texts.scores]
    alone = [item for item in own if item not in beside]
    sliced = slices(work, alone, scored, comparisons)
    both = [item for item in own if item in beside]
    for examples, asked_of_them in (
        (work.suites, [item for item in beside if item not in both]),
        ([*work.examples, *work.suites], both),
    ):
        if asked_of_them:
            found = slices(replace(work, examples=examples), asked_of_them, scored, comparisons)
            sliced = Sliced(sliced.scores + found.scores, sliced.comparisons + found.comparisons)
    forms = robustness(work, alone, {name: each.parts for name, each in scored.items()})
    sliced = Sliced([*sliced.scores, *forms.slice_scores], [*sliced.comparisons, *forms.slices])
    unequal = all_disparities(work, own, scored)
    trusted = calibration_of(work)
    declare_tasks(work, trusted)
    summaries += [*forms.scores, *trusted.scores]
    comparisons += [*costs.comparisons, *texts.comparisons, *forms.comparisons, *trusted.comparisons]
    benchmarks = benchmark_comparisons(work)
    declared = {measure.name: measure for measure in [*known, *_measures_of(work), *trusted.measures]}
    earlier = against_reference(work)
    comparisons, benchmarks, earlier = _ruled(work, declared, comparisons, benchmarks, earlier)
    with work.recorder.transaction() as transaction:
        write_slices(work, transaction, sliced)
        write_disparities(work, transaction, unequal)
        write_robustness(work, transaction, forms)
        write_facts(work, transaction, scored, trusted)
        _write(work, transaction, summaries, [*comparisons, *benchmarks], earlier)
    alerts = [
        *run_alerts(work, declared, comparisons, benchmarks, earlier, summaries),
        *slice_alerts(sliced.comparisons, comparisons, work.plan.gates, declared),
        *disparity_alerts(unequal, [model.name for model in work.plan.candidates], work.plan.gates),
        *data_alerts(work, declared, summaries, sliced.scores, benchmarks),
        *decline_alerts(work, declared, [*comparisons, *benchmarks]),
    ]
    _conclude(work, alerts)
    meter.advance(1)


def _own_and_beside(work: Work) -> tuple[list[Measure], dict[Measure, int]]:
    """The measures of the examples, and those that are taken of the suites' questions, each with the number
    of questions that it is asked of. Scores of judges that are asked about both are in both.
    """
    rated = rating_measures(work)
    found = {
        measure: len(metric.asked(work.suites))
        for metric in suite_metrics(work.suites, work.plan.metrics.settings).values()
        for measure in metric.measures
    }
    return [*measures(work.plan), *rated], found | {
        measure: len(work.examples) + len(asked) for measure, asked in suite_scores(work, rated).items()
    }


def _ruled(
    work: Work,
    declared: Mapping[str, Measure],
    comparisons: Sequence[Comparison],
    benchmarks: Sequence[Comparison],
    earlier: EarlierRun,
) -> tuple[list[Comparison], list[Comparison], EarlierRun]:
    """Everything compared with its ruling; what is against the reference run belongs to the same families."""
    first, second = ruled(
        [*comparisons, *earlier.metrics, *earlier.rates],
        [*benchmarks, *earlier.benchmarks],
        work.plan.gates,
        {**earlier.measures, **declared},
    )
    n, of_metrics = len(comparisons), len(earlier.metrics)
    held = replace(
        earlier,
        metrics=first[n : n + of_metrics],
        rates=first[n + of_metrics :],
        benchmarks=second[len(benchmarks) :],
    )
    return first[:n], second[: len(benchmarks)], held


def _measures_of(work: Work) -> list[Measure]:
    """The measures that are taken of all answers together, of the variants, or of the corpora."""
    corpora = [measure for name in work.plan.metrics.corpora for measure in corpus_measures(name)]
    loss = [VALIDATION_LOSS] if work.validation else []
    others = [*measures_of_efficiency(work.plan), *measures_of_robustness(work)]
    return [*(measure for measure, _ in others), *corpora, *loss]


class _Scored:
    """One model's scores, read once."""

    def __init__(self, work: Work, model: Model) -> None:
        names = {place: example for example, place in work.example_ids.items()}
        self._model_id = work.model_ids[model.name]
        self.parts: dict[str, dict[str, tuple[float, ...]]] = defaultdict(dict)
        self.missing: dict[str, dict[str, str]] = defaultdict(dict)
        self._samples: dict[str, list[list[float | None]]] = defaultdict(list)
        for row in work.recorder.rows(records.StoredScore, model_id=self._model_id):
            parts = tuple(row.parts) if row.parts else None
            if row.samples is not None:
                self._samples[row.measure].append(row.samples)
            additive = Score(row.measure, row.value, row.reason, parts).additive()
            if additive is None:
                self.missing[row.measure][names[row.example_id]] = row.reason or ""
            else:
                self.parts[row.measure][names[row.example_id]] = additive

    def summary(self, measure: Measure, work: Work, asked: int) -> dict[str, Any]:
        """The value over all examples that have one, and how many of those `asked` have none."""
        rows = list(self.parts[measure.name].values())
        interval = Interval(None, None, None, 0)
        if rows:
            ends = (measure.low, measure.high)
            interval = bootstrap_interval(np.array(rows), measure.combine, work.plan.data.seed, ends=ends)
            if not measure.independent:
                interval = replace(interval, low=None, high=None)
        reasons = list(self.missing[measure.name].values())
        sampled = self._samples.get(measure.name)
        counts = Counter(value is None for values in sampled or () for value in values)
        return {
            "model_id": self._model_id,
            "measure": measure.name,
            **asdict(interval),
            "missing": asked - interval.n,
            "reason": max(set(reasons), key=reasons.count) if reasons else None,
            "samples": counts[False] if sampled else None,
            "samples_missing": counts[True] if sampled else None,
            "spread": spread(sampled) if sampled else None,
        }


def _metric_comparisons(
    work: Work, known: Sequence[Measure], scored: Mapping[str, _Scored]
) -> list[Comparison]:
    found = []
    for candidate in work.plan.candidates:
        for baseline in work.plan.baselines:
            ours, theirs = scored[candidate.name].parts, scored[baseline.name].parts
            sides = (candidate.name, baseline.name)
            if differ_in_tokenizer(work, candidate, baseline):
                found += [
                    not_comparable(*sides, item.name, item.direction, "metric", DIFFERENT_TOKENIZERS)
                    for item in known
                    if is_per_token(item.name)
                ]
                fair = [item for item in known if not is_per_token(item.name)]
            else:
                fair = list(known)
            scores = [Scores(item, ours[item.name], theirs[item.name]) for item in fair]
            found += compare_measures(*sides, scores, seed=work.plan.data.seed)
            work.checkpoint()
    return found


def _write(
    work: Work,
    transaction: Transaction,
    summaries: list[dict[str, Any]],
    comparisons: list[Comparison],
    earlier: EarlierRun,
) -> None:
    for model in work.plan.models:
        model_id = work.model_ids[model.name]
        transaction.clear(records.ModelScore, model_id=model_id)
        transaction.clear(records.StoredComparison, candidate_id=model_id)
    transaction.append([records.ModelScore(**row) for row in summaries])
    for found, baselines in ((comparisons, work.model_ids), (earlier.comparisons, earlier.models)):
        transaction.append(
            [records.StoredComparison(**_comparison_row(work, item, baselines)) for item in found]
        )


def _conclude(work: Work, alerts: list[Alert]) -> None:
    """Alerts, and whether each candidate and the run passed, become known together.

    A run that follows a training concludes on one checkpoint at a time; what is known of others stays.
    """
    run_id, now = work.recorder.run_id, time.time()
    rows = followed(work, [{"run_id": run_id, "created": now, **asdict(alert)} for alert in alerts])
    verdicts = {model.name: passed(alerts, model.name) for model in work.plan.candidates}
    known = work.recorder.rows(records.StoredModel, run_id=run_id)
    others = {
        row.name: row.passed
        for row in known
        if FOLLOW in work.options and row.role == "candidate" and row.name not in verdicts
    }
    with work.recorder.transaction() as transaction:
        for alert in transaction.rows(records.StoredAlert, run_id=run_id):
            if alert.candidate not in others:
                transaction.clear(records.StoredAlert, id=alert.id)
        transaction.append([records.StoredAlert(**row) for row in rows])
        for name, outcome in verdicts.items():
            transaction.update(records.StoredModel, work.model_ids[name], passed=outcome)
        transaction.update(records.Run, run_id, passed=all_passed([*others.values(), *verdicts.values()]))


def _comparison_row(work: Work, comparison: Comparison, baselines: Mapping[str, int]) -> dict[str, Any]:
    row = stored(comparison)
    row["candidate_id"] = work.model_ids[row.pop("candidate")]
    row["baseline_id"] = baselines[row.pop("baseline")]
    return row
