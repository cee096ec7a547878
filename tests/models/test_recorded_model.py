"""Outputs made elsewhere: matched by id or query, and refused where they cannot be trusted."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.data.example import Example
from engine.errors import BadInput
from engine.models.model import Response, Settings
from engine.models.recorded import RecordedModel
from engine.plan.plan import Model
from tests.models.tiny import ask


def recorded_file(folder: Path, *lines: dict[str, Any] | str) -> Model:
    file = folder / "outputs.jsonl"
    file.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
    return Model(name="old", role="baseline", outputs=file)


def recorded(folder: Path, *lines: dict[str, Any] | str) -> RecordedModel:
    return RecordedModel(recorded_file(folder, *lines))


def answers(model: RecordedModel, *identities: str) -> dict[str, Response]:
    examples = [ask(f"Question {identity}?", identity) for identity in identities]
    return {r.example_id: r for batch in model.generate(examples, Settings()) for r in batch}


def test_answers_are_matched_by_id_and_by_normalised_query(tmp_path: Path) -> None:
    model = recorded(tmp_path, {"id": "a", "response": "one"}, {"query": " question  B? ", "response": ""})
    found = answers(model, "a", "b", "c")
    assert (found["a"].text, found["b"].text) == ("one", "")
    assert found["c"].text is None
    assert "no answer for this example" in str(found["c"].reason)


def test_model_answers_of_mt_bench_are_read_as_they_are(tmp_path: Path) -> None:
    choices = [{"index": 0, "turns": ["one", "two"]}]
    model = recorded(tmp_path, {"question_id": 81, "model_id": "m", "choices": choices, "tstamp": 1.0})
    example = Example("81", "First?", ({"role": "user", "content": "First?"},), turns=("First?", "Second?"))
    ((found,),) = model.generate([example], Settings())
    assert (found.turns, found.text) == (("one", "two"), "two")


def test_model_outputs_of_alpaca_eval_are_read_as_they_are(tmp_path: Path) -> None:
    model = recorded(tmp_path, {"instruction": "Question a?", "output": "one", "generator": "m"})
    assert answers(model, "a")["a"].text == "one"


@pytest.mark.parametrize("choices", [[], None, [{"turns": "one"}], ["one"], [{}]])
def test_model_answers_without_turns_are_refused(tmp_path: Path, choices: object) -> None:
    with pytest.raises(BadInput, match=r"outputs.jsonl:1: its `turns`"):
        recorded(tmp_path, {"question_id": 81, "choices": choices})


def test_a_null_response_is_missing_and_not_empty(tmp_path: Path) -> None:
    found = answers(recorded(tmp_path, {"id": "a", "response": None}), "a")["a"]
    assert found.text is None
    assert "outputs.jsonl:1" in str(found.reason)


@pytest.mark.parametrize(
    "lines",
    [
        [{"id": "a", "response": "one"}, {"id": "a", "response": None}, {"id": "a", "response": "three"}],
        [{"query": "Question a?", "responses": ["one", None, "three"]}],
        [{"id": "a", "samples": ["one"]}, {"id": "a", "samples": [None, "three", "four"]}],
        [{"doc_id": "a", "resps": [["one", None, "three"]], "filter": name} for name in ("strict", "loose")],
    ],
)
def test_rows_and_lists_are_samples_of_one_answer(tmp_path: Path, lines: list[dict[str, Any]]) -> None:
    model = RecordedModel(recorded_file(tmp_path, *lines), samples=4)
    examples = [replace(ask("Question a?", "a"), sample=place) for place in range(4)]
    (found,) = model.generate(examples, Settings())
    known = "four" if "samples" in lines[0] else None
    assert [(one.sample, one.text) for one in found] == [(0, "one"), (1, None), (2, "three"), (3, known)]
    assert known or found[3].reason == "outputs.jsonl has only 3 of 4 samples"
    assert model.describe()["notes"] == []  # every line was used, those that repeat another filter's too


def test_a_file_of_samples_says_what_to_set(tmp_path: Path) -> None:
    with pytest.raises(BadInput) as caught:
        recorded(tmp_path, *({"id": "a", "response": str(place)} for place in range(5)))
    assert caught.value.message.endswith("outputs.jsonl:2: the id 'a' was answered on line 1 already.")
    assert caught.value.hint is not None and "samples = 5 under [generation]" in caught.value.hint


def test_samples_beyond_those_of_the_run_are_counted(tmp_path: Path) -> None:
    model = RecordedModel(
        recorded_file(tmp_path, {"id": "a", "responses": ["one", "two", "three"]}), samples=2
    )
    list(model.generate([ask("Question a?", "a")], Settings()))
    assert model.describe()["notes"] == ["outputs.jsonl has up to 3 samples of an answer; 2 count"]


def test_answers_that_belong_to_no_example_are_counted(tmp_path: Path) -> None:
    model = recorded(tmp_path, {"id": "a", "response": "x"}, {"id": "z", "response": "x"})
    answers(model, "a")
    assert model.describe()["notes"] == ["1 of 2 recorded answers belong to no example asked for"]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("{broken", "is not JSON"),
        ({"id": "a", "response": "again"}, "'a' was answered on line 1 already"),
        ({"id": "b"}, "has no `response`"),
        ({"id": "b", "response": 3}, "is not a text"),
        ({"response": "x"}, "neither `id` nor `query`"),
        ({"id": "b", "responses": ["x", "y"]}, "2 answers"),
        ({"id": "b", "samples": "x"}, "its `samples` are not a list of texts"),
        ({"doc_id": "b", "resps": [[[-1.5, False]]]}, "its `resps` are not a list of texts"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: dict[str, Any] | str, found: str) -> None:
    with pytest.raises(BadInput) as caught:
        recorded(tmp_path, {"id": "a", "response": "one"}, line)
    assert "outputs.jsonl:2: " in str(caught.value)
    assert found in str(caught.value)


def test_other_answers_are_another_model(tmp_path: Path) -> None:
    first = recorded(tmp_path, {"id": "a", "response": "one"}).fingerprint
    assert recorded(tmp_path, {"id": "a", "response": "two"}).fingerprint != first
