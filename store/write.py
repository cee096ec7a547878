"""What a run appends, and what it has appended already.

One `Recorder` serves one worker. `append` commits before it returns, so whatever the caller reports
afterwards is on disk; rows that belong together go through one `transaction`. The queries at its end are what
resuming rests on: a step asks what stands here and does the rest.
"""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Delete, Engine, Select, Table, create_engine, event, func, select, update
from sqlalchemy.dialects.sqlite import insert as upsert
from sqlalchemy.exc import DatabaseError, IntegrityError

from store.database import FILE, PRAGMAS, explain, hold, prepare
from store.errors import StoreError
from store.read.history import ROOM_FOR_WORDS, STALE_AFTER, lock_file
from store.read.query import stored
from store.records import Event, Record, Run, StoredModel
from store.records.columns import R, converter, keys, to_json, values_of
from store.schema import table_of


def open_engine(folder: Path) -> Engine:
    """A SQLAlchemy engine on a prepared store, each connection with the store's pragmas."""
    prepare(folder)
    engine = create_engine(f"sqlite:///{folder / FILE}", json_serializer=to_json)

    @event.listens_for(engine, "connect")
    def _set(connection: Any, _record: Any) -> None:
        for pragma in PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")

    return engine


Records = Record | Sequence[Record]


class Transaction:
    """Several writes that become visible, and durable, together."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def append(self, records: Records) -> None:
        """Adds records of one kind; one that stands already is an error, since nothing may be done twice."""
        if found := _listed(records):
            self._connection.execute(_table(found).insert(), [values_of(record) for record in found])

    def put(self, records: Records) -> None:
        """Adds records or overwrites those with the same primary key: for what describes the present."""
        if not (found := _listed(records)):
            return
        rows = [values_of(record) for record in found]
        primary = keys(type(found[0]))
        statement = upsert(_table(found))
        values = {name: statement.excluded[name] for name in rows[0] if name not in primary}
        self._connection.execute(statement.on_conflict_do_update(index_elements=primary, set_=values), rows)

    def ensure(self, records: Records) -> None:
        """Adds the records that do not stand there yet: for what several runs share."""
        if found := _listed(records):
            statement = upsert(_table(found)).on_conflict_do_nothing()
            self._connection.execute(statement, [values_of(record) for record in found])

    def update(self, record: type[Record], key: int, **values: Any) -> None:
        """Changes columns of the row with that id."""
        table = table_of(record)
        self._connection.execute(update(table).where(table.c.id == key).values(**values))

    def clear(self, record: type[Record], **equal: Any) -> None:
        """Takes back derived rows before they are computed anew; never used on what cost work."""
        self._connection.execute(_where(table_of(record).delete(), table_of(record), equal))

    def insert(self, record: Record) -> int:
        """Adds one record and returns its id."""
        statement = table_of(type(record)).insert()
        key = self._connection.execute(statement, values_of(record)).inserted_primary_key
        assert key is not None
        return int(key[0])

    def rows(self, record: type[R], **equal: Any) -> list[R]:
        """All records whose columns equal the given values, in primary-key order."""
        return _rows(self._connection, record, equal)


def _listed(records: Records) -> Sequence[Record]:
    return [records] if isinstance(records, Record) else records


def _table(records: Sequence[Record]) -> Table:
    return table_of(type(records[0]))


class Recorder:
    """Appends to one run. Safe to use from several threads: each write takes a connection of its own."""

    def __init__(self, folder: Path, run_id: int) -> None:
        self.folder = folder
        self.run_id = run_id
        self._engine = open_engine(folder)
        self._lock: int | None = None
        self._spoken = False

    def close(self) -> None:
        self._engine.dispose()
        if self._lock is not None:
            if not self._spoken:
                self._lock_file.unlink(missing_ok=True)
            os.close(self._lock)
            self._lock = None

    @property
    def _lock_file(self) -> Path:
        return lock_file(self.folder, self.run_id)

    def last_words(self, reason: str) -> None:
        """Keeps why the run ends where the store cannot: in the lock file, whose room was taken before."""
        if self._lock is not None:
            words = reason.encode("utf-8", "replace")[:ROOM_FOR_WORDS]
            os.pwrite(self._lock, words.ljust(ROOM_FOR_WORDS), 0)
            self._spoken = True

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Commits at its end; where that fails (disk full, locked) StoreError, with nothing written."""
        with _committed(self._engine, self.folder) as transaction:
            yield transaction

    def append(self, records: Records) -> None:
        with self.transaction() as transaction:
            transaction.append(records)

    def put(self, records: Records) -> None:
        with self.transaction() as transaction:
            transaction.put(records)

    def insert(self, record: Record) -> int:
        with self.transaction() as transaction:
            return transaction.insert(record)

    def set_run(self, **values: Any) -> None:
        """Changes the run's own row: its status, phase, heartbeat, outcome."""
        with self.transaction() as transaction:
            transaction.update(Run, self.run_id, **values)

    def answered(self, request: str) -> None:
        """Takes a request back, unless a person has asked for something else since it was read."""
        table = table_of(Run)
        with _explained(self.folder), self._engine.begin() as connection:
            connection.execute(
                update(table)
                .where(table.c.id == self.run_id, table.c.request == request)
                .values(request=None)
            )

    def set_model(self, model_id: int, **values: Any) -> None:
        with self.transaction() as transaction:
            transaction.update(StoredModel, model_id, **values)

    def clear_model(self, model_id: int) -> bool:
        """Takes a model back with all that it answered; False, with nothing done, where that is referred to:
        by a person's annotation, or a run that was compared with it.
        """
        try:
            with self.transaction() as transaction:
                transaction.clear(StoredModel, id=model_id)
        except IntegrityError:
            return False
        return True

    def claim(self, pid: int, host: str) -> bool:
        """Takes the run for this worker; False while another living worker has it, or when it is over.

        On one machine the lock file decides: the kernel lets go of it when its holder dies, however it dies.
        Between machines the heartbeat does.
        """
        self._lock = hold(self._lock_file)
        if self._lock is None:
            return False
        with suppress(OSError):  # on a full disk
            os.pwrite(self._lock, b" " * ROOM_FOR_WORDS, 0)
        table = table_of(Run)
        now = time.time()
        elsewhere = (
            (table.c.status == "running")
            & (table.c.worker_host != host)
            & (table.c.heartbeat > now - STALE_AFTER)
        )
        with _explained(self.folder), self._engine.begin() as connection:
            taken = connection.execute(
                update(table)
                .where(
                    table.c.id == self.run_id, table.c.status.not_in(("finished", "cancelled")), ~elsewhere
                )
                .values(
                    status="running",
                    worker_pid=pid,
                    worker_host=host,
                    heartbeat=now,
                    request=None,
                    error=None,
                    waiting=None,
                )
            )
        return taken.rowcount == 1

    def event(self, level: str, phase: str, message: str) -> None:
        self.append(Event(run_id=self.run_id, time=time.time(), level=level, phase=phase, message=message))

    def rows(self, record: type[R], **equal: Any) -> list[R]:
        """All records whose columns equal the given values, in primary-key order."""
        with _explained(self.folder), self._engine.connect() as connection:
            return _rows(connection, record, equal)

    def run(self) -> Run:
        found = self.rows(Run, id=self.run_id)
        if not found:
            raise StoreError(f"there is no run {self.run_id} in {self.folder}", "`assay runs` lists them")
        return found[0]

    def total(self, record: type[Record], name: str, **equal: Any) -> float:
        """The sum of one column over the rows whose columns equal the given values; missing ones count 0."""
        table = table_of(record)
        statement = _where(select(func.sum(table.c[name])), table, equal)
        with _explained(self.folder), self._engine.connect() as connection:
            return float(connection.execute(statement).scalar() or 0.0)

    def column(self, record: type[Record], name: str, **equal: Any) -> set[Any]:
        """The distinct values of one column among the rows whose columns equal the given values."""
        table = table_of(record)
        statement = _where(select(table.c[name]).distinct(), table, equal)
        with _explained(self.folder), self._engine.connect() as connection:
            return set(connection.execute(statement).scalars())


