"""Commands that say something of a run: tag, note, delete, restore, undo."""

import sys
from typing import Annotated

import typer

from engine.errors import BadInput
from store import marks
from store.person import user_name
from store.read import history
from store.session import opened
from store.transfer.purge import deleted, held_by, purge
from tui.cli.common import Json, Run, Store, store_folder
from tui.text.output import moment, out, paragraph, print_json

Tags = Annotated[
    list[str] | None, typer.Argument(metavar="TAG", help="Words to give it [default: list them].")
]
Remove = Annotated[list[str] | None, typer.Option("--remove", metavar="TAG", help="Take this tag off.")]
Text = Annotated[str | None, typer.Argument(metavar="TEXT", help="The note [default: list its notes].")]
Runs = Annotated[list[str] | None, typer.Argument(metavar="RUN", help="Runs by id or name, or last.")]
Purge = Annotated[
    bool, typer.Option("--purge", help="Remove the deleted runs for good, with all their answers.")
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


def tag(
    context: typer.Context,
    run: Run,
    tags: Tags = None,
    remove: Remove = None,
    json: Json = False,
    store: Store = None,
) -> None:
    """Give a run tags, or take them off; `assay runs --tag TAG` finds it by them."""
    with opened(store_folder(context, store)) as connection:
        run_id, user = history.find_run(connection, run), user_name()
        for word in tags or ():
            marks.tag(connection, run_id, word, user)
        for word in remove or ():
            marks.untag(connection, run_id, word, user)
        standing = marks.tags(connection, run_id)
    if json:
        print_json({"id": str(run_id), "tags": standing})
    else:
        paragraph(f"run {run_id}: {', '.join(standing) or 'no tags'}")


def note(
    context: typer.Context, run: Run, text: Text = None, json: Json = False, store: Store = None
) -> None:
    """Write a note on a run, or list its notes."""
    with opened(store_folder(context, store)) as connection:
        run_id = history.find_run(connection, run)
        if text is not None:
            if not text.strip():
                raise BadInput("the note is empty", 'assay note RUN "what is to be remembered"')
            marks.mark(connection, run_id, "note", text.strip(), user_name())
        found = marks.notes(connection, run_id)
    if json:
        print_json([{"user": row.user, "created": row.created, "note": row.value} for row in found])
        return
    for row in found:
        paragraph(f"{moment(row.created)} {row.user}: {row.value}", "  ", "")
    if not found:
        out(f"run {run_id} has no notes")


def delete(
    context: typer.Context,
    runs: Runs = None,
    remove: Purge = False,
    yes: Yes = False,
    store: Store = None,
) -> None:
    """Put runs away: they are in no list any more, and `assay restore` brings them back."""
    folder = store_folder(context, store)
    if not runs and not remove:
        raise BadInput("no run was named", "assay delete RUN; --purge removes the deleted ones for good")
    with opened(folder) as connection:
        for run_id in _found(connection, runs):
            marks.delete(connection, run_id, user_name())
            out(f"run {run_id} is deleted; `assay restore {run_id}` brings it back")
        if not remove:
            return
        gone = deleted(connection)
        if gone and not yes:
            _ask(gone)
        gone = purge(connection, folder)
        held = held_by(connection)
    for run_id, others in held.items():
        paragraph(f"run {run_id} stays, unseen: run {_listed(others)} was held against it")
    out(f"removed for good: {_listed(gone)}" if gone else "no run is deleted: there is nothing to remove")


def restore(context: typer.Context, runs: Runs = None, store: Store = None) -> None:
    """Bring deleted runs back; `assay runs --deleted` lists them."""
    if not runs:
        raise BadInput("no run was named", "`assay runs --deleted` lists those that can be restored")
    with opened(store_folder(context, store)) as connection:
        for run_id in _found(connection, runs):
            marks.restore(connection, run_id, user_name())
            out(f"run {run_id} is back")


def undo(context: typer.Context, run: Run, store: Store = None) -> None:
    """Take back the newest tag, acceptance or deletion of a run that still stands."""
    with opened(store_folder(context, store)) as connection:
        run_id = history.find_run(connection, run)
        row = marks.take_back(connection, run_id, user_name())
    undone = {"tag": f"the tag {row.value}", "accept": f"the acceptance of {row.value}"}
    paragraph(f"run {run_id}: {undone.get(row.kind, 'its deletion')} is taken back")


def _found(connection: history.Connection, runs: list[str] | None) -> list[int]:
    return list(dict.fromkeys(history.find_run(connection, run) for run in runs or ()))


def _ask(gone: list[int]) -> None:
    question = f"Remove {_listed(gone)} for good, with all answers, scores and judgments?"
    if not sys.stdin.isatty():
        raise BadInput("removing runs for good needs a yes", f"{question} Then: assay delete --purge --yes")
    typer.confirm(question, abort=True)


def _listed(ids: list[int]) -> str:
    return f"run{'' if len(ids) == 1 else 's'} {', '.join(map(str, ids))}"
