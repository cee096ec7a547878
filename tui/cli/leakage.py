"""Evaluation examples that appear in the training data: `assay leakage`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tui.cli.common import (
    Eval,
    Fields,
    Json,
    SkipBad,
    Train,
    mapping,
    progress,
    some,
    told_skipped,
)
from tui.text.output import number, out, paragraph, print_json

if TYPE_CHECKING:
    from engine.data.example import Example
    from engine.data.leak import Leak

MeaningModel = Annotated[
    Path | None,
    typer.Option(
        "--meaning", metavar="FOLDER", help="A local sentence-transformers model, to search by meaning too."
    ),
]
Least = Annotated[
    float,
    typer.Option("--meaning-least", min=0, max=1, help="The cosine from which meanings count as the same."),
]
Earlier = Annotated[
    list[Path],
    typer.Option(
        "--earlier", metavar="FILE", help="An earlier eval set: report which examples are in it already."
    ),
]
All = Annotated[bool, typer.Option("--all", help="Show every pair, and similar ones that are no leaks.")]

SHOWN = 20
WORDS = {"query": "question", "reference": "answer", "both": "question and answer"}


def leakage(
    train: Train,
    evaluation: Eval,
    meaning: MeaningModel = None,
    meaning_least: Least = 0.85,
    earlier: Earlier = [],  # noqa: B006  # typer takes an option's default from here, and nobody adds to it
    fields: Fields = [],  # noqa: B006  # the same
    skip_bad: SkipBad = False,
    everything: All = False,
    json: Json = False,
) -> None:
    """Find evaluation examples that appear in the training data."""
    from engine.data.duplicates import copies
    from engine.data.examples import Account, data_rows, read_examples
    from engine.data.leakage import find_leaks, leak_report

    columns = mapping(fields)
    account = Account() if skip_bad else None
    examples = read_examples(
        evaluation,
        {name: column for name, column in columns.items() if name != "group"},
        account.skip if account else None,
    )
    if account is not None:
        account.read += len(examples)
    search = None
    if meaning is not None:
        from engine.data.meaning import LocalEmbedder, Meaning

        search = Meaning(examples, LocalEmbedder(meaning), meaning_least)
    rows = some(train, data_rows(train, columns, account=account))
    leaks = find_leaks(rows, examples, search, progress("training rows"))
    report: dict[str, Any] = leak_report(leaks, len(examples))
    pairs = copies(examples)
    before = {
        file: find_leaks(some(file, data_rows(file, columns, account=account)), examples) for file in earlier
    }
    told_skipped(account)
    if json:
        report["duplicates"] = [
            {"first": examples[pair.first].id, "second": examples[pair.second].id, "score": pair.score}
            for pair in pairs
        ]
        report["earlier"] = [
            {"file": str(file), **leak_report(found, len(examples))} for file, found in before.items()
        ]
        print_json(report | {"skipped": account.skipped if account else []})
        return
    _print_pairs(leaks, examples, everything=everything)
    _print_totals(report["totals"])
    if pairs:
        out(f"{len(pairs)} pairs of examples are near-identical (`assay coverage` names them)")
    for file, found in before.items():
        again = sum(leak.counts for leak in found)
        out(f"{again} of {len(examples)} examples are in {file.name} already")


def _print_pairs(leaks: "Sequence[Leak]", examples: "Sequence[Example]", *, everything: bool) -> None:
    """Each example beside the training text that it was found in."""
    by_id = {example.id: example for example in examples}
    told = [leak for leak in leaks if everything or not leak.similar]
    for leak in told if everything else told[:SHOWN]:
        example = by_id[leak.example_id]
        own = " | ".join(example.references) if leak.field == "reference" else example.query
        tier = f"similar ({leak.tier})" if leak.similar else leak.tier
        counted = "" if leak.counts or leak.similar else ", not counted"
        out()
        paragraph(f"{leak.example_id}  {tier} {number(leak.score)}, {WORDS[leak.field]}{counted}", "  ", "")
        for name, text in (("eval", own), (f"train line {leak.train_line}", leak.excerpt)):
            paragraph(" ".join(text.split())[:400], " " * 4, f"  {name}: ")
    if not everything and len(told) > SHOWN:
        out()
        out(f"and {len(told) - SHOWN} more; --all shows them, --json is for programs")
    if told:
        out()


def _print_totals(totals: dict[str, Any]) -> None:
    tiers = [f"{count} {tier}" for tier, count in totals["tiers"].items() if count]
    kinds = f": {', '.join(tiers)}" if tiers else ""
    out(f"{totals['leaked']} of {totals['examples']} examples appear in the training data{kinds}")
    if totals["answers_seen"]:
        out(f"{totals['answers_seen']} more have an answer that appears under another question; not counted")
    if totals["similar"]:
        paragraph(
            f"{totals['similar']} more are similar to a training question with a different answer, "
            "as from a template; not counted, --all shows them"
        )
