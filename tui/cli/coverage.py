"""What an eval set asks, compared with training data and a production log: `assay coverage`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engine.errors import BadInput
from tui.cli.common import Eval, Fields, Json, Seed, SkipBad, mapping, told_skipped
from tui.text.gate import MISSING, cut, printable
from tui.text.output import Column, err, heading, number, out, paragraph, print_json, print_table, width

if TYPE_CHECKING:
    from engine.data.coverage import Drift, Survey
    from engine.data.example import Example

Query = Annotated[str | None, typer.Option("--query", metavar="COLUMN", help="The column of the question.")]
TrainOption = Annotated[Path | None, typer.Option("--train", metavar="FILE", help="The training data.")]
Log = Annotated[Path | None, typer.Option("--log", metavar="FILE", help="Queries from production.")]
Clusters = Annotated[int | None, typer.Option("--clusters", min=2, max=200, help="How many clusters.")]
Sample = Annotated[
    int | None, typer.Option("--sample", min=1, metavar="N", help="Draw N queries from the log (200 to 500).")
]
Balanced = Annotated[bool, typer.Option("--balanced", help="As many from each cluster as from any other.")]
SampleOut = Annotated[
    Path | None, typer.Option("--out", metavar="FILE", help="Write the drawn queries here.")
]
SHOWN = 10  # duplicates and contradictions that are named
EXCERPT = 60


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
    """What the eval set asks, what it lacks, and how far it differs from training and production."""
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

    texts = [question(row) for row in log]
    places = draw(texts, found.coverage.members["log"], count, balanced=balanced, seed=seed)
    lines = [
        json.dumps(record, ensure_ascii=False) + "\n"
        for record in sampled_records(log, places, found.coverage)
    ]
    try:
        with file.open("x", encoding="utf-8") as target:
            target.writelines(lines)
    except FileExistsError as error:
        raise BadInput(f"{file} exists already", "choose another file with --out FILE") from error
    except OSError as error:
        raise BadInput(f"{file} cannot be written: {error.strerror}") from error
    fewer = f"; {count} were asked for, and the log has no more different ones" if len(lines) < count else ""
    err(f"wrote {len(lines)} queries to {printable(str(file))}{fewer}")


def _show_survey(found: "Survey", examples: "list[Example]") -> None:
    names = list(found.sizes)
    print_table(
        [Column("cluster"), *(Column(name, True) for name in names), Column("for example")],
        [
            [
                cluster.label,
                *(f"{cluster.sizes[name]}" for name in names),
                cut(" ".join(next(iter(cluster.examples), "").split()), EXCERPT),
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
        heading(f"{len(found.duplicates)} pairs of examples are near-identical")
        pairs = [(examples[pair.first], examples[pair.second], pair.score) for pair in found.duplicates]
        print_table(
            [Column("lines"), Column("score", True), Column("question")],
            [
                [f"{one.line}, {other.line}", number(score), cut(" ".join(one.query.split()), width())]
                for one, other, score in pairs[:SHOWN]
            ],
        )
        if len(pairs) > SHOWN:
            out(f"and {len(pairs) - SHOWN} more; --json names them")
    if found.conflicts:
        heading(f"{len(found.conflicts)} questions appear with different answers")
        for one, other in found.conflicts[:SHOWN]:
            paragraph(f"lines {one.line} and {other.line}: {' '.join(one.query.split())[:EXCERPT]}", "  ", "")
        if len(found.conflicts) > SHOWN:
            out(f"and {len(found.conflicts) - SHOWN} more; --json names them")


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
