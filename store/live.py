"""What a running run shows: progress, the machine, judging as it goes, errors."""

from store.history import Connection
from store.rows import EventRow, LatestVerdict, ProgressRow, VitalsRow, fetch


def progress(connection: Connection, run_id: int) -> list[ProgressRow]:
    """The phases' pieces of work in the order in which they are done."""
    return fetch(
        connection,
        ProgressRow,
        "SELECT * FROM progress WHERE run_id = ? ORDER BY position, phase, item",
        run_id,
    )


def vitals(connection: Connection, run_id: int) -> list[VitalsRow]:
    return fetch(connection, VitalsRow, "SELECT * FROM vitals WHERE run_id = ? ORDER BY device", run_id)


def events(connection: Connection, run_id: int, *, level: str = "", limit: int = 200) -> list[EventRow]:
    """What happened, newest first; `level` keeps only errors, warnings or infos."""
    return fetch(
        connection,
        EventRow,
        "SELECT * FROM event WHERE run_id = ? AND (?2 = '' OR level = ?2) ORDER BY id DESC LIMIT ?3",
        run_id,
        level,
        limit,
    )


def count_events(connection: Connection, run_id: int) -> dict[str, int]:
    """How many events of each level."""
    rows = connection.execute("SELECT level, count(*) FROM event WHERE run_id = ? GROUP BY level", (run_id,))
    return {str(level): int(count) for level, count in rows}


def latest_verdicts(connection: Connection, run_id: int, *, limit: int = 20) -> list[LatestVerdict]:
    """The newest verdicts, newest first: read off the newest judgments, whose ids grow with time."""
    return fetch(
        connection,
        LatestVerdict,
        """
        SELECT j.name AS judge, a.name AS candidate, b.name AS baseline, e.example, e.query, v.outcome,
          v.consistent
        FROM (SELECT judge_id, candidate_id, baseline_id, example_id, turn, max(id) AS newest FROM
                (SELECT * FROM judgment WHERE judge_id IN (SELECT id FROM judge WHERE run_id = ?1)
                 AND turn = 0
                 ORDER BY id DESC LIMIT ?2 * 4)
              GROUP BY judge_id, candidate_id, baseline_id, example_id, turn) g
        JOIN verdict v USING (judge_id, candidate_id, baseline_id, example_id, turn)
        JOIN judge j ON j.id = v.judge_id JOIN model a ON a.id = v.candidate_id
        JOIN model b ON b.id = v.baseline_id JOIN example e ON e.id = v.example_id
        ORDER BY g.newest DESC LIMIT ?2
        """,
        run_id,
        limit,
    )
