"""Rows of gateways' and servers' logs: one request with its answer, or what was said of one.

OpenAI-style pairs of request and response, LiteLLM's spend logs, Langfuse, LangSmith, batch files and vLLM's
request log. A row becomes objects of `engine.traffic.events`.
"""

import ast
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from engine.data.cells import Malformed, listed
from engine.errors import BadInput
from engine.traffic.events import moment
from engine.traffic.exchanges import Raw, answer, exchange, question, usage
from engine.traffic.opinions import is_of_users, opinion
from engine.traffic.spans import as_object, listed_objects, listed_values
from store.traffic import Waiting

_REQUEST = ("request", "request_body", "requestBody", "body", "req", "kwargs")
_RESPONSE = ("response", "response_body", "responseBody", "resp", "completion")
_TIMES = (  # of a request; the later ones may be when its line was written
    "start_time", "startTime", "request_time", "requested_at", "request_created_at", "time", "timestamp",
    "created_at", "createdAt", "created", "ts", "date",
)  # fmt: skip
_ENDS = ("end_time", "endTime", "response_time", "response_created_at", "completed_at")
_LATENCY_MS = ("latency_ms", "duration_ms", "response_time_ms", "latencyMs", "durationMs", "delay_ms")
_LATENCY_S = ("latency_s", "duration_s", "latency_seconds")
_IDS = ("id", "request_id", "requestId", "event_id", "trace_id", "log_id")
_USERS = ("user", "user_id", "userId", "end_user", "customer_identifier")
_SESSIONS = ("session", "session_id", "sessionId", "conversation_id", "thread_id")
_PASSED = ("model", "version", "variant", "shadow", "tags", "thumbs", "rating", "correction", "comment")


def is_pair(record: Mapping[str, Any]) -> bool:
    """Whether a row holds what was sent to a server and what it sent back."""
    sent = as_object(_first(record, _REQUEST))
    back = as_object(_first(record, _RESPONSE))
    return _is_request(sent) or (_is_request(record) and _is_response(as_object(back.get("body")) or back))


def _is_request(body: Mapping[str, Any]) -> bool:
    return bool(body.get("messages") or body.get("prompt") or body.get("input") or body.get("body"))


def _is_response(body: Mapping[str, Any]) -> bool:
    return bool(body.keys() & {"choices", "output", "content", "error"})


def of_pair(record: Mapping[str, Any]) -> Iterator[Raw]:
    """A request and its answer, as proxies and gateways write them."""
    sent = as_object(_first(record, _REQUEST)) or record
    sent = as_object(sent.get("body")) or sent
    back: Any = _first(record, _RESPONSE)
    if isinstance(inner := as_object(back).get("body"), str | dict):
        back = inner
    metadata = as_object(record.get("metadata")) | as_object(sent.get("metadata"))
    raw = exchange(sent, back)
    yield (
        raw
        | _around(record, metadata)
        | _lasting(record)
        | {
            "id": _first(record, _IDS) or as_object(back).get("id"),
            "user": _first(record, _USERS) or sent.get("user") or _first(metadata, _USERS),
            "session": _first(record, _SESSIONS) or _first(metadata, _SESSIONS),
            "reason": _failed(record, back),
        }
    )


def _around(record: Mapping[str, Any], metadata: Mapping[str, Any]) -> Raw:
    """What stands beside a pair under its own name, there or in its metadata, and the time."""
    found = {key: record.get(key, metadata.get(key)) for key in _PASSED}
    given = {key: value for key, value in found.items() if value is not None}
    when = _first(record, _TIMES)
    return given | ({} if when is None else {"time": when})


def _lasting(record: Mapping[str, Any]) -> Raw:
    """The latency as it is told, else from start to end, where the clock did not go back between them."""
    for keys, name in ((_LATENCY_MS, "latency_ms"), (_LATENCY_S, "latency_s")):
        if (told := _first(record, keys)) is not None:
            return {name: told}
    with suppress(ValueError, TypeError, OverflowError):
        lasted = moment(_first(record, _ENDS)) - moment(_first(record, _TIMES))
        if lasted >= 0:
            return {"latency_s": round(lasted, 6)}
    return {}


