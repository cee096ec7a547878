"""How rows become records, over SQLite from the standard library, and how they are grouped and found."""

import json
import re
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple, TypeVar

from store.records import RECORDS
from store.records.columns import Kind, R, columns, converter, keys, table_name

K = TypeVar("K")
V = TypeVar("V")


def by_key(pairs: Iterable[tuple[K, V]]) -> dict[K, list[V]]:
    """The values of each key, keys and values in the order in which they come."""
    found: dict[K, list[V]] = {}
    for key, value in pairs:
        found.setdefault(key, []).append(value)
    return found


T = TypeVar("T")
LARGEST = (1 << 63) - 1  # of SQLite's integers

_OF_ANSWERS = (
    "model_id, example_id, text, reason, cached, finish_reason, thinking, thinking_tokens, tokens_out, calls"
)
# Every answer of the models, first ones and further samples.
ANSWERS = f"(SELECT {_OF_ANSWERS} FROM response UNION ALL SELECT {_OF_ANSWERS} FROM sample)"


def fetch(connection: sqlite3.Connection, record: type[R], *, order_by: str = "", **equal: Any) -> list[R]:
    """The records whose columns equal the given values, by default in the order of their keys."""
    sql, values = stored(record, equal, order_by)
    return select(connection, record, sql, *values)


def stored(record: type[R], equal: Mapping[str, Any], order_by: str = "") -> tuple[str, Sequence[Any]]:
    """The query for whole records, and the values that it takes."""
    conditions = [f'"{name}" IS NULL' if value is None else f'"{name}" = ?' for name, value in equal.items()]
    listed = ", ".join(f'"{column.name}"' for column in columns(record))
    sql = f"SELECT {listed} FROM {table_name(record)}"
    if conditions:
        sql += f" WHERE {' AND '.join(conditions)}"
    order = order_by or ", ".join(f'"{name}"' for name in keys(record))
    return f"{sql} ORDER BY {order}", [value for value in equal.values() if value is not None]


def select(connection: sqlite3.Connection, shape: type[T], sql: str, *values: Any, **named: Any) -> list[T]:
    """Runs a query that has a column for each field of `shape`; of two alike the first counts."""
    cursor = connection.execute(sql, named or values)
    convert = converter(shape, [column[0] for column in cursor.description])
    return [convert(row) for row in cursor]


def mappings(connection: sqlite3.Connection, sql: str, *values: Any) -> Iterator[dict[str, Any]]:
    """Runs a query whose columns are named like those of records; each row by name, its values read."""
    cursor = connection.execute(sql, values)
    names = [column[0] for column in cursor.description]
    reads = [_reads().get(name) for name in names]
    for row in cursor:
        yield {
            name: value if read is None or value is None else read(value)
            for name, read, value in zip(names, reads, row, strict=True)
        }


@cache
def _reads() -> Mapping[str, Callable[[Any], Any]]:
    """What reads JSON and booleans, by a column's name, which means the same in every record."""
    found = {column.name: column.kind for record in RECORDS for column in columns(record)}
    return {name: _READS[kind] for name, kind in found.items() if kind in _READS}


_READS: Mapping[Kind, Callable[[Any], Any]] = {"json": json.loads, "bool": bool}


class Word(NamedTuple):
    """A word that a row must have, or must not: in one field, or, where `field` is "", in any."""

    field: str
    text: str
    is_out: bool = False


_WORD = re.compile(r'(!?)((?:(\w+):)?("[^"]*"?|\S+))')


def read_words(text: str, fields: Collection[str]) -> tuple[Word, ...]:
    """Words as a person types them: `refund`, `"two words"`, `tag:release`; `!` before what must be absent.

    A colon after anything but one of the `fields` belongs to the word. `tag:` alone says nothing yet.
    """
    found = []
    for sign, whole, field, rest in _WORD.findall(text):
        known = field.lower() if field.lower() in fields else ""
        word = (rest if known else whole).strip('"')
        if word and not (whole.endswith(":") and whole[:-1].lower() in fields):
            found.append(Word(known, word, bool(sign)))
    return tuple(found)


def matches(text: str, fields: Mapping[str, str]) -> bool:
    """Whether a row has all the words of a search in its fields, and none of those that must not be there."""
    for word in read_words(text, fields):
        among = [fields[word.field]] if word.field else fields.values()
        if any(word.text.casefold() in value.casefold() for value in among) == word.is_out:
            return False
    return True
