"""Commands on public safety suites: suite add and list."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tui.cli.common import Json, Store, store_folder
from tui.text.gate import MISSING, counted, printable
from tui.text.output import Column, out, paragraph, print_json, print_table, remark

if TYPE_CHECKING:
    from engine.data.suites import AddedSuite

suite = typer.Typer(
    help="Public safety suites from files you download: add and list them.",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _values(found: "AddedSuite") -> dict[str, Any]:
    return {
        **{"name": found.suite.name, "file": str(found.file), "questions": found.questions},
        **{"harmful": found.harmful, "harmless": found.harmless, "categories": found.categories},
        **{"metrics": list(found.suite.metrics), "rubric": found.suite.rubric},
        **{"scoring": found.suite.scoring, "licence": found.licence},
        "left_out": dict(found.left_out),
    }


@suite.command()
def add(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Such as xstest; `assay suite list` has all.")],
    path: Annotated[Path, typer.Argument(metavar="PATH", help="The suite's file as it was downloaded.")],
    licence: Annotated[
        str | None, typer.Option("--licence", metavar="TEXT", help="The licence that your copy came under.")
    ] = None,
    json: Json = False,
    store: Store = None,
) -> None:
    """Make an eval set of a suite's file, and one of all questions that want a refusal or an answer."""
    from engine.data.suites import ALL, add_suite

    found = add_suite(name, path, store_folder(context, store), licence)
    if json:
        print_json(_values(found))
        return
    asked = f": {found.harmful} harmful, {found.harmless} harmless" if found.harmful or found.harmless else ""
    out(f"{counted(found.questions, 'question')} of {name}{asked}, licence {found.licence}")
    for reason, count in found.left_out.items():
        paragraph(f"{counted(count, 'row')} left out: {reason}", "  ")
    paragraph(f"Scored by {found.suite.scoring}.", "  ")
    paragraph(f'In a plan: suites = ["{found.suite.name}"] under [data], or ["{ALL}"] for all.', "  ")
    paragraph(f"On its own: {found.file}", "  ")


@suite.command()
def pairs(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="Prompts with {gender} where a term goes.")],
    terms: Annotated[
        list[str],
        typer.Option("--terms", metavar="GROUP=TERM,TERM", help="A group's terms; once for each group."),
    ],
    target: Annotated[Path, typer.Option("--out", metavar="FILE", help="Write the prompts here, as JSONL.")],
) -> None:
    """Make prompts that differ only in the people they are about, from templates and your own terms."""
    import json

    from engine.data.pairs import paired_prompts, read_groups
    from engine.data.textfile import write_text

    made = list(paired_prompts(path, read_groups(terms)))
    lines = "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in made)
    write_text(target, lines, "choose another file with --out FILE", new=True)
    prompts = counted(len({row["group"] for row in made}), "prompt")
    remark(f"wrote {counted(len(made), 'variant')} of {prompts} to {printable(str(target))}")


@suite.command("list")
def list_(context: typer.Context, json: Json = False, store: Store = None) -> None:
    """List the suites that are known, and those that were added."""
    from engine.data.suites import SUITES, AddedSuite, added_suites

    added = {found.suite.name: found for found in added_suites(store_folder(context, store))}
    none = AddedSuite(next(iter(SUITES.values())), Path(), 0, 0, 0, 0, "", {})
    found = [
        added.get(name, replace(none, suite=each, licence=each.licence)) for name, each in SUITES.items()
    ]
    if json:
        print_json([_values(item) | {"file": str(item.file) if item.questions else None} for item in found])
        return
    rows = [
        [
            *(item.suite.name, f"{item.questions:,}" if item.questions else MISSING),
            *(f"{count:,}" if item.questions else MISSING for count in (item.harmful, item.harmless)),
            *(", ".join(item.suite.metrics) or MISSING, item.suite.rubric or MISSING),
            *(item.licence, item.suite.home),
        ]
        for item in found
    ]
    numbers = (Column("questions", True), Column("harmful", True), Column("harmless", True))
    print_table(
        [
            *(Column("suite"), *numbers, Column("metrics"), Column("rubric")),
            *(Column("licence"), Column("where it is")),
        ],
        rows,
    )
