"""What is remembered of eval sets: leaks into the training data, versions, and what people took out of them.

A run may have a hundred thousand leaks: they are read as ids in order, and by page. Standard library only,
like `store.read.history`.
"""

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from store.read.history import Connection
from store.read.query import read_words, select
from store.read.rows import ExampleRow, LeakItem, LeakTexts
from store.records import SplitUse

# The gravest first: a question found before an answer alone, then the stricter way of finding it.
_GRAVEST = """
  l.field = 'reference',
  CASE l.tier WHEN 'identical' THEN 0 WHEN 'near' THEN 1 WHEN 'ngram' THEN 2 WHEN 'meaning' THEN 3 ELSE 4 END,
  l.score DESC, l.id
"""
_COLUMNS = {"tier": "l.tier", "field": "l.field", "example": "e.example"}
_ANYWHERE = "l.tier||' '||l.field||' '||e.example||' '||e.query||' '||coalesce(l.train_text, l.excerpt)"
VERSIONS = 20
NAMED = 12  # examples of each kind of change that are named


@dataclass(frozen=True, slots=True)
class LeakCount:
    tier: str
    field: str
    examples: int


@dataclass(frozen=True, slots=True)
class Use:
    """One entry of the test lock's ledger; `training` is a hash of the training data of its run."""

    id: int
    run_id: int | None
    run_name: str | None
    split: str
    user: str
    reason: str
    created: float
    training: str | None


@dataclass(frozen=True, slots=True)
class RunOn:
    """A run that used a version."""

    id: int
    name: str
    created: float


@dataclass(frozen=True, slots=True)
class VersionRow:
    """One version of an eval set: its examples, when runs used it first and last, and how many did."""

    version: str
    examples: int
    first: float
    last: float
    runs: int


@dataclass(frozen=True, slots=True)
class Changes:
    """From one version to the next, by id: how many examples, and the first NAMED of each."""

    added: int
    removed: int
    edited: int
    added_names: tuple[str, ...]
    removed_names: tuple[str, ...]
    edited_names: tuple[str, ...]


def leak_ids(connection: sqlite3.Connection, run_id: int, search: str = "") -> tuple[int, ...]:
    """The leaks of a run, the gravest first.

    Each word of `search` must be found: anywhere in the pair, or with `tier:`, `field:` or `example:` before
    it at the start of that column; with `!` before it, it must not.
    """
    connection.create_function("folded", 1, str.casefold, deterministic=True)
    conditions, values = [], []
    for word in read_words(search, _COLUMNS):
        place = f"instr(folded({_COLUMNS.get(word.field, _ANYWHERE)}), ?)"
        found_there = f"{place} = 1" if word.field else f"{place} > 0"
        conditions.append(f" AND coalesce({found_there}, 0) = {int(not word.is_out)}")
        values.append(word.text.casefold())
    found = connection.execute(
        "SELECT l.id FROM leak l LEFT JOIN example e ON e.id = l.example_id "
        f"WHERE l.run_id = ?{''.join(conditions)} ORDER BY {_GRAVEST}",
        (run_id, *values),
    )
    return tuple(row[0] for row in found)


def leaks(connection: sqlite3.Connection, ids: Sequence[int]) -> list[LeakItem]:
    """These leaks, in no order."""
    return select(
        connection,
        LeakItem,
        "SELECT l.*, e.example, e.query FROM leak l JOIN example e ON e.id = l.example_id "
        "WHERE l.id IN (SELECT value FROM json_each(?))",
        json.dumps(ids),
    )


def leak_texts(connection: sqlite3.Connection, leak_id: int) -> LeakTexts:
    return select(
        connection,
        LeakTexts,
        'SELECT l.*, e.example, e.query, e."references" FROM leak l JOIN example e ON e.id = l.example_id '
        "WHERE l.id = ?",
        leak_id,
    )[0]


def leak_counts(connection: sqlite3.Connection, run_id: int) -> list[LeakCount]:
    """How many examples leaked, by tier and field."""
    return select(
        connection,
        LeakCount,
        "SELECT l.tier, l.field, count(DISTINCT l.example_id) AS examples FROM leak l "
        "WHERE l.run_id = ? GROUP BY l.tier, l.field ORDER BY min(l.id)",
        run_id,
    )


def ledger(connection: sqlite3.Connection, eval_set: str, file_version: str) -> list[Use]:
    """Who looked at or ran on the locked splits of an eval set, the newest first.

    `file_version` is that of the whole file: taking an example out makes a new version, and unlocks nothing.
    """
    return select(
        connection,
        Use,
        "SELECT u.*, r.name AS run_name, json_extract(r.data_summary, '$.train_sha256') AS training "
        "FROM splituse u LEFT JOIN run r ON r.id = u.run_id WHERE u.eval_set IN (?1, ?2) OR u.eval_set IN "
        "(SELECT eval_set FROM run WHERE json_extract(data_summary, '$.file_version') = ?2) "
        "ORDER BY u.id DESC",
        eval_set,
        file_version,
    )


