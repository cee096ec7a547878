"""Calls of models in traces: OpenTelemetry's GenAI conventions, OpenInference, and MLflow.

A span is read the same whether it comes as OTLP JSON, as the Python console prints it, from Phoenix (objects
or a table of them), or in an MLflow trace. The names that attributes had in earlier years are read too.
"""

import base64
import binascii
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from engine.data.cells import Malformed, listed
from engine.traffic.events import moment
from engine.traffic.exchanges import Raw, answer, exchange, question, usage
from engine.traffic.opinions import opinion

_CALLS = ("chat", "text_completion", "completion", "generate_content")  # operations that ask a model
_KINDS = ("LLM", "CHAT_MODEL")
_OLD = re.compile(r"gen_ai\.(system|user|assistant|tool)\.message")
_PLACE = re.compile("[0-9]{1,9}")  # in a list; Python reads no number of thousands of digits
_SESSION = ("gen_ai.conversation.id", "session.id", "langfuse.session.id", "conversation.id", "thread.id")
_USER = ("user.id", "enduser.id", "langfuse.user.id", "gen_ai.user.id")


@dataclass(slots=True)
class Span:
    """One span, or the log records of one, with ids in hexadecimal and times in seconds."""

    trace: str | None
    id: str | None
    parent: str | None
    start: Any
    end: Any
    attributes: dict[str, Any]
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    error: str | None = None


def is_otlp(record: Mapping[str, Any]) -> bool:
    return isinstance(record.get("resourceSpans", record.get("resourceLogs")), list)


def of_otlp(record: Mapping[str, Any]) -> Iterator[Raw | Malformed | None]:
    """The calls in one OTLP object; None for each span that is none, an error for one that cannot be read."""
    for span in _otlp_spans(record):
        yield from _each(span)
    logged: dict[tuple[str | None, str | None], Span] = {}
    for span in _otlp_logs(record):
        key = span.trace, span.id
        if span.id and key in logged:
            logged[key].events += span.events
            logged[key].attributes |= span.attributes
        else:
            logged[key if span.id else (None, str(len(logged)))] = span
    for span in logged.values():
        yield from _each(span)


def _each(span: Span) -> Iterator[Raw | Malformed | None]:
    """What is in a span; one that cannot be read keeps no other one out."""
    try:
        yield from of_span(span)
    except Malformed as error:
        yield error
    except RecursionError:
        yield Malformed("a span is nested too deeply")


def _otlp_spans(record: Mapping[str, Any]) -> Iterator[Span]:
    for resource in _objects(record.get("resourceSpans"), "resourceSpans"):
        shared = _attributes(as_object(resource.get("resource")).get("attributes"))
        for scope in _objects(
            resource.get("scopeSpans", resource.get("instrumentationLibrarySpans")), "spans"
        ):
            for span in _objects(scope.get("spans"), "spans"):
                status = as_object(span.get("status"))
                failed = status.get("code") in (2, "2", "STATUS_CODE_ERROR")
                yield Span(
                    _hex(span.get("traceId")),
                    _hex(span.get("spanId")),
                    _hex(span.get("parentSpanId")),
                    span.get("startTimeUnixNano"),
                    span.get("endTimeUnixNano"),
                    shared | _attributes(span.get("attributes")),
                    [
                        (str(event.get("name")), _attributes(event.get("attributes")))
                        for event in _objects(span.get("events"), "events")
                    ],
                    str(status.get("message") or "the call failed") if failed else None,
                )


