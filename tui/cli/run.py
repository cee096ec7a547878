"""Commands that start and steer runs: run, resume, pause, cancel, watch, review."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import typer

from engine.errors import BadInput
from store.read import history, live
from store.read.rows import RunDetail
from store.session import opened
from tui.cli.common import Plan, Run, Store, app_options, store_folder
from tui.cli.ending import SummaryFile, append_summary, tell_briefly
from tui.cli.follow import Follower
from tui.sections.summary import gather
from tui.text.gate import printable
from tui.text.output import err, out

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
Quiet = Annotated[bool, typer.Option("--quiet", help="Only the verdict and what tripped.")]
Fold = Annotated[
    str | None,
    typer.Option("--fold", metavar="N|all", help="Which of the plan's folds; all: one run after another."),
]

Against = Annotated[
    str | None,
    typer.Option(
        "--against",
        metavar="accepted|best|RUN",
        help="Hold every candidate against an earlier run's too: the accepted one, the best so far, or RUN.",
    ),
]


def run(
    context: typer.Context,
    plan: Plan,
    detach: Detach = False,
    limit: Limit = None,
    only: Only = None,
    fold: Fold = None,
    against: Against = None,
    no_cache: NoCache = False,
    yes: Yes = False,
    quiet: Quiet = False,
    summary: SummaryFile = None,
    store: Store = None,
) -> None:
    """Run a plan. Ctrl-C pauses it; closing the terminal does not stop it."""
    from engine.run import launch
    from tui.cli.folds import fold_number, run_folds
    from tui.cli.spending import confirm_cost

    folder = store_folder(context, store)
    number = None if fold in (None, "all") else fold_number(fold)
    confirm_cost(plan, limit, number, yes=yes, quiet=quiet)
    phase = only.value if only else None
    if fold == "all":
        if detach or only or against:
            raise BadInput(
                "--fold all runs one fold after another, and waits for each to finish",
                "leave out --detach, --only and --against, or start each fold by --fold N",
            )
        raise typer.Exit(run_folds(plan, folder, limit=limit, cache=not no_cache, quiet=quiet))
    run_id = launch.create(
        plan, folder, limit=limit, only=phase, cache=not no_cache, fold=number, against=against
    )
    raise typer.Exit(carry_out(folder, run_id, detach=detach, quiet=quiet, only=phase, summary=summary))


def resume(
    context: typer.Context,
    run: Run,
    detach: Detach = False,
    max_cost: MaxCost = None,
    other_hardware: OtherHardware = False,
    quiet: Quiet = False,
    summary: SummaryFile = None,
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
    raise typer.Exit(carry_out(folder, run_id, detach=detach, quiet=quiet, summary=summary))


def carry_out(
    folder: Path,
    run_id: int,
    *,
    detach: bool = False,
    quiet: bool = False,
    only: str | None = None,
    brief: bool = False,
    summary: Path | None = None,
) -> int:
    """Starts a queued run and watches it to its end; returns its exit code.

    `brief` leaves its numbers out; `summary` is the file that its report in Markdown is added to.
    """
    from engine.run import launch

    with opened(folder) as connection:
        past = max((event.id for event in live.events(connection, run_id, limit=1)), default=0)
        worker = launch.start(folder, run_id)
        if detach:
            out(f"run {run_id} started; `assay watch {run_id}` shows it, `assay show {run_id}` its result")
            return 0
        follower = Follower(connection, run_id, quiet=quiet, after=past)

        def pause() -> bool:
            if history.run(connection, run_id).status != "running":
                return False
            history.request(connection, run_id, "pause")
            follower.say("pausing after the piece of work in hand; Ctrl-C again stops watching")
            return True

        follower.say(f"run {run_id} started; Ctrl-C pauses it, closing the terminal does not stop it")
        ended = follower.follow(worker, pause)
        code = _tell_end(connection, ended, only, brief=brief, quiet=quiet)
        if ended.status != "paused":
            append_summary(connection, run_id, summary)
        return code


def _tell_end(
    connection: history.Connection,
    run: RunDetail,
    only: str | None,
    *,
    brief: bool = False,
    quiet: bool = False,
) -> int:
    """Says how a run ended and returns the exit code for it."""
    from engine.decision.decision import decide
    from tui.cli.showing import print_summary

    if run.status == "paused":
        if run.error:
            err(printable(run.error))
        err(f"paused; `assay resume {run.id}` continues")
        return 0 if only else INTERRUPTED
    if run.status == "finished":
        if quiet and not brief:
            tell_briefly(gather(connection, run.id))
        elif not brief:
            print_summary(gather(connection, run.id), decide(connection, run.id))
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


def pause(
    context: typer.Context,
    run: Run,
    after_phase: Annotated[
        bool, typer.Option("--after-phase", help="Only when the phase in hand is done.")
    ] = False,
    store: Store = None,
) -> None:
    """Stop a run after the piece of work in hand, to resume later."""
    _request(context, run, store, "finish_phase" if after_phase else "pause")


def concurrency(
    context: typer.Context,
    run: Run,
    calls: Annotated[int, typer.Argument(min=0, metavar="CALLS", help="0: as many as the plan says.")],
    store: Store = None,
) -> None:
    """Let a run ask each server for no more than so many answers at once, from now on."""
    with opened(store_folder(context, store)) as connection:
        run_id = history.find_run(connection, run)
        history.set_concurrency(connection, run_id, calls or None)
    out(f"run {run_id}: {f'{calls} answers at once at most' if calls else 'as many as its plan says'}")


def cancel(context: typer.Context, run: Run, store: Store = None) -> None:
    """Stop a run for good; what is finished is kept."""
    _request(context, run, store, "cancel")


def _request(
    context: typer.Context, run: str, store: str | None, what: Literal["pause", "finish_phase", "cancel"]
) -> None:
    with opened(store_folder(context, store)) as connection:
        run_id = history.find_run(connection, run)
        history.request(connection, run_id, what)
        if history.run(connection, run_id).status == "cancelled":
            out(f"run {run_id} is cancelled")
        else:
            out(f"run {run_id} was asked to {what.replace('_', ' its ')}")


def watch(context: typer.Context, run: Run, store: Store = None) -> None:
    """Watch a run live. Leaving does not stop it."""
    folder = store_folder(context, store)
    with opened(folder) as connection:
        run_id = history.find_run(connection, run)
        if not sys.stdout.isatty():
            raise typer.Exit(_tell_end(connection, Follower(connection, run_id).follow(), None))
    from tui.app.opening import open_app

    raise typer.Exit(open_app(folder, run_id, "live", **app_options(context)))


def review(
    context: typer.Context,
    run: Run,
    annotator: Annotated[
        str | None,
        typer.Option(
            "--as", metavar="NAME", help="Whose decisions these are [default: $ASSAY_ANNOTATOR, you]"
        ),
    ] = None,
    blind: Annotated[
        bool, typer.Option("--blind", help="Hide names, scores and verdicts; mix sides.")
    ] = False,
    store: Store = None,
) -> None:
    """Read a run's responses side by side and say which is better."""
    folder = store_folder(context, store)
    with opened(folder) as connection:
        run_id = history.find_run(connection, run)
    from tui.app.opening import open_app

    given = {**app_options(context), "annotator": (annotator or "").strip(), "blind": blind}
    raise typer.Exit(open_app(folder, run_id, "review", **given))
