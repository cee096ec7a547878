"""How rows become records: the one converter, over SQLite from the standard library."""

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from store.records.columns import R, columns, converter, keys, table_name

T = TypeVar("T")


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
