"""The collector's client, for the service that answers users. Standard library only.

    collector = CollectorClient("http://127.0.0.1:4319", token=os.environ["ASSAY_COLLECT_TOKEN"])
    event_id = collector.event(prompt=question, response=answer, model="support-v3")
    collector.feedback(event_id, thumbs="down", correction="It takes 5 days.")

Each call puts its object into a buffer and returns; a thread sends what is there, in batches, again and again
until it is taken. No call waits for the network or raises. What cannot be sent is counted, and said to the
logger of this module without its texts.
"""

import atexit
import json
import logging
import os
import threading
import time
import uuid
import weakref
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from http.client import HTTPException
from typing import Any, Self
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener

logger = logging.getLogger(__name__)

_PATH = "/v1/events"  # it takes feedback, too, so that one request holds both
_LARGEST, _BATCH_BYTES = 1_000_000, 8_000_000  # of one object, and of those of one request
_PAUSE, _LONGEST_PAUSE = 0.5, 30.0  # seconds before the next attempt, at first and at most
_FOR_GOOD = frozenset({400, 409, 413, 422})  # statuses that the same request gets again
_AT_EXIT = 3.0  # seconds in which the last objects are sent when Python ends


class _NoRedirects(HTTPRedirectHandler):
    """A token goes to the collector alone."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


class CollectorClient:
    """Sends events and feedback to the collector at `url`; to be used from any thread.

    `batch`: how many objects one request holds at most; `wait`: seconds that an object waits for others;
    `room`: how many wait at most, beyond which new ones are dropped; `timeout`: seconds for one request.
    `sent` and `dropped` count objects. A forked process begins with an empty buffer of its own.
    Raises ValueError for a url that is none.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        batch: int = 50,
        wait: float = 1.0,
        room: int = 10_000,
        timeout: float = 10.0,
    ) -> None:
        if not url.startswith(("http://", "https://")):
            raise ValueError("url: expected the collector's address, from http:// or https:// on")
        self._url = url.rstrip("/") + _PATH
        self._headers = {"Content-Type": "application/x-ndjson"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._batch, self._wait, self._room, self._timeout = batch, wait, room, timeout
        self._opener = build_opener(_NoRedirects, ProxyHandler({}))
        self._begin()
        _living.add(self)

    def _begin(self) -> None:
        self.sent = self.dropped = 0
        self._changed = threading.Condition()
        self._buffer: deque[bytes] = deque()
        self._taken = 0  # objects that the thread has in hand
        self._thread: threading.Thread | None = None
        self._hurry = self._closed = False
        self._said = ""

    def event(self, **fields: Any) -> str:
        """Sends an event, with the keys that the manual lists; returns its id, for what is said of it."""
        own = str(fields.get("id") or uuid.uuid4().hex)
        self._put({"time": time.time(), **fields, "id": own})
        return own

    def feedback(self, event_id: str, **said: Any) -> None:
        """Sends what a `user` said of an event: `thumbs`, `rating`, `correction`, `comment`."""
        self._put({"time": time.time(), **said, "event_id": event_id})

    def flush(self, timeout: float | None = None) -> bool:
        """Waits, at most so many seconds, until all is sent or dropped; returns whether it is."""
        with self._changed:
            self._hurry = True
            self._changed.notify_all()
            try:
                return self._changed.wait_for(lambda: not self._buffer and not self._taken, timeout)
            finally:
                self._hurry = False

    def close(self, timeout: float | None = 10.0) -> None:
        """Sends what waits, for at most so many seconds, and drops the rest."""
        self.flush(timeout)
        with self._changed:
            self._closed = True
            if self._buffer:
                self._drop(len(self._buffer), "the client was closed")
                self._buffer.clear()
            self._changed.notify_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _put(self, fields: dict[str, Any]) -> None:
        try:
            item = json.dumps(fields, allow_nan=False, default=_plain).encode()
        except (TypeError, ValueError, RecursionError) as error:
            item, problem = b"", f"it cannot be written as JSON ({type(error).__name__})"
        else:
            problem = f"it has more than {_LARGEST:,} bytes" if len(item) > _LARGEST else ""
        with self._changed:
            if self._closed:
                problem = "the client is closed"
            elif len(self._buffer) >= self._room:
                problem = "the buffer is full"
            if problem:
                self._drop(1, problem)
                return
            self._buffer.append(item)
            self._changed.notify_all()
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="assay-collector", daemon=True)
                with suppress(RuntimeError):  # Python ends, and starts no thread any more
                    self._thread.start()

    def _work(self) -> None:
        while batch := self._next():
            self._deliver(batch)

    def _next(self) -> list[bytes]:
        """The next objects to send, once enough are there or the first has waited; none when all is over."""
        with self._changed:
            self._changed.wait_for(lambda: self._buffer or self._closed)
            self._changed.wait_for(
                lambda: len(self._buffer) >= self._batch or self._hurry or self._closed, self._wait
            )
            batch: list[bytes] = []
            size = 0
            while self._buffer and len(batch) < self._batch and size + len(self._buffer[0]) <= _BATCH_BYTES:
                size += len(self._buffer[0])
                batch.append(self._buffer.popleft())
            self._taken = len(batch)
            return batch

    def _deliver(self, batch: Sequence[bytes]) -> None:
        """Sends objects until they are taken; where one of them cannot be, the others are."""
        pause = _PAUSE
        while True:
            status, again = self._send(batch)
            with self._changed:
                if status == 202:
                    self._said = ""
                    self.sent += len(batch)
                elif status in _FOR_GOOD and len(batch) == 1:
                    self._drop(1, f"the collector answered {status}")
                elif self._closed:
                    self._drop(len(batch), "the client was closed")
                elif status not in _FOR_GOOD:
                    self._say(
                        f"the collector answered {status}" if status else "the collector does not answer"
                    )
                    self._changed.wait_for(lambda: self._closed, max(pause, again))
                    pause = min(2 * pause, _LONGEST_PAUSE)
                    continue
                else:
                    break
                self._taken -= len(batch)
                self._changed.notify_all()
                return
        half = len(batch) // 2
        self._deliver(batch[:half])
        self._deliver(batch[half:])

    def _send(self, batch: Sequence[bytes]) -> tuple[int, float]:
        """The status of the answer, 0 for none, and the seconds after which it asks to come again."""
        request = Request(self._url, b"\n".join(batch), self._headers, method="POST")
        try:
            with self._opener.open(request, timeout=self._timeout) as answer:
                return answer.status, 0.0
        except HTTPError as error:
            with error:
                again = error.headers.get("Retry-After", "")
            return error.code, min(float(again), _LONGEST_PAUSE) if again.isdecimal() else 0.0
        except (OSError, HTTPException, ValueError):  # ValueError: a token that no header can hold
            return 0, 0.0

    def _drop(self, count: int, why: str) -> None:
        self.dropped += count
        self._say(f"dropped: {why}")

    def _say(self, what: str) -> None:
        """Logs what is wrong once, not at every attempt."""
        if what != self._said:
            self._said = what
            logger.warning("%s (%s sent, %s dropped so far)", what, self.sent, self.dropped)


def _plain(value: Any) -> str:
    """A moment as text; json.dumps writes everything else that the collector knows."""
    if hasattr(value, "isoformat"):
        return str(value.isoformat())
    raise TypeError(type(value).__name__)


_living: "weakref.WeakSet[CollectorClient]" = weakref.WeakSet()


def _begin_all() -> None:
    for client in list(_living):
        client._begin()


@atexit.register
def _close_all() -> None:
    for client in list(_living):
        client.close(_AT_EXIT)


os.register_at_fork(after_in_child=_begin_all)
