"""One run gathered for reading: what `assay show` and every report are made of."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from engine.forgetting import ForgettingRow, conclusions, forgetting
from store import history, live, slices
from store.answered import Answered, answered
from store.judging import JudgeRow, Judging, judging
from store.rows import (
    AlertRow,
    BenchmarkRow,
    ComparisonRow,
    LeakRow,
    MetricRow,
    ModelRow,
    ModelScoreRow,
    RunDetail,
    WinRateRow,
)
from store.slices import CorpusRow, DisparityRow, SliceRow, SliceScoreRow
from tui.families import family_of, needs_of
from tui.output import iso
from tui.pace import gpu_hours
from tui.report.remarks import remarks

NO_LANGUAGE_MODEL = "not a language model"
_NOT_RECORDED = "not recorded"


@dataclass(frozen=True, slots=True)
class Summary:
    """Everything recorded of one run but its texts."""

    run: RunDetail
    models: list[ModelRow]  # those that were evaluated
    cut: list[ModelRow]  # checkpoints that a sweep left out
    metrics: list[MetricRow]
    scores: list[ModelScoreRow]
    judging: Judging
    comparisons: list[ComparisonRow]
    benchmarks: list[BenchmarkRow]
    alerts: list[AlertRow]
    leaks: list[LeakRow]
    answers: list[Answered]
    slices: list[SliceRow]
    slice_scores: list[SliceScoreRow]
    corpora: list[CorpusRow]
    disparities: list[DisparityRow]
    forgetting: list[ForgettingRow]
    spending: tuple[float | None, int] = (None, 0)  # US dollars for judges, answers of unknown price
    gpu_hours: float | None = None  # in which its models held a GPU; None where none did

    @property
    def candidates(self) -> list[ModelRow]:
        return [model for model in self.models if model.role == "candidate"]

    @property
    def judges(self) -> list[JudgeRow]:
        return self.judging.judges

    @property
    def win_rates(self) -> list[WinRateRow]:
        """Over whole answers and conversations first, then turn by turn."""
        return self.judging.win_rates

    def score(self, model: str, measure: str) -> ModelScoreRow | None:
        return next((row for row in self.scores if row.model == model and row.measure == measure), None)

    @property
    def sources(self) -> dict[str, str]:
        """What the run recorded as the source of each measure."""
        return {metric.measure: metric.source for metric in self.metrics}

    def alerts_of(self, candidate: str) -> list[AlertRow]:
        return [alert for alert in self.alerts if alert.candidate == candidate]


def gather(connection: history.Connection, run_id: int) -> Summary:
    """Reads one run. Raises StoreError when there is no such run."""
    comparisons = history.comparisons(connection, run_id)
    models = history.models(connection, run_id)
    return Summary(
        run=history.run(connection, run_id),
        models=[model for model in models if not model.is_cut],
        cut=[model for model in models if model.is_cut],
        metrics=history.metrics(connection, run_id),
        scores=history.model_scores(connection, run_id),
        judging=judging(connection, run_id),
        comparisons=comparisons,
        benchmarks=history.benchmarks(connection, run_id),
        alerts=history.alerts(connection, run_id, limit=10_000),
        leaks=history.leaks(connection, run_id),
        spending=history.spending(connection, run_id),
        gpu_hours=gpu_hours(live.progress(connection, run_id), models),
        answers=answered(connection, run_id),
        slices=slices.slices(connection, run_id),
        slice_scores=slices.slice_scores(connection, run_id),
        corpora=slices.corpora(connection, run_id),
        disparities=slices.disparities(connection, run_id),
        forgetting=forgetting(comparisons),
    )


def verdict(run: RunDetail | Any) -> str:
    """The run's outcome in words."""
    if run.imported:
        return f"imported from {run.imported}"
    if run.status == "finished":
        return {True: "passed", False: "a gate failed", None: "no verdict"}[run.passed]
    return str(run.status)


def no_verdict(run: RunDetail) -> str | None:
    """Why a run has neither passed nor failed; None when it has."""
    if run.passed is not None:
        return None
    if run.status != "finished":
        state = "the run failed" if run.status == "failed" else f"the run is {run.status}"
        return state + (f": {run.error}" if run.error else "")
    if run.imported:
        return f"imported from {run.imported}: there was no plan with gates"
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


