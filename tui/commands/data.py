"""Commands about data files: split, leakage."""

import json as text_json
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from engine.errors import BadInput
from tui.commands.common import Json
from tui.output import Column, err, number, out, print_json, print_table

Data = Annotated[Path, typer.Argument(metavar="DATA", help="A file of examples.")]
Train = Annotated[Path, typer.Argument(metavar="TRAIN", help="The training file.")]
Eval = Annotated[Path, typer.Argument(metavar="EVAL", help="The evaluation file.")]
Ratios = Annotated[
    str, typer.Option("--ratios", metavar="A,B,C", help="Shares of train, validation and test.")
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Another seed, another split.")]
Group = Annotated[
    str | None, typer.Option("--group", metavar="COLUMN", help="Rows alike in this column stay in one split.")
]
Out = Annotated[
    Path | None, typer.Option("--out", metavar="DIR", help="Write train, validation and test.jsonl here.")
]


def split(
    data: Data, ratios: Ratios = "0.8,0.1,0.1", seed: Seed = 0, group: Group = None, out_dir: Out = None
) -> None:
    """Split a file so that no question is in two splits.

    Neither the file's order nor later additions move an example.
    """
    from engine.data.split import SPLITS, splits
    from engine.examples import read_examples

    examples = read_examples(data, {"group": group} if group else {})
    membership = splits(examples, _ratios(ratios), seed)
    counts = Counter(membership)
    print_table(
        [Column("split"), Column("examples", True), Column("share", True)],
        [[name, str(counts[name]), f"{counts[name] / len(examples):.1%}"] for name in SPLITS],
    )
    if out_dir is not None:
        _write(
            data,
            out_dir,
            {example.line: name for example, name in zip(examples, membership, strict=True)},
            SPLITS,
        )
    else:
        err("nothing was written; --out DIR writes the three files")


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


def _write(data: Path, folder: Path, split_at: dict[int, str], names: tuple[str, ...]) -> None:
    """Each record whole, as JSON, into the file of its split; existing files are not overwritten."""
    from engine.reading import read_records

    lines: dict[str, list[str]] = {name: [] for name in names}
    for line, record in read_records(data):
        lines[split_at[line]].append(text_json.dumps(record, ensure_ascii=False) + "\n")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            with (folder / f"{name}.jsonl").open("x", encoding="utf-8") as file:
                file.writelines(lines[name])
    except FileExistsError as error:
        raise BadInput(f"{error.filename} exists already", "choose an empty folder with --out DIR") from error
    except OSError as error:
        raise BadInput(
            f"{folder} cannot be written: {error.strerror}", "choose another folder with --out DIR"
        ) from error
    err(f"wrote {', '.join(f'{name}.jsonl' for name in names)} in {folder}")


def leakage(train: Train, evaluation: Eval, json: Json = False) -> None:
    """Find evaluation examples that stand in the training data."""
    from engine.data.leakage import exact_leaks, read_training
    from engine.examples import read_examples

    examples = read_examples(evaluation)
    leaks = exact_leaks(read_training(train), examples)
    fields = Counter(leak.field for leak in leaks)
    if json:
        print_json(
            {
                "leaks": [
                    {
                        "id": leak.example_id,
                        "tier": leak.tier,
                        "score": leak.score,
                        "train_line": leak.train_line,
                        "field": leak.field,
                        "excerpt": leak.excerpt,
                    }
                    for leak in leaks
                ],
                "totals": {"examples": len(examples), "leaked": len(leaks), "fields": dict(fields)},
            }
        )
        return
    if leaks:
        columns = [Column("example"), Column("tier"), Column("score", True), Column("train line", True)]
        columns += [Column("found"), Column("training text")]
        rows = [
            [leak.example_id, leak.tier, number(leak.score), str(leak.train_line), leak.field, leak.excerpt]
            for leak in leaks
        ]
        print_table(columns, rows)
    out(f"{len(leaks)} of {len(examples)} examples stand in the training data, identical after normalisation")
