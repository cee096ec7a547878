"""Schema migrations, run by Alembic on the store's own file."""

import logging
import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine


def create(file: Path) -> None:
    """Makes an empty store: built aside and linked into place, so that nobody ever opens half of one."""
    aside = file.with_name(f".{file.name}.{os.getpid()}")
    aside.touch(mode=0o600)
    try:
        _migrate(aside)
        with suppress(FileExistsError):  # another process was first: theirs is as good
            os.link(aside, file)
    finally:
        aside.unlink(missing_ok=True)


def upgrade(file: Path, copy: Path) -> None:
    """Brings an older store to this version's schema, after it was copied to `copy`."""
    copy.touch(mode=0o600)
    # SQLite's own backup: a copy of the file alone would lack what is still in its write-ahead log.
    with closing(sqlite3.connect(file)) as store, closing(sqlite3.connect(copy)) as kept:
        store.backup(kept)
    _migrate(file)


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
