"""JSON kept on disk under hashes, by diskcache: what may be lost, and is never trusted.

A cache folder may come from somebody else. diskcache's own `JSONDisk` still unpickles rows that say so, opens
any file that a row names, and removes it with the row. Here only JSON text is ever decoded, of bounded size,
from the row itself or from a file inside the folder; every other row is a miss, and is taken out.
"""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
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
            for row in rows:
                found = connection.execute("SELECT filename FROM Cache WHERE rowid = ?", (row,)).fetchone()
                connection.execute("DELETE FROM Cache WHERE rowid = ?", (row,))
                if found and isinstance(found[0], str):
                    self._cache.disk.remove(found[0])

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
