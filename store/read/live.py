"""What a running run shows: progress, the machine, judging as it goes, errors."""

from dataclasses import dataclass
from typing import Any

from store.read.history import STATUS, Connection
from store.read.query import ANSWERS, select
from store.read.rows import LatestVerdict
from store.read.runs import PLACE
from store.records import Event, Progress, Vitals

NEWEST = 2_000  # answers of the store, among which a model's latest is looked for


@dataclass(frozen=True, slots=True)
class OtherRun:
    """Another run that is under way or waits for a worker, and how far each of its pieces of work is."""

    id: int
    name: str
    status: str
    phase: str | None
    progress: tuple[Progress, ...]
    place: int | None = None  # in the queue


@dataclass(frozen=True, slots=True)
class LatestAnswer:
    """The newest answer of one model of a run: its beginning, and how long it is."""

    model: str
    example: str
    query: str
    text: str
    characters: int


@dataclass(frozen=True, slots=True)
class FailedRow:
    """One call of a judge, or one answer of a model, that came to nothing."""

    kind: str  # judgment rating answer
    who: str  # the judge, or the model
    about: str  # what the judge looked at; "" for an answer
    example: str
    query: str
    reason: str
    raw: str  # what came back, as far as anything did


@dataclass(frozen=True, slots=True)
class MissingRow:
    """How many answers of one model are missing for one reason."""

    model: str
    reason: str
    answers: int


@dataclass(frozen=True, slots=True)
class CheckpointRow:
    """A checkpoint of a training that a run follows: whether it passed, or why it has no values."""

    id: int
    name: str
    folder: str
    step: int
    evaluated: float | None  # when
    failed: str | None
    passed: bool | None


def checkpoints(connection: Connection, run_id: int, *, limit: int = 6) -> list[CheckpointRow]:
    """Those of the last steps, newest first; none for a run that follows no training."""
    return select(
        connection,
        CheckpointRow,
        """
        SELECT m.id, m.name, m.passed, json_extract(m.details, '$.checkpoint.step') AS step,
          json_extract(m.details, '$.checkpoint.folder') AS folder,
          json_extract(m.details, '$.checkpoint.evaluated') AS evaluated,
          json_extract(m.details, '$.checkpoint.failed') AS failed
        FROM model m JOIN run r ON r.id = m.run_id
        WHERE r.id = ? AND json_extract(r.options, '$.follow') IS NOT NULL AND step IS NOT NULL
        ORDER BY step DESC LIMIT ?
        """,
        run_id,
        limit,
    )


def headlines(connection: Connection, model_id: int, *, limit: int = 4) -> list[tuple[str, float | None]]:
    """A checkpoint's values: the validation loss, the perplexities of corpora, then the plan's metrics."""
    rows = connection.execute(
        """
        SELECT s.measure, s.value FROM modelscore s JOIN model m ON m.id = s.model_id
        JOIN metric d ON d.run_id = m.run_id AND d.measure = s.measure
        WHERE m.id = ? AND d.direction <> 'none'
        ORDER BY s.measure NOT LIKE 'eval_loss:%', s.measure NOT LIKE 'perplexity:%', d.position LIMIT ?
        """,
        (model_id, limit),
    )
    return [(str(measure), value) for measure, value in rows]


def progress(connection: Connection, run_id: int) -> list[Progress]:
    """The phases' pieces of work in the order in which they are done."""
    return select(
        connection,
        Progress,
        "SELECT * FROM progress WHERE run_id = ? ORDER BY position, phase, item",
        run_id,
    )


def vitals(connection: Connection, run_id: int) -> list[Vitals]:
    return select(connection, Vitals, "SELECT * FROM vitals WHERE run_id = ? ORDER BY device", run_id)


