"""What the body of a request to the collector asks to be stored."""

import gzip
import hashlib
import io
import json
import time
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

from engine.data.cells import Malformed
from engine.data.reading import decode_json, type_name
from engine.errors import BadInput
from engine.traffic import events as native
from engine.traffic.importing import settled
from engine.traffic.spans import is_otlp, of_otlp
from store.intake import Delivery
from store.records import TrafficEvent, TrafficFeedback

EVENTS, FEEDBACK = "/v1/events", "/v1/feedback"
SPANS = {"/v1/traces": "rejectedSpans", "/v1/logs": "rejectedLogRecords"}  # OTLP's paths and words
JSON, LINES = "application/json", ("application/x-ndjson", "application/ndjson", "application/jsonl")
EVENT_BYTES, REQUEST_BYTES, EVENTS_AT_ONCE = 1 << 20, 10 << 20, 1_000
_SOURCE, _OTLP = "collector", "otlp"


class Refusal(Exception):
    """Why a request is not taken, as its client is told. `again`: seconds after which it may be."""

    def __init__(self, status: int, message: str, param: str | None = None, again: int | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.again = status, message, param, again


class Reader:
    """Makes deliveries of bodies, with the salt of a store; `mask`: without the personal data in them."""

    def __init__(self, salt: bytes, mask: bool) -> None:
        self._salt = salt
        self._mask = mask

    def delivery(self, body: bytes, form: str, path: str, own_key: str) -> Delivery:
        """The events or feedback of a request. Raises Refusal that names what is wrong with the first."""
        key = self._hash(path.encode(), own_key.encode()) if own_key else ""
        events, feedback, ids = [], [], []
        received = time.time()
        for place, (where, raw) in enumerate(_objects(body, form)):
            try:
                event, said = self._read(raw, path, f"{key}-{place}" if key else "", received)
            except (Malformed, BadInput, RecursionError) as error:
                problem = "is nested too deeply" if isinstance(error, RecursionError) else error.message
                param = ".".join(filter(None, (where, problem.partition(":")[0])))
                raise Refusal(400, f"{where}: {problem}" if where else problem, param) from error
            events += [event] if event else []
            feedback += [said] if said else []
            ids += [found.id for found in (event, said) if found][:1]
        return Delivery(events, feedback, ids, key, self._hash(body) if key else "")

    def spans(self, body: bytes, form: str) -> tuple[Delivery, list[str]]:
        """The calls of models in an OTLP request, and why others could not be read. Raises Refusal for what
        is no such request.
        """
        events, feedback, problems = [], [], []
        request = _decoded(_text(body), "the body")
        if form != JSON or not isinstance(request, dict) or not is_otlp(request):
            raise Refusal(400, "expected OTLP as JSON: an object with resourceSpans or resourceLogs")
        try:
            calls = list(of_otlp(request))
        except Malformed as error:
            raise Refusal(400, error.message) from error
        received = time.time()
        for raw in calls:
            if raw is None:
                continue
            try:
                if isinstance(raw, Malformed):
                    raise raw
                if len(body) > EVENT_BYTES and len(json.dumps(raw)) > EVENT_BYTES:
                    raise Malformed(f"a call of a model has at most {EVENT_BYTES >> 20} MiB")
                event, said = native.read(
                    settled(raw), source=_OTLP, salt=self._salt, received=received, mask=self._mask
                )
            except (Malformed, RecursionError) as error:
                problems.append(str(error))
            else:
                events += [event] if event else []
                feedback += [said] if said else []
        return Delivery(events, feedback, [event.id for event in events]), problems

    def _read(
        self, raw: Mapping[str, Any], path: str, own: str, received: float
    ) -> tuple[TrafficEvent | None, TrafficFeedback | None]:
        asked = any(raw.get(key) is not None for key in native.ASKED)
        if path == FEEDBACK:
            if asked:
                raise Malformed(f"{native.ASKED[0]}: is part of an event, which goes to {EVENTS}")
            return None, native.feedback(raw, salt=self._salt, received=received, mask=self._mask)
        if asked:
            # Under a key the same request is the same event; without a key or an id the moment tells.
            given = {key: value for key, value in raw.items() if value is not None}
            raw = {**({"id": own} if own else {}), "time": received, **given}
        return native.read(raw, source=_SOURCE, salt=self._salt, received=received, mask=self._mask)

    def _hash(self, *parts: bytes) -> str:
        return hashlib.blake2b(b"\0".join(parts), key=self._salt, digest_size=16).hexdigest()


def unpacked(body: bytes) -> bytes:
    """What gzip data hold. Raises Refusal for what is none or too large."""
    try:
        found = gzip.GzipFile(fileobj=io.BytesIO(body)).read(REQUEST_BYTES + 1)
    except (EOFError, OSError, zlib.error) as error:
        raise Refusal(400, "the body is no whole gzip data", "Content-Encoding") from error
    if len(found) > REQUEST_BYTES:
        raise too_large()
    return found


def too_large() -> Refusal:
    return Refusal(413, f"a request has at most {REQUEST_BYTES >> 20} MiB, also unpacked")


def _objects(body: bytes, form: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The objects of a body, each with its place, as "[3]", or "" where it is alone."""
    text = _text(body)
    if form == JSON:
        found = _decoded(text, "the body")
        listed = found if isinstance(found, list) else [found]
        large = len(body) > EVENT_BYTES
        sizes = (len(json.dumps(one).encode()) if large else 0 for one in listed)
    else:
        lines = [line for line in text.split("\n") if line.strip()]
        found = listed = [_decoded(line, f"line {number}") for number, line in enumerate(lines, start=1)]
        sizes = (len(line.encode()) for line in lines)
    if not listed:
        raise Refusal(400, "the request has no events")
    if len(listed) > EVENTS_AT_ONCE:
        raise Refusal(413, f"a request has at most {EVENTS_AT_ONCE:,} events")
    for place, (one, size) in enumerate(zip(listed, sizes, strict=True)):
        where = f"[{place}]" if found is listed else ""
        if size > EVENT_BYTES:
            raise Refusal(413, f"an event has at most {EVENT_BYTES >> 20} MiB", where or None)
        if not isinstance(one, dict):
            raise Refusal(400, f"found {type_name(one)}, where an object was expected", where or None)
        yield where, one


def _text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise Refusal(400, f"the body is not UTF-8 (byte {error.start + 1})") from error


def _decoded(text: str, where: str) -> Any:
    try:
        return decode_json(text)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise Refusal(400, f"{where} is not JSON: {error.msg} ({place})") from error
    except ValueError as error:
        raise Refusal(400, f"{where}: {error}") from error
