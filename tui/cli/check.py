"""Commands about plans: init, check."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engine.errors import BadInput
from tui.cli.common import Json, Plan, Store, store_folder
from tui.text.output import out, paragraph, print_json

if TYPE_CHECKING:
    from engine.plan.finding import Finding

Folder = Annotated[Path, typer.Argument(metavar="[DIR]", help="Where to [default: this folder]")]

Measure = Annotated[
    bool, typer.Option("--measure", help="Load the models and ask a few prompts, to tell how long it takes.")
]

Fold = Annotated[
    int | None, typer.Option("--fold", min=1, metavar="N", help="One of the plan's folds [default: all]")
]

MARKS = {"error": "error", "warning": "warn", "ok": "ok"}


def init(folder: Folder = Path()) -> None:
    """Write a commented plan and a small eval set to start from."""
    from importlib.resources import files

    starter = sorted(
        (entry for entry in files("engine.propose.starter").iterdir() if entry.is_file()),
        key=lambda e: e.name,
    )
    starter = [entry for entry in starter if not entry.name.endswith(".py")]
    standing = [entry.name for entry in starter if (folder / entry.name).exists()]
    if standing:
        raise BadInput(f"{folder / standing[0]} exists already", "choose another folder: assay init DIR")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for entry in starter:
            (folder / entry.name).write_bytes(entry.read_bytes())
            out(f"wrote {folder / entry.name}")
    except OSError as error:
        raise BadInput(
            f"{folder} cannot be written: {error.strerror}", "choose another folder: assay init DIR"
        ) from error
    out("name your models in the plan, then: assay check plan.toml, assay run plan.toml")


def check(
    context: typer.Context,
    plan: Plan,
    measure: Measure = False,
    fold: Fold = None,
    json: Json = False,
    store: Store = None,
) -> None:
    """Say all that stands in the way of a plan at once, before it runs."""
    from engine.plan.folds import count_folds
    from engine.plan.plan import read_plan
    from engine.preflight.check import check_benchmarks, check_folds, measured

    count = count_folds(plan)
    folds = range(1, count + 1) if count and fold is None else [fold]
    plans = [read_plan(plan, number) for number in folds]
    read = plans[0]
    findings = [*check_folds(plans, store_folder(context, store)), *check_benchmarks(read)]
    if measure and all(finding.level != "error" for finding in findings):
        # What was measured takes the place of what earlier runs took.
        findings = [finding for finding in findings if finding.subject != "time"] + measured(read)
    if json:
        _print_values(findings)
        return
    for finding in findings:
        mark = f"{MARKS[finding.level]:6}"
        paragraph(f"{finding.subject}: {finding.message}", " " * 6, mark)
        if finding.hint and finding.level != "ok":
            paragraph(finding.hint, " " * 8)
    levels = [finding.level for finding in findings]
    out()
    if "error" in levels:
        out(f"{plan} cannot run: {levels.count('error')} errors, {levels.count('warning')} warnings")
        raise typer.Exit(BadInput.exit_code)
    out(f"{plan} can run" + (f"; {levels.count('warning')} warnings" if "warning" in levels else ""))


def _print_values(findings: "list[Finding]") -> None:
    """The findings for programs; the exit code is that of the table for people."""
    can_run = all(finding.level != "error" for finding in findings)
    print_json({"can_run": can_run, "findings": [asdict(finding) for finding in findings]})
    if not can_run:
        raise typer.Exit(BadInput.exit_code)
