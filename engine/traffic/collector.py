"""The collector: events and feedback come in over HTTP, and are on disk when they are answered.

One thread writes. Whatever waits then goes into the store in one transaction, so that many small requests
share one wait for the disk. A request is stored whole or not at all. What waits is bounded in number and in
bytes; beyond that clients are told to come again. Nothing that a client sends reaches a log.
"""

import asyncio
import email.message
import functools
import gzip
import hashlib
import hmac
import io
import json
import math
import queue
import re
import resource
import signal
import socket
import threading
import time
import traceback
import zlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from engine.data.cells import Malformed
from engine.data.reading import decode_json, type_name
from engine.errors import BadInput
from engine.traffic import events as native
from store import database
from store.errors import StoreError
from store.intake import Clash, Delivery, Intake, Taken
from store.records import TrafficEvent, TrafficFeedback

SOURCE = "collector"
EVENTS, FEEDBACK = "/v1/events", "/v1/feedback"
EVENT_BYTES, REQUEST_BYTES = 1 << 20, 10 << 20
WAITING, HELD_BYTES = 1_000, 64 << 20  # requests, and their bytes, that wait for an answer
GROUP = 200  # requests in one transaction
CONNECTIONS = 1_000
HEAD_SECONDS, BODY_SECONDS, STOP_SECONDS = 10, 30, 10  # for a request's head, its body, and the last ones
LARGE = 1 << 16  # bytes of a body that is read in a thread, so that others are answered meanwhile
ADDRESSES = 10_000  # whose rates are kept
EVENTS_AT_ONCE = 1_000
_HOST = re.compile(r"(?:\[([0-9a-fA-F:.]+)]|([\w.-]+))(?::\d+)?")
KEY_HEADER, KEY_LENGTH = "Idempotency-Key", 255
SOON, LATER = 1, 5  # seconds after which a client may try again
JSON, LINES = "application/json", ("application/x-ndjson", "application/ndjson", "application/jsonl")


@dataclass(frozen=True, slots=True)
class Settings:
    """How the collector is set up: `token` None takes requests from anybody who reaches the address."""

    folder: Path
    token: str | None
    mask: bool = False
    rate: float = 1_000.0  # requests a second from one address


class Refusal(Exception):
    """Why a request is not taken, as its client is told. `again`: seconds after which it may be."""

    def __init__(self, status: int, message: str, param: str | None = None, again: int | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.again = status, message, param, again

    def answer(self) -> JSONResponse:
        headers = {"Retry-After": str(self.again)} if self.again is not None else {}
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        error = {"message": self.message, "param": self.param}
        return JSONResponse({"error": error}, self.status, headers)


Outcome = Taken | Exception
Asked = tuple[Delivery, "asyncio.Future[Taken]"]


class Writer(threading.Thread):
    """Puts what waits into the store. `tell` gets a line for people whenever the store begins to fail."""

    def __init__(self, folder: Path, tell: Callable[[str], None]) -> None:
        super().__init__(name="writer")
        self._intake = Intake(folder)
        self._tell = tell
        self._told = ""
        self._queue: queue.SimpleQueue[Asked | None] = queue.SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self.waiting = 0

    async def put(self, delivery: Delivery) -> Taken:
        """Returns when the request is on disk. Raises StoreError when it is not, or what is wrong with it."""
        future: asyncio.Future[Taken] = self._loop.create_future()
        self.waiting += 1
        try:
            self._queue.put((delivery, future))
            return await future
        finally:
            self.waiting -= 1

    def stop(self) -> None:
        """Ends the thread when everything that waits is stored."""
        self._queue.put(None)

    def run(self) -> None:
        going = True
        while going:
            group = []
            asked = self._queue.get()
            while asked is not None:
                group.append(asked)
                if len(group) == GROUP or self._queue.empty():
                    break
                asked = self._queue.get()
            going = asked is not None
            if group:
                outcomes = self._outcomes([delivery for delivery, _ in group])
                futures = [future for _, future in group]
                self._loop.call_soon_threadsafe(_settle, futures, outcomes)
        self._intake.close()

    def _outcomes(self, deliveries: Sequence[Delivery]) -> Sequence[Outcome]:
        try:
            outcomes = self._intake.take(deliveries)
            self._told = ""
        except StoreError as error:
            if str(error) != self._told:
                self._told = str(error)
                self._tell(self._told)
            return [error] * len(deliveries)
        except Exception as error:
            return [error] * len(deliveries)
        return outcomes


def _settle(futures: Sequence["asyncio.Future[Taken]"], outcomes: Sequence[Outcome]) -> None:
    for future, outcome in zip(futures, outcomes, strict=True):
        if future.done():  # the server stops without it
            continue
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)


