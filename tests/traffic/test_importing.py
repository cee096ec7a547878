"""Importing logs: nothing twice, nothing silently lost, whatever the files are like."""

import gzip
import itertools
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as arrow
import pytest
from pyarrow import parquet

from engine.errors import BadInput
from engine.traffic.events import event_id, salt, user_hash
from engine.traffic.importing import TrafficAccount, import_traffic
from store import database
from store.read import traffic
from store.read.history import Connection
from store.records import TrafficEvent

SALT = b"pepper"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "store"
    database.prepare(place)
    return place


@pytest.fixture
def connection(folder: Path) -> Iterator[Connection]:
    with closing(database.connect(folder)) as opened:
        yield opened


def row(number: int, **more: Any) -> dict[str, Any]:
    return {
        "id": f"r{number}",
        "time": 1_772_359_200 + number,
        "prompt": f"Question {number}?",
        "response": f"Answer {number}.",
        **more,
    }


def write(file: Path, rows: Sequence[Any]) -> Path:
    file.write_text("".join((each if isinstance(each, str) else json.dumps(each)) + "\n" for each in rows))
    return file


def take(connection: Connection, *files: Path, **options: Any) -> TrafficAccount:
    return import_traffic(files, connection, SALT, **options)


def stored(connection: Connection) -> list[TrafficEvent]:
    return list(traffic.events(connection))


def test_the_same_file_twice_adds_nothing_and_a_grown_one_what_is_new(
    connection: Connection, tmp_path: Path
) -> None:
    file = write(tmp_path / "log.jsonl", [row(n, thumbs="up") for n in range(3)])
    assert (take(connection, file).added.new, len(stored(connection))) == (3, 3)
    again = take(connection, file).added
    assert (again.new, again.known, again.updated, again.feedback) == (0, 3, 0, 0)
    write(file, [row(n, thumbs="up") for n in range(5)])
    assert (take(connection, file).added.new, len(stored(connection))) == (2, 5)
    other = write(tmp_path / "other.jsonl", [row(n) for n in range(3, 8)])
    assert take(connection, other, file).added.new == 3


def test_rows_without_ids_are_one_event_where_all_of_them_is_the_same(
    connection: Connection, tmp_path: Path
) -> None:
    rows = [{key: value for key, value in row(n).items() if key != "id"} for n in (1, 2, 1)]
    assert take(connection, write(tmp_path / "log.jsonl", rows)).added.new == 2


def test_a_later_log_fills_in_what_was_missing_and_changes_nothing_else(
    connection: Connection, tmp_path: Path
) -> None:
    first = {**row(1), "response": None, "reason": "still running"}
    take(connection, write(tmp_path / "a.jsonl", [first]))
    found = take(connection, write(tmp_path / "b.jsonl", [row(1, tokens_out=3)]))
    assert found.added.updated == 1
    take(connection, write(tmp_path / "c.jsonl", [row(1, response="Other", tokens_out=9)]))
    (event,) = stored(connection)
    assert (event.response, event.reason, event.tokens_out) == ("Answer 1.", None, 3)


def test_a_later_log_says_which_model_it_was(connection: Connection, tmp_path: Path) -> None:
    take(connection, write(tmp_path / "a.jsonl", [row(1)]))
    named = take(connection, write(tmp_path / "b.jsonl", [row(1, model="m")]))
    assert (named.added.updated, named.nameless) == (1, 0)
    take(connection, write(tmp_path / "c.jsonl", [row(1), row(1, model="other")]))
    assert [event.model for event in stored(connection)] == ["m"]


def test_an_id_that_stands_for_another_question_is_told(connection: Connection, tmp_path: Path) -> None:
    file = write(tmp_path / "log.jsonl", [row(1), row(1, prompt="Another?"), row(2)])
    found = take(connection, file)
    assert (found.added.new, found.unreadable) == (2, 1)
    assert found.left_out == [f"{file}:2: its id stands for another question in the store already"]


