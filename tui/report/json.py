"""One run as JSON: the documented form of `assay show --json`, which reports use."""

import math
from dataclasses import asdict
from typing import Any

from engine.decision.decision import decision_values, trade_off_values
from engine.decision.families import NOT_RECORDED, family_of, needs_of
from store.read import history
from store.read.judging import JudgeUse
from store.read.rows import AlertRow, ModelRow
from store.records import Run, StoredMetric
from tui.sections.gather import RunSections
from tui.sections.overview import cut_reason
from tui.text.output import as_json, iso

# Of the JSON report: within a format keys are added, never renamed or removed. 2: the evidence of an alert is
# typed by its kind, and rows about forgetting have a `standing`.
FORMAT = 2


def json_report(found: RunSections) -> str:
    """The JSON report: all of `assay show --json`, with examples, the past and the protocol."""
    values = {
        "format": FORMAT,
        **run_values(found),
        "examples": [
            {
                "alert": str(alert.id),
                "cases": [{**history.as_values(case), "answers": dict(case.answers)} for case in cases],
            }
            for alert in found.alerts.rows
            if (cases := found.alerts.behind(alert))
        ],
        "trends": [
            {
                "candidate": trend.candidate,
                "measure": trend.measure,
                "points": [
                    {**_fields(point, "conditions", "candidate"), "not_joined": gap}
                    for point, gap in zip(trend.points, trend.breaks, strict=True)
                ],
            }
            for trend in found.trends
        ],
        "test_uses": found.data.test_uses,
        "protocol": {table.title: dict(table.rows) for table in found.protocol},
        "plan": found.run.plan,
    }
    return as_json(values) + "\n"


def run_values(found: RunSections) -> dict[str, Any]:
    """The documented JSON shape: a missing value is null and has its `reason`."""
    run, no_verdict = found.run, found.overview.no_verdict
    recorded = found.data.recorded
    return {
        "run": {
            "id": str(run.id),
            "name": run.name,
            "status": run.status,
            "started": iso(run.started),
            "finished": iso(run.finished),
            "plan_hash": run.plan_hash,
            "eval_set_version": run.eval_set,
            "environment": run.environment,
            "seed": run.seed,
            "error": run.error,
            "waiting": run.waiting,
            "cost": found.costs.dollars,
            "gpu_hours": found.costs.gpu_hours or 0.0,
            "reason": _run_reason(run, found.costs.unknown),
        },
        "models": [_model(model, no_verdict) for model in [*found.overview.models, *found.overview.cut]],
        "metrics": [_metric(row) for row in found.measures.metrics],
        "scores": [
            {"model": row.model, "metric": row.measure, **_fields(row, "model", "measure")}
            for row in found.measures.scores
        ],
        "judges": [_judge(judge.row) for judge in found.judging.judges],
        "verdicts": [_with_reason(row, "win_rate") for row in found.judging.win_rates],
        "audits": [_with_reason(row, "value") for row in found.judging.rows.audits],
        "rankings": [_with_reason(row, "strength") for row in found.judging.rows.rankings],
        "comparisons": [
            {
                **_with_reason(change.row, "delta", "candidate_value", "baseline_value"),
                "relative": change.row.relative,
                "limits": list(found.measures.limits_of(change.row)),
            }
            for change in found.measures.changes
        ],
        "benchmarks": [_with_reason(row, "value", "stderr") for row in found.benchmarks.rows],
        "benchmarks_asked": [_fields(row) for row in found.benchmarks.asked],
        "forgetting": [_with_reason(row, "delta") for row in found.forgetting.rows],
        "forgotten": [_fields(row) for row in found.forgetting.conclusions],
        "slices": [
            {**_with_reason(row, "delta", "candidate_value", "baseline_value"), "standing": row.standing}
            for row in found.slices.rows
        ],
        "slice_scores": [_with_reason(row, "value") for row in found.slices.scores],
        "corpora": [
            {**_fields(row), "perplexity": row.perplexity, "bits_per_byte": row.bits_per_byte}
            for row in found.benchmarks.corpora
        ],
        "disparities": [_with_reason(row, "delta") for row in found.slices.disparities],
        "alerts": [_alert(row) for row in found.alerts.rows],
        "answers": [_fields(row) for row in found.answers],
        "remarks": found.remarks,
        "leaks": [_fields(row) for row in found.data.leaks],
        "data": recorded and {**recorded, "test_uses": found.data.test_uses},
        "passed": run.passed,
        "reason": no_verdict,
        "repetition": _fields(found.repetition) if found.repetition else None,
        "decision": decision_values(found.decision),
        "trade_off": trade_off_values(found.trade_off) if found.trade_off else None,
    }


def _run_reason(run: Run, no_cost: str | None) -> str | None:
    absent = {
        "started": run.started,
        "finished": run.finished,
        "eval_set_version": run.eval_set,
        "environment": run.environment,
    }
    names = [name for name, value in absent.items() if value is None]
    reasons = [f"{', '.join(names)}: the run is {run.status}"] if names else []
    return "; ".join([*reasons, no_cost] if no_cost else reasons) or None


def _model(model: ModelRow, no_verdict: str | None) -> dict[str, Any]:
    reasons = []
    if model.is_cut:
        reasons.append(f"passed: {cut_reason(model)}")
    elif model.passed is None:
        reasons.append(
            "passed: a baseline is not held to gates" if model.role == "baseline" else f"passed: {no_verdict}"
        )
    if model.probe is None and not model.is_cut:
        adapter = (model.details or {}).get("adapter")
        reasons.append("probe: not made yet" if adapter else "probe: the model has no adapter")
    return {**_fields(model, "id"), "reason": "; ".join(reasons) or None}


def _judge(row: JudgeUse) -> dict[str, Any]:
    known, reason = row.cost, None
    if row.unpriced:
        known, reason = None, f"cost: {row.unpriced:,} calls of unknown price"
    elif known is None:
        reason = "cost: it puts no question itself" if row.parts else "cost: nothing was paid"
    return {**_fields(row, "id"), "cost": known, "reason": reason}


def _metric(row: StoredMetric) -> dict[str, Any]:
    needs = needs_of(row.measure, row.source)
    family = family_of(row.measure, row.source)
    return {**_fields(row), "family": family, "needs": None if needs is None else list(needs)}


def _with_reason(row: Any, *values: str) -> dict[str, Any]:
    """A row's fields; one whose value is missing or not a finite number says why."""
    found = _fields(row)
    absent = [name for name in values if found[name] is None]
    if absent and found["reason"] is None:
        found["reason"] = f"{', '.join(absent)}: {NOT_RECORDED}"
    return found


def _fields(row: Any, *left_out: str) -> dict[str, Any]:
    values = {name: value for name, value in history.as_values(row).items() if name not in left_out}
    broken = [name for name, value in values.items() if isinstance(value, float) and not math.isfinite(value)]
    if broken and "reason" in values:
        values["reason"] = values["reason"] or f"{', '.join(broken)}: not a finite number"
    return values | dict.fromkeys(broken)


def _alert(row: AlertRow) -> dict[str, Any]:
    values = _fields(row, "run_id", "run_name") | {"evidence": asdict(row.evidence)}
    return {**values, "id": str(row.id), "created": iso(row.created), "acknowledged": iso(row.acknowledged)}