class Rates:
    """How often each address may ask: `rate` times a second in the mean, and as often at once."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._due: dict[str, float] = {}  # when the address has used up nothing

    def wait(self, address: str) -> float:
        """Seconds until the address may ask; 0.0 counts this as asked."""
        now = time.monotonic()
        due = max(self._due.pop(address, now), now)
        late = due - now > 1.0 - 1.0 / self._rate
        self._due[address] = due if late else due + 1.0 / self._rate
        while len(self._due) > ADDRESSES:
            self._due.pop(next(iter(self._due)))  # the one that has been silent for longest
        return due - now if late else 0.0


class Collector:
    """The requests of one server."""

    def __init__(self, settings: Settings, tell: Callable[[str], None]) -> None:
        self._settings = settings
        self._tell = tell
        self._salt = native.salt(settings.folder)
        self._rates = Rates(settings.rate)
        self._held = 0
        self._writer: Writer

    @asynccontextmanager
    async def running(self, _app: FastAPI) -> AsyncIterator[None]:
        self._writer = Writer(self._settings.folder, self._tell)
        self._writer.start()
        try:
            yield
        finally:
            self._writer.stop()
            await asyncio.to_thread(self._writer.join)

    async def health(self) -> JSONResponse:
        folder = self._settings.folder
        there = database.identity(folder) is not None
        if there and database.is_writable(folder) and not database.is_full(folder):
            return JSONResponse({"status": "ok"})
        raise Refusal(503, "the store cannot be written", again=LATER)

    async def take(self, request: Request) -> JSONResponse:
        """Answers 202 when the events or feedback of a request are on disk."""
        self._admit(request)
        form, key = _form(request), _idempotency_key(request)
        with self._room() as hold:
            body = await _body(request, hold)
            reading = functools.partial(self._delivery, body, form, request.url.path, key)
            delivery = await asyncio.to_thread(reading) if len(body) > LARGE else reading()
            taken = await self._stored(delivery)
        return JSONResponse({"ids": taken.ids}, 202, {"Idempotent-Replayed": "true"} if taken.again else {})

    def _admit(self, request: Request) -> None:
        address = request.client.host if request.client else ""
        if wait := self._rates.wait(address):
            raise Refusal(429, "too many requests from this address", again=math.ceil(wait))
        if self._settings.token is None:
            # A page in a browser reaches a server on this machine, too, under a name of the page's own.
            named = _HOST.fullmatch(request.headers.get("host", ""))
            if named is None or not is_loopback(named[1] or named[2]):
                raise Refusal(403, "without a token only names of this machine are answered", "Host")
        elif not self._is_known(request.headers.getlist("authorization")):
            raise Refusal(401, "a token is needed: Authorization: Bearer …", "Authorization")
        if self._writer.waiting >= WAITING:
            raise Refusal(429, "too many requests are waiting", again=SOON)

    def _is_known(self, given: Sequence[str]) -> bool:
        scheme, _, token = given[0].partition(" ") if len(given) == 1 else ("", "", "")
        known = (self._settings.token or "").encode()
        return hmac.compare_digest(token.strip().encode(), known) and scheme.lower() == "bearer"

    @contextmanager
    def _room(self) -> Iterator[Callable[[int], None]]:
        """Counts the bytes that a request takes until it is answered."""
        own = 0

        def hold(size: int) -> None:
            nonlocal own
            if self._held + size > HELD_BYTES:
                raise Refusal(429, "too many bytes are waiting", again=SOON)
            own += size
            self._held += size

        try:
            yield hold
        finally:
            self._held -= own

    def _hash(self, *parts: bytes) -> str:
        return hashlib.blake2b(b"\0".join(parts), key=self._salt, digest_size=16).hexdigest()

    def _delivery(self, body: bytes, form: str, path: str, own_key: str) -> Delivery:
        """What a request asks to be stored. Raises Refusal that names what is wrong."""
        key = self._hash(path.encode(), own_key.encode()) if own_key else ""
        events, feedback, ids = [], [], []
        received = time.time()
        for place, (where, raw) in enumerate(_objects(body, form)):
            try:
                event, said = self._read(raw, path, f"{key}-{place}" if key else "", received)
            except (Malformed, BadInput) as error:
                param = error.message.partition(":")[0]
                raise Refusal(
                    400, f"{where}{error.message}", f"{where[:-2]}{'.' if where else ''}{param}"
                ) from error
            events += [event] if event else []
            feedback += [said] if said else []
            ids += [found.id for found in (event, said) if found][:1]
        return Delivery(events, feedback, ids, key, self._hash(body) if key else "")

    def _read(
        self, raw: Mapping[str, Any], path: str, own: str, received: float
    ) -> tuple[TrafficEvent | None, TrafficFeedback | None]:
        asked = any(raw.get(key) is not None for key in native.ASKED)
        if path == FEEDBACK:
            if asked:
                raise Malformed(f"{native.ASKED[0]}: is part of an event, which goes to {EVENTS}")
            return None, native.feedback(raw, salt=self._salt, received=received, mask=self._settings.mask)
        if asked:
            # Under a key the same request is the same event; without a key or an id the moment tells.
            given = {key: value for key, value in raw.items() if value is not None}
            raw = {**({"id": own} if own else {}), "time": received, **given}
        return native.read(raw, source=SOURCE, salt=self._salt, received=received, mask=self._settings.mask)

    async def _stored(self, delivery: Delivery) -> Taken:
        try:
            return await self._writer.put(delivery)
        except StoreError as error:
            message = "the store cannot be written now; nothing of this request was stored"
            raise Refusal(503, message, again=LATER) from error
        except Clash as error:
            if error.id is None:
                raise Refusal(422, str(error), KEY_HEADER) from error
            place = delivery.ids.index(error.id)
            raise Refusal(409, str(error), f"[{place}].id" if len(delivery.ids) > 1 else "id") from error


def _form(request: Request) -> str:
    """The body's media type."""
    message = email.message.Message()
    message["Content-Type"] = request.headers.get("content-type", "")
    form = message.get_content_type()
    if form not in (JSON, *LINES) or str(message.get_content_charset("utf-8")) not in ("utf-8", "us-ascii"):
        raise Refusal(415, f"expected {JSON} or {LINES[0]}, in UTF-8", "Content-Type")
    return form


