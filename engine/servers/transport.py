"""Requests to one server by the openai SDK (aiohttp transport, raw answers), and whether it answers."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from engine.errors import CannotRun
from engine.servers.address import Address, Redactor, read_address, read_key, shown_address

if TYPE_CHECKING:
    from openai import AsyncOpenAI

LONGEST = 64 << 20  # bytes of a question, and of an answer
LONGEST_FILE = 1 << 30  # bytes of a batch's questions, and of its answers
FILE_END = "/content"  # of the path of a file's content
_REASON_LENGTH = 300
_NO_HEADERS: Mapping[str, str] = {}


class NoConnection(Exception):
    """No connection could be made; `wrong`: because of the address or the certificate, so permanently."""

    def __init__(self, reason: str, *, wrong: bool) -> None:
        super().__init__(reason)
        self.wrong = wrong


class Broken(Exception):
    """The connection ended before the answer did, or the answer was too long."""


class TooLong(Exception):
    """The question is longer than any server accepts. It was not sent."""


def _json(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """A server's response, with any content. Header names are case-insensitive."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    def json(self) -> Any:
        """The content as JSON, None when it is something else."""
        return _json(self.content)

    def json_lines(self) -> list[Any] | None:
        """The content as lines of JSON, those that are none left out; None where all are none."""
        lines = [line for line in self.content.splitlines() if line.strip()]
        found = [value for value in map(_json, lines) if value is not None]
        return found if found or not lines else None

    @property
    def leads_to(self) -> str:
        """A redirect's target, for people."""
        return shown_address(self.headers.get("location", "")) or "nowhere"


class Transport:
    """One server under one key, for use in one event loop. Close it there.

    The key and the questions go to this server alone: redirects are not followed. The SDK is imported with
    the first request.
    """

    def __init__(self, address: Address, key: str | None) -> None:
        self._address = address
        self._key = key
        self.redact = Redactor(key)
        self._sdk: AsyncOpenAI | None = None
        self._headers: dict[str, Any] = {}

    async def close(self) -> None:
        if self._sdk is not None:
            await self._sdk.close()

    async def post(self, path: str, body: Mapping[str, Any], timeout_s: float) -> RawAnswer:
        """Posts JSON. Raises NoConnection, Broken, TooLong or TimeoutError."""
        content = json.dumps(body).encode()
        if len(content) > LONGEST:
            raise TooLong(f"the question is longer than {LONGEST >> 20} MiB")
        return await self._request("post", path, timeout_s, content=content)

    async def upload(
        self, path: str, fields: Mapping[str, str], content: bytes, timeout_s: float
    ) -> RawAnswer:
        """Posts a file as a form. Raises as `post`."""
        if len(content) > LONGEST_FILE:
            raise TooLong(f"the questions are longer than {LONGEST_FILE >> 20} MiB")
        file = ("file", ("questions.jsonl", content, "application/jsonl"))
        form = {"Content-Type": "multipart/form-data"}
        return await self._request("post", path, timeout_s, form, body=dict(fields), files=[file])

    async def get(self, path: str, timeout_s: float) -> RawAnswer:
        """Raises as `post`."""
        return await self._request("get", path, timeout_s)

    async def _request(
        self,
        method: str,
        path: str,
        timeout_s: float,
        headers: Mapping[str, str] = _NO_HEADERS,
        **request: Any,
    ) -> RawAnswer:
        from httpx2 import Response
        from openai import APIConnectionError, APIStatusError

        if self._sdk is None:
            self._sdk = self._open()
        send: Any = self._sdk.post if method == "post" else self._sdk.get
        options = {"headers": {**self._headers, **headers}}
        try:
            # One time for everything: a timeout for each read would never end a server that drips bytes.
            async with asyncio.timeout(timeout_s):
                answer: Response = await send(path, cast_to=Response, options=options, **request)
        except APIStatusError as error:
            answer = error.response
        except APIConnectionError as error:
            raise self._fault(error) from None
        return RawAnswer(answer.status_code, answer.headers, answer.content)

    def _open(self) -> "AsyncOpenAI":
        from httpx2 import Limits
        from openai import AsyncOpenAI, DefaultAioHttpClient, Omit

        self._headers = {
            # What the SDK would add of its own accord: the environment's key and organisation are not for
            # every server, and a bearer without a key is for none.
            "Authorization": Omit(),
            "OpenAI-Organization": Omit(),
            "OpenAI-Project": Omit(),
            # A short answer may not unfold into gigabytes.
            "Accept-Encoding": "identity",
            "User-Agent": "assay",
            **self._address.headers(self._key),
        }
        return AsyncOpenAI(
            api_key=self._key or "none",
            base_url=self._address.base,
            default_query=dict(self._address.query),
            max_retries=0,
            timeout=None,
            http_client=DefaultAioHttpClient(
                limits=Limits(max_connections=0),  # without limit: how many at once is decided elsewhere
                follow_redirects=False,
                timeout=None,
                event_hooks={"response": [_bound]},
            ),
        )

    def _fault(self, error: Exception) -> NoConnection | Broken:
        """Whether a connection could be made, from the deepest cause that the SDK's error names."""
        import aiohttp

        while error.__cause__ is not None and isinstance(error.__cause__, Exception):
            error = error.__cause__
            if isinstance(error, aiohttp.ClientConnectorError):
                wrong = isinstance(error, aiohttp.ClientConnectorDNSError | aiohttp.ClientSSLError)
                return NoConnection(self.clean(f"no connection: {error}"), wrong=wrong)
        return Broken(self.clean(f"no connection: {error or type(error).__name__}"))

    def clean(self, text: str) -> str:
        """A server's words as a reason: on one line, short, without the key."""
        line = " ".join(self.redact(text).split())[:_REASON_LENGTH]
        # Half a character, which no store can hold, becomes a question mark.
        return line.encode("utf-8", "replace").decode()


