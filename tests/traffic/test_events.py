"""The one form of an event: its keys, their errors, and what is kept of people."""

import math
import stat
from pathlib import Path
from typing import Any

import pytest

from engine.data.cells import Malformed
from engine.traffic.events import event, event_id, feedback, read, salt, session_hash, user_hash
from store.records import TrafficEvent, TrafficFeedback

SALT = b"pepper"
NOW = 1_780_000_000.0
ASKED = {"time": 1_772_359_200, "prompt": "Where is it?", "response": "On its way"}


def made(mask: bool = False, **raw: Any) -> TrafficEvent:
    return event({**ASKED, **raw}, source="native", salt=SALT, received=NOW, mask=mask)


def said(**raw: Any) -> TrafficFeedback:
    return feedback({"event_id": "a", **raw}, salt=SALT, received=NOW)


@pytest.mark.parametrize(
    "time",
    [
        1_772_359_200,
        1_772_359_200_000,
        1_772_359_200_000_000,
        1_772_359_200_000_000_000,
        "1772359200",
        "2026-03-01T10:00:00Z",
        "2026-03-01T12:00:00+02:00",
        "2026-03-01 05:00:00-05:00",
        "2026-03-01T10:00:00.000000000Z",
        "2026-03-01 10:00:00",  # without a zone: UTC
        "2026-03-01 10:00:00 UTC",
        "Sun, 01 Mar 2026 10:00:00 GMT",
    ],
)
def test_times_of_all_zones_and_units_are_one_moment(time: Any) -> None:
    assert made(time=time).time == 1_772_359_200


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        ({"time": None}, "time: is missing"),
        ({"time": "yesterday"}, "time: found 'yesterday'"),
        ({"time": True}, "time: found True"),
        ({"time": math.nan}, "time: found nan"),
        ({"time": 12}, "time: 1970-01-01T00:00:12.00:00 is before 2000"),
        ({"time": NOW + 90_000}, "is in the future"),
        ({"time": "9" * 400}, "time: found"),
        ({"prompt": [1, 2]}, "prompt: found a list"),
        ({"prompt": None, "messages": []}, "messages: is an empty list"),
        ({"prompt": None, "messages": [{"role": "critic", "content": "x"}]}, "found role 'critic'"),
        ({"prompt": "\ud800"}, r"messages\[0\]: holds half of a character"),
        ({"response": 5}, "response: found a number"),
        ({"choices": "x"}, "choices: "),
        ({"tokens_in": -1}, "tokens_in: found -1"),
        ({"tokens_out": 1.5}, "tokens_out: found 1.5"),
        ({"tokens_out": 10**400}, "tokens_out: found"),
        ({"latency_s": "fast"}, "latency_s: found 'fast'"),
        ({"latency_ms": -3}, "latency_ms: found -3, expected a duration"),
        ({"shadow": "maybe"}, "shadow: found 'maybe'"),
        ({"user": {"id": 1}}, "user: found an object"),
        ({"tags": 3}, "tags: found a number"),
        ({"respnse": "typo"}, "'respnse': unknown key; known: id, trace, within, time"),
    ],
)
def test_what_is_wrong_is_told_with_its_key(raw: dict[str, Any], says: str) -> None:
    with pytest.raises(Malformed, match=says):
        made(**raw)


def test_the_same_content_is_one_event_and_an_own_id_decides_where_there_is_one() -> None:
    assert made().id == made().id != made(response="Lost").id
    assert made(id="r1").id == made(id="r1", response="Lost").id == event_id("r1")
    assert event_id(event_id("r1")) == event_id("r1")


def test_users_and_sessions_are_hashes_with_the_secret() -> None:
    one = made(user="bob", session="bob")
    assert "bob" not in repr(one)
    assert one.user == user_hash("bob", SALT) != user_hash("bob", b"other")
    assert one.session == session_hash("bob", SALT)
    assert one.user[2:] != one.session[2:]
    assert made(user=one.user).user == one.user


