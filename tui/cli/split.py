"""Splitting a data file: `assay split`."""

from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engine.errors import BadInput
from tui.cli.common import Json
from tui.cli.data_options import Fields, Seed, SkipBad, mapping, progress, told_skipped
from tui.text.gate import printable
from tui.text.output import Column, err, print_json, print_table

if TYPE_CHECKING:
    from engine.data.partition import Partition

Data = Annotated[Path, typer.Argument(metavar="DATA", help="A file of examples, or a folder of shards.")]
Ratios = Annotated[
    str, typer.Option("--ratios", metavar="A,B,C", help="Shares of train, validation and test: 8,1,1.")
]
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
    from engine.data.manifest import MANIFEST
    from engine.data.partition import FEW, Options, partition, write
    from engine.data.rows import Account

    options = Options(_ratios(ratios), seed, group, near, stratify, folds, mapping(fields))
    account = Account() if skip_bad else None
    earlier = out_dir if out_dir and (out_dir / MANIFEST).exists() else None
    made = partition(data, options, earlier, account, progress("rows read"))
    if not json:
        _print_sizes(made)
    told_skipped(account)
    total = len(made.places)
    if total < FEW and not folds:
        err(f"{total} examples are few: --folds 5 lets every one of them be evaluated")
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
        err("nothing was written; --out DIR writes the files and their manifest")
    else:
        err(f"wrote version {manifest.version} with its {MANIFEST} in {printable(str(out_dir))}")


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
