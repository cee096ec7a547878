"""A model behind a server with the OpenAI API: vLLM, SGLang, TGI, Ollama, or a hosted service."""

import json
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from engine.data.calls import schema_of
from engine.data.example import Example
from engine.models.fingerprint import digest
from engine.models.model import (
    UNFINISHED,
    Load,
    Response,
    Settings,
    conversation,
    missing,
    sample_seed,
)
from engine.plan.plan import Model
from engine.servers.address import read_key
from engine.servers.client import BACKOFF_S, Access, CallFailed, Client, Pool
from engine.servers.control import server_at
from engine.servers.wire import EXTRA, LLAMA_PENALTY, PENALTY, Reply, dropped

RETRIES = 4
TOP = 20  # tokens with their log-probabilities: the most that OpenAI's API and vLLM give
NO_LOGPROBS = "the server gives no log-probabilities of an answer's first token (logprobs)"
FirstToken = tuple[str, Mapping[str, float] | str]
T = TypeVar("T")
_ENDS = {"stop": "stop", "tool_calls": "stop", "function_call": "stop", "length": "length"}
HAND_OVER = 0.5  # seconds: the longest that a caller waits for word
BEYOND = (
    "{}: beyond the OpenAI API (vLLM, SGLang and llama.cpp have them); the server did not refuse them, "
    "and does not say whether it applies them"
)
PLAIN_QUERY = "asked through /completions with the plain query (its last user turn) and no chat template"


class ServerModel:
    """One model of a plan on a server. Its weights are unknown, so its answers are never cached.

    As many requests run in parallel as the server handles well, `concurrency` at most. It waits for outages
    unless `patient` is False. `backoff_s` is the wait before the first retry where the server names none.
    Raises CannotRun when the environment variable for the key holds none.
    """

    def __init__(
        self,
        model: Model,
        concurrency: int = 8,
        timeout_s: float = 120.0,
        retries: int = RETRIES,
        backoff_s: float = BACKOFF_S,
        patient: bool = True,
    ) -> None:
        assert model.server is not None
        self.name = model.name
        self._model = model
        self._access = Access(
            who=f"model {model.name}",
            server=model.server,
            model=model.model or model.name,
            key_variable=model.api_key_env,
            concurrency=concurrency,
            timeout_s=timeout_s,
            retries=retries,
            api=model.api,
            patient=patient,
        )
        read_key(self._access.who, model.api_key_env)
        self._backoff_s = backoff_s
        self._refused: set[str] = set()
        self._beyond: list[str] = []
        self._idle: str | None = None
        self._client: Client | None = None
        self._tokens_in = self._tokens_out = 0

    @property
    def fingerprint(self) -> str:
        """A hash of server, model name and system prompt; the weights behind them may change unseen."""
        # The address as the plan writes it: a resumed run has to find the same.
        server = str(self._model.server).partition("?")[0]
        identity = ["server", server, self._access.model, self._model.system]
        told = [self._model.chat_template_kwargs] if self._model.chat_template_kwargs else []
        return digest([*identity, *told, *([] if self._model.api == "chat" else [self._model.api])])

    @property
    def rejected(self) -> list[str]:
        """The parameters that the server refuses, for which it uses its own values."""
        return dropped(self._refused)

    def describe(self) -> dict[str, Any]:
        """Facts for the run, never with a key; `rejected`: see there."""
        notes = ["the weights behind a server are unknown, so its answers are not cached"]
        if self._model.api == "completions":
            notes.append(PLAIN_QUERY)
        if self._idle:
            notes.append(self._idle)
        if sent := [name for name in self._beyond if name not in self.rejected]:
            notes.append(BEYOND.format(", ".join(sent)))
        if self.rejected:
            notes.append(f"the server refuses {', '.join(self.rejected)}: it uses its own values")
        return {
            "kind": "server",
            "server": self._access.shown,
            "model": self._access.model,
            "api": self._model.api,
            "system": self._model.system,
            **({"chat_template_kwargs": told} if (told := self._model.chat_template_kwargs) else {}),
            "api_key_env": self._model.api_key_env,
            "fingerprint": self.fingerprint,
            "rejected": self.rejected,
            "notes": notes,
        }

    def generate(self, examples: Sequence[Example], settings: Settings) -> Iterator[list[Response]]:
        """Asks for all examples, within what the server takes, and yields answers as they come.

        A server that is busy or down is waited for; what it refuses, or fails at while it answers others, is
        a response without a text and with the reason. Raises CannotRun when the server refuses the key, does
        not know the model, or was never there; Paused when it stays away, and nothing is lost then.
        """
        self._idle = settings.without_effect
        self._beyond = [name for name in EXTRA if name in _extras(self._model, settings)]
        yield from self._each(examples, lambda client, example: self._ask(client, example, settings))

    def first_tokens(self, examples: Sequence[Example]) -> Iterator[list[FirstToken]]:
        """The log-probabilities of each answer's likeliest first tokens, by the examples' ids, as they come.

        A text says why there are none. One token is generated for each. Raises as `generate`.
        """
        yield from self._each(examples, self._ask_first)

    def _each(
        self, examples: Sequence[Example], ask: Callable[[Client, Example], Coroutine[Any, Any, T]]
    ) -> Iterator[list[T]]:
        self._client = client = Client(self._access, self._refused, self._backoff_s)
        waiting = iter(examples)
        with Pool[T](client.close) as pool:
            while True:
                while not pool.is_ending and pool.under_way < 2 * self._access.concurrency:
                    example = next(waiting, None)
                    if example is None:
                        break
                    pool.start(ask(client, example))
                if not (pool.under_way or pool.is_ending):
                    return
                yield pool.batch(HAND_OVER)

    def load(self) -> Load:
        place = server_at(self._access.server, self._access.key_variable)
        return Load(
            min(place.limiter.limit, self._access.concurrency),
            self._client.busy if self._client else 0,
            prompt_tokens=self._tokens_in,
            tokens=self._tokens_out,
        )

    def close(self) -> None:
        """Nothing is held between calls."""

    async def _ask(self, client: Client, example: Example, settings: Settings) -> Response:
        room = example.extra.get("max_new_tokens", settings.max_new_tokens)
        if type(room) is not int or room < 1:
            return missing(example, f"its max_new_tokens is {room!r}; allowed: a whole number from 1")
        try:
            limits = _limits(settings, room, example.sample) | _extras(self._model, settings)
            reply = await client.complete(self._question(example) | limits)
        except CallFailed as error:
            return missing(example, error.reason)
        self._tokens_in += reply.tokens_in or 0
        self._tokens_out += reply.tokens_out or 0
        return _response(example, reply)

    async def _ask_first(self, client: Client, example: Example) -> FirstToken:
        plain = self._model.api == "completions"
        wanted = {"logprobs": TOP} if plain else {"logprobs": True, "top_logprobs": TOP}
        body: dict[str, Any] = {"max_tokens": 1, "temperature": 0, **wanted}
        if told := self._model.chat_template_kwargs:
            body["chat_template_kwargs"] = dict(told)
        try:
            reply = await client.complete(self._question(example) | body)
        except CallFailed as error:
            return example.id, error.reason
        return example.id, reply.first_token or NO_LOGPROBS

    def _question(self, example: Example) -> dict[str, Any]:
        system = self._model.system
        if self._model.api == "chat":
            messages = [_sent(message) for message in conversation(example, system)]
            tools = [_sent_tool(tool) for tool in example.tools]
            return {"messages": messages, **({"tools": tools} if tools else {})}
        # The same text that a local model without a chat template is asked with.
        return {"prompt": f"{system}\n\n{example.query}" if system else example.query}


