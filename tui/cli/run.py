"""Commands that start and control runs, with folds: run, follow, resume, pause, cancel, watch, review."""

import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from enum import StrEnum
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from engine.errors import BadInput
from store import people, records
from store.read import history, live, runs
from store.read.history import Connection
from store.session import opened
from tui.cli.common import FAILED_GATE, AllowEmpty, Json, Run, Settings, Store, app_options, store_folder
from tui.cli.plan import make_plan
from tui.cli.progress import Watcher
from tui.text.gate import MISSING, printable
from tui.text.output import (
    Column,
    asked,
    err,
    heading,
    interval,
    number,
    out,
    paragraph,
    print_json,
    print_table,
    remark,
)

if TYPE_CHECKING:
    from engine.compare.folds import Folds
    from tui.sections.gather import RunSections


CANNOT_FINISH = 3
INTERRUPTED = 130
STEP_SUMMARY = "GITHUB_STEP_SUMMARY"


class PhaseName(StrEnum):
    data = "data"
    generate = "generate"
    perplexity = "perplexity"
    benchmarks = "benchmarks"
    score = "score"
    judge = "judge"
    compare = "compare"


Detach = Annotated[bool, typer.Option("--detach", help="Start it and return; `assay watch` shows it.")]
Limit = Annotated[
    int | None,
    typer.Option("--limit", min=1, metavar="N", help="The first N examples, and N questions of suites."),
]
Only = Annotated[
    PhaseName | None, typer.Option("--only", help="Only this phase; `assay resume` does the rest.")
]
NoCache = Annotated[bool, typer.Option("--no-cache", help="Generate and judge again; ignore the cache.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask when judging may cost more than max_cost.")]
MaxCost = Annotated[
    float | None,
    typer.Option("--max-cost", min=0.01, metavar="DOLLARS", help="Limit for the total cost of its judges."),
]
Anyway = Annotated[
    bool, typer.Option("--anyway", help="Continue although files have changed; the numbers may differ.")
]
OtherHardware = Annotated[
    bool,
    typer.Option("--other-hardware", help="Continue on other devices than before; the numbers may differ."),
]
SummaryFile = Annotated[
    Path | None,
    typer.Option(
        "--summary", metavar="FILE", help=f"Append the Markdown report to a file [default: ${STEP_SUMMARY}]."
    ),
]
TakeOver = Annotated[
    bool, typer.Option("--take-over", help="End a worker that gives no sign of life, and go on without it.")
]
Fold = Annotated[
    str | None,
    typer.Option("--fold", metavar="N|all", help="Which of the plan's folds; all: one run after another."),
]

Against = Annotated[
    str | None,
    typer.Option(
        "--against",
        metavar="accepted|best|RUN",
        help="Also compare with an earlier run's candidate: the accepted one, the best so far, or RUN.",
    ),
]


PlanOrNone = Annotated[Path | None, typer.Argument(metavar="[PLAN]", help="The plan's TOML file.")]
BaseModelOption = Annotated[
    str | None,
    typer.Option("--model", metavar="BASE", help="Without a plan: the base model, a folder or a hub id."),
]
AdapterOption = Annotated[
    list[Path] | None,
    typer.Option("--adapter", metavar="DIR", help="Without a plan: an adapter of it. May be repeated."),
]
DataOption = Annotated[
    Path | None, typer.Option("--data", metavar="FILE", help="Without a plan: the examples to evaluate on.")
]
MetricOption = Annotated[
    list[str] | None,
    typer.Option(
        "--metric",
        metavar="NAME",
        help="Without a plan: a metric [default: those that fit the data]. May be repeated.",
    ),
]
Queue = Annotated[
    bool, typer.Option("--queue", help="Have it wait for its turn; `assay queue work` starts it.")
]
Priority = Annotated[
    int | None,
    typer.Option(
        "--priority",
        min=-1000,
        max=1000,
        metavar="N",
        help="With --queue: the highest starts first [default: 0].",
    ),
]


