"""The command line: `assay` alone opens the app, everything else is a command in its own file."""

import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from engine.errors import AssayError, BadInput, refused
from store.errors import StoreError

if TYPE_CHECKING:
    import typer
    from typer.core import TyperGroup

INTERNAL = 3
INTERRUPTED = 130
EXIT_CODES = "Exit codes: 0 passed, 1 a gate failed, 2 bad input, 3 could not finish, 130 interrupted."
_LONGEST_LINE = 2_000  # characters of an error message


def main() -> None:
    """The console script."""
    _open_streams()
    arguments = sys.argv[1:]
    code = guarded(lambda: command(arguments) if arguments else open_app(None))
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = _leave_pipe()
    except OSError as error:
        complain(f"the output cannot be written: {error.strerror}")
        _leave_pipe()
        code = code or INTERNAL
    sys.exit(code)


def _open_streams() -> None:
    """The standard streams as every command finds them: open, with escapes for what their encoding lacks."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # the caller closed it
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # TextIOWrapper in a process


def guarded(work: Callable[[], int]) -> int:
    """Runs a command and returns the exit code; errors are messages, and tracebacks with --debug alone."""
    try:
        return work()
    except (AssayError, StoreError) as error:
        _trace(error)
        complain(str(error))
        return error.exit_code
    except BrokenPipeError:
        return _leave_pipe()
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:  # the last line of defence of the whole process
        _trace(error)
        if reason := refused(error):
            complain(reason)
            return INTERNAL
        complain(
            f"unexpected {type(error).__name__}: {error}\n"
            "  please report it; --debug or ASSAY_DEBUG=1 shows where; a run's log is in logs/ of the store"
        )
        return INTERNAL


def _trace(error: Exception) -> None:
    from tui.text.output import asked

    if asked.debug or os.environ.get("ASSAY_DEBUG"):
        import traceback

        complain("".join(traceback.format_exception(error)).rstrip())


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
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def open_app(store: str | None, **given: Any) -> int:
    from store.database import locate
    from tui.app import open_workbench

    return open_workbench(locate(store, Path.cwd()), **given)


_ANYWHERE = {"--quiet": "quiet", "--verbose": "verbose", "-v": "verbose", "--debug": "debug"}


def command(arguments: Sequence[str]) -> int:
    """Runs one command line; returns its exit code."""
    from typer.exceptions import Abort, Exit, TyperException

    from tui.text.output import asked, detail

    end = arguments.index("--") if "--" in arguments else len(arguments)
    given = {_ANYWHERE[word] for word in arguments[:end] if word in _ANYWHERE}
    for name in ("quiet", "verbose", "debug"):
        setattr(asked, name, name in given)
    left = [word for place, word in enumerate(arguments) if place >= end or word not in _ANYWHERE]
    began = time.monotonic()
    try:
        code = build()(left, standalone_mode=False, prog_name="assay")
    except TyperException as error:
        _trace(error)
        complain(f"{error.format_message()}\n  `assay --help` lists commands, `assay COMMAND --help` options")
        return 2
    except UnicodeEncodeError as error:
        wrong = next((word for word in left if not _is_text(word)), None)
        if wrong is None:
            raise
        raise BadInput(f"{wrong!a}: is not text in UTF-8", "give it in the terminal's encoding") from error
    except Exit as error:
        code = error.exit_code
    except Abort:
        return INTERRUPTED
    detail(f"took {time.monotonic() - began:.1f} s")
    return code if isinstance(code, int) else 0


def _is_text(word: str) -> bool:
    """Whether an argument is text; a file's name may be any bytes, what goes into the store may not."""
    return not any("\ud800" <= letter <= "\udfff" for letter in word)


@cache
def build() -> "TyperGroup":
    """The commands with their options, made once in a process: the groups are the modules' own."""
    import typer
    from typer.main import get_group

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
        epilog=EXIT_CODES,
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
        # `command` takes these from wherever they are; here they are told.
        quiet: Annotated[
            bool, typer.Option("--quiet", help="With any command: only results and errors, no progress.")
        ] = False,
        verbose: Annotated[
            bool, typer.Option("--verbose", "-v", help="With any command: the store, every event, the time.")
        ] = False,
        debug: Annotated[
            bool, typer.Option("--debug", help="With any command: the traceback of an error.")
        ] = False,
        version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    ) -> None:
        if version:
            from importlib.metadata import version as installed_version

            sys.stdout.write(f"assay {installed_version('assay')}\n")
            raise typer.Exit
        if context.invoked_subcommand is None:
            raise typer.Exit(open_app(store, **app_options(context)))

    class Shell(StrEnum):
        bash = "bash"
        zsh = "zsh"
        fish = "fish"

    @app.command()
    def completion(
        shell: Annotated[Shell, typer.Argument(metavar="SHELL", help="bash, zsh or fish.")],
    ) -> None:
        """Print the script that completes commands, runs, measures and files in a shell."""
        from tui.cli.manual import SCRIPTS
        from tui.text.output import out

        out(SCRIPTS[shell.value].rstrip())

    @app.command()
    def man() -> None:
        """Print a manual page of all commands, to be read with `assay man | man -l -`."""
        from importlib.metadata import version

        from tui.cli.manual import manual
        from tui.text.output import out

        out(manual(build(), version("assay")).rstrip())

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
    app.command()(proposals.synthesize)
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
    _tell_exit_codes(app)
    return get_group(app)


def _tell_exit_codes(app: "typer.Typer") -> None:
    """The help of every command ends with what its exit code says."""
    for command in app.registered_commands:
        command.epilog = EXIT_CODES
    for group in app.registered_groups:
        if group.typer_instance is not None:
            _tell_exit_codes(group.typer_instance)
