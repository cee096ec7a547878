"""Shared parts of commands: options for runs, plans and data files, the store, progress."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engine.data.example import MAPPABLE, TEMPLATE
from engine.errors import BadInput
from store import database
from tui.text.gate import printable
from tui.text.output import LOG_EVERY_S, asked, detail, err, paragraph, redraws

if TYPE_CHECKING:
    from engine.data.example import Example
    from engine.data.examples import Account
    from engine.plan.errors import Finding


FAILED_GATE = 1  # the exit code
AllowEmpty = Annotated[
    bool, typer.Option("--allow-empty", help="Exit with 0 even where no gate could be evaluated.")
]
Store = Annotated[
    str | None,
    typer.Option(
        "--store", metavar="DIR", help="The store's folder [default: $ASSAY_STORE, or the nearest .assay]"
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Run = Annotated[str, typer.Argument(metavar="RUN", help="A run's id or name, or last.")]
Plan = Annotated[Path, typer.Argument(metavar="PLAN", help="The plan's TOML file.")]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="A value in place of the plan's, as generation.temperature=0.7 or models.NAME.path=DIR. May be "
        "repeated.",
    ),
]


class Section(StrEnum):
    """A part of what is told of a run, as `--section` names it."""

    all = "all"
    decision = "decision"
    data = "data"
    sweep = "sweep"
    trade_off = "trade-off"
    candidates = "candidates"
    forgetting = "forgetting"
    judges = "judges"
    scores = "scores"
    answers = "answers"
    labels = "labels"
    calibration = "calibration"
    benchmarks = "benchmarks"
    corpora = "corpora"
    changes = "changes"
    slices = "slices"
    people = "people"
    robustness = "robustness"
    resources = "resources"
    remarks = "remarks"
    alerts = "alerts"


NAMED_BY_FIND = (Section.scores, Section.changes, Section.slices)


def store_folder(context: typer.Context, store: str | None) -> Path:
    """The store's folder; --store may come before or after the command."""
    folder = database.locate(store or context.find_root().params.get("store"), Path.cwd())
    detail(f"store {folder}")
    return folder


def app_options(context: typer.Context) -> dict[str, Any]:
    """The options for the app itself, which come before the command."""
    given = context.find_root().params
    return {name: given.get(name) for name in ("theme", "ascii", "read_only")}


Train = Annotated[Path, typer.Argument(metavar="TRAIN", help="The training file, or a folder of shards.")]
Eval = Annotated[Path, typer.Argument(metavar="EVAL", help="The evaluation file.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of the random choice.")]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Leave out unreadable rows, and list them.")]
Fields = Annotated[
    list[str],
    typer.Option("--field", metavar="NAME=COLUMN", help="A field's column: query=text, group=thread …"),
]
NAMED = 20  # rows left out that are named one by one


def mapping(fields: Sequence[str], template: str | None = None, also: Sequence[str] = ()) -> dict[str, str]:
    """`query=text` as {"query": "text"}, beside a template where there is one; `also` are further names.

    Raises BadInput for another form, an unknown name, and a template that is none.
    """
    found = {}
    if template is not None:
        from engine.data.template import problem_of

        if problem := problem_of(template):
            raise BadInput(f"--template: {problem}")
        found[TEMPLATE] = template
    names = (*also, *MAPPABLE)
    for field in fields:
        name, equals, column = field.partition("=")
        if not equals or not column or name not in names:
            raise BadInput(f"--field {field}: must be NAME=COLUMN", f"NAME is one of {', '.join(names)}")
        found[name] = column
    return found


def progress(unit: str) -> Callable[[int], None] | None:
    """Progress in place on a terminal, a line every minute elsewhere, none with --quiet."""
    if asked.quiet:
        return None
    in_place, told = redraws(), time.monotonic()

    def show(done: int) -> None:
        nonlocal told
        if in_place:
            sys.stderr.write(f"\r{done:,} {unit}\x1b[K\r")
            sys.stderr.flush()
        elif time.monotonic() - told >= LOG_EVERY_S:
            told = time.monotonic()
            err(f"{done:,} {unit}")

    return show


def some(file: Path, rows: "Iterator[Example]") -> "Iterator[Example]":
    """The rows as they come. Raises BadInput where there is none."""
    row = None
    for row in rows:
        yield row
    if row is None:
        raise BadInput(f"{file}: has no readable row", "Write one JSON object per line.")


MARKS = {"error": "error", "warning": "warn", "ok": "ok"}


def print_findings(findings: "Iterable[Finding]") -> None:
    """Each with its mark, and the way out where something is wrong."""
    for finding in findings:
        paragraph(f"{finding.subject}: {finding.message}", " " * 6, f"{MARKS[finding.level]:6}")
        if finding.hint and finding.level != "ok":
            paragraph(finding.hint, " " * 8)


def told_skipped(account: "Account | None") -> None:
    """Says which rows were left out and why, the first NAMED one by one."""
    if account is None:
        return
    for reason in account.skipped[:NAMED]:
        err(f"left out: {printable(reason)}")
    if len(account.skipped) > NAMED:
        err(f"and {len(account.skipped) - NAMED} more; `assay preview FILE --skip-bad --json` names all")
    err(f"{account.read} rows read, {len(account.skipped)} left out")