def _idempotency_key(request: Request) -> str:
    given = request.headers.getlist(KEY_HEADER)
    if not given:
        return ""
    if len(given) > 1 or not 0 < len(given[0]) <= KEY_LENGTH:
        raise Refusal(400, f"expected one key of 1 to {KEY_LENGTH} characters", KEY_HEADER)
    return given[0]


async def _body(request: Request, hold: Callable[[int], None]) -> bytes:
    """The request's body, unpacked, once it is there as a whole."""
    packing = request.headers.get("content-encoding", "identity").lower()
    if packing not in ("identity", "gzip"):
        raise Refusal(415, "expected gzip or no encoding", "Content-Encoding")
    if int(request.headers.get("content-length", 0)) > REQUEST_BYTES:
        raise _too_large()
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for part in request.stream():
                hold(len(part))
                body += part
                if len(body) > REQUEST_BYTES:
                    raise _too_large()
    except TimeoutError as error:
        raise Refusal(408, f"the body did not come within {BODY_SECONDS} seconds") from error
    except ClientDisconnect as error:
        raise Refusal(400, "the request broke off") from error
    if packing == "identity":
        return bytes(body)
    unpacked = await asyncio.to_thread(_unpacked, bytes(body))
    hold(len(unpacked))
    return unpacked


def _unpacked(body: bytes) -> bytes:
    try:
        found = gzip.GzipFile(fileobj=io.BytesIO(body)).read(REQUEST_BYTES + 1)
    except (EOFError, OSError, zlib.error) as error:
        raise Refusal(400, "the body is no whole gzip data", "Content-Encoding") from error
    if len(found) > REQUEST_BYTES:
        raise _too_large()
    return found


def _too_large() -> Refusal:
    return Refusal(413, f"a request has at most {REQUEST_BYTES >> 20} MiB, also unpacked")


