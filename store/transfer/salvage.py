"""What can still be read of a damaged store, row by row, into a new one."""

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from store import database
from store.errors import StoreError

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
    ours = [row["name"] for row in sink.execute(f"PRAGMA table_info({table})")]
    try:
        theirs = {row[1] for row in source.execute(f"PRAGMA table_info({table})")}
    except sqlite3.DatabaseError:
        return
    columns = [f'"{name}"' for name in ours if name in theirs]
    if not columns:
        return
    listed = ", ".join(columns)
    insert = f"INSERT OR IGNORE INTO {table} ({listed}) VALUES ({', '.join('?' * len(columns))})"
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
