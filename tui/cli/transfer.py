"""Runs between Assay's own stores, and out of them as files: what `import store` and `export runs` do."""

from dataclasses import asdict
from pathlib import Path

from store import database
from store.read.history import find_run
from store.session import opened
from store.transfer.merge import merge
from tui.text.output import out, print_json


def import_store(path: Path, folder: Path, json: bool) -> None:
    """The runs of another store join this one; those that are here already are left alone."""
    database.prepare(folder)
    with opened(folder) as connection:
        found = merge(connection, path)
    if json:
        print_json(asdict(found))
        return
    ids = ", ".join(map(str, found.joined.values()))
    count = len(found.joined)
    out(f"{count} run{'' if count == 1 else 's'} joined this store" + (f": {ids}" if ids else ""))
    for left, why in (
        (found.known, "here already"),
        (found.unfinished, "not finished there"),
        (found.deleted, "deleted there"),
    ):
        if left:
            out(f"left alone: {left} {why}")


def export_records(folder: Path, runs: list[str], into: Path, form: str | None) -> None:
    """Writes these runs' records into a folder."""
    from engine.formats.exporting import export_runs

    with opened(folder) as connection:
        ids = list(dict.fromkeys(find_run(connection, run) for run in runs))
        for path in export_runs(connection, ids, into, form or "jsonl"):
            out(f"wrote {path}")