def _otlp_logs(record: Mapping[str, Any]) -> Iterator[Span]:
    """Each log record as a span with one event."""
    for resource in _objects(record.get("resourceLogs"), "resourceLogs"):
        for scope in _objects(resource.get("scopeLogs"), "scopeLogs"):
            for log in _objects(scope.get("logRecords"), "logRecords"):
                attributes = _attributes(log.get("attributes"))
                name = str(log.get("eventName") or attributes.get("event.name") or "")
                body = _value(log.get("body")) if isinstance(log.get("body"), dict) else log.get("body")
                yield Span(
                    _hex(log.get("traceId")),
                    _hex(log.get("spanId")),
                    None,
                    log.get("timeUnixNano") or log.get("observedTimeUnixNano"),
                    None,
                    attributes,
                    [(name, attributes | (body if isinstance(body, dict) else {}))],
                )


def is_span(record: Mapping[str, Any]) -> bool:
    """Whether a record is a span of Phoenix or the console, or a row of Phoenix's table of them."""
    context = record.get("context")
    return (
        isinstance(context, dict) and "span_id" in context and "attributes" in record
    ) or "context.span_id" in record


def of_record(record: Mapping[str, Any]) -> Iterator[Raw | None]:
    """The call in a span of Phoenix or the console."""
    if "context.span_id" in record:
        nested = {
            key.removeprefix("attributes."): value
            for key, value in record.items()
            if key.startswith("attributes.") and value is not None
        }
        context = {key: record.get(f"context.{key}") for key in ("trace_id", "span_id")}
        record = {**record, "context": context, "attributes": nested}
        nested.setdefault("openinference.span.kind", record.get("span_kind"))
    context = record["context"]
    status = record.get("status")
    code = status.get("status_code") if isinstance(status, dict) else record.get("status_code")
    message = status.get("description") if isinstance(status, dict) else record.get("status_message")
    attributes = dict(as_object(record.get("attributes")))
    if isinstance(kind := record.get("span_kind"), str) and kind.upper() in _KINDS:
        attributes.setdefault("openinference.span.kind", kind)
    events = [
        (str(event.get("name")), as_object(event.get("attributes")))
        for event in listed_objects(record.get("events"))
    ]
    yield from of_span(
        Span(
            _hex(context.get("trace_id")),
            _hex(context.get("span_id")),
            _hex(record.get("parent_id")),
            record.get("start_time"),
            record.get("end_time"),
            attributes,
            events,
            str(message or "the call failed") if code == "ERROR" else None,
        )
    )


def is_mlflow(record: Mapping[str, Any]) -> bool:
    return isinstance(record.get("info"), dict) and isinstance(record.get("data"), dict)


def of_mlflow(record: Mapping[str, Any]) -> Iterator[Raw | None]:
    """The calls in an MLflow trace, of one without any its root; then what people assessed."""
    info, data = record["info"], record["data"]
    own = info.get("trace_id") or info.get("request_id")
    kept = {**as_object(info.get("request_metadata")), **as_object(info.get("trace_metadata"))}
    tags = info.get("tags")
    if isinstance(tags, list):
        tags = {tag.get("key"): tag.get("value") for tag in listed_objects(tags)}
    beside: Raw = {
        "trace": own,
        "session": kept.get("mlflow.trace.session"),
        "user": kept.get("mlflow.trace.user"),
        "tags": {key: value for key, value in as_object(tags).items() if not str(key).startswith("mlflow.")},
    }
    spans = [_mlflow_span(span) for span in _objects(data.get("spans"), "data.spans")]
    calls = [span for span in spans if _decoded(span.attributes.get("mlflow.spanType")) in _KINDS]
    roots = [span for span in spans if span.parent is None]
    for span in calls or roots[:1]:
        yield _mlflow_call(span, info) | beside
    yield from (None for span in spans if span not in (calls or roots[:1]))
    if not spans and (preview := info.get("request_preview", info.get("request"))):
        raise Malformed(f"data.spans: is empty; what info has, {str(preview)[:40]!r}…, may be cut")
    for assessment in listed_objects(info.get("assessments")):
        if assessment.get("valid") is not False:
            yield _assessed(assessment, str(own))


