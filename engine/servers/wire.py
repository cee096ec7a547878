"""What goes over to OpenAI-compatible servers and back: parameters they refuse, replies, errors, waiting."""

import json
import math
import re
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from typing import Any

from engine.data.calls import with_calls
from engine.servers.address import Redactor
from engine.servers.reasoning import reasoning_apart

# OpenAI's reasoning models know the limit by another name than all other servers.
LENGTH, NEW_LENGTH = "max_tokens", "max_completion_tokens"
PENALTY, LLAMA_PENALTY = "repetition_penalty", "repeat_penalty"
EXTRA = ("top_k", "min_p", PENALTY, "chat_template_kwargs")  # beyond OpenAI's API
# What an answer can be had without, by the names that complaints call it.
_OPTIONAL = {
    "response_format": r"response[_ ]format|json_schema",
    "temperature": "temperature",
    "top_p": "top_p",
    "seed": "seed",
    LENGTH: LENGTH,
    NEW_LENGTH: NEW_LENGTH,
    LLAMA_PENALTY: LLAMA_PENALTY,
    **{name: name for name in EXTRA},
}
_CODES = {"unsupported_parameter", "unsupported_value", "unknown_parameter", "extra_forbidden"}
_BEFORE = r"(?:unsupported|unknown|unrecogni[sz]ed|unexpected|invalid)"
_AFTER = (
    r"(?:unsupported|(?:is|are|does|do)?\s*not\s+(?:currently\s+)?(?:support\w*|permitted|allowed|accepted)"
    r"|unrecogni[sz]ed|unexpected|unavailable|extra (?:fields|inputs))"
)
_UNSUPPORTED = re.compile(rf"{_BEFORE}|{_AFTER}", re.IGNORECASE)
# The parameter and the verdict on it in one clause: "Unsupported value: 'temperature' does not support 0",
# "['body', 'seed'] Extra inputs are not permitted", "unknown field `seed`".
_NAMED = {
    name: re.compile(
        rf"\b{_BEFORE}\b(?:\W+(?:\w+\W+){{0,3}}?)(?:{said})\b|\b(?:{said})\b[^.;\n]{{0,60}}?\b{_AFTER}",
        re.IGNORECASE,
    )
    for name, said in _OPTIONAL.items()
}
_INSTEAD = re.compile(rf"\b{NEW_LENGTH}\b.*\binstead\b", re.IGNORECASE | re.DOTALL)


def without(body: Mapping[str, Any], refused: Collection[str]) -> dict[str, Any]:
    """A request's body without the refused parameters; a refused `max_tokens` goes under its newer name."""
    kept = {name: value for name, value in body.items() if name not in refused}
    if LENGTH in body and LENGTH in refused and NEW_LENGTH not in refused:
        kept[NEW_LENGTH] = body[LENGTH]
    return kept


def named_unsupported(body: Mapping[str, Any], code: object, param: object, complaint: str) -> set[str]:
    """The optional parameters of a body that a server's complaint names as unsupported.

    By the `param` of OpenAI's errors where there is one, else by the wording. A word that occurs in the
    complaint is not enough: servers repeat prompts.
    """
    if isinstance(param, str) and param:
        name = param.partition(".")[0]
        return {name} & _OPTIONAL.keys() & body.keys() if _says_so(code, name, complaint) else set()
    return {
        name
        for name in _OPTIONAL.keys() & body.keys()
        if _NAMED[name].search(complaint) or (name == LENGTH and _INSTEAD.search(complaint))
    }


def _says_so(code: object, name: str, complaint: str) -> bool:
    instead = name == LENGTH and _INSTEAD.search(complaint)
    return code in _CODES or bool(_UNSUPPORTED.search(complaint) or instead)


def dropped(refused: Collection[str]) -> list[str]:
    """The dropped parameters; one that only has another name is not one."""
    lost = set(refused)
    for name, other in ((LENGTH, NEW_LENGTH), (PENALTY, LLAMA_PENALTY)):
        if name in lost and other not in lost:
            lost.discard(name)
        elif name in lost or other == LLAMA_PENALTY:
            lost.discard(other)
    return sorted(lost)


