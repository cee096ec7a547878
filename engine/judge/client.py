"""One OpenAI-compatible server: requests with bounded concurrency, patience and a kept secret."""

import asyncio
import os
import random
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from engine.errors import CannotRun
from engine.judge.limiter import Limiter, Overloaded
from engine.judge.wire import NoReply, Reply, complaint_of, read_reply, rejected_names, retry_after

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableSet

    from openai import APIStatusError

    from engine import plan

_LONGEST_BACKOFF = 30.0
_LONGEST_WAIT = 300.0
_REASON_LENGTH = 300


class CallFailed(Exception):
    """One call came to no answer after its retries; the reason is for people, and holds no key."""

    def __init__(self, reason: str, attempts: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.attempts = attempts


class _Transient(Exception):
    """Worth another try, after `wait` seconds if the server said so."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.wait = wait


class _Unreachable(_Transient):
    """No connection could be made at all."""


class _Busy(_Transient, Overloaded):
    """Worth another try, with less at once."""


class _Rejected(Exception):
    """The server does not take these parameters."""

    def __init__(self, names: set[str]) -> None:
        self.names = names


class _Final(Exception):
    """Another try would end the same."""


def public_url(server: str) -> str:
    """A server's address without what may be secret in it: user, password, query."""
    parts = urlsplit(server)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), "", ""))


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


class ChatServer:
    """Chat completions from one server, for use in one event loop; to be closed there.

    `rejected` collects the names of optional parameters that the server refuses; they are left out from
    then on, also by a later ChatServer that is given the same set. `backoff_s` is the wait before the
    first retry where the server names none; it doubles with each.
    """

    def __init__(self, spec: "plan.Judge", rejected: "MutableSet[str]", backoff_s: float) -> None:
        from openai import AsyncOpenAI

        self._spec = spec
        self._address = public_url(str(spec.server))
        self._key = read_key(spec.api_key_env)
        self._rejected = rejected
        self._backoff_s = backoff_s
        self._jitter = random.Random(spec.seed)
        self._limiter = Limiter(spec.concurrency)
        self._contacted = False
        # A server that wants no key still gets a placeholder: the client would look for OPENAI_API_KEY,
        # and send that key to whatever server this is.
        self._client = AsyncOpenAI(
            base_url=spec.server, api_key=self._key or "none", timeout=spec.timeout_s, max_retries=0
        )

    async def close(self) -> None:
        await self._client.close()

    async def complete(self, messages: list[dict[str, str]], response_format: dict[str, Any]) -> Reply:
        """One answer. Raises CallFailed when this call fails for good, CannotRun when every call would."""
        attempts = retries = 0
        while True:
            attempts += 1
            try:
                async with self._limiter.slot():
                    reply = await self._attempt(messages, response_format)
                return replace(reply, attempts=attempts)
            except _Rejected as error:
                self._rejected |= error.names
            except _Final as error:
                raise CallFailed(str(error), attempts) from None
            except _Transient as error:
                if retries == self._spec.retries or (error.wait or 0) > _LONGEST_WAIT:
                    raise self._given_up(error, attempts) from None
                await self._wait(error, retries)
                retries += 1

    def _given_up(self, error: _Transient, attempts: int) -> Exception:
        # One call may fail for what is in it; a server that is not there any more fails them all.
        if not self._contacted or isinstance(error, _Unreachable):
            return CannotRun(
                f"judge {self._spec.name}: {self._address} cannot be reached: {error.reason}",
                "start the server, or correct the judge's server in the plan; what was judged is kept",
            )
        wait = f", which asks to wait {error.wait:.0f} s" if (error.wait or 0) > _LONGEST_WAIT else ""
        return CallFailed(f"{error.reason}{wait} ({attempts} attempts)", attempts)

    async def _wait(self, error: _Transient, retries: int) -> None:
        """Waits as long as the server says, all calls together; else alone, twice as long each time."""
        if error.wait is not None:
            self._limiter.pause(error.wait)
            return
        backoff = min(_LONGEST_BACKOFF, self._backoff_s * 2**retries)
        await asyncio.sleep(backoff * self._jitter.uniform(0.5, 1.0))

    async def _attempt(self, messages: list[dict[str, str]], response_format: dict[str, Any]) -> Reply:
        from openai import APIConnectionError, APIError, APIStatusError, APITimeoutError

        body = self._body(messages, response_format)
        started = time.monotonic()
        try:
            # The client's timeout is one per read: a server that drips bytes would never meet it.
            async with asyncio.timeout(self._spec.timeout_s):
                answer = await self._client.chat.completions.with_raw_response.create(**body)
        except APIStatusError as error:
            self._contacted = True
            raise self._status_fault(error, body) from None
        except (APITimeoutError, TimeoutError):
            raise _Busy(f"no answer within {self._spec.timeout_s:g} s") from None
        except APIConnectionError as error:
            reason = self._clean(f"no connection: {error.__cause__ or error}")
            # By its name: which version of httpx the client brings along is its own affair.
            refused = type(error.__cause__).__name__ == "ConnectError"
            raise (_Unreachable if refused else _Transient)(reason) from None
        except APIError as error:
            raise _Transient(self._clean(str(error))) from None
        self._contacted = True
        return self._read(answer.content, time.monotonic() - started)

    def _body(self, messages: list[dict[str, str]], response_format: dict[str, Any]) -> dict[str, Any]:
        spec = self._spec
        optional = {"response_format": response_format, "temperature": spec.temperature, "seed": spec.seed}
        kept = {name: value for name, value in optional.items() if name not in self._rejected}
        limit = "max_completion_tokens" if "max_tokens" in self._rejected else "max_tokens"
        return {"model": spec.model, "messages": messages, limit: spec.max_tokens, **kept}

    def _status_fault(self, error: "APIStatusError", body: "Mapping[str, Any]") -> Exception:
        status = error.status_code
        if status in (401, 403):
            return self._wrong_key(status)
        if status == 404:
            return CannotRun(
                f"judge {self._spec.name}: {self._address} has no model {self._spec.model}, or no chat (404)",
                "correct the judge's server or model in the plan; what was judged is kept",
            )
        complaint = complaint_of(error.body) or error.response.text
        reason = self._clean(f"{status} {complaint}")
        if status in (400, 422) and (names := rejected_names(error.param, complaint, body)):
            return _Rejected(names)
        if status == 429 or status >= 500:
            return _Busy(reason, retry_after(error.response.headers))
        return _Transient(reason) if status in (408, 409, 425) else _Final(reason)

    def _wrong_key(self, status: int) -> CannotRun:
        variable = self._spec.api_key_env
        if variable is None:
            return CannotRun(
                f"judge {self._spec.name}: {self._address} wants a key ({status})",
                "name the environment variable that holds it in the judge's api_key_env",
            )
        return CannotRun(
            f"judge {self._spec.name}: {self._address} does not accept the key in {variable} ({status})",
            f"put a valid key in {variable}; what was judged is kept",
        )

    def _read(self, content: bytes, latency_s: float) -> Reply:
        try:
            return read_reply(self._redact(content.decode("utf-8", "replace")), latency_s)
        except NoReply:
            start = content[:_REASON_LENGTH].decode("utf-8", "replace")
            raise _Transient(self._clean(f"the server's answer is no chat completion: {start}")) from None

    def _redact(self, text: str) -> str:
        return text.replace(self._key, "[key]") if self._key else text

    def _clean(self, text: str) -> str:
        """A server's words as a reason: on one line, short, without the key."""
        return " ".join(self._redact(text).split())[:_REASON_LENGTH]