def _mlflow_span(span: Mapping[str, Any]) -> Span:
    context = as_object(span.get("context"))
    status = span.get("status")
    code = status.get("code") if isinstance(status, dict) else span.get("status_code")
    message = status.get("message") if isinstance(status, dict) else span.get("status_message")
    return Span(
        _hex(span.get("trace_id", context.get("trace_id"))),
        _hex(span.get("span_id", context.get("span_id"))),
        _hex(span.get("parent_span_id") or span.get("parent_id")),
        span.get("start_time_unix_nano", span.get("start_time")),
        span.get("end_time_unix_nano", span.get("end_time")),
        as_object(span.get("attributes")),
        error=str(message or "the call failed") if str(code).endswith("ERROR") else None,
    )


def _mlflow_call(span: Span, info: Mapping[str, Any]) -> Raw:
    attributes = {key: _decoded(value) for key, value in span.attributes.items()}
    given, got = attributes.get("mlflow.spanInputs"), attributes.get("mlflow.spanOutputs")
    raw = exchange(given, got)
    named = attributes.get("mlflow.llm.model") or attributes.get("model")
    model = as_object(given).get("model") or named or raw.get("model")
    start = span.start or info.get("request_time") or info.get("timestamp_ms")
    found = raw | {"id": span.id, "within": span.parent, "model": model, "time": start, "reason": span.error}
    return found | usage(attributes.get("mlflow.chat.tokenUsage")) | _lasted(span)


def _assessed(assessment: Mapping[str, Any], trace: str) -> Raw | None:
    source = as_object(assessment.get("source"))
    expected = as_object(assessment.get("expectation"))
    said = as_object(assessment.get("feedback"))
    found = opinion(
        str(assessment.get("assessment_name", assessment.get("name"))),
        value=said.get("value"),
        correction=expected.get("value"),
        comment=assessment.get("rationale"),
        by_person=source.get("source_type") == "HUMAN",
    )
    span = _hex(assessment.get("span_id"))
    return found and found | {
        "event_id": span or trace,
        "feedback_id": assessment.get("assessment_id"),
        "time": assessment.get("last_update_time") or assessment.get("create_time"),
        "user": source.get("source_id"),
    }


def of_span(span: Span) -> Iterator[Raw | None]:
    """The call that a span is, and what its events say of the answer; None where it is no call."""
    tree = _tree(span.attributes)
    raw = _call(span, tree)
    yield raw
    for name, values in span.events:
        if name == "gen_ai.evaluation.result":
            found = opinion(
                str(values.get("gen_ai.evaluation.name")),
                value=values.get("gen_ai.evaluation.score.value"),
                label=values.get("gen_ai.evaluation.score.label"),
                comment=values.get("gen_ai.evaluation.explanation"),
            )
            yield found and found | {"event_id": span.id, "time": span.end or span.start}


def _call(span: Span, tree: Mapping[str, Any]) -> Raw | None:
    flat = span.attributes
    kind = str(flat.get("openinference.span.kind") or flat.get("traceloop.span.kind") or "").upper()
    if kind and kind not in _KINDS:
        return None
    operation = flat.get("gen_ai.operation.name")
    if operation is not None and operation not in _CALLS:
        return None
    given, got = _genai(span, tree) if not kind or "gen_ai" in tree else (None, None)
    if given is None and kind:
        given, got = _openinference(tree)
    if given is None:
        return None
    raw = question(given) | answer(got)
    genai, llm = as_object(tree.get("gen_ai")), as_object(tree.get("llm"))
    requested = flat.get("gen_ai.request.model") or llm.get("model_name") or raw.get("model")
    reasons = listed_values(as_object(genai.get("response")).get("finish_reasons"))
    tokens = as_object(llm.get("token_count"))
    counted = usage({"input_tokens": tokens.get("prompt"), "output_tokens": tokens.get("completion")})
    raw |= counted | usage(genai.get("usage"))
    if reasons:
        raw["finish_reason"] = str(reasons[0])
    return (
        raw
        | _lasted(span)
        | {
            "id": span.id,
            "trace": span.trace,
            "within": span.parent,
            "time": span.start,
            "model": requested,
            "answered_by": flat.get("gen_ai.response.model"),
            "session": _first(flat, _SESSION),
            "user": _first(flat, _USER),
            "reason": span.error,
            "tags": listed(flat["tag.tags"])
            if isinstance(flat.get("tag.tags"), str)
            else flat.get("tag.tags"),
        }
    )


