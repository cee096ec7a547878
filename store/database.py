"""Finding, opening and preparing the store's one file.

Standard library only: the app opens the store behind its first frame, and SQLAlchemy would cost more than the
app itself. It is imported only when a store has to be made, and Alembic when one is brought up to date.

How processes share the file:
- WAL: any number of readers see a consistent snapshot while one writer appends.
- `synchronous=FULL`: a committed row survives a power cut, so what was shown as done is on disk.
- `busy_timeout`: a writer waits for another's short transaction instead of failing.
- A transaction that writes starts by writing, so that it never has to upgrade from a stale snapshot.

Where the file or its folder cannot be written (a read-only or full disk, somebody else's store), it is opened
for reading alone; what a write then says is in words, too.
"""

import fcntl
import os
import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from store.errors import StoreError

FILE = "assay.db"
# The newest migration's.
SCHEMA = max(path.name[:4] for path in (Path(__file__).parent / "migrations" / "versions").glob("[0-9]*.py"))
_SHARED_MEMORY = 1 << 15  # bytes that SQLite needs beside the file even to read it, as it is written to
BUSY_SECONDS = 10.0  # how long a writer waits for another's transaction
Unavailable = sqlite3.OperationalError  # the file is locked for long, or its disk is full
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

    On a store that cannot be written it reads only. Raises StoreError when the file is no store, damaged, or
    cannot be opened.
    """
    try:
        connection = _open(folder, "rw" if is_writable(folder) else _kept_from_writing(folder))
    except sqlite3.OperationalError as error:
        if not is_full(folder):
            raise explain(error, folder) from error
        connection = _open(folder, _kept_from_writing(folder))
    except sqlite3.Error as error:
        raise explain(error, folder) from error
    connection.row_factory = sqlite3.Row
    return connection


def look(folder: Path) -> sqlite3.Connection:
    """A connection that writes nothing, not even the journal mode, which alone would change the file."""
    return _open(folder, _reading(folder))


def address(folder: Path) -> str:
    """The store as SQLite's ATTACH takes it, for reading alone."""
    return f"{(folder / FILE).absolute().as_uri()}?mode={_reading(folder)}"


def _reading(folder: Path) -> str:
    return "ro" if is_writable(folder) and not is_full(folder) else _kept_from_writing(folder)


def is_full(folder: Path) -> bool:
    """Whether there is too little room even to read the store with what is written to it meanwhile."""
    return shutil.disk_usage(folder).free < _SHARED_MEMORY


def _full(folder: Path) -> StoreError:
    return StoreError(f"the disk that holds the store {folder} is full", "free some space and resume the run")


def is_writable(folder: Path) -> bool:
    """Whether rows can be added: WAL needs to make files beside the store's own."""
    return os.access(folder, os.W_OK | os.X_OK) and os.access(folder / FILE, os.W_OK)


def _open(folder: Path, mode: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{(folder / FILE).absolute().as_uri()}?mode={mode}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=BUSY_SECONDS,
    )
    try:
        for pragma in PRAGMAS if mode == "rw" else ("query_only=ON",):
            connection.execute(f"PRAGMA {pragma}")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _kept_from_writing(folder: Path) -> str:
    """How SQLite opens a store that cannot be written, without its shared memory beside it.

    It reads a WAL store only as one that nobody can change. That is true of the main file alone: rows still
    in a log would be passed over without a word, so they are refused. Where a writer is alive, its shared
    memory is there, and the log is read with it.
    """
    log, shared = folder / f"{FILE}-wal", folder / f"{FILE}-shm"
    if shared.is_file() and shared.stat().st_size and log.is_file():
        return "ro"
    if log.is_file() and log.stat().st_size:
        if is_full(folder):
            raise _full(folder)
        raise StoreError(
            f"the store {folder} can only be read here, and its newest rows are still in {log.name}",
            "copy the folder to a place that can be written, and use that with --store DIR",
        )
    return "ro&immutable=1"


def prepare(folder: Path) -> None:
    """Makes the store, or brings an older one up to date, so that `connect` can be used.

    Raises StoreError when the folder cannot be written or the store was made by a newer Assay.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not exists(folder):
            from store.migrations import create

            create(folder / FILE, SCHEMA)
    except sqlite3.OperationalError as error:
        raise explain(error, folder) from error
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
    if found < SCHEMA and not is_writable(folder):
        raise StoreError(
            f"the store {folder} has an earlier schema ({found}) and cannot be written, so not be upgraded",
            "copy the folder to a place that can be written, and use that with --store DIR",
        )
    if found < SCHEMA:
        _upgrade(folder)


def _upgrade(folder: Path) -> None:
    from sqlalchemy.exc import DatabaseError

    from store.migrations import upgrade

    try:
        upgrade(folder / FILE, SCHEMA, folder / f"{FILE}.before-{SCHEMA}")
    except OSError as error:
        raise StoreError(
            f"the store {folder} cannot be upgraded: {error.strerror}; nothing in it was changed",
            "free some space, or copy the folder and use the copy with --store DIR",
        ) from error
    except (sqlite3.Error, DatabaseError) as error:
        reason = error.orig if isinstance(error, DatabaseError) else error
        if re.search("duplicate column|already exists|no such", str(reason)):
            raise StoreError(
                f"an upgrade of the store {folder} by an earlier Assay was interrupted: {reason}",
                "`assay doctor --repair` finishes it, after a copy",
            ) from error
        raise explain(reason if isinstance(reason, Exception) else error, folder) from error


def schema_of(folder: Path) -> str:
    """The store's schema revision, found without a change to the file, which may be another program's.

    Raises StoreError when the file is not an Assay store.
    """
    stranger = StoreError(f"{folder / FILE} is not an Assay store", "use another folder with --store DIR")
    try:
        with closing(look(folder)) as connection:
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            raise stranger from error
        raise explain(error, folder) from error
    except sqlite3.Error as error:
        raise explain(error, folder) from error
    # Other programs keep their revision in a table of that name, too.
    if row is None or not re.fullmatch(r"\d{4}", str(row[0])) or not {"run", "model", "example"} <= tables:
        raise stranger
    return str(row[0])


def exists(folder: Path) -> bool:
    """Raises StoreError where nobody may tell: the folder is another user's."""
    try:
        return (folder / FILE).is_file()
    except PermissionError as error:
        raise StoreError(
            f"the store {folder} cannot be read: {error.strerror}",
            "check its permissions, or use --store DIR",
        ) from error


def hold(path: Path) -> int | None:
    """A lock on a file that only one process has, as a descriptor; None while another has it.

    The kernel releases it when its holder dies. Who removes the file holds it, and who holds a file that was
    removed meanwhile takes the one that has the name now: two holders would be two workers.
    """
    while True:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(lock), path.stat()):
                return lock
        except BlockingIOError:
            os.close(lock)
            return None
        except FileNotFoundError:
            pass
        os.close(lock)


def is_held(path: Path) -> bool:
    """Whether a process has the lock on a file, also where nothing can be written."""
    try:
        lock = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


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
    if "full" in text or (is_full(folder) and ("readonly" in text or "disk I/O" in text)):
        return _full(folder)
    if "readonly" in text:
        return StoreError(
            f"the store {folder} can only be read here: nothing in it was changed",
            "check the permissions of its folder, or copy it and use the copy with --store DIR",
        )
    if "unable to open" in text:
        return StoreError(
            f"the store {folder} cannot be opened: {text}", "check its permissions, or use --store DIR"
        )
    if "locked" in text:
        return StoreError(
            f"the store {folder} is locked by another process", "try again when it has finished"
        )
    return StoreError(f"the store {folder} cannot be used: {text}")
