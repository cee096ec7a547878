"""What people say of runs and ask of their workers, the examples they take out, and who works here.

Each call is one short transaction that is on disk when it returns; taking back appends the opposite, so that
who said what and when stays known. Standard library only, like `store.read.history`.

An example is known by its id and a hash of its query, so that an edited question is a new example.
"""

import getpass
import json
import os
import re
import sqlite3
import time
from collections.abc import Mapping, Sequence
from typing import Any

from store.errors import StoreError
from store.read.history import run
from store.read.query import select
from store.read.runs import waiting
from store.records import Exclusion, Run, RunMark


def user_name() -> str:
    """The user's name in the environment or the machine's user database, else the user's number.

    In a container the number often has no entry there, and `getpass.getuser` then fails.
    """
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.getuid()}"


OPPOSITE = {"tag": "untag", "accept": "withdraw", "delete": "restore"}


def mark(connection: sqlite3.Connection, run_id: int, kind: str, value: str, user: str) -> int:
    """Records one word on a run; returns its id. Deleting and restoring also hide and show the run."""
    now = time.time()
    connection.execute("BEGIN IMMEDIATE")
    with connection:
        cursor = connection.execute(
            "INSERT INTO runmark (run_id, kind, value, user, created) VALUES (?, ?, ?, ?, ?)",
            (run_id, kind, value, user, now),
        )
        if kind in ("delete", "restore"):
            deleted = now if kind == "delete" else None
            connection.execute("UPDATE run SET deleted = ? WHERE id = ?", (deleted, run_id))
    assert cursor.lastrowid is not None
    return cursor.lastrowid


def marks(connection: sqlite3.Connection, run_id: int) -> list[RunMark]:
    """Everything that was said of a run, oldest first."""
    return select(connection, RunMark, "SELECT * FROM runmark WHERE run_id = ? ORDER BY id", run_id)


def tags(connection: sqlite3.Connection, run_id: int) -> list[str]:
    """The tags that a run has now, in the order in which they were given."""
    found: dict[str, None] = {}
    for row in marks(connection, run_id):
        if row.kind == "tag":
            found[row.value] = None
        elif row.kind == "untag":
            found.pop(row.value, None)
    return list(found)


def notes(connection: sqlite3.Connection, run_id: int) -> list[RunMark]:
    return [row for row in marks(connection, run_id) if row.kind == "note"]


def tag(connection: sqlite3.Connection, run_id: int, value: str, user: str) -> None:
    """Gives a run a tag, one word, so that `tag:…` finds it; one that it has already changes nothing.

    Raises StoreError for what is no word.
    """
    if not re.fullmatch(r"[^\s,]{1,60}", value):
        raise StoreError(
            f"{value!r} is no tag", "a tag is one word without a comma, of at most 60 characters"
        )
    if value not in tags(connection, run_id):
        mark(connection, run_id, "tag", value, user)


def untag(connection: sqlite3.Connection, run_id: int, value: str, user: str) -> None:
    """Takes a tag off a run. Raises StoreError when the run does not have it."""
    standing = tags(connection, run_id)
    if value not in standing:
        has = f"it has {', '.join(standing)}" if standing else "it has none"
        raise StoreError(f"run {run_id} has no tag {value!r}", has)
    mark(connection, run_id, "untag", value, user)


def delete(connection: sqlite3.Connection, run_id: int, user: str) -> None:
    """Puts a run away: no list shows it, and nothing of it is lost. Raises StoreError for one that runs."""
    detail = run(connection, run_id)
    if detail.status == "running":
        raise StoreError(f"run {run_id} is running: it cannot be deleted", f"`assay cancel {run_id}` ends it")
    if is_deleted(connection, run_id):
        raise StoreError(f"run {run_id} is deleted already", f"`assay restore {run_id}` brings it back")
    mark(connection, run_id, "delete", "", user)


def restore(connection: sqlite3.Connection, run_id: int, user: str) -> None:
    """Brings a run back that was put away. Raises StoreError for one that was not."""
    if not is_deleted(connection, run_id):
        raise StoreError(f"run {run_id} is not deleted", "`assay runs --deleted` lists those that are")
    mark(connection, run_id, "restore", "", user)


def is_deleted(connection: sqlite3.Connection, run_id: int) -> bool:
    """Whether a run was put away."""
    row = connection.execute("SELECT deleted FROM run WHERE id = ?", (run_id,)).fetchone()
    return row is not None and row[0] is not None


