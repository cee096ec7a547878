"""Commands on plans: init, plan, check, noise."""

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engine.errors import BadInput
from engine.propose.proposal import Proposal
from tui.cli.common import Json, Plan, Settings, Store, print_findings, store_folder
from tui.cli.progress import phases, view
from tui.text.gate import counted, printable
from tui.text.output import (
    Column,
    asked,
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
    from engine.plan.errors import Finding
    from engine.preflight.check import ShownPrompts


NewFolder = Annotated[Path, typer.Argument(metavar="[DIR]", help="Where to write [default: this folder]")]

Measure = Annotated[
    bool,
    typer.Option("--measure", help="Load the models and run a few prompts, to estimate the time."),
]

ShowPrompt = Annotated[
    bool, typer.Option("--show-prompt", help="Print the first prompt of each model, with its special tokens.")
]
AllowCode = Annotated[
    bool, typer.Option("--allow-code", help="Run the plan's own code, to check its metrics too.")
]
Fold = Annotated[
    int | None, typer.Option("--fold", min=1, metavar="N", help="One of the plan's folds [default: all]")
]


def init(folder: NewFolder = Path()) -> None:
    """Write a commented plan and a small eval set to start from."""
    from importlib.resources import files

    from engine.data.textfile import writing

    starter = sorted(
        (entry for entry in files("engine.propose.starter").iterdir() if entry.is_file()),
        key=lambda e: e.name,
    )
    starter = [entry for entry in starter if not entry.name.endswith(".py")]
    with writing(folder, "choose another folder: assay init DIR", new=True) as parts:
        for entry in starter:
            parts.open(folder / entry.name).write(entry.read_text("utf-8"))
    for entry in starter:
        out(f"wrote {folder / entry.name}")
    out("name your models in the plan, then: assay check plan.toml, assay run plan.toml")


def check(
    context: typer.Context,
    plan: Plan,
    measure: Measure = False,
    allow_code: AllowCode = False,
    fold: Fold = None,
    show_prompt: ShowPrompt = False,
    settings: Settings = None,
    json: Json = False,
    store: Store = None,
) -> None:
    """Check a plan before it runs, and report every problem at once.

    Code that the plan names (own metrics, functions of task files, a model's own) is listed with its hash,
    and not run.
    """
    from engine.plan.plan import read_plan
    from engine.plan.sweep import count_folds
    from engine.preflight.check import check_benchmarks, check_folds, measured, prompt_findings, prompts

    count = count_folds(plan, settings or ())
    folds = range(1, count + 1) if count and fold is None else [fold]
    plans = [read_plan(plan, number, settings=settings or ()) for number in folds]
    read = plans[0]
    folder = store_folder(context, store)
    if measure and not allow_code and any(model.trust_remote_code for model in read.models):
        raise BadInput(
            "measuring would run the code that a model of the plan brings", "allow that with --allow-code"
        )
    findings = [*check_folds(plans, folder, allow_code=allow_code), *check_benchmarks(read)]
    shown = prompts(read, findings, allow_code)
    findings += prompt_findings(shown)
    if measure and all(finding.level != "error" for finding in findings):
        # What was measured takes the place of what earlier runs took.
        findings = [finding for finding in findings if finding.subject != "time"] + measured(read, folder)
    if json:
        _print_values(findings, shown if show_prompt else None)
        return
    print_findings(findings)
    for item in shown if show_prompt else ():
        heading(f"First prompt of {item.model}" + (f", {item.tokens:,} tokens" if item.tokens else ""))
        out(printable(item.text if item.text is not None else "none"))
        if item.reason:
            paragraph(f"({item.reason})")
    levels = [finding.level for finding in findings]
    warnings = counted(levels.count("warning"), "warning")
    out()
    if "error" in levels:
        out(f"{plan} cannot run: {counted(levels.count('error'), 'error')}, {warnings}")
        raise typer.Exit(BadInput.exit_code)
    out(f"{plan} can run" + (f"; {warnings}" if "warning" in levels else ""))


def _print_values(findings: "list[Finding]", shown: "list[ShownPrompts] | None") -> None:
    """The findings for programs; the exit code is that of the table for people."""
    can_run = all(finding.level != "error" for finding in findings)
    values = {"can_run": can_run, "findings": [asdict(finding) for finding in findings]}
    print_json(values if shown is None else values | {"prompts": [asdict(item) for item in shown]})
    if not can_run:
        raise typer.Exit(BadInput.exit_code)


MOST_SHOWN = 10
Folder = Annotated[Path, typer.Argument(metavar="[DIR]", help="Where to look [default: this folder]")]
Out = Annotated[
    Path | None, typer.Option("--out", metavar="FILE", help="The plan's file [default: plan.toml there]")
]


def plan(folder: Folder = Path(), out_file: Out = None, json: Json = False) -> None:
    """Write a plan for the models, adapters and data in a folder; --json only prints it."""
    from engine.propose.discover import look
    from engine.propose.proposal import plan_text
    from engine.propose.propose import propose

    if not folder.is_dir():
        raise BadInput(f"{folder} is not a folder", "name the folder with your models and data")
    file = out_file or folder / "plan.toml"
    proposal = propose(look(folder), file.absolute().parent)
    text = "" if proposal.lacking else plan_text(proposal)
    if json:
        print_json({**proposal.as_json(), "file": str(file), "text": text})
        return
    _show(proposal)
    if proposal.lacking:
        raise BadInput(
            f"{folder}: no plan can be made from this folder; it lacks",
            "\n  ".join(proposal.lacking) + "\n  `assay init DIR` writes a plan to fill in by hand",
        )
    write_new(file, text)
    out()
    paragraph(f"wrote {file}; review it, then: assay check {file}, assay run {file}")


def write_new(file: Path, text: str) -> None:
    """Writes a plan to a new file. Raises BadInput where the file exists, or the plan is invalid."""
    from engine.data.textfile import write_text
    from engine.plan.plan import parse_plan

    parse_plan(text, file.absolute().parent, str(file))
    write_text(file, text, "name another one: --out FILE", new=True)


def make_plan(
    plan: Path | None,
    base: str | None,
    adapters: Sequence[Path],
    data: Path | None,
    metrics: Sequence[str],
    *,
    yes: bool,
) -> Path:
    """Writes a plan for the models and data that were named, prints it, and asks on a terminal whether to go
    on; returns its file.

    Raises BadInput beside a plan, and where a part is missing or no plan can be made of them.
    """
    from engine.propose.proposal import plan_text
    from engine.propose.propose import propose_named

    if plan is not None:
        raise BadInput(
            f"{plan} names its own models and data",
            "leave out --model, --adapter, --data and --metric; --set KEY=VALUE changes a plan's values",
        )
    if base is None or not adapters or data is None:
        raise BadInput(
            "give a plan, or what to make one of: --model BASE --adapter DIR --data FILE",
            "`assay plan DIR` makes one of what a folder holds, `assay init DIR` writes one to fill in",
        )
    proposal = propose_named(base, adapters, data, metrics, Path.cwd())
    if proposal.lacking:
        raise BadInput(f"{data}: no plan can be made; it lacks", "\n  ".join(proposal.lacking))
    text = plan_text(proposal)
    file = _free(Path("plan.toml"), text)
    if not file.exists():
        write_new(file, text)
    remark(printable(text))
    remark(f"the plan is in {file}; `assay run {file}` runs it again")
    if not yes and sys.stdin.isatty() and sys.stderr.isatty():
        typer.confirm("Start it?", default=True, abort=True, err=True)
    return file


def _free(file: Path, text: str) -> Path:
    """The file, or plan-2.toml and so on where another plan has its name."""
    found, number = file, 1
    while found.exists() and not (found.is_file() and found.read_bytes() == text.encode()):
        number += 1
        found = file.with_stem(f"{file.stem}-{number}")
    return found


def _show(proposal: Proposal) -> None:
    """The parts of the plan, the guesses, and the unused findings."""
    rows = [["+" if item.on else "-", item.kind, item.name, item.what] for item in proposal.items]
    if rows:
        print_table([Column("in"), Column("part"), Column("name"), Column("what")], rows)
    passed_over = [*proposal.left_out[:MOST_SHOWN]]
    if more := proposal.left_out[MOST_SHOWN:]:
        passed_over.append(f"{len(more)} more; --json has them all")
    for title, lines in (("Assumed", proposal.assumed), ("Found, not used", passed_over)):
        if lines:
            heading(title)
            for line in lines:
                paragraph(line, "  ", "- ")


Sample = Annotated[int, typer.Option("--sample", min=2, metavar="N", help="How many examples to measure on.")]


def noise(plan: Plan, sample: Sample = 50, settings: Settings = None, json: Json = False) -> None:
    """Measure the noise floor of a plan's local models: the share of answers that batching alone changes.

    Each example is answered alone, in one batch with the others, and in two batches of another order. Nothing
    is recorded.
    """
    from engine.errors import BadInput
    from engine.phases.noise import Told, noise_of
    from engine.plan.plan import read_plan
    from engine.servers.engines import KINDS
    from store.read.history import as_values

    read = read_plan(plan, settings=settings or ())
    if all(model.kind != "local" for model in read.models):
        raise BadInput(
            f"{plan} has no model that runs here", "the noise floor is that of weights: give a path"
        )
    shown = None if asked.quiet else view()
    told = Told(shown.say, lambda rows: shown.update(phases(rows))) if shown else Told()
    found = []
    for model, floor, same in noise_of(read, sample, told):
        told.say(f"{model.name}: measured on {floor.n} examples")
        found.append((model.name, floor, same))
    if shown:
        shown.close()
    if json:
        print_json(
            [
                {"model": name, **as_values(floor), **({"as_transformers": as_values(same)} if same else {})}
                for name, floor, same in found
            ]
        )
        return
    columns = [Column("model"), Column("changed", True), Column("of", True), Column("share", True)]
    columns += [Column("95% CI"), Column("first changed token", True), Column("unanswered", True)]
    print_table(
        columns,
        [
            [
                *(
                    name,
                    str(floor.changed),
                    str(floor.n),
                    number(floor.share),
                    interval(floor.low, floor.high),
                ),
                *(number(floor.first_token), str(floor.unanswered)),
            ]
            for name, floor, _ in found
        ],
    )
    out()
    paragraph("Batching alone changes that share of answers: smaller differences mean nothing.")
    for name, _, same in found:
        if same is not None:
            engine = KINDS[read.generation.engine].name
            paragraph(
                f"{name}: {same.identical} of {same.n} answers of {engine} are those of transformers "
                f"({number(same.share)}, 95% CI {interval(same.low, same.high)})."
            )
