"""Commands on data files: preview, split, versions, leakage, coverage."""

from collections.abc import Sequence
from dataclasses import asdict
from fractions import Fraction
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engine.errors import BadInput
from store import database
from store.read import history
from store.read.datasets import EvalSetRow, eval_sets
from store.session import opened
from tui.cli.common import (
    NAMED,
    Eval,
    Fields,
    Json,
    Seed,
    SkipBad,
    Store,
    Train,
    mapping,
    progress,
    some,
    store_folder,
    told_skipped,
)
from tui.text.gate import MISSING, counted, cut, printable
from tui.text.output import (
    Column,
    err,
    heading,
    iso,
    moment,
    number,
    out,
    paragraph,
    print_json,
    print_table,
    remark,
    width,
)

if TYPE_CHECKING:
    from engine.data.coverage import Drift, Survey
    from engine.data.example import Example
    from engine.data.leak import Leak
    from engine.data.partition import Partition
    from engine.data.preview import Preview
    from engine.data.versions import EvalSet, VersionDiff


PreviewData = Annotated[
    Path,
    typer.Argument(metavar="DATA", help="A file of examples, a folder of shards, or hf:OWNER/NAME:SPLIT."),
]
Training = Annotated[
    bool,
    typer.Option("--training", help="Read it as training data: plain text, conversations that end anywhere."),
]
EveryRow = Annotated[bool, typer.Option("--all", help="List every row that was left out.")]
EXCERPT = 300
Template = Annotated[
    str | None,
    typer.Option("--template", metavar="TEXT", help="A Jinja2 text that makes the query of a row's columns."),
]


def preview(
    data: PreviewData,
    fields: Fields = [],  # noqa: B006  # typer takes an option's default from here, and nobody adds to it
    template: Template = None,
    training: Training = False,
    everything: EveryRow = False,
    json: Json = False,
) -> None:
    """Show how a data file is read, and which rows cannot be read and why."""
    from engine.data.preview import preview as look

    found = look(data, mapping(fields, template), training=training)
    if json:
        print_json(_preview_values(found))
    else:
        _print_preview(found, NAMED if not everything else None)


def _preview_values(found: "Preview") -> dict[str, Any]:
    values = asdict(found)
    values["unused"] = [asdict(each) | {"hint": each.way_out} for each in found.unused]
    values["first"] = [
        {
            "id": row.id or None,
            "query": row.query,
            "messages": list(row.messages),
            "references": list(row.references),
            "tools": list(row.tools),
            "calls": None if row.calls is None else list(row.calls),
            "line": row.line,
        }
        for row in found.first
    ]
    return values


def _print_preview(found: "Preview", most: int | None) -> None:
    left_out = f", {len(found.skipped)} left out" if found.skipped else ""
    with_calls = f", {found.with_calls} with the right tool calls" if found.with_calls else ""
    out(f"{counted(found.read, 'row')} read{left_out}; {found.with_references} with a reference{with_calls}")
    if found.bad:
        paragraph(f"{found.bad} rows call their completion bad (KTO): it is no reference.", "  ")
    for shape in found.shapes:
        out(f"  {shape.name}: {counted(shape.records, 'row')}, the first on line {shape.first_line}")
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
        + [["(kept as extra)", column, str(rows)] for column, rows in found.kept.items()],
    )
    for column in found.unused:
        paragraph(f"{column.message}: {column.way_out}", "  ", "")
    heading("Splits, as a plan or `assay split` makes them by default")
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
        "tools": ", ".join(tool["function"]["name"] for tool in row.tools) or None,
        "calls": " | ".join(dumps(call, ensure_ascii=False) for call in row.calls or ())
        or (row.calls == () and "no call is expected")
        or None,
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


