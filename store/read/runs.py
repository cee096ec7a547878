"""Runs among others: pages of the history, earlier runs, the best of them, and a plan's folds.

Runs that a person put away are in no page unless they are asked for by `status:deleted`. Standard library
only, like `store.read.history`.
"""

from dataclasses import dataclass

from store.errors import StoreError
from store.read import query
from store.read.history import STATUS, Connection
from store.read.query import LARGEST, Word, select
from store.read.rows import AlertRow, RunRow
from store.records import Run, StoredBenchmarkSample
from store.records.judging import WITHOUT_SYNTHETIC


@dataclass(frozen=True, slots=True)
class EarlierRow:
    identity: str
    model_id: int  # the newest that has the result
    run_id: int


def earlier(connection: Connection, fingerprint: str, model_id: int) -> dict[str, EarlierRow]:
    """Results of other models with these very weights, by identity."""
    rows = select(
        connection,
        EarlierRow,
        """
        SELECT s.identity, MAX(m.id) AS model_id, m.run_id FROM model m
        JOIN benchmarkscore s ON s.model_id = m.id JOIN run r ON r.id = m.run_id
        WHERE m.fingerprint = ? AND m.id != ? AND s.identity IS NOT NULL AND r.deleted IS NULL
        GROUP BY s.identity
        """,
        fingerprint,
        model_id,
    )
    return {row.identity: row for row in rows}


def samples(connection: Connection, model_id: int) -> list[StoredBenchmarkSample]:
    """Every benchmark sample of one model, task by task, in the order of the documents."""
    return select(
        connection,
        StoredBenchmarkSample,
        "SELECT * FROM benchmarksample WHERE model_id = ? ORDER BY task, filter, doc_id, metric",
        model_id,
    )


Words = tuple[Word, ...]
"""What runs must have or must not, each of a field of `FIELDS`, or anywhere."""

# Each takes its value once, as `:word`; `r` is the run.
_CONDITIONS = {
    "": "instr(lower(r.name), lower(:word)) OR instr(lower(r.status), lower(:word)) OR EXISTS "
    "(SELECT 1 FROM model m WHERE m.run_id = r.id AND instr(lower(m.name), lower(:word)))",
    "name": "lower(r.name) = lower(:word)",
    "status": f"({STATUS}) = lower(:word)",
    "eval": "r.eval_set LIKE :word || '%' OR instr(lower(coalesce(r.eval_set_file, '')), lower(:word))",
    "judge": "EXISTS (SELECT 1 FROM judge j WHERE j.run_id = r.id AND (instr(lower(j.name), lower(:word)) "
    "OR instr(lower(json_extract(j.details, '$.model')), lower(:word))))",
    "model": "EXISTS (SELECT 1 FROM model m WHERE m.run_id = r.id AND (instr(lower(m.name), lower(:word)) "
    "OR instr(lower(json_extract(m.details, '$.path')), lower(:word)) "
    "OR instr(lower(json_extract(m.details, '$.architecture')), lower(:word)) "
    "OR instr(lower(json_extract(m.details, '$.model')), lower(:word))))",
    "tag": "EXISTS (SELECT 1 FROM runmark t WHERE t.run_id = r.id AND t.kind = 'tag' "
    "AND lower(t.value) = lower(:word) AND NOT EXISTS (SELECT 1 FROM runmark u WHERE u.run_id = r.id "
    "AND u.kind = 'untag' AND u.value = t.value AND u.id > t.id))",
    "config": "r.plan_hash LIKE :word || '%' OR EXISTS (SELECT 1 FROM "
    "json_each(r.environment, '$.training_configs') c WHERE c.value LIKE :word || '%')",
}
FIELDS = tuple(field for field in _CONDITIONS if field)
STATUSES = ("queued", "running", "paused", "interrupted", "finished", "failed", "cancelled", "deleted")
_DELETED = Word("status", "deleted")


def read_words(text: str) -> Words:
    """Words as a person types them: `tag:release`, `!status:failed`, or free text with colons of its own."""
    return query.read_words(text, FIELDS)


def check(words: Words) -> Words:
    """The words, when each can be answered. Raises StoreError for a status that there is not."""
    for word in words:
        if word.field == "status" and word.text.lower() not in STATUSES:
            raise StoreError(f"there is no status {word.text!r}", f"a run is one of {', '.join(STATUSES)}")
    return words


