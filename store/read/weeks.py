"""Weekly runs of production traffic, and which answers of a week were the worst."""

import sqlite3
from dataclasses import dataclass

from store.read.labels import STANDING
from store.read.monitor import CORRECTED
from store.read.query import select

_LABELS = STANDING.replace("?1", "r.id")
_THUMBS = f"{_LABELS} AND n.kind = 'thumbs' AND n.left_id IN (SELECT id FROM model WHERE role = 'candidate')"
_COMPLAINTS = f"""
    8 * EXISTS (SELECT 1 FROM trafficfeedback f WHERE f.event_id = e.id AND f.thumbs < 0)
    + 4 * {CORRECTED}
    + 2 * (coalesce(m.refused, 0) + coalesce(m.cut, 0) + coalesce(m.well_formed = 0, 0))
    + coalesce(m.same_language = 0, 0)
"""


@dataclass(frozen=True, slots=True)
class WeekRow:
    """A week's run, `made` when its answers were drawn, with what people and judges have said there."""

    start: float
    variant: str
    purpose: str
    run_id: int
    made: float
    n: int  # answers
    labelled: int  # of them by people
    up: int  # thumbs of people in the run
    down: int
    graded: int  # by judges


def weeks(connection: sqlite3.Connection) -> list[WeekRow]:
    """All weekly runs that are not deleted, by week, variant and purpose."""
    return select(
        connection,
        WeekRow,
        f"""
        SELECT w.start, w.variant, w.purpose, w.run_id, r.created AS made, w.n,
          (SELECT count(DISTINCT n.example_id) FROM annotation n WHERE {_LABELS}) AS labelled,
          (SELECT count(*) FROM annotation n WHERE {_THUMBS} AND n.value = 'up') AS up,
          (SELECT count(*) FROM annotation n WHERE {_THUMBS} AND n.value = 'down') AS down,
          (SELECT count(DISTINCT g.example_id) FROM rating g JOIN judge j ON j.id = g.judge_id
             JOIN model m ON m.id = g.model_id
             WHERE j.run_id = r.id AND m.role = 'candidate' AND g.score IS NOT NULL) AS graded
        FROM trafficweek w JOIN run r ON r.id = w.run_id WHERE r.deleted IS NULL
        ORDER BY w.start, w.variant, w.purpose
        """,
    )


def traffic_state(connection: sqlite3.Connection) -> tuple[int | None, ...]:
    """Numbers that change when there is other traffic; the first is None where there is none."""
    return tuple(
        connection.execute(
            "SELECT (SELECT max(rowid) FROM trafficevent), (SELECT count(*) FROM trafficfeedback)"
        ).fetchone()
    )


def eval_set(connection: sqlite3.Connection) -> str | None:
    """The eval set to compare questions with: of the newest proposals from traffic, else of the newest run
    whose examples are no events themselves.
    """
    row = connection.execute(
        """
        SELECT coalesce(
          (SELECT eval_set FROM evalproposal WHERE synthetic IS NULL ORDER BY id DESC LIMIT 1),
          (SELECT json_extract(r.data_summary, '$.examples_path') FROM run r WHERE r.deleted IS NULL
             AND json_extract(r.data_summary, '$.examples_path') IS NOT NULL
             AND NOT EXISTS (SELECT 1 FROM runexample c JOIN example x ON x.id = c.example_id
               JOIN trafficevent e ON e.id = x.example WHERE c.run_id = r.id)
             AND r.id NOT IN (SELECT run_id FROM trafficweek)
             ORDER BY r.id DESC LIMIT 1))
        """
    ).fetchone()
    return None if row[0] is None else str(row[0])


def worst(connection: sqlite3.Connection, since: float, before: float, variant: str) -> dict[str, int]:
    """Events of a time that somebody or a rule complains of, with how bad that is.

    Thumbs down weighs most, then a correction, then a refusal, a cut answer or a wrong format.
    """
    found = connection.execute(
        f"""
        SELECT e.id, {_COMPLAINTS} AS weight FROM trafficevent e
        LEFT JOIN trafficmeasures m ON m.event_id = e.id
        WHERE e.time >= ? AND e.time < ? AND coalesce(e.variant, '') = ? AND NOT e.shadow AND weight > 0
        """,
        (since, before, variant),
    )
    return dict(found.fetchall())
