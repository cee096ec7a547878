"""Runs with all that belongs to them: taken in from another store, written as a store of their own, and
deleted ones removed for good.

A row belongs to its run by one column that names the run, one of its models, or one of its judges.
"""

import hashlib
import json
import shutil
import sqlite3
import tempfile
from collections.abc import Collection, Iterable
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
            # Questions of suites are kept beside the run's own examples, under a version of their own.
            connection.execute(
                "INSERT INTO temp.purged SELECT id, data_summary ->> '$.suites.version' FROM run "
                f"WHERE id IN ({_DELETED}) AND data_summary ->> '$.suites.version' IS NOT NULL"
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
_KNOWN_TOO = f"{_CHOSEN} UNION SELECT id FROM temp.named"
_SAME = "r.plan_hash = o.plan_hash AND r.name = o.name AND r.created = o.created"
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


@dataclass(frozen=True, slots=True)
class Movable:
    """A run as another store would see it, and whether it would take it in."""

    id: int
    name: str
    key: str  # the same in every store that has the run
    status: str
    deleted: bool

    @property
    def unfinished(self) -> bool:
        return self.status in _UNFINISHED


def movable(connection: Connection) -> list[Movable]:
    """All runs of a store, in the order of their ids."""
    rows = connection.execute(
        f"SELECT r.id, r.name, r.plan_hash, r.created, {STATUS}, r.deleted IS NOT NULL FROM run r ORDER BY id"
    )
    return [Movable(row[0], row[1], _key(row[2], row[1], row[3]), row[4], bool(row[5])) for row in rows]


def _key(plan_hash: str, name: str, created: float) -> str:
    """What _SAME compares, as one hash."""
    return hashlib.sha256(json.dumps([plan_hash, name, created]).encode()).hexdigest()


def needed(connection: Connection) -> dict[int, list[int]]:
    """By run: the runs that it was held against, without which it is nothing."""
    return by_key((int(a), int(b)) for a, b in connection.execute(_HELD.format(schema="main")))


def mentioned(connection: Connection) -> dict[int, list[int]]:
    """By run: those whose benchmark scores it reused."""
    rows = connection.execute(
        "SELECT DISTINCT m.run_id, s.reused_from FROM benchmarkscore s JOIN model m ON m.id = s.model_id "
        "WHERE s.reused_from IS NOT NULL"
    )
    return by_key((int(run), int(earlier)) for run, earlier in rows)


_UNFINISHED = ("queued", "running")
_HELD = (
    "SELECT DISTINCT a.run_id AS run, b.run_id AS held FROM {schema}.comparison c "
    "JOIN {schema}.model a ON a.id = c.candidate_id JOIN {schema}.model b ON b.id = c.baseline_id "
    "WHERE a.run_id != b.run_id"
)


def extract(folder: Path, runs: Collection[int], named: Collection[int], into: Path) -> None:
    """Makes a store in the folder `into` of these runs of the store in `folder`: same ids, with their logs.

    Runs in `named` stand there with their models alone, put away, for what refers to them. Production
    traffic stays where it is. The same runs give the same bytes.
    """
    database.prepare(into)
    with closing(database.connect(into)) as connection:
        connection.execute("ATTACH ? AS other", (database.address(folder),))
        connection.execute("BEGIN IMMEDIATE")
        with connection:
            for table, ids in (("chosen", runs), ("named", set(named) - set(runs))):
                connection.execute(
                    f"CREATE TEMP TABLE {table} AS SELECT value AS id FROM json_each(?)",
                    (json.dumps(sorted(ids)),),
                )
            connection.execute(
                f"CREATE TEMP TABLE runs AS SELECT id AS theirs, id AS ours FROM ({_KNOWN_TOO})"
            )
            _take_runs(connection, dict.fromkeys(OWNERS, 0))
            _take_words(connection, "SELECT example FROM main.example")
            _take_weeks(connection)
            connection.execute(
                "UPDATE main.run SET deleted = coalesce(deleted, created) "
                "WHERE id IN (SELECT id FROM temp.named)"
            )
        connection.execute("DETACH other")
        connection.execute("PRAGMA journal_mode=DELETE")
        _take_logs(connection, folder, ((run, run) for run in runs))


def merge(connection: sqlite3.Connection, other: Path) -> Merged:
    """Takes in the runs of the store in the folder `other` that are not here yet; all of them, or none.

    Their logs come along. The other store is only read: a copy is, brought to this schema where it is older.
    Raises StoreError when it is no store, damaged, or of a newer Assay.
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
            return _merged(connection, other)
        except sqlite3.IntegrityError as error:
            raise StoreError(f"the rows of the store in {other} don't fit together: {error}") from error
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
    # They would run with the first row that is written.
    with closing(sqlite3.connect(copy / database.FILE)) as look:
        if look.execute("SELECT 1 FROM sqlite_master WHERE type IN ('trigger', 'view')").fetchone():
            raise StoreError(f"the store in {other} holds triggers or views, which Assay never makes")
    database.prepare(copy)


def _merged(connection: sqlite3.Connection, other: Path) -> Merged:
    connection.execute("BEGIN IMMEDIATE")
    with connection:
        connection.execute(
            f"""
            CREATE TEMP TABLE standing AS SELECT o.id, o.deleted, s.now IN {_UNFINISHED} AS unfinished,
              EXISTS (SELECT 1 FROM main.run r WHERE {_SAME}) AS known
            FROM other.run o JOIN other.chosen_status s ON s.id = o.id
            """
        )
        connection.execute(
            "CREATE TEMP TABLE chosen AS SELECT id FROM temp.standing "
            "WHERE NOT known AND deleted IS NULL AND NOT unfinished"
        )
        connection.execute("CREATE TEMP TABLE named (id INTEGER)")
        # A run that was held against another is nothing without it, also where that was put away since.
        connection.execute(
            f"""
            INSERT INTO temp.chosen WITH RECURSIVE pairs AS MATERIALIZED ({_HELD.format(schema="other")}),
              whole(id) AS (SELECT id FROM temp.chosen UNION SELECT p.held FROM whole
                JOIN pairs p ON p.run = whole.id JOIN temp.standing s ON s.id = p.held AND NOT s.known)
            SELECT id FROM whole EXCEPT SELECT id FROM temp.chosen
            """
        )
        counts = connection.execute(
            "SELECT coalesce(sum(known), 0), coalesce(sum(NOT known AND deleted IS NULL AND unfinished), 0), "
            "coalesce(sum(NOT known AND deleted IS NOT NULL), 0) FROM temp.standing"
        ).fetchone()
        offsets = {table: _offset(connection, table) for table in OWNERS if "id" in _columns(table)}
        connection.execute(
            f"""
            CREATE TEMP TABLE runs AS SELECT id AS theirs, id + {offsets["run"]} AS ours FROM temp.chosen
            UNION SELECT o.id, r.id FROM other.run o JOIN main.run r ON {_SAME}
            """
        )
        _take_runs(connection, offsets)
        _take_words(connection)
        _take_traffic(connection)
        joined = {
            int(theirs): int(ours)
            for theirs, ours in connection.execute(
                "SELECT r.theirs, r.ours FROM temp.standing s JOIN temp.chosen c ON c.id = s.id "
                "JOIN temp.runs r ON r.theirs = s.id WHERE s.deleted IS NULL ORDER BY s.id"
            ).fetchall()
        }
        _take_logs(connection, other, joined.items())
        for table in ("standing", "chosen", "named", "runs", "examples", "models"):
            connection.execute(f"DROP TABLE temp.{table}")
    return Merged(joined, *map(int, counts))


def _take_runs(connection: sqlite3.Connection, offsets: dict[str, int]) -> None:
    """Copies the chosen runs and the names of others, after temp.runs says which of ours each is."""
    _take_examples(connection)
    _match_models(connection, offsets["model"])
    for table in OWNERS:
        if table not in _LEFT:
            _take(connection, table, offsets)


def _take_logs(connection: sqlite3.Connection, other: Path, ids: Iterable[tuple[int, int]]) -> None:
    folder = _folder(connection)
    for theirs, ours in ids:
        source, log = other / "logs" / f"run-{theirs}.log", Path("logs") / f"run-{ours}.log"
        if source.is_file() and not source.is_symlink():
            (folder / "logs").mkdir(mode=0o700, exist_ok=True)
            (folder / log).unlink(missing_ok=True)
            shutil.copyfile(source, folder / log)
            connection.execute("UPDATE main.run SET log = ? WHERE id = ?", (str(log), ours))


def _columns(table: str) -> list[str]:
    return [column.name for column in columns(_RECORDS[table])]


def _listed(table: str, *without: str) -> str:
    return ", ".join(f'"{name}"' for name in _columns(table) if name not in without)


def _offset(connection: sqlite3.Connection, table: str) -> int:
    """How far the ids of the chosen runs' rows have to move up; where they are free here, they stay."""
    highest = connection.execute(f"SELECT coalesce(max(id), 0) FROM main.{table}").fetchone()[0]
    lowest = connection.execute(
        f"SELECT min(id) FROM other.{table} WHERE {belongs(table, _CHOSEN, 'other')}"
    ).fetchone()[0]
    return 0 if lowest is None else max(0, int(highest) + 1 - int(lowest))


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
        SELECT id AS theirs, id + {offset} AS ours FROM other.model WHERE run_id IN ({_KNOWN_TOO})
        UNION SELECT t.id, m.id FROM other.model t JOIN temp.runs r ON r.theirs = t.run_id
        JOIN main.model m ON m.run_id = r.ours AND m.name = t.name
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
    """Copies one table's rows; ids move up by the table's offset, and references with them."""
    values = []
    for column in columns(_RECORDS[table]):
        name, refers, mentions = column.name, column.refers, column.mentions
        parent = table if name == "id" else refers.table if refers else None
        if parent == "example":
            values.append(f"(SELECT ours FROM temp.examples WHERE theirs = t.{name})")
        elif (table, name) == ("comparison", "baseline_id"):  # it may be a reference of another run
            values.append(f"(SELECT ours FROM temp.models WHERE theirs = t.{name})")
        elif mentions and mentions.table == "run":
            values.append(f"(SELECT ours FROM temp.runs WHERE theirs = t.{name})")
        elif mentions:
            there = mentions.table
            here = f"SELECT 1 FROM other.{there} p WHERE p.id = t.{name} AND p.run_id IN ({_CHOSEN})"
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
        f"WHERE {belongs(table, _KNOWN_TOO if table in ('run', 'model') else _CHOSEN, 'other')}"
    )


