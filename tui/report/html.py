"""The HTML report: one file, no scripts, nothing loaded, light or dark as the reader's system is."""

from typing import Any

from tui.report import pictures
from tui.report.pages import context, environment, shown
from tui.sections.material import TOLD, Report

_SIGNS = {"good": "▲", "bad": "▼", "open": "○", "missing": "–"}
_SEVERITIES = {"critical": "‼", "warning": "!", "note": "·"}
_CLASSES = {"ship": "good", "don't ship": "bad"}


def html(report: Report) -> str:
    page = environment(autoescape=True, finalize=shown).get_template("report.html.j2")
    return page.render({**context(report), **_drawn(report)})


def _drawn(report: Report) -> dict[str, Any]:
    """What the HTML report shows beside what every page has: plots, signs, alerts with their examples."""
    summary = report.summary
    return {
        "told": summary.alerts[:TOLD],
        "first_told": next(iter(alert for alert, cases in report.cases.items() if cases), None),
        "untold": summary.alerts[TOLD:],
        "word_class": lambda word: _CLASSES.get(word, "open"),
        "standing_sign": _SIGNS.__getitem__,
        "severity_sign": lambda severity: _SEVERITIES.get(severity, ""),
        "measured": pictures.families(summary),
        "trends": list(pictures.trends(report)),
        "benchmarked": pictures.benchmarks(summary),
        "rated": pictures.win_rates(summary),
        "sliced": pictures.slices(summary),
        "leaked": pictures.leaks(summary),
        "latency": pictures.latency(summary),
    }
