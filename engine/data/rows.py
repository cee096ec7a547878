"""The rows of a data file as examples, with an account of those that cannot be read."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from engine.errors import BadInput
from engine.example import Example
from engine.reading import read_records, shards
from engine.shapes import example_from


@dataclass(slots=True)
class Account:
    """What was read and what was left out, line by line and why."""

    read: int = 0
    skipped: list[str] = field(default_factory=list)

    def skip(self, error: BadInput) -> None:
        """Notes a row that is left out; the message names its file and line."""
        self.skipped.append(error.message)


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
    parts = (shards(path) if path.is_dir() else []) or [path]
    seen = 0
    for part in parts:
        for record in read_records(part, account.skip if account else None):
            seen += 1
            try:
                row = example_from(part, record, fields or {}, training=training)
            except BadInput as error:
                if account is None:
                    raise
                account.skip(error)
                continue
            if account is not None:
                account.read += 1
            yield row if len(parts) == 1 else replace(row, line=seen)
