"""What screens and reports read of runs and their numbers.

Plain sqlite3: these queries stand between a key and the screen, in a process that must not pay for
SQLAlchemy. Every function takes a connection from `store.database.connect`, made ready by `attach`, and
returns the shapes of `store.read.rows`.
"""

import os
import socket
import sqlite3
import time
from dataclasses import fields
from pathlib import Path
from typing import Any

from store.errors import StoreError
from store.read.query import LARGEST, fetch, select
from store.read.rows import (
    AlertRow,
    BenchmarkRow,
    ComparisonRow,
    LeakRow,
    ModelRow,
    ModelScoreRow,
    WinRateRow,
)
from store.records import Run, SplitUse, StoredJudge, StoredMetric, Track

Connection = sqlite3.Connection
STALE_AFTER = 15.0  # seconds without a heartbeat before a worker elsewhere counts as dead
SILENT_AFTER = 20.0  # seconds without one before people are told of a worker here
_CLOCK_STEP = 5.0  # seconds by which the clock may be set forward without a worker counting as another
_BEGAN = 19  # the place of `starttime` in what Linux tells of a process, see proc_pid_stat(5)
ROOM_FOR_WORDS = 512  # bytes of a lock file in which a worker can say why it ends, also on a full disk

_DEAD = "r.status = 'running' AND NOT worker_alive(r.worker_pid, r.worker_host, r.heartbeat)"
STATUS = f"CASE WHEN {_DEAD} THEN 'interrupted' ELSE r.status END"


def attach(connection: Connection) -> Connection:
    """Teaches a connection what the queries here need; call it once after `connect`."""
    (file,) = [row[2] for row in connection.execute("PRAGMA database_list") if row[1] == "main"]
    connection.create_function("worker_alive", 3, worker_alive)
    connection.create_function("last_words", 1, lambda run_id: _last_words(Path(file).parent, run_id))
    return connection


def worker_alive(pid: int | None, host: str | None, heartbeat: float | None) -> bool:
    """Whether a run's worker lives: by its process id on this machine, by its heartbeat on another.

    A process that began after the worker was last heard of has its id since a start of the machine.
    """
    if pid is None or heartbeat is None:
        return False
    if host == socket.gethostname():
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass
        return _state(pid) != "Z" and _began(pid) < heartbeat + _CLOCK_STEP
    return time.time() - heartbeat < STALE_AFTER


def _state(pid: int) -> str:
    """The state of a process as Linux tells it: "T" is stopped, "Z" has ended; "" where nobody tells."""
    return next(iter(_told(pid)), "")


def _began(pid: int) -> float:
    """When a process began, by the clock of now; 0 where nobody tells."""
    try:
        since_boot = int(_told(pid)[_BEGAN]) / os.sysconf("SC_CLK_TCK")
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - since_boot
    except (IndexError, ValueError, OSError, AttributeError):
        return 0.0
    return time.time() - age if age >= 0 else 0.0


def _told(pid: int) -> list[str]:
    """What Linux tells of a process, after its name."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def silence(run: Run) -> str | None:
    """Why a run that counts as running does not move: its worker has told nothing for long. Else None."""
    if run.status != "running" or run.heartbeat is None or run.worker_pid is None:
        return None
    seconds = time.time() - run.heartbeat
    if seconds < SILENT_AFTER:
        return None
    state = _state(run.worker_pid) if run.worker_host == socket.gethostname() else ""
    found = {"T": "is stopped", "t": "is stopped by a debugger", "D": "waits for a disk"}
    return f"no heartbeat for {seconds:.0f} s, process {run.worker_pid} {found.get(state, 'does not answer')}"


def lock_file(folder: Path, run_id: int) -> Path:
    return folder / f"run-{run_id}.lock"


def _last_words(folder: Path, run_id: int) -> str | None:
    """What the run's worker said last where the store could not be written."""
    try:
        return lock_file(folder, run_id).read_text("utf-8", "replace")[:ROOM_FOR_WORDS].strip() or None
    except OSError:
        return None