def test_the_secret_is_made_once_and_readable_by_its_owner_alone(tmp_path: Path) -> None:
    first = salt(tmp_path)
    assert len(first) == 32
    assert salt(tmp_path) == first
    (file,) = tmp_path.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_personal_data_is_found_and_masked_at_the_door() -> None:
    texts = {
        "prompt": "I am bob@x.org, call +1 415 555 2671",
        "response": "Mail to bob@x.org",
        "tags": ["a@b.io"],
    }
    open_, closed = made(**texts), made(mask=True, **texts)
    assert open_.personal == closed.personal == ["email", "phone"]
    assert not open_.masked
    assert closed.masked
    assert closed.messages == [{"role": "user", "content": "I am [email], call [phone]"}]
    assert (closed.response, closed.tags) == ("Mail to [email]", ["[email]"])
    assert (open_.id, open_.question) == (closed.id, closed.question)


def test_a_question_is_the_same_under_other_system_prompts() -> None:
    turns = [{"role": "user", "content": "Where  is it?"}]
    other = [{"role": "system", "content": "Be kind"}, *turns]
    assert made().question == made(prompt=None, messages=turns).question
    assert made(prompt=None, messages=other).question == made().question


def test_calls_of_tools_are_kept_and_unreadable_ones_stay_text() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "find", "arguments": '{"n": 1}'}}
    good = made(response=None, choices=[{"message": {"content": None, "tool_calls": [call]}}])
    assert good.calls is not None
    assert good.calls[0]["function"] == {"name": "find", "arguments": {"n": 1}}
    assert (good.response, good.reason) == ("", None)
    call["function"] = {"name": "find", "arguments": "{n"}
    bad = made(response=None, choices=[{"message": {"content": "Wait.", "tool_calls": [call]}}])
    assert bad.calls is None
    assert bad.response is not None
    assert bad.response.startswith("Wait.\n<tool_call>")


def test_a_missing_answer_has_its_reason() -> None:
    assert made(response=None).reason == "the log has no response"
    assert made(response=None, reason="HTTP 500").reason == "HTTP 500"
    assert made(response="").reason is None


def test_images_and_sounds_are_their_kind_in_brackets() -> None:
    parts = [{"type": "text", "text": "See "}, {"type": "image_url", "image_url": {"url": "data:…"}}]
    found = made(prompt=None, messages=[{"role": "user", "content": parts}])
    assert found.messages[0]["content"] == "See [image_url]"
    silent = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": None},
        {"role": "user", "content": "b"},
    ]
    assert [turn["content"] for turn in made(prompt=None, messages=silent).messages] == ["a", "", "b"]


@pytest.mark.parametrize(
    ("raw", "thumbs"),
    [("up", 1), ("👎", -1), (True, 1), (False, -1), (1, 1), (-1, -1), (0, -1), (1.0, 1), ("Bad", -1)],
)
def test_thumbs_come_in_many_words(raw: Any, thumbs: int) -> None:
    assert said(thumbs=raw).thumbs == thumbs


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        ({"thumbs": "sideways"}, "thumbs: found 'sideways'"),
        ({"rating": "five"}, "rating: found 'five'"),
        ({"rating": True}, "rating: found True"),
        ({"thumbs": "up", "event_id": None}, "event_id: is missing"),
        ({}, "thumbs, rating, correction, comment: are all missing"),
    ],
)
def test_feedback_that_says_nothing_is_told(raw: dict[str, Any], says: str) -> None:
    with pytest.raises(Malformed, match=says):
        said(**raw)


def test_feedback_stands_beside_its_event_or_alone() -> None:
    both = read({**ASKED, "id": "r", "user": "bob", "rating": 4}, source="native", salt=SALT, received=NOW)
    alone = read({"event_id": "r", "thumbs": "up", "user": "bob"}, source="native", salt=SALT, received=NOW)
    assert both[0] is not None
    assert both[1] is not None
    assert alone[1] is not None
    assert alone[0] is None
    assert both[1].event_id == alone[1].event_id == both[0].id
    assert both[1].id == alone[1].id  # what this user says of this answer
    with pytest.raises(Malformed, match="messages: is missing"):
        read({"time": NOW}, source="native", salt=SALT, received=NOW)


def test_feedback_beside_its_event_is_of_the_event_s_time_where_none_is_told() -> None:
    """What is said later, and dated, counts: not the import of the log that it stood in before."""
    beside = {**ASKED, "thumbs": "up", "time": NOW - 5 * 86_400}
    found = read(beside, source="native", salt=SALT, received=NOW)[1]
    assert found is not None and found.time == NOW - 5 * 86_400
    found = read({**beside, "feedback_time": NOW - 86_400}, source="native", salt=SALT, received=NOW)[1]
    assert found is not None and found.time == NOW - 86_400
