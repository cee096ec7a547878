"""A connection for one command line: opened, made ready, and closed, with SQLite's errors in words."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from store import database
from store.errors import StoreError
from store.read import history


@contextmanager
def opened(folder: Path) -> Iterator[history.Connection]:
    """A connection to a store that exists, brought up to date.

    Raises StoreError where there is none, and in place of whatever SQLite raises inside the block.
    """
    if not database.exists(folder):
        raise StoreError(
            f"there is no store in {folder}", "`assay run PLAN` makes one; --store DIR names another"
        )
    database.prepare(folder)
    connection = history.attach(database.connect(folder))
    try:
        yield connection
    except sqlite3.Error as error:
        raise database.explain(error, folder) from error
    finally:
        connection.close()
