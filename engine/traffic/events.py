"""One event of production traffic, and what was said of it, from one flat object.

Every reader of logs and the collector make this object; nothing else decides what an event is. Its keys:

- `id` the source's own id; without one the content tells which event it is
- `trace` the id of what it was a part of: feedback on that is feedback on the last answer in it
- `within` the id of the call that it is the inside of, if that is a call of a model, too: both count as one
- `time` seconds, milli-, micro- or nanoseconds since 1970, ISO 8601 or an HTTP date; without a zone it is UTC
- `messages` turns {"role", "content"}, or `prompt`, one text; turns may have `tool_calls`
- `response` the answer's text, or `choices` as OpenAI's servers send them; `calls` of tools
- `model`, `version`, `variant` (the arm of an A/B test), `shadow` (made and shown to nobody)
- `finish_reason`, `tokens_in`, `tokens_out`, `latency_s` or `latency_ms`, `reason` why there is no response
- `session` and `user`, of which only a salted hash is kept; `tags` a list, an object, or words with commas

What was said of an answer may stand beside them, or in an object of its own with the event's id as
`event_id`: `thumbs`, `rating`, `correction`, `comment`, and `feedback_id` and `feedback_time`, there
`id` and `time`.
"""

import hashlib
import json
import math
import os
import re
import secrets
import time as clock
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

from engine.data.calls import read_call, with_calls
from engine.data.cells import Malformed, decoded
from engine.data.example import normalise
from engine.data.messages import Messages, read_messages
from engine.data.reading import type_name
from engine.formats.votes import THUMBS
from engine.metrics.safety import kinds, masked
from store.records import TrafficEvent, TrafficFeedback
from store.records.traffic import UNKNOWN_MODEL

ASKED = ("messages", "prompt")
SAID = ("thumbs", "rating", "correction", "comment")
OF_EVENT = (
    "id", "trace", "within", "time", *ASKED, "response", "choices", "calls", "model", "version", "variant",
    "shadow", "finish_reason", "tokens_in", "tokens_out", "latency_s", "latency_ms", "reason", "session",
    "user", "tags",
)  # fmt: skip
OF_FEEDBACK = ("event_id", "feedback_id", "feedback_time", *SAID)
KEYS = (*OF_EVENT, *OF_FEEDBACK)
NO_RESPONSE = "the log has no response"

_EVENT, _FEEDBACK, _USER, _SESSION = "e", "f", "u", "s"
_HASHED = re.compile(r"[efus]-[0-9a-f]{24}")
_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC).timestamp()
_AHEAD = 86_400.0  # seconds that another machine's clock may be ahead
_UNITS = ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3))  # from where on a number is in such parts of a second
_MARKUP = re.compile(r"(?:input|output)_text")  # what OpenAI's newer interface calls a part of text
_TRUE = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def salt(folder: Path) -> bytes:
    """The store's secret, with which ids of users and sessions are hashed; made where there is none.

    It stays in this folder, readable by its owner alone: without it nobody can tell whose hash one is.
    """
    file = folder / "traffic.salt"
    with suppress(FileNotFoundError):
        return bytes.fromhex(file.read_text("ascii"))
    part = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    part.touch(0o600, exist_ok=False)
    try:
        part.write_text(secrets.token_hex(32), "ascii")
        with part.open("rb") as written:
            os.fsync(written.fileno())
        with suppress(FileExistsError):  # another process was first
            os.link(part, file)
    finally:
        part.unlink()
    return bytes.fromhex(file.read_text("ascii"))


def event_id(own: str) -> str:
    """The id in the store of an event with this id of its own; one of the store's stays as it is."""
    return _hash(_EVENT, own)


def is_event_id(text: str) -> bool:
    """Whether a text is an id of the store, or the beginning of one."""
    return text.startswith(f"{_EVENT}-")


def user_hash(own: str, salt: bytes) -> str:
    """What stands for a user; a hash stays as it is."""
    return _hash(_USER, own, salt)


def session_hash(own: str, salt: bytes) -> str:
    """What stands for a session; a hash stays as it is."""
    return _hash(_SESSION, own, salt)


def _hash(kind: str, own: str, key: bytes = b"") -> str:
    if own.startswith(f"{kind}-") and _HASHED.fullmatch(own):
        return own
    digest = hashlib.blake2b(own.encode(), key=key, digest_size=12, person=kind.encode())
    return f"{kind}-{digest.hexdigest()}"


