"""Commands that read one run or two: show, report, compare."""

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from store.read import history
from store.session import opened
from tui.cli.common import Json, Run, Store, store_folder
from tui.report.values import as_values
from tui.sections.remarks import noise_remarks
from tui.sections.summary import gather
from tui.text.output import err, out, paragraph, print_json


class Format(StrEnum):
    html = "html"
    md = "md"
    json = "json"
    junit = "junit"


Full = Annotated[bool, typer.Option("--full", help="Every interval, and each pair of models on its own.")]
Slices = Annotated[bool, typer.Option("--slices", help="Every slice, those that got clearly worse first.")]
Find = Annotated[
    str, typer.Option("--find", metavar="TEXT", help="Only measures, families and slices of that name.")
]
Decision = Annotated[
    bool, typer.Option("--decision", help="Only whether to ship, with every question and its numbers.")
]
FormatOption = Annotated[Format, typer.Option("--format", help="What to write.")]
Older = Annotated[str, typer.Argument(metavar="RUN", help="The run to compare with: id, name or last.")]
Newer = Annotated[str, typer.Argument(metavar="RUN", help="The run in question: id, name or last.")]
Out = Annotated[
    Path | None, typer.Option("--out", metavar="FILE", help="Where to [default: standard output]")
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
    """Show one run: whether to ship, then its numbers, comparisons and alerts."""
    from engine.decision.decision import decide, decision_values
    from tui.cli.showing import print_head, print_summary
    from tui.cli.showing_decision import print_decision

    with opened(store_folder(context, store)) as connection:
        run_id = history.find_run(connection, run)
        summary, verdicts = gather(connection, run_id), decide(connection, run_id)
    if json:
        print_json(as_values(summary) | {"decision": decision_values(verdicts)})
        return
    if decision:
        print_head(summary)
        print_decision(verdicts, full=True)
    else:
        print_summary(summary, verdicts, full=full, slices=slices, find=find)


def report(
    context: typer.Context, run: Run, format: FormatOption, file: Out = None, store: Store = None
) -> None:
    """Write a report of one run to hand on."""
    from tui.report import render
    from tui.sections.material import collect

    with opened(store_folder(context, store)) as connection:
        found = collect(connection, history.find_run(connection, run))
    text = render(found, format.value)
    if file is None:
        out(text.rstrip("\n"))
        return
    write(file, text)
    err(f"wrote {file}")


def write(file: Path, text: str) -> None:
    """Writes a file. Raises BadInput when it cannot be written."""
    from engine.errors import BadInput

    try:
        # Lone surrogates have no UTF-8; reports are for reading, so they are shown as what they are.
        file.write_text(text, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise BadInput(
            f"{file} cannot be written: {error.strerror}", "choose another file with --out FILE"
        ) from error


def compare(
    context: typer.Context, older: Older, newer: Newer, json: Json = False, store: Store = None
) -> None:
    """Compare the candidates of two runs, the older first.

    The comparison is paired, on the examples that both evaluated in the same words.
    """
    from engine.compare.shared_sets import shared_sets
    from engine.decision.changes import retrainings
    from engine.gates.runs import compare_runs
    from tui.cli.compare import comparison_values, print_comparison, training_values

    with opened(store_folder(context, store)) as connection:
        runs = history.find_run(connection, older), history.find_run(connection, newer)
        found, trained = compare_runs(connection, *runs), retrainings(connection, *runs)
        sets = shared_sets(connection, *runs)
        remarks = [
            f"run {run_id}: {remark}"
            for run_id in runs
            for remark in noise_remarks(history.models(connection, run_id))
        ]
    if json:
        training = training_values(trained)
        values = {**comparison_values(found), "eval_sets": asdict(sets)}
        print_json({**values, "training": training, "remarks": remarks})
    else:
        print_comparison(found, trained)
        if sets.said:
            out()
            paragraph(sets.said)
        for remark in remarks:
            paragraph(remark, "  ", "")
