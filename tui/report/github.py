"""Annotations for GitHub Actions: what a job says of a line of a file, as workflow commands."""

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Literal

from engine.decision.what_if import gate_line
from engine.errors import AssayError
from store.records import Run
from tui.sections.gather import RunSections
from tui.text.gate import printable

_LEVELS: dict[str, Literal["error", "warning"]] = {"critical": "error", "warning": "warning"}


def workflow_command(
    level: Literal["error", "warning"],
    message: str,
    *,
    file: Path | None = None,
    line: int | None = None,
    title: str = "",
) -> str:
    """One line for a job's log, escaped as GitHub's runner reads it (actions/toolkit, `command.ts`)."""
    named = {"file": None if file is None else _in_repository(file), "line": line, "title": title or None}
    given = ",".join(f"{name}={_property(str(value))}" for name, value in named.items() if value is not None)
    return f"::{level}{' ' if given else ''}{given}::{_data(printable(message))}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(printable(text)).replace(":", "%3A").replace(",", "%2C")


def _in_repository(file: Path) -> str:
    """The path as annotations name files: from the repository's root."""
    root = os.environ.get("GITHUB_WORKSPACE")
    return str(file.relative_to(root)) if root and file.is_relative_to(root) else str(file)


def annotations(found: RunSections) -> Iterator[str]:
    """A command for each critical alert and warning, and for a run without a verdict.

    An alert is shown at its gate's line of the plan; where the plan leaves the gate at its default, at its
    clearest example's line of the eval set; else at the plan.
    """
    run = found.run
    plan = written if (written := Path(run.plan_folder) / run.plan_file).is_file() else None
    if found.overview.no_verdict:
        said = f"run {run.id} has no verdict: {found.overview.no_verdict}"
        yield workflow_command("error", said, file=plan, title="Assay")
    for alert in found.alerts.rows:
        if (level := _LEVELS.get(alert.severity)) is None or alert.acknowledged:
            continue
        file, line = plan, gate_line(run.plan, alert)
        examples = found.alerts.behind(alert)
        if line is None and examples and (place := _places(run).get(examples[0].name)):
            file, line = place
        title = f"Assay: {alert.candidate}, {alert.measure or alert.kind}"
        yield workflow_command(level, alert.message, file=file, line=line, title=title)


def _places(run: Run) -> dict[str, tuple[Path, int]]:
    """The examples' places in the eval set; none where it cannot be read any more."""
    return _read_places(run.plan, run.plan_folder, run.plan_file)


@cache
def _read_places(plan: str, folder: str, file: str) -> dict[str, tuple[Path, int]]:
    from engine.plan.plan import parse_plan
    from engine.plan.selection import whole_set

    try:
        data = parse_plan(plan, Path(folder), file).data
        path = Path(str(data.examples))
        return {example.id: (path, example.line) for example in whole_set(data) if path.is_file()}
    except (AssayError, OSError):
        return {}
