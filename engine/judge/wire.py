"""What OpenAI-compatible servers say: replies, complaints, and how long to wait."""

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

_OPTIONAL = {
    "response_format": re.compile(r"response_format|json_schema", re.IGNORECASE),
    "temperature": re.compile(r"\btemperature\b", re.IGNORECASE),
    "seed": re.compile(r"\bseed\b", re.IGNORECASE),
}
_UNSUPPORTED = re.compile(r"unsupported|not supported", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Reply:
    """What a server answered.

    `refused`: the model or a filter declined, in the server's words; `repaired`: this is the answer to a
    second asking, with the tokens, seconds and attempts of both.
    """

    text: str
    finish_reason: str | None
    tokens_in: int | None
    tokens_out: int | None
    model: str | None
    latency_s: float
    attempts: int = 1
    refused: str | None = None
    repaired: bool = False


class NoReply(Exception):
    """What came is no chat completion."""


def read_reply(text: str, latency_s: float) -> Reply:
    """A chat completion's JSON as a reply. Raises NoReply when it is something else."""
    try:
        data = json.loads(text)
        choice = data["choices"][0]
        message = choice["message"]
        answer = _text(message.get("content"))
        finish_reason = _string(choice.get("finish_reason"))
        refused = _string(message.get("refusal"))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise NoReply from None
    if finish_reason == "content_filter":
        refused = refused or "content filter"
    usage = data.get("usage")
    return Reply(
        text=answer,
        finish_reason=finish_reason,
        tokens_in=_count(usage, "prompt_tokens"),
        tokens_out=_count(usage, "completion_tokens"),
        model=_string(data.get("model")),
        latency_s=latency_s,
        refused=refused or None,
    )


def retry_after(headers: Mapping[str, str], now: float | None = None) -> float | None:
    """Seconds a server asks to wait (RFC 9110 10.2.3: a number or a date; or OpenAI's `retry-after-ms`)."""
    try:
        if milliseconds := headers.get("retry-after-ms"):
            return max(0.0, float(milliseconds) / 1000)
        value = headers.get("retry-after", "")
        if not value.strip():
            return None
        if value.strip()[0].isdigit():
            return float(value)
        return max(0.0, parsedate_to_datetime(value).timestamp() - (time.time() if now is None else now))
    except ValueError:
        return None


def rejected_names(param: str | None, complaint: str, body: Mapping[str, Any]) -> set[str]:
    """The parameters a server complains about, of those that can be left out or have another name.

    `param` is where OpenAI names it; others name it in the text alone.
    """
    if "max_tokens" in body and "max_completion_tokens" in complaint and _UNSUPPORTED.search(complaint):
        return {"max_tokens"}
    return {name for name, said in _OPTIONAL.items() if name in body and said.search(param or complaint)}


def complaint_of(body: object) -> str | None:
    """What an error says: OpenAI's `message`, or FastAPI's `detail` without the request that it may echo."""
    if not isinstance(body, dict):
        return None
    message, detail = body.get("message"), body.get("detail")
    if isinstance(detail, list):
        return "; ".join(f"{item.get('loc')} {item.get('msg')}" for item in detail if isinstance(item, dict))
    return next((text for text in (message, detail) if isinstance(text, str)), None)


def _text(content: object) -> str:
    """Text of a message: a string, nothing, or a list of parts."""
    if isinstance(content, list):
        return "".join(part.get("text") or "" for part in content)
    return content if isinstance(content, str) else ""


def _string(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _count(usage: object, name: str) -> int | None:
    value = usage.get(name) if isinstance(usage, dict) else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None
