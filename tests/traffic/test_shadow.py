"""A shadow candidate's answers beside those that people saw, as an ordinary run."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.errors import BadInput
from engine.traffic import events
from engine.traffic.shadow import pairwise_judges, shadow_run
from store import database
from store.read import history, weeks
from store.read.history import Connection
from store.traffic import add
from tests.engine.runs import carry_out, recorded_plan

NOW = 1_780_000_000.0


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    database.prepare(tmp_path)
    found = history.attach(database.connect(tmp_path))
    yield found
    found.close()


def ask(connection: Connection, question: str, variant: str, response: str | None, **more: Any) -> str:
    raw = {"prompt": question, "variant": variant, "response": response, "model": "m", "time": NOW, **more}
    event = events.event(raw, source="test", salt=b"0" * 32, received=NOW)
    add(connection, [event])
    return event.id


def test_answers_to_the_same_question_become_a_run_of_two_recorded_models(
    connection: Connection, tmp_path: Path
) -> None:
    shown = [ask(connection, f"Question {number}?", "now", f"shown {number}") for number in range(5)]
    for number in (0, 2, 4, 9):
        ask(connection, f"question  {number}?", "next", f"made {number}", shadow=True)
    found = shadow_run(connection, tmp_path, "now", "next")
    assert (found.pairs, found.is_new) == (3, True)
    assert found.left_out == {"people saw no answer of now to the question": 1}
    run = history.run(connection, found.run_id)
    assert (run.name, run.status) == ("next in the shadow of now", "queued")
    folder = Path(run.plan_folder)
    for name in ("examples", "first", "second"):
        assert all(shown[number] in (folder / f"{name}.jsonl").read_text() for number in (0, 2, 4))
    assert 'name = "now"\nrole = "baseline"' in run.plan and 'name = "next"\nrole = "candidate"' in run.plan


def test_the_same_answers_give_the_same_run(connection: Connection, tmp_path: Path) -> None:
    ask(connection, "Why?", "now", "shown")
    ask(connection, "Why?", "next", "made", shadow=True)
    first = shadow_run(connection, tmp_path, "now", "next")
    again = shadow_run(connection, tmp_path, "now", "next")
    assert (again.run_id, again.is_new) == (first.run_id, False)


def test_the_questions_of_traffic_are_no_eval_set_to_hold_traffic_against(
    connection: Connection, tmp_path: Path
) -> None:
    ask(connection, "Why?", "now", "shown")
    ask(connection, "Why?", "next", "made", shadow=True)
    run_id = shadow_run(connection, tmp_path, "now", "next").run_id
    carry_out(tmp_path, run_id)
    assert history.run(connection, run_id).data_summary, "the run knows its examples' file"
    assert weeks.eval_set(connection) is None


def test_a_question_counts_once_with_the_answers_of_one_request(
    connection: Connection, tmp_path: Path
) -> None:
    for place in range(3):
        ask(connection, "Why?", "now", f"shown {place}", time=NOW - 100 * place, trace=f"t{place}")
    ask(connection, "Why?", "next", "made", time=NOW, trace="t2", shadow=True)
    found = shadow_run(connection, tmp_path, "now", "next")
    folder = Path(history.run(connection, found.run_id).plan_folder)
    assert found.pairs == 1 and "shown 2" in (folder / "first.jsonl").read_text()


def test_a_missing_answer_of_the_candidate_is_no_reason_to_leave_the_question_out(
    connection: Connection, tmp_path: Path
) -> None:
    ask(connection, "Why?", "now", "shown")
    ask(connection, "Why?", "next", None, shadow=True, reason="timeout")
    found = shadow_run(connection, tmp_path, "now", "next")
    assert (
        '"response": null'
        in (Path(history.run(connection, found.run_id).plan_folder) / "second.jsonl").read_text()
    )


def test_the_number_and_the_time_of_questions_are_held_to(connection: Connection, tmp_path: Path) -> None:
    for number in range(8):
        ask(connection, f"Question {number}?", "now", "shown", time=NOW - number)
        ask(connection, f"Question {number}?", "next", "made", shadow=True, time=NOW - number)
    assert shadow_run(connection, tmp_path, "now", "next", n=4).pairs == 4
    assert shadow_run(connection, tmp_path, "now", "next", since=NOW - 2).pairs == 3


def test_without_a_pair_it_is_said_what_makes_one(connection: Connection, tmp_path: Path) -> None:
    ask(connection, "Why?", "now", "shown")
    ask(connection, "Why?", "next", "made")  # people saw it
    with pytest.raises(BadInput, match="no shadow answer of next") as error:
        shadow_run(connection, tmp_path, "now", "next")
    assert "shadow = true" in error.value.hint


def test_a_plan_without_judges_judges_nothing(tmp_path: Path) -> None:
    examples = [{"id": "a", "query": "Why?", "reference": "So."}]
    plan = recorded_plan(tmp_path, examples, {"base": {"a": "x"}, "tuned": {"a": "y"}}, "")
    with pytest.raises(BadInput, match="names no judge"):
        pairwise_judges(plan)