def events(connection: Connection, run_id: int, *, level: str = "", limit: int = 200) -> list[Event]:
    """What happened, newest first; `level` keeps only errors, warnings or infos."""
    return select(
        connection,
        Event,
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
    return select(
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


def latest_answers(connection: Connection, run_id: int) -> list[LatestAnswer]:
    """The newest answer of each model that writes now, the latest first.

    Only the store's newest answers are looked at: a model without one among them has been done for long.
    """
    return select(
        connection,
        LatestAnswer,
        """
        SELECT m.name AS model, e.example, substr(e.query, 1, 500) AS query,
          substr(r.text, 1, 2000) AS text, length(r.text) AS characters, max(r.id) AS newest
        FROM (SELECT id, model_id, example_id, text FROM response ORDER BY id DESC LIMIT ?2) r
        JOIN model m ON m.id = r.model_id AND m.run_id = ?1 JOIN example e ON e.id = r.example_id
        WHERE r.text IS NOT NULL GROUP BY m.id ORDER BY newest DESC
        """,
        run_id,
        NEWEST,
    )


def earlier_paces(connection: Connection, run_id: int) -> dict[str, float]:
    """Units a second by phase, of the newest finished run of the same name before this one."""
    rows = connection.execute(
        """
        SELECT phase, sum(done - resumed_from) / sum(seconds) FROM progress
        WHERE run_id = (SELECT max(o.id) FROM run o JOIN run r ON r.id = ? AND o.name = r.name AND o.id < r.id
                        WHERE o.status = 'finished' AND o.deleted IS NULL)
        GROUP BY phase HAVING sum(done - resumed_from) > 0 AND sum(seconds) > 0
        """,
        (run_id,),
    )
    return {str(phase): float(pace) for phase, pace in rows}


def others(connection: Connection, run_id: int) -> list[OtherRun]:
    """The other runs that are under way or queued, oldest first; one whose worker has died is neither."""
    rows = connection.execute(
        f"SELECT r.id, r.name, {STATUS} AS status, r.phase, {PLACE} AS place FROM run r "
        "WHERE r.deleted IS NULL AND r.status IN ('running', 'queued') AND r.id <> ? ORDER BY r.id",
        (run_id,),
    ).fetchall()
    return [
        OtherRun(
            *(row["id"], row["name"], row["status"], row["phase"]),
            *(tuple(progress(connection, row["id"])), row["place"]),
        )
        for row in rows
        if row["status"] != "interrupted"
    ]


def missing_answers(connection: Connection, run_id: int) -> list[MissingRow]:
    """Why answers are missing, the most frequent reason of each model first."""
    return select(
        connection,
        MissingRow,
        "SELECT m.name AS model, coalesce(a.reason, 'no reason was recorded') AS reason, "
        f"count(*) AS answers FROM model m JOIN {ANSWERS} a ON a.model_id = m.id "
        "WHERE m.run_id = ? AND a.text IS NULL GROUP BY m.id, a.reason ORDER BY m.position, answers DESC",
        run_id,
    )


def failed(connection: Connection, run_id: int, *, limit: int = 2_000) -> list[FailedRow]:
    """Everything that came to nothing: the answers in the models' order, then judges' calls, newest first."""
    return select(
        connection,
        FailedRow,
        f"""
        SELECT * FROM (
          SELECT 'answer' AS kind, m.name AS who, '' AS about, e.example, substr(e.query, 1, 2000) AS query,
            coalesce(a.reason, 'no reason was recorded') AS reason, '' AS raw
          FROM model m JOIN {ANSWERS} a ON a.model_id = m.id AND a.text IS NULL
          JOIN example e ON e.id = a.example_id WHERE m.run_id = ?1 ORDER BY m.position, e.position LIMIT ?2)
        UNION ALL SELECT * FROM (
          SELECT 'judgment', j.name, a.name || ' against ' || b.name || ', ' || replace(g."order", '_', ' '),
            e.example, substr(e.query, 1, 2000), g.failure, g.raw
          FROM judge j JOIN judgment g ON g.judge_id = j.id AND g.failure IS NOT NULL
          JOIN model a ON a.id = g.candidate_id JOIN model b ON b.id = g.baseline_id
          JOIN example e ON e.id = g.example_id WHERE j.run_id = ?1 ORDER BY g.id DESC LIMIT ?2)
        UNION ALL SELECT * FROM (
          SELECT 'rating', j.name, m.name, e.example, substr(e.query, 1, 2000), g.failure, g.raw
          FROM judge j JOIN rating g ON g.judge_id = j.id AND g.failure IS NOT NULL
          JOIN model m ON m.id = g.model_id JOIN example e ON e.id = g.example_id
          WHERE j.run_id = ?1 ORDER BY g.id DESC LIMIT ?2)
        """,
        run_id,
        limit,
    )


@dataclass(frozen=True, slots=True)
class SpeedRow:
    """One model's answers in one run: how many were made anew, in how many seconds, and on what."""

    run_id: int
    answers: int
    seconds: float
    details: dict[str, Any] | None
    environment: dict[str, Any] | None


STARTING = " is starting for "  # in a run's word on what it waits for, where nobody can hurry it


def speeds(connection: Connection, *, limit: int = 500) -> list[SpeedRow]:
    """The newest first; models whose answers were all remembered are left out."""
    return select(
        connection,
        SpeedRow,
        """
        SELECT p.run_id, p.done - p.resumed_from AS answers, p.seconds, m.details, r.environment
        FROM progress p JOIN model m ON m.run_id = p.run_id AND m.name = p.item JOIN run r ON r.id = p.run_id
        WHERE p.phase = 'generate' AND p.done > p.resumed_from AND p.seconds > 0
        ORDER BY p.run_id DESC LIMIT ?
        """,
        limit,
    )


def judge_speeds(connection: Connection, *, limit: int = 500) -> list[SpeedRow]:
    """As `speeds`, of judges: `answers` are their judgments, and ratings, each of `repeat` calls."""
    return select(
        connection,
        SpeedRow,
        """
        SELECT p.run_id, sum(p.done - p.resumed_from) AS answers, sum(p.seconds) AS seconds, j.details,
          r.environment
        FROM progress p JOIN run r ON r.id = p.run_id
        JOIN judge j ON j.run_id = p.run_id AND instr(p.item, j.name || ' · ') = 1
        WHERE p.phase = 'judge' AND p.done > p.resumed_from AND p.seconds > 0
        GROUP BY j.id ORDER BY p.run_id DESC LIMIT ?
        """,
        limit,
    )
