"""A model behind any server that speaks the OpenAI API: vLLM, SGLang, TGI, Ollama, a hosted one."""

import asyncio
import random
from collections.abc import Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from engine.data.example import Example
from engine.errors import CannotRun
from engine.judges.limiter import Overloaded
from engine.judges.servers import LONGEST_PAUSE, server_at
from engine.judges.wire import rejected_names, retry_after
from engine.models.concurrent import run_bounded
from engine.models.endpoint import (
    NO_KEY,
    PLAIN_QUERY,
    chat_body,
    completion_body,
    limits,
    one_line,
    read_answer,
    read_key,
    without_credentials,
)
from engine.models.fingerprint import digest
from engine.models.model import Load, Response, Settings, missing
from engine.plan.plan import Model

if TYPE_CHECKING:
    from openai import APIConnectionError, APIStatusError, AsyncOpenAI

RETRIES = 4
BACKOFF_S = 0.5  # before the first retry, where the server names no time; doubles with each
LONGEST_BACKOFF_S = 30.0


class _Again(Exception):
    """Worth another try, after `wait` seconds if the server said so."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.wait = wait


class _Busy(_Again, Overloaded):
    """Worth another try, with fewer requests at once."""


class _Gone(_Again):
    """No connection could be made at all."""


class _Refused(Exception):
    """The server does not take some parameters; without them it may."""


class ServerModel:
    """One model of a plan on a server. Its weights are not known here, so its answers are never cached.

    As many requests are under way as the server takes well, `concurrency` at most. `backoff_s` is the wait
    before the first retry where the server names none. Raises BadInput when the environment variable for the
    key is not set.
    """

    def __init__(
        self,
        model: Model,
        concurrency: int = 8,
        timeout_s: float = 120.0,
        retries: int = RETRIES,
        backoff_s: float = BACKOFF_S,
    ) -> None:
        assert model.server is not None
        self.name = model.name
        self._server = model.server
        self._served = model.model or model.name
        self._api = model.api
        self._system = model.system
        self._key_env = model.api_key_env
        self._key = read_key(model.name, model.api_key_env)
        self._concurrency = concurrency
        self._timeout_s = timeout_s
        self._retries = retries
        self._backoff_s = backoff_s
        self._rejected: set[str] = set()
        # Judges may ask the same server: what it bears is found out for the whole process.
        self._place = server_at(model.server, model.api_key_env)
        self._answered = False
        self._busy = self._tokens_in = self._tokens_out = 0

    @property
    def fingerprint(self) -> str:
        """A hash of server, model name and system prompt; the weights behind them may change unseen."""
        identity = ["server", without_credentials(self._server), self._served, self._system]
        return digest(identity if self._api == "chat" else [*identity, self._api])

    def describe(self) -> dict[str, Any]:
        """Facts for the run, never with a key."""
        notes = ["the weights behind a server are not known here: answers are not cached"]
        if self._api == "completions":
            notes.append(PLAIN_QUERY)
        if lost := self._rejected - {"max_tokens"}:
            notes.append(f"the server refuses {', '.join(sorted(lost))}: it answers with its own")
        return {
            "kind": "server",
            "server": without_credentials(self._server),
            "model": self._served,
            "api": self._api,
            "system": self._system,
            "api_key_env": self._key_env,
            "fingerprint": self.fingerprint,
            "notes": notes,
        }

    def generate(self, examples: Sequence[Example], settings: Settings) -> Iterator[list[Response]]:
        """Asks for all examples, within what the server takes, and yields answers as they come.

        Busy servers (429, 5xx, timeouts) are asked again and less at once, after the time they name; an
        example that stays unanswered gets a response with the reason. Raises CannotRun when the server
        refuses the key, does not know the model, or cannot be reached, or not any more.
        """

        async def ask(client: "AsyncOpenAI", example: Example) -> Response:
            return await self._ask(client, example, settings)

        return run_bounded(examples, self._client, ask, self._concurrency)

    def load(self) -> Load:
        return Load(
            min(self._place.limiter.limit, self._concurrency),
            self._busy,
            prompt_tokens=self._tokens_in,
            tokens=self._tokens_out,
        )

    def close(self) -> None:
        """Nothing is held between calls."""

    def _client(self) -> AbstractAsyncContextManager["AsyncOpenAI"]:
        from openai import AsyncOpenAI

        return AsyncOpenAI(base_url=self._server, api_key=self._key, timeout=self._timeout_s, max_retries=0)

    async def _ask(self, client: "AsyncOpenAI", example: Example, settings: Settings) -> Response:
        room = example.extra.get("max_new_tokens", settings.max_new_tokens)
        if type(room) is not int or room < 1:
            return missing(example, f"its max_new_tokens is {room!r}, not a number of tokens from 1")
        settings = replace(settings, max_new_tokens=room)
        retries = 0
        while True:
            try:
                async with self._place.limiter.slot():
                    response = await self._attempt(client, example, settings)
            except _Refused:
                continue
            except _Again as error:
                if retries == self._retries or (error.wait or 0) > LONGEST_PAUSE:
                    return self._given_up(example, error, retries + 1)
                await self._wait(error, retries)
                retries += 1
            else:
                self._tokens_in += response.tokens_in or 0
                self._tokens_out += response.tokens_out or 0
                return response

    async def _wait(self, error: _Again, retries: int) -> None:
        """Waits as long as the server says, all requests together; else alone, twice as long each time."""
        if error.wait is not None:
            self._place.pause(error.wait, error.reason)
            return
        backoff = min(LONGEST_BACKOFF_S, self._backoff_s * 2**retries)
        await asyncio.sleep(backoff * random.uniform(0.5, 1.0))

    def _given_up(self, example: Example, error: _Again, attempts: int) -> Response:
        # One request may fail for what is in it; a server that is not there fails them all.
        if isinstance(error, _Gone) or not (self._answered or isinstance(error, _Busy)):
            raise CannotRun(
                f"{self._where()}: cannot be reached{' any more' if self._answered else ''}: {error.reason}",
                "Start the server or correct its address, then resume; what was answered is kept.",
            )
        return missing(example, f"{error.reason}, asked {attempts} times")

    async def _attempt(self, client: "AsyncOpenAI", example: Example, settings: Settings) -> Response:
        import openai

        body = {"model": self._served, **limits(settings, self._rejected)}
        self._busy += 1
        try:
            # The client's timeout is one per read: a server that drips bytes would never meet it.
            async with asyncio.timeout(self._timeout_s):
                response = await self._request(client, example, body)
        except openai.APIStatusError as error:
            self._answered = True
            return self._refused(example, error, body)
        except (openai.APITimeoutError, TimeoutError):
            raise _Busy(f"no answer within {self._timeout_s:g} s") from None
        except openai.APIConnectionError as error:
            raise self._disconnected(error) from None
        except (openai.APIResponseValidationError, ValueError) as error:
            response = missing(example, f"the server's answer cannot be read: {self._said(str(error))}")
        finally:
            self._busy -= 1
        self._answered = True
        return response

    async def _request(self, client: "AsyncOpenAI", example: Example, body: dict[str, Any]) -> Response:
        raw: Any
        if self._api == "completions":
            body |= completion_body(example, self._system)
            raw = await client.completions.with_raw_response.create(**body)
        else:
            body |= chat_body(example, self._system)
            raw = await client.chat.completions.with_raw_response.create(**body)
        # The time of the attempt that was answered; waiting for a busy server's turn is not the model's.
        return read_answer(example, raw.parse(), self._api, raw.elapsed.total_seconds())

    def _disconnected(self, error: "APIConnectionError") -> _Again:
        reason = self._said(f"no connection: {error.__cause__ or error}")
        # By its name: which version of httpx the client brings along is its own affair.
        return (_Gone if type(error.__cause__).__name__ == "ConnectError" else _Again)(reason)

    def _refused(self, example: Example, error: "APIStatusError", body: dict[str, Any]) -> Response:
        """What a status other than 200 means: the end, another try, or an example without an answer."""
        status = error.status_code
        if status in (401, 403):
            raise CannotRun(*self._refused_key(status)) from None
        if status == 404:
            raise CannotRun(
                f"{self._where()}: does not know the model {self._served!r}, or the address is wrong (404).",
                'Check `model` and `api`, and that the address ends as the server asks, usually in "/v1".',
            ) from None
        reason = f"the server answered {status}: {self._said(error.message)}"
        if status in (400, 422) and (names := _rejected(error, body)):
            self._rejected |= names
            raise _Refused from None
        if status == 429 or status >= 500:
            raise _Busy(reason, retry_after(error.response.headers)) from None
        if status in (408, 409, 425):
            raise _Again(reason) from None
        return missing(example, reason)

    def _said(self, text: str) -> str:
        """What a server said, without the key that some repeat."""
        return one_line(text.replace(self._key, "…") if self._key != NO_KEY else text)

    def _where(self) -> str:
        return f"model {self.name!r} at {without_credentials(self._server)}"

    def _refused_key(self, status: int) -> tuple[str, str]:
        if self._key_env:
            return (
                f"{self._where()}: refuses the key in ${self._key_env} ({status}).",
                "Set a valid key, then resume.",
            )
        return (
            f"{self._where()}: asks for a key ({status}).",
            "Name the environment variable that holds it as api_key_env.",
        )


def _rejected(error: "APIStatusError", body: dict[str, Any]) -> set[str]:
    """The parameters that the server refuses, of those that can be left out or have another name."""
    # OpenAI's reasoning models refuse the name that every other server knows.
    if "max_tokens" in body and "max_completion_tokens" in error.message:
        return {"max_tokens"}
    return rejected_names(error.param, error.message, body)
