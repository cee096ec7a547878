"""The JUnit report: one test case for each candidate and gate, failed where a critical alert was raised."""

from collections.abc import Callable
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from store.read.rows import AlertRow, ModelRow
from store.records.alert import KINDS, Look, kind_of
from tui.sections.material import Report
from tui.sections.summary import Summary
from tui.sections.words import no_verdict
from tui.text.gate import printable


def _compared(kind: str) -> Callable[[Summary, ModelRow], bool]:
    return lambda summary, model: any(
        row.candidate == model.name and row.kind == kind for row in summary.comparisons
    )


def _scored(*measures: str) -> Callable[[Summary, ModelRow], bool]:
    return lambda summary, model: any(
        row.model == model.name and row.measure.partition(":")[0] in measures for row in summary.scores
    )


def _judged(summary: Summary, model: ModelRow) -> bool:
    return any(row.candidate == model.name for row in summary.win_rates)


def _checked_for_leaks(summary: Summary, model: ModelRow) -> bool:
    return bool((summary.run.data_summary or {}).get("train_file"))


# Whether a run looked at what a gate needs.
_LOOKED_AT: dict[Look, Callable[[Summary, ModelRow], bool]] = {
    "win rates": _judged,
    "metrics": _compared("metric"),
    "benchmarks": _compared("benchmark"),
    "perplexity": _scored("perplexity", "bits_per_byte"),
    "format": _scored("format_compliance"),
    "probe": lambda _, model: model.probe is not None,
    "training data": _checked_for_leaks,
}


GATES = [kind.name for kind in KINDS.values() if kind.needs is not None]  # what can fail a candidate


def junit(report: Report) -> str:
    """XML in the form that CI servers read. A run without a verdict is an error, and what a run did not look
    at is skipped: neither is ever a pass.
    """
    summary = report.summary
    suites = Element("testsuites", name="assay")
    for model in summary.candidates:
        suite = SubElement(suites, "testsuite", name=_xml(f"{summary.run.name}: {model.name}"))
        _properties(suite, report)
        cases = [_case(suite, model, kind, summary) for kind in _kinds(model, summary)]
        suite.set("tests", str(len(cases)))
        for count, result in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            suite.set(count, str(sum(case.find(result) is not None for case in cases)))
    indent(suites)
    return tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


def _kinds(model: ModelRow, summary: Summary) -> list[str]:
    others = (alert.kind for alert in summary.alerts_of(model.name))
    return list(dict.fromkeys((*GATES, *others)))


def _case(suite: Element, model: ModelRow, kind: str, summary: Summary) -> Element:
    case = SubElement(suite, "testcase", classname=_xml(f"assay.{model.name}"), name=kind)
    raised = [alert for alert in summary.alerts_of(model.name) if alert.kind == kind]
    if model.passed is None:
        reason = no_verdict(summary.run) or "the candidate has no verdict"
        SubElement(case, "error", message=_xml(reason), type="no verdict")
        return case
    needs = kind_of(kind).needs
    if not raised and needs is not None and not _LOOKED_AT[needs](summary, model):
        SubElement(case, "skipped", message=kind_of(kind).absent)
        return case
    for alert in raised:
        if alert.severity == "critical":
            failure = SubElement(case, "failure", message=_one_line(alert.message), type=kind)
            failure.text = _evidence(alert)
    others = [f"{alert.severity}: {_evidence(alert)}" for alert in raised if alert.severity != "critical"]
    if others:
        SubElement(case, "system-out").text = "\n".join(others)
    return case


def _evidence(alert: AlertRow) -> str:
    against = f" against {alert.baseline}" if alert.baseline else ""
    return _xml(f"{alert.candidate}{against}, {alert.measure}: {alert.message}")


def _one_line(text: str) -> str:
    return _xml(text.replace("\n", " "))


def _properties(suite: Element, report: Report) -> None:
    """The protocol; the plan's hash and the version of the eval set under names of their own."""
    run = report.summary.run
    properties = SubElement(suite, "properties")
    found = {
        "run": str(run.id),
        "status": run.status,
        "plan_hash": run.plan_hash,
        "eval_set": run.eval_set or "not read yet",
        "seed": str(run.seed),
    }
    singular = {"judges": "judge", "metrics": "metric", "models": "model", "benchmarks": "benchmark"}
    for section in report.protocol:
        first = singular.get(section.title, section.title)
        found |= {f"{first} {name}": value for name, value in section.rows}
    for name, value in found.items():
        SubElement(properties, "property", name=_xml(name), value=_xml(value))


def _xml(text: str) -> str:
    """Text that XML can hold: it refuses control characters and two non-characters."""
    return printable(text).replace("\ufffe", "").replace("\uffff", "")
