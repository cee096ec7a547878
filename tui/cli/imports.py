"""Commands that bring in what other tools made, and hand on to them: import, export."""

from pathlib import Path
from typing import Annotated

import typer

from engine.errors import BadInput
from tui.cli import transfer as handing_on
from tui.cli.common import Json, Store, store_folder
from tui.text.output import out, print_json

Into = Annotated[Path, typer.Argument(metavar="FOLDER", help="Where to.")]
EXPORT_KIND = "runs (jsonl or parquet), mt-bench, alpaca-eval or lm-eval"
ExportKind = Annotated[str, typer.Argument(metavar="KIND", help=f"As what: {EXPORT_KIND}.")]
Runs = Annotated[list[str], typer.Argument(metavar="RUN…", help="Runs by id or name, or last.")]
FormatOption = Annotated[
    str | None, typer.Option("--format", metavar="FORMAT", help="Of runs: jsonl (default) or parquet.")
]
KIND = "mt-bench, alpaca-eval, prometheus, judgelm, lm-eval, or store (of another Assay)"
Kind = Annotated[str, typer.Argument(metavar="KIND", help=f"Whose files: {KIND}.")]
Source = Annotated[Path, typer.Argument(metavar="PATH", help="The file or folder.")]
Name = Annotated[str | None, typer.Option("--name", help="What the run shall be called.")]
Samples = Annotated[bool, typer.Option("--samples", help="lm-eval: the questions too, to pair runs by.")]
Baseline = Annotated[
    str | None,
    typer.Option("--baseline", metavar="MODEL", help="lm-eval: all models in one run, against this one."),
]


def import_(
    context: typer.Context,
    kind: Kind,
    path: Source,
    name: Name = None,
    samples: Samples = False,
    baseline: Baseline = None,
    json: Json = False,
    store: Store = None,
) -> None:
    """Put a run done elsewhere into the history."""
    from engine.formats.importing import LM_EVAL, import_benchmarks, import_run

    folder = store_folder(context, store)
    if kind == "store":
        handing_on.import_store(path, folder, json)
        return
    if kind == LM_EVAL:
        runs = import_benchmarks(path, folder, name, samples=samples, baseline=baseline)
    elif samples or baseline is not None:
        raise BadInput(f"--samples and --baseline are for lm-eval, not for {kind}")
    else:
        runs = [import_run(kind, path, folder, name)]
    if json:
        print_json({"id": runs[0]} if len(runs) == 1 else {"ids": runs})
        return
    for run_id in runs:
        out(f"run {run_id}: look at it with: assay show {run_id}")
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
    """Write runs as JSON lines or Parquet, or one run as another tool reads it."""
    if kind == "runs":
        handing_on.export_records(store_folder(context, store), runs, folder, form)
        return
    if len(runs) > 1 or form is not None:
        raise BadInput(f"{kind} takes one run, and has its own format", "assay export runs RUN… FOLDER")
    from engine.formats.export import export_run
    from engine.formats.importing import LM_EVAL
    from engine.formats.lm_eval_export import export_lm_eval
    from store.read.content import run_content
    from store.read.history import find_run
    from store.session import opened

    with opened(store_folder(context, store)) as connection:
        run_id = find_run(connection, runs[0])
        if kind == LM_EVAL:
            written = export_lm_eval(connection, run_id, folder)
        else:
            written = export_run(kind, run_content(connection, run_id), folder)
    for path in written:
        out(f"wrote {path}")
