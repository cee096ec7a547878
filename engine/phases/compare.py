"""Last phase: values with intervals, candidates against baselines, alerts, and whether the run passed.

All of it is derived from what the phases before recorded, and written in one transaction.
"""

import time
from collections import defaultdict
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
from engine.metrics.metric import Measure, Score
from engine.phases.benchmark_comparisons import benchmark_comparisons
from engine.phases.score import measures
from engine.phases.winrates import record_win_rates
from engine.phases.work import Work
from engine.plan import Model
from engine.stats.intervals import Interval, bootstrap_interval
from engine.stats.winrate import WinRate
from store import tables
from store.record import Transaction

FORMAT = "format_compliance"


def compare(work: Work) -> None:
    known = measures(work.plan)
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
    benchmarks = benchmark_comparisons(work)
    alerts = _alerts(work, known, comparisons, benchmarks, summaries)
    with work.recorder.transaction() as transaction:
        _write(work, transaction, summaries, [*comparisons, *benchmarks], alerts)
    meter.advance(1)


class _Scored:
    """One model's scores, read once."""

    def __init__(self, work: Work, model: Model) -> None:
        names = {place: example for example, place in work.example_ids.items()}
        self._model_id = work.model_ids[model.name]
        self.parts: dict[str, dict[str, tuple[float, ...]]] = defaultdict(dict)
        self._reasons: dict[str, list[str]] = defaultdict(list)
        for row in work.recorder.rows(tables.Score, model_id=self._model_id):
            parts = tuple(row["parts"]) if row["parts"] else None
            additive = Score(row["measure"], row["value"], row["reason"], parts).additive()
            if additive is None:
                self._reasons[row["measure"]].append(row["reason"])
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
        reasons = self._reasons[measure.name]
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
            reason = _incomparable(work, measure, candidate, baseline)
            if reason:
                found.append(not_comparable(*sides, measure.name, measure.direction, "metric", reason))
                continue
            ours, theirs = (scored[name].parts[measure.name] for name in sides)
            found.append(compare_parts(*sides, measure, ours, theirs, seed=work.plan.data.seed))
    return found


def _incomparable(work: Work, measure: Measure, candidate: Model, baseline: Model) -> str | None:
    if measure.name != "perplexity":
        return None
    tokenizers = {
        (work.recorder.rows(tables.Model, id=work.model_ids[model.name])[0]["details"] or {}).get("tokenizer")
        for model in (candidate, baseline)
    }
    if len(tokenizers) > 1:
        return "perplexities under different tokenizers do not compare; bits per byte do"
    return None


def _alerts(
    work: Work,
    known: list[Measure],
    comparisons: list[Comparison],
    benchmarks: list[Comparison],
    summaries: list[dict[str, Any]],
) -> list[Alert]:
    gates = work.plan.gates
    candidates = [model.name for model in work.plan.candidates]
    verdicts = _verdicts(work)
    judged = {item.candidate for item in verdicts if item.rate.win_rate is not None}
    return [
        *unmeasured_alerts(candidates, [*comparisons, *benchmarks], judged),
        *probe_alerts(_effects(work)),
        *benchmark_alerts(benchmarks, gates),
        *metric_alerts(comparisons, gates, {measure.name: measure for measure in known}),
        *format_alerts(_standings(work, summaries), gates, candidates),
        *win_rate_alerts(verdicts, gates, candidates),
        *judge_alerts(verdicts, gates),
        *leakage_alerts(candidates, _leaked(work), len(work.examples)),
    ]


def _verdicts(work: Work) -> list[Verdicts]:
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
        for row in work.recorder.rows(tables.WinRate, judge_id=judge["id"])
    ]


def _effects(work: Work) -> list[Effect]:
    return [
        Effect(row["name"], row["probe"]["max_difference"], row["probe"]["prompts"])
        for row in work.recorder.rows(tables.Model, run_id=work.recorder.run_id)
        if row["role"] == "candidate" and row["probe"] is not None
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