def read(
    raw: Mapping[str, Any], *, source: str, salt: bytes, received: float | None = None, mask: bool = False
) -> tuple[TrafficEvent | None, TrafficFeedback | None]:
    """The event, the feedback, or both that an object holds. Raises Malformed that names the key."""
    received = clock.time() if received is None else received
    found = (
        event(raw, source=source, salt=salt, received=received, mask=mask)
        if any(raw.get(key) is not None for key in ASKED)
        else None
    )
    if not any(_given(raw, key) for key in SAID):
        if found is None:
            raise Malformed("messages: is missing; prompt, or thumbs and event_id, would do")
        return found, None
    own = {**raw, "event_id": found.id} if found else raw
    return found, feedback(own, salt=salt, received=received, mask=mask)


def event(
    raw: Mapping[str, Any], *, source: str, salt: bytes, received: float, mask: bool = False
) -> TrafficEvent:
    """The event that an object holds. `received`: when it came, in seconds; `mask`: personal data goes.

    The question and the id that the content gives are of the masked texts, so that they are the same either
    way. Raises Malformed that names the key.
    """
    _refuse_others(raw)
    messages = _messages(raw)
    response, calls, finish = _answer(raw)
    tags = _tags(raw)
    clean = _Cleaner()
    kept, answer, made, labels = clean(messages), clean(response), clean(calls), clean(tags)
    own = _text(raw, "id")
    when = _moment(raw, "time", received)
    user, session = _text(raw, "user"), _text(raw, "session")
    values: dict[str, Any] = {
        "model": _text(raw, "model") or UNKNOWN_MODEL,
        "version": _text(raw, "version"),
        "variant": _text(raw, "variant"),
        "shadow": _flag(raw, "shadow"),
        "session": session and session_hash(session, salt),
        "user": user and user_hash(user, salt),
    }
    reason = _text(raw, "reason") or NO_RESPONSE
    trace, within = _text(raw, "trace"), _text(raw, "within")
    tokens_out = _whole(raw, "tokens_out")
    return TrafficEvent(
        id=event_id(own or json.dumps([when, kept, answer, made, *values.values()])),
        trace=event_id(trace) if trace and trace != own else None,
        within=event_id(within) if within and within != own else None,
        time=when,
        received=received,
        source=source,
        **values,
        question=_question(kept),
        messages=kept if mask else messages,
        response=answer if mask else response,
        calls=(made if mask else calls) or None,
        finish_reason=_text(raw, "finish_reason") or finish,
        tokens_in=_whole(raw, "tokens_in") or None,  # tools write 0 where nobody counted
        tokens_out=(0 if response == "" and not calls else None) if tokens_out == 0 else tokens_out,
        latency_s=_latency(raw),
        tags=(labels if mask else tags) or None,
        personal=sorted(clean.kinds) or None,
        masked=mask,
        reason=None if response is not None else (masked(reason) if mask else reason),
    )


def feedback(raw: Mapping[str, Any], *, salt: bytes, received: float, mask: bool = False) -> TrafficFeedback:
    """What an object says of the event whose id is its `event_id`.

    Without an id of its own it is what that user says of that event, and the next such takes its place.
    Without a time of its own it is of the event that it stands beside, so that what is said later counts.
    Raises Malformed that names the key.
    """
    _refuse_others(raw)
    beside = any(raw.get(key) is not None for key in ASKED)
    of = _text(raw, "event_id") or (None if beside else _text(raw, "id"))
    if of is None:
        raise Malformed("event_id: is missing")
    own = _text(raw, "feedback_id")
    if own is None and not beside and _given(raw, "event_id"):
        own = _text(raw, "id")
    dated = "feedback_time" if _given(raw, "feedback_time") else "time"
    user = _text(raw, "user")
    hashed = user and user_hash(user, salt)
    about = event_id(of)
    said = {key: _text(raw, key) for key in ("correction", "comment")}
    thumbs, rating = _thumbs(raw), _number(raw, "rating")
    if thumbs is None and rating is None and not any(said.values()):
        raise Malformed(f"{', '.join(SAID)}: are all missing")
    return TrafficFeedback(
        id=_hash(_FEEDBACK, own or json.dumps([about, hashed])),
        event_id=about,
        time=_moment(raw, dated, received) if _given(raw, dated) else received,
        received=received,
        thumbs=thumbs,
        rating=rating,
        user=hashed,
        **{key: masked(text) if text and mask else text for key, text in said.items()},
    )