def _sent(message: dict[str, Any]) -> dict[str, Any]:
    """A turn as the API has it: a call's arguments are a text, and nothing said beside calls is null."""
    if "tool_calls" not in message:
        return {key: value for key, value in message.items() if key != "name"}
    calls = [
        {**call, "function": {**function, "arguments": json.dumps(function["arguments"], ensure_ascii=False)}}
        for call in message["tool_calls"]
        for function in [call["function"]]
    ]
    return {**message, "content": message["content"] or None, "tool_calls": calls}


def _sent_tool(tool: dict[str, Any]) -> dict[str, Any]:
    """A tool whose parameters are a JSON schema, as the API demands."""
    schema = schema_of(tool)
    return {**tool, "function": {**tool["function"], "parameters": schema}} if schema else tool


def _limits(settings: Settings, room: int, sample: int) -> dict[str, Any]:
    """The settings as the API names them."""
    body: dict[str, Any] = {"max_tokens": room, "temperature": settings.temperature}
    if settings.sampled:
        body |= {"top_p": settings.top_p, "seed": sample_seed(settings.seed, sample)}
    if settings.stop:
        body["stop"] = list(settings.stop)
    return body


def _extras(model: Model, settings: Settings) -> dict[str, Any]:
    """The settings beyond OpenAI's API that the plan asks for; servers take them at the top of the body."""
    body: dict[str, Any] = {}
    if settings.sampled and settings.top_k:
        body["top_k"] = settings.top_k
    if settings.sampled and settings.min_p:
        body["min_p"] = settings.min_p
    if settings.repetition_penalty != 1:
        # llama.cpp's name for it beside the others'.
        body |= dict.fromkeys((PENALTY, LLAMA_PENALTY), settings.repetition_penalty)
    if model.chat_template_kwargs:
        body["chat_template_kwargs"] = dict(model.chat_template_kwargs)
    return body


def _response(example: Example, reply: Reply) -> Response:
    """A server's answer as a response; a separate reasoning trace is kept beside it."""
    thought = reply.reasoning or reply.reasoning_tokens
    if thought and not reply.text.strip() and reply.refused is None and reply.finish_reason == "length":
        return replace(
            missing(example, UNFINISHED, reply.tokens_in),
            tokens_out=reply.tokens_out,
            finish_reason="length",
            thinking=reply.reasoning,
            thinking_tokens=reply.reasoning_tokens or None,
        )
    if reply.silent or (reply.refused is not None and not reply.text):
        said = reply.refused or f"finish reason {reply.finish_reason}"
        return missing(example, f"the server's answer has no text ({said})", reply.tokens_in)
    return Response(
        example.id,
        reply.text,
        tokens_in=reply.tokens_in,
        tokens_out=reply.tokens_out,
        finish_reason=_ENDS.get(reply.finish_reason or ""),
        # The time of the request that was answered; waiting for a busy server is not the model's.
        latency_s=reply.latency_s,
        thinking=reply.reasoning,
        thinking_tokens=reply.reasoning_tokens or None,
        sample=example.sample,
    )