Data = Annotated[Path, typer.Argument(metavar="DATA", help="A file of examples, or a folder of shards.")]
Ratios = Annotated[
    str, typer.Option("--ratios", metavar="A,B,C", help="Shares of train, validation and test: 8,1,1.")
]
Group = Annotated[
    str | None,
    typer.Option("--group", metavar="COLUMN", help="Rows with one value here stay in one split."),
]
Near = Annotated[bool, typer.Option("--near", help="Near-duplicate questions stay in one split too.")]
Stratify = Annotated[bool, typer.Option("--stratify", help="The same shares of every category.")]
Folds = Annotated[
    int | None, typer.Option("--folds", min=2, max=100, metavar="K", help="K folds instead of three splits.")
]
Out = Annotated[
    Path | None,
    typer.Option("--out", metavar="DIR", help="Write the files here; rows split there keep their split."),
]
CATEGORIES = 30  # with more of them, the table is not of categories but of numbers


def split(
    data: Data,
    ratios: Ratios = "0.8,0.1,0.1",
    seed: Seed = 0,
    group: Group = None,
    near: Near = False,
    stratify: Stratify = False,
    folds: Folds = None,
    out_dir: Out = None,
    fields: Fields = [],  # noqa: B006  # typer takes an option's default from here, and nobody adds to it
    skip_bad: SkipBad = False,
    json: Json = False,
) -> None:
    """Split a file so that no question is in two splits.

    Neither the file's order nor later additions move an example.
    """
    from engine.data.examples import Account
    from engine.data.partition import FEW, Options, partition, write
    from engine.data.versions import MANIFEST

    options = Options(_ratios(ratios), seed, group, near, stratify, folds, mapping(fields))
    account = Account() if skip_bad else None
    earlier = out_dir if out_dir and (out_dir / MANIFEST).exists() else None
    made = partition(data, options, earlier, account, progress("rows read"))
    if not json:
        _print_sizes(made)
    told_skipped(account)
    total = len(made.places)
    if total < FEW and not folds:
        err(f"only {total} examples: --folds 5 evaluates every one of them")
    for name in empty(made):
        err(f"{name} is empty: {made.units} groups of rows stay together, too few for its share")
    manifest = write(made, out_dir, progress("rows written")) if out_dir else None
    if json:
        print_json(
            {
                "version": manifest.version if manifest else None,
                "reason": None if manifest else "nothing was written; --out DIR writes the files",
                "examples": total,
                "counts": made.counts,
                "by_category": made.by_category,
                "skipped": account.skipped if account else [],
            }
        )
    elif manifest is None:
        remark("nothing was written; --out DIR writes the files and their manifest")
    else:
        remark(f"wrote version {manifest.version} with its {MANIFEST} in {printable(str(out_dir))}")


def empty(made: "Partition") -> list[str]:
    """The splits or folds that were to have a share, and got no row."""
    wanted = zip(made.options.names, made.options.shares, strict=True)
    return [name for name, share in wanted if share and not made.counts[name]]


def _print_sizes(made: "Partition") -> None:
    total = len(made.places)
    kinds = [] if set(made.by_category) <= {""} else list(made.by_category)
    shown = kinds if len(kinds) <= CATEGORIES else []
    print_table(
        [
            Column("fold" if made.options.folds else "split"),
            *(Column("examples", True), Column("share", True)),
            *(Column(kind or "(no category)", True) for kind in shown),
        ],
        [
            [name, str(count), f"{count / total:.1%}", *(str(made.by_category[kind][name]) for kind in shown)]
            for name, count in made.counts.items()
        ],
    )


def _ratios(text: str) -> tuple[float, float, float]:
    """Three shares that sum to 1, out of any three numbers: 8,1,1 is 0.8,0.1,0.1."""
    try:
        train, validation, test = (Fraction(part) for part in text.split(","))
        total = train + validation + test
        if min(train, validation, test) < 0 or total == 0:
            raise ValueError(text)
    except (ValueError, ZeroDivisionError) as error:
        raise BadInput(
            f"--ratios {text}: three shares are needed, of which one is above 0", "for example --ratios 8,1,1"
        ) from error
    return float(train / total), float(validation / total), float(test / total)


