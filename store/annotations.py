"""What people write: their judgement of pairs, and that they have seen an alert.

Each call is one short transaction that is on disk when it returns.
"""

import sqlite3
import time

KINDS = ("preference", "note", "tag")
PREFERENCES = ("left", "right", "tie", "both_bad")


def annotate(
    connection: sqlite3.Connection,
    run_id: int,
    example_id: int,
    kind: str,
    value: str,
    *,
    left_id: int,
    right_id: int,
    annotator: str,
) -> int:
    """Records one decision about what stood on the left and on the right; returns its id."""
    cursor = connection.execute(
        "INSERT INTO annotation (run_id, example_id, left_id, right_id, kind, value, annotator, created) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (run_id, example_id, left_id, right_id, kind, value, annotator, time.time()),
    )
    assert cursor.lastrowid is not None
    return cursor.lastrowid


def undo(connection: sqlite3.Connection, run_id: int, annotator: str) -> int | None:
    """Takes back this person's newest decision on the run; returns its example, None when there is none."""
    cursor = connection.execute(
        """
        INSERT INTO annotation (run_id, example_id, kind, value, undoes, annotator, created)
        SELECT n.run_id, n.example_id, 'undo', '', n.id, n.annotator, ? FROM annotation n
        WHERE n.run_id = ? AND n.annotator = ? AND n.kind <> 'undo'
          AND NOT EXISTS (SELECT 1 FROM annotation u WHERE u.undoes = n.id)
        ORDER BY n.id DESC LIMIT 1 RETURNING example_id
        """,
        (time.time(), run_id, annotator),
    )
    row = cursor.fetchone()
    return int(row[0]) if row else None


def acknowledge(connection: sqlite3.Connection, alert_id: int, person: str, note: str) -> None:
    """Marks an alert as seen; a second acknowledgement replaces the note."""
    connection.execute(
        "UPDATE alert SET acknowledged = ?, acknowledged_by = ?, note = ? WHERE id = ?",
        (time.time(), person, note, alert_id),
    )


def record_look(
    connection: sqlite3.Connection,
    eval_set: str,
    split: str,
    user: str,
    reason: str,
    run_id: int | None = None,
) -> None:
    """Adds to the test lock's ledger."""
    connection.execute(
        "INSERT INTO splituse (run_id, eval_set, split, user, reason, created) VALUES (?, ?, ?, ?, ?, ?)",
        (run_id, eval_set, split, user, reason, time.time()),
    )