def test_masking_later_masks_what_stands(connection: Connection, tmp_path: Path) -> None:
    file = write(tmp_path / "log.jsonl", [row(1, prompt="I am bob@x.org", response="Hi bob@x.org")])
    take(connection, file)
    assert take(connection, file, mask=True).added.updated == 1
    assert take(connection, file).added.known == 1
    (event,) = stored(connection)
    assert (event.messages[0]["content"], event.response) == ("I am [email]", "Hi [email]")
    assert event.masked


def test_late_events_clocks_that_go_back_and_a_model_that_changes(
    connection: Connection, tmp_path: Path
) -> None:
    rows = [row(5, model="a"), row(3, model="a"), row(9, model="b"), row(4, model="b")]
    take(connection, write(tmp_path / "log.jsonl", rows))
    assert [(event.time - 1_772_359_200, event.model) for event in stored(connection)] == [
        (3, "a"), (4, "b"), (5, "a"), (9, "b")
    ]  # fmt: skip


def test_feedback_before_its_event_and_of_events_that_never_come(
    connection: Connection, tmp_path: Path
) -> None:
    said = [{"event_id": "r1", "thumbs": "down"}, {"event_id": "nowhere", "rating": 2}]
    found = take(connection, write(tmp_path / "said.jsonl", said))
    assert (found.added.feedback, found.waiting, stored(connection)) == (2, 2, [])
    assert take(connection, write(tmp_path / "log.jsonl", [row(1)])).waiting == 1
    (thumb,) = traffic.feedback(connection, [event_id("r1")])
    assert thumb.thumbs == -1


def test_feedback_on_a_trace_becomes_that_on_its_last_answer(connection: Connection, tmp_path: Path) -> None:
    said = write(tmp_path / "said.jsonl", [{"event_id": "t", "thumbs": "up", "time": 1_772_359_300}])
    log = write(tmp_path / "log.jsonl", [row(2, trace="t"), row(1, trace="t"), row(3)])
    for files in ([said, log], [log, said], [said]):
        take(connection, *files)
        assert [row.thumbs for row in traffic.feedback(connection, [event_id("r2")])] == [1]
        assert traffic.feedback(connection, [event_id("r1"), event_id("t")]) == []


def test_feedback_on_a_trace_is_never_on_an_answer_that_nobody_saw(
    connection: Connection, tmp_path: Path
) -> None:
    said = {"event_id": "t", "thumbs": "down", "time": 1_772_359_300}
    hidden = row(2, trace="t", shadow=True)
    assert take(connection, write(tmp_path / "hidden.jsonl", [hidden, said])).waiting == 1
    take(connection, write(tmp_path / "shown.jsonl", [row(1, trace="t")]))
    assert [each.thumbs for each in traffic.feedback(connection, [event_id("r1")])] == [-1]
    assert traffic.feedback(connection, [event_id("r2")]) == []


LANGFUSE_TRACE = {
    "id": "t",
    "timestamp": "2026-03-01T10:00:00Z",
    "userId": "ann",
    "sessionId": "s",
    "input": "hi",
    "output": "yo",
}
LANGFUSE_SCORE = {"id": "s1", "traceId": "t", "name": "user-feedback", "value": 1, "dataType": "BOOLEAN"}


def langfuse_call(number: int) -> dict[str, Any]:
    return {
        "id": f"o{number}",
        "traceId": "t",
        "type": "GENERATION",
        "startTime": f"2026-03-01T10:00:0{number}Z",
        "model": "m",
        "input": [{"role": "user", "content": f"hi {number}"}],
        "output": "yo",
    }