Before = Annotated[
    str | None, typer.Argument(metavar="[OLD]", help="A file, a version or a run [default: list them all]")
]
After = Annotated[
    str | None, typer.Argument(metavar="[NEW]", help="Another: show what changed from the first to this one.")
]
EveryChange = Annotated[bool, typer.Option("--all", help="List every example that changed.")]

CHANGES_NAMED = 10  # examples of each kind that are named without --all
RUNS = 8


def versions(
    context: typer.Context,
    before: Before = None,
    after: After = None,
    everything: EveryChange = False,
    json: Json = False,
    store: Store = None,
) -> None:
    """Versions of eval sets: which runs used which, and the changes between two of them."""
    folder = store_folder(context, store)
    if before is None:
        with opened(folder) as connection:
            rows = eval_sets(connection)
        print_json([_version_values(row) for row in rows]) if json else _print_versions(rows)
        return
    if not database.exists(folder):
        _show_versions(None, before, after, everything=everything, json=json)
        return
    with opened(folder) as connection:
        _show_versions(connection, before, after, everything=everything, json=json)


def _show_versions(
    connection: history.Connection | None, before: str, after: str | None, *, everything: bool, json: bool
) -> None:
    from engine.data.versions import find_eval_set, version_diff

    known = {row.version: row for row in eval_sets(connection)} if connection else {}
    old = find_eval_set(connection, before)
    if after is None:
        _one(old, known, json=json)
        return
    new = find_eval_set(connection, after)
    diff = version_diff(old.examples, new.examples)
    if json:
        print_json(_diff_values(diff, known))
    else:
        _print_diff(old, new, diff, known, None if everything else CHANGES_NAMED)


def _version_values(row: EvalSetRow) -> dict[str, Any]:
    return {
        "version": row.version,
        "file": row.file,
        "examples": row.examples,
        "runs": [str(run) for run in row.runs],
        "first": iso(row.first),
        "last": iso(row.last),
        "test_uses": row.test_uses,
    }


def _print_versions(rows: list[EvalSetRow]) -> None:
    if not rows:
        out("no run of this store has read an eval set yet")
        return
    columns = [Column("version"), Column("file"), Column("examples", True), Column("runs")]
    print_table(
        [*columns, Column("last used"), Column("test uses", True)],
        [
            [
                *(row.version, row.file or "", str(row.examples), _run_list(row.runs)),
                *(moment(row.last), str(row.test_uses)),
            ]
            for row in rows
        ],
    )
    if len(rows) > 1:
        paragraph(f"`assay versions {rows[1].version} {rows[0].version}` shows what changed between two.")


def _run_list(runs: list[int]) -> str:
    shown = ", ".join(map(str, runs[:RUNS]))
    return f"{shown} and {len(runs) - RUNS} more" if len(runs) > RUNS else shown


def _one(found: "EvalSet", known: dict[str, EvalSetRow], *, json: bool) -> None:
    row = known.get(found.version)
    if json:
        unused = {"version": found.version, "file": found.name, "examples": len(found.examples)}
        nothing: dict[str, Any] = {"runs": [], "first": None, "last": None, "test_uses": 0}
        print_json(_version_values(row) if row else unused | nothing)
        return
    out(f"{found.name}: version {found.version}, {len(found.examples)} examples")
    if row is None:
        out("no run of this store used it")
        return
    uses = f"; its test split was used {row.test_uses} times" if row.test_uses else ""
    paragraph(f"used by run {_run_list(row.runs)}, last on {moment(row.last)}{uses}")


def _diff_values(diff: "VersionDiff", known: dict[str, EvalSetRow]) -> dict[str, Any]:
    runs = {version: known[version].runs if version in known else [] for version in (diff.before, diff.after)}
    return {
        "before": {"version": diff.before, "runs": [str(run) for run in runs[diff.before]]},
        "after": {"version": diff.after, "runs": [str(run) for run in runs[diff.after]]},
        "added": [_named(example) for example in diff.added],
        "removed": [_named(example) for example in diff.removed],
        "edited": [
            {"id": edit.after.id, "changed": list(edit.changed), "query": edit.after.query}
            for edit in diff.edited
        ],
        "unchanged": diff.unchanged,
    }


