"""Reports of one run: HTML, Markdown, JSON and JUnit XML, rendered from the same sections."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tui.sections.gather import RunSections

FORMATS = ("html", "md", "json", "junit")


def render(found: "RunSections", form: str) -> str:
    """The run as a report in one of FORMATS."""
    if form == "html":
        from tui.report.html import html

        return html(found)
    if form == "md":
        from tui.report.markdown import markdown

        return markdown(found)
    if form == "junit":
        from tui.report.json import junit

        return junit(found)
    from tui.report.json import json_report

    return json_report(found)
