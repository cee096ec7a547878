"""Requests to an OpenAI-compatible server, with no client library, whose own work costs more."""

import asyncio
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from engine.errors import CannotRun
from engine.judges.material import sendable

if TYPE_CHECKING:
    from aiohttp import ClientSession, FormData

LONGEST_ANSWER = 64 << 20  # bytes
_REASON_LENGTH = 300


class NoConnection(Exception):
    """No connection could be made at all; `wrong`: by the address or the certificate, not for now."""

    def __init__(self, reason: str, *, wrong: bool) -> None:
        super().__init__(reason)
        self.wrong = wrong


class Broken(Exception):
    """The connection ended before the answer did."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server sent: anything at all."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    def json(self) -> Any:
        """The content as JSON, None when it is something else."""
        try:
            return json.loads(self.content)
        except (ValueError, RecursionError):
            return None


def read_key(variable: str | None) -> str | None:
    """The key in an environment variable, None where none is wanted. Raises CannotRun without it."""
    if variable is None:
        return None
    key = os.environ.get(variable, "").strip()
    if not key:
        raise CannotRun(f"{variable} is not set", f"put the judge's key in it: export {variable}=…")
    if not (key.isascii() and key.isprintable()):
        raise CannotRun(
            f"{variable} does not hold a key", "a key has no line breaks and no letters beyond ASCII"
        )
    return key


class Http:
    """One server under one key, for use in one event loop; to be closed there.

    The address may have a query ("?api-version=…", as Azure's has), which every request keeps. The key goes
    to this server alone: redirects are not followed.
    """

    def __init__(self, server: str, key: str | None) -> None:
        parts = urlsplit(server)
        self._secrets = [secret for secret in (key, parts.password) if secret]
        host = parts.netloc.rpartition("@")[2] if key else parts.netloc
        self._parts = (parts.scheme, host, parts.path.rstrip("/"), parts.query)
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        if key and (parts.hostname or "").endswith(".azure.com"):
            self._headers["api-key"] = key
        self._session: ClientSession | None = None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def post(self, path: str, body: Mapping[str, Any], timeout_s: float) -> Answer:
        """Posts JSON. Raises NoConnection, Broken or TimeoutError."""
        content = json.dumps(body).encode()
        return await self._request("POST", path, timeout_s, content, {"Content-Type": "application/json"})

    async def upload(self, path: str, form: "FormData", timeout_s: float) -> Answer:
        return await self._request("POST", path, timeout_s, form, {})

    async def get(self, path: str, timeout_s: float) -> Answer:
        return await self._request("GET", path, timeout_s, None, {})

    async def _request(
        self, method: str, path: str, timeout_s: float, data: Any, headers: Mapping[str, str]
    ) -> Answer:
        import aiohttp

        if self._session is None:
            self._session = self._open()
        scheme, host, base, query = self._parts
        url = urlunsplit((scheme, host, base + path, query, ""))
        try:
            # One time for everything: a timeout for each read would never end a server that drips bytes.
            async with (
                asyncio.timeout(timeout_s),
                self._session.request(
                    method, url, data=data, headers=headers, allow_redirects=False
                ) as response,
            ):
                return Answer(response.status, response.headers, await _bounded(response))
        except aiohttp.ClientConnectorError as error:
            wrong = isinstance(error, aiohttp.ClientConnectorDNSError | aiohttp.ClientSSLError)
            raise NoConnection(self.clean(f"no connection: {error}"), wrong=wrong) from None
        except (aiohttp.ClientError, ValueError) as error:
            raise Broken(self.clean(f"no connection: {error or type(error).__name__}")) from None

    def _open(self) -> "ClientSession":
        import aiohttp

        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),  # how many at once is decided elsewhere
            timeout=aiohttp.ClientTimeout(total=None),
            headers={**self._headers, "User-Agent": "assay"},
            cookie_jar=aiohttp.DummyCookieJar(),
            proxy=_proxy(self._parts[0], self._parts[1]),
        )

    def redact(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "[key]")
        return text

    def clean(self, text: str) -> str:
        """A server's words as a reason: on one line, short, without the key."""
        return sendable(" ".join(self.redact(text).split())[:_REASON_LENGTH])


def _proxy(scheme: str, host: str) -> str | None:
    """The proxy that the environment names for a host; found once, where aiohttp would for every request."""
    from urllib.request import getproxies, proxy_bypass

    return None if proxy_bypass(host.rpartition("@")[2]) else getproxies().get(scheme)


async def _bounded(response: Any) -> bytes:
    parts, size = [], 0
    async for part in response.content.iter_any():
        parts.append(part)
        size += len(part)
        if size > LONGEST_ANSWER:
            raise Broken(f"the answer is longer than {LONGEST_ANSWER >> 20} MiB")
    return b"".join(parts)
