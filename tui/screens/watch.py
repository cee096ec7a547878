"""The store as the app uses it: one thread that owns the one connection, and a look every half second.

Nothing of the store is imported before the first frame: SQLite, the row shapes and the opening of the file
all happen in the thread. Reading again is left to the screen in front, and only when something changed.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

if TYPE_CHECKING:
    from store.read.history import Connection

P = ParamSpec("P")
T = TypeVar("T")


class StoreFailed(Exception):
    """The store cannot be opened or read; the text says why and what to do."""


class NoStore(StoreFailed):
    """There is no store yet: nothing was ever run here."""


class StoreWatch:
    """Runs queries on the store's thread and knows when somebody else wrote to the store."""

    def __init__(self, folder: Path, *, read_only: bool = False) -> None:
        self.folder = folder
        self.read_only = read_only
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._connection: Connection | None = None
        self._version = -1
        self.state = 0  # counts the changes that were seen: as long as it stays, so does what was read
        self._full = False  # the disk, when it was opened
        self._file: tuple[int, int] | None = None  # device and inode of the file that was opened

    async def ask(
        self, query: "Callable[Concatenate[Connection, P], T]", *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """The query's result. Raises NoStore, or StoreFailed when the store cannot be opened or read."""
        return await self._run(lambda: query(self._open(), *args, **kwargs))

    async def changed(self) -> bool:
        """Whether the store changed since the last call, by this app's hand or another's."""
        return await self._run(self._look)

    def touched(self) -> None:
        """To be called after the app itself wrote: SQLite tells a connection only about the others."""
        self._version = -1
        self.state += 1

    def close(self) -> None:
        self._thread.shutdown(wait=True, cancel_futures=True)
        if self._connection is not None:
            self._connection.close()

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._explained, work)

    def _explained(self, work: Callable[[], T]) -> T:
        from store.database import explain
        from store.errors import StoreError

        try:
            return work()
        except StoreError as error:
            raise StoreFailed(str(error)) from error
        except Exception as error:
            # The room above the store imports no SQL, so it names SQLite's errors by way of the connection.
            if self._connection is None or not isinstance(error, self._connection.Error):
                raise
            raise StoreFailed(str(explain(error, self.folder))) from error

    def _open(self) -> "Connection":
        from store import database
        from store.read import history

        if self._connection is not None and (
            # Deleted or replaced: what is written to the old file now would be lost with it.
            database.identity(self.folder) != self._file
            # There is room again: what was opened on a full disk may neither write nor see what others write.
            or (self._full and not database.is_full(self.folder))
        ):
            self._connection.close()
            self._connection = None
        if self._connection is None:
            if self._file is not None and not database.exists(self.folder):
                raise StoreFailed(
                    f"the store {self.folder} is gone\n  it was deleted or moved; use --store DIR"
                )
            # Making a store needs Alembic and SQLAlchemy; the first run does that, in its own process.
            if not database.exists(self.folder):
                raise NoStore(f"there is no store in {self.folder}")
            database.prepare(self.folder)
            self._file, self._full = database.identity(self.folder), database.is_full(self.folder)
            self._connection = history.attach(database.connect(self.folder))
            if self.read_only:
                self._connection.execute("PRAGMA query_only=ON")
        return self._connection

    def _look(self) -> bool:
        from store.read.history import data_version

        before, self._version = self._version, data_version(self._open())
        self.state += before not in (-1, self._version)
        return before != self._version
