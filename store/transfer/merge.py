"""Runs with all that belongs to them: taken in from another store, and deleted ones removed for good.

A row belongs to its run by one column that names the run, one of its models, or one of its judges.
"""

import json
import sqlite3
import tempfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from store import database
from store.errors import StoreError
from store.read.history import STATUS, Connection, attach
from store.read.query import by_key
from store.records import (
    RECORDS,
    EvalProposal,
    Run,
    TrafficAlert,
    TrafficEvent,
    TrafficFeedback,
    TrafficMeasures,
)
from store.records.columns import HERE, columns, table_name

_DELETED = "SELECT id FROM temp.purged"


def deleted(connection: Connection) -> list[int]:
    """The runs that were put away."""
    return [
        int(row[0]) for row in connection.execute("SELECT id FROM run WHERE deleted IS NOT NULL ORDER BY id")
    ]


def held_by(connection: Connection) -> dict[int, list[int]]:
    """The runs that were put away but that others were held against: by which runs that stay."""
    rows = connection.execute(
        """
        SELECT DISTINCT b.run_id, a.run_id FROM comparison c JOIN model a ON a.id = c.candidate_id
        JOIN model b ON b.id = c.baseline_id JOIN run kept ON kept.id = a.run_id AND kept.deleted IS NULL
        JOIN run gone ON gone.id = b.run_id AND gone.deleted IS NOT NULL ORDER BY 1, 2
        """
    )
    return by_key((int(gone), int(kept)) for gone, kept in rows)


def purge(connection: Connection, folder: Path) -> list[int]:
    """Removes every run that was put away, its rows, its log and its lock; returns their ids.

    All of it or nothing, in one transaction. A run that others were held against stays as long as they do.
    Examples of eval sets on which no run is left go, too; the ledger of the test split stays, since a look at
    it cannot be undone.
    """
    # Each row's references would be looked up in tables without an index for that: whole runs go, in order.
    connection.execute("PRAGMA foreign_keys=OFF")
    try:
        connection.execute("BEGIN IMMEDIATE")
        with connection:
            held = held_by(connection)
            gone = [run_id for run_id in deleted(connection) if run_id not in held]
            connection.execute(
                "CREATE TEMP TABLE purged AS SELECT id, eval_set FROM run "
                "WHERE id IN (SELECT value FROM json_each(?))",
                (json.dumps(gone),),
            )
            connection.execute(f"UPDATE splituse SET run_id = NULL WHERE run_id IN ({_DELETED})")
            connection.execute(
                f"UPDATE benchmarkscore SET reused_from = NULL WHERE reused_from IN ({_DELETED})"
            )
            connection.execute(
                "UPDATE alert SET follows = NULL WHERE follows IN "
                f"(SELECT id FROM alert WHERE run_id IN ({_DELETED}))"
            )
            for table in reversed(OWNERS):
                connection.execute(f"DELETE FROM {table} WHERE {belongs(table, _DELETED)}")
            connection.execute(f"DELETE FROM trafficweek WHERE run_id IN ({_DELETED})")
            connection.execute(
                "DELETE FROM example WHERE eval_set IN (SELECT eval_set FROM temp.purged) "
                "AND eval_set NOT IN (SELECT eval_set FROM run WHERE eval_set IS NOT NULL) "
                "AND id NOT IN (SELECT example_id FROM runexample)"
            )
            connection.execute("DROP TABLE temp.purged")
    finally:
        connection.execute("PRAGMA foreign_keys=ON")
    for run_id in gone:
        (folder / "logs" / f"run-{run_id}.log").unlink(missing_ok=True)
        (folder / f"run-{run_id}.lock").unlink(missing_ok=True)
    return gone


def _owners() -> dict[str, tuple[str, str]]:
    found = {table_name(Run): ("id", table_name(Run))}
    for record in RECORDS:
        for column in columns(record):
            if column.refers and column.refers.owned:
                found[table_name(record)] = (column.name, column.refers.table)
    return found


OWNERS = _owners()
"""By table, parents before children: the column that names the owner, and the owner's table.

Examples belong to their eval set, and are not listed.
"""


def belongs(table: str, chosen: str, schema: str = "main") -> str:
    """An SQL condition on the rows of a table that belong to the runs whose ids the query `chosen` gives."""
    column, owner = OWNERS[table]
    if owner == table_name(Run):
        return f"{column} IN ({chosen})"
    return f"{column} IN (SELECT id FROM {schema}.{owner} WHERE run_id IN ({chosen}))"


_CHOSEN = "SELECT id FROM temp.chosen"
# What describes the present of another machine.
_LEFT = frozenset({"vitals"})
_RECORDS = {table_name(record): record for record in RECORDS}


@dataclass(frozen=True, slots=True)
class Merged:
    """What became of the other store's runs: new ids by theirs, and how many were left alone."""

    joined: dict[int, int]
    known: int  # stood here already: same plan, same name, made at the same moment
    unfinished: int  # queued or running there
    deleted: int


