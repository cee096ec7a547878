"""Schema migrations, run by Alembic on the store's own file."""

import logging
import os
import shutil
from contextlib import suppress
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
    shutil.copy2(folder / FILE, copy)
    copy.chmod(0o600)
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
