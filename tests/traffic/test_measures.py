"""What is measured of one event of traffic: by the rules that score runs, once for each version of them."""

from pathlib import Path
from typing import Any

import pytest

from engine.traffic import measures
from engine.traffic.measures import bring_up_to_date, measure, version
from store import database
from store.records import TrafficEvent, TrafficMeasures
from store.traffic import add
from tests.traffic.made import NOW, Week, store

LONG = "Where is the parcel of order 17, it should have come yesterday?"


def event(response: str | None, question: str = LONG, system: str = "", **more: Any) -> TrafficEvent:
    turns = [{"role": "system", "content": system}] if system else []
    return TrafficEvent(
        id="e-1", time=1.0, received=1.0, source="test", model="m", question="q",
        messages=[*turns, {"role": "user", "content": question}], response=response, **more,
    )  # fmt: skip


def test_what_is_not_known_is_missing_and_not_false() -> None:
    found = measure(event(None))
    assert (found.characters, found.cut, found.refused, found.well_formed) == (None, None, None, None)
    assert (found.language, found.same_language) == (None, None)
    assert measure(event("")).characters == 0
    called = measure(event("", calls=[{"function": {"name": "look", "arguments": {}}}]))
    assert (called.characters, called.refused) == (None, None)


def test_a_reasoning_trace_is_no_part_of_the_answer() -> None:
    asked, trace = (
        "Return a JSON object with the keys a and b.",
        "<think>I cannot help with that. Or?</think>",
    )
    found, plain = (measure(event(text + '{"a": 1, "b": 2}', asked)) for text in (trace, ""))
    assert found == plain and (found.refused, found.well_formed) == (False, True)
    for unfinished, reason in ((trace[:30], "stop"), (trace, "MAX_TOKENS")):
        nothing = measure(event(unfinished, asked, finish_reason=reason))
        assert (nothing.characters, nothing.refused, nothing.well_formed) == (None, None, None)
    called = measure(event(trace, calls=[{"function": {"name": "look", "arguments": {}}}]))
    assert (called.characters, called.refused) == (None, None)


@pytest.mark.parametrize(
    ("reason", "cut"),
    [("length", True), ("MAX_TOKENS", True), ("max_tokens", True), ("stop", False), ("end_turn", False)],
)
def test_an_answer_is_cut_by_what_servers_call_it(reason: str, cut: bool) -> None:
    assert measure(event("Yes.", finish_reason=reason)).cut is cut


@pytest.mark.parametrize(
    ("question", "answer", "well_formed"),
    [
        ("Return a JSON object with the keys a and b.", '{"a": 1, "b": 2}', True),
        ("Return a JSON object with the keys a and b.", '```json\n{"a": 1}\n```', True),
        ("Return a JSON object with the keys a and b.", "The keys are a and b.", False),
        ("Antworte als JSON.", "Gerne!", False),
        ("Describe the parcel in at most 5 words.", "It is a large brown box.", False),
        ("Describe the parcel in at most 5 words.", "A brown box.", True),
        ("List the steps as a numbered list.", "1. Open it.\n2. Look.", True),
        ("List the steps as a numbered list.", "- Open it.\n- Look.", False),
        ("How do I parse a JSON file in Python?", "Use the json module.", None),
        ("Does the answer come from a JSON file?", "Yes.", None),
        ("Why is the sky blue?", "Because of scattering.", None),
    ],
)
def test_only_an_answer_of_which_a_format_is_asked_has_one(
    question: str, answer: str, well_formed: bool | None
) -> None:
    assert measure(event(answer, question)).well_formed is well_formed


def test_the_system_turn_asks_for_a_format_too() -> None:
    assert measure(event("Yes, it is.", system="Always reply with valid JSON.")).well_formed is False


def test_refusals_and_languages_are_told_as_in_runs() -> None:
    assert measure(event("I'm sorry, but I can't help with that request.")).refused is True
    german = measure(
        event("Ihr Paket ist gestern in unserem Lager in Hamburg angekommen und wird morgen geliefert.")
    )
    assert (german.language, german.same_language, german.refused) == ("de", False, False)


def test_each_event_is_measured_once_and_anew_when_the_rules_or_the_event_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = store(tmp_path, lambda _: Week(events=5), weeks=2)
    assert bring_up_to_date(connection) == 10
    assert bring_up_to_date(connection) == 0
    late = event("", "More is told of this one later, which is a question.")
    add(connection, [late])
    assert bring_up_to_date(connection) == 1
    from dataclasses import replace

    add(connection, [replace(late, finish_reason="length")])
    assert bring_up_to_date(connection) == 1
    cut = connection.execute("SELECT cut FROM trafficmeasures WHERE event_id = 'e-1'").fetchone()[0]
    assert cut == 1
    monkeypatch.setattr(measures, "RULES", measures.RULES + 1)
    version.cache_clear()
    assert bring_up_to_date(connection) == 11
    monkeypatch.undo()
    version.cache_clear()


def test_shadow_answers_are_left_out(tmp_path: Path) -> None:
    database.prepare(tmp_path)
    connection = database.connect(tmp_path)
    add(connection, [event("Yes.", shadow=True)])
    assert bring_up_to_date(connection) == 0


def test_the_version_names_each_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(measure(event("Yes.")), TrafficMeasures)
    assert version().startswith(f"{measures.RULES}-") and NOW > 0
