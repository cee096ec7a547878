"""How the end of a run is told: in full or in brief, and as a step summary where CI has a place for one."""

import os
from pathlib import Path
from typing import Annotated

import typer

from store.read.history import Connection
from tui.cli.showing import print_alerts, print_verdict
from tui.sections.summary import Summary
from tui.text.output import paragraph

STEP_SUMMARY = "GITHUB_STEP_SUMMARY"

SummaryFile = Annotated[
    Path | None,
    typer.Option(
        "--summary", metavar="FILE", help=f"Append the Markdown report to a file [default: ${STEP_SUMMARY}]."
    ),
]


def tell_briefly(summary: Summary) -> None:
    """The verdict in one line, and what tripped."""
    print_verdict(summary)
    if summary.repetition:
        paragraph(summary.repetition.said)
    if summary.alerts:
        print_alerts(summary)


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
    from tui.sections.material import collect

    text = render(collect(connection, run_id), "md")
    try:
        with target.open("a", encoding="utf-8", errors="backslashreplace") as output:
            output.write(text + "\n")
    except OSError as error:
        raise BadInput(
            f"the step summary {target} cannot be written: {error.strerror}",
            f"choose another file with --summary FILE, or take {STEP_SUMMARY} out of the environment",
        ) from error
