"""Production traffic as the store holds it: events by time, and what was said of them."""

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any, TypedDict, Unpack

from store.errors import StoreError
from store.read.query import select
from store.records import EvalProposal, TrafficEvent, TrafficFeedback
from store.records.columns import columns, converter

_COLUMNS = ", ".join(f'e."{column.name}"' for column in columns(TrafficEvent))


class Which(TypedDict, total=False):
    """Which events are meant; what is not given, or None, leaves none out."""

    since: float | None  # seconds since 1970
    before: float | None
    variant: str | None  # "" for those without one
    model: str | None
    user: str | None
    session: str | None
    shadow: bool | None
    thumbs: int | None  # 1 or -1: somebody said so of it


def events(
    connection: sqlite3.Connection, *, newest: bool = False, limit: int | None = None, **which: Unpack[Which]
) -> Iterator[TrafficEvent]:
    """The events one at a time by time, or with `newest` the last ones first."""
    conditions, values = _conditions(which)
    order = "DESC" if newest else "ASC"
    cursor = connection.execute(
        f"SELECT {_COLUMNS} FROM trafficevent e {conditions} ORDER BY e.time {order}, e.id {order} LIMIT ?",
        [*values, -1 if limit is None else limit],
    )
    convert = converter(TrafficEvent, [column[0] for column in cursor.description])
    yield from map(convert, cursor)


def count(connection: sqlite3.Connection, **which: Unpack[Which]) -> int:
    """How many events `events` would give."""
    conditions, values = _conditions(which)
    (found,) = connection.execute(f"SELECT count(*) FROM trafficevent e {conditions}", values).fetchone()
    return int(found)


def variants(connection: sqlite3.Connection) -> list[str]:
    """The variants of which people saw answers, "" for none, the largest first."""
    sql = (
        "SELECT coalesce(variant, '') FROM trafficevent WHERE NOT shadow GROUP BY 1 ORDER BY count(*) DESC, 1"
    )
    return [row[0] for row in connection.execute(sql)]


def waiting(connection: sqlite3.Connection) -> int:
    """How much feedback there is whose event is not there."""
    known = "SELECT 1 FROM trafficevent e WHERE e.id = f.event_id"
    sql = f"SELECT count(*) FROM trafficfeedback f WHERE NOT EXISTS ({known})"
    return int(connection.execute(sql).fetchone()[0])


_CONDITIONS = {
    "since": "e.time >= ?",
    "before": "e.time < ?",
    "variant": "coalesce(e.variant, '') = ?",
    "model": "e.model = ?",
    "user": "e.user = ?",
    "session": "e.session = ?",
    "shadow": "e.shadow = ?",
    "thumbs": "EXISTS (SELECT 1 FROM trafficfeedback f WHERE f.event_id = e.id AND f.thumbs = ?)",
}


def _conditions(which: Which) -> tuple[str, list[Any]]:
    given = {name: value for name, value in which.items() if value is not None}
    sql = " AND ".join(_CONDITIONS[name] for name in given)
    return f"WHERE {sql}" if sql else "", list(given.values())


def event(connection: sqlite3.Connection, event_id: str) -> TrafficEvent:
    """The event with that id, or whose id begins so. Raises StoreError where it is none, or several."""
    sql = (
        f"SELECT {_COLUMNS} FROM trafficevent e WHERE e.id >= ?1 AND e.id < ?1 || x'7f' ORDER BY e.id LIMIT 2"
    )
    found = select(connection, TrafficEvent, sql, event_id)
    if len(found) != 1 and not (found and found[0].id == event_id):
        number = "several events have" if found else "no event has"
        raise StoreError(f"{number} the id {event_id!r}", "`assay traffic list` shows them with their ids")
    return found[0]


def feedback(connection: sqlite3.Connection, event_ids: Sequence[str]) -> list[TrafficFeedback]:
    """All that was said of these events, the oldest first."""
    marks = ", ".join("?" for _ in event_ids)
    sql = f"SELECT * FROM trafficfeedback WHERE event_id IN ({marks}) ORDER BY time, id"
    return select(connection, TrafficFeedback, sql, *event_ids)


FROM_TRAFFIC = ("correction", "cluster", "thumbs")  # origins of proposals: those that teach most first
ORIGINS = (*FROM_TRAFFIC, "synthetic")


def proposals(
    connection: sqlite3.Connection, eval_set: str | None = None, decision: str | None = None
) -> list[EvalProposal]:
    """The proposals for eval sets, or for one by its path, those that teach most first; all of them, or those
    of one decision, "open" among them.
    """
    rank = " ".join(f"WHEN '{origin}' THEN {place}" for place, origin in enumerate(ORIGINS))
    return select(
        connection,
        EvalProposal,
        "SELECT * FROM evalproposal WHERE (?1 IS NULL OR eval_set = ?1) "
        f"AND (?2 IS NULL OR coalesce(decision, 'open') = ?2) ORDER BY CASE origin {rank} END, id",
        eval_set,
        decision,
    )


def proposal(connection: sqlite3.Connection, number: int) -> EvalProposal:
    """The proposal of that number. Raises StoreError where there is none."""
    found = select(connection, EvalProposal, "SELECT * FROM evalproposal WHERE id = ?", number)
    if not found:
        raise StoreError(f"there is no proposal {number}", "`assay traffic proposals` lists them")
    return found[0]


def nearest_questions(connection: sqlite3.Connection) -> dict[tuple[str, str], str]:
    """The questions of the examples that proposals name as nearest, by eval set and id, as runs had them."""
    rows = connection.execute(
        "SELECT p.eval_set, p.nearest, (SELECT e.query FROM run r JOIN example e ON e.eval_set = r.eval_set "
        "WHERE json_extract(r.data_summary, '$.examples_path') = p.eval_set AND e.example = p.nearest "
        "ORDER BY r.id DESC LIMIT 1) FROM evalproposal p WHERE p.nearest IS NOT NULL"
    )
    return {(row[0], row[1]): row[2] for row in rows if row[2] is not None}
