"""Commands that bring in what other tools made, and hand on to them: import, export."""

from pathlib import Path
from typing import Annotated

import typer

from tui.commands.common import Json, Run, Store, store_folder
from tui.output import out, print_json

Into = Annotated[Path, typer.Argument(metavar="FOLDER", help="Where to.")]
ExportKind = Annotated[str, typer.Argument(metavar="KIND", help="As whose files: mt-bench or alpaca-eval.")]
KIND = "mt-bench, alpaca-eval, prometheus or judgelm"
Kind = Annotated[str, typer.Argument(metavar="KIND", help=f"Whose files: {KIND}.")]
Source = Annotated[Path, typer.Argument(metavar="PATH", help="The file or folder.")]
Name = Annotated[str | None, typer.Option("--name", help="What the run shall be called.")]


def import_(
    context: typer.Context,
    kind: Kind,
    path: Source,
    name: Name = None,
    json: Json = False,
    store: Store = None,
) -> None:
    """Put a run done elsewhere into the history."""
    from engine.importing import import_run

    run_id = import_run(kind, path, store_folder(context, store), name)
    if json:
        print_json({"id": run_id})
    else:
        out(f"run {run_id}: look at it with: assay show {run_id}")


def export(context: typer.Context, kind: ExportKind, run: Run, folder: Into, store: Store = None) -> None:
    """Write a run's answers and judgments as another tool reads them."""
    from engine.protocols.export import export_run
    from store.content import run_content
    from store.history import find_run
    from store.session import opened

    with opened(store_folder(context, store)) as connection:
        content = run_content(connection, find_run(connection, run))
    for path in export_run(kind, content, folder):
        out(f"wrote {path}")
