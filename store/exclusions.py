"""The examples that people took out of their eval sets: recorded, and reversible.

An example is known by its id and a hash of its query, so that an edited question is a new example.
"""

import sqlite3
import time
from collections.abc import Mapping
from dataclasses import dataclass

from store.read.query import select


@dataclass(frozen=True, slots=True)
class ExclusionRow:
    id: int
    eval_set: str  # the version in which the person saw it
    example: str
    query_hash: str
    excluded: bool
    reason: str
    user: str
    created: float


def exclude(
    connection: sqlite3.Connection,
    eval_set: str,
    example: str,
    query_hash: str,
    user: str,
    *,
    reason: str = "",
    excluded: bool = True,
) -> None:
    """Takes an example out of every later run, or with `excluded=False` puts it back."""
    connection.execute(
        "INSERT INTO exclusion (eval_set, example, query_hash, excluded, reason, user, created) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        (eval_set, example, query_hash, excluded, reason, user, time.time()),
    )


def excluded(connection: sqlite3.Connection) -> Mapping[tuple[str, str], ExclusionRow]:
    """The examples that are out now, by id and query hash, each with who took it out and why."""
    rows = select(connection, ExclusionRow, "SELECT * FROM exclusion ORDER BY id")
    newest = {(row.example, row.query_hash): row for row in rows}
    return {key: row for key, row in newest.items() if row.excluded}


def is_excluded(connection: sqlite3.Connection, example: str, query_hash: str) -> bool:
    """Whether one example is out now."""
    row = connection.execute(
        "SELECT excluded FROM exclusion WHERE example = ? AND query_hash = ? ORDER BY id DESC LIMIT 1",
        (example, query_hash),
    ).fetchone()
    return bool(row and row[0])