def run(
    context: typer.Context,
    plan: PlanOrNone = None,
    model: BaseModelOption = None,
    adapter: AdapterOption = None,
    data: DataOption = None,
    metric: MetricOption = None,
    settings: Settings = None,
    detach: Detach = False,
    limit: Limit = None,
    only: Only = None,
    fold: Fold = None,
    against: Against = None,
    allow_empty: AllowEmpty = False,
    no_cache: NoCache = False,
    yes: Yes = False,
    queue: Queue = False,
    priority: Priority = None,
    summary: SummaryFile = None,
    json: Json = False,
    store: Store = None,
) -> None:
    """Run a plan. Ctrl-C pauses it; closing the terminal does not stop it.

    Without a plan, --model, --adapter and --data make one: it is printed, and written to plan.toml here.

    With --json the result is printed as `assay show --json` prints it; with --detach or --queue the run's id
    alone.
    """
    from engine.run import launch

    if priority is not None and not queue:
        raise BadInput("--priority goes with --queue", "without it the run starts at once")
    if queue and (detach or summary or fold == "all"):
        raise BadInput(
            "--queue starts nothing now", "leave out --detach, --summary and --fold all, or queue each fold"
        )
    folder = store_folder(context, store)
    number = None if fold in (None, "all") else fold_number(fold)
    settings, quiet = settings or [], asked.quiet
    if plan is None or model or adapter or data or metric:
        plan = make_plan(plan, model, adapter or (), data, metric or (), yes=yes)
    _confirm_cost(plan, folder, limit, number, settings, yes=yes)
    phase = only.value if only else None
    if fold == "all":
        if detach or only or against or json:
            raise BadInput(
                "--fold all runs one fold after another, and waits for each to finish",
                "leave out --detach, --only, --against and --json, or start each fold by --fold N",
            )
        raise typer.Exit(
            run_folds(
                plan,
                folder,
                limit=limit,
                cache=not no_cache,
                quiet=quiet,
                allow_empty=allow_empty,
                settings=settings,
            )
        )
    run_id = launch.create(
        plan,
        folder,
        limit=limit,
        only=phase,
        cache=not no_cache,
        fold=number,
        against=against,
        allow_empty=allow_empty,
        priority=(priority or 0) if queue else None,
        settings=settings,
    )
    if queue:
        _tell_place(folder, run_id, json=json)
        return
    raise typer.Exit(
        carry_out(folder, run_id, detach=detach, quiet=quiet, only=phase, summary=summary, json=json)
    )


def demo(context: typer.Context, store: Store = None) -> int:
    """Evaluate the bundled sample models: a minute or two on a laptop, and the first run to look at."""
    from engine.plan import SAMPLES
    from engine.run import launch

    folder = store_folder(context, store)
    code = carry_out(folder, launch.create(SAMPLES / "plans" / "quickstart.toml", folder), quiet=asked.quiet)
    if code != FAILED_GATE:
        return code
    out("\nTwo of the three candidates are broken on purpose: that gates failed is right.")
    out("Look at the run: assay")
    return 0


def _tell_place(folder: Path, run_id: int, *, json: bool) -> None:
    if json:
        print_json({"id": run_id})
        return
    with opened(folder) as connection:
        place = runs.place(connection, run_id)
    out(f"run {run_id} waits in the queue, at place {place}; `assay queue` lists it")


def follow(
    context: typer.Context,
    outputs: Annotated[Path, typer.Argument(metavar="OUTPUTS", help="The training's output folder.")],
    plan: Annotated[Path, typer.Option("--plan", metavar="PLAN", help="The plan's TOML file.")],
    until: Annotated[
        int | None,
        typer.Option("--until", min=1, metavar="STEP", help="End once this training step is evaluated."),
    ] = None,
    once: Annotated[
        bool, typer.Option("--once", help="End once the checkpoints that are there are evaluated.")
    ] = False,
    settings: Settings = None,
    detach: Detach = False,
    summary: SummaryFile = None,
    store: Store = None,
) -> None:
    """Evaluate a training's checkpoints as they are saved, all in one run. Ctrl-C pauses it.

    It ends when the training has made its last step, or a STOP file is in the folder. The same command goes
    on with the same run.
    """
    from engine.run import launch

    folder = store_folder(context, store)
    run_id = launch.follow(plan, folder, outputs, until=until, once=once, settings=settings or ())
    raise typer.Exit(carry_out(folder, run_id, detach=detach, quiet=asked.quiet, summary=summary))


