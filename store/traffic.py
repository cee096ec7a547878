"""Production traffic comes into the store, and goes for good. Standard library only."""

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import TypeVar

from store.read.query import select, stored
from store.records import EvalProposal, SplitUse, TrafficEvent, TrafficFeedback
from store.records.columns import R, columns, table_name, to_json, values_of


@dataclass(frozen=True, slots=True)
class Added:
    """How many events were new, stood there already, or told more of one, and how much feedback was new or
    changed. `clashes` are events whose id stands for another question; they were not stored.
    """

    new: int = 0
    known: int = 0
    updated: int = 0
    feedback: int = 0
    clashes: tuple[TrafficEvent, ...] = ()

    def __add__(self, other: "Added") -> "Added":
        return Added(
            self.new + other.new,
            self.known + other.known,
            self.updated + other.updated,
            self.feedback + other.feedback,
            self.clashes + other.clashes,
        )


T = TypeVar("T", TrafficEvent, TrafficFeedback)


def add(
    connection: sqlite3.Connection,
    events: Iterable[TrafficEvent],
    feedback: Iterable[TrafficFeedback] = (),
) -> Added:
    """Stores events and feedback in one transaction that is on disk when this returns.

    What stands already is not stored again. Of an event, what was missing is filled in, and texts give way to
    masked ones; of feedback the newer says what counts. Feedback may come before its event, and feedback on a
    trace becomes that on its last event so far.
    """
    events, feedback = list(events), list(feedback)
    connection.execute("BEGIN IMMEDIATE")
    with connection:
        found = _merge(connection, TrafficEvent, events, _filled)
        said = _merge(connection, TrafficFeedback, feedback, _newer)
        traces = {row.event_id for row in feedback} | {row.trace for row in events if row.trace}
        connection.execute(_TO_LAST, (json.dumps(sorted(traces)),))
    return replace(found, feedback=said.new + said.updated)


_TO_LAST = """
UPDATE trafficfeedback AS f
SET event_id = (SELECT id FROM trafficevent WHERE trace = f.event_id ORDER BY time DESC, id DESC LIMIT 1)
WHERE event_id IN (SELECT value FROM json_each(?))
  AND EXISTS (SELECT 1 FROM trafficevent WHERE trace = f.event_id)
  AND NOT EXISTS (SELECT 1 FROM trafficevent WHERE id = f.event_id)
"""


def _merge(
    connection: sqlite3.Connection, record: type[T], rows: Sequence[T], join: Callable[[T, T], T | None]
) -> Added:
    """Stores rows; `join` makes one of two with the same id, or None where they are not the same."""
    ids = json.dumps([row.id for row in rows])
    sql, _ = stored(record, {})
    sql = sql.replace(" ORDER", " WHERE id IN (SELECT value FROM json_each(?)) ORDER")
    standing = {row.id: row for row in select(connection, record, sql, ids)}
    changed: dict[str, T] = {}
    new = known = 0
    clashes: list[TrafficEvent] = []
    for row in rows:
        before = standing.get(row.id)
        joined = row if before is None else join(before, row)
        if joined is None:
            assert isinstance(row, TrafficEvent)
            clashes.append(row)
        elif joined == before:
            known += 1
        else:
            new += before is None
            standing[row.id] = changed[row.id] = joined
    _write(connection, record, list(changed.values()))
    if record is TrafficEvent:  # what was measured of them was of less
        known_ids = [(row.id,) for row in changed.values()]
        connection.executemany("DELETE FROM trafficmeasures WHERE event_id = ?", known_ids)
    updated = len(rows) - new - known - len(clashes)
    return Added(new, known, updated, clashes=tuple(clashes))


def _write(connection: sqlite3.Connection, record: type[R], rows: Sequence[R]) -> None:
    kinds = {column.name: column.kind for column in columns(record)}
    names = ", ".join(f'"{name}"' for name in kinds)
    sql = f"INSERT OR REPLACE INTO {table_name(record)} ({names}) VALUES ({', '.join('?' for _ in kinds)})"

    def bound(row: R) -> list[object]:
        values = values_of(row)
        return [
            to_json(values[name]) if kind == "json" and values[name] is not None else values[name]
            for name, kind in kinds.items()
        ]

    connection.executemany(sql, map(bound, rows))


_TEXTS = ("messages", "response", "calls", "tags", "reason")


def _filled(known: TrafficEvent, row: TrafficEvent) -> TrafficEvent | None:
    """An event with what another log of it tells besides; None where that is of another event."""
    if row.question != known.question:
        return None
    if row.masked and not known.masked:
        texts = {name: getattr(row, name) for name in _TEXTS if getattr(known, name) is not None}
        known = replace(known, masked=True, **texts)
    if known.masked and not row.masked:
        row = replace(row, response=None, calls=None, tags=None, reason=None)
    missing = {
        field.name: value
        for field in fields(known)
        if getattr(known, field.name) is None and (value := getattr(row, field.name)) is not None
    }
    if known.response is not None or "response" in missing:
        missing["reason"] = None
    return replace(known, **missing)


def _newer(known: TrafficFeedback, row: TrafficFeedback) -> TrafficFeedback:
    """Feedback with what the newer of two says; what that does not speak of stays."""
    if row.time < known.time:
        known, row = row, known
    said = {
        field.name: value
        for field in fields(row)
        if field.name not in ("event_id", "time", "received")
        and (value := getattr(row, field.name)) is not None
    }
    joined = replace(known, **said)
    return joined if joined == known else replace(joined, time=row.time, received=row.received)


@contextmanager
def together(connection: sqlite3.Connection) -> Iterator[None]:
    """One transaction, which is taken back where anything in it fails."""
    connection.execute("BEGIN IMMEDIATE")
    with connection:
        yield


def keep_proposals(connection: sqlite3.Connection, rows: Sequence[EvalProposal]) -> list[EvalProposal]:
    """Stores proposals, in place of those that have their numbers; a new one, of number 0, gets its own."""
    new = [row for row in rows if not row.id]
    _write(connection, EvalProposal, [row for row in rows if row.id])
    (last,) = connection.execute("SELECT coalesce(max(id), 0) FROM evalproposal").fetchone()
    numbered = [replace(row, id=last + place) for place, row in enumerate(new, 1)]
    _write(connection, EvalProposal, numbered)
    return numbered


def take_over_uses(connection: sqlite3.Connection, uses: Iterable[SplitUse], version: str) -> None:
    """Counts uses of one version's test split as uses of another's."""
    connection.executemany(
        "INSERT INTO splituse (run_id, eval_set, split, user, reason, created) VALUES (?, ?, ?, ?, ?, ?)",
        [(use.run_id, version, use.split, use.user, use.reason, use.created) for use in uses],
    )
