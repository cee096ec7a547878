"""One run as a person reads it in a terminal: the verdict first, then what it rests on."""

from itertools import groupby

from store.rows import ComparisonRow, ModelScoreRow
from tui.output import (
    Column,
    heading,
    interval,
    moment,
    number,
    out,
    paragraph,
    print_table,
    strong,
)
from tui.report.summary import Summary, change, failures, judge_name, no_verdict, verdict
from tui.text import MISSING, duration, printable

UNCLEAR = "no clear change"
CLEAR = {
    "better": "+ better",
    "worse": "- worse",
    "more": "more",
    "less": "less",
    "not tested": "not tested",
}


def print_summary(summary: Summary, *, full: bool = False) -> None:
    """The verdict and what it rests on; `full` adds every interval."""
    _head(summary)
    _candidates(summary)
    _win_rates(summary)
    _scores(summary, full)
    _benchmarks(summary)
    if full:
        for kind in ("metric", "benchmark"):
            _changes(summary, kind)
    else:
        _changes_at_a_glance(summary)
    _alerts(summary)


def _head(summary: Summary) -> None:
    run = summary.run
    result = verdict(run).upper() if run.passed is False else verdict(run)
    out(strong(printable(f"run {run.id} · {run.name} · {result}")))
    took = f", took {duration(run.finished - run.started)}" if run.finished and run.started else ""
    when = f"started {moment(run.started)} UTC" if run.started else "not started"
    paragraph(
        f"{when}{took} · plan {run.plan_file} {run.plan_hash[:12]} · eval set {run.eval_set_file or ''} "
        f"{run.eval_set or 'not read yet'} · seed {run.seed}"
    )
    if run.passed is None and (reason := no_verdict(run)):
        paragraph(f"no verdict: {reason}")


def _candidates(summary: Summary) -> None:
    if not summary.candidates:
        return
    heading("Candidates")
    rows = [[model.name, failures(model, summary), _probe(model.probe)] for model in summary.candidates]
    print_table([Column("candidate"), Column("result"), Column("adapter's effect on logits")], rows)


def _probe(probe: dict[str, float] | None) -> str:
    return "" if probe is None else f"up to {number(probe.get('max_difference'))}"


def _win_rates(summary: Summary) -> None:
    for judge, rows in groupby(
        summary.win_rates, key=lambda row: judge_name(row.judge, row.is_language_model)
    ):
        heading(f"Win rate by judge {judge}")
        rates = list(rows)
        columns = [Column("candidate"), Column("against"), Column("win rate", True), Column("95% interval")]
        columns += [Column("win/loss/tie", True), Column("failed", True)]
        columns += [Column("1st place", True), Column("equal length", True)]
        print_table(
            columns,
            [
                [
                    row.candidate,
                    row.baseline,
                    number(row.win_rate),
                    interval(row.low, row.high),
                    f"{row.wins}/{row.losses}/{row.ties}",
                    str(row.failed),
                    number(row.position_bias),
                    number(row.length_controlled),
                ]
                for row in rates
            ],
        )
        for row in rates:
            if row.reason:
                paragraph(f"{row.candidate} / {row.baseline}: {row.reason}", "  ")


def _scores(summary: Summary, full: bool) -> None:
    if not summary.scores:
        return
    heading("Scores, with 95% intervals" if full else "Scores")
    columns = [Column("measure"), *(Column(model.name, True) for model in summary.models)]
    rows = [
        [
            metric.measure,
            *(_score(summary.score(model.name, metric.measure), full) for model in summary.models),
        ]
        for metric in summary.metrics
    ]
    print_table(columns, rows)
    missing: dict[tuple[str, int, int, str], list[str]] = {}
    for row in summary.scores:
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


