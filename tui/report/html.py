"""The HTML report: one file, no scripts, light or dark as the reader's system is."""

from tui.report.pages import context, environment, shown
from tui.report.summary import Summary


def html(summary: Summary) -> str:
    return (
        environment(autoescape=True, finalize=shown).get_template("report.html.j2").render(context(summary))
    )