def _named(example: "Example") -> dict[str, str]:
    return {"id": example.id, "query": example.query}


def _print_diff(
    old: "EvalSet", new: "EvalSet", diff: "VersionDiff", known: dict[str, EvalSetRow], most: int | None
) -> None:
    for what, found in (("from", old), ("to", new)):
        row = known.get(found.version)
        used = f"used by run {_run_list(row.runs)}" if row else "used by no run of this store"
        paragraph(
            f"{found.version} ({found.name}), {len(found.examples)} examples, {used}", " " * 5, f"{what:5}"
        )
    if diff.before == diff.after:
        out("the same examples with the same content, in any order")
        return
    counts = {"added": diff.added, "removed": diff.removed, "edited": diff.edited}
    out(", ".join(f"{len(found)} {what}" for what, found in counts.items()) + f", {diff.unchanged} unchanged")
    groups = (
        ("Added", [("+", example.id, example.query) for example in diff.added]),
        ("Removed", [("-", example.id, example.query) for example in diff.removed]),
        (
            "Edited",
            [("~", edit.after.id, f"{', '.join(edit.changed)}: {edit.after.query}") for edit in diff.edited],
        ),
    )
    for title, rows in groups:
        if not rows:
            continue
        heading(title)
        shown = rows if most is None else rows[:most]
        print_table([Column(""), Column("example"), Column("query")], [list(row) for row in shown])
        if len(rows) > len(shown):
            out(f"and {len(rows) - len(shown)} more; --all names them")
    if diff.edited:
        out()
        paragraph("Comparisons of runs leave out examples whose query, references or schema changed.")


MeaningModel = Annotated[
    Path | None,
    typer.Option(
        "--meaning", metavar="FOLDER", help="A local sentence-transformers model, to search by meaning too."
    ),
]
Least = Annotated[
    float | None,
    typer.Option(
        "--meaning-least",
        min=0,
        max=1,
        help="Minimum cosine for the same meaning; without it, the one measured for the model, or 0.85.",
    ),
]
Earlier = Annotated[
    list[Path],
    typer.Option(
        "--earlier", metavar="FILE", help="An earlier eval set: report which examples are in it already."
    ),
]
All = Annotated[bool, typer.Option("--all", help="Show every pair, and similar ones that are not leaks.")]

SHOWN = 20
WORDS = {"query": "question", "reference": "answer", "both": "question and answer"}


