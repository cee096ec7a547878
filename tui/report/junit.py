"""The JUnit report: one test case for each candidate and gate, failed where a critical alert was raised."""

from collections.abc import Callable
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from store.read.rows import AlertRow, ModelRow
from store.records.alert import KINDS, Look, kind_of
from tui.sections.gather import RunSections
from tui.text.gate import printable


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
