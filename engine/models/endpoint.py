"""What is sent to an OpenAI-compatible server, and what comes back: bodies, answers, addresses, keys."""

import os
from typing import Any
from urllib.parse import urlsplit

from engine.data.example import Example
from engine.errors import BadInput
from engine.models.model import Response, Settings, conversation, missing

# Servers without keys take any text; the client insists on one.
NO_KEY = "none"
_KINDS = {"chat": "a chat completion", "completions": "a completion"}
PLAIN_QUERY = "asked by /completions: with the plain query (its last user turn), no chat template"


def read_key(name: str, variable: str | None) -> str:
    """The key in an environment variable. Raises BadInput when it is not set."""
    if variable is None:
        return NO_KEY
    key = os.environ.get(variable, "").strip()
    if not key:
        raise BadInput(
            f"model {name!r}: the environment variable {variable} (api_key_env) is not set.",
            f"Set it before starting: export {variable}=…",
        )
    return key


def without_credentials(server: str) -> str:
    """A server's address without what may be secret in it: user, password, query."""
    parts = urlsplit(server)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()


def chat_body(example: Example, system: str | None) -> dict[str, Any]:
    return {"messages": conversation(example, system)}


def completion_body(example: Example, system: str | None) -> dict[str, Any]:
    """The same text that a local model without a chat template is asked with."""
    return {"prompt": f"{system}\n\n{example.query}" if system else example.query}


def limits(settings: Settings, rejected: set[str]) -> dict[str, Any]:
    """The settings as the API names them, without the parameters that the server has refused."""
    length = "max_completion_tokens" if "max_tokens" in rejected else "max_tokens"
    body: dict[str, Any] = {length: settings.max_new_tokens, "temperature": settings.temperature}
    if settings.sampled:
        body |= {"top_p": settings.top_p, "seed": settings.seed}
    if settings.stop:
        body["stop"] = list(settings.stop)
    return {name: value for name, value in body.items() if name not in rejected}


def read_answer(example: Example, answer: Any, api: str, seconds: float) -> Response:
    """The response in a parsed completion, which may be anything that a server sent with status 200."""
    choices = getattr(answer, "choices", None)
    choice = choices[0] if isinstance(choices, list) and choices else None
    part = choice if api == "completions" else getattr(choice, "message", None)
    if choice is None or part is None:
        return missing(example, f"the server's answer is not {_KINDS[api]}")
    text = getattr(part, "text" if api == "completions" else "content", None)
    finish = choice.finish_reason
    if not isinstance(text, str) or (finish == "content_filter" and not text):
        return missing(example, f"the server's answer has no text (finish reason {one_line(str(finish))})")
    usage = getattr(answer, "usage", None)
    return Response(
        example.id,
        text,
        tokens_in=_count(usage, "prompt_tokens"),
        tokens_out=_count(usage, "completion_tokens"),
        finish_reason=finish if finish in ("stop", "length") else None,
        latency_s=seconds,
    )


def one_line(text: str) -> str:
    """A short line of what a server said."""
    line = " ".join(text.split())
    return line if len(line) <= 200 else line[:199] + "…"


def _count(usage: Any, name: str) -> int | None:
    value = getattr(usage, name, None)
    return value if isinstance(value, int) else None