def moment(value: Any) -> float:
    """A point in time as seconds since 1970 in UTC. Raises ValueError for what is none."""
    if isinstance(value, str):
        text = value.strip()
        with suppress(ValueError):
            return moment(float(text))
        try:
            found = datetime.fromisoformat(text.removesuffix(" UTC"))
        except ValueError:
            found = parsedate_to_datetime(text)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError("is no time")
    return value / next((unit for least, unit in _UNITS if abs(value) >= least), 1)


def _moment(raw: Mapping[str, Any], key: str, received: float) -> float:
    value = raw.get(key)
    if not _given(raw, key):
        raise Malformed(f"{key}: is missing")
    try:
        found = moment(value)
    except (ValueError, OverflowError, TypeError):
        raise Malformed(
            f"{key}: found {ascii(value)[:60]}, expected seconds since 1970 or a date such as "
            "2026-03-01T12:00:00Z"
        ) from None
    if found < _EARLIEST or found > received + _AHEAD:
        shown = datetime.fromtimestamp(min(max(found, 0), 1e11), UTC).isoformat(timespec="seconds")
        raise Malformed(f"{key}: {shown} is {'before 2000' if found < _EARLIEST else 'in the future'}")
    return found


def _refuse_others(raw: Mapping[str, Any]) -> None:
    if other := next((key for key in raw if key not in KEYS), None):
        raise Malformed(f"{ascii(other)[:60]}: unknown key; known: {', '.join(KEYS)}")


def _given(raw: Mapping[str, Any], key: str) -> bool:
    return raw.get(key) is not None and raw[key] != ""


def _text(raw: Mapping[str, Any], key: str) -> str | None:
    """A text, or a number as it is written; None for what is missing or empty."""
    value = raw.get(key)
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise Malformed(f"{key}: found {type_name(value)}, where a text was expected")
    return _whole_characters(str(value), key)


def _whole_characters(text: str, key: str) -> str:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise Malformed(f"{key}: holds half of a character (a lone surrogate)") from None
    return text