def _take_words(
    connection: sqlite3.Connection, examples: str = "SELECT example FROM other.exclusion"
) -> None:
    """What people said of these examples and of failures, where it is not said here already.

    The newest word on an example stands, so one that is older than the last one here stays where it is.
    """
    connection.execute(
        f"""
        INSERT INTO main.exclusion (eval_set, example, query_hash, excluded, reason, user, created)
        SELECT eval_set, example, query_hash, excluded, reason, user, created FROM other.exclusion o
        WHERE NOT EXISTS (SELECT 1 FROM main.exclusion m WHERE m.example = o.example
          AND m.query_hash = o.query_hash AND m.created >= o.created) AND o.example IN ({examples})
        ORDER BY o.id
        """
    )
    listed = _listed("failuretag")
    connection.execute(
        f"INSERT OR IGNORE INTO main.failuretag ({listed}) SELECT {listed} FROM other.failuretag"
    )


def _take_traffic(connection: sqlite3.Connection) -> None:
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
    _take_weeks(connection)


def _take_weeks(connection: sqlite3.Connection) -> None:
    listed = _listed("trafficweek", "id", "run_id")
    connection.execute(
        f"INSERT OR IGNORE INTO main.trafficweek ({listed}, run_id) SELECT {listed}, r.ours "
        f"FROM other.trafficweek JOIN temp.runs r ON r.theirs = run_id WHERE run_id IN ({_CHOSEN})"
    )
