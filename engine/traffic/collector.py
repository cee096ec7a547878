"""The collector: events and feedback come in over HTTP, and are on disk when they are answered.

One thread writes. Whatever waits then goes into the store in one transaction, so that many small requests
share one wait for the disk. A request is stored whole or not at all. What waits is bounded in number and in
bytes; beyond that clients are told to come again. Nothing that a client sends reaches a log.
"""

import asyncio
import email.message
import functools
import hmac
import math
import queue
import re
import resource
import signal
import socket
import threading
import time
import traceback
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path
from typing import ClassVar, TypeVar

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from engine.errors import BadInput
from engine.traffic.deliveries import (
    EVENTS,
    FEEDBACK,
    JSON,
    LINES,
    REQUEST_BYTES,
    SPANS,
    Reader,
    Refusal,
    too_large,
    unpacked,
)
from engine.traffic.events import salt
from store import database
from store.errors import StoreError
from store.intake import Clash, Delivery, Intake, Taken

WAITING, HELD_BYTES = 1_000, 64 << 20  # requests, and their bytes, that wait for an answer
GROUP = 200  # requests in one transaction
CONNECTIONS = 1_000
HEAD_SECONDS, BODY_SECONDS, STOP_SECONDS = 10, 30, 10  # for a request's head, its body, and the last ones
LARGE = 1 << 16  # bytes of a body that is read in a thread, so that others are answered meanwhile
ADDRESSES = 10_000  # whose rates are kept
_HOST = re.compile(r"(?:\[([0-9a-fA-F:.]+)]|([\w.-]+))(?::\d+)?")
KEY_HEADER, KEY_LENGTH = "Idempotency-Key", 255
SOON, LATER = 1, 5  # seconds after which a client may try again


@dataclass(frozen=True, slots=True)
class CollectorSettings:
    """How the collector is set up: `token` None takes requests from anybody who reaches the address."""

    folder: Path
    token: str | None
    mask: bool = False
    rate: float = 1_000.0  # requests a second from one address


T = TypeVar("T")
Outcome = Taken | Exception
Asked = tuple[Delivery, "asyncio.Future[Taken]"]


class TrafficWriter(threading.Thread):
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
        early = due - now - (1.0 - 1.0 / self._rate)
        self._due[address] = due if early > 0 else due + 1.0 / self._rate
        while len(self._due) > ADDRESSES:
            self._due.pop(next(iter(self._due)))  # the one that has been silent for longest
        return max(0.0, early)


class Collector:
    """The requests of one server."""

    def __init__(self, settings: CollectorSettings, tell: Callable[[str], None]) -> None:
        self._settings = settings
        self._tell = tell
        self._reader = Reader(salt(settings.folder), settings.mask)
        self._rates = Rates(settings.rate)
        self._held = 0
        self._writer: TrafficWriter

    @asynccontextmanager
    async def running(self, _app: FastAPI) -> AsyncIterator[None]:
        self._writer = TrafficWriter(self._settings.folder, self._tell)
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
        async with self._asked(request) as (body, form):
            key = _idempotency_key(request)
            delivery = await _read(body, self._reader.delivery, form, request.url.path, key)
            try:
                taken = await self._stored(delivery)
            except Clash as error:
                raise _clash(error, delivery.ids) from error
        return JSONResponse({"ids": taken.ids}, 202, {"Idempotent-Replayed": "true"} if taken.again else {})

    async def take_spans(self, request: Request) -> JSONResponse:
        """Answers as OTLP says, when the calls in a request are on disk: 200, and how many could not be read.

        Exporters do not send again what was refused, so one bad span keeps no other one out.
        """
        async with self._asked(request) as (body, form):
            delivery, problems = await _read(body, self._reader.spans, form)
            while delivery.events or delivery.feedback:
                try:
                    await self._stored(delivery)
                    break
                except Clash as clash:
                    problems.append(str(clash))
                    others = [event for event in delivery.events if event.id != clash.id]
                    delivery = replace(delivery, events=others)
        refused = (
            {SPANS[request.url.path]: str(len(problems)), "errorMessage": problems[0]} if problems else {}
        )
        return JSONResponse({"partialSuccess": refused} if refused else {})

    @asynccontextmanager
    async def _asked(self, request: Request) -> AsyncIterator[tuple[bytes, str]]:
        """The body of a request that may be taken, and its media type; it counts until it is answered."""
        self._admit(request)
        form = _form(request)
        with self._room() as hold:
            yield await _body(request, hold), form

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

    async def _stored(self, delivery: Delivery) -> Taken:
        try:
            return await self._writer.put(delivery)
        except StoreError as error:
            message = "the store cannot be written now; nothing of this request was stored"
            raise Refusal(503, message, again=LATER) from error


async def _read(body: bytes, read: Callable[..., T], *arguments: str) -> T:
    """Reads a large body in a thread, so that others are answered meanwhile."""
    return await asyncio.to_thread(read, body, *arguments) if len(body) > LARGE else read(body, *arguments)


