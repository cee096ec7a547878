"""JSON kept on disk under hashes, by diskcache: what may be lost, and is never trusted.

A cache folder may come from somebody else. diskcache's own `JSONDisk` still unpickles rows that say so, opens
any file that a row names, and removes it with the row. Here only JSON text is ever decoded, of bounded size,
from the row itself or from a file inside the folder; every other row is a miss, and is taken out.
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

DATABASE = "cache.db"  # as diskcache names it


def _forget_foreign_settings(database: Path) -> None:
    """diskcache sets whatever its table of settings names as an attribute of its own objects."""
    from diskcache.core import DEFAULT_SETTINGS, METADATA

    if not database.exists():
        return
    own = [*DEFAULT_SETTINGS, *METADATA]
    with closing(sqlite3.connect(database)) as connection, connection:
        if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'Settings'").fetchone():
            marks = ", ".join("?" * len(own))
            connection.execute(f"DELETE FROM Settings WHERE key NOT IN ({marks})", own)


class JsonCache:
    """Values under keys, kept between runs. Hits and misses are counted in the cache itself.

    `dropped` counts the rows that were taken out because they were not readable as the values they must be.
    """

    def __init__(self, folder: Path) -> None:
        from diskcache import Cache

        from store.json_disk import PlainJsonDisk

        self.folder = folder
        self.dropped = 0
        _forget_foreign_settings(folder / DATABASE)
        self._cache: Any = Cache(str(folder), disk=PlainJsonDisk, eviction_policy="none", statistics=True)

    def get(self, key: str) -> Any:
        """The value under the key; None where there is none that can be read."""
        last = self._cache.disk.last
        last.unreadable = False
        value = self._cache.get(key)
        if last.unreadable:
            last.unreadable = False
            self.drop(key)
            return None
        return value

    def put(self, key: str, value: Any) -> None:
        self._cache.set(key, value)

    def drop(self, key: str) -> None:
        """Takes out a value that is not what the caller keeps."""
        self._cache.delete(key)
        self.dropped += 1

    def remove_rows(self, rows: Sequence[int]) -> None:
        """Takes out the rows with these ids, readable or not, with the files they hold."""
        with closing(sqlite3.connect(self.folder / DATABASE)) as connection, connection:
            connection.execute("PRAGMA secure_delete=ON")
            for row in rows:
                found = connection.execute("SELECT filename FROM Cache WHERE rowid = ?", (row,)).fetchone()
                connection.execute("DELETE FROM Cache WHERE rowid = ?", (row,))
                if found and isinstance(found[0], str):
                    self._cache.disk.remove(found[0])

    def values(self) -> Iterator[tuple[int, Any]]:
        """The readable values, each with the id of its row."""
        with closing(sqlite3.connect(self.folder / DATABASE)) as connection:
            for row, mode, name, value in connection.execute(
                "SELECT rowid, mode, filename, value FROM Cache"
            ):
                with suppress(OSError):
                    yield row, self._cache.disk.fetch(mode, name, value, False)

    def stats(self) -> tuple[int, int]:
        """Hits and misses since the cache was made."""
        hits, misses = self._cache.stats()
        return int(hits), int(misses)

    def close(self) -> None:
        self._cache.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


_DATABASE = "cache.db"


@dataclass(frozen=True, slots=True)
class Kept:
    """One kind of kept answers: `bytes` of all entries; `oldest` and `newest` in seconds since 1970.

    Hits and misses count the look-ups since the cache was made; `unreadable` entries are no JSON text and go
    when they are looked up or when the cache is pruned.
    """

    kind: str  # responses judgments
    entries: int
    bytes: int
    oldest: float | None
    newest: float | None
    hits: int
    misses: int
    unreadable: int


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was taken out of one kind."""

    kind: str
    entries: int
    bytes: int


@dataclass(frozen=True, slots=True)
class _Entry:
    kind: str
    stored: float
    bytes: int
    row: int
    readable: bool


def kept(folder: Path) -> list[Kept]:
    """The kinds of answers in a store's cache folder; none when nothing was kept yet."""
    return [_kept(place) for place in _places(folder)]


def _kept(place: Path) -> Kept:
    entries = list(_entries(place))
    times = [entry.stored for entry in entries]
    with closing(_open(place)) as cache:
        hits, misses = cache.stats()
    size = sum(entry.bytes for entry in entries)
    return Kept(
        *(place.name, len(entries), size, min(times, default=None), max(times, default=None), hits, misses),
        unreadable=sum(not entry.readable for entry in entries),
    )


def prune(folder: Path, before: float | None = None, most: int | None = None) -> list[Pruned]:
    """Takes out what was stored before that time, then the oldest until at most that many bytes are left.

    A run under way only generates again what it would have found.
    """
    entries = sorted(
        (entry for place in _places(folder) for entry in _entries(place)),
        key=lambda entry: (entry.readable, entry.stored),
    )
    size = sum(entry.bytes for entry in entries)
    gone: dict[str, list[_Entry]] = {place.name: [] for place in _places(folder)}
    for entry in entries:
        too_old = before is not None and entry.stored < before
        too_much = most is not None and size > most
        if not (too_old or too_much) and entry.readable:
            break
        gone[entry.kind].append(entry)
        size -= entry.bytes
    for kind, chosen in gone.items():
        with closing(_open(folder / kind)) as cache:
            cache.remove_rows([entry.row for entry in chosen])
    return [Pruned(kind, len(chosen), sum(entry.bytes for entry in chosen)) for kind, chosen in gone.items()]


def prune_texts(folder: Path, holds: Callable[[str], bool]) -> list[Pruned]:
    """Takes out each answer with a text that `holds` knows; nothing of it is left in the files."""
    found = []
    for place in _places(folder):
        entries = {entry.row: entry for entry in _entries(place)}
        with closing(_open(place)) as cache:
            rows = [row for row, value in cache.values() if any(map(holds, _texts(value)))]
            cache.remove_rows(rows)
        if rows:
            with closing(sqlite3.connect(place / _DATABASE)) as database:
                database.execute("VACUUM")
                database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        found.append(Pruned(place.name, len(rows), sum(entries[row].bytes for row in rows if row in entries)))
    return found


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)


def _places(folder: Path) -> list[Path]:
    return sorted((file.parent for file in folder.glob(f"*/{_DATABASE}")), reverse=True)


def _open(place: Path) -> "JsonCache":

    return JsonCache(place)


def _entries(place: Path) -> Iterator[_Entry]:
    """Read from the table itself: diskcache gives neither times nor sizes of its entries."""
    with closing(sqlite3.connect(f"{(place / _DATABASE).absolute().as_uri()}?mode=ro", uri=True)) as database:
        rows = database.execute(
            "SELECT store_time, size + length(key) + coalesce(length(value), 0), rowid,"
            " raw = 1 AND mode IN (1, 2) FROM Cache"
        )
        for stored, size, row, readable in rows:
            yield _Entry(place.name, stored, size, row, bool(readable))