def cut_reason(model: ModelRow) -> str:
    """What a sweep's checkpoint was cut after."""
    fared = model.sweep or {}
    after = f"cut after {fared['measure']} on {fared['sample']} examples"
    if fared["rank"] is None:
        return f"{after}: not measured, {fared['reason']}"
    return f"{after}: rank {fared['rank']} of {fared['of']}, the best {fared['keep']} went on"


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
            "waiting": run.waiting,
            "cost": cost(summary.spending)[0],
            "gpu_hours": summary.gpu_hours or 0.0,
            "reason": _run_reason(run, cost(summary.spending)[1]),
        },
        "models": [_model(model, run) for model in [*summary.models, *summary.cut]],
        "metrics": [_metric(row) for row in summary.metrics],
        "scores": [
            {"model": row.model, "metric": row.measure, **_fields(row, "model", "measure")}
            for row in summary.scores
        ],
        "judges": [_judge(row) for row in summary.judges],
        "verdicts": [_with_reason(row, "win_rate") for row in summary.win_rates],
        "audits": [_with_reason(row, "value") for row in summary.judging.audits],
        "rankings": [_with_reason(row, "strength") for row in summary.judging.rankings],
        "comparisons": [
            _with_reason(row, "delta", "candidate_value", "baseline_value") for row in summary.comparisons
        ],
        "benchmarks": [_with_reason(row, "value", "stderr") for row in summary.benchmarks],
        "forgetting": [_with_reason(row, "delta") for row in summary.forgetting],
        "forgotten": [_fields(row) for row in conclusions(summary.forgetting)],
        "slices": [
            {**_with_reason(row, "delta", "candidate_value", "baseline_value"), "standing": row.standing}
            for row in summary.slices
        ],
        "slice_scores": [_with_reason(row, "value") for row in summary.slice_scores],
        "corpora": [
            {**_fields(row), "perplexity": row.perplexity, "bits_per_byte": row.bits_per_byte}
            for row in summary.corpora
        ],
        "disparities": [_with_reason(row, "delta") for row in summary.disparities],
        "alerts": [_alert(row) for row in summary.alerts],
        "answers": [_fields(row) for row in summary.answers],
        "remarks": remarks(summary),
        "leaks": [_fields(row) for row in summary.leaks],
        "passed": run.passed,
        "reason": no_verdict(run),
    }


def cost(spending: tuple[float | None, int]) -> tuple[float | None, str | None]:
    """What a run's judges have cost in US dollars, or why nobody knows: never less than it was."""
    dollars, unknown = spending
    if not unknown:
        return dollars or 0.0, None
    known = f", besides ${dollars:,.2f}" if dollars else ""
    return None, f"cost: {unknown:,} judges' answers of unknown price{known}"


def _run_reason(run: RunDetail, no_cost: str | None) -> str | None:
    absent = {
        "started": run.started,
        "finished": run.finished,
        "eval_set_version": run.eval_set,
        "environment": run.environment,
    }
    names = [name for name, value in absent.items() if value is None]
    reasons = [f"{', '.join(names)}: the run is {run.status}"] if names else []
    return "; ".join([*reasons, no_cost] if no_cost else reasons) or None


def _model(model: ModelRow, run: RunDetail) -> dict[str, Any]:
    reasons = []
    if model.is_cut:
        reasons.append(f"passed: {cut_reason(model)}")
    elif model.passed is None:
        reasons.append(
            "passed: a baseline is not held to gates"
            if model.role == "baseline"
            else f"passed: {no_verdict(run)}"
        )
    if model.probe is None and not model.is_cut:
        adapter = (model.details or {}).get("adapter")
        reasons.append("probe: not made yet" if adapter else "probe: the model has no adapter")
    return {**_fields(model, "id"), "reason": "; ".join(reasons) or None}


def _judge(row: JudgeRow) -> dict[str, Any]:
    known, reason = row.cost, None
    if row.unpriced:
        known, reason = None, f"cost: {row.unpriced:,} calls of unknown price"
    elif known is None:
        reason = "cost: it puts no question itself" if row.parts else "cost: nothing was paid"
    return {**_fields(row, "id"), "cost": known, "reason": reason}


def _metric(row: MetricRow) -> dict[str, Any]:
    needs = needs_of(row.measure, row.source)
    family = family_of(row.measure, row.source)
    return {**_fields(row), "family": family, "needs": None if needs is None else list(needs)}


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
