"""Commands that import runs from other tools and stores, and export runs: import, export."""

from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from engine.errors import BadInput
from store import database
from store.read import live
from store.read.history import find_run
from store.session import opened
from store.transfer.merge import Merged, merge
from tui.cli.common import Json, Store, store_folder
from tui.text.gate import printable
from tui.text.output import out, paragraph, print_json

Into = Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder to write to.")]
EXPORT_KIND = (
    "runs (jsonl or parquet), mt-bench, alpaca-eval, lm-eval, hf-eval-results (of the Hub), model-index "
    "(of a model card) or every-eval-ever"
)
ExportKind = Annotated[str, typer.Argument(metavar="KIND", help=f"What to write: {EXPORT_KIND}.")]
Runs = Annotated[list[str], typer.Argument(metavar="RUN…", help="Runs by id or name, or last.")]
FormatOption = Annotated[
    str | None, typer.Option("--format", metavar="FORMAT", help="For runs: jsonl (default) or parquet.")
]
KIND = (
    "mt-bench, alpaca-eval, prometheus, judgelm, lm-eval, lighteval, inspect, helm, deepeval, garak, store "
    "(of another Assay), verdicts or labels (of any tool)"
)
Kind = Annotated[str, typer.Argument(metavar="KIND", help=f"Whose files: {KIND}.")]
Source = Annotated[Path, typer.Argument(metavar="PATH", help="The file or folder.")]
Name = Annotated[str | None, typer.Option("--name", help="The run's name.")]
Samples = Annotated[bool, typer.Option("--samples", help="lm-eval: the questions too, to pair runs by.")]
Baseline = Annotated[
    str | None,
    typer.Option("--baseline", metavar="MODEL", help="lm-eval, verdicts: all models against this one."),
]
Labelled = Annotated[
    str | None, typer.Option("--run", metavar="RUN", help="labels: the run that people labelled.")
]
Annotator = Annotated[
    str | None, typer.Option(metavar="NAME", help="labels: who labelled, where the file doesn't say.")
]
Random = Annotated[bool, typer.Option("--random", help="labels: of a random sample of the run's examples.")]
Columns = Annotated[
    list[str],
    typer.Option("--field", metavar="NAME=COLUMN", help="verdicts, labels: a column, as winner=choice."),
]
Values = Annotated[
    list[str],
    typer.Option("--value", metavar="GIVEN=MEANT", help="verdicts, labels: a word for a winner, as 0=tie."),
]

AllRows = Annotated[bool, typer.Option("--all-rows", help="mt-bench: superseded judgments count too.")]


def import_(
    context: typer.Context,
    kind: Kind,
    path: Source,
    name: Name = None,
    samples: Samples = False,
    baseline: Baseline = None,
    all_rows: AllRows = False,
    run: Labelled = None,
    annotator: Annotator = None,
    random: Random = False,
    fields: Columns = [],  # noqa: B006  # typer takes an option's default from here, and nobody adds to it
    values: Values = [],  # noqa: B006  # the same
    json: Json = False,
    store: Store = None,
) -> None:
    """Import a run that was done elsewhere into the history, or people's labels onto a run."""
    from engine.formats.importing import (
        LABELS,
        LM_EVAL,
        STORE,
        VERDICTS,
        import_benchmarks,
        import_run,
        import_verdicts,
    )
    from engine.formats.votes import COLUMNS

    folder = store_folder(context, store)
    for option, given, kinds in (
        ("--samples", samples, (LM_EVAL,)),
        ("--baseline", baseline, (LM_EVAL, VERDICTS)),
        ("--all-rows", all_rows, ("mt-bench",)),
        ("--run", run, (LABELS,)),
        ("--annotator", annotator, (LABELS,)),
        ("--random", random, (LABELS,)),
        ("--field", fields, (LABELS, VERDICTS)),
        ("--value", values, (LABELS, VERDICTS)),
    ):
        if given and kind not in kinds:
            raise BadInput(f"{option} is for {' and '.join(kinds)}, not for {kind}")
    columns, words = _pairs("--field", fields, COLUMNS), _pairs("--value", values)
    if kind == LABELS:
        _import_labels(path, folder, run, columns, words, annotator, random=random, json=json)
        return
    if kind == STORE:
        _import_store(path, folder, json)
        return
    if kind == LM_EVAL:
        runs = import_benchmarks(path, folder, name, samples=samples, baseline=baseline)
    elif kind == VERDICTS:
        runs = [import_verdicts(path, folder, name, fields=columns, values=words, baseline=baseline)]
    else:
        runs = [import_run(kind, path, folder, name, all_rows=all_rows)]
    if json:
        print_json({"id": runs[0]} if len(runs) == 1 else {"ids": runs})
        return
    for run_id in runs:
        with opened(folder) as connection:
            for event in reversed(live.events(connection, run_id)):
                paragraph(f"note: {event.message}")
        out(f"run {run_id}: see it with: assay show {run_id}")
    if len(runs) > 1:
        out(f"compare two of them with: assay compare {runs[0]} {runs[1]}")


