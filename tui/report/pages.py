"""What the Jinja templates of the HTML and Markdown reports share."""

import re
from collections.abc import Callable
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from store.judging import JudgeRow
from store.rows import MetricRow
from store.slices import worst
from tui import judges
from tui.declared import declared
from tui.facts import NOT_FOUND, costs, labels
from tui.families import family_of, rank
from tui.output import interval, iso, number
from tui.report import summary as reading
from tui.text import printable

WORST = 10  # slices in a report


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
    made.filters.update(number=number, signed=lambda value: number(value, sign=True), time=iso)
    return made


def context(summary: reading.Summary) -> dict[str, Any]:
    """The names that templates use."""
    return {
        "s": summary,
        "run": summary.run,
        "verdict": reading.verdict(summary.run),
        "no_verdict": reading.no_verdict(summary.run),
        "result": lambda model: reading.failures(model, summary),
        "cut_reason": reading.cut_reason,
        "families": families(summary),
        "worst_slices": worst(summary.slices, WORST),
        "declared": declared,
        "costs": costs,
        "labels": labels,
        "NOT_FOUND": NOT_FOUND,
        "judge_name": reading.judge_name,
        "judging": judges,
        "about_judge": lambda judge, full: about_judge(summary, judge, full),
        "interval": interval,
        "change": reading.change,
        "environment": list(reading.environment_lines(summary.run.environment)),
        "settings": lambda judge: dict(judge.details or {}),
    }


def about_judge(summary: reading.Summary, judge: JudgeRow, full: bool) -> list[judges.Said]:
    """What there is to say about a judge and its agreement with others; of its matches all, or the doubts."""
    found = summary.judging
    said = [*judges.about_judge(found, judge), *judges.agreement(found, judge)]
    for row in found.win_rates:
        if row.judge == judge.name and row.turn == 0:
            match = [each for each in judges.about_match(found, row) if full or each.warns]
            said += [judges.Said(f"{judges.subject(row)}: {each.text}", each.warns) for each in match]
    return said


def families(summary: reading.Summary) -> list[tuple[str, list[MetricRow]]]:
    """The metrics by family."""
    found: dict[str, list[MetricRow]] = {}
    for metric in summary.metrics:
        found.setdefault(family_of(metric.measure, metric.source), []).append(metric)
    return sorted(found.items(), key=lambda item: rank(item[0]))


def shown(value: Any) -> Any:
    """Texts with their control characters visible; anything else as it is."""
    return printable(value) if type(value) is str else value


_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>#|~!&]|:(?=//))")


def inert_markdown(value: Any) -> Any:
    """Data in Markdown as text of one line: no markup, mention, link, entity or table cell comes of it."""
    if type(value) is not str:
        return value
    # A backslash does not stop the mention of a person; a space of no width does.
    return _MARKDOWN.sub(r"\\\1", printable(value.replace("\n", "⏎"))).replace("@", "@&#8203;")