def where(words: Words) -> tuple[str, dict[str, str]]:
    """An SQL condition on the run `r`, and the values that it names."""
    put_away = any(word._replace(text=word.text.lower()) == _DELETED for word in words)
    parts = [f"r.deleted IS {'NOT ' if put_away else ''}NULL"]
    values = {}
    for place, word in enumerate(words):
        if (word.field, word.text.lower()) != _DELETED[:2]:
            condition = _CONDITIONS[word.field].replace(":word", f":word{place}")
            parts.append(f"coalesce({condition}, 0) = 0" if word.is_out else f"({condition})")
            values[f"word{place}"] = word.text
    return " AND ".join(parts), values


_WAITS = "{0}.status = 'queued' AND {0}.priority IS NOT NULL AND {0}.deleted IS NULL"
PLACE = f"""CASE WHEN {_WAITS.format("r")} THEN 1 + (SELECT count(*) FROM run q WHERE {_WAITS.format("q")}
    AND (-q.priority, q.joined, q.id) < (-r.priority, r.joined, r.id)) END"""


def place(connection: Connection, run_id: int) -> int | None:
    """The place of a run in the store's queue, from 1; None for one that does not wait there."""
    row = connection.execute(f"SELECT {PLACE} FROM run r WHERE r.id = ?", (run_id,)).fetchone()
    return None if row is None else row[0]


def waiting(connection: Connection) -> list[Run]:
    """The runs that wait in the store's queue, the next one first."""
    order = "ORDER BY r.priority DESC, r.joined, r.id"
    return select(connection, Run, f"SELECT r.* FROM run r WHERE {_WAITS.format('r')} {order}")


def started(connection: Connection, *, queued: bool = True) -> list[Run]:
    """The runs that a worker has, or had when it died ("interrupted"); `queued`: only those of the queue."""
    return select(
        connection,
        Run,
        f"SELECT {STATUS} AS status, r.* FROM run r WHERE r.status = 'running' AND r.deleted IS NULL "
        "AND (r.priority IS NOT NULL OR NOT ?) ORDER BY r.id",
        queued,
    )


# A win rate by a run's first judge, against its first baseline.
_FIRST_JUDGED = """w.turn = 0 AND (w.judge_id, w.baseline_id) = (
  SELECT w.judge_id, w.baseline_id FROM winrate w JOIN judge j ON j.id = w.judge_id
  JOIN model b ON b.id = w.baseline_id
  WHERE j.run_id = r.id AND w.turn = 0 AND b.role = 'baseline'
    AND json_extract(j.details, '$.part_of') IS NULL
  ORDER BY j.id, b.position LIMIT 1)"""


def page(
    connection: Connection, *, limit: int = 100, before: int | None = None, words: Words = ()
) -> list[RunRow]:
    """A page of the history, newest first; `before` is the last id of the page above."""
    condition, values = where(words)
    return select(
        connection,
        RunRow,
        f"""
        SELECT r.id, r.name, {STATUS} AS status, r.created, r.started, r.finished, r.passed, r.eval_set,
          r.request, r.phase, r.error, r.plan_hash,
          (SELECT group_concat(name, ', ') FROM (SELECT name FROM model
             WHERE run_id = r.id AND role = 'candidate'
               AND coalesce(json_extract(details, '$.sweep.kept'), 1) ORDER BY position)) AS candidates,
          (SELECT max(w.win_rate) FROM winrate w WHERE {_FIRST_JUDGED}) AS win_rate,
          CASE WHEN json_extract(r.data_summary, '$.synthetic') THEN (
            SELECT o.value FROM winrate w JOIN model c ON c.id = w.candidate_id
            JOIN model b ON b.id = w.baseline_id
            LEFT JOIN audit o ON o.judge_id = w.judge_id AND o.measure = '{WITHOUT_SYNTHETIC}'
              AND o.subject = c.name || ' against ' || b.name
            WHERE {_FIRST_JUDGED} ORDER BY w.win_rate DESC LIMIT 1) END AS win_rate_without_synthetic,
          (SELECT count(*) FROM alert a WHERE a.run_id = r.id AND a.severity = 'critical'
             AND a.acknowledged IS NULL) AS critical,
          (SELECT count(*) FROM alert a WHERE a.run_id = r.id AND a.severity = 'warning'
             AND a.acknowledged IS NULL) AS warnings,
          json_extract(r.options, '$.imported') AS imported, {PLACE} AS place,
          (SELECT group_concat(value, ', ') FROM (SELECT t.value FROM runmark t
             WHERE t.run_id = r.id AND t.kind = 'tag' AND NOT EXISTS (SELECT 1 FROM runmark u
               WHERE u.run_id = r.id AND u.kind = 'untag' AND u.value = t.value AND u.id > t.id)
             GROUP BY t.value ORDER BY min(t.id))) AS tags
        FROM run r
        WHERE r.id < :before AND {condition}
        ORDER BY r.id DESC LIMIT :limit
        """,
        before=before if before is not None else LARGEST,
        limit=min(limit, LARGEST),
        **values,
    )