def _pairs(option: str, given: list[str], names: Collection[str] = ()) -> dict[str, str]:
    """`a=b` as {"a": "b"}. Raises BadInput for another form, and for an unknown name where there are some."""
    found = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not value or (names and name not in names):
            hint = f"NAME is one of {', '.join(names)}" if names else ""
            raise BadInput(f"{option} {text}: must be {'NAME=COLUMN' if names else 'GIVEN=MEANT'}", hint)
        found[name] = value
    return found


def _import_labels(
    path: Path, folder: Path, run: str | None, fields: dict[str, str], values: dict[str, str],
    annotator: str | None, *, random: bool, json: bool,
) -> None:  # fmt: skip
    from engine.formats.importing import import_labels

    if run is None:
        raise BadInput("labels are about a run", "name it: --run RUN")
    with opened(folder) as connection:
        found = import_labels(
            path, connection, find_run(connection, run), fields=fields, values=values, annotator=annotator,
            random=random,
        )  # fmt: skip
    if json:
        print_json(asdict(found))
        return
    for person, count in found.people.items():
        out(f"{count:,} label{'s' * (count != 1)} by {printable(person)}")
    for reason, count in found.left_out.items():
        out(f"left out {count:,}: {reason}")
    out(f"see how judges agree with them: assay agreement {found.run}")


def export(
    context: typer.Context,
    kind: ExportKind,
    runs: Runs,
    folder: Into,
    form: FormatOption = None,
    store: Store = None,
) -> None:
    """Write runs as JSON lines or Parquet, or one run in the format of another tool."""
    if kind == "runs":
        _export_records(store_folder(context, store), runs, folder, form)
        return
    if len(runs) > 1 or form is not None:
        raise BadInput(f"{kind} takes one run and has its own format", "assay export runs RUN… FOLDER")
    from engine.formats.export import EXPORTS, export_run
    from engine.formats.importing import LM_EVAL
    from engine.formats.lm_eval import export_lm_eval
    from engine.formats.sharing import SHARING, share
    from store.transfer.export import run_content

    with opened(store_folder(context, store)) as connection:
        run_id = find_run(connection, runs[0])
        if kind == LM_EVAL:
            written = export_lm_eval(connection, run_id, folder)
        elif kind in SHARING:
            written, left_out = share(kind, connection, run_id, folder)
            for line in left_out:
                paragraph(f"left out: {line}")
        elif kind in EXPORTS:
            written = export_run(kind, run_content(connection, run_id), folder)
        else:
            raise BadInput(f"there is no export of {kind!r}", f"known kinds: {EXPORT_KIND}")
    for path in written:
        out(f"wrote {path}")


def _import_store(path: Path, folder: Path, json: bool) -> None:
    """The runs of another store are added to this one; those that are here already are skipped."""
    database.prepare(folder)
    with opened(folder) as connection:
        found = merge(connection, path)
    if json:
        print_json(asdict(found))
        return
    told_merged(found, "added to this store", "there", "here already")


def told_merged(found: Merged, added: str, origin: str, known: str) -> None:
    """Says which runs were added under which ids, and how many were not; `origin`: there, or here."""
    ids = ", ".join(
        str(new) if new == old else f"{new} ({old} {origin})" for old, new in found.joined.items()
    )
    count = len(found.joined)
    out(f"{count} run{'' if count == 1 else 's'} {added}" + (f": {ids}" if ids else ""))
    for left, why in (
        (found.known, known),
        (found.unfinished, f"not finished {origin}"),
        (found.deleted, f"deleted {origin}"),
    ):
        if left:
            out(f"skipped: {left} {why}")


def _export_records(folder: Path, runs: list[str], into: Path, form: str | None) -> None:
    """Writes these runs' records into a folder."""
    from engine.formats.export import export_runs

    with opened(folder) as connection:
        ids = list(dict.fromkeys(find_run(connection, run) for run in runs))
        for path in export_runs(connection, ids, into, form or "jsonl"):
            out(f"wrote {path}")