def accepted(
    connection: sqlite3.Connection, name: str | None = None, *, before: int | None = None
) -> RunMark | None:
    """The newest acceptance of a run, of that name, that was not withdrawn: the reference for later ones.

    `before` leaves out that run and those after it, so that no run is held against itself.
    """
    found = select(
        connection,
        RunMark,
        """
        SELECT m.* FROM runmark m JOIN run r ON r.id = m.run_id
        WHERE m.kind = 'accept' AND (?1 IS NULL OR r.name = ?1) AND r.deleted IS NULL
          AND (?2 IS NULL OR r.id < ?2)
          AND NOT EXISTS (SELECT 1 FROM runmark w WHERE w.run_id = m.run_id AND w.kind = 'withdraw'
                            AND w.value = m.value AND w.id > m.id)
        ORDER BY m.id DESC LIMIT 1
        """,
        name,
        before,
    )
    return found[0] if found else None


def accepted_of(connection: sqlite3.Connection, run_id: int) -> list[str]:
    """The candidates of a run that are accepted now."""
    found: dict[str, None] = {}
    for row in marks(connection, run_id):
        if row.kind == "accept":
            found[row.value] = None
        elif row.kind == "withdraw":
            found.pop(row.value, None)
    return list(found)


def take_back(connection: sqlite3.Connection, run_id: int, user: str) -> RunMark:
    """Undoes the newest tag, acceptance or deletion of a run that still stands, and returns it.

    Raises StoreError when there is nothing to take back.
    """
    undone: list[str] = []
    for row in reversed(marks(connection, run_id)):
        if row.kind in OPPOSITE.values():
            undone.append(f"{row.kind} {row.value}")
        elif row.kind in OPPOSITE:
            opposite = f"{OPPOSITE[row.kind]} {row.value}"
            if opposite in undone:
                undone.remove(opposite)
                continue
            mark(connection, run_id, OPPOSITE[row.kind], row.value, user)
            return row
    raise StoreError(f"there is nothing to take back on run {run_id}")


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


def excluded(connection: sqlite3.Connection) -> Mapping[tuple[str, str], Exclusion]:
    """The examples that are out now, by id and query hash, each with who took it out and why."""
    rows = select(connection, Exclusion, "SELECT * FROM exclusion ORDER BY id")
    newest = {(row.example, row.query_hash): row for row in rows}
    return {key: row for key, row in newest.items() if row.excluded}


def is_excluded(connection: sqlite3.Connection, example: str, query_hash: str) -> bool:
    """Whether one example is out now."""
    row = connection.execute(
        "SELECT excluded FROM exclusion WHERE example = ? AND query_hash = ? ORDER BY id DESC LIMIT 1",
        (example, query_hash),
    ).fetchone()
    return bool(row and row[0])


def toggle_exclusion(
    connection: sqlite3.Connection, eval_set: str, example: str, query_hash: str, user: str, reason: str
) -> bool:
    """Takes an example out, or puts it back where it is out; returns whether it is out now."""
    out = (example, query_hash) not in excluded(connection)
    exclude(connection, eval_set, example, query_hash, user, reason=reason, excluded=out)
    return out


def put_back(connection: sqlite3.Connection, eval_sets: Sequence[str], user: str) -> str | None:
    """Puts back the example that this person took out last of these versions; None when there is none."""
    out = excluded(connection).values()
    mine = [row for row in out if row.user == user and row.eval_set in eval_sets]
    if not mine:
        return None
    last = max(mine, key=lambda row: row.id)
    exclude(connection, last.eval_set, last.example, last.query_hash, user, excluded=False)
    return last.example


def request(connection: sqlite3.Connection, run_id: int, what: str) -> None:
    """Asks a run's worker to `pause`, to pause when it is done with its phase (`finish_phase`), to `cancel`
    or to `retry` what it waits for; a run that has no worker is cancelled at once. Who asked is recorded.
    """
    detail = run(connection, run_id)
    if detail.status == "running" and (what != "retry" or detail.waiting):
        connection.execute("UPDATE run SET request = ? WHERE id = ?", (what, run_id))
    elif what == "cancel" and detail.status in ("queued", "paused", "interrupted", "failed"):
        cancelled = connection.execute(
            "UPDATE run SET status = 'cancelled', finished = ? WHERE id = ? AND heartbeat IS ?",
            (time.time(), run_id, detail.heartbeat),
        )
        if not cancelled.rowcount:  # a worker has taken it meanwhile
            connection.execute("UPDATE run SET request = ? WHERE id = ?", (what, run_id))
    else:
        wanted = "pause" if what == "finish_phase" else what
        raise StoreError(f"run {run_id} is {detail.status}: there is nothing to {wanted}")
    mark(connection, run_id, "ask", what, user_name())


