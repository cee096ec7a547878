"""One run for programs: JSON, the documented form of `assay show --json`, and JUnit XML.

The JUnit report has one test case for each candidate and gate, failed where a critical alert was raised.
"""

import math
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from engine.decision.decision import decision_values, trade_off_values
from engine.decision.facts import own_drop
from engine.decision.families import NOT_EVALUATED, NOT_RECORDED, family_of, needs_of
from store.read import history
from store.read.judging import JudgeUse
from store.read.rows import AlertRow, ComparisonRow, ModelRow
from store.records import Run, StoredMetric
from store.records.alert import KINDS, Look, kind_of
from tui.sections.gather import RunSections
from tui.sections.overview import cut_reason
from tui.text.gate import printable
from tui.text.output import as_json, iso

if TYPE_CHECKING:
    from engine.compare.comparison import Comparison
    from engine.gates.checks import RunComparison

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
        "reliability": [
            {"model": curve.model, "task": curve.task or None, "bins": [_fields(row) for row in curve.rows]}
            for curve in found.measures.reliability
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
        "lost_variants": [_fields(row) for row in found.slices.lost],
        "disparities": [_with_reason(row, "delta") for row in found.slices.disparities],
        "widest_gaps": [_fields(row) for row in found.slices.widest_gaps],
        "alerts": [
            alert_values(row) | {"advice": found.alerts.advice.get(row.id) or None}
            for row in found.alerts.rows
        ],
        "answers": [_fields(row) for row in found.answers],
        "remarks": found.remarks,
        "leaks": [_fields(row) for row in found.data.leaks],
        "data": recorded and {**recorded, "test_uses": found.data.test_uses},
        "passed": run.passed,
        "reason": no_verdict,
        "repetition": _fields(found.repetition) if found.repetition else None,
        "decision": decision_values(found.decision),
        "trade_off": trade_off_values(found.trade_off) if found.trade_off else None,
        "trackers": [{**_fields(row, "run_id"), "updated": iso(row.updated)} for row in found.tracks],
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
    elif model.unreadable:
        reasons.append(f"passed: {model.unreadable}")
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


def alert_values(row: AlertRow) -> dict[str, Any]:
    """One alert of a run."""
    values = _fields(row, "run_id", "run_name") | {"evidence": asdict(row.evidence)}
    return {**values, "id": str(row.id), "created": iso(row.created), "acknowledged": iso(row.acknowledged)}


def _compared(kind: str) -> Callable[[RunSections, ModelRow], bool]:
    return lambda found, model: any(change.row.kind == kind for change in found.measures.of(model.name))


def _scored(*measures: str) -> Callable[[RunSections, ModelRow], bool]:
    return lambda found, model: any(
        row.model == model.name and row.measure.partition(":")[0] in measures for row in found.measures.scores
    )


# Whether a run looked at what a gate needs.
_LOOKED_AT: dict[Look, Callable[[RunSections, ModelRow], bool]] = {
    "win rates": lambda found, model: any(row.candidate == model.name for row in found.judging.win_rates),
    "metrics": _compared("metric"),
    "benchmarks": _compared("benchmark"),
    "perplexity": _scored("perplexity", "bits_per_byte"),
    "format": _scored("format_compliance"),
    "probe": lambda _, model: model.probe is not None,
    "training data": lambda found, model: bool(found.data.train_file),
}


def comparison_values(found: "RunComparison") -> dict[str, Any]:
    """The documented JSON shape of two runs' comparison; a missing value is null with its reason."""
    return {
        "older": str(found.older),
        "newer": str(found.newer),
        "shared_examples": found.shared,
        "verdict": NOT_EVALUATED if not found.is_evaluated else "drops" if found.alerts else "no drop",
        "comparisons": [one_comparison(item) for item in found.comparisons],
        "benchmarks": [one_comparison(item) for item in found.benchmarks],
        "synthetic_examples": found.synthetic,
        "without_synthetic": [one_comparison(item) for item in found.without_synthetic],
        "alerts": [
            {**asdict(alert), "acknowledged": None, "reason": "alerts between runs are not stored"}
            for alert in found.alerts
        ],
        "incomparable": [asdict(item) for item in found.incomparable],
    }


def one_comparison(item: "Comparison") -> dict[str, Any]:
    """A comparison that is ruled on."""
    from engine.compare.comparison import stored

    values = stored(item)
    values["relative"] = ComparisonRow(**values).relative
    if values["delta"] is None and values["reason"] is None:
        values["reason"] = "it cannot be computed from these values"
    return values


GATES = [kind.name for kind in KINDS.values() if kind.needs is not None]  # what can fail a candidate


def junit(found: RunSections) -> str:
    """XML in the form that CI servers read.

    A run without a verdict is an error, and what a run did not check is skipped: neither is ever a pass.
    """
    suites = Element("testsuites", name="assay")
    for model in found.overview.models:
        if model.role != "candidate":
            continue
        suite = SubElement(suites, "testsuite", name=_xml(f"{found.run.name}: {model.name}"))
        _properties(suite, found)
        cases = [_case(suite, model, kind, found) for kind in _kinds(model, found)]
        if own := [own_drop(row) for row in found.forgetting.own if row.model == model.name]:
            SubElement(suite, "system-out").text = _xml("\n".join(own))
        suite.set("tests", str(len(cases)))
        for count, result in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            suite.set(count, str(sum(case.find(result) is not None for case in cases)))
    indent(suites)
    return tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


def _kinds(model: ModelRow, found: RunSections) -> list[str]:
    others = (alert.kind for alert in found.alerts.of(model.name))
    return list(dict.fromkeys((*GATES, *others)))


def _case(suite: Element, model: ModelRow, kind: str, found: RunSections) -> Element:
    case = SubElement(suite, "testcase", classname=_xml(f"assay.{model.name}"), name=kind)
    raised = [alert for alert in found.alerts.of(model.name) if alert.kind == kind]
    if model.passed is None:
        reason = found.overview.no_verdict or "the candidate has no verdict"
        SubElement(case, "error", message=_xml(reason), type="no verdict")
        return case
    needs = kind_of(kind).needs
    if not raised and needs is not None and not _LOOKED_AT[needs](found, model):
        SubElement(case, "skipped", message=kind_of(kind).absent)
        return case
    for alert in raised:
        if alert.severity == "critical":
            failure = SubElement(case, "failure", message=_xml(alert.message.replace("\n", " ")), type=kind)
            failure.text = _evidence(alert)
    others = [f"{alert.severity}: {_evidence(alert)}" for alert in raised if alert.severity != "critical"]
    if others:
        SubElement(case, "system-out").text = "\n".join(others)
    return case


def _evidence(alert: AlertRow) -> str:
    against = f" against {alert.baseline}" if alert.baseline else ""
    return _xml(f"{alert.candidate}{against}, {alert.measure}: {alert.message}")


def _properties(suite: Element, found: RunSections) -> None:
    """The protocol; the plan's hash and the version of the eval set under names of their own."""
    run = found.run
    properties = SubElement(suite, "properties")
    values = {
        "run": str(run.id),
        "status": run.status,
        "plan_hash": run.plan_hash,
        "eval_set": run.eval_set or run.no_data,
        "seed": str(run.seed),
    }
    singular = {"judges": "judge", "metrics": "metric", "models": "model", "benchmarks": "benchmark"}
    for table in found.protocol:
        first = singular.get(table.title, table.title)
        values |= {f"{first} {name}": value for name, value in table.rows}
    for name, value in values.items():
        SubElement(properties, "property", name=_xml(name), value=_xml(value))


def _xml(text: str) -> str:
    """Text that XML can hold: it refuses control characters and two non-characters."""
    return printable(text).replace("\ufffe", "").replace("\uffff", "")
