"""Versions of eval sets: which runs used which, and what changed between two."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from store import database
from store.read import history
from store.read.eval_sets import EvalSetRow, eval_sets
from store.session import opened
from tui.cli.common import Json, Store, store_folder
from tui.text.output import Column, heading, iso, moment, out, paragraph, print_json, print_table

if TYPE_CHECKING:
    from engine.data.example import Example
    from engine.data.stored import EvalSet
    from engine.data.versions import VersionDiff

Before = Annotated[
    str | None, typer.Argument(metavar="[OLD]", help="A file, a version or a run [default: list them all]")
]
After = Annotated[
    str | None, typer.Argument(metavar="[NEW]", help="Another: what changed from the first to it.")
]
All = Annotated[bool, typer.Option("--all", help="Name every example that changed.")]

NAMED = 10  # examples of each kind that are named without --all
RUNS = 8


def versions(
    context: typer.Context,
    before: Before = None,
    after: After = None,
    everything: All = False,
    json: Json = False,
    store: Store = None,
) -> None:
    """Versions of eval sets: which runs used which, and what changed between two of them."""
    folder = store_folder(context, store)
    if before is None:
        with opened(folder) as connection:
            rows = eval_sets(connection)
        print_json([_values(row) for row in rows]) if json else _print_list(rows)
        return
    if not database.exists(folder):
        _show(None, before, after, everything=everything, json=json)
        return
    with opened(folder) as connection:
        _show(connection, before, after, everything=everything, json=json)


def _show(
    connection: history.Connection | None, before: str, after: str | None, *, everything: bool, json: bool
) -> None:
    from engine.data.stored import find_eval_set
    from engine.data.versions import version_diff

    known = {row.version: row for row in eval_sets(connection)} if connection else {}
    old = find_eval_set(connection, before)
    if after is None:
        _one(old, known, json=json)
        return
    new = find_eval_set(connection, after)
    diff = version_diff(old.examples, new.examples)
    if json:
        print_json(_diff_values(diff, known))
    else:
        _print_diff(old, new, diff, known, None if everything else NAMED)


def _values(row: EvalSetRow) -> dict[str, Any]:
    return {
        "version": row.version,
        "file": row.file,
        "examples": row.examples,
        "runs": [str(run) for run in row.runs],
        "first": iso(row.first),
        "last": iso(row.last),
        "test_uses": row.test_uses,
    }


def _print_list(rows: list[EvalSetRow]) -> None:
    if not rows:
        out("no run of this store has read an eval set yet")
        return
    columns = [Column("version"), Column("file"), Column("examples", True), Column("runs")]
    print_table(
        [*columns, Column("last used"), Column("test uses", True)],
        [
            [
                *(row.version, row.file or "", str(row.examples), _run_list(row.runs)),
                *(moment(row.last), str(row.test_uses)),
            ]
            for row in rows
        ],
    )
    if len(rows) > 1:
        paragraph(f"`assay versions {rows[1].version} {rows[0].version}` says what changed between two.")


def _run_list(runs: list[int]) -> str:
    shown = ", ".join(map(str, runs[:RUNS]))
    return f"{shown} and {len(runs) - RUNS} more" if len(runs) > RUNS else shown


def _one(found: "EvalSet", known: dict[str, EvalSetRow], *, json: bool) -> None:
    row = known.get(found.version)
    if json:
        unused = {"version": found.version, "file": found.name, "examples": len(found.examples)}
        nothing: dict[str, Any] = {"runs": [], "first": None, "last": None, "test_uses": 0}
        print_json(_values(row) if row else unused | nothing)
        return
    out(f"{found.name}: version {found.version}, {len(found.examples)} examples")
    if row is None:
        out("no run of this store used it")
        return
    uses = f"; its test split was used {row.test_uses} times" if row.test_uses else ""
    paragraph(f"used by run {_run_list(row.runs)}, last on {moment(row.last)}{uses}")


def _diff_values(diff: "VersionDiff", known: dict[str, EvalSetRow]) -> dict[str, Any]:
    runs = {version: known[version].runs if version in known else [] for version in (diff.before, diff.after)}
    return {
        "before": {"version": diff.before, "runs": [str(run) for run in runs[diff.before]]},
        "after": {"version": diff.after, "runs": [str(run) for run in runs[diff.after]]},
        "added": [_named(example) for example in diff.added],
        "removed": [_named(example) for example in diff.removed],
        "edited": [
            {"id": edit.after.id, "changed": list(edit.changed), "query": edit.after.query}
            for edit in diff.edited
        ],
        "unchanged": diff.unchanged,
    }


def _named(example: "Example") -> dict[str, str]:
    return {"id": example.id, "query": example.query}


def _print_diff(
    old: "EvalSet", new: "EvalSet", diff: "VersionDiff", known: dict[str, EvalSetRow], most: int | None
) -> None:
    for what, found in (("from", old), ("to", new)):
        row = known.get(found.version)
        used = f"used by run {_run_list(row.runs)}" if row else "used by no run of this store"
        paragraph(
            f"{found.version} ({found.name}), {len(found.examples)} examples, {used}", " " * 5, f"{what:5}"
        )
    if diff.before == diff.after:
        out("the same examples with the same content; their order does not count")
        return
    counts = {"added": diff.added, "removed": diff.removed, "edited": diff.edited}
    out(", ".join(f"{len(found)} {what}" for what, found in counts.items()) + f", {diff.unchanged} unchanged")
    groups = (
        ("Added", [("+", example.id, example.query) for example in diff.added]),
        ("Removed", [("-", example.id, example.query) for example in diff.removed]),
        (
            "Edited",
            [("~", edit.after.id, f"{', '.join(edit.changed)}: {edit.after.query}") for edit in diff.edited],
        ),
    )
    for title, rows in groups:
        if not rows:
            continue
        heading(title)
        shown = rows if most is None else rows[:most]
        print_table([Column(""), Column("example"), Column("query")], [list(row) for row in shown])
        if len(rows) > len(shown):
            out(f"and {len(rows) - len(shown)} more; --all names them")
    if diff.edited:
        out()
        paragraph(
            "Comparisons of runs leave out edited examples where the query, references or schema changed."
        )
