"""What people say of answers: the writes of the Review screen, and what it reads of them.

Each call is one short transaction that is on disk when it returns; undoing appends, nothing is deleted.
"""

import json
import sqlite3
import string
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from store.errors import StoreError
from store.read.failures import CURRENT, tags
from store.read.history import Connection
from store.read.query import select

_STANDING = "NOT EXISTS (SELECT 1 FROM annotation u WHERE u.undoes = n.id)"
KINDS = ("preference", "thumbs", "rating", "tag", "note", "correction", "flag")


@dataclass(frozen=True, slots=True)
class TakenBack:
    """A decision that does not stand any more."""

    example_id: int
    example: str
    kind: str
    value: str
    criterion: str | None
    left_id: int
    right_id: int | None
    blind: bool
    control: bool
    answers: int  # that it was about: a tag may have been set on several in one step


def annotate(
    connection: sqlite3.Connection,
    run_id: int,
    example_id: int,
    kind: str,
    value: str,
    *,
    left_id: int,
    right_id: int | None = None,
    annotator: str,
    criterion: str | None = None,
    queue: str | None = None,
    blind: bool = False,
    control: bool = False,
    seconds: float | None = None,
    turn: int = 0,
    created: float | None = None,
) -> int:
    """Records one decision about what stood on the left and on the right; returns its id.

    Thumbs, ratings and corrections are of one answer, the left one, and have no right. `seconds` is how long
    the person looked; `control` marks a repeat that measures the person's consistency.
    """
    cursor = connection.execute(
        "INSERT INTO annotation (run_id, example_id, left_id, right_id, kind, value, annotator, criterion, "
        "queue, blind, control, seconds, turn, created) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(run_id, example_id, left_id, right_id, kind, _storable(value), annotator, criterion),
            *(queue, blind, control, seconds, turn, time.time() if created is None else created),
        ),
    )
    assert cursor.lastrowid is not None
    return cursor.lastrowid


def _storable(text: str) -> str:
    """The text with half characters, which have no UTF-8, as replacement characters."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def undo(connection: sqlite3.Connection, run_id: int, annotator: str) -> int | None:
    """Takes back this person's newest decision on the run; returns its example, None when there is none."""
    taken = take_back(connection, run_id, annotator)
    return None if taken is None else taken.example_id


def take_back(
    connection: sqlite3.Connection, run_id: int, annotator: str, annotation_id: int | None = None
) -> TakenBack | None:
    """Takes back one of this person's decisions on the run, else the newest; None when there is none.

    Tags that were set in one step (`tag_all`) are the newest together.
    """
    row = connection.execute(
        "SELECT n.id FROM annotation n WHERE n.run_id = ? AND n.annotator = ? AND n.kind <> 'undo' "
        f"AND coalesce(n.id = ?, 1) AND {_STANDING} ORDER BY n.id DESC LIMIT 1",
        (run_id, annotator, annotation_id),
    ).fetchone()
    if row is None:
        return None
    undone = connection.execute(
        """
        INSERT INTO annotation (run_id, example_id, kind, value, undoes, annotator, blind, control, created)
        SELECT n.run_id, n.example_id, 'undo', '', n.id, n.annotator, n.blind, n.control, ?1
        FROM annotation o JOIN annotation n ON n.id = o.id OR (?3 AND o.kind = 'tag' AND n.kind = 'tag'
          AND n.run_id = o.run_id AND n.annotator = o.annotator AND n.value = o.value
          AND n.created = o.created)
        WHERE o.id = ?2 AND n.id NOT IN (
          SELECT undoes FROM annotation WHERE run_id = ?4 AND undoes NOT NULL) ORDER BY n.id
        """,
        (time.time(), row[0], annotation_id is None, run_id),
    ).rowcount
    (taken,) = select(
        connection,
        TakenBack,
        "SELECT n.*, e.example, ? AS answers FROM annotation n JOIN example e ON e.id = n.example_id "
        "WHERE n.id = ?",
        undone,
        row[0],
    )
    return taken


def leave_off(
    connection: sqlite3.Connection, run_id: int, annotator: str, queue: str, example_id: int
) -> None:
    """Remembers where a person is in a queue."""
    connection.execute(
        "INSERT INTO reviewplace (run_id, annotator, queue, example_id, updated) VALUES (?, ?, ?, ?, ?) "
        "ON CONFLICT (run_id, annotator, queue) DO UPDATE SET example_id = excluded.example_id, "
        "updated = excluded.updated",
        (run_id, annotator, queue, example_id, time.time()),
    )


def left_off(connection: sqlite3.Connection, run_id: int, annotator: str) -> list[tuple[str, int]]:
    """The queues of a run that a person was in, newest first, each with the example it was left at."""
    rows = connection.execute(
        "SELECT queue, example_id FROM reviewplace WHERE run_id = ? AND annotator = ? ORDER BY updated DESC",
        (run_id, annotator),
    )
    return [(str(row[0]), int(row[1])) for row in rows]


def acknowledge(connection: sqlite3.Connection, alert_id: int, person: str, note: str) -> None:
    """Marks an alert as seen; a second acknowledgement replaces the note."""
    connection.execute(
        "UPDATE alert SET acknowledged = ?, acknowledged_by = ?, note = ? WHERE id = ?",
        (time.time(), person, note, alert_id),
    )