@pytest.mark.parametrize("order", ["tcs", "tsc", "cts", "cst", "stc", "sct"])
@pytest.mark.parametrize("at_once", [True, False])
def test_a_trace_of_langfuse_counts_as_its_calls_alone(
    connection: Connection, tmp_path: Path, order: str, at_once: bool
) -> None:
    tables = {"t": [LANGFUSE_TRACE], "c": [langfuse_call(1), langfuse_call(2)], "s": [LANGFUSE_SCORE]}
    files = [write(tmp_path / f"{name}.jsonl", tables[name]) for name in order]
    for group in [files] if at_once else [[file] for file in files]:
        take(connection, *group)
    calls = stored(connection)
    assert [(call.id, call.model) for call in calls] == [(event_id("o1"), "m"), (event_id("o2"), "m")]
    assert {call.user for call in calls} == {user_hash("ann", SALT)}
    assert [said.thumbs for said in traffic.feedback(connection, [event_id("o2")])] == [1]
    again = take(connection, *files)
    assert (again.added.new, again.added.known, len(stored(connection))) == (0, 3, 2)
    assert again.nameless == 0


def test_a_trace_of_langfuse_without_calls_stays(connection: Connection, tmp_path: Path) -> None:
    other = langfuse_call(1) | {"type": "SPAN"}
    take(connection, write(tmp_path / "log.jsonl", [LANGFUSE_TRACE, other]))
    assert [each.id for each in stored(connection)] == [event_id("t")]


def test_the_newer_word_of_a_person_counts_and_keeps_what_it_does_not_speak_of(
    connection: Connection, tmp_path: Path
) -> None:
    said = [
        {"event_id": "r1", "user": "bob", "thumbs": "up", "comment": "fine", "time": 1_772_359_300},
        {"event_id": "r1", "user": "bob", "thumbs": "down", "time": 1_772_359_400},
        {"event_id": "r1", "user": "bob", "thumbs": "up", "time": 1_772_359_200},
        {"event_id": "r1", "user": "amy", "rating": 5},
    ]
    take(connection, write(tmp_path / "said.jsonl", said))
    found = {row.user: row for row in traffic.feedback(connection, [event_id("r1")])}
    bob = found[user_hash("bob", SALT)]
    assert (bob.thumbs, bob.comment, bob.time) == (-1, "fine", 1_772_359_400)
    assert found[user_hash("amy", SALT)].rating == 5


HOSTILE = "\x1b[31mred\x07 \u202eevil\u2066 \x00 [bold]x[/] \U0001f600"


def test_hostile_texts_are_kept_as_data_and_half_characters_are_refused(
    connection: Connection, tmp_path: Path
) -> None:
    half = '{"id": "h", "time": 1772359200, "prompt": "half \\ud83d"}'
    found = take(connection, write(tmp_path / "log.jsonl", [row(1, prompt=HOSTILE, response=HOSTILE), half]))
    (event,) = stored(connection)
    assert event.response == event.messages[0]["content"] == HOSTILE
    assert "half of a character" in found.left_out[0]


def test_rows_that_cannot_be_read_are_counted_with_their_place(
    connection: Connection, tmp_path: Path
) -> None:
    file = tmp_path / "log.jsonl"
    good, cut = json.dumps(row(1)), json.dumps(row(2))[:-20]
    file.write_bytes(
        f'{good}\nnot json\n[1]\n{{"a": 1}}\n{good[:-1]}, "id": "x"}}\n'.encode()
        + b'{"\xff"}\n'
        + cut.encode()
    )
    found = take(connection, file)
    assert (found.added.new, found.unreadable, len(stored(connection))) == (1, 6, 1)
    assert [reason.split(":")[1] for reason in found.left_out] == ["2", "3", "4", "5", "6", "7"]
    # The last line broke off while it was written; when it is whole, it is read.
    write(file, [row(1), row(2)])
    assert take(connection, file).added.new == 1


def test_only_the_first_bad_rows_are_named_and_all_are_counted(
    connection: Connection, tmp_path: Path
) -> None:
    found = take(connection, write(tmp_path / "log.jsonl", [row(1), *["{"] * 50]))
    assert (found.unreadable, len(found.left_out)) == (50, 20)


def test_lines_of_ten_megabytes(connection: Connection, tmp_path: Path) -> None:
    long = "long text " * 1_000_000
    found = take(
        connection, write(tmp_path / "log.jsonl", [row(n, response=long + str(n)) for n in range(2)])
    )
    assert found.added.new == 2
    assert {len(event.response or "") for event in stored(connection)} == {10_000_001}


