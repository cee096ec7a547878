"""Commands that read one run or two: show, report, compare."""

from collections.abc import Sequence
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engine.decision.families import NO_GATE, NOT_EVALUATED
from engine.errors import BadInput
from store.read import history
from store.read.query import by_key
from store.read.rows import ComparisonRow
from store.session import opened
from tui.cli.common import FAILED_GATE, AllowEmpty, Json, Run, Store, store_folder
from tui.text.output import err, heading, out, paragraph, print_json

if TYPE_CHECKING:
    from engine.compare.comparison import Comparison
    from engine.gates.checks import RunComparison
    from engine.plan.training_config import Retrained


class ReportFormat(StrEnum):
    html = "html"
    md = "md"
    json = "json"
    junit = "junit"


LISTED = 3  # of what is not compared for one reason

Full = Annotated[bool, typer.Option("--full", help="All intervals, and a table for each pair of models.")]
Slices = Annotated[bool, typer.Option("--slices", help="Every slice, those that got clearly worse first.")]
Find = Annotated[
    str,
    typer.Option(
        "--find", metavar="TEXT", help="Only measures, families and slices with TEXT in their name."
    ),
]
Decision = Annotated[
    bool, typer.Option("--decision", help="Only the decision, with every question and its numbers.")
]
FormatOption = Annotated[ReportFormat, typer.Option("--format", help="What to write.")]
Older = Annotated[str, typer.Argument(metavar="RUN", help="The run to compare with: id, name or last.")]
Newer = Annotated[str, typer.Argument(metavar="RUN", help="The run in question: id, name or last.")]
Out = Annotated[
    Path | None, typer.Option("--out", metavar="FILE", help="The file to write [default: standard output]")
]


def show(
    context: typer.Context,
    run: Run,
    json: Json = False,
    full: Full = False,
    slices: Slices = False,
    find: Find = "",
    decision: Decision = False,
    store: Store = None,
) -> None:
    """Show one run: the decision, then its numbers, comparisons and alerts."""
    from tui.cli.terminal import print_decision, print_head, print_run
    from tui.report.json import run_values
    from tui.sections.gather import gather

    with opened(store_folder(context, store)) as connection:
        found = gather(connection, history.find_run(connection, run))
    if json:
        print_json(run_values(found))
        return
    if decision:
        print_head(found)
        print_decision(found.decision, full=True)
    else:
        print_run(found, full=full, slices=slices, find=find)


def report(
    context: typer.Context, run: Run, format: FormatOption, file: Out = None, store: Store = None
) -> None:
    """Write a report of one run to share."""
    from engine.data.textfile import write_text
    from tui.report import render
    from tui.sections.gather import gather_report

    with opened(store_folder(context, store)) as connection:
        found = gather_report(connection, history.find_run(connection, run))
    text = render(found, format.value)
    if file is None:
        out(text.rstrip("\n"))
        return
    write_text(file, text, "choose another file with --out FILE")
    err(f"wrote {file}")


def compare(
    context: typer.Context,
    older: Older,
    newer: Newer,
    allow_empty: AllowEmpty = False,
    json: Json = False,
    store: Store = None,
) -> None:
    """Compare the candidates of two runs, the older first.

    The comparison is paired, on the examples that both evaluated in the same words. Exits with 1 where
    nothing that a gate checks could be compared, and with 2 where nothing could.
    """
    from engine.compare.comparable import shared_sets
    from engine.decision.facts import retrainings
    from engine.gates.checks import compare_runs
    from store.read.answers import answer_counts
    from tui.sections.remarks import cut_remarks, noise_remarks

    with opened(store_folder(context, store)) as connection:
        runs = history.find_run(connection, older), history.find_run(connection, newer)
        found, trained = compare_runs(connection, *runs), retrainings(connection, *runs)
        sets = shared_sets(connection, *runs)
        remarks = found.settings + [
            f"run {run_id}: {remark}"
            for run_id in runs
            for remark in (
                *noise_remarks(history.models(connection, run_id)),
                *cut_remarks(answer_counts(connection, run_id)),
            )
        ]
    if json:
        training = [asdict(item) | {"said": item.said} for item in trained]
        values = {**_comparison_values(found), "eval_sets": asdict(sets)}
        print_json({**values, "training": training, "remarks": remarks})
    else:
        _print_run_comparison(found, trained)
        if sets.said or remarks:
            heading("Remarks")
        for remark in filter(None, (sets.said, *remarks)):
            paragraph(remark, "  ", "")
    if found.is_empty and not allow_empty:
        said = f"runs {found.older} and {found.newer} have nothing in common that can be compared"
        raise BadInput(said, "the list above says why; name runs of the same candidate on the same examples")
    if not found.is_evaluated and not allow_empty:
        raise typer.Exit(FAILED_GATE)


def _comparison_values(found: "RunComparison") -> dict[str, Any]:
    """The documented JSON shape; a missing value is null with its reason."""
    return {
        "older": str(found.older),
        "newer": str(found.newer),
        "shared_examples": found.shared,
        "verdict": NOT_EVALUATED if not found.is_evaluated else "drops" if found.alerts else "no drop",
        "comparisons": [_one_comparison(item) for item in found.comparisons],
        "benchmarks": [_one_comparison(item) for item in found.benchmarks],
        "alerts": [
            {**asdict(alert), "acknowledged": None, "reason": "alerts between runs are not stored"}
            for alert in found.alerts
        ],
        "incomparable": [asdict(item) for item in found.incomparable],
    }


def _print_training(trained: "Sequence[Retrained]") -> None:
    """The changes of the training, a line for each candidate."""
    if trained:
        heading("Changed in the training")
    for item in trained:
        paragraph(f"{item.candidate}: {item.said}", "    ", "  ")


def _one_comparison(item: "Comparison") -> dict[str, Any]:
    from engine.compare.comparison import stored

    values = stored(item)
    values["relative"] = ComparisonRow(**values).relative
    if values["delta"] is None and values["reason"] is None:
        values["reason"] = "it cannot be computed from these values"
    return values


def _print_run_comparison(found: "RunComparison", trained: "Sequence[Retrained]" = ()) -> None:
    from tui.cli.terminal import print_comparisons

    shared = f", on the {found.shared} examples that both evaluated" if found.shared else ""
    out(f"run {found.newer} against run {found.older}{shared}")
    _print_training(trained)
    everything = [item for item in (*found.comparisons, *found.benchmarks) if item.delta is not None]
    pairs = by_key(((item.candidate, item.baseline), item) for item in everything)
    for (candidate, baseline), rows in pairs.items():
        heading(f"{candidate} against {baseline}")
        print_comparisons(rows)
    if found.is_empty:
        out("the runs have nothing in common that can be compared")
    heading("Drops beyond the gates")
    for alert in found.alerts:
        paragraph(alert.message, " " * 9, f"{alert.severity.upper():9}")
    if not found.is_evaluated:
        out(NO_GATE)
    elif not found.alerts:
        out("none")
    if found.incomparable:
        heading("Not compared")
        by_reason = by_key((item.reason, item.what) for item in found.incomparable)
        for reason, whats in by_reason.items():
            more = f" and {len(whats) - LISTED} more (--json lists them)" if len(whats) > LISTED + 1 else ""
            paragraph(f"{'; '.join(whats[:LISTED] if more else whats)}{more}: {reason}", "  ", "")