def raise_alerts(
    connection: sqlite3.Connection, run_id: int, kind: str, found: Sequence[Mapping[str, Any]]
) -> None:
    """Puts a kind of alert anew, where it depends on what people said since: what no longer holds goes.

    One that was acknowledged stays so while its severity is the same. `found` has severity, candidate,
    baseline, measure, message and evidence.
    """
    about = ("severity", "candidate", "baseline", "measure")
    connection.execute("BEGIN IMMEDIATE")
    with connection:
        kept = connection.execute(
            "SELECT * FROM alert WHERE run_id = ? AND kind = ? AND acknowledged IS NOT NULL", (run_id, kind)
        )
        seen = {tuple(row[name] for name in about): row for row in kept}
        connection.execute("DELETE FROM alert WHERE run_id = ? AND kind = ?", (run_id, kind))
        for alert in found:
            row = seen.get(tuple(alert[name] for name in about))
            connection.execute(
                "INSERT INTO alert (run_id, kind, severity, candidate, baseline, measure, message, evidence, "
                "created, acknowledged, acknowledged_by, note) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(run_id, kind, *(alert[name] for name in about), alert["message"]),
                    *(json.dumps(alert["evidence"]), time.time()),
                    *((row["acknowledged"], row["acknowledged_by"], row["note"]) if row else (None,) * 3),
                ),
            )


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
    with connection:
        found = annotate(connection, **said)
        if place is not None:
            leave_off(connection, said["run_id"], said["annotator"], *place)
    return found


def toggle(connection: sqlite3.Connection, said: Mapping[str, Any]) -> bool:
    """Records a decision, or takes it back where it stands already; returns whether it stands now."""
    row = connection.execute(
        "SELECT n.id FROM annotation n WHERE n.run_id = ? AND n.example_id = ? AND n.annotator = ? "
        "AND n.kind = ? AND n.value = ? AND n.left_id = ? AND NOT n.control "
        f"AND {_STANDING} ORDER BY n.id DESC LIMIT 1",
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


def tag_all(
    connection: sqlite3.Connection, said: Mapping[str, Any], examples: Sequence[int]
) -> tuple[str, int]:
    """Sets a failure tag on one model's answers to several examples, in one step to undo.

    Returns what the tag is called now, and on how many answers it is new: where this person set it already,
    it stays as it is.
    """
    connection.execute("BEGIN IMMEDIATE")
    with connection:
        name = make_tag(connection, said["value"], said["annotator"])
        having = connection.execute(
            "SELECT n.example_id FROM annotation n WHERE n.run_id = ? AND n.annotator = ? AND n.kind = 'tag' "
            "AND n.value = ? AND n.left_id = ? AND NOT n.control "
            "AND n.id NOT IN (SELECT undoes FROM annotation WHERE run_id = ? AND undoes NOT NULL)",
            (said["run_id"], said["annotator"], name, said["left_id"], said["run_id"]),
        )
        known = {row[0] for row in having}
        new, now = [example for example in examples if example not in known], time.time()
        for example in new:
            annotate(connection, **{**said, "kind": "tag", "value": name, "example_id": example}, created=now)
    return name, len(new)


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
        WHERE n.run_id = ?1 AND n.annotator = ?4 AND n.kind = 'preference' AND n.turn = 0
          AND min(n.left_id, n.right_id) = min(?2, ?3) AND max(n.left_id, n.right_id) = max(?2, ?3)
          AND n.id NOT IN (SELECT undoes FROM annotation WHERE run_id = ?1 AND undoes NOT NULL)
        ORDER BY n.id
        """,
        run_id,
        candidate_id,
        baseline_id,
        person,
    )


def make_tag(connection: sqlite3.Connection, name: str, person: str) -> str:
    """Puts a tag on the list, with the first free letter of its name; returns what it is called now.

    A tag that was merged away is called by the one that stands for it.
    """
    connection.execute(
        "INSERT INTO failuretag (name, letter, created_by, created) VALUES (?, ?, ?, ?) "
        "ON CONFLICT (name) DO NOTHING",
        (name, _free_letter(connection, name), person, time.time()),
    )
    row = connection.execute(f"{CURRENT} SELECT now FROM current WHERE name = ?", (name,)).fetchone()
    return str(row[0])


def merge_tags(connection: sqlite3.Connection, name: str, into: str) -> None:
    """Lets one tag stand for another. Raises StoreError when either is unknown or both are the same."""
    known = {row.name for row in tags(connection)}
    for wanted in (name, into):
        if wanted not in known:
            raise StoreError(f"there is no tag {wanted!r}", f"the tags are {', '.join(sorted(known)) or '–'}")
    if name == into:
        raise StoreError(f"the tag {name!r} was to be merged into itself")
    connection.execute("UPDATE failuretag SET merged_into = ?, letter = NULL WHERE name = ?", (into, name))


def _free_letter(connection: sqlite3.Connection, name: str) -> str | None:
    taken = {row[0] for row in connection.execute("SELECT letter FROM failuretag WHERE letter IS NOT NULL")}
    wanted = [*(each for each in name.lower() if each in string.ascii_lowercase), *string.ascii_lowercase]
    return next((letter for letter in wanted if letter not in taken), None)