def versions(connection: sqlite3.Connection, eval_set: str) -> list[VersionRow]:
    """The versions of one eval set that runs used, the newest first, at most VERSIONS.

    They are of one file by its name, and have an example in common with this one: many files are called
    eval.jsonl.
    """
    return select(
        connection,
        VersionRow,
        """
        SELECT r.eval_set AS version, min(r.created) AS first, max(r.created) AS last, count(*) AS runs,
          (SELECT count(*) FROM example WHERE eval_set = r.eval_set) AS examples
        FROM run r
        WHERE r.eval_set = ?1 OR r.eval_set_file IN (SELECT eval_set_file FROM run WHERE eval_set = ?1)
        GROUP BY r.eval_set
        HAVING r.eval_set = ?1 OR EXISTS (
          SELECT 1 FROM example a JOIN example b ON b.example = a.example AND b.eval_set = ?1
          WHERE a.eval_set = r.eval_set)
        ORDER BY first DESC, version LIMIT ?2
        """,
        eval_set,
        VERSIONS,
    )


def runs_on(connection: sqlite3.Connection, eval_set: str, limit: int = 5) -> list[RunOn]:
    """The newest runs that used a version."""
    return select(
        connection, RunOn, "SELECT * FROM run WHERE eval_set = ? ORDER BY id DESC LIMIT ?", eval_set, limit
    )


def changes(connection: sqlite3.Connection, before: str, after: str) -> Changes:
    """What was added, removed and edited between two versions; the place in the file does not count."""
    lacking = (
        "SELECT a.example FROM example a WHERE a.eval_set = ? "
        "AND NOT EXISTS (SELECT 1 FROM example b WHERE b.eval_set = ? AND b.example = a.example) "
        "ORDER BY a.position"
    )
    edited = """
        SELECT a.example FROM example a JOIN example b ON b.eval_set = ? AND b.example = a.example
        WHERE a.eval_set = ? AND (a.query, a.messages, a."references", a.label, a.category,
          json_remove(a.extra, '$.line')) IS NOT (b.query, b.messages, b."references", b.label, b.category,
          json_remove(b.extra, '$.line'))
        ORDER BY a.position
    """
    found = [
        [row[0] for row in connection.execute(query, values)]
        for query, values in (
            (lacking, (after, before)),
            (lacking, (before, after)),
            (edited, (before, after)),
        )
    ]
    added, removed, other = (tuple(names[:NAMED]) for names in found)
    return Changes(len(found[0]), len(found[1]), len(found[2]), added, removed, other)


def queries(connection: sqlite3.Connection, eval_set: str, examples: Sequence[str]) -> dict[str, str]:
    """The queries of those of these examples that a version has."""
    found = connection.execute(
        "SELECT example, query FROM example WHERE eval_set = ? "
        "AND example IN (SELECT value FROM json_each(?))",
        (eval_set, json.dumps(examples)),
    )
    return dict(tuple(row) for row in found)


@dataclass(frozen=True, slots=True)
class EvalSetRow:
    """One version: its file's name in the newest run, its size, its runs' ids, uses of its test split."""

    version: str
    file: str | None
    examples: int
    run_ids: str
    first: float
    last: float
    test_uses: int

    @property
    def runs(self) -> list[int]:
        """Its runs, the newest first."""
        return [int(run) for run in self.run_ids.split()]


def eval_sets(connection: Connection) -> list[EvalSetRow]:
    """Every version that a run of this store used, the one used last first."""
    return select(
        connection,
        EvalSetRow,
        """
        SELECT r.eval_set AS version,
          (SELECT eval_set_file FROM run WHERE eval_set = r.eval_set ORDER BY id DESC LIMIT 1) AS file,
          (SELECT count(*) FROM example WHERE eval_set = r.eval_set) AS examples,
          (SELECT group_concat(id, ' ') FROM (SELECT id FROM run
             WHERE eval_set = r.eval_set AND deleted IS NULL ORDER BY id DESC)) AS run_ids,
          min(r.created) AS first, max(r.created) AS last,
          (SELECT count(*) FROM splituse u WHERE u.eval_set = r.eval_set AND u.split = 'test') AS test_uses
        FROM run r WHERE r.eval_set IS NOT NULL AND r.deleted IS NULL
        GROUP BY r.eval_set ORDER BY last DESC, version
        """,
    )


def version_examples(connection: Connection, version: str) -> list[ExampleRow]:
    """All examples of one version, in their file's order."""
    return select(
        connection,
        ExampleRow,
        "SELECT e.*, NULL AS split FROM example e WHERE eval_set = ? ORDER BY position",
        version,
    )


def test_uses(connection: sqlite3.Connection, version: str, file_version: str) -> list[SplitUse]:
    """Who used the test split of an eval set, the earliest first.

    `version` is that of the examples that remain, `file_version` that of the whole file: taking an example
    out makes a new version, and does not unlock the test split.
    """
    return select(
        connection,
        SplitUse,
        "SELECT * FROM splituse WHERE split = 'test' AND (eval_set IN (?1, ?2) OR eval_set IN "
        "(SELECT eval_set FROM run WHERE json_extract(data_summary, '$.file_version') = ?2)) ORDER BY id",
        version,
        file_version,
    )
