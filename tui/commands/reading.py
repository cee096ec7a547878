"""Commands that read the history: runs, show, report."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from store import history
from store.session import opened
from tui.commands.common import Json, Run, Store, store_folder
from tui.output import Column, err, iso, moment, number, out, paragraph, print_json, print_table
from tui.report.remarks import noise_remarks
from tui.report.summary import as_values, cost, gather, no_verdict, verdict


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
Limit = Annotated[int, typer.Option("--limit", min=1, help="How many of the newest runs.")]
FormatOption = Annotated[Format, typer.Option("--format", help="What to write.")]
Older = Annotated[str, typer.Argument(metavar="RUN", help="The run to compare with: id, name or last.")]
Newer = Annotated[str, typer.Argument(metavar="RUN", help="The run in question: id, name or last.")]
Out = Annotated[
    Path | None, typer.Option("--out", metavar="FILE", help="Where to [default: standard output]")
]


def runs(context: typer.Context, limit: Limit = 20, json: Json = False, store: Store = None) -> None:
    """List the runs, newest first."""
    with opened(store_folder(context, store)) as connection:
        rows = history.runs(connection, limit=limit)
        if json:
            print_json([_run_values(row.id, connection) for row in rows])
            return
        total = history.count_runs(connection)
    if not rows:
        out("no runs yet; `assay run PLAN` starts one")
        return
    columns = [
        Column("id", True),
        Column("name"),
        Column("result"),
        Column("candidates"),
        Column("win rate", True),
        Column("critical", True),
        Column("started (UTC)"),
    ]
    print_table(
        columns,
        [
            [
                str(row.id),
                row.name,
                verdict(row),
                row.candidates or "",
                number(row.win_rate),
                str(row.critical or ""),
                moment(row.started or row.created),
            ]
            for row in rows
        ],
    )
    if total > len(rows):
        err(f"{total - len(rows)} older runs; --limit N shows more")


def _run_values(run_id: int, connection: history.Connection) -> dict[str, object]:
    run = history.run(connection, run_id)
    absent = "" if run.finished is not None else f"the run is {run.status}"
    dollars, unknown = cost(history.spending(connection, run_id))
    return {
        "id": str(run.id),
        "name": run.name,
        "status": run.status,
        "started": iso(run.started),
        "finished": iso(run.finished),
        "passed": run.passed,
        "cost": dollars,
        "reason": "; ".join(part for part in (no_verdict(run) or absent, unknown) if part) or None,
    }


def show(
    context: typer.Context,
    run: Run,
    json: Json = False,
    full: Full = False,
    slices: Slices = False,
    find: Find = "",
    store: Store = None,
) -> None:
    """Show one run: its verdict, numbers, comparisons and alerts."""
    from tui.commands.showing import print_summary

    with opened(store_folder(context, store)) as connection:
        summary = gather(connection, history.find_run(connection, run))
    if json:
        print_json(as_values(summary))
    else:
        print_summary(summary, full=full, slices=slices, find=find)


def report(
    context: typer.Context, run: Run, format: FormatOption, file: Out = None, store: Store = None
) -> None:
    """Write a report of one run to hand on."""
    from tui.report import render

    with opened(store_folder(context, store)) as connection:
        summary = gather(connection, history.find_run(connection, run))
    text = render(summary, format.value)
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
    from engine.compare_runs import compare_runs
    from tui.commands.comparing import comparison_values, print_comparison

    with opened(store_folder(context, store)) as connection:
        runs = history.find_run(connection, older), history.find_run(connection, newer)
        found = compare_runs(connection, *runs)
        remarks = [
            f"run {run_id}: {remark}"
            for run_id in runs
            for remark in noise_remarks(history.models(connection, run_id))
        ]
    if json:
        print_json({**comparison_values(found), "remarks": remarks})
    else:
        print_comparison(found)
        for remark in remarks:
            paragraph(remark, "  ", "")
