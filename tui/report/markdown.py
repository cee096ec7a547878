"""The Markdown report: short enough for a comment on a pull request, safe to paste into one.

It is made of blocks, each whole in itself. What a reader needs first comes first; a block that no longer fits
is left out, and its name is said.
"""

from html import escape

from markupsafe import Markup

from store.read.rows import ComparisonRow
from tui.report.pages import context, environment, inert_markdown, shown
from tui.sections.material import Report, main_measures
from tui.sections.words import change

LIMIT = 65_000  # characters; GitHub takes 65,536 in a comment
MOST_ALERTS = 20
MOST_MEASURES = 10  # of one candidate in the first table
LONGEST = 400  # characters of a text of data
_NOTE = 600  # characters that the words on what was left out may take
_SIGNS = {"better": "▲", "worse": "▼"} | dict.fromkeys(("inconclusive", "no worse", "at the floor"), "=")


def markdown(report: Report) -> str:
    made = environment(autoescape=False, finalize=inert_markdown)
    made.filters["short"] = short
    template = made.get_template("report.md.j2")
    values = template.new_context(
        {
            **context(report),
            "main": _main(report),
            "change_sign": lambda row: _SIGNS.get(change(row), "○"),
            "plan_text": Markup(escape(shown(report.summary.run.plan)).replace("@", "@&#8203;")),
            "MOST_ALERTS": MOST_ALERTS,
        }
    )
    text, left_out = "", []
    for name, block in template.blocks.items():
        part = "".join(block(values))
        if len(text) + len(part) <= LIMIT - _NOTE:
            text += part
        else:
            left_out.append(name.replace("_", " "))
    if left_out:
        text += f"Too long for a comment: {', '.join(left_out)}; `assay report --format html` has all.\n"
    return text


def short(text: str) -> str:
    """At most LONGEST characters of a text."""
    return text if len(text) <= LONGEST else text[:LONGEST] + "…"


def _main(report: Report) -> list[ComparisonRow]:
    """The main measures of each candidate against the first baseline that they were compared with."""
    rows = []
    for model in report.summary.candidates:
        found: dict[str, ComparisonRow] = {}
        for row in report.summary.comparisons:
            if row.candidate == model.name:
                found.setdefault(row.measure, row)
        rows += [found[name] for name in main_measures(report.summary, model.name)[:MOST_MEASURES]]
    return rows
