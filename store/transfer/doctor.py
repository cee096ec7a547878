"""What can be wrong with a store, found without changing it, and repaired after a copy was put beside it."""

import os
import shutil
import socket
import sqlite3
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from store import database
from store.errors import StoreError
from store.read.history import STATUS, attach, worker_alive

_STEP = 512  # rows asked for at once; where that fails, one by one


def salvage(folder: Path, target: Path) -> dict[str, int]:
    """Copies every row that can be read into a new store at `target`; returns how many, by table.

    The damaged file is only read. Rows whose parents could not be read are left out, since nothing could
    show them. Raises StoreError when not even the list of tables can be read.
    """
    database.prepare(target)
    with tempfile.TemporaryDirectory(dir=target) as place:
        for name in (database.FILE, f"{database.FILE}-wal"):
            if (folder / name).is_file():
                shutil.copy2(folder / name, Path(place) / name)
        source = sqlite3.connect(Path(place) / database.FILE)
        with closing(source), closing(database.connect(target)) as sink:
            return _copy(source, sink, folder)


def drop_orphans(connection: sqlite3.Connection) -> int:
    """Removes the rows whose parents are gone, and then those that hung on them; returns how many."""
    count = 0
    connection.execute("PRAGMA foreign_keys=OFF")
    while rows := connection.execute("PRAGMA foreign_key_check").fetchall():
        for table in dict.fromkeys(row[0] for row in rows):
            for key in connection.execute(f"PRAGMA foreign_key_list({table})").fetchall():
                lost = f"{key['from']} NOT IN (SELECT id FROM {key['table']})"
                kept = key["on_delete"] == "SET NULL"
                verb = f"UPDATE {table} SET {key['from']} = NULL" if kept else f"DELETE FROM {table}"
                count += connection.execute(f"{verb} WHERE {lost}").rowcount
    connection.execute("PRAGMA foreign_keys=ON")
    return count


