"""What can be wrong with a store, found without changing it, and repaired after a copy was put beside it."""

import fcntl
import os
import shutil
import sqlite3
import stat
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from store import database
from store.errors import StoreError
from store.read.history import STATUS, attach
from store.transfer.salvage import drop_orphans, salvage

_LEAST_FREE = 200 * 1024 * 1024  # bytes; a run's answers and its log need some room
_SHOWN = 5


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
    found.append(_schema(schema))
    with closing(attach(database.connect(folder))) as connection:
        found += _content(connection)
        if all(item.ok for item in found if item.check == "integrity"):
            found += _runs(connection, schema)
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


def _schema(found: str) -> StoreCheck:
    if found == database.SCHEMA:
        return StoreCheck("schema", True, f"{found}, the newest")
    words = f"{found} of an earlier Assay; the next command upgrades it, after a copy"
    return StoreCheck("schema", True, words)


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


def _runs(connection: sqlite3.Connection, schema: str) -> Iterator[StoreCheck]:
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
    """Locks that nobody holds, logs of runs that are gone, and stores that were never finished."""
    known = {int(row[0]) for row in connection.execute("SELECT id FROM run")}
    locks = [path for path in folder.glob("run-*.lock") if not _is_held(path)]
    logs = [path for path in folder.glob("logs/run-*.log") if _number(path) not in known]
    return [*locks, *logs, *folder.glob(f".{database.FILE}.*")]


def _number(path: Path) -> int:
    digits = path.stem.removeprefix("run-")
    return int(digits) if digits.isdecimal() else -1


def _is_held(lock: Path) -> bool:
    handle = os.open(lock, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


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
    with closing(attach(database.connect(folder))) as connection:
        if "references" in wrong:
            done.append(f"removed {drop_orphans(connection)} rows without what they refer to")
        if "runs" in wrong:
            count = connection.execute(
                "UPDATE run AS r SET status = 'failed', finished = coalesce(heartbeat, created), "
                f"error = 'its worker died' WHERE ({STATUS}) = 'interrupted'"
            ).rowcount
            done.append(f"{count} stuck runs are failed now; `assay resume RUN` goes on with one")
        if "files" in wrong:
            paths = leftovers(connection, folder)
            for path in paths:
                path.unlink(missing_ok=True)
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
