"""The Markdown report: short enough for a pull request comment, and safe to paste into one.

Its blocks are in the order of importance. One that no longer fits is left out and named at the end.
"""

from html import escape

from markupsafe import Markup

from tui.report.jinja import environment, inert_markdown, shown
from tui.sections.gather import RunSections
from tui.sections.measures import Change, MeasuresSection
from tui.sections.overview import cut_reason
from tui.sections.remarks import ANSWERS, answer_table

LIMIT = 65_000  # characters; GitHub takes 65,536 in a comment
MOST_ALERTS = 20
MOST_SLICES = 10
MOST_MEASURES = 10  # of one candidate in the first table
LONGEST = 400  # characters of a text of data
_NOTE = 600  # characters reserved for the names of the blocks left out
_SIGNS = {"better": "▲", "worse": "▼"} | dict.fromkeys(("inconclusive", "no worse", "at the floor"), "=")


def markdown(found: RunSections) -> str:
    made = environment(autoescape=False, finalize=inert_markdown)
    made.filters["short"] = short
    template = made.get_template("report.md.j2")
    values = template.new_context(
        {
            "s": found,
            "run": found.run,
            "main": _main(found.measures),
            "answers": answer_table(found.answers),
            "ANSWERS": Markup(" | ").join(ANSWERS),
            "sign": lambda change: _SIGNS.get(change.word, "○"),
            "plan_text": Markup(escape(shown(found.run.plan)).replace("@", "@&#8203;")),
            "cut_reason": cut_reason,
            "MOST_ALERTS": MOST_ALERTS,
            "MOST_SLICES": MOST_SLICES,
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


def _main(found: MeasuresSection) -> list[Change]:
    """The main measures of each candidate against the first baseline that they were compared with."""
    changes = []
    for candidate, measures in found.main.items():
        first: dict[str, Change] = {}
        for change in found.of(candidate):
            first.setdefault(change.row.measure, change)
        changes += [first[measure] for measure in measures[:MOST_MEASURES]]
    return changes
