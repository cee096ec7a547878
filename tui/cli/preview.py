"""What Assay understands of a data file: `assay preview`."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tui.cli.common import Json
from tui.cli.data_options import NAMED, Fields, mapping
from tui.text.gate import cut
from tui.text.output import Column, heading, out, paragraph, print_json, print_table

if TYPE_CHECKING:
    from engine.data.example import Example
    from engine.data.preview import Preview

Data = Annotated[
    Path,
    typer.Argument(metavar="DATA", help="A file of examples, a folder of shards, or hf:OWNER/NAME:SPLIT."),
]
Training = Annotated[
    bool,
    typer.Option("--training", help="Read it as training data: bare text, conversations that end anywhere."),
]
All = Annotated[bool, typer.Option("--all", help="Name every row that was left out.")]
EXCERPT = 300


def preview(
    data: Data,
    fields: Fields = [],  # noqa: B006  # typer takes an option's default from here, and nobody adds to it
    training: Training = False,
    everything: All = False,
    json: Json = False,
) -> None:
    """Show what was understood of a data file, and what of it cannot be read and why."""
    from engine.data.preview import preview as look

    found = look(data, mapping(fields), training=training)
    if json:
        print_json(_values(found))
    else:
        _print(found, NAMED if not everything else None)


def _values(found: "Preview") -> dict[str, Any]:
    values = asdict(found)
    values["first"] = [
        {"id": row.id or None, "query": row.query, "references": list(row.references), "line": row.line}
        for row in found.first
    ]
    return values


def _print(found: "Preview", most: int | None) -> None:
    left_out = f", {len(found.skipped)} left out" if found.skipped else ""
    out(f"{found.read} rows read{left_out}; {found.with_references} have a reference")
    for shape in found.shapes:
        out(f"  {shape.name}: {shape.records} rows, the first on line {shape.first_line}")
    if len(found.shapes) > 1:
        paragraph("The shapes are mixed: each row is read by its own keys.", "  ")
    heading("Columns")
    print_table(
        [Column("read as"), Column("column"), Column("rows", True)],
        [
            [field, column, str(rows)]
            for field, columns in found.columns.items()
            for column, rows in columns.items()
        ]
        + [["(kept beside)", column, str(rows)] for column, rows in found.kept.items()],
    )
    heading("Splits, as a plan or `assay split` make them by default")
    out("  ".join(f"{split} {count}" for split, count in found.by_split.items()))
    if len(found.by_category) > 1:
        heading("Categories")
        print_table(
            [Column("category"), Column("rows", True)],
            [[name, str(count)] for name, count in list(found.by_category.items())[:NAMED]],
        )
    heading("The first examples")
    for row in found.first:
        _print_example(row)
    _print_lines("rows repeat the question of an earlier row", found.copies)
    _print_lines("rows ask the same as an earlier row and expect another answer", found.conflicts)
    if found.skipped:
        heading("Left out")
        for reason in found.skipped[:most]:
            paragraph(reason, "  ", "")
        if most is not None and len(found.skipped) > most:
            out(f"and {len(found.skipped) - most} more; --all names them")
        paragraph("A run stops at the first of them; `assay split --skip-bad` writes files without them.")


def _print_example(row: "Example") -> None:
    system = next((turn["content"] for turn in row.messages if turn["role"] == "system"), None)
    earlier = len([turn for turn in row.messages if turn["role"] != "system"]) - 1
    texts = {
        "line": f"{row.line}, id {row.id or '(from the query)'}",
        "system": system,
        "before": f"{earlier} turns" if earlier > 0 else None,
        "query": row.query,
        "reference": " | ".join(row.references) or None,
    }
    for name, text in texts.items():
        if text is not None:
            paragraph(cut(" ".join(text.split()), EXCERPT), " " * 11, f"{name:>9}  ")


def _print_lines(what: str, pairs: list[tuple[int, int]]) -> None:
    if not pairs:
        return
    shown = ", ".join(f"{line} (as {first})" for first, line in pairs[:NAMED])
    more = f" and {len(pairs) - NAMED} more" if len(pairs) > NAMED else ""
    out()
    paragraph(f"{len(pairs)} {what}: line {shown}{more}", "  ", "")
