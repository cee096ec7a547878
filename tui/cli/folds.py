"""Folds of a plan: one run for each, and all of them together."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engine.errors import BadInput
from store.read import history
from store.session import opened
from tui.cli.common import Json, Store, store_folder
from tui.text.gate import MISSING
from tui.text.output import Column, err, heading, interval, number, out, print_json, print_table

if TYPE_CHECKING:
    from engine.compare.folds import Folds

FoldRun = Annotated[
    str, typer.Argument(metavar="RUN", help="A run of one of the folds: an id, a name or last.")
]
FAILED_GATE = 1


def fold_number(text: str) -> int:
    """Raises BadInput for what is no number."""
    if not text.isdecimal():
        raise BadInput(f"--fold {text}: give a fold's number, or all", "the first is --fold 1")
    return int(text)


def run_folds(plan: Path, folder: Path, *, limit: int | None, cache: bool, quiet: bool) -> int:
    """Runs each fold of a plan and shows them together; returns the worst of their exit codes.

    Stops at a fold that was paused or could not finish. Raises BadInput before the first run for whatever is
    wrong with the plan in any fold.
    """
    from engine.compare.folds import pool
    from engine.plan.folds import count_folds
    from engine.plan.plan import read_plan
    from engine.run import launch
    from tui.cli.run import carry_out

    count = count_folds(plan)
    if count is None:
        read_plan(plan)
        raise BadInput(f"{plan}: has no folds", "add folds = 5 under [data], or run without --fold")
    for fold in range(1, count + 1):
        read_plan(plan, fold)
    runs: dict[int, int] = {}
    worst = 0
    for fold in range(1, count + 1):
        run_id = launch.create(plan, folder, limit=limit, cache=cache, fold=fold)
        code = carry_out(folder, run_id, quiet=quiet, brief=True)
        if code > FAILED_GATE:
            err(f"stopped at fold {fold} of {count}; the rest: `assay run PLAN --fold N`, then `assay folds`")
            return code
        runs[fold] = run_id
        worst = max(worst, code)
        err(f"fold {fold} of {count}: run {run_id} {'passed' if code == 0 else 'failed a gate'}")
    with opened(folder) as connection:
        print_folds(pool(connection, runs))
    return worst


def folds(context: typer.Context, run: FoldRun = "last", json: Json = False, store: Store = None) -> None:
    """Show a plan's folds together: each measure per fold, and over all their examples."""
    from engine.compare.folds import newest_folds, pool

    with opened(store_folder(context, store)) as connection:
        found = pool(connection, newest_folds(connection, history.find_run(connection, run)))
    if json:
        print_json(folds_values(found))
    else:
        print_folds(found)


def folds_values(found: "Folds") -> dict[str, Any]:
    """For programs; a missing value is null."""
    from engine.compare.comparison import stored

    return {
        "folds": found.of,
        "runs": {str(fold): str(run) for fold, run in found.runs.items()},
        "missing": list(found.missing),
        "measures": [asdict(row) for row in found.measures],
        "comparisons": [stored(row) for row in found.comparisons],
    }


def print_folds(found: "Folds") -> None:
    from tui.cli.terminal import print_comparisons

    runs = ", ".join(f"{fold}: run {run}" for fold, run in found.runs.items())
    out(f"{found.of} folds ({runs})")
    for model in dict.fromkeys(row.model for row in found.measures):
        heading(model)
        print_table(
            [
                Column("measure"),
                *(Column(str(fold), True) for fold in range(1, found.of + 1)),
                *(Column("all", True), Column("95% CI", True), Column("n", True)),
            ],
            [
                [
                    row.measure,
                    *(MISSING if value is None else number(value) for value in row.folds),
                    *(number(row.value), interval(row.low, row.high), str(row.n)),
                ]
                for row in found.measures
                if row.model == model
            ],
        )
    for pair in dict.fromkeys((row.candidate, row.baseline) for row in found.comparisons):
        heading(f"{pair[0]} against {pair[1]}, over all folds' examples")
        print_comparisons([row for row in found.comparisons if (row.candidate, row.baseline) == pair])
    if found.missing:
        missing = ", ".join(str(fold) for fold in found.missing)
        out()
        out(f"not finished, so not in these numbers: fold {missing}")