def run(connection: Connection, run_id: int) -> Run:
    """Raises StoreError when there is no such run."""
    found = select(
        connection,
        Run,
        f"SELECT {STATUS} AS status, CASE WHEN {_DEAD} THEN coalesce(r.error, last_words(r.id)) ELSE r.error "
        "END AS error, r.* FROM run r WHERE r.id = ?",
        min(run_id, LARGEST),
    )
    if not found:
        raise StoreError(f"there is no run {run_id}", "`assay runs` lists them")
    return found[0]


def find_run(connection: Connection, text: str, *, before: int | None = None) -> int:
    """The run that a person means: an id, a run's name (the newest of that name), or "last".

    A run that was put away is found by its id alone. `before`: the id of the run that asks, which can mean
    neither itself nor a later one. Raises StoreError where there is no such run.
    """
    if text.isdecimal():
        found: int | None = run(connection, int(text)).id
        found = found if before is None or int(text) < before else None
    else:
        where, values = ("", []) if text == "last" else ("AND name = ?", [text])
        sql = f"SELECT max(id) FROM run WHERE deleted IS NULL AND id < ? {where}"
        found = connection.execute(sql, [LARGEST if before is None else before, *values]).fetchone()[0]
    if found is None:
        earlier = "" if before is None else f" before run {before}"
        hint = "`assay runs` lists them; give an id, a name, or last"
        raise StoreError(f"there is no run {text!r}{earlier}", hint)
    return found


def models(connection: Connection, run_id: int) -> list[ModelRow]:
    return select(connection, ModelRow, "SELECT * FROM model WHERE run_id = ? ORDER BY position", run_id)


def metrics(connection: Connection, run_id: int) -> list[StoredMetric]:
    return select(connection, StoredMetric, "SELECT * FROM metric WHERE run_id = ? ORDER BY position", run_id)


def judges(connection: Connection, run_id: int) -> list[StoredJudge]:
    return select(connection, StoredJudge, "SELECT * FROM judge WHERE run_id = ? ORDER BY id", run_id)


def model_scores(connection: Connection, run_id: int) -> list[ModelScoreRow]:
    return select(
        connection,
        ModelScoreRow,
        """
        SELECT m.name AS model, s.* FROM modelscore s JOIN model m ON m.id = s.model_id
        LEFT JOIN metric d ON d.run_id = m.run_id AND d.measure = s.measure
        WHERE m.run_id = ? ORDER BY d.position, m.position
        """,
        run_id,
    )


def isolations(connection: Connection, run_id: int) -> dict[str, int]:
    """How many programs of the metric `code` ran under which isolation: their scores' reasons end with it."""
    found: dict[str, int] = {}
    reasons = connection.execute(
        """
        SELECT s.reason, count(*) FROM score s JOIN model m ON m.id = s.model_id
        WHERE m.run_id = ?1 AND s.reason IS NOT NULL AND s.measure = (
          SELECT min(measure) FROM metric WHERE run_id = ?1 AND measure GLOB 'pass_at_*'
        ) GROUP BY s.reason ORDER BY count(*) DESC
        """,
        (run_id,),
    )
    for reason, programs in reasons:
        _, told, isolation = reason.rpartition("isolation: ")
        if told:
            found[isolation] = found.get(isolation, 0) + programs
    return found


def comparisons(connection: Connection, run_id: int) -> list[ComparisonRow]:
    return select(
        connection,
        ComparisonRow,
        """
        SELECT c.*, a.name AS candidate, CASE WHEN b.run_id = a.run_id THEN b.name ELSE
          coalesce(json_extract(r.options, '$.reference.label'), 'run ' || b.run_id) || ': ' || b.name
          END AS baseline
        FROM comparison c JOIN model a ON a.id = c.candidate_id JOIN model b ON b.id = c.baseline_id
        JOIN run r ON r.id = a.run_id
        LEFT JOIN metric d ON d.run_id = a.run_id AND d.measure = c.measure
        WHERE a.run_id = ?
        ORDER BY c.kind DESC, a.position, b.run_id <> a.run_id, b.position, d.position, c.measure
        """,
        run_id,
    )