def resume(
    context: typer.Context,
    run: Run,
    detach: Detach = False,
    max_cost: MaxCost = None,
    other_hardware: OtherHardware = False,
    take_over: TakeOver = False,
    summary: SummaryFile = None,
    store: Store = None,
) -> None:
    """Continue a run that was paused, interrupted or failed, or that waits for a server.

    What is finished is kept and not done again.
    """
    from engine.run import launch

    folder = store_folder(context, store)
    with opened(folder) as connection:
        run_id = history.find_run(connection, run)
        if take_over and (said := launch.take_over(connection, folder, run_id)):
            err(said)
        found = history.run(connection, run_id)
        if silent := history.silence(found):
            raise BadInput(
                f"run {run_id} is running: {silent}",
                f"`assay resume {run_id} --take-over` ends that process and continues",
            )
        status = found.status
        if status == "running" and found.waiting:
            people.request(connection, run_id, "retry")
            out(f"run {run_id} is retrying now")
            return
        if max_cost is not None and status not in ("finished", "cancelled", "running"):
            people.set_max_cost(connection, run_id, max_cost)
        if other_hardware:
            people.allow_other_hardware(connection, run_id)
    if status in ("finished", "cancelled"):
        raise BadInput(
            f"run {run_id} is {status}: there is nothing to resume", "`assay run PLAN` starts a new one"
        )
    if status == "running":
        raise BadInput(f"run {run_id} is running already", f"`assay watch {run_id}` shows it")
    raise typer.Exit(carry_out(folder, run_id, detach=detach, quiet=asked.quiet, summary=summary))


def carry_out(
    folder: Path,
    run_id: int,
    *,
    detach: bool = False,
    quiet: bool = False,
    only: str | None = None,
    brief: bool = False,
    summary: Path | None = None,
    json: bool = False,
) -> int:
    """Starts a queued run and watches it to its end; returns its exit code.

    `brief` leaves its numbers out; `summary` is the file that its report in Markdown is added to; `json`
    prints its values for programs, or its id where it is not watched.
    """
    from engine.run import launch

    with opened(folder) as connection:
        past = max((event.id for event in live.events(connection, run_id, limit=1)), default=0)
        worker = launch.start(folder, run_id)
        if detach and json:
            print_json({"id": run_id})
            return 0
        if detach:
            out(f"run {run_id} started; `assay watch {run_id}` shows it, `assay show {run_id}` its result")
            return 0
        watcher = Watcher(connection, run_id, quiet=quiet, after=past)

        def pause() -> bool:
            if history.run(connection, run_id).status != "running":
                return False
            people.request(connection, run_id, "pause")
            watcher.say("pausing after the current piece of work; Ctrl-C again stops watching")
            return True

        watcher.say(f"run {run_id} started; Ctrl-C pauses it, closing the terminal does not stop it")
        ended = watcher.watch(worker, pause)
        code = _tell_end(connection, ended, only, brief=brief, quiet=quiet, json=json)
        if ended.status != "paused":
            append_summary(connection, run_id, summary)
            annotate(connection, run_id)
        return code


def _tell_end(
    connection: history.Connection,
    run: records.Run,
    only: str | None,
    *,
    brief: bool = False,
    quiet: bool = False,
    json: bool = False,
) -> int:
    """Says how a run ended and returns the exit code for it."""
    from tui.cli.screenful import print_screen
    from tui.report.json import run_values
    from tui.sections.gather import gather

    if run.status == "paused":
        if run.error:
            err(printable(run.error))
        err(f"paused; `assay resume {run.id}` continues")
        return 0 if only else INTERRUPTED
    if run.status == "finished":
        if json:
            print_json(run_values(gather(connection, run.id)))
        elif quiet and not brief:
            print_brief(gather(connection, run.id))
        elif not brief:
            print_screen(gather(connection, run.id))
        allowed = run.passed is None and (run.options or {}).get("allow_empty")
        return 0 if run.passed or allowed else FAILED_GATE
    if run.status == "cancelled":
        err(f"run {run.id} was cancelled; finished work is saved")
    elif run.status == "failed":
        err(f"run {run.id} failed: {run.error or 'no reason was recorded'}")
        err(f"`assay resume {run.id}` continues from what is finished")
    else:
        why = f": {run.error}" if run.error else " without an error message"
        err(f"the worker of run {run.id} exited{why}; see logs/run-{run.id}.log in the store")
        err(f"`assay resume {run.id}` continues from what is finished")
    return CANNOT_FINISH


