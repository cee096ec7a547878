"""What watching production traffic reads: events to be measured, and what was measured of them by time.

Shadow answers, which nobody saw, are no part of it.
"""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from store.read.labels import STANDING
from store.read.query import select
from store.records import TrafficAlert, TrafficEvent
from store.records.columns import columns, converter

_EVENT = ", ".join(f'e."{column.name}"' for column in columns(TrafficEvent))


class Observed(NamedTuple):
    """One event with what was measured and said of it. `unit` is whose it is: the user's, else the session's,
    else its own id; events of one unit are alike. `traits` is JSON.
    """

    time: float
    variant: str
    model: str
    version: str | None
    unit: str
    question: str
    latency_s: float | None
    answered: int
    characters: int | None
    cut: int | None
    refused: int | None
    well_formed: int | None
    same_language: int | None
    traits: str | None
    cluster: int | None
    distance: float | None
    thumbs: int | None
    rating: float | None
    corrected: int


class AskedQuestion(NamedTuple):
    """One event's question; `messages` is JSON."""

    row: int
    id: str
    unit: str
    messages: str


class WeekRating(NamedTuple):
    """One score by a judge of one answer of a week's random sample."""

    start: float
    variant: str
    judge: str
    score: float


class WeekReview(NamedTuple):
    """Whether more people found one answer of a week's random sample good than bad."""

    start: float
    variant: str
    good: bool


def _last(column: str) -> str:
    """The newest that was said of an event."""
    return (
        f"(SELECT f.{column} FROM trafficfeedback f WHERE f.event_id = e.id AND f.{column} IS NOT NULL "
        "ORDER BY f.time DESC, f.id LIMIT 1)"
    )


# What repeats the answer corrects nothing: tools send an answer that was opened and left as it was.
CORRECTED = (
    "EXISTS (SELECT 1 FROM trafficfeedback f WHERE f.event_id = e.id AND f.correction IS NOT NULL "
    "AND trim(f.correction, char(9, 10, 13, 32)) IS NOT trim(e.response, char(9, 10, 13, 32)))"
)
_UNIT = "coalesce(e.user, e.session, e.id)"
_FEEDBACK = f"{_last('thumbs')}, {_last('rating')}, {CORRECTED}"
_NONE_SAID = "NULL, NULL, 0"


def observed(connection: sqlite3.Connection, variant: str | None = None) -> Iterator[Observed]:
    """All events by time, or those of one variant."""
    (said,) = connection.execute("SELECT EXISTS (SELECT 1 FROM trafficfeedback)").fetchone()
    cursor = connection.execute(
        f"SELECT e.time, coalesce(e.variant, ''), e.model, e.version, {_UNIT}, e.question, e.latency_s, "
        "e.response IS NOT NULL, m.characters, m.cut, m.refused, m.well_formed, m.same_language, m.traits, "
        f"m.cluster, m.distance, {_FEEDBACK if said else _NONE_SAID} "
        "FROM trafficevent e LEFT JOIN trafficmeasures m ON m.event_id = e.id "
        "WHERE NOT e.shadow AND (?1 IS NULL OR coalesce(e.variant, '') = ?1) ORDER BY e.time, e.id",
        (variant,),
    )
    return (Observed(*row) for row in cursor)


def unmeasured(
    connection: sqlite3.Connection, version: str, after: int, most: int
) -> tuple[list[TrafficEvent], int]:
    """The next events after a place in the table that these rules did not measure, and the place reached."""
    cursor = connection.execute(
        f"SELECT {_EVENT}, e.rowid FROM trafficevent e LEFT JOIN trafficmeasures m ON m.event_id = e.id "
        "WHERE e.rowid > ? AND NOT e.shadow AND m.version IS NOT ? ORDER BY e.rowid LIMIT ?",
        (after, version, most),
    )
    convert = converter(TrafficEvent, [column[0] for column in cursor.description[:-1]])
    rows = cursor.fetchall()
    return [convert(tuple(row)[:-1]) for row in rows], rows[-1][-1] if rows else after


def unplaced(connection: sqlite3.Connection, space: str, after: int, most: int) -> list[AskedQuestion]:
    """The next measured events whose questions have no place in this space."""
    return [
        AskedQuestion(*row)
        for row in connection.execute(
            f"SELECT e.rowid, e.id, {_UNIT}, e.messages FROM trafficevent e "
            "JOIN trafficmeasures m ON m.event_id = e.id "
            "WHERE e.rowid > ? AND NOT e.shadow AND m.space IS NOT ? ORDER BY e.rowid LIMIT ?",
            (after, space, most),
        )
    ]