def test_files_of_every_kind_hold_the_same_events(connection: Connection, tmp_path: Path) -> None:
    rows = [row(n, model="m", tokens_in=n, thumbs="up") for n in range(1, 4)]
    lines = write(tmp_path / "log.jsonl", rows)
    take(connection, lines)
    files = [
        tmp_path / name
        for name in ("log.json", "one.json", "log.jsonl.gz", "log.csv", "log.parquet", "page.json")
    ]
    files[0].write_text(json.dumps(rows, indent=1))
    files[1].write_text(json.dumps(rows[0], indent=1) + json.dumps(rows[1], indent=1))
    files[2].write_bytes(gzip.compress(lines.read_bytes()))
    names = list(rows[0])
    files[3].write_text(
        "\n".join([",".join(names), *(",".join(str(each[name]) for name in names) for each in rows)])
    )
    parquet.write_table(arrow.Table.from_pylist(rows), files[4])
    files[5].write_text(json.dumps({"data": rows, "next_cursor": None}))
    for file in files:
        found = take(connection, file)
        assert (found.added.new, found.added.updated, found.unreadable) == (0, 0, 0), file.name
        assert found.added.known == (2 if file.name == "one.json" else 3)


def test_a_packed_file_that_broke_off_gives_what_it_has(connection: Connection, tmp_path: Path) -> None:
    file = tmp_path / "log.jsonl.gz"
    whole = gzip.compress("".join(json.dumps(row(n)) + "\n" for n in range(2_000)).encode())
    file.write_bytes(whole[: len(whole) // 2])
    found = take(connection, file)
    assert 0 < found.added.new < 2_000
    assert found.left_out == [f"{file}: is incomplete or damaged gzip data: Compressed file ended before the "
        "end-of-stream marker was reached; nothing after that was read"]  # fmt: skip


def test_columns_are_mapped_by_name_and_by_path(connection: Connection, tmp_path: Path) -> None:
    table = tmp_path / "log.csv"
    table.write_text("when,ask,said,grp,question\n2026-03-01,hi,yo,B,no\n2026-03-02,hey\n")
    fields = {"time": "when", "prompt": "ask", "response": "said", "variant": "grp"}
    found = take(connection, table, fields=fields)
    (event,) = stored(connection)
    assert (event.messages[0]["content"], event.response, event.variant) == ("hi", "yo", "B")
    assert "has 2 cells where the header has 5" in found.left_out[0]
    deep = write(
        tmp_path / "log.jsonl", [{"at": 1_772_359_200, "in": {"q": ["deep"]}, "out": '{"text": "down"}'}]
    )
    take(connection, deep, fields={"time": "at", "prompt": "in.q.0", "response": "out.text"})
    assert stored(connection)[-1].response == "down" or stored(connection)[0].response == "down"
    with pytest.raises(BadInput, match="has nothing in a column 'nope'"):
        take(connection, deep, fields={"time": "nope"})


def test_a_column_with_nothing_in_it_hides_no_other(connection: Connection, tmp_path: Path) -> None:
    said = {"timestamp": 1_772_359_200, "question": "hi", "answer": "yo"}
    rows = [
        {**said, "prompt": None, "feedback": "", "comment": "wrong fee"},
        {**said, "prompt": "", "feedback": "so so", "comment": "slow"},
    ]
    for number, each in enumerate(rows):
        take(connection, write(tmp_path / f"{number}.jsonl", [{"id": str(number), **each}]))
    said_of = [traffic.feedback(connection, [event_id(str(number))])[0].comment for number in range(2)]
    assert said_of == ["wrong fee", "so so\nslow"]


def test_a_variant_is_given_to_events_that_name_none(connection: Connection, tmp_path: Path) -> None:
    file = write(tmp_path / "log.jsonl", [row(1), row(2, variant="B"), {"event_id": "r1", "thumbs": "up"}])
    take(connection, file, variant="A")
    assert [event.variant for event in stored(connection)] == ["A", "B"]


def batch(number: int) -> tuple[dict[str, Any], dict[str, Any]]:
    asked = {
        "model": "m",
        "messages": [{"role": "user", "content": f"Q{number}"}],
        "metadata": {"variant": "B"},
    }
    choice = {"message": {"role": "assistant", "content": f"A{number}"}, "finish_reason": "stop"}
    body = {"id": f"chatcmpl-{number}", "created": 1_772_359_200, "model": "m-2026", "choices": [choice]}
    sent = {"custom_id": f"request-{number}", "method": "POST", "url": "/v1/chat/completions", "body": asked}
    back = {
        "id": f"b{number}",
        "custom_id": f"request-{number}",
        "response": {"status_code": 200, "body": body},
    }
    return sent, back


def test_the_two_files_of_a_batch_are_joined(connection: Connection, tmp_path: Path) -> None:
    pairs = [batch(number) for number in range(3)]
    sent = write(tmp_path / "requests.jsonl", [pair[0] for pair in pairs])
    back = write(tmp_path / "answers.jsonl", [pair[1] for pair in reversed(pairs[1:])])
    found = take(connection, sent, back)
    assert (found.formats["openai-batch"], found.added.new, found.unreadable) == (2, 2, 1)
    assert "the answer that belongs to it is in none of the files" in found.left_out[0]
    event = next(event for event in stored(connection) if event.id == event_id("chatcmpl-1"))
    assert (event.messages[0]["content"], event.response, event.variant) == ("Q1", "A1", "B")
    assert (event.model, event.version, event.time) == ("m", "m-2026", 1_772_359_200)
    with pytest.raises(BadInput, match="stands twice"):
        take(connection, sent, sent)


def test_the_request_log_of_a_vllm_server(connection: Connection, tmp_path: Path) -> None:
    file = tmp_path / "server.log"
    log = "[logger.py:43]"
    lines = [
        f"(APIServer pid=7) INFO 03-01 10:00:00 {log} Received request chatcmpl-1: prompt: "
        r"'<|user|>it\'s late\n', "
        "params: SamplingParams(n=1), prompt_token_ids: [1, 2], lora_request: None.",
        'INFO:     127.0.0.1:5 - "POST /v1/chat/completions HTTP/1.1" 200 OK',
        f"INFO 03-01 10:00:03 {log} Generated response chatcmpl-1 (streaming complete): "
        'output: "I\'m on it", output_token_ids: [5, 6, 7], finish_reason: stop',
        f"INFO 03-01 10:00:04 {log} Received request cmpl-2: params: SamplingParams(n=1).",
        f"DEBUG 03-01 10:00:04 {log} Request cmpl-2 details: prompt: 'hi', prompt_token_ids: [1]",
        f"INFO 03-01 10:00:05 {log} Received request cmpl-3: prompt: broken",
    ]
    file.write_text("\n".join(lines))
    found = take(connection, file)
    (event,) = stored(connection)
    assert (event.messages[0]["content"], event.response) == ("<|user|>it's late\n", "I'm on it")
    assert (event.latency_s, event.tokens_out, event.finish_reason) == (3.0, 3, "stop")
    assert time.gmtime(event.time)[1:6] == (3, 1, 10, 0, 0)
    assert event.time <= file.stat().st_mtime
    assert len(found.left_out) == 2


def test_a_missing_file_and_a_file_with_nothing_are_told(connection: Connection, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"nope\.jsonl: no such file"):
        take(connection, tmp_path / "nope.jsonl")
    for content in ("", "\n\n", '{"a": 1}\n', "[]", "\x00\x01", "{"):
        empty = tmp_path / "empty.jsonl"
        empty.write_text(content)
        with pytest.raises(BadInput, match="holds nothing that can be read as traffic"):
            take(connection, empty)


def test_an_import_that_was_killed_goes_on(folder: Path, tmp_path: Path) -> None:
    file = write(tmp_path / "log.jsonl", [row(n, thumbs="up") for n in range(20_000)])
    code = "import sys; from tui.cli.main import main; main()"
    work = [sys.executable, "-c", code, "traffic", "import", str(file), "--store", str(folder)]
    process = subprocess.Popen(work, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with closing(database.connect(folder)) as connection:
        while traffic.count(connection) < 500:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        before = traffic.count(connection)
        assert 500 <= before < 20_000
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        write(file, [row(n, thumbs="up") for n in range(before + 200)])
        found = import_traffic([file], connection, salt(folder))
        assert (found.added.new, found.added.known) == (200, before)
        said = connection.execute("SELECT count(*), count(DISTINCT event_id) FROM trafficfeedback").fetchone()
        assert tuple(said) == (before + 200, before + 200)


def llm_span(own: str, parent: str | None, **attributes: Any) -> dict[str, Any]:
    return {
        "name": own,
        "context": {"trace_id": "7a", "span_id": own},
        "parent_id": parent,
        "span_kind": "LLM",
        "start_time": "2026-03-01T10:00:00Z",
        "end_time": "2026-03-01T10:00:02Z",
        "status_code": "OK",
        "attributes": {
            "llm.model_name": "m",
            "llm.input_messages.0.message.role": "user",
            "llm.input_messages.0.message.content": "Where is my parcel?",
            **attributes,
        },
    }


ANSWERED = {
    "llm.output_messages.0.message.role": "assistant",
    "llm.output_messages.0.message.content": "On its way",
    "llm.token_count.prompt": 5,
}


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))), ids=str)
@pytest.mark.parametrize("at_once", [True, False], ids=["one file", "three files"])
def test_a_call_that_two_instruments_saw_counts_once(
    connection: Connection, tmp_path: Path, order: tuple[int, ...], at_once: bool
) -> None:
    """LangChain's span of a call holds the one of OpenAI's client, which tells of the tokens."""
    spans = [
        llm_span("aa", None, **{"session.id": "s"}),
        llm_span("bb", "aa", **ANSWERED),
        {"id": "x", "span_id": "aa", "name": "thumbs", "annotator_kind": "HUMAN", "result": {"score": 1}},
    ]
    rows = [spans[number] for number in order]
    files = [
        write(tmp_path / f"{number}.jsonl", group)
        for number, group in enumerate([rows] if at_once else [[row] for row in rows])
    ]
    for file in files:
        take(connection, file)
    (event,) = stored(connection)
    assert (event.id, event.response, event.tokens_in) == (event_id("aa"), "On its way", 5)
    assert event.session is not None
    assert [said.thumbs for said in traffic.feedback(connection, [event.id])] == [1]
    again = take(connection, *files)
    assert (again.added.new, len(stored(connection))) == (0, 1)


