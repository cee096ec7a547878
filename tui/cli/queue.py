"""Commands on the store's queue of runs: queue, with move, cancel, work, install and uninstall."""

import time
from typing import Annotated

import typer

from engine.errors import BadInput
from engine.plan.errors import in_words
from store import people
from store.read import history, runs
from store.session import opened
from tui.cli.common import Json, Run, Store, store_folder
from tui.cli.schedule import CronTab, Print, Systemd, Yes, install
from tui.text.gate import MISSING, printable
from tui.text.output import Column, out, print_json, print_table, remark

queue = typer.Typer(
    help="Runs that wait for their turn: list, move, cancel and start them.",
    invoke_without_command=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
NAME = "queue"  # of its unit or crontab line
Name = Annotated[str, typer.Option("--name", metavar="N", help="Of its unit, where several stores have one.")]


@queue.callback()
def report(context: typer.Context, json: Json = False, store: Store = None) -> None:
    """List the runs that the queue has started, and those that wait, in their order.

    `assay run PLAN --queue` adds one; `assay queue work` starts them, one at a time on each GPU.
    """
    if context.invoked_subcommand is not None:
        return
    from engine.run.queue import is_worked

    folder = store_folder(context, store)
    with opened(folder) as connection:
        rows = [*runs.started(connection), *runs.waiting(connection)]
    worked, now = is_worked(folder), time.time()
    places = {row.id: place for place, row in enumerate((r for r in rows if r.status == "queued"), start=1)}
    if json:
        print_json(
            {
                "worked": worked,
                "runs": [
                    {
                        **{"id": str(row.id), "name": row.name, "plan": row.plan_file, "status": row.status},
                        **{"place": places.get(row.id), "priority": row.priority, "gpu": row.gpu},
                        "waits_s": now - row.created if row.id in places else None,
                    }
                    for row in rows
                ],
            }
        )
        return
    if rows:
        print_table(
            [
                *(Column("place", True), Column("run", True), Column("plan"), Column("status")),
                *(Column("priority", True), Column("waits", True), Column("GPU", True)),
            ],
            [
                [
                    *(str(places.get(row.id, MISSING)), str(row.id), f"{row.plan_file}: {row.name}"),
                    *(row.status, str(row.priority)),
                    in_words(now - row.created) if row.id in places else MISSING,
                    MISSING if row.gpu is None or row.id in places else str(row.gpu),
                ]
                for row in rows
            ],
        )
    else:
        out("no run waits; `assay run PLAN --queue` adds one")
    if rows and not worked:
        remark("nothing starts them: `assay queue work` does, `assay queue install` has it start by itself")


@queue.command()
def move(
    context: typer.Context,
    run: Run,
    place: Annotated[int, typer.Argument(min=1, metavar="PLACE", help="1 is the next to start.")],
    store: Store = None,
) -> None:
    """Give a waiting run another place, with the priority of the run that it is put before."""
    with opened(store_folder(context, store)) as connection:
        run_id = history.find_run(connection, run)
        people.move(connection, run_id, place)
        out(f"run {run_id} waits at place {runs.place(connection, run_id)}")


@queue.command()
def cancel(context: typer.Context, run: Run, store: Store = None) -> None:
    """Take a waiting run out of the queue for good."""
    with opened(store_folder(context, store)) as connection:
        run_id = history.find_run(connection, run)
        if runs.place(connection, run_id) is None:
            raise BadInput(
                f"run {run_id} does not wait in the queue", f"`assay cancel {run_id}` ends one that runs"
            )
        people.request(connection, run_id, "cancel")
        out(f"run {run_id} is cancelled")


@queue.command()
def work(
    context: typer.Context,
    once: Annotated[bool, typer.Option("--once", help="End once no run waits or runs.")] = False,
    store: Store = None,
) -> None:
    """Start the waiting runs in turn, one at a time on each GPU. Ctrl-C ends this, not the runs.

    A run starts when a GPU has the memory that it needs. Started again after a kill or a reboot, it goes on.
    """
    from engine.run import queue

    folder = store_folder(context, store)

    def say(text: str) -> None:
        typer.echo(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {printable(text)}")

    queue.work(folder, say, once=once)


@queue.command("install")
def install_(
    context: typer.Context,
    name: Name = NAME,
    systemd: Systemd = False,
    cron_tab: CronTab = False,
    show: Print = False,
    yes: Yes = False,
    store: Store = None,
) -> None:
    """Have `assay queue work` start with the machine, by systemd or cron; it is shown first."""
    from engine.run.schedule import TimerJob, choose_keeper, refuse_name

    refuse_name(name)
    keeper = choose_keeper(systemd=systemd, crontab=cron_tab)
    folder = store_folder(context, store)
    job = TimerJob(name=name, about=f"assay queue work, {name}", words=("queue", "work"), store=folder)
    if install(job, keeper, show=show, yes=yes):
        out(f"the queue of {printable(str(folder))} is worked on; `assay queue uninstall` ends that")


@queue.command()
def uninstall(name: Name = NAME) -> None:
    """Remove what `assay queue install` wrote; runs that have started go on."""
    from engine.run import schedule

    keepers = [keeper for keeper in schedule.KEEPERS if name in schedule.installed(keeper)]
    if not keepers:
        raise BadInput(f"no queue {name!r} is installed", "`assay queue install` installs one")
    for keeper in keepers:
        schedule.uninstall(name, keeper)
    out(f"{name} is removed")
