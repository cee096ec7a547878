"""Reports of one run to hand on: HTML, Markdown, JSON and JUnit XML, all from the same summary."""

from tui.output import as_json
from tui.report.summary import Summary, as_values

FORMATS = ("html", "md", "json", "junit")


def render(summary: Summary, form: str) -> str:
    """The run as a report in one of FORMATS."""
    if form == "html":
        from tui.report.html import html

        return html(summary)
    if form == "md":
        from tui.report.markdown import markdown

        return markdown(summary)
    if form == "junit":
        from tui.report.junit import junit

        return junit(summary)
    return as_json(as_values(summary)) + "\n"