def _changes_at_a_glance(summary: Summary) -> None:
    """A table for each baseline: what every candidate changed, and whether it is more than chance."""
    by_baseline: dict[str, list[ComparisonRow]] = {}
    for row in summary.comparisons:
        by_baseline.setdefault(row.baseline, []).append(row)
    for baseline, rows in by_baseline.items():
        heading(f"Change against {baseline}")
        cells: dict[str, dict[str, str]] = {}
        for row in rows:
            cells.setdefault(row.measure, {})[row.candidate] = _glance(row)
        names = list(dict.fromkeys(row.candidate for row in rows))
        print_table(
            [Column("measure"), *(Column(name) for name in names)],
            [[measure, *(found.get(name, MISSING) for name in names)] for measure, found in cells.items()],
        )
        reasons: dict[str, list[str]] = {}
        for row in rows:
            if row.reason:
                reasons.setdefault(row.reason, []).append(row.measure)
        for reason, measures in reasons.items():
            paragraph(f"{', '.join(dict.fromkeys(measures))}: {reason}", "  ", "")
    if by_baseline:
        paragraph(f"= {UNCLEAR}; in brackets the smallest that would have shown. Intervals: --full")


def _glance(row: ComparisonRow) -> str:
    if row.delta is None:
        return MISSING
    if row.low is None:
        return number(row.delta, sign=True)
    word = change(row)
    if word != UNCLEAR:
        return f"{number(row.delta, sign=True)} {word}"
    seen = "" if row.smallest_detectable is None else f" ({number(row.smallest_detectable)})"
    return f"{number(row.delta, sign=True)} ={seen}"


def _changes(summary: Summary, kind: str) -> None:
    """Candidate minus baseline, a table for each pair of models."""
    chosen = [row for row in summary.comparisons if row.kind == kind]
    for (candidate, baseline), rows in groupby(chosen, key=lambda row: (row.candidate, row.baseline)):
        heading(f"{candidate} against {baseline}: {'measures' if kind == 'metric' else 'benchmarks'}")
        print_changes(list(rows))


def print_changes(rows: list[ComparisonRow]) -> None:
    """What changed as a table; what did not in a line, with the smallest change that would have shown."""
    clear = [row for row in rows if change(row) in CLEAR]
    if clear:
        columns = [Column("measure"), Column("from", True), Column("to", True), Column("delta", True)]
        print_table(
            [*columns, Column("95% interval"), Column("change"), Column("n", True)],
            [_cells(row) for row in clear],
        )
    unclear = [_unclear(row) for row in rows if change(row) == UNCLEAR]
    if unclear:
        paragraph(f"= {UNCLEAR} (and the smallest that would have shown): {', '.join(unclear)}", "  ", "")
    for row in rows:
        if row.reason:
            paragraph(f"{row.measure}: {row.reason}", "  ", "")


def _unclear(row: ComparisonRow) -> str:
    seen = row.smallest_detectable
    return row.measure if seen is None else f"{row.measure} ({number(seen)})"


def _cells(row: ComparisonRow) -> list[str]:
    return [
        row.measure,
        number(row.baseline_value),
        number(row.candidate_value),
        number(row.delta, sign=True),
        interval(row.low, row.high, sign=True),
        CLEAR[change(row)],
        str(row.n),
    ]


def _benchmarks(summary: Summary) -> None:
    if not summary.benchmarks:
        return
    heading("Benchmarks (lm-eval), ± standard error")
    models = [
        model.name for model in summary.models if any(row.model == model.name for row in summary.benchmarks)
    ]
    found: dict[str, dict[str, str]] = {}
    for row in summary.benchmarks:
        metric = row.metric if row.filter == "none" else f"{row.metric},{row.filter}"
        error = "" if row.stderr is None else f" ±{number(row.stderr)}"
        found.setdefault(f"{row.task} · {metric}", {})[row.model] = f"{number(row.value)}{error}"
    print_table(
        [Column("task"), *(Column(name, True) for name in models)],
        [[task, *(cells.get(name, MISSING) for name in models)] for task, cells in found.items()],
    )
    for row in summary.benchmarks:
        if row.value is None and row.reason:
            paragraph(f"{row.task}, {row.model}: {row.reason}", "  ")


def _alerts(summary: Summary) -> None:
    heading("Alerts")
    if not summary.alerts:
        out("none")
    for alert in summary.alerts:
        whose = "" if alert.candidate in alert.message else f"{alert.candidate}: "
        seen = f" (seen by {alert.acknowledged_by}: {alert.note})" if alert.acknowledged else ""
        paragraph(f"{whose}{alert.message}{seen}", " " * 9, f"{alert.severity.upper():9}")