def asked(connection: sqlite3.Connection, since: float, before: float) -> Iterator[AskedQuestion]:
    """The questions of a time, as they came."""
    cursor = connection.execute(
        f"SELECT e.rowid, e.id, {_UNIT}, e.messages FROM trafficevent e "
        "WHERE e.time >= ? AND e.time < ? AND NOT e.shadow ORDER BY e.time, e.id",
        (since, before),
    )
    return (AskedQuestion(*row) for row in cursor)


def times_of(connection: sqlite3.Connection, event_ids: Sequence[str]) -> dict[str, float]:
    """When these events were."""
    sql = "SELECT id, time FROM trafficevent WHERE id IN (SELECT value FROM json_each(?))"
    return dict(tuple(row) for row in connection.execute(sql, (json.dumps(event_ids),)))


def correctable_since(connection: sqlite3.Connection) -> float | None:
    """When the first event was asked of which people said anything, so that they could have corrected it;
    None where nobody has corrected any answer.
    """
    sql = (
        "SELECT min(e.time) FROM trafficevent e JOIN trafficfeedback f ON f.event_id = e.id "
        "WHERE EXISTS (SELECT 1 FROM trafficfeedback WHERE correction IS NOT NULL)"
    )
    time: float | None = connection.execute(sql).fetchone()[0]
    return time


def count_unmeasured(connection: sqlite3.Connection, version: str) -> int:
    sql = (
        "SELECT count(*) FROM trafficevent e LEFT JOIN trafficmeasures m ON m.event_id = e.id "
        "WHERE NOT e.shadow AND m.version IS NOT ?"
    )
    return int(connection.execute(sql, (version,)).fetchone()[0])


def first_times(connection: sqlite3.Connection, length: float, offset: float) -> list[tuple[float, int]]:
    """The start of each period of so many seconds that has events, and how many."""
    sql = (
        "SELECT CAST((time - ?2) / ?1 AS INTEGER) * ?1 + ?2 AS start, count(*) FROM trafficevent "
        "WHERE NOT shadow GROUP BY start ORDER BY start"
    )
    return [(float(start), int(count)) for start, count in connection.execute(sql, (length, offset))]


def ratings(connection: sqlite3.Connection) -> list[WeekRating]:
    """What judges of single responses said of the weeks' random samples."""
    sql = (
        "SELECT w.start, w.variant, j.name, r.score FROM trafficweek w JOIN judge j ON j.run_id = w.run_id "
        "JOIN rating r ON r.judge_id = j.id JOIN model m ON m.id = r.model_id "
        "JOIN run ON run.id = w.run_id AND run.deleted IS NULL "
        "WHERE w.purpose = 'random' AND m.role = 'candidate' AND r.turn = 0 AND r.score IS NOT NULL "
        "ORDER BY w.start, w.variant, r.id"
    )
    return [WeekRating(*row) for row in connection.execute(sql)]


def reviews(connection: sqlite3.Connection) -> list[WeekReview]:
    """What people's thumbs say of the weeks' random samples, but for answers over which they are divided.

    Thumbs of another queue than the random one count once all of a sample have some: it chooses among them.
    """
    sql = f"""
        SELECT w.start, w.variant, sum(CASE n.value WHEN 'up' THEN 1 ELSE -1 END) AS up
        FROM trafficweek w JOIN run r ON r.id = w.run_id AND r.deleted IS NULL
        JOIN annotation n ON n.run_id = r.id JOIN model m ON m.id = n.left_id AND m.role = 'candidate'
        WHERE w.purpose = 'random' AND n.kind = 'thumbs' AND n.turn = 0 AND {STANDING.replace("?1", "r.id")}
        GROUP BY w.id, n.example_id HAVING up <> 0 AND (
          max(n.queue IS 'random') OR w.n <= (SELECT count(DISTINCT a.example_id) FROM annotation a
          WHERE a.left_id = m.id AND a.kind = 'thumbs'))
        ORDER BY w.start, w.variant, n.example_id
    """
    return [WeekReview(start, variant, up > 0) for start, variant, up in connection.execute(sql)]


def alerts(
    connection: sqlite3.Connection, days: int | None = None, reference: str | None = None
) -> list[TrafficAlert]:
    """The alerts over periods of that length against that reference, or all, the newest first."""
    sql = (
        "SELECT * FROM trafficalert WHERE (?1 IS NULL OR days = ?1) AND (?2 IS NULL OR reference = ?2) "
        "ORDER BY start DESC, variant, measure"
    )
    return select(connection, TrafficAlert, sql, days, reference)