def test_what_was_said_of_the_inside_of_a_call_is_of_the_call(connection: Connection, tmp_path: Path) -> None:
    said = {"id": "x", "span_id": "bb", "name": "thumbs", "annotator_kind": "HUMAN", "result": {"score": 1}}
    take(connection, write(tmp_path / "a.jsonl", [llm_span("bb", "aa", **ANSWERED), said]))
    take(connection, write(tmp_path / "b.jsonl", [llm_span("aa", None)]))
    assert [said.thumbs for said in traffic.feedback(connection, [event_id("aa")])] == [1]


def test_calls_beside_one_another_in_a_trace_are_all_counted(connection: Connection, tmp_path: Path) -> None:
    spans = [llm_span(own, "chain", **ANSWERED) for own in ("aa", "bb")]
    assert take(connection, write(tmp_path / "log.jsonl", spans)).added.new == 2
    assert len(stored(connection)) == 2


def test_of_calls_in_calls_the_outermost_counts(connection: Connection, tmp_path: Path) -> None:
    spans = [llm_span("cc", "bb", **ANSWERED), llm_span("bb", "aa"), llm_span("aa", None)]
    take(connection, write(tmp_path / "log.jsonl", spans))
    assert [(each.id, each.response) for each in stored(connection)] == [(event_id("aa"), "On its way")]
