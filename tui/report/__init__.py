"""Reports of one run to hand on: HTML, Markdown, JSON and JUnit XML, all from the same material."""

from typing import TYPE_CHECKING

from tui.text.output import as_json

if TYPE_CHECKING:
    from tui.sections.material import Report

FORMATS = ("html", "md", "json", "junit")


def render(report: "Report", form: str) -> str:
    """The run as a report in one of FORMATS."""
    if form == "html":
        from tui.report.html import html

        return html(report)
    if form == "md":
        from tui.report.markdown import markdown

        return markdown(report)
    if form == "junit":
        from tui.report.junit import junit

        return junit(report)
    from tui.report.values import report_values

    return as_json(report_values(report)) + "\n"
