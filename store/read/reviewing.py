"""What a person's review of a run needs besides the pairs: decisions with the place, own figures."""

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from store.annotations import annotate, leave_off, left_off, take_back
from store.read.failures import make_tag
from store.read.history import Connection
from store.read.query import select

_TIMINGS = 50


@dataclass(frozen=True, slots=True)
class OwnDecision:
    """One of a person's preferences that stands, with what the judge said of the same example."""

    example_id: int
    outcome: str  # win loss tie both_bad, for the candidate
    side: str | None  # left or right as it was shown; None of a tie and of both bad
    blind: bool
    control: bool
    seconds: float | None
    judged: str | None


def decide(
    connection: sqlite3.Connection, said: Mapping[str, Any], place: tuple[str, int] | None = None
) -> int:
    """Records a decision, `annotate`'s arguments by name, and the place (queue, example) with it."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        found = annotate(connection, **said)
        if place is not None:
            leave_off(connection, said["run_id"], said["annotator"], *place)
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    return found


def toggle(connection: sqlite3.Connection, said: Mapping[str, Any]) -> bool:
    """Records a decision, or takes it back where it stands already; returns whether it stands now."""
    row = connection.execute(
        "SELECT n.id FROM annotation n WHERE n.run_id = ? AND n.example_id = ? AND n.annotator = ? "
        "AND n.kind = ? AND n.value = ? AND n.left_id = ? AND NOT n.control "
        "AND NOT EXISTS (SELECT 1 FROM annotation u WHERE u.undoes = n.id) ORDER BY n.id DESC LIMIT 1",
        [said[name] for name in ("run_id", "example_id", "annotator", "kind", "value", "left_id")],
    ).fetchone()
    if row is not None:
        take_back(connection, said["run_id"], said["annotator"], row[0])
        return False
    annotate(connection, **said)
    return True


def toggle_tag(connection: sqlite3.Connection, said: Mapping[str, Any]) -> tuple[str, bool]:
    """Sets a failure tag or takes it off, and puts it on the list of tags where it is new.

    Returns what it is called now, and whether it is set.
    """
    name = make_tag(connection, said["value"], said["annotator"])
    return name, toggle(connection, {**said, "value": name})


def timings(connection: Connection, run_id: int, person: str) -> list[float]:
    """Seconds that a person looked before each of the newest decisions on a run, newest first."""
    rows = connection.execute(
        "SELECT seconds FROM annotation WHERE run_id = ? AND annotator = ? AND kind = 'preference' "
        "AND seconds NOT NULL ORDER BY id DESC LIMIT ?",
        (run_id, person, _TIMINGS),
    )
    return [float(row[0]) for row in rows]


def left_at(
    connection: Connection, run_id: int, person: str, queue: str | None = None
) -> tuple[str, int] | None:
    """The queue that a person was in last, or this one, with the example; None where there is none."""
    places = left_off(connection, run_id, person)
    return next((place for place in places if queue in (None, place[0])), None)


def criteria(connection: Connection, run_id: int) -> tuple[str, ...]:
    """The criteria of the run's first pointwise judge with a rubric; "overall" without one."""
    row = connection.execute(
        "SELECT json_extract(details, '$.criteria') FROM judge WHERE run_id = ? AND kind = 'pointwise' "
        "AND json_type(details, '$.criteria') = 'object' AND json_extract(details, '$.criteria') <> '{}' "
        "ORDER BY id LIMIT 1",
        (run_id,),
    ).fetchone()
    if row is None:
        return ("overall",)
    names = connection.execute("SELECT key FROM json_each(?)", (row[0],))
    return tuple(str(name[0]) for name in names)


def own_decisions(
    connection: Connection, run_id: int, candidate_id: int, baseline_id: int, person: str
) -> list[OwnDecision]:
    """A person's preferences between two models that stand, oldest first, repeats included."""
    return select(
        connection,
        OwnDecision,
        """
        SELECT n.example_id, n.blind, n.control, n.seconds,
          CASE WHEN n.value IN ('left', 'right') THEN n.value END AS side,
          CASE WHEN n.value IN ('tie', 'both_bad') THEN n.value
               WHEN (n.value = 'left') = (n.left_id = ?2) THEN 'win' ELSE 'loss' END AS outcome,
          v.outcome AS judged
        FROM annotation n
        LEFT JOIN verdict v ON v.candidate_id = ?2 AND v.baseline_id = ?3 AND v.example_id = n.example_id
          AND v.turn = 0
          AND v.judge_id = (SELECT min(id) FROM judge WHERE run_id = ?1 AND kind = 'pairwise')
        WHERE n.run_id = ?1 AND n.annotator = ?4 AND n.kind = 'preference'
          AND min(n.left_id, n.right_id) = min(?2, ?3) AND max(n.left_id, n.right_id) = max(?2, ?3)
          AND n.id NOT IN (SELECT undoes FROM annotation WHERE run_id = ?1 AND undoes NOT NULL)
        ORDER BY n.id
        """,
        run_id,
        candidate_id,
        baseline_id,
        person,
    )
