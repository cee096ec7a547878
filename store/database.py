"""Finding, opening and preparing the store's one file.

Standard library only: the app opens the store behind its first frame, and SQLAlchemy would cost more than the
app itself. Alembic is imported only when a store has to be made or brought up to date.

How processes share the file:
- WAL: any number of readers see a consistent snapshot while one writer appends.
- `synchronous=FULL`: a committed row survives a power cut, so what was shown as done is on disk.
- `busy_timeout`: a writer waits for another's short transaction instead of failing.
- A transaction that writes starts by writing, so that it never has to upgrade from a stale snapshot.
"""

import os
import sqlite3
from pathlib import Path

from store.errors import StoreError

FILE = "assay.db"
SCHEMA = "0003"  # the newest migration; a test holds it against store/migrations
PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=10000", "foreign_keys=ON")


def locate(explicit: str | None, start: Path) -> Path:
    """The store's folder: the one asked for, else $ASSAY_STORE, else the nearest `.assay/` upwards."""
    chosen = explicit or os.environ.get("ASSAY_STORE")
    if chosen:
        return Path(chosen).expanduser().absolute()
    for folder in (start, *start.parents):
        if (folder / ".assay").is_dir():
            return folder / ".assay"
    return start / ".assay"


def connect(folder: Path) -> sqlite3.Connection:
    """A connection for short reads and writes; every statement commits by itself unless told otherwise.

    Raises StoreError when the file is no store, damaged, or cannot be opened.
    """
    try:
        connection = sqlite3.connect(
            folder / FILE, isolation_level=None, check_same_thread=False, timeout=10.0
        )
        for pragma in PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")
    except sqlite3.Error as error:
        raise explain(error, folder) from error
    connection.row_factory = sqlite3.Row
    return connection


def prepare(folder: Path) -> None:
    """Makes the store, or brings an older one up to date, so that `connect` can be used.

    Raises StoreError when the folder cannot be written or the store was made by a newer Assay.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not exists(folder):
            from store.migrations import create

            create(folder)
    except OSError as error:
        raise StoreError(
            f"the store {folder} cannot be written: {error.strerror}",
            "free some space, or choose another folder with --store DIR or $ASSAY_STORE",
        ) from error
    found = schema_of(folder)
    if found > SCHEMA:
        raise StoreError(
            f"the store {folder} was made by a newer Assay (schema {found}, this one knows {SCHEMA})",
            "upgrade assay, or use another store with --store DIR",
        )
    if found < SCHEMA:
        from store.migrations import upgrade

        upgrade(folder)


def schema_of(folder: Path) -> str:
    """The store's schema revision. Raises StoreError when the file is not an Assay store."""
    connection = connect(folder)
    try:
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        return str(row[0])
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            raise StoreError(
                f"{folder / FILE} is not an Assay store", "use another folder with --store DIR"
            ) from error
        raise explain(error, folder) from error
    except sqlite3.Error as error:
        raise explain(error, folder) from error
    finally:
        connection.close()


def exists(folder: Path) -> bool:
    return (folder / FILE).is_file()


def identity(folder: Path) -> tuple[int, int] | None:
    """Which file the store is at this moment: device and inode; None when there is none."""
    try:
        found = (folder / FILE).stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def explain(error: Exception, folder: Path) -> StoreError:
    """SQLite's own words turned into what happened and the way out."""
    text = str(error)
    if "not a database" in text or "malformed" in text:
        return StoreError(
            f"the store {folder / FILE} is damaged: {text}", "restore a copy, or use another --store DIR"
        )
    if "readonly" in text or "unable to open" in text:
        return StoreError(
            f"the store {folder} cannot be opened: {text}", "check its permissions, or use --store DIR"
        )
    if "locked" in text:
        return StoreError(
            f"the store {folder} is locked by another process", "try again when it has finished"
        )
    if "full" in text:
        return StoreError(
            f"the disk that holds the store {folder} is full", "free some space and resume the run"
        )
    return StoreError(f"the store {folder} cannot be used: {text}")
