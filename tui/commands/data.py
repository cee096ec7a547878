"""Commands about data files: split, leakage, coverage."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engine.errors import BadInput
from tui.commands.common import Json
from tui.output import Column, err, heading, number, out, paragraph, print_json, print_table
from tui.text import MISSING, printable

if TYPE_CHECKING:
    from engine.data.drift import Drift
    from engine.data.rows import Account
    from engine.data.survey import Survey
    from engine.example import Example

Data = Annotated[Path, typer.Argument(metavar="DATA", help="A file of examples, or a folder of shards.")]
Train = Annotated[Path, typer.Argument(metavar="TRAIN", help="The training file, or a folder of shards.")]
Eval = Annotated[Path, typer.Argument(metavar="EVAL", help="The evaluation file.")]
Ratios = Annotated[
    str, typer.Option("--ratios", metavar="A,B,C", help="Shares of train, validation and test.")
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Another seed, another split.")]
Group = Annotated[
    str | None, typer.Option("--group", metavar="COLUMN", help="Rows alike in this column stay in one split.")
]
Near = Annotated[bool, typer.Option("--near", help="Near-duplicate questions stay in one split too.")]
Stratify = Annotated[bool, typer.Option("--stratify", help="Every category in the same shares.")]
Folds = Annotated[
    int | None, typer.Option("--folds", min=2, max=100, metavar="K", help="K folds instead of three splits.")
]
Out = Annotated[
    Path | None,
    typer.Option("--out", metavar="DIR", help="Write the files here; rows of a split there stay in place."),
]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Leave unreadable rows out, and say which.")]
MeaningModel = Annotated[
    Path | None,
    typer.Option(
        "--meaning", metavar="FOLDER", help="A local sentence-transformers model: same meaning too."
    ),
]
Least = Annotated[
    float,
    typer.Option("--meaning-least", min=0, max=1, help="The cosine from which on meanings are the same."),
]
Query = Annotated[str | None, typer.Option("--query", metavar="COLUMN", help="The column of the question.")]
TrainOption = Annotated[Path | None, typer.Option("--train", metavar="FILE", help="The training data.")]
Log = Annotated[Path | None, typer.Option("--log", metavar="FILE", help="Queries that production was asked.")]
Clusters = Annotated[int | None, typer.Option("--clusters", min=2, max=200, help="How many clusters.")]
Sample = Annotated[
    int | None, typer.Option("--sample", min=1, metavar="N", help="Draw N queries from the log (200 to 500).")
]
Balanced = Annotated[bool, typer.Option("--balanced", help="As many from each cluster, not in proportion.")]
SampleOut = Annotated[
    Path | None, typer.Option("--out", metavar="FILE", help="Write the drawn queries here.")
]


def split(
    data: Data,
    ratios: Ratios = "0.8,0.1,0.1",
    seed: Seed = 0,
    group: Group = None,
    near: Near = False,
    stratify: Stratify = False,
    folds: Folds = None,
    out_dir: Out = None,
    skip_bad: SkipBad = False,
) -> None:
    """Split a file so that no question is in two splits.

    Neither the file's order nor later additions move an example.
    """
    from engine.data.manifest import MANIFEST
    from engine.data.partition import FEW, Options, partition, write
    from engine.data.rows import Account

    options = Options(_ratios(ratios), seed, group, near, stratify, folds)
    account = Account() if skip_bad else None
    earlier = out_dir if out_dir and not folds and (out_dir / MANIFEST).exists() else None
    made = partition(data, options, earlier, account, _progress("rows read"))
    total = len(made.places)
    print_table(
        [Column("fold" if folds else "split"), Column("examples", True), Column("share", True)],
        [[name, str(count), f"{count / total:.1%}"] for name, count in made.counts.items()],
    )
    _skipped(account)
    if total < FEW and not folds:
        err(f"{total} examples are few: --folds 5 lets every one of them be evaluated")
    if out_dir is None:
        err("nothing was written; --out DIR writes the files and their manifest")
        return
    manifest = write(made, out_dir, _progress("rows written"))
    err(f"wrote version {manifest.version} with its {MANIFEST} in {printable(str(out_dir))}")


def _ratios(text: str) -> tuple[float, float, float]:
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if len(values) != 3 or not all(0 <= value <= 1 for value in values) or abs(sum(values) - 1) > 1e-6:
        raise BadInput(
            f"--ratios {text}: three shares are needed that sum to 1", "for example --ratios 0.8,0.1,0.1"
        )
    return values


def _progress(unit: str) -> Callable[[int], None] | None:
    """Progress in place on a terminal, none elsewhere."""
    if not sys.stderr.isatty():
        return None

    def show(done: int) -> None:
        sys.stderr.write(f"\r{done:,} {unit}\x1b[K\r")
        sys.stderr.flush()

    return show


def _skipped(account: "Account | None") -> None:
    if account is None:
        return
    for reason in account.skipped:
        err(f"left out: {printable(reason)}")
    err(f"{account.read} rows read, {len(account.skipped)} left out")


def leakage(
    train: Train,
    evaluation: Eval,
    meaning: MeaningModel = None,
    meaning_least: Least = 0.85,
    skip_bad: SkipBad = False,
    json: Json = False,
) -> None:
    """Find evaluation examples that stand in the training data."""
    from engine.data.leakage import find_leaks, leak_report
    from engine.data.rows import Account, data_rows
    from engine.examples import read_examples

    examples = read_examples(evaluation)
    search = None
    if meaning is not None:
        from engine.data.meaning import LocalEmbedder, Meaning

        search = Meaning(examples, LocalEmbedder(meaning), meaning_least)
    account = Account() if skip_bad else None
    leaks = find_leaks(data_rows(train, account=account), examples, search, _progress("training rows"))
    report = leak_report(leaks, len(examples))
    _skipped(account)
    if json:
        skipped = account.skipped if account else []
        print_json(report | {"skipped": skipped})
        return
    if leaks:
        columns = [Column("example"), Column("tier"), Column("score", True), Column("train line", True)]
        columns += [Column("found"), Column("training text")]
        print_table(
            columns,
            [
                [
                    leak.example_id,
                    leak.tier,
                    number(leak.score),
                    str(leak.train_line),
                    leak.field,
                    leak.excerpt,
                ]
                for leak in leaks
            ],
        )
    tiers = [f"{count} {tier}" for tier, count in report["totals"]["tiers"].items() if count]
    kinds = f": {', '.join(tiers)}" if tiers else ""
    out(f"{len(leaks)} of {len(examples)} examples stand in the training data{kinds}")


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
    json: Json = False,
) -> None:
    """What the eval set asks, what it lacks, and how far it lies from training and production."""
    from engine.data.rows import data_rows
    from engine.data.survey import survey
    from engine.examples import read_examples

    if sample is not None and (log is None or sample_out is None):
        raise BadInput("--sample draws from a log into a file", "add --log FILE and --out FILE")
    fields = {"query": query} if query else {}
    asked = [row for row in data_rows(log, fields) if row.query.strip()] if log else None
    found = survey(
        read_examples(evaluation, fields),
        data_rows(train, fields) if train else None,
        asked,
        clusters,
        seed,
    )
    if asked is not None and sample is not None and sample_out is not None:
        _draw(asked, found, sample, sample_out, balanced=balanced, seed=seed)
    if json:
        print_json(found.as_dict())
    else:
        _show_survey(found)


def _draw(
    log: "list[Example]", found: "Survey", count: int, file: Path, *, balanced: bool, seed: int
) -> None:
    import json

    from engine.data.coverage import draw
    from engine.data.survey import question, sampled_records

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
    err(f"wrote {len(lines)} queries to {printable(str(file))}")


def _show_survey(found: "Survey") -> None:
    names = list(found.sizes)
    print_table(
        [Column("cluster"), *(Column(name, True) for name in names), Column("for example")],
        [
            [cluster.label, *(f"{cluster.sizes[name]}" for name in names), next(iter(cluster.examples), "")]
            for cluster in found.coverage.clusters
        ],
    )
    out()
    size = found.sizes["eval"]
    paragraph(f"With {size} examples you can see a {found.smallest_change * 100:.1f}-point change.")
    for gap in found.gaps:
        label = found.coverage.clusters[gap.cluster].label
        paragraph(
            f"Production asks {gap.wanted:.1%} about {label}, the eval set {gap.found:.1%}: "
            f"about {gap.missing} more examples are needed.",
            indent="  ",
        )
    if found.duplicates:
        out(f"{len(found.duplicates)} pairs of examples ask nearly the same")
    for one, other in found.conflicts:
        out(f"lines {one.line} and {other.line} ask the same and expect different answers")
    for name, moved in found.drifts.items():
        heading(f"eval and {name}")
        _show_drift(moved)


def _show_drift(moved: "Drift") -> None:
    rows = [
        ["length", number(moved.length), "population stability index; above 0.25 shifted"],
        ["category", number(moved.category), "the same, of categories"],
        ["cluster", number(moved.cluster), "the same, of clusters"],
        ["words", number(moved.vocabulary), "Jensen–Shannon divergence in bits"],
        ["new words", number(moved.unseen_words), "share of words that the eval set never has"],
    ]
    told = moved.classifier
    meaning = told.reason or f"share told apart by a classifier; 0.5 alike, p = {number(told.p)}"
    rows.append(["classifier", MISSING if told.accuracy is None else number(told.accuracy), meaning])
    print_table([Column("drift"), Column("value", True), Column("meaning")], rows)
