"""The measures of a run in a terminal, family by family: their values, and what changed.

Where there are more measures than a person reads, those that did not get clearly worse are folded into a
line for each family.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from engine.decision.families import family, family_of, rank, summarize
from store.read.rows import ComparisonRow, MetricRow, ModelScoreRow
from tui.sections.summary import Summary
from tui.sections.words import change
from tui.text.gate import MISSING
from tui.text.output import Column, heading, interval, number, paragraph, print_table

MOST = 24  # measures that are shown without folding
UNCLEAR = ("inconclusive", "no worse", "at the floor")
CLEAR = {
    "better": "+ better",
    "worse": "- worse",
    "more": "more",
    "less": "less",
    "not tested": "not tested",
}


@dataclass(frozen=True, slots=True)
class Section:
    """A family's measures, and which of them are shown."""

    family: str
    measures: tuple[str, ...]
    shown: frozenset[str]

    @property
    def title(self) -> str:
        folded = len(self.measures) - len(self.shown)
        return f"{self.family}: {folded} folded" if folded else self.family


def sections(
    families: Iterable[tuple[str, str]], rows: Sequence[ComparisonRow], *, full: bool, find: str
) -> list[Section]:
    """Measures by family, out of pairs of (measure, family): those that got clearly worse come first.

    `find` keeps the measures and families whose name contains it, and folds nothing; neither does `full`.
    """
    found: dict[str, list[str]] = {}
    for measure, name in families:
        if find.lower() in f"{name} {measure}".lower():
            found.setdefault(name, []).append(measure)
    worse = {row.measure for row in rows if change(row) == "worse"}
    unfolded = full or bool(find) or sum(map(len, found.values())) <= MOST
    ordered = sorted(found.items(), key=lambda item: (not worse & set(item[1]), rank(item[0])))
    return [
        Section(name, tuple(measures), frozenset(measures if unfolded else worse.intersection(measures)))
        for name, measures in ordered
    ]


def print_scores(summary: Summary, *, full: bool, find: str) -> None:
    """Every model's value of every measure; `full` adds the intervals."""
    of_metrics = [row for row in summary.comparisons if row.kind == "metric"]
    families = [(metric.measure, family_of(metric.measure, metric.source)) for metric in summary.metrics]
    found = sections(families, of_metrics, full=full, find=find)
    if not summary.scores or not found:
        return
    heading("Scores, with 95% intervals" if full else "Scores")
    columns = [Column("measure"), *(Column(model.name, True) for model in summary.models)]

    def cells(measure: str) -> list[str]:
        return [_score(summary.score(model.name, measure), full) for model in summary.models]

    print_table(columns, _rows(found, cells, lambda section: [""] * len(summary.models)))
    _folded(found)
    shown = frozenset().union(*(section.shown for section in found))
    _missing([row for row in summary.scores if row.measure in shown])


def _rows(
    found: Sequence[Section], cells: Callable[[str], list[str]], head: Callable[[Section], list[str]]
) -> list[list[str]]:
    """A table's lines: a line for each family, and its measures indented below."""
    rows = []
    for section in found:
        rows.append([section.title, *head(section)])
        rows += [
            [f"  {measure}", *cells(measure)] for measure in section.measures if measure in section.shown
        ]
    return rows


def _folded(found: Sequence[Section]) -> None:
    count = sum(len(section.measures) - len(section.shown) for section in found)
    if count:
        paragraph(
            f"{count} measures that did not get clearly worse are folded: --find NAME shows those of a "
            "family or of a name, --full all of them",
            "  ",
            "",
        )


def _missing(rows: Iterable[ModelScoreRow]) -> None:
    missing: dict[tuple[str, int, int, str], list[str]] = {}
    for row in rows:
        if row.missing:
            key = (row.model, row.missing, row.n + row.missing, row.reason or "no reason recorded")
            missing.setdefault(key, []).append(row.measure)
    for (model, count, total, reason), measures in missing.items():
        paragraph(f"{model}: {count} of {total} missing ({reason}): {', '.join(measures)}", "  ")


def _score(row: ModelScoreRow | None, full: bool) -> str:
    if row is None:
        return MISSING
    if not full:
        return number(row.value)
    return f"{number(row.value)} {interval(row.low, row.high).replace(',', '')}".strip()


def print_glance(summary: Summary, *, find: str) -> None:
    """A table for each baseline: what every candidate changed, and whether it is more than chance."""
    by_baseline: dict[str, list[ComparisonRow]] = {}
    for row in summary.comparisons:
        by_baseline.setdefault(row.baseline, []).append(row)
    shown = [_glance_at(baseline, rows, summary, find) for baseline, rows in by_baseline.items()]
    if any(shown):
        paragraph("= inconclusive (in brackets the min. detectable), or no worse. Intervals: --full")


