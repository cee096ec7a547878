"""The Markdown report: short enough for a comment on a pull request, safe to paste into one."""

from tui.report.pages import context, environment, inert_markdown
from tui.report.summary import Summary

LIMIT = 65_000  # characters; GitHub takes 65,536 in a comment


def markdown(summary: Summary) -> str:
    page = environment(autoescape=False, finalize=inert_markdown).get_template("report.md.j2")
    text = page.render(context(summary))
    if len(text) <= LIMIT:
        return text
    return (
        text[: text.rindex("\n", 0, LIMIT - 100)]
        + "\n\nCut here: the rest is in `assay report --format html`.\n"
    )
