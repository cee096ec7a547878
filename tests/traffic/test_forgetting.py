"""What is forgotten is gone from every file that Assay keeps, down to its bytes."""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from engine.traffic.events import event_id, read, salt, session_hash, user_hash
from engine.traffic.forgetting import Removed, forget_for_good
from store import database
from store.cache import JsonCache
from store.read import traffic
from store.read.history import Connection
from store.records import (
    EvalProposal,
    StoredExample,
    StoredModel,
    StoredResponse,
    StoredVariant,
    StoredVariantAnswer,
    TrafficMeasures,
    TrafficWeek,
)
from store.traffic import Meant, add
from store.write import Recorder
from tests.store.conftest import queued_run

SECRET = "quokka sighting by the lighthouse"
AT = 1_772_359_200.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A store with traffic of bob, who told a secret, and of amy, in a weekly run, proposals and caches."""
    place = tmp_path / "store"
    database.prepare(place)
    rows: list[dict[str, Any]] = [
        {"id": "b1", "user": "bob", "session": "s1", "prompt": SECRET, "response": f"noted: {SECRET}"},
        {"id": "b2", "user": "bob", "session": "s2", "prompt": SECRET, "thumbs": "up", "comment": SECRET},
        {"id": "a1", "user": "amy", "session": "s3", "prompt": "hello", "response": "hi", "thumbs": "up"},
        {"event_id": "a1", "user": "bob", "correction": SECRET},
    ]
    made = [
        read({"time": AT + n, **row} if "event_id" not in row else row, source="native", salt=salt(place))
        for n, row in enumerate(rows)
    ]
    with closing(database.connect(place)) as connection:
        add(connection, [event for event, _ in made if event], [said for _, said in made if said])
    weekly_run(place, {"b1": f"noted: {SECRET}", "a1": "hi\u2028there"})
    with JsonCache(place / "cache" / "judgments") as cache:
        cache.put("1", {"text": f"noted: {SECRET}", "tokens": 3})
        cache.put("2", {"text": "hi"})
        cache.put("3", {"text": f"noted: {SECRET}", "pad": "x" * 100_000})  # in a file of its own
    return place


def weekly_run(folder: Path, answers: dict[str, str]) -> None:
    run_id = queued_run(folder, "week")
    recorder = Recorder(folder, run_id)
    model = recorder.insert(
        StoredModel(run_id=run_id, name="m", role="candidate", kind="recorded", position=0)
    )
    lines = []
    for position, (own, text) in enumerate(answers.items()):
        row = StoredExample(eval_set="w", example=event_id(own), position=position, query=f"{own} {text}")
        example = recorder.insert(row)
        recorder.append(StoredResponse(model_id=model, example_id=example, text=text, created=AT))
        asked = StoredVariant(
            run_id=run_id, example_id=example, perturbation="case", query=text, messages=[], references=[]
        )
        variant = recorder.insert(asked)
        recorder.append(
            StoredVariantAnswer(model_id=model, variant_id=variant, sample=0, text=text, created=AT)
        )
        lines.append({"id": event_id(own), "response": text, "line": "\u2028"})
    recorder.append(TrafficWeek(start=AT, variant="", purpose="random", run_id=run_id, n=1))
    recorder.append(TrafficMeasures(event_id=event_id("b1"), version="1"))
    for own in ("b1", "a1"):
        asked = [{"role": "user", "content": SECRET}]
        recorder.append(
            EvalProposal(
                event_id=event_id(own), eval_set=f"{own}.jsonl", origin="correction", why="x", messages=asked,
                reference=SECRET, created=AT, decision="accepted" if own == "b1" else None,
            )
        )  # fmt: skip
    recorder.close()
    files = folder / "weeks" / "2026-03-01-random"
    files.mkdir(parents=True)
    (files / "answers.jsonl").write_text(
        "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    )


@pytest.fixture
def connection(folder: Path) -> Iterator[Connection]:
    with closing(database.connect(folder)) as opened:
        yield opened


def forget(connection: Connection, folder: Path, **what: Any) -> Removed:
    return forget_for_good(connection, folder, Meant(**what))


def files_with(folder: Path, text: str) -> list[str]:
    return [
        str(file.relative_to(folder))
        for file in folder.rglob("*")
        if file.is_file() and text.encode() in file.read_bytes()
    ]


def test_nothing_of_a_user_is_left_in_any_file(connection: Connection, folder: Path) -> None:
    assert files_with(folder, SECRET) == ["assay.db", "weeks/2026-03-01-random/answers.jsonl"]
    done = forget(connection, folder, user=user_hash("bob", salt(folder)))
    gone = done.forgotten
    assert (gone.events, gone.feedback, gone.proposals, gone.examples, done.cached) == (2, 2, 2, 1, 2)
    assert done.is_wiped
    assert done.kept_in == ("b1.jsonl",)
    connection.close()
    assert files_with(folder, SECRET) == []
    assert files_with(folder, event_id("b1")) == []


def test_what_others_said_stays(connection: Connection, folder: Path) -> None:
    forget(connection, folder, user=user_hash("bob", salt(folder)))
    (event,) = traffic.events(connection)
    (said,) = traffic.feedback(connection, [event.id])
    assert (event.id, said.thumbs, said.correction) == (event_id("a1"), 1, None)
    rows = connection.execute(
        "SELECT r.text FROM response r JOIN example e ON e.id = r.example_id"
    ).fetchall()
    assert [row[0] for row in rows] == ["hi\u2028there"]
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    assert connection.execute("SELECT count(*) FROM trafficweek").fetchone()[0] == 1
    with JsonCache(folder / "cache" / "judgments") as cache:
        assert (cache.get("1"), cache.get("2")) == (None, {"text": "hi"})


def test_a_session_and_a_time_are_forgotten_alone(connection: Connection, folder: Path) -> None:
    done = forget(connection, folder, session=session_hash("s1", salt(folder)))
    assert (done.forgotten.events, done.kept_in) == (1, ("b1.jsonl",))
    assert [event.id for event in traffic.events(connection)] == [event_id("b2"), event_id("a1")]
    assert forget(connection, folder, before=AT + 2).forgotten.events == 1
    assert [event.id for event in traffic.events(connection)] == [event_id("a1")]


def test_a_reader_in_another_process_is_told_of(connection: Connection, folder: Path) -> None:
    with closing(database.connect(folder)) as other:
        other.execute("BEGIN")
        other.execute("SELECT count(*) FROM trafficevent").fetchone()
        assert not forget(connection, folder, user=user_hash("bob", salt(folder))).is_wiped
    assert forget(connection, folder, user=user_hash("bob", salt(folder))).is_wiped
    connection.close()
    assert files_with(folder, SECRET) == []


def test_copies_of_the_store_are_named(connection: Connection, folder: Path) -> None:
    (folder / "assay.db.before-repair-1").write_text("x")
    assert forget(connection, folder, before=AT).copies == ("assay.db.before-repair-1",)