def _glance_at(baseline: str, rows: list[ComparisonRow], summary: Summary, find: str) -> bool:
    """Whether there was anything to show."""
    families = dict.fromkeys((row.measure, family(row, summary.sources)) for row in rows)
    found = sections(families, rows, full=False, find=find)
    names = list(dict.fromkeys(row.candidate for row in rows))
    by_cell = {(row.measure, row.candidate): row for row in rows}

    def cells(measure: str) -> list[str]:
        found = (by_cell.get((measure, name)) for name in names)
        return [MISSING if row is None else _glance(row) for row in found]

    def head(section: Section) -> list[str]:
        of_section = [row for row in rows if row.measure in section.measures]
        return [_sum([row for row in of_section if row.candidate == name]) for name in names]

    if not found:
        return False
    heading(f"Change against {baseline}")
    print_table([Column("measure"), *(Column(name) for name in names)], _rows(found, cells, head))
    _folded(found)
    reasons: dict[str, list[str]] = {}
    for row in rows:
        if row.reason and any(row.measure in section.shown for section in found):
            reasons.setdefault(row.reason, []).append(row.measure)
    for reason, measures in reasons.items():
        paragraph(f"{', '.join(dict.fromkeys(measures))}: {reason}", "  ", "")
    return True


def _sum(rows: Sequence[ComparisonRow]) -> str:
    """What a family comes to for one candidate."""
    found = summarize(rows)
    parts = [f"{found.worse} worse" if found.worse else "", f"{found.better} better" if found.better else ""]
    return ", ".join(filter(None, parts)) or "inconclusive"


def _glance(row: ComparisonRow) -> str:
    if row.delta is None:
        return MISSING
    if row.low is None:
        return number(row.delta, sign=True)
    word = change(row)
    if word not in UNCLEAR:
        return f"{number(row.delta, sign=True)} {word}"
    if word != "inconclusive":
        return f"{number(row.delta, sign=True)} = {word}"
    seen = "" if row.smallest_detectable is None else f" ({number(row.smallest_detectable)})"
    return f"{number(row.delta, sign=True)} ={seen}"


KINDS = {"metric": "measures", "benchmark": "benchmarks", "corpus": "corpora"}


def print_every_change(summary: Summary, *, find: str) -> None:
    """Candidate minus baseline, a table for each pair of models and kind of measure."""
    for kind, words in KINDS.items():
        chosen = [
            row
            for row in summary.comparisons
            if row.kind == kind and find.lower() in f"{family(row, summary.sources)} {row.measure}".lower()
        ]
        for (candidate, baseline), rows in groupby(chosen, key=lambda row: (row.candidate, row.baseline)):
            heading(f"{candidate} against {baseline}: {words}")
            print_changes(list(rows), summary.metrics)


def print_changes(rows: list[ComparisonRow], metrics: Sequence[MetricRow] = ()) -> None:
    """What changed as a table; what did not in a line, with the smallest change that would have shown."""
    clear = [row for row in rows if change(row) in CLEAR]
    if clear:
        columns = [Column("measure"), Column("from", True), Column("to", True), Column("delta", True)]
        sources = {metric.measure: metric.source for metric in metrics}
        families = [(row.measure, family(row, sources)) for row in clear]
        by_measure = {row.measure: row for row in clear}
        print_table(
            [*columns, Column("95% CI", True), Column("change"), Column("n", True)],
            _rows(
                sections(families, clear, full=True, find=""),
                lambda measure: _cells(by_measure[measure]),
                lambda section: [""] * 6,
            ),
        )
    for word in UNCLEAR:
        found = [_unclear(row) for row in rows if change(row) == word]
        if found:
            seen = " (min. detectable)" if word == "inconclusive" else ""
            paragraph(f"= {word}{seen}: {', '.join(found)}", "  ", "")
    for row in rows:
        if row.reason:
            paragraph(f"{row.measure}: {row.reason}", "  ", "")


def _unclear(row: ComparisonRow) -> str:
    seen = row.smallest_detectable if row.standing == "inconclusive" else None
    return row.measure if seen is None else f"{row.measure} ({number(seen)})"


def _cells(row: ComparisonRow) -> list[str]:
    return [
        number(row.baseline_value),
        number(row.candidate_value),
        number(row.delta, sign=True),
        interval(row.low, row.high, sign=True),
        CLEAR[change(row)],
        str(row.n) if row.n else MISSING,
    ]
