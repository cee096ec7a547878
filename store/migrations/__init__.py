"""Schema migrations, run by Alembic on the store's own file."""

import logging
import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine

from store.database import FILE, SCHEMA


def create(folder: Path) -> None:
    """Makes an empty store: built aside and linked into place, so that nobody ever opens half of one."""
    aside = folder / f".{FILE}.{os.getpid()}"
    aside.touch(mode=0o600)
    try:
        _migrate(aside)
        with suppress(FileExistsError):  # another process was first: theirs is as good
            os.link(aside, folder / FILE)
    finally:
        aside.unlink(missing_ok=True)


def upgrade(folder: Path) -> None:
    """Brings an older store to this version's schema, after a copy of it was put beside it."""
    copy = folder / f"{FILE}.before-{SCHEMA}"
    copy.touch(mode=0o600)
    # SQLite's own backup: a copy of the file alone would lack what is still in its write-ahead log.
    with closing(sqlite3.connect(folder / FILE)) as store, closing(sqlite3.connect(copy)) as kept:
        store.backup(kept)
    _migrate(folder / FILE)


def _migrate(path: Path) -> None:
    logging.getLogger("alembic").setLevel(logging.WARNING)
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    engine = create_engine(f"sqlite:///{path}")
    try:
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    finally:
        engine.dispose()