def _number(raw: Mapping[str, Any], key: str) -> float | None:
    value = raw.get(key)
    if value is None or value == "":
        return None
    try:
        number = float("nan" if isinstance(value, bool) else value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise Malformed(f"{key}: found {ascii(value)[:60]}, expected a number")
    return number


def _whole(raw: Mapping[str, Any], key: str) -> int | None:
    number = _number(raw, key)
    if number is not None and (number < 0 or number != int(number) or number >= 1 << 63):
        raise Malformed(f"{key}: found {ascii(raw[key])[:60]}, expected a whole number from 0")
    return None if number is None else int(number)


def _latency(raw: Mapping[str, Any]) -> float | None:
    key = "latency_s" if _given(raw, "latency_s") else "latency_ms"
    number = _number(raw, key)
    if number is not None and number < 0:
        raise Malformed(f"{key}: found {number:g}, expected a duration")
    return number if number is None or key == "latency_s" else number / 1000


def _flag(raw: Mapping[str, Any], key: str) -> bool:
    value = raw.get(key)
    found = value if isinstance(value, bool) or value is None else _TRUE.get(str(value).strip().lower())
    if found is None and value not in (None, ""):
        raise Malformed(f"{key}: found {ascii(value)[:60]}, expected true or false")
    return bool(found)


def _thumbs(raw: Mapping[str, Any]) -> int | None:
    value = raw.get("thumbs")
    if value is None or value == "":
        return None
    word = f"{value:g}" if isinstance(value, float) else str(value).strip().lower()
    if word not in THUMBS:
        raise Malformed(f"thumbs: found {ascii(value)[:60]}, expected up or down, 1 or -1, true or false")
    return 1 if THUMBS[word] == "up" else -1


def _tags(raw: Mapping[str, Any]) -> list[str]:
    value = raw.get("tags")
    if isinstance(value, str):
        value = decoded(value, "tags") if value.lstrip().startswith(("[", "{")) else value.split(",")
    if isinstance(value, dict):
        value = [key if item in (True, None, "") else f"{key}={item}" for key, item in value.items()]
    if not isinstance(value, list | tuple | None):
        raise Malformed(f"tags: found {type_name(value)}, where a list of words was expected")
    words = (_text({"tags": item}, "tags") for item in value or ())
    return list(dict.fromkeys(word.strip() for word in words if word and word.strip()))


def _messages(raw: Mapping[str, Any]) -> Messages:
    if _given(raw, "messages"):
        turns = raw["messages"]
        turns = decoded(turns, "messages") if isinstance(turns, str) else turns
        if isinstance(turns, list):
            turns = [_textual(turn) for turn in turns]
        found = read_messages(turns, "messages", training=True)
        if not found:
            raise Malformed("messages: is an empty list")
    else:
        prompt = raw.get("prompt")
        if isinstance(prompt, list) and len(prompt) == 1:
            (prompt,) = prompt
        if not isinstance(prompt, str):
            raise Malformed(f"prompt: found {type_name(prompt)}, where a text was expected")
        found = [{"role": "user", "content": prompt}]
    for place, turn in enumerate(found):
        _whole_characters(turn["content"], f"messages[{place}]")
        if len(turn) > 2:
            _whole_characters(json.dumps(turn, ensure_ascii=False), f"messages[{place}]")
    return found


def _textual(turn: Any) -> Any:
    """A turn in texts alone: images and sounds are their kind in brackets, null is ""."""
    if isinstance(turn, dict) and "content" in turn and turn["content"] is None:
        return {**turn, "content": ""}
    parts = turn.get("content") if isinstance(turn, dict) else None
    if not isinstance(parts, list) or not all(isinstance(part, dict) and "type" in part for part in parts):
        return turn
    return {**turn, "content": [_text_of(part) for part in parts]}


def _text_of(part: Mapping[str, Any]) -> Mapping[str, Any]:
    kind = str(part["type"])
    if _MARKUP.fullmatch(kind):
        return {**part, "type": "text"}
    if kind in ("text", "reasoning", "thinking", "tool_call"):
        return part
    return {"type": "text", "text": f"[{kind[:40]}]"}


def _answer(raw: Mapping[str, Any]) -> tuple[str | None, list[dict[str, Any]], str | None]:
    """The answer's text, its calls of tools, and why it ended. Calls that cannot be read stay text."""
    finish = None
    if _given(raw, "choices"):
        choices = raw["choices"]
        choices = decoded(choices, "choices") if isinstance(choices, str) else choices
        if not isinstance(choices, list) or not all(isinstance(each, dict) for each in choices):
            raise Malformed("choices: a list of objects was expected")
        first = choices[0] if choices else {}
        finish = _text(first, "finish_reason")
        message = first.get("message") or {"content": first.get("text")}
        if not isinstance(message, dict):
            raise Malformed(f"choices[0].message: found {type_name(message)}, where an object was expected")
        place = "choices[0].message"
    else:
        message, place = {"content": raw.get("response"), "tool_calls": raw.get("calls")}, "response"
    text, said = message.get("content"), message.get("tool_calls") or message.get("function_call")
    if isinstance(text, list):
        (turn,) = read_messages([_textual({"role": "assistant", "content": text})], place, training=True)
        text = turn["content"]
    if text is None and isinstance(message.get("refusal"), str):
        text = message["refusal"]
    if text is not None and not isinstance(text, str):
        raise Malformed(f"{place}: found {type_name(text)}, where a text was expected")
    said = decoded(said, "calls") if isinstance(said, str) and said else said
    said = said if isinstance(said, list) else [said] if said else []
    try:
        calls = [read_call(call, f"calls[{number}]") for number, call in enumerate(said)]
    except Malformed:
        text, calls = with_calls(text, {"tool_calls": said}), []
    text = "" if text is None and calls else text
    _whole_characters(text or "", place)
    if calls:
        _whole_characters(json.dumps(calls, ensure_ascii=False), "calls")
    return text, calls, finish


def _question(messages: Messages) -> str:
    """The identity of a question: what was said, but for the system's turn, which variants may differ in."""
    turns = [turn for turn in messages if turn["role"] != "system"] or messages
    said = [
        [
            turn["role"],
            normalise(turn["content"]),
            [call["function"] for call in turn.get("tool_calls") or ()],
        ]
        for turn in turns
    ]
    return hashlib.blake2b(json.dumps(said).encode(), digest_size=12).hexdigest()


class _Cleaner:
    """Texts without personal data, and the kinds of it that were in them."""

    def __init__(self) -> None:
        self.kinds: set[str] = set()

    def __call__(self, value: Any) -> Any:
        if isinstance(value, str):
            if found := kinds(value):
                self.kinds.update(found)
                return masked(value)
            return value
        if isinstance(value, list):
            return [self(item) for item in value]
        if isinstance(value, dict):
            return {key: self(item) for key, item in value.items()}
        return value