def _failed(record: Mapping[str, Any], back: Any) -> str | None:
    error = record.get("error") or as_object(back).get("error")
    if isinstance(error, dict):
        error = error.get("message") or json.dumps(error)
    status = record.get("status_code", as_object(record.get("response")).get("status_code"))
    if not error and isinstance(status, int) and status >= 400:
        error = f"HTTP {status}"
    return str(error) if error else None


def is_litellm(record: Mapping[str, Any]) -> bool:
    return "startTime" in record and "request_id" in record and ("spend" in record or "call_type" in record)


def of_litellm(record: Mapping[str, Any]) -> Iterator[Raw]:
    """A row of LiteLLM's spend logs. It has texts only where `store_prompts_in_spend_logs` is on."""
    metadata = as_object(record.get("metadata"))
    proxied = as_object(record.get("proxy_server_request"))
    proxied = as_object(proxied.get("body")) or proxied
    messages = listed_values(record.get("messages"))
    sent: Any = messages if messages and messages != [{}] else proxied
    if not sent:
        raise Malformed("messages: are empty; LiteLLM keeps texts with store_prompts_in_spend_logs: true")
    failure = as_object(metadata.get("error_information")).get("error_message")
    failed = record.get("status") == "failure"
    back = record.get("response")
    back = listed(back) if isinstance(back, str) else back  # {} where nothing came back
    yield (
        exchange(sent, back or None)
        | _lasting(record)
        | {
            "id": record.get("request_id"),
            "time": record.get("startTime"),
            "model": record.get("model_group") or record.get("model"),
            "answered_by": record.get("model"),
            "tokens_in": record.get("prompt_tokens"),
            "tokens_out": record.get("completion_tokens"),
            "user": record.get("end_user") or proxied.get("user"),
            "session": record.get("session_id"),
            "tags": listed_values(record.get("request_tags")),
            "variant": metadata.get("variant"),
            "reason": (failure or "the call failed") if failed else None,
        }
    )


_OF_TRACES = {"sessionId", "userId", "htmlPath", "projectId", "traceName", "bookmarked"}


def is_langfuse(record: Mapping[str, Any]) -> bool:
    """Whether a row is a score, an observation or a trace of Langfuse, or the download of a trace."""
    is_trace = {"timestamp", "input", "output"} <= record.keys() and bool(record.keys() & _OF_TRACES)
    is_observation = "traceId" in record and "type" in record
    is_download = "observations" in record and bool(record.keys() & {"scores", "trace"})
    return is_trace or is_observation or is_download or is_langfuse_score(record)


def is_langfuse_score(record: Mapping[str, Any]) -> bool:
    return "dataType" in record and "name" in record and bool(record.keys() & {"traceId", "observationId"})


def of_langfuse(record: Mapping[str, Any]) -> Iterator[Raw | None]:
    """A trace, an observation or a score of Langfuse, of its interface or its exports."""
    if is_langfuse_score(record):
        yield _langfuse_score(record)
        return
    if isinstance(trace := record.get("trace"), dict) and "observations" in record:
        record = {**trace, "observations": record["observations"]}
    inner = [item for item in listed_objects(record.get("observations")) if "id" in item]
    if not inner and "type" in record and "traceId" in record:
        yield _langfuse_call(record, record)
    for item in inner:
        yield _langfuse_call(item, record)
    asked = any(item.get("type") == "GENERATION" and item.get("input") for item in inner)
    if "timestamp" in record and "type" not in record and not asked and record.get("input") is not None:
        yield (
            exchange(record["input"], record.get("output"))
            | _langfuse_around(record)
            | {
                "id": record.get("id"),
                "time": record["timestamp"],
                "latency_s": record.get("latency"),
            }
        )
    for score in listed_objects(record.get("scores")):
        if "name" in score:
            yield _langfuse_score({"traceId": record.get("id"), **score})
    yield from _langfuse_columns(record)