def _objects(body: bytes, form: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The objects of a body, each with its place in words: "" where it is alone."""
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise Refusal(400, f"the body is not UTF-8 (byte {error.start + 1})") from error
    if form == JSON:
        found = _decoded(text, "the body")
        listed = found if isinstance(found, list) else [found]
        large = len(body) > EVENT_BYTES
        sizes = (len(json.dumps(one).encode()) if large else 0 for one in listed)
    else:
        lines = [line for line in text.split("\n") if line.strip()]
        found = listed = [_decoded(line, f"line {number}") for number, line in enumerate(lines, start=1)]
        sizes = (len(line.encode()) for line in lines)
    if not listed:
        raise Refusal(400, "the request has no events")
    if len(listed) > EVENTS_AT_ONCE:
        raise Refusal(413, f"a request has at most {EVENTS_AT_ONCE:,} events")
    for place, (one, size) in enumerate(zip(listed, sizes, strict=True)):
        where = f"[{place}]: " if found is listed else ""
        if size > EVENT_BYTES:
            raise Refusal(413, f"{where}an event has at most {EVENT_BYTES >> 20} MiB", where[:-2] or None)
        if not isinstance(one, dict):
            raise Refusal(
                400, f"{where}found {type_name(one)}, where an object was expected", where[:-2] or None
            )
        yield where, one


def _decoded(text: str, where: str) -> Any:
    try:
        return decode_json(text)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise Refusal(400, f"{where} is not JSON: {error.msg} ({place})") from error
    except ValueError as error:
        raise Refusal(400, f"{where}: {error}") from error


def is_loopback(host: str) -> bool:
    """Whether a name or an address is this machine's own and nobody else's."""
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return host == "localhost"


class _Silent:
    """Answers what went wrong in here with 500: uvicorn would log it, with texts in its message."""

    def __init__(self, app: ASGIApp, tell: Callable[[str], None]) -> None:
        self._app = app
        self._tell = tell

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, receive, send)
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            self._tell(f"unexpected {type(error).__name__} in {place.name}, line {place.lineno}")
            answer = Refusal(500, "something went wrong here; nothing of this request was stored").answer()
            await answer(scope, receive, send)


class _Patient(H11Protocol):
    """HTTP that waits only so long for the head of a request, and takes only so many connections."""

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        if len(self.connections) > CONNECTIONS:
            transport.abort()
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def handle_events(self) -> None:
        super().handle_events()
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_waiting()
        elif self._late is None:
            self._wait_for_head()

    def _wait_for_head(self) -> None:
        self._late = self.loop.call_later(HEAD_SECONDS, self.transport.abort)

    def _stop_waiting(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None


def application(settings: Settings, tell: Callable[[str], None]) -> FastAPI:
    """The collector as an ASGI application; `tell` gets lines for the people who run it."""
    collector = Collector(settings, tell)
    # Its paths are in the manual; a page that describes them would be for everybody to see.
    app = FastAPI(openapi_url=None, redirect_slashes=False, lifespan=collector.running)
    app.add_api_route("/health", collector.health, response_model=None)
    for path in (EVENTS, FEEDBACK):
        app.add_api_route(path, collector.take, methods=["POST"], response_model=None)
    app.add_middleware(_Silent, tell=tell)

    @app.exception_handler(Refusal)
    async def refused(_request: Request, error: Refusal) -> JSONResponse:
        return error.answer()

    @app.exception_handler(HTTPException)
    async def unknown(_request: Request, error: HTTPException) -> JSONResponse:
        return Refusal(error.status_code, str(error.detail)).answer()

    return app


def listen(host: str, port: int) -> socket.socket:
    """A socket at that address. Raises BadInput where there can be none."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise BadInput(
            f"cannot listen on {host}, port {port}: {reason}", "choose another with --host, --port"
        ) from error


def server(settings: Settings, tell: Callable[[str], None]) -> uvicorn.Server:
    """The collector as a server, which logs nothing."""
    return uvicorn.Server(
        uvicorn.Config(
            application(settings, tell),
            http=_Patient,
            ws="none",
            loop="asyncio",
            lifespan="on",
            log_config=None,
            log_level="critical",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=HEAD_SECONDS,
            timeout_graceful_shutdown=STOP_SECONDS,
        )
    )


def serve(settings: Settings, listening: socket.socket, tell: Callable[[str], None]) -> None:
    """Answers requests until SIGTERM or SIGINT; what was taken by then is stored when this returns."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    # uvicorn sends itself the signal again when it has stopped.
    signal.signal(signal.SIGTERM, lambda *_: None)
    server(settings, tell).run(sockets=[listening])
