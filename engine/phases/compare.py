"""Last phase: values with intervals, candidates against baselines, alerts, and whether the run passed.

All of it is derived from what the phases before recorded, and written in one transaction.
"""

import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from engine.alerts import Alert, unmeasured_alerts
from engine.comparison import Comparison, compare_parts, not_comparable
from engine.gates import (
    Effect,
    Standing,
    Verdicts,
    benchmark_alerts,
    format_alerts,
    judge_alerts,
    leakage_alerts,
    metric_alerts,
    passed,
    probe_alerts,
    win_rate_alerts,
)
from engine.judge.judge import WHOLE
from engine.metrics.corpora import corpus_measures
from engine.metrics.metric import Measure, Score
from engine.phases.audits import kin_alerts
from engine.phases.benchmark_comparisons import benchmark_comparisons
from engine.phases.constant import constant_alerts
from engine.phases.corpora import (
    DIFFERENT_TOKENIZERS,
    differ_in_tokenizer,
    surprise,
)
from engine.phases.disparities import all_disparities, disparity_alerts, write_disparities
from engine.phases.efficiency import efficiency, measures_of_efficiency
from engine.phases.facts import write_facts
from engine.phases.ratings import rating_alerts, rating_measures
from engine.phases.score import measures
from engine.phases.slices import slices, write_slices
from engine.phases.winrates import record_win_rates
from engine.phases.work import Work
from engine.plan import Model
from engine.slice_falls import slice_alerts
from engine.stats.intervals import Interval, bootstrap_interval
from engine.stats.winrate import WinRate
from store import tables
from store.record import Transaction

FORMAT = "format_compliance"


def compare(work: Work) -> None:
    known = [*measures(work.plan), *rating_measures(work)]
    meter = work.meter("compare", "all models", "measures", total=len(known) + 1, done=0)
    for row in work.recorder.rows(tables.Judge, run_id=work.recorder.run_id):
        record_win_rates(work, row["id"])
    scored = {model.name: _Scored(work, model) for model in work.plan.models}
    summaries: list[dict[str, Any]] = []
    comparisons: list[Comparison] = []
    for measure in known:
        summaries += [scored[model.name].summary(measure, work) for model in work.plan.models]
        comparisons += _metric_comparisons(work, measure, scored)
        meter.advance(1)
        work.checkpoint()
    texts, costs = surprise(work), efficiency(work)
    summaries += [*costs.scores, *texts.scores]
    sliced = slices(work, known, scored, comparisons)
    unequal = all_disparities(work, known, scored)
    comparisons += [*costs.comparisons, *texts.comparisons]
    benchmarks = benchmark_comparisons(work)
    declared = [*known, *_measures_of(work)]
    alerts = [
        *_alerts(work, declared, comparisons, benchmarks, summaries),
        *slice_alerts(sliced.comparisons, comparisons, work.plan.gates, _by_name(declared)),
        *disparity_alerts(unequal, _candidates(work), work.plan.gates, _by_name(declared)),
    ]
    with work.recorder.transaction() as transaction:
        write_slices(work, transaction, sliced)
        write_disparities(work, transaction, unequal)
        write_facts(work, transaction, scored)
        _write(work, transaction, summaries, [*comparisons, *benchmarks], alerts)
    meter.advance(1)


def _measures_of(work: Work) -> list[Measure]:
    """The measures that are taken of all answers together, or of the corpora."""
    corpora = [measure for name in work.plan.metrics.corpora for measure in corpus_measures(name)]
    return [*(measure for measure, _ in measures_of_efficiency(work.plan)), *corpora]


def _by_name(measures: Iterable[Measure]) -> dict[str, Measure]:
    return {measure.name: measure for measure in measures}


def _candidates(work: Work) -> list[str]:
    return [model.name for model in work.plan.candidates]


class _Scored:
    """One model's scores, read once."""

    def __init__(self, work: Work, model: Model) -> None:
        names = {place: example for example, place in work.example_ids.items()}
        self._model_id = work.model_ids[model.name]
        self.parts: dict[str, dict[str, tuple[float, ...]]] = defaultdict(dict)
        self.missing: dict[str, dict[str, str]] = defaultdict(dict)
        for row in work.recorder.rows(tables.Score, model_id=self._model_id):
            parts = tuple(row["parts"]) if row["parts"] else None
            additive = Score(row["measure"], row["value"], row["reason"], parts).additive()
            if additive is None:
                self.missing[row["measure"]][names[row["example_id"]]] = row["reason"]
            else:
                self.parts[row["measure"]][names[row["example_id"]]] = additive

    def summary(self, measure: Measure, work: Work) -> dict[str, Any]:
        """The value over all examples that have one, and how many have none."""
        rows = list(self.parts[measure.name].values())
        interval = Interval(None, None, None, 0)
        if rows:
            interval = bootstrap_interval(np.array(rows), measure.combine, work.plan.data.seed)
            if not measure.independent:
                interval = replace(interval, low=None, high=None)
        reasons = list(self.missing[measure.name].values())
        return {
            "model_id": self._model_id,
            "measure": measure.name,
            **asdict(interval),
            "missing": len(work.examples) - interval.n,
            "reason": max(set(reasons), key=reasons.count) if reasons else None,
        }