def asked(connection: sqlite3.Connection, run_id: int) -> RunMark | None:
    """Who asked last to pause or cancel a run; None when nobody did."""
    rows = (row for row in reversed(marks(connection, run_id)) if row.kind == "ask" and row.value != "retry")
    return next(rows, None)


def move(connection: sqlite3.Connection, run_id: int, place: int) -> None:
    """Gives a run that waits in the queue another place there, from 1, with the priority of its neighbour.

    Raises StoreError for a run that does not wait there.
    """
    connection.execute("BEGIN IMMEDIATE")
    with connection:
        order = waiting(connection)
        moved = next((row for row in order if row.id == run_id), None)
        if moved is None:
            raise StoreError(f"run {run_id} does not wait in the queue", "`assay queue` lists those that do")
        order.remove(moved)
        at = min(place - 1, len(order))
        priority = order[min(at, len(order) - 1)].priority if order else moved.priority
        order.insert(at, moved)
        for joined, row in enumerate(order, start=1):  # whoever comes later has a time, which is larger
            given = priority if row is moved else row.priority
            connection.execute(
                "UPDATE run SET joined = ?, priority = ? WHERE id = ?", (joined, given, row.id)
            )


def give_gpu(connection: sqlite3.Connection, run_id: int, gpu: int | None) -> None:
    """Records which GPU the queue gave a run; None: it may use all there are."""
    connection.execute("UPDATE run SET gpu = ? WHERE id = ?", (gpu, run_id))


def wait_again(connection: sqlite3.Connection, run_id: int) -> None:
    """Puts a run of the queue whose worker is dead back to its place there."""
    connection.execute("UPDATE run SET status = 'queued' WHERE id = ? AND status = 'running'", (run_id,))


def fail_start(connection: sqlite3.Connection, run_id: int, reason: str) -> None:
    """Ends a waiting run whose worker could not be started."""
    connection.execute("BEGIN IMMEDIATE")
    with connection:
        failed = connection.execute(
            "UPDATE run SET status = 'failed', error = ? WHERE id = ? AND status = 'queued'", (reason, run_id)
        )
        if failed.rowcount:
            connection.execute(
                "INSERT INTO event (run_id, time, level, phase, message) VALUES (?, ?, 'error', 'run', ?)",
                (run_id, time.time(), reason),
            )


def let_go(connection: sqlite3.Connection, run_id: int) -> None:
    """Counts a run's worker as dead, whose process id stays: a run without one came from another store."""
    connection.execute(
        "UPDATE run SET worker_host = '', heartbeat = 0 WHERE id = ? AND status = 'running'", (run_id,)
    )


def allow_other_hardware(connection: sqlite3.Connection, run_id: int) -> None:
    """Lets a run go on, once, on other hardware than it began on."""
    connection.execute(
        "UPDATE run SET options = json_set(coalesce(options, '{}'), '$.other_hardware', json('true')) "
        "WHERE id = ?",
        (run_id,),
    )


def set_concurrency(connection: sqlite3.Connection, run_id: int, calls: int | None) -> None:
    """How many calls at once a run's worker makes at most from now on; None: as many as the plan says."""
    connection.execute("UPDATE run SET concurrency = ? WHERE id = ?", (calls, run_id))


def set_max_cost(connection: sqlite3.Connection, run_id: int, dollars: float) -> None:
    """Gives a run another cost cap than its plan's, from when it is resumed."""
    connection.execute(
        "UPDATE run SET options = json_set(coalesce(options, '{}'), '$.max_cost', ?) WHERE id = ?",
        (dollars, run_id),
    )


def follower(connection: sqlite3.Connection, pattern: str, plan_hash: str) -> Run | None:
    """The newest run that follows the checkpoints of that pattern by that plan, unless it was cancelled."""
    row = connection.execute(
        "SELECT max(id) FROM run WHERE json_extract(options, '$.follow.pattern') = ? AND plan_hash = ? "
        "AND json_extract(options, '$.rerun_of') IS NULL AND deleted IS NULL AND status <> 'cancelled'",
        (pattern, plan_hash),
    ).fetchone()
    return None if row[0] is None else run(connection, row[0])


def follow_on(
    connection: sqlite3.Connection, run_id: int, asked: Mapping[str, Any], *, again: bool = True
) -> None:
    """Says anew how far a run follows a training; `again`: one that has finished can be started again."""
    connection.execute(
        "UPDATE run SET options = "
        "json_set(options, '$.follow', json_patch(json_extract(options, '$.follow'), ?)), "
        "status = CASE WHEN ? AND status = 'finished' THEN 'queued' ELSE status END WHERE id = ?",
        (json.dumps(asked), again, run_id),
    )