def pause(
    context: typer.Context,
    run: Run,
    after_phase: Annotated[bool, typer.Option("--after-phase", help="Only after the current phase.")] = False,
    store: Store = None,
) -> None:
    """Pause a run after the current piece of work, to resume later."""
    _request(context, run, store, "finish_phase" if after_phase else "pause")


def concurrency(
    context: typer.Context,
    run: Run,
    calls: Annotated[int, typer.Argument(min=0, metavar="CALLS", help="0: the plan's value.")],
    store: Store = None,
) -> None:
    """Set the maximum of parallel requests per server for a run, from now on."""
    with opened(store_folder(context, store)) as connection:
        run_id = history.find_run(connection, run)
        people.set_concurrency(connection, run_id, calls or None)
    out(f"run {run_id}: max parallel requests per server: {calls or 'as in the plan'}")


def cancel(context: typer.Context, run: Run, store: Store = None) -> None:
    """Stop a run for good; what is finished is kept."""
    _request(context, run, store, "cancel")


def _request(
    context: typer.Context, run: str, store: str | None, what: Literal["pause", "finish_phase", "cancel"]
) -> None:
    with opened(store_folder(context, store)) as connection:
        run_id = history.find_run(connection, run)
        people.request(connection, run_id, what)
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
            raise typer.Exit(_tell_end(connection, Watcher(connection, run_id).watch(), None))
    from tui.app import open_workbench

    raise typer.Exit(open_workbench(folder, run_id, "live", **app_options(context)))


