"""Running a run once more, to see whether its numbers can be had again."""

from typing import Annotated

import typer

from store.read import history
from store.session import opened
from tui.cli.common import Run, Store, store_folder
from tui.cli.ending import SummaryFile
from tui.cli.run import Detach, Quiet, carry_out

Anyway = Annotated[
    bool, typer.Option("--anyway", help="Go on though files have changed; the numbers may differ.")
]
NoCache = Annotated[
    bool, typer.Option("--no-cache", help="Generate and judge anew: else kept answers are taken again.")
]


def rerun(
    context: typer.Context,
    run: Run,
    detach: Detach = False,
    anyway: Anyway = False,
    no_cache: NoCache = False,
    quiet: Quiet = False,
    summary: SummaryFile = None,
    store: Store = None,
) -> None:
    """Run a run once more: the same plan, options and files. Says whether the numbers are the same."""
    from engine.run.rerun import again

    folder = store_folder(context, store)
    with opened(folder) as connection:
        earlier = history.find_run(connection, run)
        run_id = again(connection, folder, earlier, anyway=anyway, cache=not no_cache)
    raise typer.Exit(carry_out(folder, run_id, detach=detach, quiet=quiet, summary=summary))
