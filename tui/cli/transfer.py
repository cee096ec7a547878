"""Commands that import runs from other tools and stores, and export runs: import, export."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from engine.errors import BadInput
from store import database
from store.read import live
from store.read.history import find_run
from store.session import opened
from store.transfer.merge import merge
from tui.cli.common import Json, Store, store_folder
from tui.text.output import out, paragraph, print_json

Into = Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder to write to.")]
EXPORT_KIND = "runs (jsonl or parquet), mt-bench, alpaca-eval or lm-eval"
ExportKind = Annotated[str, typer.Argument(metavar="KIND", help=f"What to write: {EXPORT_KIND}.")]
Runs = Annotated[list[str], typer.Argument(metavar="RUN…", help="Runs by id or name, or last.")]
FormatOption = Annotated[
    str | None, typer.Option("--format", metavar="FORMAT", help="For runs: jsonl (default) or parquet.")
]
KIND = "mt-bench, alpaca-eval, prometheus, judgelm, lm-eval, or store (of another Assay)"
Kind = Annotated[str, typer.Argument(metavar="KIND", help=f"Whose files: {KIND}.")]
Source = Annotated[Path, typer.Argument(metavar="PATH", help="The file or folder.")]
Name = Annotated[str | None, typer.Option("--name", help="The run's name.")]
Samples = Annotated[bool, typer.Option("--samples", help="lm-eval: the questions too, to pair runs by.")]
Baseline = Annotated[
    str | None,
    typer.Option("--baseline", metavar="MODEL", help="lm-eval: all models in one run, against this one."),
]

AllRows = Annotated[bool, typer.Option("--all-rows", help="mt-bench: superseded judgments count too.")]


def import_(
    context: typer.Context,
    kind: Kind,
    path: Source,
    name: Name = None,
    samples: Samples = False,
    baseline: Baseline = None,
    all_rows: AllRows = False,
    json: Json = False,
    store: Store = None,
) -> None:
    """Import a run that was done elsewhere into the history."""
    from engine.formats.importing import LM_EVAL, import_benchmarks, import_run

    folder = store_folder(context, store)
    if kind == "store":
        _import_store(path, folder, json)
        return
    if kind == LM_EVAL:
        runs = import_benchmarks(path, folder, name, samples=samples, baseline=baseline)
    elif samples or baseline is not None:
        raise BadInput(f"--samples and --baseline are for lm-eval, not for {kind}")
    elif all_rows and kind != "mt-bench":
        raise BadInput(f"--all-rows is for mt-bench, not for {kind}")
    else:
        runs = [import_run(kind, path, folder, name, all_rows=all_rows)]
    if json:
        print_json({"id": runs[0]} if len(runs) == 1 else {"ids": runs})
        return
    for run_id in runs:
        with opened(folder) as connection:
            for event in reversed(live.events(connection, run_id)):
                paragraph(f"note: {event.message}")
        out(f"run {run_id}: see it with: assay show {run_id}")
    if len(runs) > 1:
        out(f"compare two of them with: assay compare {runs[0]} {runs[1]}")


def export(
    context: typer.Context,
    kind: ExportKind,
    runs: Runs,
    folder: Into,
    form: FormatOption = None,
    store: Store = None,
) -> None:
    """Write runs as JSON lines or Parquet, or one run in the format of another tool."""
    if kind == "runs":
        _export_records(store_folder(context, store), runs, folder, form)
        return
    if len(runs) > 1 or form is not None:
        raise BadInput(f"{kind} takes one run and has its own format", "assay export runs RUN… FOLDER")
    from engine.formats.export import export_run
    from engine.formats.importing import LM_EVAL
    from engine.formats.lm_eval import export_lm_eval
    from store.read.history import find_run
    from store.session import opened
    from store.transfer.export import run_content

    with opened(store_folder(context, store)) as connection:
        run_id = find_run(connection, runs[0])
        if kind == LM_EVAL:
            written = export_lm_eval(connection, run_id, folder)
        else:
            written = export_run(kind, run_content(connection, run_id), folder)
    for path in written:
        out(f"wrote {path}")


def _import_store(path: Path, folder: Path, json: bool) -> None:
    """The runs of another store are added to this one; those that are here already are skipped."""
    database.prepare(folder)
    with opened(folder) as connection:
        found = merge(connection, path)
    if json:
        print_json(asdict(found))
        return
    ids = ", ".join(map(str, found.joined.values()))
    count = len(found.joined)
    out(f"{count} run{'' if count == 1 else 's'} added to this store" + (f": {ids}" if ids else ""))
    for left, why in (
        (found.known, "here already"),
        (found.unfinished, "not finished there"),
        (found.deleted, "deleted there"),
    ):
        if left:
            out(f"skipped: {left} {why}")


def _export_records(folder: Path, runs: list[str], into: Path, form: str | None) -> None:
    """Writes these runs' records into a folder."""
    from engine.formats.export import export_runs

    with opened(folder) as connection:
        ids = list(dict.fromkeys(find_run(connection, run) for run in runs))
        for path in export_runs(connection, ids, into, form or "jsonl"):
            out(f"wrote {path}")
