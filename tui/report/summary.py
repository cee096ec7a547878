"""One run gathered for reading: what `assay show` and every report are made of."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from store import history
from store.rows import (
    AlertRow,
    BenchmarkRow,
    ComparisonRow,
    JudgeRow,
    LeakRow,
    MetricRow,
    ModelRow,
    ModelScoreRow,
    RunDetail,
    WinRateRow,
)
from tui.output import iso

NO_LANGUAGE_MODEL = "not a language model"
_NOT_RECORDED = "not recorded"


@dataclass(frozen=True, slots=True)
class Summary:
    """Everything recorded of one run but its texts."""

    run: RunDetail
    models: list[ModelRow]
    metrics: list[MetricRow]
    scores: list[ModelScoreRow]
    judges: list[JudgeRow]
    win_rates: list[WinRateRow]
    comparisons: list[ComparisonRow]
    benchmarks: list[BenchmarkRow]
    alerts: list[AlertRow]
    leaks: list[LeakRow]

    @property
    def candidates(self) -> list[ModelRow]:
        return [model for model in self.models if model.role == "candidate"]

    def score(self, model: str, measure: str) -> ModelScoreRow | None:
        return next((row for row in self.scores if row.model == model and row.measure == measure), None)

    def alerts_of(self, candidate: str) -> list[AlertRow]:
        return [alert for alert in self.alerts if alert.candidate == candidate]


def gather(connection: history.Connection, run_id: int) -> Summary:
    """Reads one run. Raises StoreError when there is no such run."""
    return Summary(
        run=history.run(connection, run_id),
        models=history.models(connection, run_id),
        metrics=history.metrics(connection, run_id),
        scores=history.model_scores(connection, run_id),
        judges=history.judges(connection, run_id),
        win_rates=history.win_rates(connection, run_id),
        comparisons=history.comparisons(connection, run_id),
        benchmarks=history.benchmarks(connection, run_id),
        alerts=history.alerts(connection, run_id, limit=10_000),
        leaks=history.leaks(connection, run_id),
    )


def verdict(run: RunDetail | Any) -> str:
    """The run's outcome in words."""
    if run.status == "finished":
        return {True: "passed", False: "a gate failed", None: "no verdict"}[run.passed]
    return str(run.status)


def no_verdict(run: RunDetail) -> str | None:
    """Why a run has neither passed nor failed; None when it has."""
    if run.passed is not None:
        return None
    if run.status != "finished":
        return f"the run is {run.status}" + (f": {run.error}" if run.error else "")
    only = (run.options or {}).get("only")
    return f"only the phase {only!r} was asked for" if only else _NOT_RECORDED


def change(row: ComparisonRow) -> str:
    """What a comparison says, in words: whether its interval leaves 0 out, and on which side."""
    if row.delta is None:
        return "missing"
    if row.low is None or row.high is None:
        return "not tested"
    if row.low <= 0 <= row.high:
        return "no clear change"
    if row.direction == "none":
        return "more" if row.delta > 0 else "less"
    return "better" if (row.delta > 0) == (row.direction == "higher") else "worse"


def judge_name(name: str, is_language_model: bool) -> str:
    return name if is_language_model else f"{name} ({NO_LANGUAGE_MODEL})"


def failures(model: ModelRow, summary: Summary) -> str:
    """A candidate's outcome in words, with how many alerts of each severity it raised."""
    word = {True: "passed", False: "FAILED", None: "no verdict"}[model.passed]
    raised = [alert.severity for alert in summary.alerts_of(model.name)]
    counts = [f"{raised.count(kind)} {kind}" for kind in ("critical", "warning", "note") if kind in raised]
    return word + (f" ({', '.join(counts)})" if counts else "")


def as_values(summary: Summary) -> dict[str, Any]:
    """The documented JSON shape: a missing value is null and has its `reason`."""
    run = summary.run
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
            "reason": _run_reason(run),
        },
        "models": [_model(model, run) for model in summary.models],
        "metrics": [_fields(row) for row in summary.metrics],
        "scores": [
            {"model": row.model, "metric": row.measure, **_fields(row, "model", "measure")}
            for row in summary.scores
        ],
        "judges": [_fields(row, "id") for row in summary.judges],
        "verdicts": [_with_reason(row, "win_rate") for row in summary.win_rates],
        "comparisons": [
            _with_reason(row, "delta", "candidate_value", "baseline_value") for row in summary.comparisons
        ],
        "benchmarks": [_with_reason(row, "value", "stderr") for row in summary.benchmarks],
        "alerts": [_alert(row) for row in summary.alerts],
        "leaks": [_fields(row) for row in summary.leaks],
        "passed": run.passed,
        "reason": no_verdict(run),
    }


def _run_reason(run: RunDetail) -> str | None:
    absent = {
        "started": run.started,
        "finished": run.finished,
        "eval_set_version": run.eval_set,
        "environment": run.environment,
    }
    names = [name for name, value in absent.items() if value is None]
    return f"{', '.join(names)}: the run is {run.status}" if names else None


def _model(model: ModelRow, run: RunDetail) -> dict[str, Any]:
    reasons = []
    if model.passed is None:
        reasons.append(
            "passed: a baseline is not held to gates"
            if model.role == "baseline"
            else f"passed: {no_verdict(run)}"
        )
    if model.probe is None:
        adapter = (model.details or {}).get("adapter")
        reasons.append("probe: not made yet" if adapter else "probe: the model has no adapter")
    return {**_fields(model, "id"), "reason": "; ".join(reasons) or None}


def _with_reason(row: Any, *values: str) -> dict[str, Any]:
    """A row's fields; one whose value is missing or not a finite number says why."""
    found = _fields(row)
    absent = [name for name in values if found[name] is None]
    if absent and found["reason"] is None:
        found["reason"] = f"{', '.join(absent)}: {_NOT_RECORDED}"
    return found


def _fields(row: Any, *left_out: str) -> dict[str, Any]:
    values = {name: value for name, value in history.as_values(row).items() if name not in left_out}
    broken = [name for name, value in values.items() if isinstance(value, float) and not math.isfinite(value)]
    if broken and "reason" in values:
        values["reason"] = values["reason"] or f"{', '.join(broken)}: not a finite number"
    return values | dict.fromkeys(broken)


def _alert(row: AlertRow) -> dict[str, Any]:
    values = _fields(row, "run_id", "run_name")
    return {**values, "id": str(row.id), "created": iso(row.created), "acknowledged": iso(row.acknowledged)}


def environment_lines(environment: dict[str, Any] | None) -> Iterable[tuple[str, str]]:
    """The environment as names and values of one line each; nested tables are flattened."""
    for name, value in (environment or {}).items():
        if isinstance(value, dict):
            yield name, ", ".join(f"{key} {item}" for key, item in value.items())
        else:
            yield name, str(value)