def merge(connection: sqlite3.Connection, other: Path) -> Merged:
    """Takes in the runs of the store in the folder `other` that are not here yet; all of them, or none.

    The other store is only read: a copy is, brought to this schema where it is older. Raises StoreError when
    it is no store, damaged, or of a newer Assay.
    """
    if not database.exists(other):
        raise StoreError(f"there is no store in {other}", f"name the folder that holds {database.FILE}")
    if other.resolve() == _folder(connection).resolve():
        raise StoreError("that is this store itself", "name the folder of another store")
    with tempfile.TemporaryDirectory(prefix="assay-import-") as place:
        copy = Path(place) / "store"
        _copied(other, copy)
        with closing(attach(sqlite3.connect(copy / database.FILE))) as there:
            there.execute(f"CREATE TABLE chosen_status AS SELECT r.id, {STATUS} AS now FROM run r")
            there.commit()
        connection.execute("ATTACH ? AS other", (str(copy / database.FILE),))
        try:
            return _merged(connection)
        finally:
            connection.execute("DETACH other")


def _folder(connection: sqlite3.Connection) -> Path:
    return Path(connection.execute("PRAGMA database_list").fetchone()[2]).parent


def _copied(other: Path, copy: Path) -> None:
    database.schema_of(other)
    copy.mkdir(mode=0o700)
    try:
        with (
            closing(database.look(other)) as source,
            closing(sqlite3.connect(copy / database.FILE)) as target,
        ):
            source.backup(target)
    except sqlite3.Error as error:
        raise database.explain(error, other) from error
    database.prepare(copy)


def _merged(connection: sqlite3.Connection) -> Merged:
    connection.execute("BEGIN IMMEDIATE")
    with connection:
        connection.execute(
            """
            CREATE TEMP TABLE standing AS SELECT o.id, o.deleted, s.now, EXISTS (SELECT 1 FROM main.run r
              WHERE r.plan_hash = o.plan_hash AND r.name = o.name AND r.created = o.created) AS known
            FROM other.run o JOIN other.chosen_status s ON s.id = o.id
            """
        )
        connection.execute(
            "CREATE TEMP TABLE chosen AS SELECT id FROM temp.standing WHERE NOT known AND deleted IS NULL "
            "AND now NOT IN ('queued', 'running')"
        )
        # A run that was held against another is nothing without it, also where that was put away since.
        connection.execute(
            """
            INSERT INTO temp.chosen SELECT DISTINCT b.run_id FROM other.comparison c
            JOIN other.model a ON a.id = c.candidate_id AND a.run_id IN (SELECT id FROM temp.chosen)
            JOIN other.model b ON b.id = c.baseline_id AND b.run_id NOT IN (SELECT id FROM temp.chosen)
            JOIN temp.standing s ON s.id = b.run_id AND NOT s.known
            """
        )
        counts = connection.execute(
            "SELECT coalesce(sum(known), 0), coalesce(sum(NOT known AND deleted IS NULL "
            "AND now IN ('queued', 'running')), 0), coalesce(sum(NOT known AND deleted IS NOT NULL), 0) "
            "FROM temp.standing"
        ).fetchone()
        offsets = {table: _highest(connection, table) for table in OWNERS if "id" in _columns(table)}
        _take_examples(connection)
        _match_models(connection, offsets["model"])
        for table in OWNERS:
            if table not in _LEFT:
                _take(connection, table, offsets)
        _take_words(connection)
        _take_traffic(connection, offsets["run"])
        joined = {
            int(row[0]): int(row[0]) + offsets["run"]
            for row in connection.execute(
                "SELECT id FROM temp.standing WHERE deleted IS NULL AND id IN (SELECT id FROM temp.chosen) "
                "ORDER BY id"
            ).fetchall()
        }
        for table in ("standing", "chosen", "examples", "models"):
            connection.execute(f"DROP TABLE temp.{table}")
    return Merged(joined, *map(int, counts))


def _columns(table: str) -> list[str]:
    return [column.name for column in columns(_RECORDS[table])]


def _listed(table: str, *without: str) -> str:
    return ", ".join(f'"{name}"' for name in _columns(table) if name not in without)


def _highest(connection: sqlite3.Connection, table: str) -> int:
    return int(connection.execute(f"SELECT coalesce(max(id), 0) FROM main.{table}").fetchone()[0])


