"""Commands on people's annotations: export, tags, merge."""

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tui.cli.common import Json, Run, Store, store_folder
from tui.text.output import Column, out, paragraph, print_json, print_table

if TYPE_CHECKING:
    from engine.formats.annotated import Written

annotations = typer.Typer(help="Export people's annotations, and manage the failure tags.")


class AnnotationFormat(StrEnum):
    ANNOTATIONS = "annotations"
    DPO = "dpo"
    SFT = "sft"
    TAGS = "tags"
    EXAMPLES = "examples"


@annotations.command()
def export(
    context: typer.Context,
    run: Run,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The JSONL file to write.")],
    form: Annotated[
        AnnotationFormat,
        typer.Option(
            "--format",
            help="All annotations; preference pairs (dpo); corrections (sft); tagged answers; "
            "or the failures as an eval set (examples).",
        ),
    ] = AnnotationFormat.ANNOTATIONS,
    tag: Annotated[str | None, typer.Option(help="With --format examples: only those with this tag.")] = None,
    store: Store = None,
    as_json: Json = False,
) -> int:
    """Write a run's annotations as JSONL."""
    from engine.errors import BadInput
    from engine.formats import annotated as protocol
    from store.read import history
    from store.read.queues import annotated, annotated_examples
    from store.session import opened

    if tag is not None and form is not AnnotationFormat.EXAMPLES:
        raise BadInput("--tag chooses examples", "add --format examples")
    with opened(store_folder(context, store)) as connection:
        run_id = history.find_run(connection, run)
        rows, examples = annotated(connection, run_id), annotated_examples(connection, run_id)
    if form is AnnotationFormat.EXAMPLES:
        written = protocol.example_records(rows, examples, tag)
    else:
        make = {
            AnnotationFormat.ANNOTATIONS: protocol.annotation_records,
            AnnotationFormat.DPO: protocol.preference_records,
            AnnotationFormat.SFT: protocol.correction_records,
            AnnotationFormat.TAGS: protocol.tag_records,
        }
        written = make[form](rows, examples)
    _write(file, written)
    if as_json:
        print_json({"file": str(file), "records": len(written.records), "skipped": written.skipped})
        return 0
    paragraph(f"{len(written.records):,} records in {file}")
    for reason, count in written.skipped.items():
        paragraph(f"left out {count:,}: {reason}", "  ")
    return 0


def _write(file: Path, written: "Written") -> None:
    from engine.data.textfile import write_text

    lines = [json.dumps(record, ensure_ascii=False) for record in written.records]
    write_text(file, "".join(f"{line}\n" for line in lines), "name another file")


@annotations.command()
def tags(context: typer.Context, store: Store = None, as_json: Json = False) -> int:
    """List the failure tags, with how many answers of how many runs carry each."""
    from dataclasses import asdict

    from store.read import failures
    from store.session import opened

    with opened(store_folder(context, store)) as connection:
        rows = failures.tags(connection)
    if as_json:
        print_json({"tags": [asdict(row) for row in rows]})
        return 0
    if not rows:
        out("no failure tags yet: `assay review` makes them")
        return 0
    columns = [Column("key"), Column("tag"), Column("answers", True), Column("runs", True)]
    columns += [Column("last run", True)]
    print_table(
        columns,
        [
            [row.letter or "", row.name, f"{row.answers:,}", f"{row.runs:,}", str(row.last_run or "")]
            for row in rows
        ],
    )
    return 0


@annotations.command()
def merge(
    context: typer.Context,
    tag: Annotated[str, typer.Argument(metavar="TAG", help="The tag to remove.")],
    into: Annotated[str, typer.Argument(metavar="INTO", help="The tag that replaces it.")],
    store: Store = None,
) -> int:
    """Replace one failure tag by another, wherever it was given."""
    from store import reviewing
    from store.session import opened

    with opened(store_folder(context, store)) as connection:
        reviewing.merge_tags(connection, tag, into)
    paragraph(f"{tag} is now {into}")
    return 0
