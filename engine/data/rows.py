"""The rows of a data file as examples, with an account of those that cannot be read."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from engine.data.example import Example
from engine.data.files import is_dataset
from engine.data.reading import Record, read_records, shards
from engine.data.shapes import example_from
from engine.errors import BadInput


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
