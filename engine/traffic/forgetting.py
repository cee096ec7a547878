"""Forgetting production traffic for good: in the store, in weekly runs and their files, and in caches."""

import json
from dataclasses import dataclass
from pathlib import Path

from engine.data.textfile import text_lines, writing
from store.cache import prune_texts
from store.database import FILE
from store.read.history import Connection
from store.traffic import Forgotten, Meant, digest, forget, traces, wipe

WEEKS = "weeks"  # the folder of the store with the files of weekly runs


@dataclass(frozen=True, slots=True)
class Removed:
    """What was forgotten, and where more of it may be: eval sets that took some of it in, `copies` of the
    store beside it, and a log that other processes still read (`is_wiped` is then False).
    """

    forgotten: Forgotten
    cached: int
    is_wiped: bool
    kept_in: tuple[str, ...]
    copies: tuple[str, ...]


def forget_for_good(connection: Connection, folder: Path, what: Meant) -> Removed:
    """Deletes traffic and every text of it that Assay keeps; no bytes of it stay in its files.

    The store comes last, so that what is interrupted can be asked for again.
    """
    found = traces(connection, what)
    for file in sorted((folder / WEEKS).glob("*/*.jsonl")):
        _take_out(file, found.ids)
    gone = prune_texts(folder / "cache", lambda text: digest(text) in found.texts)
    forgotten = forget(connection, what)
    copies = (path.name for path in folder.glob(f"{FILE}.*") if path.is_file())
    return Removed(
        forgotten,
        sum(kind.entries for kind in gone),
        wipe(connection),
        found.kept_in,
        tuple(sorted(copies)),
    )


def _take_out(file: Path, ids: frozenset[str]) -> None:
    """Rewrites a weekly run's file without the rows of these events."""
    lines = [text for _, text in text_lines(file)]
    kept = [line for line in lines if not line.strip() or json.loads(line).get("id") not in ids]
    if len(kept) < len(lines):
        with writing(file) as parts:
            parts.open(file).write("".join(kept))
