"""Addresses and keys of servers: every address and every key is read here."""

import os
import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from engine.errors import LEAST_SECRET, CannotRun

_AZURE = (".azure.com", ".azure.us", ".azure.cn", ".azure-api.net")


@dataclass(frozen=True, slots=True)
class Address:
    """One server.

    The API's paths are appended to `base`, and every request carries `query` ("api-version", as
    Azure asks). `shown` is the address as the plan gives it, without possible secrets: no user,
    password or query.
    """

    base: str
    query: tuple[tuple[str, str], ...]
    shown: str

    @property
    def is_azure(self) -> bool:
        return (urlsplit(self.base).hostname or "").endswith(_AZURE)

    def headers(self, key: str | None) -> dict[str, str]:
        """The headers that a key goes in: Azure reads it from `api-key`, everybody else as a bearer token."""
        if key is None:
            return {}
        if self.is_azure:
            return {"api-key": key}
        bearer = {"Authorization": f"Bearer {key}"}
        # A gateway in front of Azure may read either.
        return {**bearer, "api-key": key} if any(name == "api-version" for name, _ in self.query) else bearer


def read_address(server: str) -> Address:
    """A server's address as a plan gives it: with or without "/v1", a trailing slash, a query."""
    parts = urlsplit(server)
    host, path = parts.netloc.rpartition("@")[2], parts.path.rstrip("/")
    return Address(
        base=urlunsplit((parts.scheme, host, path or "/v1", "", "")),
        query=tuple(parse_qsl(parts.query, keep_blank_values=True)),
        shown=urlunsplit((parts.scheme, host, path, "", "")),
    )


def shown_address(url: str) -> str:
    """Any address without what may be secret in it, for people; "" for what is none."""
    try:
        parts = urlsplit("".join(filter(str.isprintable, url)))
    except ValueError:
        return ""
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), "", ""))


def held(variable: str) -> str:
    """What an environment variable holds; "" where it is not set."""
    return os.environ.get(variable, "").strip()


def read_key(who: str, variable: str | None) -> str | None:
    """The key in an environment variable, None where none is wanted. Raises CannotRun when it holds none."""
    if variable is None:
        return None
    key = held(variable)
    if not key:
        raise CannotRun(f"{who}: the environment variable {variable} is not set", f"export {variable}=…")
    if not (key.isascii() and key.isprintable()):
        raise CannotRun(
            f"{who}: the environment variable {variable} does not hold a key",
            "a key has no line breaks and no letters beyond ASCII",
        )
    return key


class Redactor:
    """Removes a key from texts for people or files.

    Only a key of 8 characters or more, and only as a whole word: "x" or "EMPTY", which servers without keys
    are given, occur in ordinary text.
    """

    def __init__(self, key: str | None) -> None:
        self._key = key if key is not None and len(key) >= LEAST_SECRET else None
        self._word = re.compile(rf"(?<![A-Za-z0-9]){re.escape(self._key or '')}(?![A-Za-z0-9])")

    def __call__(self, text: str) -> str:
        if self._key is None or self._key not in text:
            return text
        return self._word.sub("[key]", text)
