"""What the Jinja templates of the HTML and Markdown reports share."""

import re
from collections.abc import Callable, Iterator
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from engine.decision import judges
from engine.decision.families import family_of, rank
from store.read.judging import JudgeRow
from store.read.rows import MetricRow
from store.read.slices import worst
from store.records.alert import kind_of
from tui.report.data import coverage, data_facts
from tui.sections import words
from tui.sections.eta import in_gpu_hours
from tui.sections.facts import NOT_FOUND, costs, labels
from tui.sections.material import Report
from tui.sections.remarks import remarks
from tui.sections.summary import Summary
from tui.text.gate import printable
from tui.text.output import interval, iso, number

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
    made.filters.update(
        number=number, signed=lambda value: number(value, sign=True), time=iso, probability=probability
    )
    return made


def probability(p: float | None) -> str:
    """A p-value; one that three decimals would show as 0 is no 0."""
    return "< 0.001" if p is not None and p < 0.001 else number(p)


def context(report: Report) -> dict[str, Any]:
    """The names that templates use."""
    summary = report.summary
    return {
        "report": report,
        "s": summary,
        "run": summary.run,
        "verdict": words.verdict(summary.run),
        "no_verdict": words.no_verdict(summary.run),
        "result": lambda model: words.failures(model, summary),
        "cut_reason": words.cut_reason,
        "families": families(summary),
        "worst_slices": worst(summary.slices, WORST),
        "data_facts": list(data_facts(summary.run)),
        "coverage": coverage(summary.run),
        "spent": list(spent(summary)),
        "remarks": remarks(summary),
        "costs": costs,
        "labels": labels,
        "NOT_FOUND": NOT_FOUND,
        "judge_name": words.judge_name,
        "judging": judges,
        "about_judge": lambda judge, full: about_judge(summary, judge, full),
        "interval": interval,
        "change": words.change,
        "kind_of": kind_of,
    }


def spent(summary: Summary) -> Iterator[tuple[str, str]]:
    """What the run cost: money for judges, hours of GPUs; what nobody knows is said."""
    dollars, unknown = words.cost(summary.spending)
    yield "judges", unknown or f"${dollars or 0:,.2f}"
    yield "GPUs", "no model held a GPU here" if summary.gpu_hours is None else in_gpu_hours(summary.gpu_hours)


def about_judge(summary: Summary, judge: JudgeRow, full: bool) -> list[judges.Said]:
    """What there is to say about a judge and its agreement with others; of its matches all, or the doubts."""
    found = summary.judging
    said = [*judges.about_judge(found, judge), *judges.agreement(found, judge)]
    for row in found.win_rates:
        if row.judge == judge.name and row.turn == 0:
            match = [each for each in judges.about_match(found, row) if full or each.warns]
            said += [judges.Said(f"{judges.subject(row)}: {each.text}", each.warns) for each in match]
    return said


def families(summary: Summary) -> list[tuple[str, list[MetricRow]]]:
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
    # Markup is a str of another type: what the reports themselves have made safe.
    if type(value) is not str:
        return value
    # A backslash does not stop the mention of a person; a space of no width does.
    return _MARKDOWN.sub(r"\\\1", printable(value.replace("\n", "⏎"))).replace("@", "@&#8203;")