def leakage(
    train: Train,
    evaluation: Eval,
    meaning: MeaningModel = None,
    meaning_least: Least = None,
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
    if meaning is None and meaning_least is not None:
        raise BadInput("--meaning-least applies to a search by meaning", "Name the model with --meaning.")
    if meaning is not None:
        from engine.data.meaning import LocalEmbedder, Meaning

        search = Meaning(examples, LocalEmbedder(meaning), meaning_least)
    rows = some(train, data_rows(train, columns, account=account))
    leaks = find_leaks(rows, examples, search, progress("training rows"))
    report: dict[str, Any] = leak_report(leaks, len(examples))
    groups = copies(examples)
    before = {
        file: find_leaks(some(file, data_rows(file, columns, account=account)), examples) for file in earlier
    }
    told_skipped(account)
    if json:
        if search is not None:
            report["meaning"] = {
                "least": search.least,
                "calibrated_for": search.known.name if search.known else None,
            }
        report["duplicates"] = [
            {"examples": [examples[place].id for place in group.places], "score": group.score}
            for group in groups
        ]
        report["earlier"] = [
            {"file": str(file), **leak_report(found, len(examples))} for file, found in before.items()
        ]
        print_json(report | {"skipped": account.skipped if account else []})
        return
    _print_pairs(leaks, examples, everything=everything)
    _print_totals(report["totals"], everything)
    if search is not None:
        out(search.rule)
    if groups:
        out(f"{_group_count(len(groups))} of near-identical examples (`assay coverage` names them)")
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


def _print_totals(totals: dict[str, Any], everything: bool) -> None:
    tiers = [f"{count} {tier}" for tier, count in totals["tiers"].items() if count]
    kinds = f": {', '.join(tiers)}" if tiers else ""
    out(f"{totals['leaked']} of {totals['examples']} examples appear in the training data{kinds}")
    if totals["answers_seen"]:
        out(f"{totals['answers_seen']} more have an answer that appears under another question; not counted")
    if totals["similar"]:
        paragraph(
            f"{totals['similar']} more are similar to a training question with a different answer, "
            f"as from a template; not counted{'' if everything else ', --all shows them'}"
        )


Query = Annotated[str | None, typer.Option("--query", metavar="COLUMN", help="The column of the question.")]
TrainOption = Annotated[Path | None, typer.Option("--train", metavar="FILE", help="The training data.")]
Log = Annotated[Path | None, typer.Option("--log", metavar="FILE", help="Queries from production.")]
Clusters = Annotated[int | None, typer.Option("--clusters", min=2, max=200, help="How many clusters.")]
Sample = Annotated[
    int | None, typer.Option("--sample", min=1, metavar="N", help="Draw N queries from the log (200 to 500).")
]
Balanced = Annotated[bool, typer.Option("--balanced", help="The same number from each cluster.")]
SampleOut = Annotated[
    Path | None, typer.Option("--out", metavar="FILE", help="Write the drawn queries here.")
]
CLUSTERS_SHOWN = 10  # duplicates and contradictions that are named
QUERY_EXCERPT = 60


def coverage(
    evaluation: Eval,
    train: TrainOption = None,
    log: Log = None,
    query: Query = None,
    clusters: Clusters = None,
    sample: Sample = None,
    balanced: Balanced = False,
    sample_out: SampleOut = None,
    seed: Seed = 0,
    fields: Fields = [],  # noqa: B006  # typer takes an option's default from here, and nobody adds to it
    skip_bad: SkipBad = False,
    json: Json = False,
) -> None:
    """Show the topics of an eval set, its gaps, and how far it differs from training and production."""
    from engine.data.coverage import survey
    from engine.data.examples import Account, data_rows, read_examples

    if sample is not None and (log is None or sample_out is None):
        raise BadInput("--sample draws from a log into a file", "add --log FILE and --out FILE")
    columns = mapping(fields) | ({"query": query} if query else {})
    account = Account() if skip_bad else None
    asked = None
    if log:
        asked = [row for row in data_rows(log, columns, account=account) if row.query.strip()]
    examples = read_examples(evaluation, _present(evaluation, columns), account.skip if account else None)
    if account is not None:
        account.read += len(examples)
    found = survey(
        examples, data_rows(train, columns, account=account) if train else None, asked, clusters, seed
    )
    told_skipped(account)
    if asked is not None and sample is not None and sample_out is not None:
        _draw(asked, found, sample, sample_out, balanced=balanced, seed=seed)
    if json:
        print_json(found.as_dict() | {"skipped": account.skipped if account else []})
    else:
        _show_survey(found, examples)


def _present(file: Path, columns: dict[str, str]) -> dict[str, str]:
    """The columns that the eval set has: the log's may be called otherwise."""
    from engine.data.reading import read_records

    _, first = next(read_records(file, lambda _: None), (0, {}))
    return {name: column for name, column in columns.items() if column in first}


def _draw(
    log: "list[Example]", found: "Survey", count: int, file: Path, *, balanced: bool, seed: int
) -> None:
    import json

    from engine.data.coverage import draw, question, sampled_records
    from engine.data.textfile import write_text

    texts = [question(row) for row in log]
    places = draw(texts, found.coverage.members["log"], count, balanced=balanced, seed=seed)
    lines = [
        json.dumps(record, ensure_ascii=False) + "\n"
        for record in sampled_records(log, places, found.coverage)
    ]
    write_text(file, "".join(lines), "choose another file with --out FILE", new=True)
    fewer = f"; {count} were asked for, and the log has no more different ones" if len(lines) < count else ""
    remark(f"wrote {len(lines)} queries to {printable(str(file))}{fewer}")


def _show_survey(found: "Survey", examples: "list[Example]") -> None:
    names = list(found.sizes)
    print_table(
        [Column("cluster"), *(Column(name, True) for name in names), Column("for example")],
        [
            [
                cluster.label,
                *(f"{cluster.sizes[name]}" for name in names),
                cut(" ".join(next(iter(cluster.examples), "").split()), QUERY_EXCERPT),
            ]
            for cluster in found.coverage.clusters
        ],
    )
    out()
    size = found.sizes["eval"]
    paragraph(f"{size} examples can show a change of {found.smallest_change * 100:.1f} points.")
    if found.gaps:
        heading("What production asks and the eval set lacks")
        print_table(
            [Column("cluster"), Column("log", True), Column("eval", True), Column("examples to add", True)],
            [
                [
                    found.coverage.clusters[gap.cluster].label,
                    *(f"{gap.wanted:.1%}", f"{gap.found:.1%}", str(gap.missing)),
                ]
                for gap in found.gaps
            ],
        )
    _show_copies(found, examples)
    for name, moved in found.drifts.items():
        heading(f"Drift from the eval set to the {'training data' if name == 'train' else name}")
        _show_drift(moved)


def _show_copies(found: "Survey", examples: "list[Example]") -> None:
    if found.duplicates:
        heading(f"{_group_count(len(found.duplicates))} of near-identical examples")
        print_table(
            [Column("lines"), Column("score", True), Column("question")],
            [
                [
                    _group_lines([examples[place].line for place in group.places]),
                    number(group.score),
                    cut(" ".join(examples[group.places[0]].query.split()), width()),
                ]
                for group in found.duplicates[:CLUSTERS_SHOWN]
            ],
        )
        if len(found.duplicates) > CLUSTERS_SHOWN:
            out(f"and {len(found.duplicates) - CLUSTERS_SHOWN} more; --json names them")
    if found.conflicts:
        heading(f"{len(found.conflicts)} questions appear with different answers")
        for one, other in found.conflicts[:CLUSTERS_SHOWN]:
            paragraph(
                f"lines {one.line} and {other.line}: {' '.join(one.query.split())[:QUERY_EXCERPT]}", "  ", ""
            )
        if len(found.conflicts) > CLUSTERS_SHOWN:
            out(f"and {len(found.conflicts) - CLUSTERS_SHOWN} more; --json names them")


def _group_count(count: int) -> str:
    return "1 group" if count == 1 else f"{count} groups"


def _group_lines(lines: list[int]) -> str:
    more = f" and {len(lines) - _GROUP_LINES} more" if len(lines) > _GROUP_LINES else ""
    return ", ".join(map(str, lines[:_GROUP_LINES])) + more


_GROUP_LINES = 3


def _show_drift(moved: "Drift") -> None:
    from engine.data.coverage import PSI_LEVELS

    stable, shifted = PSI_LEVELS

    def reading(value: float | None) -> str:
        if value is None:
            return "one of the sets has none"
        return "stable" if value < stable else "small shift" if value <= shifted else "shift"

    psi = {"length": moved.length, "categories": moved.category, "clusters": moved.cluster}
    rows = [[name, number(value), reading(value)] for name, value in psi.items()]
    rows.append(["words", number(moved.vocabulary), "Jensen–Shannon divergence: 0 equal, 1 nothing shared"])
    rows.append(["new words", f"{moved.unseen_words:.1%}", "of its words are not in the eval set"])
    told = moved.classifier
    apart = told.reason or f"of texts assigned to the right set (chance: 50%), p = {number(told.p)}"
    rows.append(["classifier", MISSING if told.accuracy is None else f"{told.accuracy:.1%}", apart])
    print_table([Column("drift of"), Column("value", True), Column("meaning")], rows)
    paragraph(
        f"The first three are population stability indices: stable below {stable}, shift above {shifted}."
    )
