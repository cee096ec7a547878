"""One run as a person reads it in a terminal: the verdict first, then what it rests on."""

from itertools import groupby

from store.rows import ComparisonRow
from tui.output import (
    Column,
    err,
    heading,
    interval,
    moment,
    number,
    out,
    paragraph,
    print_table,
    strong,
    width,
)
from tui.report.summary import Summary, change, failures, judge_name, no_verdict, verdict
from tui.text import MISSING, duration, printable

ARROWS = {"higher": "higher is better", "lower": "lower is better", "none": ""}
MARKS = {
    "better": "+ better",
    "worse": "- worse",
    "no clear change": "= no clear change",
    "missing": "missing",
}


def print_summary(summary: Summary) -> None:
    _head(summary)
    _candidates(summary)
    _win_rates(summary)
    _scores(summary)
    for kind in ("metric", "benchmark"):
        _changes(summary, kind)
    _benchmarks(summary)
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
        columns = [Column("candidate"), Column("baseline"), Column("win rate", True), Column("95% interval")]
        columns += [Column(title, True) for title in ("win", "loss", "tie", "failed")]
        print_table(
            columns,
            [
                [
                    row.candidate,
                    row.baseline,
                    number(row.win_rate),
                    interval(row.low, row.high),
                    *(str(count) for count in (row.wins, row.losses, row.ties, row.failed)),
                ]
                for row in rates
            ],
        )
        for row in rates:
            if row.win_rate is None:
                paragraph(f"{row.candidate} against {row.baseline}: {row.reason or 'no verdicts'}", "  ")
            else:
                paragraph(
                    f"{row.candidate} against {row.baseline}: the first place won {number(row.position_bias)} "
                    f"of the judgments, length-controlled win rate {number(row.length_controlled)}",
                    "  ",
                )


def _scores(summary: Summary) -> None:
    if not summary.scores:
        return
    heading("Scores, with 95% intervals")
    columns = [Column("measure"), *(Column(model.name, True) for model in summary.models)]
    rows: list[list[str]] = []
    notes: list[str] = []
    for metric in summary.metrics:
        cells = [metric.measure]
        for model in summary.models:
            row = summary.score(model.name, metric.measure)
            cells.append(f"{number(row.value)} {interval(row.low, row.high)}".strip() if row else MISSING)
            if row and row.missing:
                reason = f" ({row.reason})" if row.reason else ""
                notes.append(
                    f"{metric.measure}, {model.name}: {row.missing} of {row.n + row.missing} missing{reason}"
                )
        rows.append(cells)
    print_table(columns, rows)
    for note in notes:
        paragraph(note, "  ")


def _changes(summary: Summary, kind: str) -> None:
    """Candidate minus baseline, a table for each pair of models."""
    chosen = [row for row in summary.comparisons if row.kind == kind]
    for (candidate, baseline), rows in groupby(chosen, key=lambda row: (row.candidate, row.baseline)):
        heading(f"{candidate} against {baseline}: {'measures' if kind == 'metric' else 'benchmarks'}")
        print_changes(list(rows))


def print_changes(rows: list[ComparisonRow]) -> None:
    """Deltas in words; what stayed unclear says the smallest change that would have been seen."""
    columns = [Column("measure"), Column("delta", True), Column("95% interval"), Column("change")]
    columns += [Column("n", True), Column("could see", True)]
    print_table(
        columns,
        [
            [
                row.measure,
                number(row.delta, sign=True),
                interval(row.low, row.high, sign=True),
                MARKS.get(change(row), change(row)),
                str(row.n),
                number(row.smallest_detectable),
            ]
            for row in rows
        ],
    )
    for row in rows:
        if row.reason:
            paragraph(f"{row.measure}: {row.reason}", "  ")


def _benchmarks(summary: Summary) -> None:
    if not summary.benchmarks:
        return
    heading("Benchmarks (lm-eval)")
    columns = [Column("task"), Column("metric"), Column("model"), Column("value", True), Column("±", True)]
    columns += [Column("n", True), Column("shots", True)]
    rows = []
    for row in summary.benchmarks:
        name = row.metric if row.filter == "none" else f"{row.metric},{row.filter}"
        shots = "" if row.shots is None else str(row.shots)
        rows.append([row.task, name, row.model, number(row.value), number(row.stderr), str(row.n), shots])
    print_table(columns, rows)
    for row in summary.benchmarks:
        if row.value is None and row.reason:
            paragraph(f"{row.task}, {row.model}: {row.reason}", "  ")


def _alerts(summary: Summary) -> None:
    heading("Alerts")
    if not summary.alerts:
        out("none")
    for alert in summary.alerts:
        against = f" against {alert.baseline}" if alert.baseline else ""
        seen = f" (seen by {alert.acknowledged_by}: {alert.note})" if alert.acknowledged else ""
        first = f"{alert.severity.upper():9}"
        paragraph(f"{alert.candidate}{against}: {alert.message}{seen}", " " * 9, first)
    if width() < 60:
        err("the tables read better on 80 columns")