def review(
    context: typer.Context,
    run: Run,
    annotator: Annotated[
        str | None,
        typer.Option(
            "--as", metavar="NAME", help="The name for your decisions [default: $ASSAY_ANNOTATOR, you]"
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
    from tui.app import open_workbench

    given = {**app_options(context), "annotator": (annotator or "").strip(), "blind": blind}
    raise typer.Exit(open_workbench(folder, run_id, "review", **given))


def rerun(
    context: typer.Context,
    run: Run,
    detach: Detach = False,
    anyway: Anyway = False,
    no_cache: NoCache = False,
    summary: SummaryFile = None,
    store: Store = None,
) -> None:
    """Repeat a run with the same plan, options and files; report whether the numbers are the same."""
    from engine.run.launch import again

    folder = store_folder(context, store)
    with opened(folder) as connection:
        earlier = history.find_run(connection, run)
        run_id = again(connection, folder, earlier, anyway=anyway, cache=not no_cache)
    raise typer.Exit(carry_out(folder, run_id, detach=detach, quiet=asked.quiet, summary=summary))


def _confirm_cost(
    plan_file: Path,
    store: Path,
    limit: int | None,
    fold: int | None,
    settings: Sequence[str],
    *,
    yes: bool,
) -> None:
    """Prints the possible cost of the judges, and asks for a yes where it may exceed the plan's `max_cost`.

    Without a `fold`, a plan's folds count together.

    Raises BadInput where it may and no terminal can ask, and Abort when the answer is no.
    """
    from engine.judges.preflight import estimate
    from engine.plan.plan import read_plan
    from engine.plan.selection import asked, whole_set
    from engine.plan.sweep import count_folds
    from engine.preflight.check import beside, remaining

    plan = read_plan(plan_file, fold or (1 if count_folds(plan_file, settings) else None), settings=settings)
    if all(judge.server is None for judge in plan.judges):
        return
    whole = whole_set(plan.data)
    examples = remaining(whole, store)
    of_suites = beside(plan, store, {example.id for example in whole}, limit).questions
    together = plan.data.folds is not None and fold is None
    parts = range(1, (plan.data.folds or 0) + 1) if together else [plan.data.fold]
    chosen = [asked(examples, plan.data.model_copy(update={"fold": part}), limit) for part in parts]
    found = estimate(plan, list(chain.from_iterable(chosen)), suites=of_suites * len(chosen))
    for each in found:
        remark(f"judge {each.judge}: {each.text()}")
    cap = plan.judging.max_cost
    likely = sum(each.dollars[0] for each in found if each.dollars is not None)
    if cap is None or likely <= cap or yes:
        return
    over = f"judging is likely to cost ${likely:,.2f}, and max_cost is ${cap:,.2f}: the run would pause there"
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise BadInput(over, "raise max_cost, judge a sample, or add --yes to run until the cap")
    typer.confirm(f"{over}. Start it?", abort=True, err=True)


def print_brief(found: "RunSections") -> None:
    """The verdict in one line, and what tripped."""
    from tui.cli.terminal import print_alerts, print_verdict

    print_verdict(found.overview)
    if found.repetition:
        paragraph(found.repetition.said)
    if found.alerts.rows:
        print_alerts(found.alerts)


def append_summary(connection: Connection, run_id: int, file: Path | None) -> None:
    """Adds the run's Markdown report to the file, or to the one that the CI's environment names, if any.

    Raises BadInput when it cannot be written.
    """
    named = os.environ.get(STEP_SUMMARY)
    target = file or (Path(named) if named else None)
    if target is None:
        return
    from engine.errors import BadInput
    from tui.report import render
    from tui.sections.gather import gather_report

    text = render(gather_report(connection, run_id), "md")
    try:
        with target.open("a", encoding="utf-8", errors="backslashreplace") as output:
            output.write(text + "\n")
    except OSError as error:
        raise BadInput(
            f"the step summary {target} cannot be written: {error.strerror}",
            f"choose another file with --summary FILE, or take {STEP_SUMMARY} out of the environment",
        ) from error


def annotate(connection: Connection, run_id: int) -> None:
    """In a job of GitHub Actions, has the run's alerts shown at the lines that they are about."""
    if os.environ.get("GITHUB_ACTIONS") == "true":
        from tui.report.github import annotations
        from tui.sections.gather import gather_report

        # On standard error, which GitHub reads as well: --json has the other one for itself.
        for line in annotations(gather_report(connection, run_id)):
            sys.stderr.write(f"{line}\n")


FoldRun = Annotated[
    str, typer.Argument(metavar="RUN", help="A run of one of the folds: an id, a name or last.")
]


def fold_number(text: str) -> int:
    """Raises BadInput for what is not a number."""
    if not text.isdecimal():
        raise BadInput(f"--fold {text}: give a fold's number, or all", "the first is --fold 1")
    return int(text)


def run_folds(
    plan: Path,
    folder: Path,
    *,
    limit: int | None,
    cache: bool,
    quiet: bool,
    allow_empty: bool,
    settings: Sequence[str] = (),
) -> int:
    """Runs each fold of a plan and shows them together; returns the worst of their exit codes.

    Stops at a fold that was paused or could not finish. Raises BadInput before the first run for anything
    wrong with the plan in any fold.
    """
    from engine.compare.folds import pool
    from engine.plan.plan import read_plan
    from engine.plan.sweep import count_folds
    from engine.run import launch
    from tui.sections.overview import verdict

    count = count_folds(plan, settings)
    if count is None:
        read_plan(plan, settings=settings)
        raise BadInput(f"{plan}: has no folds", "add folds = 5 under [data], or run without --fold")
    for fold in range(1, count + 1):
        read_plan(plan, fold, settings=settings)
    runs: dict[int, int] = {}
    worst = 0
    for fold in range(1, count + 1):
        run_id = launch.create(
            plan, folder, limit=limit, cache=cache, fold=fold, allow_empty=allow_empty, settings=settings
        )
        code = carry_out(folder, run_id, quiet=quiet, brief=True)
        if code > FAILED_GATE:
            err(f"stopped at fold {fold} of {count}; the rest: `assay run PLAN --fold N`, then `assay folds`")
            return code
        runs[fold] = run_id
        worst = max(worst, code)
        with opened(folder) as connection:
            remark(f"fold {fold} of {count}: run {run_id}: {verdict(history.run(connection, run_id))}")
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