def win_rates(connection: Connection, run_id: int, *, turns: bool = False) -> list[WinRateRow]:
    """Every judge's win rates over whole answers (turn 0); with `turns` then those turn by turn, too."""
    return select(
        connection,
        WinRateRow,
        """
        SELECT w.*, j.name AS judge, j.is_language_model, a.name AS candidate, b.name AS baseline,
          max(1, count(w.low) FILTER (WHERE json_extract(j.details, '$.part_of') IS NULL)
            OVER (PARTITION BY w.candidate_id, w.turn)) AS looks
        FROM judge j JOIN winrate w ON w.judge_id = j.id AND (w.turn = 0 OR ?2)
        JOIN model a ON a.id = w.candidate_id JOIN model b ON b.id = w.baseline_id
        WHERE j.run_id = ?1 ORDER BY w.turn > 0, j.id, a.position, b.position, w.turn
        """,
        run_id,
        turns,
    )


def benchmarks(connection: Connection, run_id: int) -> list[BenchmarkRow]:
    return select(
        connection,
        BenchmarkRow,
        """
        SELECT s.*, m.name AS model FROM benchmarkscore s JOIN model m ON m.id = s.model_id
        WHERE m.run_id = ? ORDER BY s.task, s.metric, s.filter, m.position
        """,
        run_id,
    )


def alerts(connection: Connection, run_id: int | None = None, *, limit: int = 500) -> list[AlertRow]:
    """A run's alerts, or the newest of all runs: open ones first, then by severity."""
    return select(
        connection,
        AlertRow,
        """
        SELECT a.*, r.name AS run_name FROM alert a JOIN run r ON r.id = a.run_id
        WHERE a.run_id = ?1 OR (?1 IS NULL AND r.deleted IS NULL)
        ORDER BY a.acknowledged IS NOT NULL, CASE a.severity WHEN 'critical' THEN 0 WHEN 'warning' THEN 1
          ELSE 2 END, a.run_id DESC, a.id LIMIT ?2
        """,
        run_id,
        limit,
    )


def leaks(connection: Connection, run_id: int) -> list[LeakRow]:
    return select(
        connection,
        LeakRow,
        """
        SELECT l.*, e.example, e.query FROM leak l JOIN example e ON e.id = l.example_id
        WHERE l.run_id = ? ORDER BY l.score DESC, l.id
        """,
        run_id,
    )


def split_uses(connection: Connection, eval_set: str) -> list[SplitUse]:
    return select(
        connection, SplitUse, "SELECT * FROM splituse WHERE eval_set = ? ORDER BY id DESC", eval_set
    )


def tracks(connection: Connection, run_id: int) -> list[Track]:
    """Where the run stands in each experiment tracker that it is sent to."""
    return fetch(connection, Track, run_id=run_id)


def waiting_tracks(connection: Connection) -> list[Track]:
    """What is still to be sent to a tracker, of runs of this store that were not put away.

    A run that came with another store has no worker's process id; that store sends it.
    """
    return select(
        connection,
        Track,
        "SELECT t.* FROM track t JOIN run r ON r.id = t.run_id "
        "WHERE t.status = 'waiting' AND r.deleted IS NULL AND r.worker_pid IS NOT NULL "
        "ORDER BY t.run_id, t.tracker",
    )


def data_version(connection: Connection) -> int:
    """Changes whenever another process committed something: what a screen polls."""
    return int(connection.execute("PRAGMA data_version").fetchone()[0])


def spending(connection: Connection, run_id: int) -> tuple[float | None, int]:
    """US dollars that the judges' answers of a run have cost, and of how many answers nobody knows the cost.

    An answer that came out of the cache has cost this run nothing; None when no answer has a known cost.
    """
    row = connection.execute(
        """
        WITH paid AS (
          SELECT judge_id, cost, cached, attempts, failure FROM judgment
          UNION ALL SELECT judge_id, cost, cached, attempts, failure FROM rating)
        SELECT sum(CASE WHEN cached THEN 0.0 ELSE cost END),
          coalesce(sum(NOT cached AND cost IS NULL AND failure IS NULL), 0)
        FROM paid JOIN judge j ON j.id = paid.judge_id WHERE j.run_id = ? AND j.is_language_model
        """,
        (run_id,),
    ).fetchone()
    return row[0], int(row[1])


def as_values(row: Any) -> dict[str, Any]:
    """A row as a plain dictionary, for JSON."""
    return {field.name: getattr(row, field.name) for field in fields(row)}