def _rows(connection: Connection, record: type[R], equal: Mapping[str, Any]) -> list[R]:
    sql, values = stored(record, equal)
    cursor = connection.exec_driver_sql(sql, tuple(values))
    convert = converter(record, tuple(cursor.keys()))
    return [convert(row) for row in cursor]


S = TypeVar("S", Select[Any], Delete)


def _where(statement: S, table: Table, equal: Mapping[str, Any]) -> S:
    for name, value in equal.items():
        statement = statement.where(table.c[name] == value)
    return statement


@contextmanager
def one_transaction(folder: Path) -> Iterator[Transaction]:
    """Writes that no worker makes, all or none of them; the store is made where there is none."""
    engine = open_engine(folder)
    try:
        with _committed(engine, folder) as transaction:
            yield transaction
    finally:
        engine.dispose()


@contextmanager
def _committed(engine: Engine, folder: Path) -> Iterator[Transaction]:
    with _explained(folder), engine.begin() as connection:
        yield Transaction(connection)


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    """What SQLite cannot do (disk full, locked) as StoreError, in words; other mistakes stay as they are."""
    try:
        yield
    except DatabaseError as error:
        if not isinstance(error.orig, Exception) or isinstance(error, IntegrityError):
            raise
        raise explain(error.orig, folder) from error


def create_run(folder: Path, run: Run) -> int:
    """Adds a queued run and returns its id."""
    with one_transaction(folder) as transaction:
        return transaction.insert(run)