_TOO_LONG = re.compile(r"context.?length|maximum context|context window|too many tokens", re.IGNORECASE)
_DURATION = re.compile(r"([0-9.]+)(ms|h|m|s)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True, slots=True)
class Reply:
    """A server's answer.

    `text` is the answer, without a trace that was sent separately (`reasoning`), whose `reasoning_tokens`
    are among `tokens_out`, and with the calls of tools that were, in Hermes's form. `refused`: the model or
    a filter declined, in the server's words; `silent`: the message has neither text nor calls; an empty text
    is one.
    `repaired`: this is the answer to a second question, with the tokens, seconds and attempts of both.
    `choices`: the probability of each value that the deciding part of the answer could have had, where it is
    known. `rejected` are the parameters that the server refuses, and this answer was made without.
    `choice` is a plain completion as it was sent, with its token ids and log-probabilities, if any.
    `first_token`: the log-probabilities, in nats, of tokens that the answer could have begun with, where they
    were asked for.
    `tokens_cached` of `tokens_in` the provider had read before; `fingerprint` is what it says about
    the version behind the model's name; `cost` is in US dollars, None where no price is known.
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
    choices: dict[str, float] | None = None
    tokens_cached: int | None = None
    fingerprint: str | None = None
    cost: float | None = None
    reasoning: str | None = None
    reasoning_tokens: int | None = None
    silent: bool = False
    rejected: list[str] | None = None
    choice: Mapping[str, Any] | None = None
    first_token: Mapping[str, float] | None = None

    @property
    def version(self) -> str | None:
        """Which model answered, by the server's word: its name, and its fingerprint where it has one."""
        parts = [self.model or "", f"({self.fingerprint})" if self.fingerprint else ""]
        return " ".join(part for part in parts if part) or None


@dataclass(frozen=True, slots=True)
class Native:
    """A server's own API for completions, at a `path` of its root.

    `ask` gives a plain completion's request as that API takes it. `read` gives what was answered to such a
    request as a plain completion; its `rejected` are the settings that were not applied. It raises
    LookupError, TypeError or ValueError for what is no answer.
    """

    path: str
    ask: Callable[[Mapping[str, Any]], dict[str, Any]]
    read: Callable[[Mapping[str, Any], Mapping[str, Any]], dict[str, Any]]


class NoReply(Exception):
    """The answer is not a completion."""


def read_reply(
    content: bytes,
    latency_s: float,
    redact: Redactor | None = None,
    *,
    plain: bool = False,
    read: Callable[[Mapping[str, Any]], dict[str, Any]] | None = None,
) -> Reply:
    """A chat completion's JSON as a reply, or a `plain` completion's, of which `read` makes one where it is
    of another kind. Raises NoReply for anything else.

    It is parsed first: `redact` sees the texts in it, which are kept, and not the JSON.
    """
    try:
        data = json.loads(content)
        data = data if read is None else read(data)
        choice = data["choices"][0]
        message = {"content": choice["text"]} if plain else choice["message"]
        said = message.get("content")
        answer = with_calls(_text(said), message) or ""
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise NoReply from None
    finish_reason = _string(choice.get("finish_reason"))
    refused = _string(message.get("refusal"))
    if finish_reason == "content_filter":
        refused = refused or "content filter"
    usage = data.get("usage")
    reply = Reply(
        text=answer,
        finish_reason=finish_reason,
        tokens_in=_count(usage, "prompt_tokens"),
        tokens_out=_count(usage, "completion_tokens"),
        model=_string(data.get("model")),
        latency_s=latency_s,
        refused=refused or None,
        tokens_cached=_count(_details(usage, "prompt_tokens_details"), "cached_tokens"),
        fingerprint=_string(data.get("system_fingerprint")),
        reasoning=reasoning_apart(message),
        reasoning_tokens=_count(_details(usage, "completion_tokens_details"), "reasoning_tokens"),
        silent=said is None and not answer,
        choice=choice if plain else None,
        rejected=data.get("rejected") if read is not None else None,
        first_token=_first_token(choice.get("logprobs")),
    )
    return reply if redact is None else _redacted(reply, redact)


def _first_token(told: object) -> dict[str, float] | None:
    """From a chat completion's `logprobs` or a plain one's; None where they are not as the API has them."""
    if not isinstance(told, dict):
        return None
    try:
        if told.get("content"):
            pairs = [(each["token"], each["logprob"]) for each in told["content"][0]["top_logprobs"]]
        else:
            pairs = list(told["top_logprobs"][0].items())
        found = {str(token): float(value) for token, value in pairs}
    except (LookupError, TypeError, ValueError, AttributeError):
        return None
    # Beyond the likeliest, some servers write -9999 for what they do not know.
    known = {token: value for token, value in found.items() if math.isfinite(value) and -1000 < value <= 1e-6}
    return known or None


def _redacted(reply: Reply, redact: Redactor) -> Reply:
    texts = {name: getattr(reply, name) for name in ("text", "reasoning", "refused", "model", "fingerprint")}
    changed: dict[str, Any] = {
        name: new for name, text in texts.items() if text and (new := redact(text)) != text
    }
    return replace(reply, **changed) if changed else reply


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


def quota_wait(headers: Mapping[str, str], need: int) -> float | None:
    """Seconds until the server's quota is filled again; None while it lasts for the next call.

    By the `x-ratelimit-remaining-*` and `-reset-*` headers of OpenAI and those who took them over; `need` is
    how many tokens a call takes. A reset is a duration ("6m0s", "20ms") or plain seconds.
    """
    waits = []
    for kind, least in (("requests", 1), ("tokens", max(1, need))):
        remaining = _number(headers.get(f"x-ratelimit-remaining-{kind}"))
        reset = _duration(headers.get(f"x-ratelimit-reset-{kind}", ""))
        if remaining is not None and remaining < least and reset is not None:
            waits.append(reset)
    return max(waits, default=None)


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


def _duration(text: str) -> float | None:
    if (seconds := _number(text)) is not None:
        return max(0.0, seconds)
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text.strip():
        return None
    values = [_number(number) for number, _ in parts]
    return sum(value * _SECONDS[unit] for value, (_, unit) in zip(values, parts, strict=True) if value)


def is_too_long(code: object, complaint: str) -> bool:
    """Whether a refusal says that the prompt does not fit into the model's context."""
    return code == "context_length_exceeded" or _TOO_LONG.search(complaint) is not None


def complaint_of(body: object) -> str | None:
    """An error's text: OpenAI's `message`, or FastAPI's `detail` without the request that it may echo."""
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


def _details(usage: object, name: str) -> object:
    return usage.get(name) if isinstance(usage, dict) else None


def _count(usage: object, name: str) -> int | None:
    value = usage.get(name) if isinstance(usage, dict) else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None
