"""Examples read from data files, with an account of the rows that cannot be read."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from engine.data.example import TEMPLATE, Example, query_id
from engine.data.files import is_dataset
from engine.data.reading import Record, read_records, shards
from engine.data.shapes import example_from
from engine.data.textfile import OnBad
from engine.errors import BadInput


def read_examples(
    path: Path, fields: Mapping[str, str] | None = None, on_bad: OnBad | None = None
) -> list[Example]:
    """All examples of a file, in its order; `fields` maps names of MAPPABLE to the file's own columns, and
    TEMPLATE to a text.

    An example without an id gets `query_id`; further ones with the same query get "-2", "-3" … Raises
    BadInput naming file and line: a broken record, no shape that is known, an id that stands twice, no
    example at all, or a mapped column that no record has. With `on_bad`, it is told of
    records that are broken or have no shape or an id that stands twice, and they are left out.
    """
    fields = fields or {}
    examples: list[Example] = []
    columns: set[str] = set()
    lines: dict[str, int] = {}
    for record in read_records(path, on_bad):
        columns.update(record[1])
        try:
            example = example_from(path, record, fields)
            _refuse_id(path, example, lines)
        except BadInput as error:
            if on_bad is None:
                raise
            on_bad(error)
        else:
            examples.append(example)
    if not examples:
        raise BadInput(f"{path}: holds no example", "Write one JSON object per line.")
    for name, column in fields.items():
        if name != TEMPLATE and column not in columns:
            raise BadInput(
                f'{path}: no record has the column "{column}", named for "{name}" in the plan\'s data.fields',
                f"Its columns: {', '.join(sorted(columns))}",
            )
    copies: dict[str, int] = {}
    return [
        example if example.id else replace(example, id=_free_id(example, copies, lines))
        for example in examples
    ]


def _refuse_id(path: Path, example: Example, lines: dict[str, int]) -> None:
    """Raises BadInput for an id that an earlier example has; `lines` are those of the ids so far."""
    if example.id in lines:
        raise BadInput(
            f'{path}:{example.line}: id "{example.id}" is already the id of line {lines[example.id]}',
            "Give each example an id of its own, or leave the ids out.",
        )
    if example.id:
        lines[example.id] = example.line


def _free_id(example: Example, copies: dict[str, int], taken: Mapping[str, int]) -> str:
    derived = query_id(example.query)
    while True:
        copies[derived] = copies.get(derived, 0) + 1
        name = derived if copies[derived] == 1 else f"{derived}-{copies[derived]}"
        if name not in taken:
            return name


@dataclass(slots=True)
class Account:
    """How many rows were read, and which were left out and why."""

    read: int = 0
    skipped: list[str] = field(default_factory=list)
    hint: str = ""  # what to do about the first that says so

    def skip(self, error: BadInput) -> None:
        """Notes a row that is left out; the message names its file and line."""
        self.skipped.append(error.message)
        self.hint = self.hint or error.hint


def data_rows(
    path: Path,
    fields: Mapping[str, str] | None = None,
    *,
    training: bool = True,
    account: Account | None = None,
) -> Iterator[Example]:
    """The rows of a file or folder, one at a time; a row without an id has "".

    Rows of several shards are counted on, in the order of the shards' names. Raises BadInput naming file and
    line for a row that cannot be read; with an `account` the row is noted there and left out. What breaks the
    rest of the file (a torn archive, a broken CSV) is raised in any case.
    """
    several = is_dataset(path)
    for seen, (part, record) in enumerate(records_of(path, account), start=1):
        try:
            row = example_from(part, record, fields or {}, training=training)
        except BadInput as error:
            if account is None:
                raise
            account.skip(error)
            continue
        if account is not None:
            account.read += 1
        yield replace(row, line=seen) if several else row


def records_of(path: Path, account: Account | None = None) -> Iterator[tuple[Path, Record]]:
    """The records of a file, or of each shard of a folder, with the file that holds each; as `data_rows`."""
    for part in shards(path) or [path]:
        for record in read_records(part, account.skip if account else None):
            yield part, record
