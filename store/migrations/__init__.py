"""Schema migrations, run by Alembic on the store's own file.

An upgrade is one transaction of SQLite's: whoever has the store open sees all of it or nothing, also when it
is killed. It happens in the file itself, since another process would go on writing to one that was renamed.
"""

import logging
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, create_engine, event
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateIndex, CreateTable, ExecutableDDLElement
from sqlmodel import SQLModel

import store.schema  # noqa: F401  fills the metadata
from store.errors import StoreError
from store.read.history import attach


def create(file: Path, schema: str) -> None:
    """Makes an empty store: built aside and linked into place, so that nobody ever opens half of one.

    Its tables are made from the records; the migrations make the same ones in many times the time.
    """
    with _aside(file) as made:
        with closing(sqlite3.connect(made)) as connection:
            stamp = f"INSERT INTO alembic_version VALUES ('{schema}')"
            connection.executescript(f"BEGIN; {_tables()}; {stamp}; COMMIT")
        with suppress(FileExistsError):  # another process was first: theirs is as good
            os.link(made, file)


@cache
def _tables() -> str:
    tables = SQLModel.metadata.sorted_tables
    indexes = sorted(
        {index for table in tables for index in table.indexes}, key=lambda index: str(index.name)
    )
    made: list[ExecutableDDLElement] = [*map(CreateTable, tables), *map(CreateIndex, indexes)]
    version = "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"
    return ";".join([version, *(str(statement.compile(dialect=sqlite.dialect())) for statement in made)])


def create_earlier(file: Path, schema: str) -> None:
    """Makes an empty store as an earlier version made it."""
    with _transaction(file) as connection:
        _migrate(connection, schema)


def upgrade(file: Path, schema: str, copy: Path) -> None:
    """Brings an older store to this version's schema, after it was copied to `copy`, or beside that.

    Raises StoreError, with nothing changed, while a run of the earlier version is being worked on.
    """
    with _aside(file) as kept:
        linked = None
        try:
            with _transaction(file) as connection:
                if connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar() == schema:
                    return  # another process was first
                _refuse_while_running(file)
                replace(file, kept)
                _migrate(connection, schema)
                wrong = connection.exec_driver_sql("PRAGMA integrity_check(1)").scalar()
                if wrong != "ok":
                    raise sqlite3.DatabaseError(f"malformed after its upgrade: {wrong}")
                linked = _link(kept, copy)
        except BaseException:
            if linked is not None:
                linked.unlink()
            raise


def replace(source: Path, target: Path) -> None:
    """The target's content becomes the source's at once, with what is still in the write-ahead log."""
    with closing(sqlite3.connect(source)) as read, closing(sqlite3.connect(target)) as written:
        read.backup(written)


def _link(made: Path, wanted: Path) -> Path:
    """Gives a finished file the wanted name, or that name with a number: what stands there is kept."""
    for number in count(1):
        name = wanted if number == 1 else wanted.with_name(f"{wanted.name}-{number}")
        with suppress(FileExistsError):
            os.link(made, name)
            return name
    raise AssertionError


def _refuse_while_running(file: Path) -> None:
    """A worker of the earlier version would go on writing rows of its own schema."""
    with closing(attach(sqlite3.connect(file))) as connection:
        running = connection.execute(
            "SELECT id FROM run WHERE status = 'running' AND worker_alive(worker_pid, worker_host, heartbeat)"
        ).fetchall()
    for (run_id,) in running:
        if file.with_name(f"run-{run_id}.lock").exists():  # there is none beside a copy
            raise StoreError(
                f"an earlier Assay is working on run {run_id}, so the store cannot be upgraded now",
                "wait until the run has finished, or pause it with that version",
            )


def _migrate(connection: Connection, revision: str) -> None:
    from alembic import command
    from alembic.config import Config

    logging.getLogger("alembic").setLevel(logging.WARNING)
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


@contextmanager
def _aside(file: Path) -> Iterator[Path]:
    """A file for its owner alone beside the store, gone at the end: what stays has another link."""
    handle, name = tempfile.mkstemp(prefix=f".{file.name}.{os.getpid()}.", dir=file.parent)
    os.close(handle)
    aside = Path(name)
    try:
        yield aside
    finally:
        for leftover in (aside, *aside.parent.glob(f"{aside.name}-*")):
            leftover.unlink(missing_ok=True)


@contextmanager
def _transaction(path: Path) -> Iterator[Connection]:
    """Everything in it, changes of the schema too, is committed at once, before which nobody else writes."""
    engine = create_engine(f"sqlite:///{path}")

    # pysqlite would commit each change of the schema by itself.
    @event.listens_for(engine, "connect")
    def _leave(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA busy_timeout=10000")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    try:
        with engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()
