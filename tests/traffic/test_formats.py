"""What gateways, servers and tracing tools write becomes events and feedback. The files in `files` were
written by the tools' own libraries.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from engine.data.cells import Malformed
from engine.traffic.events import event_id, read, user_hash
from engine.traffic.importing import rows_of, settled
from store.records import TrafficEvent, TrafficFeedback

FILES = Path(__file__).parent / "files"
SALT = b"pepper"
START = "2026-02-08T21:46:11.000Z"
AT = 1_770_587_171.0
HI = [{"role": "user", "content": "hi"}]


def whole(record: Mapping[str, Any]) -> tuple[str, list[TrafficEvent], list[TrafficFeedback]]:
    name, rows = rows_of(record)
    found = [read(settled(row), source=name, salt=SALT) for row in rows if row is not None]
    return name, [event for event, _ in found if event], [said for _, said in found if said]


def only(record: Mapping[str, Any]) -> TrafficEvent:
    _, (event,), _ = whole(record)
    return event


def opinion(record: Mapping[str, Any]) -> TrafficFeedback:
    _, _, (said,) = whole(record)
    return said


def attributes(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    def typed(value: Any) -> dict[str, Any]:
        if isinstance(value, int):
            return {"intValue": str(value)}
        if isinstance(value, list):
            return {"arrayValue": {"values": [typed(item) for item in value]}}
        return (
            {"kvlistValue": {"values": attributes(value)}}
            if isinstance(value, dict)
            else {"stringValue": value}
        )

    return [{"key": key, "value": typed(value)} for key, value in values.items()]


def span(values: Mapping[str, Any], events: Mapping[str, Mapping[str, Any]] | None = None) -> dict[str, Any]:
    said = [{"name": name, "attributes": attributes(each)} for name, each in (events or {}).items()]
    one = {
        "traceId": "5b8efff798038103d269b633813fc60c",
        "spanId": "eee19b7ec3c1b174",
        "startTimeUnixNano": "1772359200000000000",
        "endTimeUnixNano": "1772359200842000000",
        "attributes": attributes(values),
        "events": said,
    }
    return {"resourceSpans": [{"scopeSpans": [{"spans": [one]}]}]}


def logs(*records: tuple[str, Mapping[str, Any], Mapping[str, Any]]) -> dict[str, Any]:
    listed = [
        {
            "timeUnixNano": "1772359200000000000",
            "traceId": "aa",
            "spanId": "bb",
            "eventName": name,
            "attributes": attributes(values),
            "body": {"kvlistValue": {"values": attributes(body)}},
        }
        for name, values, body in records
    ]
    return {"resourceLogs": [{"scopeLogs": [{"logRecords": listed}]}]}


PARTS = [{"role": "user", "parts": [{"type": "text", "content": "hi"}]}]
ANSWERED = [{"role": "assistant", "parts": [{"type": "text", "content": "yo"}], "finish_reason": "stop"}]
CONVENTIONS = {
    "1.37 on, JSON in texts": span(
        {
            "gen_ai.operation.name": "chat",
            "gen_ai.request.model": "m",
            "gen_ai.input.messages": json.dumps(PARTS),
            "gen_ai.output.messages": json.dumps(ANSWERED),
        }
    ),
    "1.37 on, an event of the span": span(
        {"gen_ai.request.model": "m"},
        {
            "gen_ai.client.inference.operation.details": {
                "gen_ai.input.messages": json.dumps(PARTS),
                "gen_ai.output.messages": json.dumps(ANSWERED),
            }
        },
    ),
    "1.37 on, a log record": logs(
        (
            "gen_ai.client.inference.operation.details",
            {"gen_ai.request.model": "m", "gen_ai.input.messages": PARTS, "gen_ai.output.messages": ANSWERED},
            {},
        )
    ),
    "up to 1.36, events of the span": span(
        {"gen_ai.system": "openai", "gen_ai.request.model": "m"},
        {
            "gen_ai.user.message": {"content": "hi"},
            "gen_ai.choice": {"finish_reason": "stop", "message": '{"role": "assistant", "content": "yo"}'},
        },
    ),
    "up to 1.36, log records": logs(
        ("gen_ai.user.message", {"gen_ai.request.model": "m"}, {"content": "hi"}),
        ("gen_ai.choice", {}, {"finish_reason": "stop", "message": {"content": "yo"}}),
    ),
    "numbered attributes": span(
        {
            "gen_ai.request.model": "m",
            "gen_ai.prompt.0.role": "user",
            "gen_ai.prompt.0.content": "hi",
            "gen_ai.completion.0.content": "yo",
            "gen_ai.completion.0.finish_reason": "stop",
        }
    ),
}


@pytest.mark.parametrize("record", CONVENTIONS.values(), ids=CONVENTIONS.keys())
def test_a_call_is_read_by_the_conventions_of_every_year(record: Mapping[str, Any]) -> None:
    event = only(record)
    assert (event.messages, event.response, event.model, event.finish_reason) == (HI, "yo", "m", "stop")
    assert event.time == 1_772_359_200


def test_a_span_tells_tokens_models_sessions_and_tools() -> None:
    turns = [
        *PARTS,
        {
            "role": "assistant",
            "parts": [{"type": "tool_call", "id": "c", "name": "find", "arguments": {"n": 1}}],
        },
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c", "response": "shipped"}]},
    ]
    event = only(
        span(
            {
                "gen_ai.request.model": "m",
                "gen_ai.response.model": "m-2026",
                "gen_ai.response.finish_reasons": ["length"],
                "gen_ai.usage.input_tokens": 31,
                "gen_ai.usage.output_tokens": 9,
                "gen_ai.conversation.id": "c1",
                "user.id": "bob",
                "gen_ai.system_instructions": '[{"type": "text", "content": "Be kind"}]',
                "gen_ai.input.messages": json.dumps(turns),
                "gen_ai.output.messages": json.dumps(ANSWERED),
            }
        )
    )
    assert [turn["role"] for turn in event.messages] == ["system", "user", "assistant", "tool"]
    assert event.messages[3]["content"] == "shipped"
    assert (event.model, event.version, event.finish_reason) == ("m", "m-2026", "length")
    assert (event.tokens_in, event.tokens_out, event.latency_s) == (31, 9, 0.842)
    assert event.user == user_hash("bob", SALT)
    assert event.session is not None


@pytest.mark.parametrize(
    "values",
    [
        {"gen_ai.operation.name": "execute_tool", "gen_ai.input.messages": "[]"},
        {"gen_ai.operation.name": "embeddings", "gen_ai.prompt.0.content": "hi"},
        {"openinference.span.kind": "CHAIN", "input.value": "hi"},
        {"db.system": "postgres"},
    ],
)
def test_other_spans_are_no_events(values: Mapping[str, Any]) -> None:
    assert list(rows_of(span(values))[1]) == [None]


def test_openinference_is_read_from_spans_objects_and_tables() -> None:
    call = {"function.name": "find", "function.arguments": '{"n": 1}'}
    named = {
        f"llm.output_messages.0.message.tool_calls.0.tool_call.{key}": value for key, value in call.items()
    }
    values = {
        "openinference.span.kind": "LLM",
        "llm.model_name": "m",
        "llm.input_messages.0.message.role": "user",
        "llm.input_messages.0.message.content": "hi",
        "llm.output_messages.0.message.role": "assistant",
        "llm.token_count.prompt": 4,
        "session.id": "s",
    }
    event = only(span(values | named))
    assert event.messages == HI
    assert event.calls is not None
    assert event.calls[0]["function"]["arguments"] == {"n": 1}
    context = {"trace_id": "0x6c80", "span_id": "0xd9bd"}
    around = {"start_time": START, "end_time": "2026-02-08T21:46:13.500Z", "status_code": "OK"}
    phoenix = {"context": context, "span_kind": "LLM", "attributes": values, **around}
    assert only(phoenix).id == event_id("d9bd")
    assert only(phoenix).latency_s == 2.5
    row = {
        "context.trace_id": "6c80",
        "context.span_id": "d9bd",
        "span_kind": "LLM",
        "attributes.llm.input_messages": [{"message.role": "user", "message.content": "hi"}],
        "attributes.llm.model_name": "m",
        **around,
        "status_code": "ERROR",
        "status_message": "timed out",
    }
    assert only(row).messages == HI
    assert (only(row).response, only(row).reason) == (None, "timed out")
    assert only(row).id == only(phoenix).id


def test_an_annotation_of_phoenix_is_feedback_where_a_person_gave_it() -> None:
    row = {
        "id": "x",
        "span_id": "d9bd",
        "name": "quality",
        "annotator_kind": "HUMAN",
        "result": {"label": "good", "score": None, "explanation": "quick"},
    }
    said = opinion(row)
    assert (said.event_id, said.thumbs, said.comment) == (event_id("d9bd"), 1, "quick")
    assert list(rows_of({**row, "annotator_kind": "LLM"})[1]) == [None]


def test_traces_as_opentelemetrys_own_exporters_write_them() -> None:
    _, (event,), (said,) = whole(json.loads((FILES / "otlp.json").read_text()))
    assert (event.messages[0]["content"], event.response) == ("Where is my parcel?", "On its way")
    assert (event.model, event.version, event.tokens_in, event.finish_reason) == (
        "gpt",
        "gpt-2026",
        5,
        "stop",
    )
    assert (said.event_id, said.thumbs) == (event.id, 1)


def test_a_trace_as_mlflow_writes_it() -> None:
    record = json.loads((FILES / "mlflow.json").read_text())
    _, (event,), said = whole(record)
    assert (event.messages[0]["content"], event.response) == ("Where is my parcel?", "On its way")
    assert (event.model, event.version, event.tokens_in, event.tags) == ("gpt", "gpt-2026", 5, ["shop=eu"])
    assert event.user == user_hash("bob", SALT)
    assert [(row.thumbs, row.correction) for row in said] == [(1, None), (None, "It comes today")]
    assert {row.event_id for row in said} == {event.trace}


def test_the_earlier_form_of_mlflows_traces_and_one_without_a_call() -> None:
    inner = {
        "context": {"span_id": "0xfedcba0987654321", "trace_id": "0x12"},
        "parent_id": None,
        "start_time": 1_772_359_200_000_000_000,
        "end_time": 1_772_359_201_000_000_000,
        "status_code": "OK",
        "attributes": {"mlflow.spanInputs": '{"question": "why?"}', "mlflow.spanOutputs": '"because"'},
    }
    record = {"info": {"request_id": "abc", "timestamp_ms": 1}, "data": {"spans": [inner]}}
    event = only(record)
    assert (event.messages[0]["content"], event.response, event.latency_s) == ("why?", "because", 1.0)
    assert event.trace == event_id("abc")


def test_runs_as_langchain_writes_them_and_feedback_of_langsmith() -> None:
    chain, run = map(json.loads, (FILES / "langsmith.jsonl").read_text().splitlines())
    assert list(rows_of(chain)[1]) == [None]
    event = only(run)
    assert (event.response, event.model) == ("On its way", "fake")
    assert event.trace == event_id(chain["id"])
    said = {"id": "f", "run_id": chain["id"], "key": "user_thumbs", "score": 0.0, "comment": "meh"}
    assert (opinion(said).thumbs, opinion(said).event_id) == (-1, event.trace)
    assert list(rows_of({**said, "feedback_source": {"type": "model"}})[1]) == [None]
    assert list(rows_of({**said, "feedback_group_id": "g"})[1]) == [None]


def test_langchains_own_messages_in_a_run_of_langsmith() -> None:
    def message(kind: str, **values: Any) -> dict[str, Any]:
        path = ["langchain", "schema", "messages", f"{kind.title()}Message"]
        return {"lc": 1, "type": "constructor", "id": path, "kwargs": values}

    call = {"name": "find", "args": {"n": 1}, "id": "c", "type": "tool_call"}
    run = {
        "id": "l",
        "trace_id": "t",
        "run_type": "llm",
        "start_time": START,
        "inputs": {"messages": [[message("system", content="Be kind"), message("human", content="hi")]]},
        "outputs": {"generations": [[{"text": "", "message": message("ai", content="", tool_calls=[call])}]]},
    }
    event = only(run)
    assert [(turn["role"], turn["content"]) for turn in event.messages] == [
        ("system", "Be kind"),
        ("user", "hi"),
    ]
    assert event.calls is not None
    assert event.calls[0]["function"] == {"name": "find", "arguments": {"n": 1}}


GENERATION = {
    "id": "o1",
    "traceId": "t1",
    "type": "GENERATION",
    "startTime": START,
    "endTime": "2026-02-08T21:46:12.000Z",
    "model": "m",
    "input": {"messages": HI},
    "output": {"role": "assistant", "content": "yo"},
    "usageDetails": {"input": 3, "output": 4, "total": 7},
    "latency": 1,
    "sessionId": "s",
    "userId": "u",
}


def test_tokens_that_nobody_counted_are_missing_and_not_0() -> None:
    usage = {"unit": "TOKENS", "input": 0, "output": 0, "total": 0}  # as Langfuse's interface has it then
    event = only({**GENERATION, "usage": usage, "usageDetails": {}})
    assert (event.tokens_in, event.tokens_out) == (None, None)
    empty = only({**GENERATION, "output": {"content": ""}, "usageDetails": {"input": 3, "output": 0}})
    assert (empty.response, empty.tokens_in, empty.tokens_out) == ("", 3, 0)


def test_langfuse_counts_cached_and_thought_tokens_apart() -> None:
    parts = {"input": 24, "input_cached_tokens": 6, "output": 378, "output_reasoning_tokens": 1029}
    event = only({**GENERATION, "usageDetails": {**parts, "total": 1437}})
    assert (event.tokens_in, event.tokens_out) == (30, 1407)


def test_an_observation_of_langfuse_lasts_from_its_start_to_its_end() -> None:
    own = {**GENERATION, "createdAt": "2026-02-08T21:46:11.500Z"}
    for latency in (None, 1_000):  # milliseconds in some versions
        assert only({**own, "latency": latency}).latency_s == 1.0


def test_a_pair_lasts_from_its_request_on_though_its_line_was_written_later() -> None:
    times = {"start_time": START, "end_time": "2026-02-08T21:46:12.000Z"}
    for written in ("timestamp", "created_at"):
        row = {written: "2026-02-08T21:46:11.900Z", **times, "request": {"messages": HI}, "response": "yo"}
        assert only(row).latency_s == 1.0


def test_langfuses_observations_traces_and_downloads() -> None:
    event = only(GENERATION)
    assert (event.messages, event.response, event.tokens_in, event.tokens_out) == (HI, "yo", 3, 4)
    assert (event.id, event.trace, event.latency_s, event.time) == (event_id("o1"), event_id("t1"), 1.0, AT)
    assert list(rows_of({**GENERATION, "type": "SPAN"})[1]) == [None]
    text = {**GENERATION, "input": json.dumps(HI), "output": '{"role": "assistant", "content": "yo"}'}
    score = {"id": "s1", "traceId": "t1", "name": "output", "dataType": "CORRECTION", "stringValue": "hello"}
    _, (download,), (said,) = whole({"observations": [text], "scores": [score]})
    assert (download.id, download.response) == (event.id, "yo")
    assert (said.event_id, said.correction) == (event.trace, "hello")
    apart = {"trace": {"id": "t1", "timestamp": START, "input": None, "scores": [score]}}
    _, (newer,), (again,) = whole({**apart, "observations": [text]})
    assert (newer.id, newer.response, again.correction) == (event.id, "yo", "hello")
    trace = {"id": "t1", "timestamp": START, "input": "hi", "output": "yo", "userId": "u", "scores": ["s1"]}
    assert (only(trace).id, only(trace).messages) == (event_id("t1"), HI)
    _, (of_table,), (thumb,) = whole(
        {**trace, "user-feedback": "[1]", "faithfulness": 0.3, "bookmarked": False}
    )
    assert (thumb.event_id, thumb.thumbs) == (of_table.id, 1)


@pytest.mark.parametrize(
    ("score", "says"),
    [
        ({"dataType": "NUMERIC", "value": 0, "name": "user-feedback"}, {"thumbs": -1}),
        ({"dataType": "NUMERIC", "value": 4, "name": "rating"}, {"rating": 4.0}),
        ({"dataType": "BOOLEAN", "value": 1, "name": "ok", "source": "ANNOTATION"}, {"thumbs": 1}),
        ({"dataType": "BOOLEAN", "value": 0, "name": "ok", "source": "ANNOTATION"}, {"thumbs": -1}),
        # The value of a category is 0 where nobody gave it a number.
        (
            {
                "dataType": "CATEGORICAL",
                "value": 0,
                "stringValue": "good",
                "name": "q",
                "source": "ANNOTATION",
            },
            {"thumbs": 1},
        ),
        (
            {"dataType": "TEXT", "stringValue": "too long", "name": "q", "source": "ANNOTATION"},
            {"comment": "too long"},
        ),
        ({"dataType": "NUMERIC", "value": 1, "name": "hallucination", "source": "API"}, None),
        ({"dataType": "NUMERIC", "value": 1, "name": "user-feedback", "source": "EVAL"}, None),
    ],
)
def test_a_score_of_langfuse_counts_where_a_person_gave_it(score: dict[str, Any], says: Any) -> None:
    row = {"id": "s1", "traceId": "t1", "source": "API", **score}
    if says is None:
        assert list(rows_of(row)[1]) == [None]
        return
    said = opinion(row)
    given = {"thumbs": said.thumbs, "rating": said.rating, "comment": said.comment}
    assert {key: value for key, value in given.items() if value is not None} == says


SPEND = {
    "request_id": "r1",
    "call_type": "acompletion",
    "spend": 0.1,
    "startTime": START,
    "endTime": "2026-02-08T21:46:12.000Z",
    "model": "azure/gpt",
    "model_group": "gpt",
    "prompt_tokens": 3,
    "completion_tokens": 1,
    "messages": "{}",
    "response": '{"choices": [{"message": {"role": "assistant", "content": "yo"}, "finish_reason": "stop"}]}',
    "proxy_server_request": '{"messages": [{"role": "user", "content": "hi"}], "user": "bob"}',
    "metadata": "{}",
    "request_tags": '["shop"]',
    "end_user": "",
    "status": "success",
}


def test_litellms_spend_logs() -> None:
    event = only(SPEND)
    assert (event.messages, event.response, event.model, event.version) == (HI, "yo", "gpt", "azure/gpt")
    assert (event.tokens_in, event.latency_s, event.tags) == (3, 1.0, ["shop"])
    assert event.user == user_hash("bob", SALT)
    with pytest.raises(Malformed, match="store_prompts_in_spend_logs"):
        whole({**SPEND, "proxy_server_request": "{}"})
    failed = {"error_information": {"error_message": "no quota"}}
    refused = only({**SPEND, "response": {}, "status": "failure", "metadata": failed})
    assert (refused.response, refused.reason) == (None, "no quota")
    refused = only({**SPEND, "response": "{}", "status": "failure", "metadata": json.dumps(failed)})
    assert (refused.response, refused.reason) == (None, "no quota")


def test_pairs_of_request_and_response_of_several_interfaces() -> None:
    chat = {
        "timestamp": 1_772_359_200,
        "request": {"model": "gpt", "messages": HI},
        "response": {
            "id": "chatcmpl-2",
            "model": "gpt-2026",
            "choices": [{"message": {"role": "assistant", "content": "yo"}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 2},
        },
        "metadata": {"user_id": "bob", "variant": "B"},
        "latency_ms": 200,
    }
    event = only(chat)
    assert (event.messages, event.response, event.variant, event.latency_s) == (HI, "yo", "B", 0.2)
    assert (event.id, event.version, event.tokens_out) == (event_id("chatcmpl-2"), "gpt-2026", 2)
    texts = {key: json.dumps(chat[key]) for key in ("request", "response")}
    assert only({**chat, **texts}).response == "yo"
    old = {"prompt": "once", "model": "m"}, {"choices": [{"text": " upon", "finish_reason": "length"}]}
    assert only({"timestamp": START, "request": old[0], "response": old[1]}).response == " upon"
    new = {
        "output": [
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "yo"}]}
        ]
    }
    sent = {"model": "gpt", "input": "hi", "instructions": "Be kind"}
    responses = only({"created_at": START, "request": {"body": sent}, "response": {"body": new}})
    assert [turn["role"] for turn in responses.messages] == ["system", "user"]
    assert responses.response == "yo"
    used = {"type": "tool_use", "id": "t", "name": "find", "input": {"n": 1}}
    claude = {
        "role": "assistant",
        "content": [{"type": "text", "text": "Wait."}, used],
        "stop_reason": "tool_use",
    }
    event = only({"timestamp": START, "request": {"system": "Be kind", "messages": HI}, "response": claude})
    assert (event.response, event.finish_reason, len(event.messages)) == ("Wait.", "tool_use", 2)
    assert event.calls is not None
    failed = only(
        {"timestamp": START, "request": chat["request"], "response": {"error": {"message": "busy"}}}
    )
    assert (failed.response, failed.reason) == (None, "busy")


def test_tables_with_other_names_for_their_columns() -> None:
    row = {"created_at": "2026-02-08 21:46:11", "question": "hi", "answer": "yo", "user_id": 5, "score": 0.3}
    name, (event,), said = whole(row)
    assert (name, event.messages, event.response, event.time) == ("table", HI, "yo", AT)
    assert event.user == user_hash("5", SALT)
    assert said == []  # a score may be anybody's
    assert opinion({**row, "feedback": "too slow"}).comment == "too slow"
    assert opinion({**row, "feedback": "👎"}).thumbs == -1
    turns = {"created": 1_772_359_200, "messages": [*HI, {"role": "assistant", "content": "yo"}]}
    assert (only(turns).messages, only(turns).response) == (HI, "yo")
    json_answer = {**row, "answer": '{"content": "x"}'}
    assert only(json_answer).response == '{"content": "x"}'


def test_latencies_without_a_unit_or_with_a_clock_that_went_back_are_missing() -> None:
    row = {"created_at": START, "question": "hi", "answer": "yo"}
    assert only({**row, "latency": 350}).latency_s is None
    back = {
        "timestamp": START,
        "end_time": "2026-02-08T21:46:10Z",
        "request": {"messages": HI},
        "response": "yo",
    }
    assert only(back).latency_s is None


def test_a_record_of_no_format_is_told_with_its_keys() -> None:
    with pytest.raises(Malformed, match="no known format; its keys are a, b"):
        rows_of({"a": 1, "b": 2})


def test_what_a_format_has_of_no_use_does_not_break_it() -> None:
    trace = {"id": "t", "timestamp": START, "input": "hi", "output": [[]], "userId": "u"}
    assert only(trace).response is None
    spans = {"spans": [{"attributes": {"mlflow.spanInputs": '"hi"'}, "start_time": START}]}
    assert only({"info": {"trace_id": "x", "tags": [1, ["k"]]}, "data": spans}).messages == HI
    with pytest.raises(Malformed, match="is no row of mlflow"):
        rows_of({"a": 1}, "mlflow")
    with pytest.raises(Malformed, match="is no row of openai-batch"):
        rows_of({"a": 1}, "openai-batch")
