"""The history's list: pages of runs, newest first, narrowed by words such as `tag:release model:llama`.

Runs that a person put away are in no page unless they are asked for by `status:deleted`. Standard library
only, like `store.read.history`.
"""

from store.errors import StoreError
from store.read.history import STATUS, Connection
from store.read.query import select
from store.read.rows import RunRow

Words = tuple[tuple[str, str], ...]
"""What runs must have, each as (kind, value): a kind of `KINDS`, or "text" for what stands anywhere."""

# Each takes its value once, as `:word`; `r` is the run.
_CONDITIONS = {
    "text": "instr(lower(r.name), lower(:word)) OR instr(lower(r.status), lower(:word)) OR EXISTS "
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
KINDS = tuple(kind for kind in _CONDITIONS if kind != "text")
STATUSES = ("queued", "running", "paused", "interrupted", "finished", "failed", "cancelled", "deleted")
_DELETED = ("status", "deleted")


def read_words(text: str) -> Words:
    """Words as a person types them: `tag:release`, or free text, which may hold colons of its own."""
    found: list[tuple[str, str]] = []
    free: list[str] = []
    for part in text.split():
        kind, colon, value = part.partition(":")
        if colon and kind.lower() in KINDS:
            if value:
                found.append((kind.lower(), value))
        else:
            free.append(part)
    return (*found, *([("text", " ".join(free))] if free else []))


def check(words: Words) -> Words:
    """The words, when each can be answered. Raises StoreError for a status that there is not."""
    for kind, value in words:
        if kind == "status" and value.lower() not in STATUSES:
            raise StoreError(f"there is no status {value!r}", f"a run is one of {', '.join(STATUSES)}")
    return words


def where(words: Words) -> tuple[str, dict[str, str]]:
    """An SQL condition on the run `r`, and the values that it names."""
    put_away = any((kind, value.lower()) == _DELETED for kind, value in words)
    parts = [f"r.deleted IS {'NOT ' if put_away else ''}NULL"]
    values = {}
    for place, (kind, value) in enumerate(words):
        if (kind, value.lower()) != _DELETED:
            parts.append(f"({_CONDITIONS[kind].replace(':word', f':word{place}')})")
            values[f"word{place}"] = value
    return " AND ".join(parts), values


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
          (SELECT w.win_rate FROM winrate w JOIN judge j ON j.id = w.judge_id
             WHERE j.run_id = r.id AND w.turn = 0
             ORDER BY w.judge_id, w.candidate_id, w.baseline_id LIMIT 1) AS win_rate,
          (SELECT count(*) FROM alert a WHERE a.run_id = r.id AND a.severity = 'critical'
             AND a.acknowledged IS NULL) AS critical,
          (SELECT count(*) FROM alert a WHERE a.run_id = r.id AND a.severity = 'warning'
             AND a.acknowledged IS NULL) AS warnings,
          json_extract(r.options, '$.imported') AS imported,
          (SELECT group_concat(value, ', ') FROM (SELECT t.value FROM runmark t
             WHERE t.run_id = r.id AND t.kind = 'tag' AND NOT EXISTS (SELECT 1 FROM runmark u
               WHERE u.run_id = r.id AND u.kind = 'untag' AND u.value = t.value AND u.id > t.id)
             GROUP BY t.value ORDER BY min(t.id))) AS tags
        FROM run r
        WHERE r.id < :before AND {condition}
        ORDER BY r.id DESC LIMIT :limit
        """,
        before=before if before is not None else 1 << 62,
        limit=limit,
        **values,
    )


def count(connection: Connection, words: Words = ()) -> int:
    """How many runs there are."""
    condition, values = where(words)
    return int(connection.execute(f"SELECT count(*) FROM run r WHERE {condition}", values).fetchone()[0])
