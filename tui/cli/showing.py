"""One run as a person reads it in a terminal: the verdict first, then what it rests on."""

from collections.abc import Sequence

from engine.decision.decision import Verdict
from tui.cli.showing_data import print_data
from tui.cli.showing_decision import print_decision
from tui.cli.showing_facts import print_costs, print_labels
from tui.cli.showing_judging import print_judging
from tui.cli.showing_measures import print_every_change, print_glance, print_scores
from tui.cli.showing_slices import print_corpora, print_disparities, print_forgetting, print_slices
from tui.cli.showing_sweep import print_sweep
from tui.sections.eta import in_gpu_hours
from tui.sections.remarks import remarks
from tui.sections.summary import Summary
from tui.sections.words import cost, failures, no_verdict, verdict
from tui.text.gate import MISSING, duration, printable
from tui.text.output import (
    Column,
    heading,
    moment,
    number,
    out,
    paragraph,
    print_table,
    strong,
)


def print_summary(
    summary: Summary, verdicts: Sequence[Verdict], *, full: bool = False, slices: bool = False, find: str = ""
) -> None:
    """The decision and what it rests on.

    `full` adds every interval, `slices` every slice; `find` keeps the measures, families and slices whose
    name contains it.
    """
    print_head(summary)
    print_decision(verdicts)
    print_data(summary)
    print_sweep(summary)
    _candidates(summary)
    print_forgetting(summary)
    print_judging(summary, full=full)
    print_scores(summary, full=full, find=find)
    print_labels(summary, full=full)
    _benchmarks(summary)
    print_corpora(summary)
    if full:
        print_every_change(summary, find=find)
    else:
        print_glance(summary, find=find)
    print_slices(summary, everything=slices, find=find)
    print_disparities(summary)
    print_costs(summary)
    _remarks(summary)
    print_alerts(summary)


def print_verdict(summary: Summary) -> None:
    """The run and its outcome in one line."""
    run = summary.run
    result = verdict(run).upper() if run.passed is False else verdict(run)
    out(strong(printable(f"run {run.id} · {run.name} · {result}")))


def print_head(summary: Summary) -> None:
    """Which run it is, how it ended, and what it ran on."""
    run = summary.run
    print_verdict(summary)
    took = f", took {duration(run.finished - run.started)}" if run.finished and run.started else ""
    plan = f" · plan {run.plan_file} {run.plan_hash[:12]}" if run.plan_hash else ""
    when = f"started {moment(run.started)} UTC" if run.started else "not started"
    # What was imported may be benchmarks alone.
    data = f" · eval set {run.eval_set_file or ''} {run.eval_set or 'not read yet'}"
    paragraph(f"{when}{took}{plan}{data if plan or run.eval_set else ''} · seed {run.seed}")
    dollars, unknown = cost(summary.spending)
    if unknown or dollars:
        paragraph(unknown or f"judging has cost ${dollars:,.2f}")
    if summary.gpu_hours is not None:
        paragraph(f"its models took {in_gpu_hours(summary.gpu_hours)}")
    if run.passed is None and not run.imported and (reason := no_verdict(run)):
        paragraph(f"no verdict: {reason}")


def _candidates(summary: Summary) -> None:
    if not summary.candidates:
        return
    heading("Candidates")
    rows = [[model.name, failures(model, summary), _probe(model.probe)] for model in summary.candidates]
    print_table([Column("candidate"), Column("result"), Column("adapter's effect on logits")], rows)


def _probe(probe: dict[str, float] | None) -> str:
    return "" if probe is None else f"up to {number(probe.get('max_difference'))}"


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
    reused: dict[tuple[str, int], dict[str, None]] = {}
    for row in summary.benchmarks:
        if row.reused_from is not None:
            reused.setdefault((row.model, row.reused_from), {})[row.task] = None
    for (model, run), tasks in reused.items():
        paragraph(f"{model}: {', '.join(tasks)}: measured by run {run}, on the same weights", "  ")


def _remarks(summary: Summary) -> None:
    found = remarks(summary)
    if found:
        heading("Remarks")
    for remark in found:
        paragraph(remark, "  ", "")


def print_alerts(summary: Summary) -> None:
    """What tripped, the open and the severe first."""
    heading("Alerts")
    if not summary.alerts:
        out("none")
    for alert in summary.alerts:
        whose = "" if alert.candidate in alert.message else f"{alert.candidate}: "
        again = " in an earlier run" if alert.follows else ""
        seen = f" (seen by {alert.acknowledged_by}{again}: {alert.note})" if alert.acknowledged else ""
        paragraph(f"{whose}{alert.message}{seen}", " " * 9, f"{alert.severity.upper():9}")