def _metric_comparisons(work: Work, measure: Measure, scored: dict[str, _Scored]) -> list[Comparison]:
    found = []
    for candidate in work.plan.candidates:
        for baseline in work.plan.baselines:
            sides = (candidate.name, baseline.name)
            if measure.name == "perplexity" and differ_in_tokenizer(work, candidate, baseline):
                reason = DIFFERENT_TOKENIZERS
                found.append(not_comparable(*sides, measure.name, measure.direction, "metric", reason))
                continue
            ours, theirs = (scored[name].parts[measure.name] for name in sides)
            found.append(compare_parts(*sides, measure, ours, theirs, seed=work.plan.data.seed))
    return found


def _alerts(
    work: Work,
    known: list[Measure],
    comparisons: list[Comparison],
    benchmarks: list[Comparison],
    summaries: list[dict[str, Any]],
) -> list[Alert]:
    gates = work.plan.gates
    candidates = _candidates(work)
    verdicts = _verdicts(work)
    judged = {item.candidate for item in verdicts if item.rate.win_rate is not None}
    return [
        *unmeasured_alerts(candidates, [*comparisons, *benchmarks], judged),
        *probe_alerts(_effects(work)),
        *benchmark_alerts(benchmarks, gates),
        *metric_alerts(comparisons, gates, _by_name(known)),
        *format_alerts(_standings(work, summaries), gates, candidates),
        *win_rate_alerts(verdicts, gates, candidates),
        *judge_alerts(_verdicts(work, parts=True), gates),
        *constant_alerts(work),
        *kin_alerts(work),
        *rating_alerts(work),
        *leakage_alerts(candidates, _leaked(work), len(work.examples)),
    ]


def _verdicts(work: Work, parts: bool = False) -> list[Verdicts]:
    """The win rates that the plan's gates are about: of panels and cascades, their `parts` on demand."""
    baselines = {work.model_ids[model.name] for model in work.plan.baselines}
    names = {place: name for name, place in work.model_ids.items()}
    return [
        Verdicts(
            judge["name"],
            names[row["candidate_id"]],
            names[row["baseline_id"]],
            WinRate(**{key: row[key] for key in WinRate.__slots__}),
            row["reason"],
        )
        for judge in work.recorder.rows(tables.Judge, run_id=work.recorder.run_id)
        if parts or not judge["details"].get("part_of")
        for row in work.recorder.rows(tables.WinRate, judge_id=judge["id"], turn=WHOLE)
        if row["baseline_id"] in baselines
    ]


def _effects(work: Work) -> list[Effect]:
    candidates = {model.name for model in work.plan.candidates}
    return [
        Effect(row["name"], row["probe"]["max_difference"], row["probe"]["prompts"])
        for row in work.recorder.rows(tables.Model, run_id=work.recorder.run_id)
        if row["name"] in candidates and row["probe"] is not None
    ]


def _standings(work: Work, summaries: list[dict[str, Any]]) -> list[Standing]:
    names = {work.model_ids[model.name]: model.name for model in work.plan.candidates}
    return [
        Standing(names[row["model_id"]], row["value"], row["low"], row["high"], row["n"], row["reason"])
        for row in summaries
        if row["measure"] == FORMAT and row["model_id"] in names
    ]


def _leaked(work: Work) -> list[str]:
    """Examples whose question training has seen; an answer alone may be a stock phrase, and is only shown."""
    names = {place: example for example, place in work.example_ids.items()}
    leaks = work.recorder.rows(tables.Leak, run_id=work.recorder.run_id)
    return sorted({names[leak["example_id"]] for leak in leaks if leak["field"] != "reference"})


def _write(
    work: Work,
    transaction: Transaction,
    summaries: list[dict[str, Any]],
    comparisons: list[Comparison],
    alerts: list[Alert],
) -> None:
    run_id, now = work.recorder.run_id, time.time()
    for model_id in work.model_ids.values():
        transaction.clear(tables.ModelScore, model_id=model_id)
        transaction.clear(tables.Comparison, candidate_id=model_id)
    transaction.clear(tables.Alert, run_id=run_id)
    transaction.append(tables.ModelScore, summaries)
    transaction.append(tables.Comparison, [_comparison_row(work, item) for item in comparisons])
    transaction.append(
        tables.Alert, [{"run_id": run_id, "created": now, **asdict(alert)} for alert in alerts]
    )
    verdicts = {model.name: passed(alerts, model.name) for model in work.plan.candidates}
    for name, outcome in verdicts.items():
        transaction.update(tables.Model, work.model_ids[name], passed=outcome)
    transaction.update(tables.Run, run_id, passed=all(verdicts.values()))


def _comparison_row(work: Work, comparison: Comparison) -> dict[str, Any]:
    row = asdict(comparison)
    del row["worst"]
    row["candidate_id"] = work.model_ids[row.pop("candidate")]
    row["baseline_id"] = work.model_ids[row.pop("baseline")]
    return row