def _copy(source: sqlite3.Connection, sink: sqlite3.Connection, folder: Path) -> dict[str, int]:
    tables = [row[0] for row in sink.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    tables = [name for name in tables if name != "alembic_version" and not name.startswith("sqlite_")]
    try:
        source.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.DatabaseError as error:
        raise StoreError(
            f"nothing of {folder / database.FILE} can be read: {error}", "restore a copy"
        ) from error
    sink.execute("PRAGMA foreign_keys=OFF")
    sink.execute("BEGIN IMMEDIATE")
    for table in tables:
        _copy_table(source, sink, table)
    sink.execute("COMMIT")
    drop_orphans(sink)
    return {table: int(sink.execute(f"SELECT count(*) FROM {table}").fetchone()[0]) for table in tables}


def _copy_table(source: sqlite3.Connection, sink: sqlite3.Connection, table: str) -> None:
    # The names that a migration gives a table while it puts another in its place.
    for name in (f"{table}_before", f"_alembic_tmp_{table}", table):
        _copy_rows(source, sink, name, table)


def _copy_rows(source: sqlite3.Connection, sink: sqlite3.Connection, table: str, into: str) -> None:
    ours = [row["name"] for row in sink.execute(f"PRAGMA table_info({into})")]
    try:
        theirs = {row[1] for row in source.execute(f"PRAGMA table_info({table})")}
    except sqlite3.DatabaseError:
        return
    columns = [f'"{name}"' for name in ours if name in theirs]
    if not columns:
        return
    listed = ", ".join(columns)
    insert = f"INSERT OR IGNORE INTO {into} ({listed}) VALUES ({', '.join('?' * len(columns))})"
    for row in _rows(source, table, listed, rowid="id" in theirs):
        with suppress(sqlite3.IntegrityError):  # a value that the damage took, where there must be one
            sink.execute(insert, row)


def _rows(source: sqlite3.Connection, table: str, columns: str, *, rowid: bool) -> Iterator[tuple[Any, ...]]:
    """The rows up to the damage, and from the end back to it; by number where rows have one."""
    if rowid:
        yield from _numbered(source, table, columns)
        return
    for order in ("", _backwards(source, table)):
        try:
            yield from source.execute(f"SELECT {columns} FROM {table} {order}")
        except sqlite3.DatabaseError:
            continue
        return


def _backwards(source: sqlite3.Connection, table: str) -> str:
    keys = sorted((row[5], row[1]) for row in source.execute(f"PRAGMA table_info({table})") if row[5])
    return f"ORDER BY {', '.join(f'{name} DESC' for _, name in keys)}" if keys else ""


def _numbered(source: sqlite3.Connection, table: str, columns: str) -> Iterator[tuple[Any, ...]]:
    last = _last(source, table)
    for start in range(1, last + 1, _STEP):
        between = f"SELECT {columns} FROM {table} WHERE rowid BETWEEN ? AND ?"
        try:
            yield from source.execute(between, (start, start + _STEP - 1)).fetchall()
        except sqlite3.DatabaseError:
            for number in range(start, min(start + _STEP, last + 1)):
                with suppress(sqlite3.DatabaseError):
                    yield from source.execute(between, (number, number)).fetchall()


def _last(source: sqlite3.Connection, table: str) -> int:
    """The highest number of a row, as far as it can be found."""
    try:
        return int(source.execute(f"SELECT max(rowid) FROM {table}").fetchone()[0] or 0)
    except sqlite3.DatabaseError:
        highest = 0
    try:
        for (number,) in source.execute(f"SELECT rowid FROM {table}"):
            highest = number
    except sqlite3.DatabaseError:
        pass
    # Beyond the damage there may be more: as many again are looked for.
    return 2 * highest + _STEP


_LEAST_FREE = 200 * 1024 * 1024  # bytes; a run's answers and its log need some room
_SHOWN = 5
_PARTS_KEPT = 7 * 86_400  # seconds


@dataclass(frozen=True, slots=True)
class StoreCheck:
    """One thing that was looked at. `repair` says what `--repair` does about it; None: a person must."""

    check: str
    ok: bool
    words: str
    repair: str | None = None


def examine(folder: Path) -> list[StoreCheck]:
    """Every check, in order; nothing is written.

    Raises StoreError when there is no store, when it is another program's, or of a newer Assay.
    """
    if not database.exists(folder):
        raise StoreError(f"there is no store in {folder}", "--store DIR names another")
    found = [*_permissions(folder), _space(folder)]
    try:
        schema = database.schema_of(folder)
    except StoreError as error:
        if "damaged" not in error.message:
            raise
        return [*found, StoreCheck("integrity", False, error.message, SALVAGED)]
    if schema > database.SCHEMA:
        raise StoreError(
            f"the store {folder} was made by a newer Assay "
            f"(schema {schema}, this one knows {database.SCHEMA})",
            "upgrade assay, or use another store with --store DIR",
        )
    found.append(_schema(folder, schema))
    with closing(attach(database.connect(folder))) as connection:
        found += _content(connection)
        if all(item.ok for item in found if item.check == "integrity"):
            found += _runs(connection)
            found += _leftovers(connection, folder)
    return found


SALVAGED = "what can be read is put into a new store beside this one"


def _permissions(folder: Path) -> Iterator[StoreCheck]:
    if not database.is_writable(folder):
        words = "it can only be read here: runs can be looked at, none can be started"
        yield StoreCheck("permissions", False, words)
    open_ = [
        path.name for path in (folder, folder / database.FILE) if stat.S_IMODE(path.stat().st_mode) & 0o077
    ]
    if open_:
        words = f"others on this machine can read {' and '.join(open_)}"
        yield StoreCheck("permissions", False, words, "they are taken away the right")
    elif database.is_writable(folder):
        yield StoreCheck("permissions", True, "its owner alone reads and writes it")


def _space(folder: Path) -> StoreCheck:
    free = shutil.disk_usage(folder).free
    words = f"{free / 1e9:,.1f} GB are free on its disk"
    return StoreCheck("disk", free >= _LEAST_FREE, words)


def _schema(folder: Path, found: str) -> StoreCheck:
    if found == database.SCHEMA:
        return StoreCheck("schema", True, f"{found}, the newest")
    if _is_half_upgraded(folder, found):
        words = f"{found} of an earlier Assay, whose upgrade was interrupted"
        return StoreCheck("schema", False, words, "the upgrade is finished")
    words = f"{found} of an earlier Assay; the next command upgrades it, after a copy"
    return StoreCheck("schema", True, words)


def _is_half_upgraded(folder: Path, schema: str) -> bool:
    """Earlier versions changed one table after the other, and wrote the new schema down at the end."""
    from store.migrations import create_earlier

    with tempfile.TemporaryDirectory() as place:
        create_earlier(Path(place) / database.FILE, schema)
        with closing(database.look(Path(place))) as whole, closing(database.look(folder)) as found:
            return _layout(whole) != _layout(found)


def _layout(connection: sqlite3.Connection) -> set[tuple[str, str]]:
    return set(
        connection.execute(
            "SELECT t.name, c.name FROM sqlite_master t, pragma_table_info(t.name) c "
            "WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%'"
        )
    )


def _finish_upgrade(folder: Path) -> int:
    """Every row goes into a store of the schema it had; that one is upgraded, and takes the other's place."""
    from store.migrations import create_earlier, replace

    with tempfile.TemporaryDirectory(dir=folder, prefix=f".{database.FILE}.{os.getpid()}.") as place:
        made = Path(place)
        create_earlier(made / database.FILE, database.schema_of(folder))
        with closing(database.look(folder)) as source, closing(database.connect(made)) as sink:
            _copy(source, sink, folder)
        database.prepare(made)
        replace(made / database.FILE, folder / database.FILE)
        with closing(database.look(made)) as connection:
            return int(connection.execute("SELECT count(*) FROM run").fetchone()[0])


def _content(connection: sqlite3.Connection) -> Iterator[StoreCheck]:
    try:
        wrong = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(20)")]
    except sqlite3.DatabaseError as error:
        wrong = [str(error)]
    if wrong != ["ok"]:
        more = f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        words = "; ".join(wrong[:_SHOWN]) + more
        yield StoreCheck("integrity", False, words, f"indexes are rebuilt; else {SALVAGED}")
        return
    yield StoreCheck("integrity", True, "every page can be read")
    lost: dict[str, int] = {}
    for row in connection.execute("PRAGMA foreign_key_check"):
        lost[row[0]] = lost.get(row[0], 0) + 1
    if lost:
        words = ", ".join(f"{count} in {table}" for table, count in lost.items())
        yield StoreCheck(
            "references", False, f"rows whose run, model or example is gone: {words}", "they are removed"
        )
    else:
        yield StoreCheck("references", True, "every row has what it refers to")


def _runs(connection: sqlite3.Connection) -> Iterator[StoreCheck]:
    stuck = [
        int(row[0])
        for row in connection.execute(f"SELECT r.id, {STATUS} AS now FROM run r ORDER BY r.id")
        if row["now"] == "interrupted"
    ]
    if stuck:
        words = f"their worker has died: {_listed('run', stuck)}; `assay resume {stuck[0]}` goes on"
        yield StoreCheck(
            "runs", False, words, "they are set to failed, and can be resumed from where they are"
        )
    else:
        yield StoreCheck("runs", True, "none is stuck")


def _leftovers(connection: sqlite3.Connection, folder: Path) -> Iterator[StoreCheck]:
    found = [path.name for path in leftovers(connection, folder)]
    if found:
        more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        words = f"files that belong to nothing: {', '.join(found[:_SHOWN])}{more}"
        yield StoreCheck("files", False, words, "they are removed")
    else:
        yield StoreCheck("files", True, "no lock or log without its run")


def leftovers(connection: sqlite3.Connection, folder: Path) -> list[Path]:
    """Locks that nobody holds, logs of runs that are gone, stores that were never finished, and parts of runs
    whose transfer nobody has gone on with for days.
    """
    known = {int(row[0]) for row in connection.execute("SELECT id FROM run")}
    locks = [path for path in folder.glob("run-*.lock") if not database.is_held(path)]
    logs = [path for path in folder.glob("logs/run-*.log") if _number(path) not in known]
    made = [path for path in folder.glob(f".{database.FILE}.*") if not _is_being_made(path)]
    old = time.time() - _PARTS_KEPT
    parts = [path for path in folder.glob("incoming/*") if path.lstat().st_mtime < old]
    return [*locks, *logs, *made, *parts]


def _is_being_made(path: Path) -> bool:
    maker = path.name.removeprefix(f".{database.FILE}.").partition(".")[0]
    return maker.isdecimal() and worker_alive(int(maker), socket.gethostname(), time.time())


def _number(path: Path) -> int:
    digits = path.stem.removeprefix("run-")
    return int(digits) if digits.isdecimal() else -1


def repair(folder: Path, found: list[StoreCheck]) -> list[str]:
    """Does what each finding's `repair` says, after a copy was made; returns what was done, a line each.

    Raises StoreError when the store cannot be written.
    """
    wrong = {item.check for item in found if not item.ok and item.repair}
    if not wrong:
        return []
    if not database.is_writable(folder):
        raise StoreError(f"the store {folder} can only be read here", "copy the folder, and repair the copy")
    done = [f"copied to {backup(folder)}"]
    if "permissions" in wrong:
        folder.chmod(0o700)
        (folder / database.FILE).chmod(0o600)
        done.append("others cannot read it any more")
    if "integrity" in wrong:
        return [*done, *_rebuilt(folder)]
    if "schema" in wrong:
        done.append(f"the upgrade is finished: {_finish_upgrade(folder)} runs")
    with closing(attach(database.connect(folder))) as connection:
        if "references" in wrong:
            done.append(f"removed {drop_orphans(connection)} rows without what they refer to")
        if "runs" in wrong:
            count = connection.execute(
                "UPDATE run AS r SET status = 'failed', finished = coalesce(heartbeat, created), "
                f"error = coalesce(last_words(r.id), 'its worker died') WHERE ({STATUS}) = 'interrupted'"
            ).rowcount
            done.append(f"{count} stuck runs are failed now; `assay resume RUN` goes on with one")
        if "files" in wrong:
            paths = leftovers(connection, folder)
            for path in paths:
                lock = database.hold(path) if path.suffix == ".lock" else None
                if path.suffix == ".lock" and lock is None:
                    continue  # a worker has taken the run meanwhile
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
                if lock is not None:
                    os.close(lock)
            done.append(f"removed {len(paths)} files that belong to nothing")
    return done


def backup(folder: Path) -> Path:
    """A copy of the file as it is, damage included, with its write-ahead log beside it."""
    name = f"{database.FILE}.before-repair-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}"
    for suffix in ("", "-wal"):
        source = folder / f"{database.FILE}{suffix}"
        if source.is_file():
            shutil.copy2(source, folder / f"{name}{suffix}")
    return folder / name


def _rebuilt(folder: Path) -> Iterator[str]:
    """Indexes made anew, which may be all that is wrong; else what can be read, in a new store."""
    try:
        with closing(database.connect(folder)) as connection:
            connection.execute("REINDEX")
            if [row[0] for row in connection.execute("PRAGMA integrity_check(1)")] == ["ok"]:
                yield "the indexes were damaged and are rebuilt"
                return
    except (sqlite3.DatabaseError, StoreError):
        yield "rebuilding the indexes was not enough"
    target = _free(folder.with_name(f"{folder.name}-salvaged"))
    counts = salvage(folder, target)
    rows = ", ".join(f"{count:,} {table}" for table, count in counts.items() if count)
    yield f"salvaged into {target}: {rows or 'nothing'}"
    yield f"look at it with: assay --store {target}"


def _free(wanted: Path) -> Path:
    names = (wanted, *(wanted.with_name(f"{wanted.name}-{number}") for number in range(2, 1000)))
    return next(path for path in names if not path.exists())


def _listed(what: str, ids: list[int]) -> str:
    shown = ", ".join(map(str, ids[:_SHOWN])) + (" …" if len(ids) > _SHOWN else "")
    return f"{what}{'' if len(ids) == 1 else 's'} {shown}"
