"""Commands that start and steer runs: run, resume, pause, cancel, watch, review."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import typer

from engine.errors import BadInput
from store import history, live
from store.rows import RunDetail
from store.session import opened
from tui.commands.common import Plan, Run, Store, store_folder
from tui.follow import Follower
from tui.output import err, out
from tui.report.summary import gather
from tui.text import printable

FAILED_GATE = 1
CANNOT_FINISH = 3
INTERRUPTED = 130


class Phase(StrEnum):
    data = "data"
    generate = "generate"
    perplexity = "perplexity"
    benchmarks = "benchmarks"
    score = "score"
    judge = "judge"
    compare = "compare"


Detach = Annotated[bool, typer.Option("--detach", help="Start it and return; `assay watch` shows it.")]
Limit = Annotated[int | None, typer.Option("--limit", min=1, metavar="N", help="Only the first N examples.")]
Only = Annotated[Phase | None, typer.Option("--only", help="Only this phase; `assay resume` does the rest.")]
NoCache = Annotated[bool, typer.Option("--no-cache", help="Generate and judge anew, whatever is remembered.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask when judging may cost more than max_cost.")]
MaxCost = Annotated[
    float | None,
    typer.Option("--max-cost", min=0.01, metavar="DOLLARS", help="The most that its judges may cost in all."),
]
OtherHardware = Annotated[
    bool,
    typer.Option("--other-hardware", help="Go on on other devices than it began on; numbers may differ."),
]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress.")]


def run(
    context: typer.Context,
    plan: Plan,
    detach: Detach = False,
    limit: Limit = None,
    only: Only = None,
    no_cache: NoCache = False,
    yes: Yes = False,
    quiet: Quiet = False,
    store: Store = None,
) -> None:
    """Run a plan. Ctrl-C pauses it; closing the terminal does not stop it."""
    from engine import launch
    from tui.commands.spending import confirm_cost

    folder = store_folder(context, store)
    confirm_cost(plan, limit, yes=yes, quiet=quiet)
    phase = only.value if only else None
    run_id = launch.create(plan, folder, limit=limit, only=phase, cache=not no_cache)
    _start(folder, run_id, detach=detach, quiet=quiet, only=phase)


def resume(
    context: typer.Context,
    run: Run,
    detach: Detach = False,
    max_cost: MaxCost = None,
    other_hardware: OtherHardware = False,
    quiet: Quiet = False,
    store: Store = None,
) -> None:
    """Go on with a run that was paused, interrupted or failed, or that waits for a server.

    What is finished is kept, and not done again.
    """
    folder = store_folder(context, store)
    with opened(folder) as connection:
        run_id = history.find_run(connection, run)
        status = history.run(connection, run_id).status
        if status == "running" and history.run(connection, run_id).waiting:
            history.request(connection, run_id, "retry")
            out(f"run {run_id} tries again now")
            return
        if max_cost is not None and status not in ("finished", "cancelled", "running"):
            history.set_max_cost(connection, run_id, max_cost)
        if other_hardware:
            history.allow_other_hardware(connection, run_id)
    if status in ("finished", "cancelled"):
        raise BadInput(
            f"run {run_id} is {status}: there is nothing to resume", "`assay run PLAN` starts a new one"
        )
    if status == "running":
        raise BadInput(f"run {run_id} is running already", f"`assay watch {run_id}` shows it")
    _start(folder, run_id, detach=detach, quiet=quiet, only=None)


def _start(folder: Path, run_id: int, *, detach: bool, quiet: bool, only: str | None) -> None:
    from engine import launch

    with opened(folder) as connection:
        past = max((event.id for event in live.events(connection, run_id, limit=1)), default=0)
        worker = launch.start(folder, run_id)
        if detach:
            out(f"run {run_id} started; `assay watch {run_id}` shows it, `assay show {run_id}` its result")
            return
        follower = Follower(connection, run_id, quiet=quiet, after=past)

        def pause() -> bool:
            if history.run(connection, run_id).status != "running":
                return False
            history.request(connection, run_id, "pause")
            follower.say("pausing after the piece of work in hand; Ctrl-C again stops watching")
            return True

        follower.say(f"run {run_id} started; Ctrl-C pauses it, closing the terminal does not stop it")
        ended = follower.follow(worker, pause)
        raise typer.Exit(_tell_end(connection, ended, only))


def _tell_end(connection: history.Connection, run: RunDetail, only: str | None) -> int:
    """Says how a run ended and returns the exit code for it."""
    from tui.commands.showing import print_summary

    if run.status == "paused":
        if run.error:
            err(printable(run.error))
        err(f"paused; `assay resume {run.id}` continues")
        return 0 if only else INTERRUPTED
    if run.status == "finished":
        print_summary(gather(connection, run.id))
        return {True: 0, False: FAILED_GATE, None: CANNOT_FINISH}[run.passed]
    if run.status == "cancelled":
        err(f"run {run.id} was cancelled; what was finished is kept")
    elif run.status == "failed":
        err(f"run {run.id} failed: {run.error or 'no reason was recorded'}")
        err(f"`assay resume {run.id}` goes on from what is finished")
    else:
        err(f"the worker of run {run.id} ended without a word; its log is logs/run-{run.id}.log in the store")
        err(f"`assay resume {run.id}` goes on from what is finished")
    return CANNOT_FINISH


def pause(context: typer.Context, run: Run, store: Store = None) -> None:
    """Stop a run after the piece of work in hand, to resume later."""
    _request(context, run, store, "pause")


def cancel(context: typer.Context, run: Run, store: Store = None) -> None:
    """Stop a run for good; what is finished is kept."""
    _request(context, run, store, "cancel")


def _request(context: typer.Context, run: str, store: str | None, what: Literal["pause", "cancel"]) -> None:
    with opened(store_folder(context, store)) as connection:
        run_id = history.find_run(connection, run)
        history.request(connection, run_id, what)
        if history.run(connection, run_id).status == "cancelled":
            out(f"run {run_id} is cancelled")
        else:
            out(f"run {run_id} was asked to {what}")


def watch(context: typer.Context, run: Run, store: Store = None) -> None:
    """Watch a run live. Leaving does not stop it."""
    folder = store_folder(context, store)
    with opened(folder) as connection:
        run_id = history.find_run(connection, run)
        if not sys.stdout.isatty():
            raise typer.Exit(_tell_end(connection, Follower(connection, run_id).follow(), None))
    from tui import app

    raise typer.Exit(app.run(folder, run=run_id, screen="live"))


def review(context: typer.Context, run: Run, store: Store = None) -> None:
    """Read a run's responses side by side and say which is better."""
    folder = store_folder(context, store)
    with opened(folder) as connection:
        run_id = history.find_run(connection, run)
    from tui import app

    raise typer.Exit(app.run(folder, run=run_id, screen="review"))