def _take_examples(connection: sqlite3.Connection) -> None:
    """Adds the examples that are not here, and notes which of ours each of theirs is.

    One eval-set version is one content, so an example's id and its version say which it is.
    """
    listed = _listed("example", "id")
    used = f"SELECT example_id FROM other.runexample WHERE run_id IN ({_CHOSEN})"
    for table, owner in _with_examples():
        used += f" UNION SELECT example_id FROM other.{table} WHERE {owner}"
    connection.execute(
        "CREATE TEMP TABLE examples AS "
        f"SELECT id AS theirs, 0 AS ours FROM other.example WHERE id IN ({used})"
    )
    connection.execute(
        f"INSERT OR IGNORE INTO main.example ({listed}) SELECT {listed} FROM other.example "
        "WHERE id IN (SELECT theirs FROM temp.examples) ORDER BY id"
    )
    connection.execute(
        """
        UPDATE temp.examples SET ours = (SELECT m.id FROM other.example o JOIN main.example m
          ON m.eval_set = o.eval_set AND m.example = o.example WHERE o.id = theirs)
        """
    )
    connection.execute("CREATE UNIQUE INDEX temp.examples_theirs ON examples (theirs)")


def _match_models(connection: sqlite3.Connection, offset: int) -> None:
    """Which of our models each of theirs is: one that comes along now, or one of a run that stands here."""
    connection.execute(
        f"""
        CREATE TEMP TABLE models AS
        SELECT id AS theirs, id + {offset} AS ours FROM other.model WHERE run_id IN ({_CHOSEN})
        UNION SELECT t.id, m.id FROM other.model t JOIN other.run o ON o.id = t.run_id
        JOIN main.run r ON r.plan_hash = o.plan_hash AND r.name = o.name AND r.created = o.created
        JOIN main.model m ON m.run_id = r.id AND m.name = t.name
        """
    )
    connection.execute("CREATE INDEX temp.models_theirs ON models (theirs)")


def _with_examples() -> list[tuple[str, str]]:
    return [
        (table, belongs(table, _CHOSEN, "other"))
        for table in OWNERS
        if table != "runexample" and "example_id" in _columns(table)
    ]


def _take(connection: sqlite3.Connection, table: str, offsets: dict[str, int]) -> None:
    """Copies one table's rows; ids move up by the highest that stands here, and references with them."""
    values = []
    for column in columns(_RECORDS[table]):
        name, refers, mentions = column.name, column.refers, column.mentions
        parent = table if name == "id" else refers.table if refers else None
        if parent == "example":
            values.append(f"(SELECT ours FROM temp.examples WHERE theirs = t.{name})")
        elif (table, name) == ("comparison", "baseline_id"):  # it may be a reference of another run
            values.append(f"(SELECT ours FROM temp.models WHERE theirs = t.{name})")
        elif mentions:
            there = mentions.table
            here = f"SELECT 1 FROM other.{there} p WHERE p.id = t.{name} AND {_of_chosen(there)}"
            values.append(f"CASE WHEN EXISTS ({here}) THEN t.{name} + {offsets[there]} END")
        elif HERE in column.hints:
            values.append("NULL")
        elif parent is not None:
            values.append(f't."{name}" + {offsets[parent]}')
        else:
            values.append(f't."{name}"')
    listed = _listed(table)
    connection.execute(
        f"INSERT INTO main.{table} ({listed}) SELECT {', '.join(values)} FROM other.{table} t "
        f"WHERE {belongs(table, _CHOSEN, 'other')}"
    )


def _of_chosen(parent: str) -> str:
    return f"p.{'id' if parent == 'run' else 'run_id'} IN ({_CHOSEN})"


def _take_words(connection: sqlite3.Connection) -> None:
    """What people said of examples and failures, where it is not said here already.

    The newest word on an example stands, so one that is older than the last one here stays where it is.
    """
    connection.execute(
        """
        INSERT INTO main.exclusion (eval_set, example, query_hash, excluded, reason, user, created)
        SELECT eval_set, example, query_hash, excluded, reason, user, created FROM other.exclusion o
        WHERE NOT EXISTS (SELECT 1 FROM main.exclusion m WHERE m.example = o.example
          AND m.query_hash = o.query_hash AND m.created >= o.created)
        ORDER BY o.id
        """
    )
    listed = _listed("failuretag")
    connection.execute(
        f"INSERT OR IGNORE INTO main.failuretag ({listed}) SELECT {listed} FROM other.failuretag"
    )


def _take_traffic(connection: sqlite3.Connection, offset: int) -> None:
    """Production traffic that is not here, with what was made of it; what stands here stays as it is.

    The same event has the same id in every store where its log has ids. Users and sessions were hashed with
    the other store's secret: who is known by two hashes then counts twice.
    """
    for record in (TrafficEvent, TrafficFeedback, TrafficMeasures, TrafficAlert, EvalProposal):
        table = table_name(record)
        listed = _listed(table, *(() if record in (TrafficEvent, TrafficFeedback) else ("id",)))
        connection.execute(
            f"INSERT OR IGNORE INTO main.{table} ({listed}) SELECT {listed} FROM other.{table}"
        )
    listed = _listed("trafficweek", "id", "run_id")
    connection.execute(
        f"INSERT OR IGNORE INTO main.trafficweek ({listed}, run_id) SELECT {listed}, run_id + {offset} "
        f"FROM other.trafficweek WHERE run_id IN ({_CHOSEN})"
    )
