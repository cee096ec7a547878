"""What a data file holds, as far as a look at its first records tells."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from engine.data.example import Example, normalise
from engine.data.files import data_suffix
from engine.data.reading import read_records
from engine.data.shapes import example_from
from engine.errors import BadInput

DATA = frozenset({".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".arrow"})
ROWS = 2000  # records that are looked at
MOST_LIST_BYTES = 64 << 20  # a JSON list is read whole
MOST_LABELS = 50
SHORT_WORDS = 4
_NUMBER = frozenset("0123456789.,-+%$€ ")


@dataclass(frozen=True, slots=True)
class DataFile:
    """A file of examples, of training data or of answers made elsewhere.

    `rows` were looked at, and there are `more`. `asks` says that all of them can be asked of a model,
    `answers` that they are recorded outputs. `keys` are their ids and normalised queries. What they come with
    counts where all of them do, `labels` where they repeat; `label_field` is the key of JSON references that
    holds the label.
    """

    path: Path
    size: int
    rows: int
    more: bool
    asks: bool
    answers: bool
    keys: frozenset[str]
    references: bool = False
    reference_words: int = 0  # of the middle one
    json_references: bool = False
    numbers: bool = False
    labels: tuple[str, ...] = ()
    label_field: str | None = None
    tests: bool = False
    schemas: bool = False

    @property
    def what(self) -> str:
        """How many records, and what they come with."""
        held = (
            ("references", self.references),
            ("labels", bool(self.labels)),
            ("schemas", self.schemas),
            ("tests", self.tests),
        )
        words = [name for name, there in held if there]
        count = f"{self.rows:,}{' or more' if self.more else ''}"
        noun = "answers" if self.answers and not self.asks else "records"
        return f"{count} {noun}{': ' if words else ''}{', '.join(words)}"


def look_into(path: Path) -> DataFile | None:
    """The data in a file; None for a JSON file that is no list of records.

    Raises BadInput for a file that cannot be read, or whose records have no known shape.
    """
    size = path.stat().st_size
    if data_suffix(path) == ".json":
        if not _is_list(path):
            return None
        if size > MOST_LIST_BYTES:
            raise BadInput(
                f"{path}: a list of {size >> 20} MiB is too large to look into", "write JSON lines"
            )
    found = list(islice(read_records(path), ROWS + 1))
    records = found[:ROWS]
    if not records:
        raise BadInput(f"{path}: holds no record")
    answers = all(_is_answer(record) for _, record in records)
    keys = frozenset(_keys(record for _, record in records))
    try:
        examples = [example_from(path, record, {}, training=True) for record in records]
    except BadInput:
        if not answers:
            raise
        return DataFile(path, size, len(records), len(found) > ROWS, False, True, keys)
    return DataFile(
        path,
        size,
        len(records),
        len(found) > ROWS,
        all(example.messages and example.query.strip() for example in examples),
        answers,
        keys | {normalise(example.query) for example in examples},
        **_held(examples),
    )


def _is_list(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(1 << 10).lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"[", b"\x1f", b"\x28")


def _is_answer(record: dict[str, Any]) -> bool:
    asked = record.get("id") is not None or isinstance(record.get("query"), str)
    return asked and "response" in record and isinstance(record["response"], str | None)


def _keys(records: Iterable[dict[str, Any]]) -> Iterator[str]:
    for record in records:
        if record.get("id") is not None:
            yield f"id {record['id']}"
        if isinstance(record.get("query"), str):
            yield normalise(record["query"])


def _held(examples: list[Example]) -> dict[str, Any]:
    """What all examples come with."""
    references = [example.references[0] for example in examples if example.references]
    complete = len(references) == len(examples)
    objects = [_object(text) for text in references] if complete else []
    labels = [example.label for example in examples if example.label is not None]
    distinct = tuple(sorted(set(labels)))
    labelled = len(labels) == len(examples) and 2 <= len(distinct) <= min(MOST_LABELS, len(labels) // 2)
    is_json = complete and all(item is not None for item in objects)
    words = sorted(len(text.split()) for text in references)
    return {
        "references": complete,
        "reference_words": words[len(words) // 2] if complete else 0,
        "json_references": is_json,
        "numbers": complete and all(text.strip() and set(text) <= _NUMBER for text in references),
        "labels": distinct if labelled else (),
        "label_field": _label_field(examples, objects) if labelled and is_json else None,
        "tests": all(example.tests for example in examples),
        "schemas": all(example.schema is not None for example in examples),
    }


def _object(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _label_field(examples: list[Example], objects: list[dict[str, Any] | None]) -> str | None:
    """The key of the references under which each example's label stands."""
    names = objects[0] or {}
    pairs = [(example.label, item or {}) for example, item in zip(examples, objects, strict=True)]
    return next((name for name in names if all(item.get(name) == label for label, item in pairs)), None)
