"""What the commands on data files share: options, progress, and the account of what was left out."""

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engine.data.example import FIELDS
from engine.errors import BadInput
from tui.text.gate import printable
from tui.text.output import err

if TYPE_CHECKING:
    from engine.data.example import Example
    from engine.data.rows import Account

Train = Annotated[Path, typer.Argument(metavar="TRAIN", help="The training file, or a folder of shards.")]
Eval = Annotated[Path, typer.Argument(metavar="EVAL", help="The evaluation file.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Another seed, another choice.")]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Leave unreadable rows out, and say which.")]
Fields = Annotated[
    list[str],
    typer.Option("--field", metavar="NAME=COLUMN", help="Our name for a column: query=text, group=thread …"),
]
NAMED = 20  # rows left out that are named one by one


def mapping(fields: Sequence[str]) -> dict[str, str]:
    """`query=text` as {"query": "text"}. Raises BadInput for another form or an unknown name."""
    found = {}
    for field in fields:
        name, equals, column = field.partition("=")
        if not equals or not column or name not in FIELDS:
            raise BadInput(f"--field {field}: NAME=COLUMN is needed", f"NAME is one of {', '.join(FIELDS)}")
        found[name] = column
    return found


def progress(unit: str) -> Callable[[int], None] | None:
    """Progress in place on a terminal, none elsewhere."""
    if not sys.stderr.isatty():
        return None

    def show(done: int) -> None:
        sys.stderr.write(f"\r{done:,} {unit}\x1b[K\r")
        sys.stderr.flush()

    return show


def some(file: Path, rows: "Iterator[Example]") -> "Iterator[Example]":
    """The rows as they come. Raises BadInput where there is none: nothing can be found in no data."""
    row = None
    for row in rows:
        yield row
    if row is None:
        raise BadInput(f"{file}: holds no row that can be read", "Write one JSON object per line.")


def told_skipped(account: "Account | None") -> None:
    """Says which rows were left out and why, the first NAMED one by one."""
    if account is None:
        return
    for reason in account.skipped[:NAMED]:
        err(f"left out: {printable(reason)}")
    if len(account.skipped) > NAMED:
        err(f"and {len(account.skipped) - NAMED} more; `assay preview FILE --skip-bad --json` names all")
    err(f"{account.read} rows read, {len(account.skipped)} left out")
