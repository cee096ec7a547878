"""The Markdown report: short enough for a pull request comment, and safe to paste into one.

Its blocks are in the order of importance. One that no longer fits is left out and named at the end.
"""

import re
from collections.abc import Callable
from functools import cache
from html import escape
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from engine.compare.forgetting import DROP
from engine.gates.figures import relative
from store.records.alert import kind_of
from tui.sections.gather import RunSections
from tui.sections.measures import Change, MeasuresSection
from tui.sections.overview import TRADE_OFF, cut_reason, trade_off_said, trade_off_table
from tui.sections.remarks import ANSWERS, answer_table
from tui.text.gate import printable
from tui.text.output import interval, iso, number


@cache
def environment(autoescape: bool, finalize: Callable[[Any], Any]) -> Environment:
    """Templates whose every printed value goes through `finalize`."""
    made = Environment(
        loader=PackageLoader("tui.report"),
        autoescape=autoescape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=finalize,
    )
    made.filters.update(
        number=number,
        signed=lambda value: number(value, sign=True),
        relative=relative,
        time=iso,
        probability=probability,
    )
    made.globals["interval"] = interval
    made.globals["kind_of"] = kind_of
    return made


def probability(p: float | None) -> str:
    """A p-value; one that three decimals would show as 0 is no 0."""
    return "< 0.001" if p is not None and p < 0.001 else number(p)


def shown(value: Any) -> Any:
    """Texts with their control characters visible; anything else as it is."""
    return printable(value) if type(value) is str else value


_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>#|~!&]|:(?=//))")


def inert_markdown(value: Any) -> Any:
    """Data in Markdown as text of one line: no markup, mention, link, entity or table cell comes of it."""
    # Markup is a str of another type: what the reports themselves have made safe.
    if type(value) is not str:
        return value
    # A backslash does not stop the mention of a person; a space of no width does.
    return _MARKDOWN.sub(r"\\\1", printable(value.replace("\n", "⏎"))).replace("@", "@&#8203;")


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
            "TRADE_OFF": TRADE_OFF,
            "trade_off_said": trade_off_said,
            "trade_off_table": trade_off_table,
            "DROP": DROP,
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
