"""The JUnit report: one test case for each candidate and gate, failed where a critical alert was raised."""

from xml.etree.ElementTree import Element, SubElement, indent, tostring

from store.rows import AlertRow, ModelRow
from tui.report.summary import Summary, judge_name, no_verdict
from tui.text import printable

# What can fail a candidate; a kind that raised nothing is a test case that passed.
GATES = (
    "win_rate",
    "metric_drop",
    "benchmark_drop",
    "perplexity_rise",
    "format",
    "adapter_no_effect",
    "judge_failures",
    "leakage",
)


def junit(summary: Summary) -> str:
    """XML in the form that CI servers read. A run without a verdict is an error, never a pass."""
    run = summary.run
    suites = Element("testsuites", name="assay")
    for model in summary.candidates:
        suite = SubElement(suites, "testsuite", name=_xml(f"{run.name}: {model.name}"))
        _properties(suite, summary)
        cases = [_case(suite, model, kind, summary) for kind in _kinds(model, summary)]
        suite.set("tests", str(len(cases)))
        suite.set("failures", str(sum(case.find("failure") is not None for case in cases)))
        suite.set("errors", str(sum(case.find("error") is not None for case in cases)))
    indent(suites)
    return tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


def _kinds(model: ModelRow, summary: Summary) -> list[str]:
    others = (alert.kind for alert in summary.alerts_of(model.name))
    return list(dict.fromkeys((*GATES, *others)))


def _case(suite: Element, model: ModelRow, kind: str, summary: Summary) -> Element:
    case = SubElement(suite, "testcase", classname=_xml(f"assay.{model.name}"), name=kind)
    if model.passed is None:
        reason = no_verdict(summary.run) or "the candidate has no verdict"
        SubElement(case, "error", message=_xml(reason), type="no verdict")
        return case
    raised = [alert for alert in summary.alerts_of(model.name) if alert.kind == kind]
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


def _properties(suite: Element, summary: Summary) -> None:
    run = summary.run
    found = {
        "run": str(run.id),
        "status": run.status,
        "plan_hash": run.plan_hash,
        "eval_set": run.eval_set or "not read yet",
        "seed": str(run.seed),
        **{
            f"judge {judge.name}": f"{judge_name(judge.name, judge.is_language_model)}, {judge.prompt_hash}"
            for judge in summary.judges
        },
        **{f"metric {metric.measure}": metric.version for metric in summary.metrics},
        **{f"environment {name}": str(value) for name, value in (run.environment or {}).items()},
    }
    properties = SubElement(suite, "properties")
    for name, value in found.items():
        SubElement(properties, "property", name=_xml(name), value=_xml(value))


def _xml(text: str) -> str:
    """Text that XML can hold: it refuses control characters and two non-characters."""
    return printable(text).replace("\ufffe", "").replace("\uffff", "")
