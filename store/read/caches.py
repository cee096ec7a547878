"""What is kept between runs: answers of models and judges, how often they were of use, which may go."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from store.cache import JsonCache

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


def _places(folder: Path) -> list[Path]:
    return sorted((file.parent for file in folder.glob(f"*/{_DATABASE}")), reverse=True)


def _open(place: Path) -> "JsonCache":
    from store.cache import JsonCache

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
