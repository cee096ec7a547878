"""The command that makes a run the reference for later runs of its name."""

from typing import Annotated

import typer

from engine.errors import BadInput
from store import marks
from store.person import user_name
from store.read import history
from store.read.rows import ModelRow
from store.session import opened
from tui.cli.common import Run, Store, store_folder
from tui.text.gate import printable
from tui.text.output import out

Candidate = Annotated[
    str | None, typer.Argument(metavar="CANDIDATE", help="Which of its candidates [default: the only one].")
]
Note = Annotated[str | None, typer.Option("--note", metavar="TEXT", help="Why, kept with the run.")]
Withdraw = Annotated[bool, typer.Option("--withdraw", help="Take the acceptance back.")]


def accept(
    context: typer.Context,
    run: Run,
    candidate: Candidate = None,
    note: Note = None,
    withdraw: Withdraw = False,
    store: Store = None,
) -> None:
    """Make a run's candidate the reference that `assay run PLAN --against accepted` holds later ones to."""
    with opened(store_folder(context, store)) as connection:
        detail = history.run(connection, history.find_run(connection, run))
        if withdraw:
            _withdraw(connection, detail.id, detail.name, candidate)
            return
        if detail.status != "finished":
            raise BadInput(
                f"run {detail.id} is {detail.status}: only a finished run can be a reference",
                f"`assay resume {detail.id}` goes on with it",
            )
        chosen = _chosen(detail.id, history.models(connection, detail.id), candidate)
        marks.mark(connection, detail.id, "accept", chosen.name, user_name())
        if note:
            marks.mark(connection, detail.id, "note", note, user_name())
        out(
            f"{printable(chosen.name)} of run {detail.id} is the reference for later runs of "
            f"{printable(detail.name)}; `assay run PLAN --against accepted` holds them against it"
        )
        if chosen.passed is False:
            out("It failed a gate; `assay show` says which.")


def _chosen(run_id: int, models: list[ModelRow], name: str | None) -> ModelRow:
    """The candidate that is meant: by name, or the only one, or the only one that passed."""
    candidates = [model for model in models if model.role == "candidate"]
    named = [model for model in candidates if name in (None, model.name)]
    passed = [model for model in named if model.passed]
    for found in (named, passed):
        if len(found) == 1:
            return found[0]
    listed = printable(", ".join(model.name for model in candidates))
    if not named:
        raise BadInput(f"run {run_id} has no candidate {printable(name or '')!r}", f"it has {listed}")
    raise BadInput(
        f"run {run_id} has {len(named)} candidates, and not exactly one that passed",
        f"name one: `assay accept {run_id} CANDIDATE`, of {listed}",
    )


def _withdraw(connection: history.Connection, run_id: int, name: str, candidate: str | None) -> None:
    standing = marks.accepted_of(connection, run_id)
    wanted = [value for value in standing if candidate in (None, value)]
    if not wanted:
        raise BadInput(f"nothing of run {run_id} is accepted", f"`assay accept {run_id}` accepts it")
    for value in wanted:
        marks.mark(connection, run_id, "withdraw", value, user_name())
    reference = marks.accepted(connection, name)
    left = f"run {reference.run_id} is the reference again" if reference else "no run of its name is one now"
    out(f"run {run_id} is no reference any more; {left}")