async def _bound(response: Any) -> None:
    """Has the body of an answer end with an error where it is too long."""
    longest = LONGEST_FILE if response.request.url.path.endswith(FILE_END) else LONGEST
    response.stream = _bounded(response.stream, longest)


def _bounded(stream: Any, longest: int) -> Any:
    from httpx2 import AsyncByteStream, ReadError

    class Bounded(AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            size = 0
            async for part in stream:
                size += len(part)
                if size > longest:
                    raise ReadError(f"the answer is longer than {longest >> 20} MiB")
                yield part

        async def aclose(self) -> None:
            await stream.aclose()

    return Bounded()


TIMEOUT_S = 5.0
_LISTED = 10  # of a server's models that are named


@dataclass(frozen=True, slots=True)
class NamedServer:
    """A part of the plan that needs a server: its name there, the address, and the model it asks for."""

    subject: str
    address: str
    model: str | None
    key_env: str | None


@dataclass(frozen=True, slots=True)
class Reached:
    """How a server answered; `hint` is the fix where it did not answer as expected."""

    server: NamedServer
    level: Literal["error", "warning", "ok"]
    message: str
    hint: str = ""


def reach(servers: Sequence[NamedServer]) -> list[Reached]:
    """Asks all servers at once, so that several silent ones cost one timeout."""
    if not servers:
        return []

    async def ask_all() -> list[Reached]:
        return await asyncio.gather(*map(_ask, servers))

    # In a thread of its own: whoever checks a plan may have an event loop running.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, ask_all()).result()


async def _ask(server: NamedServer) -> Reached:
    address = read_address(server.address)
    try:
        transport = Transport(address, read_key(server.subject, server.key_env))
    except CannotRun as error:
        return Reached(server, "error", error.message, error.hint)
    try:
        answer = await transport.get("/models", TIMEOUT_S)
    except (NoConnection, Broken, TimeoutError) as error:
        reason = str(error) or f"no answer within {TIMEOUT_S:g} s"
        message = f"{address.shown} cannot be reached: {reason}"
        return Reached(server, "error", message, "start the server, or correct its address in the plan")
    finally:
        await transport.close()
    heard = _heard(server, address.shown, answer)
    return replace(heard, message=transport.redact(heard.message), hint=transport.redact(heard.hint))


def _heard(server: NamedServer, shown: str, answer: RawAnswer) -> Reached:
    status = answer.status
    if status < 300:
        return _listed(server, shown, answer)
    if status < 400:
        message = f"{shown} redirects ({status}) to {answer.leads_to}"
        way_out = "correct its address in the plan: redirects are not followed"
        return Reached(server, "error", message, way_out)
    if status in (401, 403):
        way_out = (
            f"correct the key in {server.key_env}" if server.key_env else "name its key with api_key_env"
        )
        return Reached(server, "error", f"{shown} refuses access ({status})", way_out)
    if status in (404, 405):
        return Reached(server, "ok", f"{shown} answers, but lists no models")
    return Reached(server, "warning", f"{shown} answers with status {status}", "check the server's log")


def _listed(server: NamedServer, shown: str, answer: RawAnswer) -> Reached:
    try:
        names = [str(entry["id"]) for entry in answer.json()["data"]]
    except (KeyError, TypeError):
        message = f"{shown} answers, but not like an OpenAI server"
        return Reached(server, "warning", message, "does it end in /v1?")
    if server.model is None or server.model in names or not names:
        return Reached(server, "ok", f"{shown} answers")
    hint = f"it lists: {', '.join(names[:_LISTED])}"
    return Reached(server, "warning", f"{shown} does not list the model {server.model!r}", hint)