def _langfuse_columns(record: Mapping[str, Any]) -> Iterator[Raw]:
    """The scores in a table that Langfuse exports, which has a column for each name."""
    for name, values in record.items():
        if is_of_users(name, column=True) and not isinstance(values, dict):
            for value in listed_values(values):
                if said := opinion(name, value=value):
                    yield said | {"event_id": record.get("id"), "feedback_id": f"{record.get('id')} {name}"}


def _langfuse_call(item: Mapping[str, Any], trace: Mapping[str, Any]) -> Raw | None:
    if item.get("type") != "GENERATION" or item.get("input") in (None, "", [], {}):
        return None
    told = {"tokens_in": item.get("inputTokens"), "tokens_out": item.get("outputTokens")}
    counted = (
        told | usage(as_object(item.get("usage"))) | _langfuse_usage(as_object(item.get("usageDetails")))
    )
    failed = item.get("level") == "ERROR"
    model = item.get("model") or item.get("providedModelName")
    return (
        exchange(item["input"], item.get("output"))
        | counted
        | _langfuse_around({**trace, **item})
        | {
            "id": item.get("id"),
            "trace": item.get("traceId"),
            "within": item.get("parentObservationId"),
            "time": item.get("startTime"),
            "model": model,
            **({"latency_s": item.get("latency")} | _lasting(item)),  # it is in milliseconds in some versions
            "reason": (item.get("statusMessage") or "the call failed") if failed else None,
        }
    )


def _langfuse_usage(details: Mapping[str, Any]) -> Raw:
    """The tokens in parts that Langfuse counts apart, such as input_cached_tokens."""
    told = usage(details)
    for name, kind in (("tokens_in", "input"), ("tokens_out", "output")):
        parts = [details[key] for key in details if key.startswith(kind)]
        if parts and all(isinstance(part, int | float) for part in parts):
            told[name] = sum(parts)
    return told


def _langfuse_around(record: Mapping[str, Any]) -> Raw:
    return {
        "user": record.get("userId", record.get("user_id")),
        "session": record.get("sessionId", record.get("session_id")),
        "version": record.get("version") or record.get("release"),
        "tags": listed_values(record.get("tags") or record.get("traceTags")),
        "variant": as_object(record.get("metadata")).get("variant"),
    }


def _langfuse_score(score: Mapping[str, Any]) -> Raw | None:
    kind, words = score.get("dataType"), score.get("stringValue")
    value = score.get("value")
    if kind == "BOOLEAN":
        value = value in (1, True) if value is not None else words
    elif kind in ("CATEGORICAL", "TEXT"):
        value = words  # the number of a category is 0 where nobody gave it one
    found = opinion(
        str(score["name"]),
        value=None if kind == "CORRECTION" else value,
        comment=score.get("comment"),
        correction=(words or value) if kind == "CORRECTION" else None,
        by_person=score.get("source") == "ANNOTATION" or kind == "CORRECTION",
    )
    if score.get("source") == "EVAL":
        return None
    return found and found | {
        "event_id": score.get("observationId") or score.get("traceId"),
        "feedback_id": score.get("id"),
        "time": score.get("timestamp") or score.get("createdAt"),
        "user": score.get("authorUserId"),
    }


def is_langsmith(record: Mapping[str, Any]) -> bool:
    return ("run_type" in record and "inputs" in record) or is_langsmith_feedback(record)


def is_langsmith_feedback(record: Mapping[str, Any]) -> bool:
    return "run_id" in record and "key" in record and bool(record.keys() & {"score", "value", "comment"})


def of_langsmith(record: Mapping[str, Any]) -> Iterator[Raw | None]:
    """A run of LangSmith that asks a model, with the runs in it, or feedback on one."""
    if is_langsmith_feedback(record):
        yield _langsmith_feedback(record)
        return
    yield _langsmith_call(record)
    for run in listed_objects(record.get("child_runs")):
        yield from of_langsmith(run)
    for said in listed_objects(record.get("feedback")):
        if "key" in said:
            yield _langsmith_feedback({"run_id": record.get("id"), **said})


