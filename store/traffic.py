"""Production traffic comes into the store, and is forgotten. Standard library only."""

import hashlib
import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import TypeVar

from store.read.query import select, stored
from store.records import RECORDS, EvalProposal, SplitUse, TrafficEvent, TrafficFeedback, TrafficWeek
from store.records.columns import R, columns, table_name, to_json, values_of
from store.records.traffic import UNKNOWN_MODEL


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


def keep_week(connection: sqlite3.Connection, week: TrafficWeek) -> None:
    """Makes a run the one of its week, variant and purpose."""
    connection.execute(
        "INSERT INTO trafficweek (start, variant, purpose, run_id, n) VALUES (?, ?, ?, ?, ?) "
        "ON CONFLICT DO UPDATE SET run_id = excluded.run_id, n = excluded.n",
        (week.start, week.variant, week.purpose, week.run_id, week.n),
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
    trace becomes that on its last answer so far that somebody saw; of a Langfuse trace the calls alone stay,
    and of a call within another the outer one, which is filled in from it.
    """
    connection.execute("BEGIN IMMEDIATE")
    with connection:
        return join(connection, list(events), list(feedback))


def join(
    connection: sqlite3.Connection, events: Sequence[TrafficEvent], feedback: Sequence[TrafficFeedback]
) -> Added:
    """Like `add`, within a transaction of the caller's."""
    traces = {row.trace for row in events if row.trace}
    twice = _traces_with_calls(connection, events, traces)
    outer = _outer(connection, events)
    single = [row for row in events if row.id not in twice and row.id not in outer]
    found = _merge(connection, TrafficEvent, single, _filled)
    whole = [row for row in events if row.id in twice]
    _merge(connection, TrafficEvent, whole, _filled)  # so that its calls take over whose they are
    _take_out_traces(connection, traces | twice)
    inner = [row for row in events if row.id in outer]
    _join_inner(connection, outer, inner)
    said = _merge(connection, TrafficFeedback, feedback, _newer)
    traces |= {row.event_id for row in feedback}
    connection.execute(_TO_LAST, (json.dumps(sorted(traces)),))
    known = found.known + len(whole) + len(inner)
    return replace(found, known=known, feedback=said.new + said.updated)


_TO_LAST = """
UPDATE trafficfeedback AS f
SET event_id = (
  SELECT id FROM trafficevent WHERE trace = f.event_id AND NOT shadow ORDER BY time DESC, id DESC LIMIT 1)
WHERE event_id IN (SELECT value FROM json_each(?))
  AND EXISTS (SELECT 1 FROM trafficevent WHERE trace = f.event_id AND NOT shadow)
  AND NOT EXISTS (SELECT 1 FROM trafficevent WHERE id = f.event_id)
"""

# Langfuse writes an exchange as a call of a model and as the trace around it, which says whose it was.
_TRACES = "SELECT id FROM trafficevent WHERE source = 'langfuse' AND id IN (SELECT value FROM json_each(?1))"
_CALLS = "SELECT trace FROM trafficevent WHERE trace IN (SELECT value FROM json_each(?1))"


def _traces_with_calls(
    connection: sqlite3.Connection, events: Sequence[TrafficEvent], traces: set[str]
) -> set[str]:
    """The ids of Langfuse's traces among the events whose calls are stored, or among them."""
    ids = {row.id for row in events if row.source == "langfuse" and row.trace is None}
    return ids & {*traces, *(row[0] for row in connection.execute(_CALLS, (json.dumps([*ids]),)))}


def _take_out_traces(connection: sqlite3.Connection, traces: set[str]) -> None:
    """Leaves of Langfuse's traces their calls alone, which take over whose they are.

    A trace stays where a proposal or a weekly run was made of it.
    """
    which = (json.dumps([*traces]),)
    connection.execute(_WHOSE, which)
    gone = connection.execute(
        f"DELETE FROM trafficevent WHERE id IN ({_TRACES}) AND id IN ({_CALLS}) "
        "AND id NOT IN (SELECT event_id FROM evalproposal) AND id NOT IN (SELECT example FROM example) "
        "RETURNING id",
        which,
    ).fetchall()
    connection.executemany("DELETE FROM trafficmeasures WHERE event_id = ?", gone)


_WHOSE = f"""
UPDATE trafficevent AS e
SET user = coalesce(e.user, w.user), session = coalesce(e.session, w.session),
    variant = coalesce(e.variant, w.variant)
FROM (
  SELECT coalesce(trace, id) AS trace, max(user) AS user, max(session) AS session, max(variant) AS variant
  FROM trafficevent
  WHERE source = 'langfuse' AND (id IN ({_TRACES}) OR trace IN (SELECT value FROM json_each(?1)))
  GROUP BY 1
) AS w
WHERE e.trace = w.trace
"""


_WITHIN = """
SELECT id, within FROM trafficevent
WHERE within IN (SELECT value FROM json_each(?)) AND id NOT IN (SELECT event_id FROM evalproposal)
  AND id NOT IN (SELECT example FROM example)
"""


def _outer(connection: sqlite3.Connection, events: Sequence[TrafficEvent]) -> dict[str, str]:
    """Of each call that is the inside of another, here or in the store, the id of the outermost.

    One stays where a proposal or a weekly run was made of it.
    """
    ids = {row.id for row in events}
    within = {row.id: row.within for row in events if row.within}
    asked = json.dumps(sorted({*within.values()} - ids))
    there = "SELECT id FROM trafficevent WHERE id IN (SELECT value FROM json_each(?))"
    ids |= {row[0] for row in connection.execute(there, (asked,))}
    within |= dict(connection.execute(_WITHIN, (json.dumps(sorted(ids)),)))
    found: dict[str, str] = {}
    for inner in within:
        way = [inner]
        while (next_out := within.get(way[-1])) in ids and next_out not in way:
            way.append(next_out)
        if len(way) > 1:
            found[inner] = way[-1]
    return found


def _join_inner(
    connection: sqlite3.Connection, outer: Mapping[str, str], rows: Sequence[TrafficEvent]
) -> None:
    """Fills outer calls in from inner ones, which come or are stored; the stored ones go."""
    sql, _ = stored(TrafficEvent, {})
    sql = sql.replace(" ORDER", " WHERE id IN (SELECT value FROM json_each(?)) ORDER")
    standing = select(connection, TrafficEvent, sql, json.dumps([*outer]))
    outside = [replace(row, id=outer[row.id], within=None) for row in (*standing, *rows)]
    _merge(connection, TrafficEvent, outside, _filled)
    gone = [(row.id,) for row in standing]
    connection.executemany("DELETE FROM trafficevent WHERE id = ?", gone)
    connection.executemany("DELETE FROM trafficmeasures WHERE event_id = ?", gone)
    moved = [(out, inner) for inner, out in outer.items()]
    connection.executemany("UPDATE trafficfeedback SET event_id = ? WHERE event_id = ?", moved)


def _merge(
    connection: sqlite3.Connection, record: type[T], rows: Sequence[T], joining: Callable[[T, T], T | None]
) -> Added:
    """Stores rows; `joining` makes one of two with the same id, or None where they are not the same."""
    ids = json.dumps([row.id for row in rows])
    sql, _ = stored(record, {})
    sql = sql.replace(" ORDER", " WHERE id IN (SELECT value FROM json_each(?)) ORDER")
    standing = {row.id: row for row in select(connection, record, sql, ids)}
    changed: dict[str, T] = {}
    new = known = 0
    clashes: list[TrafficEvent] = []
    for row in rows:
        before = standing.get(row.id)
        joined = row if before is None else joining(before, row)
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
    if known.model == UNKNOWN_MODEL:
        missing["model"] = row.model
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


class Waiting:
    """Rows of an import that wait for their other half, in a file that goes with the process."""

    def __init__(self) -> None:
        self._file = sqlite3.connect("", isolation_level=None)
        self._file.execute("CREATE TABLE half (key TEXT PRIMARY KEY, sent INTEGER, place TEXT, text TEXT)")
        self._file.execute("BEGIN")

    def put(self, key: str, sent: bool, place: str, text: str) -> None:
        self._file.execute("INSERT INTO half VALUES (?, ?, ?, ?)", (key, sent, place, text))

    def take(self, key: str) -> tuple[bool, str, str] | None:
        """What waits under a key, which then waits no more."""
        row = self._file.execute(
            "DELETE FROM half WHERE key = ? RETURNING sent, place, text", (key,)
        ).fetchone()
        return row and (bool(row[0]), row[1], row[2])

    def left(self) -> Iterator[tuple[str, bool]]:
        """The place of each that waits, and whether it was a request."""
        for place, sent in self._file.execute("SELECT place, sent FROM half ORDER BY rowid"):
            yield place, bool(sent)

    def close(self) -> None:
        self._file.close()


@dataclass(frozen=True, slots=True)
class Meant:
    """Whose traffic is meant: of a user, a session (their hashes), or all before a time."""

    user: str | None = None
    session: str | None = None
    before: float | None = None


@dataclass(frozen=True, slots=True)
class Traces:
    """What the store holds of traffic that is meant: the ids of its events, how much feedback there is on
    others, the eval sets that took some of them in, and a digest of each answer of a model or a judge, to
    find it in caches.
    """

    ids: frozenset[str]
    feedback: int
    kept_in: tuple[str, ...]
    texts: frozenset[bytes]


@dataclass(frozen=True, slots=True)
class Forgotten:
    """How much was deleted; `examples` are those of weekly runs."""

    events: int
    feedback: int
    proposals: int
    examples: int


def traces(connection: sqlite3.Connection, what: Meant) -> Traces:
    """What there is of the traffic that is meant."""
    with _chosen(connection, what):
        ids = frozenset(row[0] for row in connection.execute("SELECT id FROM temp.gone"))
        (feedback,) = connection.execute(
            "SELECT count(*) FROM temp.unsaid WHERE event_id NOT IN (SELECT id FROM temp.gone)"
        ).fetchone()
        kept_in = connection.execute(
            "SELECT DISTINCT eval_set FROM evalproposal WHERE decision = 'accepted' "
            f"AND event_id IN ({_TOUCHED}) ORDER BY 1"
        ).fetchall()
        texts = connection.execute(
            f"""
            SELECT response FROM trafficevent WHERE id IN (SELECT id FROM temp.gone)
            UNION SELECT text FROM response WHERE example_id IN ({_EXAMPLES})
            UNION SELECT text FROM variantanswer WHERE variant_id IN ({_VARIANTS})
            UNION SELECT raw FROM judgment WHERE example_id IN ({_EXAMPLES})
            UNION SELECT raw FROM rating WHERE example_id IN ({_EXAMPLES})
            """
        )
        digests = frozenset(digest(row[0]) for row in texts if row[0])
    return Traces(ids, int(feedback), tuple(row[0] for row in kept_in), digests)


_TOUCHED = "SELECT id FROM temp.gone UNION SELECT event_id FROM temp.unsaid"
_EXAMPLES = "SELECT id FROM example WHERE example IN (SELECT id FROM temp.gone)"
_VARIANTS = f"SELECT id FROM variant WHERE example_id IN ({_EXAMPLES})"


def forget(connection: sqlite3.Connection, what: Meant) -> Forgotten:
    """Deletes events and feedback with all that was made of them, in one transaction.

    Their bytes are overwritten. What was computed over many stays: it tells of nobody.
    """
    connection.execute("PRAGMA secure_delete=ON")
    connection.execute("PRAGMA foreign_keys=OFF")  # whole examples go, with all that refers to them
    try:
        with _chosen(connection, what):
            connection.execute("BEGIN IMMEDIATE")
            with connection:
                return _forgotten(connection)
    finally:
        connection.execute("PRAGMA foreign_keys=ON")


@contextmanager
def _chosen(connection: sqlite3.Connection, what: Meant) -> Iterator[None]:
    """Temporary tables of the events and the feedback that are meant."""
    connection.execute("CREATE TEMP TABLE gone (id TEXT PRIMARY KEY)")
    connection.execute("CREATE TEMP TABLE unsaid (id TEXT PRIMARY KEY, event_id TEXT)")
    try:
        values = (what.user, what.session, what.before)
        connection.execute(
            "INSERT INTO temp.gone SELECT id FROM trafficevent WHERE user = ?1 OR session = ?2 OR time < ?3",
            values,
        )
        connection.execute(
            "INSERT INTO temp.unsaid SELECT id, event_id FROM trafficfeedback WHERE user = ?1 "
            "OR event_id IN (SELECT id FROM temp.gone) "
            "OR (time < ?3 AND event_id NOT IN (SELECT id FROM trafficevent))",
            values,
        )
        yield
    finally:
        connection.execute("DROP TABLE temp.gone")
        connection.execute("DROP TABLE temp.unsaid")


def _forgotten(connection: sqlite3.Connection) -> Forgotten:
    counts: Counter[str] = Counter()

    def delete(table: str, condition: str) -> None:
        counts[table] += connection.execute(f"DELETE FROM {table} WHERE {condition}").rowcount

    for record in reversed(RECORDS):
        table = table_name(record)
        for column in columns(record):
            if column.mentions and column.mentions.table == "trafficevent":
                delete(table, f'"{column.name}" IN ({_MENTIONED.get(table, "SELECT id FROM temp.gone")})')
            elif column.name == "example_id":
                delete(table, f"example_id IN ({_EXAMPLES})")
            elif column.name == "variant_id":
                delete(table, f"variant_id IN ({_VARIANTS})")
    delete("trafficfeedback", "id IN (SELECT id FROM temp.unsaid)")
    delete("example", f"id IN ({_EXAMPLES})")
    delete("trafficevent", "id IN (SELECT id FROM temp.gone)")
    return Forgotten(
        counts["trafficevent"], counts["trafficfeedback"], counts["evalproposal"], counts["example"]
    )


# A proposal may be of a correction that goes while its event stays.
_MENTIONED = {"evalproposal": _TOUCHED}


def digest(text: str) -> bytes:
    """What stands for a text when it is looked for in a cache."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def wipe(connection: sqlite3.Connection) -> bool:
    """Rewrites the store's file without what was deleted; False while another process reads the store, so
    that old pages stay in its log until that one has ended.
    """
    connection.execute("VACUUM")
    (busy, *_) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return not busy


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