def _clash(error: Clash, ids: Sequence[str]) -> Refusal:
    if error.id is None:
        return Refusal(422, str(error), KEY_HEADER)
    return Refusal(409, str(error), f"[{ids.index(error.id)}].id" if len(ids) > 1 else "id")


def _answer(refusal: Refusal) -> JSONResponse:
    headers = {"Retry-After": str(refusal.again)} if refusal.again is not None else {}
    if refusal.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(
        {"error": {"message": refusal.message, "param": refusal.param}}, refusal.status, headers
    )


def _form(request: Request) -> str:
    """The body's media type."""
    message = email.message.Message()
    message["Content-Type"] = ", ".join(request.headers.getlist("content-type"))
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
    packing = ", ".join(request.headers.getlist("content-encoding")).lower() or "identity"
    if packing not in ("identity", "gzip"):
        raise Refusal(415, "expected gzip or no encoding", "Content-Encoding")
    if "content-length" in request.headers and "transfer-encoding" in request.headers:
        raise Refusal(400, "two lengths of the body are given", "Transfer-Encoding")
    if int(request.headers.get("content-length", 0)) > REQUEST_BYTES:
        raise too_large()
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for part in request.stream():
                hold(len(part))
                body += part
                if len(body) > REQUEST_BYTES:
                    raise too_large()
    except TimeoutError as error:
        raise Refusal(408, f"the body did not come within {BODY_SECONDS} seconds") from error
    except ClientDisconnect as error:
        raise Refusal(400, "the request broke off") from error
    if packing == "identity":
        return bytes(body)
    whole = await asyncio.to_thread(unpacked, bytes(body))
    hold(len(whole))
    return whole


def is_loopback(host: str) -> bool:
    """Whether a name or an address is this machine's own and nobody else's."""
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return host == "localhost"


class _Silent:
    """Answers what went wrong in here with 500: uvicorn would log it, with texts in its message."""

    def __init__(self, app: ASGIApp, tell: Callable[[str], None]) -> None:
        self._app = app
        self._tell = functools.cache(tell)  # once for each place

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, receive, send)
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            self._tell(f"unexpected {type(error).__name__} in {place.name}, line {place.lineno}")
            refusal = Refusal(500, "something went wrong here")
            await _answer(refusal)(scope, receive, send)


class _Patient(H11Protocol):
    """HTTP that waits only so long for the head of a request. Where there are too many connections, the one
    that has waited for longest makes room.
    """

    _waiting: ClassVar[dict["_Patient", asyncio.TimerHandle]] = {}

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._wait_for_head()
        if len(self.connections) > CONNECTIONS:
            next(iter(self._waiting)).transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def handle_events(self) -> None:
        super().handle_events()
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_waiting()
        elif self not in self._waiting:
            self._wait_for_head()

    def _wait_for_head(self) -> None:
        self._waiting[self] = self.loop.call_later(HEAD_SECONDS, self.transport.abort)

    def _stop_waiting(self) -> None:
        if late := self._waiting.pop(self, None):
            late.cancel()


def application(settings: CollectorSettings, tell: Callable[[str], None]) -> FastAPI:
    """The collector as an ASGI application; `tell` gets lines for the people who run it."""
    collector = Collector(settings, tell)
    # Its paths are in the manual; a page that describes them would be for everybody to see.
    app = FastAPI(openapi_url=None, redirect_slashes=False, lifespan=collector.running)
    app.add_api_route("/health", collector.health, response_model=None)
    for path in (EVENTS, FEEDBACK):
        app.add_api_route(path, collector.take, methods=["POST"], response_model=None)
    for path in SPANS:
        app.add_api_route(path, collector.take_spans, methods=["POST"], response_model=None)
    app.add_middleware(_Silent, tell=tell)

    @app.exception_handler(Refusal)
    async def refused(_request: Request, error: Refusal) -> JSONResponse:
        return _answer(error)

    @app.exception_handler(HTTPException)
    async def unknown(_request: Request, error: HTTPException) -> JSONResponse:
        return _answer(Refusal(error.status_code, str(error.detail)))

    return app


def listen(host: str, port: int) -> socket.socket:
    """A socket at that address. Raises BadInput where there can be none."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.create_server(address[:2], family=family)
        # Inherited by its connections. Else an answer's body waits 40 ms for the receipt of its head.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listening
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise BadInput(
            f"cannot listen on {host}, port {port}: {reason}", "choose another with --host, --port"
        ) from error


def server(settings: CollectorSettings, tell: Callable[[str], None]) -> uvicorn.Server:
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


def serve(settings: CollectorSettings, listening: socket.socket, tell: Callable[[str], None]) -> None:
    """Answers requests until SIGTERM or SIGINT; what was taken by then is stored when this returns."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    # uvicorn sends itself the signal again when it has stopped.
    signal.signal(signal.SIGTERM, lambda *_: None)
    server(settings, tell).run(sockets=[listening])
