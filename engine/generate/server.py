"""A model behind any server that speaks the OpenAI API: vLLM, SGLang, TGI, Ollama, a hosted one."""

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from engine.errors import BadInput, CannotRun
from engine.examples import Example
from engine.generate.concurrent import run_bounded
from engine.generate.fingerprint import digest
from engine.generate.model import Response, Settings, conversation, missing
from engine.plan import Model

if TYPE_CHECKING:
    from openai import AsyncOpenAI

# The client waits as long as the server's Retry-After asks for, else 0.5 s and doubling.
RETRIES = 4
# Servers without keys take any text; the client insists on one.
NO_KEY = "none"


class ServerModel:
    """One model of a plan on a server. Its weights are not known here, so its answers are never cached.

    Raises BadInput when the environment variable for the key is not set.
    """

    def __init__(
        self, model: Model, concurrency: int = 8, timeout_s: float = 120.0, retries: int = RETRIES
    ) -> None:
        assert model.server is not None
        self.name = model.name
        self._server = model.server
        self._served = model.model or model.name
        self._system = model.system
        self._key_env = model.api_key_env
        self._key = _key(model.name, model.api_key_env)
        self._concurrency = concurrency
        self._timeout_s = timeout_s
        self._retries = retries
        # OpenAI's reasoning models refuse the name that every other server knows.
        self._length_name = "max_tokens"

    @property
    def fingerprint(self) -> str:
        """A hash of server, model name and system prompt; the weights behind them may change unseen."""
        return digest(["server", _without_credentials(self._server), self._served, self._system])

    def describe(self) -> dict[str, Any]:
        """Facts for the run, never with a key."""
        return {
            "kind": "server",
            "server": _without_credentials(self._server),
            "model": self._served,
            "system": self._system,
            "api_key_env": self._key_env,
            "fingerprint": self.fingerprint,
            "notes": ["the weights behind a server are not known here: answers are not cached"],
        }

    def generate(self, examples: Sequence[Example], settings: Settings) -> Iterator[list[Response]]:
        """Asks for all examples at once, within the concurrency, and yields answers as they come.

        Busy servers (429, 5xx, timeouts) are asked again; an example that stays unanswered gets a response
        with the reason. Raises CannotRun when the server refuses the key, does not know the model, or cannot
        be reached.
        """

        async def ask(client: "AsyncOpenAI", example: Example) -> Response:
            return await self._ask(client, example, settings)

        return run_bounded(examples, self._client, ask, self._concurrency)

    def close(self) -> None:
        """Nothing is held between calls."""

    def _client(self) -> AbstractAsyncContextManager["AsyncOpenAI"]:
        from openai import AsyncOpenAI

        return AsyncOpenAI(
            base_url=self._server, api_key=self._key, timeout=self._timeout_s, max_retries=self._retries
        )

    async def _ask(self, client: "AsyncOpenAI", example: Example, settings: Settings) -> Response:
        import openai

        try:
            return await self._request(client, example, settings)
        except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
            raise CannotRun(*self._refused_key(error.status_code)) from error
        except openai.NotFoundError as error:
            raise CannotRun(
                f"{self._place()}: does not know the model {self._served!r}, or the address is wrong (404).",
                'Check `model`, and that the address ends as the server asks, usually in "/v1".',
            ) from error
        except openai.APITimeoutError:
            return missing(
                example, f"no answer within {self._timeout_s:g} s, asked {self._retries + 1} times"
            )
        except openai.APIConnectionError as error:
            raise CannotRun(
                f"{self._place()}: cannot be reached.",
                "Start the server or correct its address, then resume.",
            ) from error
        except openai.APIStatusError as error:
            return missing(example, f"the server answered {error.status_code}: {self._said(error.message)}")
        except (openai.APIResponseValidationError, ValueError) as error:
            return missing(example, f"the server's answer cannot be read: {self._said(str(error))}")

    async def _request(self, client: "AsyncOpenAI", example: Example, settings: Settings) -> Response:
        import openai

        try:
            raw = await client.chat.completions.with_raw_response.create(**self._body(example, settings))
        except openai.BadRequestError as error:
            if self._length_name == "max_completion_tokens" or "max_completion_tokens" not in error.message:
                raise
            self._length_name = "max_completion_tokens"
            raw = await client.chat.completions.with_raw_response.create(**self._body(example, settings))
        # The time of the attempt that was answered; waiting for a busy server's turn is not the model's.
        return _response(example, raw.parse(), raw.elapsed.total_seconds())

    def _body(self, example: Example, settings: Settings) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self._served,
            "messages": conversation(example, self._system),
            "temperature": settings.temperature,
            self._length_name: settings.max_new_tokens,
        }
        if settings.sampled:
            body |= {"top_p": settings.top_p, "seed": settings.seed}
        if settings.stop:
            body["stop"] = list(settings.stop)
        return body

    def _said(self, text: str) -> str:
        """What a server said, without the key that some repeat."""
        return _short(text.replace(self._key, "…") if self._key != NO_KEY else text)

    def _place(self) -> str:
        return f"model {self.name!r} at {_without_credentials(self._server)}"

    def _refused_key(self, status: int) -> tuple[str, str]:
        if self._key_env:
            return (
                f"{self._place()}: refuses the key in ${self._key_env} ({status}).",
                "Set a valid key, then resume.",
            )
        return (
            f"{self._place()}: asks for a key ({status}).",
            "Name the environment variable that holds it as api_key_env.",
        )


def _key(name: str, variable: str | None) -> str:
    if variable is None:
        return NO_KEY
    key = os.environ.get(variable, "").strip()
    if not key:
        raise BadInput(
            f"model {name!r}: the environment variable {variable} (api_key_env) is not set.",
            f"Set it before starting: export {variable}=…",
        )
    return key


def _response(example: Example, completion: Any, seconds: float) -> Response:
    """The response in a parsed completion, which may be anything that a server sent with status 200."""
    choices = getattr(completion, "choices", None)
    if not isinstance(choices, list) or not choices or getattr(choices[0], "message", None) is None:
        return missing(example, "the server's answer is not a chat completion")
    message, finish = choices[0].message, choices[0].finish_reason
    if not isinstance(message.content, str) or (finish == "content_filter" and not message.content):
        return missing(example, f"the server's answer has no text (finish reason {_short(str(finish))})")
    usage = completion.usage
    return Response(
        example.id,
        message.content,
        tokens_in=_count(usage, "prompt_tokens"),
        tokens_out=_count(usage, "completion_tokens"),
        finish_reason=finish if finish in ("stop", "length") else None,
        latency_s=seconds,
    )


def _count(usage: Any, name: str) -> int | None:
    value = getattr(usage, name, None)
    return value if isinstance(value, int) else None


def _short(text: str) -> str:
    """One line of what a server said."""
    line = " ".join(text.split())
    return line if len(line) <= 200 else line[:199] + "…"


def _without_credentials(server: str) -> str:
    parts = urlsplit(server)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()