def count(connection: Connection, words: Words = ()) -> int:
    """How many runs there are."""
    condition, values = where(words)
    return int(connection.execute(f"SELECT count(*) FROM run r WHERE {condition}", values).fetchone()[0])


def previous_run(connection: Connection, run_id: int) -> int | None:
    """The newest finished run of the same name before this one that nobody put away; None without one."""
    row = connection.execute(
        """
        SELECT max(b.id) FROM run r JOIN run b ON b.name = r.name AND b.id < r.id
        WHERE r.id = ? AND b.status = 'finished' AND b.deleted IS NULL
        """,
        (run_id,),
    ).fetchone()
    return None if row[0] is None else int(row[0])


ACCEPTED, BEST = REFERENCES = ("accepted", "best")  # what a run can be held against, beside another run


@dataclass(frozen=True, slots=True)
class Best:
    """The candidate of an earlier run that stands highest on a measure."""

    run_id: int
    candidate: str
    value: float


def best(connection: Connection, run_id: int, measure: str, *, lower: bool = False) -> Best | None:
    """The best candidate that passed in an earlier run of the same name, measured in the same way.

    The same version and settings of the measure, on the same version of the eval set; `lower`: less is
    better. Of equals the newest.
    """
    found = select(
        connection,
        Best,
        f"""
        SELECT r.id AS run_id, m.name AS candidate, s.value FROM run me
        JOIN run r ON r.name = me.name AND r.id < me.id AND r.eval_set = me.eval_set
          AND r.deleted IS NULL
        JOIN metric mine ON mine.run_id = me.id AND mine.measure = ?2
        JOIN metric d ON d.run_id = r.id AND d.measure = ?2 AND d.version = mine.version
          AND d.settings IS mine.settings
        JOIN model m ON m.run_id = r.id AND m.role = 'candidate' AND m.passed
        JOIN modelscore s ON s.model_id = m.id AND s.measure = ?2 AND s.value IS NOT NULL
        WHERE me.id = ?1 ORDER BY s.value {"ASC" if lower else "DESC"}, r.id DESC LIMIT 1
        """,
        run_id,
        measure,
    )
    return found[0] if found else None


def acknowledged(connection: Connection, run_id: int) -> list[AlertRow]:
    """Acknowledged alerts of the earlier runs of the same name, the newest first."""
    return select(
        connection,
        AlertRow,
        """
        SELECT a.*, r.name AS run_name
        FROM run me JOIN run r ON r.name = me.name AND r.id < me.id AND r.deleted IS NULL
        JOIN alert a ON a.run_id = r.id AND a.acknowledged IS NOT NULL
        WHERE me.id = ? ORDER BY a.run_id DESC, a.id DESC
        """,
        run_id,
    )


def fold_runs(connection: Connection, run_id: int) -> dict[int, int]:
    """The newest finished run of each fold, by fold, of the plan and limit that a run has."""
    rows = connection.execute(
        """
        SELECT json_extract(r.options, '$.fold') AS fold, max(r.id)
        FROM run r JOIN run a ON a.id = ?
        WHERE r.plan_hash = a.plan_hash AND r.plan_folder = a.plan_folder AND r.status = 'finished'
          AND json_extract(r.options, '$.limit') IS json_extract(a.options, '$.limit') AND r.deleted IS NULL
        GROUP BY fold HAVING fold IS NOT NULL ORDER BY fold
        """,
        (run_id,),
    )
    return {int(fold): int(found) for fold, found in rows}
