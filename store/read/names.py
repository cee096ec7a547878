"""Names that a command line may take, read with the standard library's own SQLite: a key is pressed."""

import sqlite3
from contextlib import closing
from pathlib import Path

_MOST = 200
_QUERIES = {
    "runs": "SELECT id, name FROM run WHERE deleted IS NULL ORDER BY id DESC LIMIT ?",
    "measures": "SELECT DISTINCT measure, '' FROM metric ORDER BY 1 LIMIT ?",
    "models": "SELECT DISTINCT name, role FROM model ORDER BY 1 LIMIT ?",
}


def names(file: Path, kind: str) -> list[tuple[str, str]]:
    """The first names of a kind in a store's file, each with a word on it; of runs the newest.

    Raises sqlite3.Error for a file that is no store, and KeyError for another kind.
    """
    uri = f"{file.absolute().as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True, timeout=0.05)) as connection:
        rows = connection.execute(_QUERIES[kind], (_MOST,)).fetchall()
    if kind == "runs":
        rows = [
            ("last", "the newest run"),
            *rows,
            *((name, "") for name in dict.fromkeys(row[1] for row in rows)),
        ]
    return [(str(name), str(told)) for name, told in rows]
