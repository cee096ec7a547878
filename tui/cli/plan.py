"""The command that makes a plan of what a folder holds."""

from pathlib import Path
from typing import Annotated

import typer

from engine.errors import BadInput
from engine.propose.proposal import Proposal
from tui.cli.common import Json
from tui.text.output import Column, heading, out, paragraph, print_json, print_table

MOST_SHOWN = 10
Folder = Annotated[Path, typer.Argument(metavar="[DIR]", help="Where to look [default: this folder]")]
Out = Annotated[
    Path | None, typer.Option("--out", metavar="FILE", help="The plan's file [default: plan.toml there]")
]


def plan(folder: Folder = Path(), out_file: Out = None, json: Json = False) -> None:
    """Write a plan for the models, adapters and data in a folder; --json only says what it would hold."""
    from engine.propose.discover import look
    from engine.propose.propose import propose
    from engine.propose.text import plan_text

    if not folder.is_dir():
        raise BadInput(f"{folder} is no folder", "name the one that holds your models and data")
    file = out_file or folder / "plan.toml"
    proposal = propose(look(folder), file.absolute().parent)
    text = "" if proposal.lacking else plan_text(proposal)
    if json:
        print_json({**proposal.as_json(), "file": str(file), "text": text})
        return
    _show(proposal)
    if proposal.lacking:
        raise BadInput(
            f"{folder}: no plan can be made of what is here; there is not",
            "\n  ".join(proposal.lacking) + "\n  `assay init DIR` writes a plan to fill in by hand",
        )
    write_new(file, text)
    out()
    paragraph(f"wrote {file}; look through it, then: assay check {file}, assay run {file}")


def write_new(file: Path, text: str) -> None:
    """Writes a plan to a file that is not there yet. Raises BadInput where it is, or the plan is none."""
    from engine.plan.plan import parse_plan

    parse_plan(text, file.absolute().parent, str(file))
    try:
        with file.open("x", encoding="utf-8") as opened:
            opened.write(text)
    except FileExistsError as error:
        raise BadInput(f"{file} is there already", "name another one: --out FILE") from error
    except OSError as error:
        raise BadInput(f"{file} cannot be written: {error.strerror}") from error


def _show(proposal: Proposal) -> None:
    """What the plan is made of, what was guessed, and what was passed over."""
    rows = [["+" if item.on else "-", item.kind, item.name, item.what] for item in proposal.items]
    if rows:
        print_table([Column("in"), Column("part"), Column("name"), Column("what")], rows)
    passed_over = [*proposal.left_out[:MOST_SHOWN]]
    if more := proposal.left_out[MOST_SHOWN:]:
        passed_over.append(f"{len(more)} more; --json has them all")
    for title, lines in (("Assumed", proposal.assumed), ("Found, and no use", passed_over)):
        if lines:
            heading(title)
            for line in lines:
                paragraph(line, "  ", "- ")
