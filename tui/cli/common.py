"""What commands share: the store that is meant, the run that is meant."""

from pathlib import Path
from typing import Annotated, Any

import typer

from store import database

Store = Annotated[
    str | None,
    typer.Option(
        "--store", metavar="DIR", help="The store's folder [default: $ASSAY_STORE, or the nearest .assay]"
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Run = Annotated[str, typer.Argument(metavar="RUN", help="A run's id or name, or last.")]
Plan = Annotated[Path, typer.Argument(metavar="PLAN", help="The plan's TOML file.")]


def store_folder(context: typer.Context, store: str | None) -> Path:
    """The store's folder; --store may stand before the command or after it."""
    return database.locate(store or context.find_root().params.get("store"), Path.cwd())


def app_options(context: typer.Context) -> dict[str, Any]:
    """What the command line says of the app itself; these options stand before the command."""
    given = context.find_root().params
    return {name: given.get(name) for name in ("theme", "ascii", "read_only")}