def _genai(span: Span, tree: Mapping[str, Any]) -> tuple[Any, Any]:
    """What was sent and what came back, in the places of the conventions, newest first."""
    genai = dict(as_object(tree.get("gen_ai")))
    for name, values in span.events:
        if name in (
            "gen_ai.client.inference.operation.details",
            "gen_ai.content.prompt",
            "gen_ai.content.completion",
        ):
            genai = _joined(genai, as_object(_tree(values).get("gen_ai")))
            span.attributes |= values
    given, got = as_object(genai.get("input")).get("messages"), as_object(genai.get("output")).get("messages")
    system = listed_values(genai.get("system_instructions"))
    given = listed(given) if isinstance(given, str) else given
    if isinstance(given, list) and system:
        given = [{"role": "system", "parts": system}, *given]
    if given is not None:
        return given, got
    turns, choices = [], []
    for name, values in span.events:
        values = {
            key: listed(item) if isinstance(item, str) and key != "content" else item
            for key, item in values.items()
        }
        if found := _OLD.fullmatch(name):
            turns.append({"role": found[1]} | {k: v for k, v in values.items() if k in _OF_TURN})
        elif name == "gen_ai.choice":
            message = values.get("message")
            message = message if isinstance(message, dict) else {"content": message or values.get("content")}
            choices.append({"finish_reason": values.get("finish_reason"), "message": message})
    if turns:
        return turns, {"choices": choices} if choices else None
    prompt, completion = listed_values(genai.get("prompt")), listed_values(genai.get("completion"))
    if prompt:
        return [turn if isinstance(turn, dict) else {"role": "user", "content": turn} for turn in prompt], [
            {"role": "assistant", **turn}
            if isinstance(turn, dict)
            else {"role": "assistant", "content": turn}
            for turn in completion
        ]
    return None, None


_OF_TURN = ("role", "content", "tool_calls", "name", "id")


def _openinference(tree: Mapping[str, Any]) -> tuple[Any, Any]:
    llm = as_object(tree.get("llm"))
    given = [_oi_turn(item) for item in listed_values(llm.get("input_messages"))]
    got = [_oi_turn(item) for item in listed_values(llm.get("output_messages"))]
    sent, back = as_object(tree.get("input")).get("value"), as_object(tree.get("output")).get("value")
    prompts = listed_values(llm.get("prompts"))
    return given or sent or prompts or None, got or back


def _oi_turn(item: Any) -> Raw:
    message = as_object(as_object(item).get("message") or item)
    parts = [
        as_object(as_object(part).get("message_content")) for part in listed_values(message.get("contents"))
    ]
    calls = [as_object(as_object(call).get("tool_call")) for call in listed_values(message.get("tool_calls"))]
    turn: Raw = {"role": message.get("role") or "user", "content": message.get("content")}
    if turn["content"] is None and parts:
        turn["content"] = parts
    if calls:
        turn["tool_calls"] = [{"id": call.get("id"), "function": call.get("function")} for call in calls]
    if isinstance(message.get("tool_call_id"), str):
        turn["tool_call_id"] = message["tool_call_id"]
    return turn


def _lasted(span: Span) -> Raw:
    """The latency; none where the clock went back between start and end, or one is not there."""
    with suppress(ValueError, TypeError, OverflowError):
        lasted = moment(span.end) - moment(span.start)
        if lasted >= 0:
            return {"latency_s": round(lasted, 6)}
    return {}


