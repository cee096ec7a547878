"""What the collector stores: requests, whole or not at all, many in one transaction.

Standard library only.
"""

import json
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from store import database
from store.errors import StoreError
from store.records import TrafficEvent, TrafficFeedback
from store.traffic import Added, join

KEPT = 30 * 86_400  # seconds for which an idempotency key is known
WAIT = 3.0  # seconds for another process's transaction, while a client waits for an answer


@dataclass(frozen=True, slots=True)
class Delivery:
    """One request: its events and feedback, the ids that it is answered with, and its idempotency key.

    `key` and `content`, which tells one request from another, are hashes; without a key both are "".
    """

    events: Sequence[TrafficEvent]
    feedback: Sequence[TrafficFeedback]
    ids: Sequence[str]
    key: str = ""
    content: str = ""


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a request that is in the store now. `again`: it was there, under its key."""

    ids: Sequence[str]
    added: Added
    again: bool = False


class Clash(Exception):
    """The request says what cannot be: nothing of it was stored. `id`: of the event that it contradicts."""

    def __init__(self, message: str, id: str | None = None) -> None:
        super().__init__(message)
        self.id = id


class Intake:
    """The collector's own connection to its store. Where the store fails, the next request opens it anew."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None

    def take(self, deliveries: Sequence[Delivery]) -> list[Taken | Exception]:
        """Stores requests in one transaction that is on disk when this returns.

        A request that cannot be stored is its error, and the others are stored. Raises StoreError where the
        store cannot be written; then nothing is.
        """
        with self._written() as connection:
            connection.execute("DELETE FROM trafficreceipt WHERE received < ?", (time.time() - KEPT,))
            return [_taken(connection, delivery) for delivery in deliveries]

    def close(self) -> None:
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None

    @contextmanager
    def _written(self) -> Iterator[sqlite3.Connection]:
        try:
            connection = self._opened()
            connection.execute("BEGIN IMMEDIATE")
            with connection:
                yield connection
        except sqlite3.Error as error:
            self.close()
            raise database.explain(error, self.folder) from error

    def _opened(self) -> sqlite3.Connection:
        """The connection, to the file that is there now: rows in one that was removed would be lost."""
        found = database.identity(self.folder)
        if found is None:
            self.close()
            raise StoreError(f"the store {self.folder} is gone", "bring it back, or start the collector anew")
        if self._connection is None or found != self._file:
            self.close()
            self._connection, self._file = database.connect(self.folder), found
            self._connection.execute(f"PRAGMA busy_timeout={WAIT * 1000:.0f}")
        return self._connection


def _taken(connection: sqlite3.Connection, delivery: Delivery) -> Taken | Exception:
    connection.execute("SAVEPOINT delivery")
    try:
        taken = _stored(connection, delivery)
    except sqlite3.Error:  # the store's fault, not the request's
        raise
    except Exception as error:
        connection.execute("ROLLBACK TO delivery")
        return error
    finally:
        with suppress(sqlite3.OperationalError):  # a full disk has taken back the whole transaction
            connection.execute("RELEASE delivery")
    return taken


def _stored(connection: sqlite3.Connection, delivery: Delivery) -> Taken:
    if delivery.key:
        known = connection.execute(
            'SELECT content, ids FROM trafficreceipt WHERE "key" = ?', (delivery.key,)
        ).fetchone()
        if known is not None:
            if known["content"] != delivery.content:
                raise Clash("the idempotency key was used for another request")
            return Taken(json.loads(known["ids"]), Added(), again=True)
    added = join(connection, delivery.events, delivery.feedback)
    if added.clashes:
        clash = added.clashes[0].id
        raise Clash("the id is that of an event with another question", clash)
    if delivery.key:
        connection.execute(
            'INSERT INTO trafficreceipt ("key", content, ids, received) VALUES (?, ?, ?, ?)',
            (delivery.key, delivery.content, json.dumps(delivery.ids), time.time()),
        )
    return Taken(delivery.ids, added)
