"""Commands on runs at fixed times: schedule add, list, remove and run."""

import os
import sys
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engine.errors import AssayError, BadInput
from store.errors import StoreError
from store.read import history
from store.session import opened
from tui.cli.common import Json, Plan, Store, store_folder
from tui.cli.run import CANNOT_FINISH, Against, carry_out
from tui.sections.overview import verdict
from tui.text.gate import MISSING, counted, printable
from tui.text.output import Column, as_json, err, finite, iso, out, paragraph, print_json, print_table

if TYPE_CHECKING:
    from engine.run.schedule import Keeper, Schedule, TimerJob

schedule = typer.Typer(
    help="Runs at fixed times, started by systemd or cron.",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
Name = Annotated[str, typer.Argument(metavar="NAME", help="The schedule's name.")]
Systemd = Annotated[
    bool, typer.Option("--systemd", help="A systemd unit, also where systemd doesn't answer.")
]
CronTab = Annotated[bool, typer.Option("--cron-tab", help="A line of your crontab.")]
Print = Annotated[bool, typer.Option("--print", help="Only show what would be written.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


@schedule.command()
def add(
    context: typer.Context,
    plan: Plan,
    weekly: Annotated[
        str | None, typer.Option("--weekly", metavar="DAY TIME", help='Such as "mon 03:00".')
    ] = None,
    daily: Annotated[str | None, typer.Option("--daily", metavar="TIME", help='Such as "03:00".')] = None,
    cron: Annotated[
        str | None, typer.Option("--cron", metavar="FIELDS", help='Five, as cron has them: "0 3 * * 1".')
    ] = None,
    against: Against = None,
    hook: Annotated[
        str | None,
        typer.Option("--hook", metavar="COMMAND", help="Given each result, as JSON on its standard input."),
    ] = None,
    webhook: Annotated[
        str | None,
        typer.Option("--webhook", metavar="URL", help="Each result is posted there; ${NAME} is a variable."),
    ] = None,
    env_file: Annotated[
        Path | None,
        typer.Option("--env-file", metavar="FILE", help="Lines KEY=VALUE: keys and what else runs need."),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", metavar="N", help="The schedule's [default: the plan file's].")
    ] = None,
    systemd: Systemd = False,
    cron_tab: CronTab = False,
    show: Print = False,
    yes: Yes = False,
    store: Store = None,
) -> None:
    """Run a plan at fixed times, in the machine's time zone. What is written is shown first."""
    from engine.plan.plan import read_plan
    from engine.run import launch
    from engine.run import schedule as schedules

    given = [option for option in (weekly, daily, cron) if option is not None]
    if len(given) != 1:
        raise BadInput("a schedule needs one of --weekly, --daily and --cron", 'such as --weekly "mon 03:00"')
    if weekly is not None:
        when = schedules.weekly(weekly)
    else:
        when = schedules.daily(daily) if daily is not None else schedules.read_cron(cron or "")
    folder = store_folder(context, store)
    read_plan(plan)
    chosen = schedules.named(plan.stem) if name is None else name
    schedules.refuse_name(chosen)
    if schedules.file_of(folder, chosen).exists() and not show:
        raise BadInput(
            f"there is a schedule {chosen!r} already",
            f"`assay schedule remove {chosen}` removes it; or give another --name",
        )
    if webhook is not None:
        schedules.refuse_webhook(webhook)
    if env_file is not None and not os.access(env_file, os.R_OK):
        raise BadInput(f"--env-file {env_file}: cannot be read", "write it first, readable by you alone")
    if env_file is not None and env_file.stat().st_mode & 0o077:
        err(f"others can read {printable(str(env_file))}: `chmod 600` keeps its keys to you")
    new = schedules.Schedule(
        name=chosen,
        plan=str(plan.absolute()),
        cron=when,
        keeper=schedules.choose_keeper(systemd=systemd, crontab=cron_tab),
        created=schedules.now(),
        against=against and launch.reference(folder, against),
        hook=() if hook is None else schedules.read_hook(hook),
        webhook=webhook,
        env_file=None if env_file is None else str(env_file.absolute()),
    )
    if install(schedules.job_of(new, folder), new.keeper, show=show, yes=yes, first=(folder, new)):
        moment = schedules.next_time(new, schedules.now(), schedules.zone())
        out(f"{chosen} runs next at {_local(moment)}; `assay schedule remove {chosen}` removes it")


def install(
    job: "TimerJob",
    keeper: "Keeper",
    *,
    show: bool,
    yes: bool,
    first: "tuple[Path, Schedule] | None" = None,
) -> bool:
    """Shows what is written, asks, and writes it; returns whether it did.

    `first` is the schedule that has to stand in its store before anything can start it.
    """
    from engine.run import schedule as schedules

    out(printable(schedules.written(job, keeper)))
    if show:
        return False
    if not yes:
        if not sys.stdin.isatty():
            raise BadInput("writing this needs a confirmation", "--yes confirms it; --print writes nothing")
        typer.confirm("Write this?", abort=True)
    if first is not None:
        schedules.keep(*first)
    try:
        todo = schedules.install(job, keeper)
    except BaseException:
        if first is not None:
            schedules.forget(first[0], first[1].name)
        raise
    if todo:
        paragraph(todo)
    return True


@schedule.command()
def remove(context: typer.Context, name: Name, store: Store = None) -> None:
    """Remove a schedule and its timer; its runs stay, and one that is under way goes on."""
    from engine.run import schedule as schedules

    folder = store_folder(context, store)
    try:
        keepers = [schedules.read(folder, name).keeper]
    except BadInput:
        if name not in schedules.names(folder):
            raise
        keepers = [keeper for keeper in schedules.KEEPERS if name in schedules.installed(keeper)]
    for keeper in keepers:
        schedules.uninstall(name, keeper)
    schedules.forget(folder, name)
    out(f"{name} is removed")


@schedule.command("list")
def list_(context: typer.Context, json: Json = False, store: Store = None) -> None:
    """List the schedules: when each runs next, how it ended last, and what was missed."""
    from engine.run import schedule as schedules

    folder, now, where = store_folder(context, store), schedules.now(), schedules.zone()
    found = schedules.read_all(folder)
    results = {one.name: _result(folder, one) for one in found}
    kept = {keeper: schedules.installed(keeper) for keeper in {one.keeper for one in found}}
    missing = {one.name: schedules.missed(one, now, where) for one in found}
    coming = {one.name: schedules.next_time(one, now, where) for one in found}
    if json:
        print_json(
            [
                {
                    **{"name": one.name, "plan": one.plan, "cron": one.cron, "keeper": one.keeper},
                    **{"against": one.against, "installed": one.name in kept[one.keeper]},
                    **{"next": iso(coming[one.name]), "last": iso(one.started), "run": one.run},
                    **{"exit_code": one.code, "result": results[one.name], "error": one.error},
                    "missed": [iso(moment) for moment in missing[one.name]],
                }
                for one in found
            ]
        )
        return
    if not found:
        out('no schedule; `assay schedule add PLAN --weekly "mon 03:00"` adds one')
        return
    print_table(
        [
            *(Column("name"), Column("plan"), Column("next", True), Column("last", True)),
            *(Column("run", True), Column("last result"), Column("missed", True)),
        ],
        [
            [
                *(one.name, Path(one.plan).name, _local(coming[one.name]), _local(one.started)),
                *(MISSING if one.run is None else str(one.run), results[one.name]),
                _count(missing[one.name]),
            ]
            for one in found
        ],
    )
    for one in found:
        if moments := missing[one.name]:
            paragraph(f"missed: {', '.join(map(_local, moments[-5:]))}", "  ", f"{one.name}: ")
        if one.error:
            paragraph(printable(one.error), "  ", f"{one.name}: ")
        if one.name not in kept[one.keeper]:
            gone = "nothing starts it: its timer or crontab line is gone; remove it, then add it again"
            paragraph(gone, "  ", f"{one.name}: ")


def _count(moments: tuple[float, ...]) -> str:
    from engine.run.schedule import MOST_MISSED

    return f"{MOST_MISSED} or more" if len(moments) == MOST_MISSED else str(len(moments))


def _local(moment: float | None) -> str:
    """A time for people, in the zone that the timers go by."""
    from engine.run.schedule import zone

    return MISSING if moment is None else datetime.fromtimestamp(moment, zone()).strftime("%a %Y-%m-%d %H:%M")


def _result(folder: Path, one: "Schedule") -> str:
    """How the last run of a schedule stands now, in words."""
    if one.started is None:
        return "has not run yet"
    if one.run is None:
        return "did not start"
    try:
        with opened(folder) as connection:
            return verdict(history.run(connection, one.run))
    except StoreError:
        return "its run is gone"


@schedule.command()
def run(context: typer.Context, name: Name, store: Store = None) -> int:
    """Run a schedule now, once at a time, and tell its hook: this is what its timer calls.

    The exit code is the run's: 0 passed, 1 a gate failed; 2 or 3 where it could not start or finish, or its
    hook was not told.
    """
    from engine.run import schedule as schedules
    from store.database import hold

    folder = store_folder(context, store)
    found = schedules.read(folder, name)
    lock = hold(schedules.lock_of(folder, name))
    try:
        if lock is None or (found.run is not None and _result(folder, found) == "running"):
            said = f"run {found.run}" if found.run is not None else "its run"
            err(f"{name} is running already, as {said}: nothing was started")
            return CANNOT_FINISH
        return _run(folder, schedules.read(folder, name))
    finally:
        if lock is not None:
            os.close(lock)


def _run(folder: Path, before: "Schedule") -> int:
    from engine.run import launch
    from engine.run import schedule as schedules

    found = schedules.begun(before, schedules.now(), schedules.zone())
    _tell_missed(before, found)
    if before.run is not None and (last := _result(folder, before)) in ("interrupted", "paused", "failed"):
        err(f"its last run is {last}; `assay resume {before.run}` continues that one")
    schedules.renew(folder, found)
    try:
        run_id = launch.create(Path(found.plan), folder, against=found.against)
        found = replace(found, run=run_id)
        schedules.renew(folder, found)
        code, error = carry_out(folder, run_id, quiet=True), None
    except (AssayError, StoreError) as failure:
        code, error = failure.exit_code, str(failure)
        err(f"{found.name} could not run: {printable(error)}")
    found = replace(found, code=code, error=error)
    schedules.renew(folder, found)
    told = [said for said in _tell(folder, found) if said is not None]
    for said in told:
        err(printable(said))
    if told:
        schedules.renew(folder, replace(found, error="; ".join([error, *told] if error else told)))
    return code if code or not told else CANNOT_FINISH


def _tell_missed(before: "Schedule", found: "Schedule") -> None:
    """Says what was missed since it ran last, and how late it is."""
    from engine.run.schedule import GRACE_S

    assert found.started is not None
    new = [moment for moment in found.missed if moment > (before.started or before.created)]
    if new:
        times = counted(len(new), "time")
        err(f"{found.name} missed {times}, {', '.join(map(_local, new[-5:]))}: nothing ran then")
    if found.due is not None and found.started - found.due > GRACE_S:
        err(f"{found.name} runs late: it was due at {_local(found.due)}")


def _tell(folder: Path, found: "Schedule") -> list[str | None]:
    """Hands the result to the hook and the webhook; returns what went wrong with each."""
    from engine.run import schedule as schedules

    if not (found.hook or found.webhook):
        return []
    values = _values(folder, found)
    told = []
    if found.hook:
        told.append(schedules.tell_hook(found.hook, as_json(values), Path(found.plan).parent))
    if found.webhook:
        told.append(schedules.tell_webhook(found.webhook, finite(values)))
    return told


def _values(folder: Path, found: "Schedule") -> dict[str, Any]:
    """What `assay show --json` gives of its run, with how the schedule stands."""
    from tui.report.json import run_values
    from tui.sections.gather import gather

    values: dict[str, Any] = {"run": None, "passed": None, "reason": found.error}
    if found.run is not None:
        with opened(folder) as connection:
            values = run_values(gather(connection, found.run))
    return {
        **values,
        "schedule": {
            "name": found.name,
            "plan": found.plan,
            "started": iso(found.started),
            "due": iso(found.due),
            "missed": [iso(moment) for moment in found.missed],
            "exit_code": found.code,
            "error": found.error,
        },
    }
