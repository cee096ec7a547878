"""The command line: `assay` alone opens the app, everything else is a command in its own file."""

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from engine.errors import AssayError, refused
from store.errors import StoreError

if TYPE_CHECKING:
    import typer

INTERNAL = 3
INTERRUPTED = 130
_LONGEST_LINE = 2_000  # characters of an error message


def main() -> None:
    """The console script."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that is not UTF-8 gets escapes instead of an error.
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # TextIOWrapper in a process
    arguments = sys.argv[1:]
    code = guarded(lambda: command(arguments) if arguments else open_app(None))
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = _leave_pipe()
    sys.exit(code)


def guarded(work: Callable[[], int]) -> int:
    """Runs a command and returns the exit code; errors are messages, never tracebacks."""
    try:
        return work()
    except (AssayError, StoreError) as error:
        complain(str(error))
        return error.exit_code
    except BrokenPipeError:
        return _leave_pipe()
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:  # the last line of defence of the whole process
        if os.environ.get("ASSAY_DEBUG"):
            raise
        if reason := refused(error):
            complain(reason)
            return INTERNAL
        complain(
            f"unexpected {type(error).__name__}: {error}\n"
            "  please report it; ASSAY_DEBUG=1 shows where, and a run's own log is in logs/ of the store"
        )
        return INTERNAL


def complain(message: str) -> None:
    from tui.text.gate import ELLIPSIS, printable

    # A key or a value that a message names may be as long as its file.
    lines = (
        line if len(line) <= _LONGEST_LINE else line[:_LONGEST_LINE] + ELLIPSIS
        for line in message.split("\n")
    )
    sys.stderr.write(f"assay: {printable(chr(10).join(lines))}\n")


def _leave_pipe() -> int:
    # The reader has gone; nothing more may be written, not even by the interpreter on its way out.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def open_app(store: str | None, **given: Any) -> int:
    from store.database import locate
    from tui.app import open_workbench

    return open_workbench(locate(store, Path.cwd()), **given)


def command(arguments: Sequence[str]) -> int:
    """Runs one command line; returns its exit code."""
    from typer.exceptions import Abort, Exit, TyperException

    try:
        code = build()(list(arguments), standalone_mode=False)
    except TyperException as error:
        complain(f"{error.format_message()}\n  `assay --help` lists commands, `assay COMMAND --help` options")
        return 2
    except Exit as error:
        return error.exit_code
    except Abort:
        return INTERRUPTED
    return code if isinstance(code, int) else 0


def build() -> "typer.Typer":
    """The commands with their options."""
    import typer

    from tui.cli import (
        annotations,
        collect,
        data,
        history,
        monitor,
        plan,
        proposals,
        queue,
        remote,
        run,
        schedule,
        score,
        show,
        size,
        store,
        suites,
        track,
        traffic,
        transfer,
        weeks,
    )
    from tui.cli.common import Store, app_options

    app = typer.Typer(
        name="assay",
        help="Did the fine-tune work, what did it break, do we ship it? Without a command: the workbench.",
        epilog="Exit codes: 0 passed, 1 a gate failed, 2 bad input, 3 could not finish, 130 interrupted.",
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @app.callback(invoke_without_command=True)
    def workbench(
        context: typer.Context,
        store: Store = None,
        theme: Annotated[
            str | None,
            typer.Option(metavar="NAME", help="Colours: dark, light, terminal, or your own theme."),
        ] = None,
        ascii: Annotated[bool, typer.Option("--ascii", help="Use only ASCII in the app.")] = False,
        read_only: Annotated[
            bool, typer.Option("--read-only", help="Open the app without writing to the store.")
        ] = False,
        version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    ) -> None:
        if version:
            from importlib.metadata import version as installed_version

            sys.stdout.write(f"assay {installed_version('assay')}\n")
            raise typer.Exit
        if context.invoked_subcommand is None:
            raise typer.Exit(open_app(store, **app_options(context)))

    for function in (
        *(plan.init, plan.plan, plan.check),
        *(run.run, run.demo, run.follow, run.watch, run.resume, run.pause, run.concurrency, run.cancel),
        *(history.runs, show.show, show.compare, history.trend),
        *(score.score, score.metrics, data.preview, data.split),
        *(data.leakage, data.coverage, data.versions, size.plan_size),
        *(run.review, show.report),
        *(history.tag, history.note, history.delete, history.restore, history.undo, history.accept),
        *(run.folds, run.rerun, plan.noise, store.doctor, annotations.agreement, store.keys, track.track),
    ):
        app.command()(function)
    app.add_typer(annotations.annotations, name="annotations")
    app.add_typer(store.cache, name="cache")
    app.command()(collect.collect)
    proposals.register(traffic.traffic)
    traffic.traffic.command()(weeks.review)
    app.add_typer(schedule.schedule, name="schedule")
    app.add_typer(queue.queue, name="queue")
    app.add_typer(suites.suite, name="suite")
    app.add_typer(traffic.traffic, name="traffic")
    app.add_typer(monitor.app, name="monitor")
    app.command("import")(transfer.import_)
    app.command()(transfer.export)
    app.command()(remote.pull)
    app.command()(remote.push)
    app.command("remote", hidden=True)(remote.serve)
    return app