def _attributes(value: Any) -> dict[str, Any]:
    return {str(item.get("key")): _value(item.get("value")) for item in listed_objects(value)}


def _value(value: Any) -> Any:
    """A value as OTLP writes it: {"stringValue": …}, {"arrayValue": {"values": […]}} …"""
    if not isinstance(value, dict):
        return value
    if "arrayValue" in value:
        return [_value(item) for item in listed_values(as_object(value["arrayValue"]).get("values"))]
    if "kvlistValue" in value:
        return _attributes(as_object(value["kvlistValue"]).get("values"))
    if "intValue" in value:
        with suppress(ValueError, TypeError):
            return int(value["intValue"])
    return next(
        (value[key] for key in ("stringValue", "intValue", "doubleValue", "boolValue") if key in value), None
    )


def _tree(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes with dots in their names as objects in objects, numbered ones as lists."""
    root: dict[str, Any] = {}
    for name, value in attributes.items():
        _put(root, str(name).split("."), _nested(value))
    return {key: _lists(value) for key, value in root.items()}


def _nested(value: Any) -> Any:
    if isinstance(value, dict):
        inner: dict[str, Any] = {}
        for name, item in value.items():
            _put(inner, str(name).split("."), _nested(item))
        return inner
    return [_lists(_nested(item)) for item in value] if isinstance(value, list) else value


def _put(root: dict[str, Any], path: Sequence[str], value: Any) -> None:
    for name in path[:-1]:
        inner = root.get(name)
        if not isinstance(inner, dict):
            inner = root[name] = {}
        root = inner
    root[path[-1]] = _joined(root.get(path[-1]), value)


def _joined(first: Any, second: Any) -> Any:
    if not isinstance(first, dict) or not isinstance(second, dict):
        return second if second is not None else first
    return first | {key: _joined(first.get(key), value) for key, value in second.items()}


def _lists(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if value and all(map(_PLACE.fullmatch, value)):
        return [_lists(value[key]) for key in sorted(value, key=int)]
    return {key: _lists(item) for key, item in value.items()}


def listed_values(value: Any) -> list[Any]:
    """A list, or one in a text, or the one value that stands for it; [] for nothing."""
    value = listed(value) if isinstance(value, str) else value
    return value if isinstance(value, list) else [] if value is None or value == "" else [value]


def listed_objects(value: Any) -> list[dict[str, Any]]:
    """Of a list, or one in a text, the objects."""
    return [item for item in listed_values(value) if isinstance(item, dict)]


def _objects(value: Any, where: str) -> list[dict[str, Any]]:
    if value is not None and not (isinstance(value, list) and all(isinstance(item, dict) for item in value)):
        raise Malformed(f"{where}: a list of objects was expected")
    return value or []


def as_object(value: Any) -> dict[str, Any]:
    """An object, or one in a text; {} for anything else."""
    value = listed(value) if isinstance(value, str) else value
    return value if isinstance(value, dict) else {}


def _decoded(value: Any) -> Any:
    """MLflow writes each value as JSON."""
    return listed(value) if isinstance(value, str) and value[:1] in "[{" else _unquoted(value)


def _unquoted(value: Any) -> Any:
    if isinstance(value, str) and len(value) > 1 and value[0] == value[-1] == '"':
        with suppress(ValueError):
            from engine.data.reading import decode_json

            return decode_json(value)
    return value


def _first(flat: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((flat[name] for name in names if flat.get(name) not in (None, "")), None)


def _hex(value: Any) -> str | None:
    """An id in hexadecimal, which is also written with 0x before it, and in base64."""
    if not isinstance(value, str) or not value:
        return None
    text = value.removeprefix("0x").lower()
    if len(value) in (12, 24) and not re.fullmatch(r"[0-9a-f]+", text):
        with suppress(binascii.Error, ValueError):
            return base64.b64decode(value, validate=True).hex()
    return text