def _langsmith_call(run: Mapping[str, Any]) -> Raw | None:
    if run.get("run_type") != "llm":
        return None
    metadata = as_object(as_object(run.get("extra")).get("metadata"))
    invoked = as_object(as_object(run.get("extra")).get("invocation_params"))
    error = run.get("error")
    counted = usage({"input_tokens": run.get("prompt_tokens"), "output_tokens": run.get("completion_tokens")})
    model = metadata.get("ls_model_name") or invoked.get("model") or invoked.get("model_name")
    raw = exchange(as_object(run.get("inputs")) or run.get("inputs"), as_object(run.get("outputs")))
    return (
        raw
        | counted
        | _lasting(run)
        | {
            "id": run.get("id"),
            "trace": run.get("trace_id"),
            "within": run.get("parent_run_id"),
            "time": run.get("start_time"),
            "model": model or raw.get("model"),
            "session": _first(metadata, _SESSIONS),
            "user": _first(metadata, _USERS),
            "variant": metadata.get("variant"),
            "tags": listed_values(run.get("tags")),
            "reason": str(error) if error else None,
        }
    )


def _langsmith_feedback(said: Mapping[str, Any]) -> Raw | None:
    if said.get("feedback_group_id"):  # which of two runs is better
        return None
    source = as_object(said.get("feedback_source"))
    correction = said.get("correction")
    if isinstance(correction, dict):
        correction = answer(correction).get("response")
    score = said.get("score")
    found = opinion(
        str(said["key"]),
        value=score if score is not None else said.get("value"),
        label=said.get("value") if isinstance(said.get("value"), str) else None,
        comment=said.get("comment"),
        correction=correction,
        by_person=source.get("type") == "app",
    )
    if source.get("type") == "model":
        return None
    return found and found | {
        "event_id": said.get("run_id"),
        "feedback_id": said.get("id"),
        "time": said.get("created_at"),
        "user": source.get("user_id"),
    }


def is_annotation(record: Mapping[str, Any]) -> bool:
    """Whether a row is an annotation of Phoenix."""
    return "annotator_kind" in record and bool(record.keys() & {"span_id", "trace_id"})


def of_annotation(record: Mapping[str, Any]) -> Iterator[Raw | None]:
    result = as_object(record.get("result")) or record
    found = opinion(
        str(record.get("name", record.get("annotation_name"))),
        value=result.get("score"),
        label=result.get("label"),
        comment=result.get("explanation"),
        by_person=record["annotator_kind"] == "HUMAN",
    )
    yield found and found | {
        "event_id": record.get("span_id") or record.get("trace_id"),
        "feedback_id": record.get("id"),
        "time": record.get("updated_at") or record.get("created_at"),
        "user": record.get("user_id"),
    }


class Halves:
    """Requests and answers that stand apart in the files, kept on disk until their other half comes."""

    def __init__(self) -> None:
        self._waiting = Waiting()

    def join(self, key: str, raw: Mapping[str, Any], place: str, *, sent: bool) -> Raw | None:
        """The whole exchange, or None until it is there. Raises BadInput where a key stands twice."""
        other = self._waiting.take(key)
        if other is None:
            self._waiting.put(key, sent, place, json.dumps(raw))
            return None
        was_sent, where, text = other
        if was_sent == sent:
            raise BadInput(
                f"{place}: {key!r:.60} stands twice, here and in {where}, so that nobody can tell which "
                "answer belongs to which question",
                "Import one batch at a time.",
            )
        found: Raw = json.loads(text)
        return found | dict(raw)

    def left(self) -> Iterator[tuple[str, bool]]:
        """Where the halves stand that found no other, and whether that is a request."""
        return self._waiting.left()

    def close(self) -> None:
        self._waiting.close()


def is_batch(record: Mapping[str, Any]) -> bool:
    """Whether a row is of a batch file of OpenAI's interface, of requests or of answers."""
    return "custom_id" in record and bool(record.keys() & {"body", "response", "error"})


def of_batch(record: Mapping[str, Any], place: str, halves: Halves) -> Iterator[Raw]:
    """A request and its answer, once both were read."""
    key = str(record["custom_id"])
    if "body" in record:
        body = as_object(record["body"])
        raw = question(body) | {"metadata": body.get("metadata")}
        whole = halves.join(key, raw, place, sent=True)
    else:
        back = as_object(record.get("response"))
        body = as_object(back.get("body"))
        raw = answer(body) | {"id": body.get("id") or record.get("id"), "reason": _failed(record, body)}
        whole = halves.join(key, raw, place, sent=False)
    if whole is not None:
        metadata = as_object(whole.pop("metadata", None))
        whole |= {name: metadata[name] for name in ("variant", "tags") if metadata.get(name)}
        yield whole | {"session": _first(metadata, _SESSIONS)}


_VLLM = re.compile(
    r"""(?:INFO|DEBUG)\s+(?P<when>\d\d-\d\d\ \d\d:\d\d:\d\d).{0,80}?\]\s
    (?:(?:Received\ request|Request)\ (?P<asked>\S+?)(?:\ details)?:\ prompt:\ (?P<prompt>
    '(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")
    |Generated\ response\ (?P<answered>\S+?)(?:\ \(streaming\ (?:complete|delta)\))?:\ output:\ (?P<output>
    '(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"),\ output_token_ids:\ (?P<tokens>None|\[[^\]]*\]),
    \ finish_reason:\ (?P<finish>\w+))""",
    re.VERBOSE | re.DOTALL,
)
_DELTA = " (streaming delta)"


_VLLM_WORDS = re.compile(r"\] (?:Received request|Request|Generated response) \S+(?: details|:| \(streaming)")
_WITHOUT_TEXT = re.compile(r"Received request \S+: params: ")


def is_vllm(line: str) -> bool:
    """Whether a line of a server's log tells of a request or an answer."""
    return _VLLM_WORDS.search(line) is not None and _WITHOUT_TEXT.search(line) is None


def of_vllm(lines: Iterable[tuple[int, str]], path: Path, halves: Halves) -> Iterator[tuple[int, Raw | None]]:
    """The requests and answers in the log of a vLLM server; None for a line that tells of one unreadably.

    Its times have no year: it is that of the file's last change, or the one before.
    """
    latest = path.stat().st_mtime
    for number, line in lines:
        if not is_vllm(line) or _DELTA in line:
            continue
        found = _VLLM.search(line)
        if found is None:
            yield number, None
            continue
        asked = found["asked"] is not None
        raw: Raw = (
            {"prompt": ast.literal_eval(found["prompt"]), "time": _with_year(found["when"], latest)}
            if asked
            else _vllm_answer(found, latest)
        )
        key = found["asked"] or found["answered"]
        whole = halves.join(key, raw, f"{path}:{number}", sent=asked)
        if whole is not None:
            ended = whole.pop("ended", None)
            lasted = (ended or 0) - whole["time"]
            yield number, whole | {"id": key} | ({"latency_s": lasted} if ended and lasted >= 0 else {})


def _vllm_answer(found: re.Match[str], latest: float) -> Raw:
    tokens = found["tokens"]
    return {
        "response": ast.literal_eval(found["output"]),
        "tokens_out": None
        if tokens == "None"
        else len(tokens.strip("[]").split(","))
        if tokens != "[]"
        else 0,
        "finish_reason": None if found["finish"] == "None" else found["finish"],
        "ended": _with_year(found["when"], latest),
    }


def _with_year(text: str, latest: float) -> float:
    """The last such day and time before the file was last changed, in UTC."""
    year = datetime.fromtimestamp(latest, UTC).year
    for each in range(year, year - 8, -1):  # the 29th of February is not in every year
        with suppress(ValueError):
            when = datetime.strptime(f"{each}-{text}", "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC).timestamp()
            if when <= latest + 86_400:
                return when
    raise Malformed(f"time: {text} is no day of the last years")


def _first(record: Mapping[str, Any], names: Iterable[str]) -> Any:
    return next((record[name] for name in names if record.get(name) not in (None, "")), None)
