"""What the generate phase leaves in the store: conversations, figures, one word about all that is missing."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from engine.phases.work import Stopped
from engine.run.execute import execute
from store import records
from store.records.columns import values_of
from store.write import Recorder
from tests.e2e.conftest import SAMPLES, queue

TURNS = ["What is 2 plus 2?", "And 3 plus 4?"]


def plan(folder: Path, examples: list[dict[str, Any]], before: str, after: str) -> Path:
    (folder / "eval.jsonl").write_text("".join(json.dumps(example) + "\n" for example in examples))
    file = folder / "plan.toml"
    file.write_text(
        'name = "p"\n[data]\nexamples = "eval.jsonl"\n'
        f'[[models]]\nname = "before"\nrole = "baseline"\n{before}\n'
        f'[[models]]\nname = "after"\nrole = "candidate"\n{after}\n'
        '[generation]\nmax_new_tokens = 10\n[metrics]\nuse = ["length"]\n'
    )
    return file


def recorded(folder: Path, name: str, *lines: dict[str, Any]) -> str:
    (folder / name).write_text("".join(json.dumps(line) + "\n" for line in lines))
    return f'outputs = "{name}"'


HERE = f'path = "{SAMPLES / "models/base"}"'


def generated(store: Path, file: Path) -> Recorder:
    """A run of the plan whose models have answered."""
    run_id = queue(store, file)
    recorder = Recorder(store, run_id)
    recorder.set_run(options={"only": "generate"})
    with pytest.raises(Stopped):
        execute(recorder, store, lambda: None)
    return recorder


def rows_of(recorder: Recorder, table: Any, model: str) -> list[dict[str, Any]]:
    (row,) = recorder.rows(records.StoredModel, run_id=recorder.run_id, name=model)
    return [values_of(each) for each in recorder.rows(table, model_id=row.id)]


def progress_of(recorder: Recorder, model: str) -> dict[str, Any]:
    (row,) = recorder.rows(records.Progress, run_id=recorder.run_id, phase="generate", item=model)
    return values_of(row)


def test_recorded_answers_that_lack_are_one_event_for_each_model(tmp_path: Path) -> None:
    examples = [{"id": f"e{n}", "query": f"question {n}"} for n in range(9)]
    before = recorded(tmp_path, "before.jsonl", {"id": "e0", "response": "yes"})
    after = recorded(tmp_path, "after.jsonl", *({"id": f"e{n}", "response": "no"} for n in range(1, 9)))
    recorder = generated(tmp_path / "store", plan(tmp_path, examples, before, after))
    told = [row.message for row in recorder.rows(records.Event, run_id=recorder.run_id, level="error")]
    recorder.close()
    assert told == [
        "before, example e1: before.jsonl has no answer for this example's id or query; "
        "7 more have no answer either",
        "after, example e0: after.jsonl has no answer for this example's id or query",
    ]


def test_conversations_are_stored_whole_with_the_tokens_of_all_turns(tmp_path: Path) -> None:
    examples = [{"id": "talk", "turns": TURNS}, {"id": "ask", "query": TURNS[0]}]
    after = recorded(
        tmp_path, "after.jsonl", {"id": "talk", "turns": ["4", "7"]}, {"id": "ask", "response": "4"}
    )
    recorder = generated(tmp_path / "store", plan(tmp_path, examples, HERE, after))
    ask, talk = sorted(
        rows_of(recorder, records.StoredResponse, "before"), key=lambda row: row["turns"] is not None
    )
    progress = progress_of(recorder, "before")
    said = [(row["text"], row["turns"]) for row in rows_of(recorder, records.StoredResponse, "after")]
    recorder.close()
    assert ask["turns"] is None and talk["turns"][0] == ask["text"] and talk["turns"][1] == talk["text"]
    assert talk["tokens_in"] > 2 * ask["tokens_in"]
    assert progress["tokens"] == ask["tokens_out"] + talk["tokens_out"]
    assert progress["prompt_tokens"] == ask["tokens_in"] + talk["tokens_in"]
    assert 0 < progress["prompt_seconds"] < progress["seconds"]
    assert progress["slots"] > 1 and progress["done"] == 2
    assert sorted(said) == [("4", None), ("7", ["4", "7"])]


def test_remembered_answers_are_no_part_of_the_rate(tmp_path: Path) -> None:
    examples = [{"id": f"e{n}", "query": f"What is {n} plus {n}?"} for n in range(4)]
    after = recorded(tmp_path, "after.jsonl", *({"id": f"e{n}", "response": "no"} for n in range(4)))
    file = plan(tmp_path, examples, HERE, after)
    store = tmp_path / "store"
    for remembered in (0, 4):
        recorder = generated(store, file)
        progress = progress_of(recorder, "before")
        recorder.close()
        assert (progress["done"], progress["resumed_from"]) == (4, remembered)
        assert bool(progress["tokens"]) is not bool(remembered)


def test_samples_are_answers_of_their_own_and_none_is_asked_for_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.models.local.HAND_OVER", 0.0)
    examples = [{"id": f"e{n}", "query": f"What is {n} plus {n}?"} for n in range(3)]
    rows = ({"id": f"e{n}", "responses": ["no", None, "yes"]} for n in range(3))
    after = recorded(tmp_path, "after.jsonl", *rows)
    file = plan(tmp_path, examples, HERE, after)
    text = file.read_text().replace(
        "max_new_tokens = 10", "max_new_tokens = 6\nsamples = 3\ntemperature = 4.0\nbatch_size = 2"
    )
    file.write_text(text)
    store = tmp_path / "store"
    recorder = Recorder(store, queue(store, file))
    recorder.set_run(options={"only": "generate", "cache": False})
    with pytest.raises(Stopped):
        execute(recorder, store, lambda: "pause" if recorder.rows(records.StoredResponse) else None)
    begun = [row["id"] for row in rows_of(recorder, records.StoredResponse, "before")]
    begun += [row["id"] for row in rows_of(recorder, records.StoredSample, "before")]
    assert 0 < len(begun) < 9
    with pytest.raises(Stopped):
        execute(recorder, store, lambda: None)

    def texts(of: Recorder, model: str) -> list[tuple[int, int, str | None]]:
        rows = rows_of(of, records.StoredResponse, model) + rows_of(of, records.StoredSample, model)
        return sorted((row["example_id"], row.get("sample", 0), row["text"]) for row in rows)

    found, progress = texts(recorder, "before"), progress_of(recorder, "before")
    assert [row[:2] for row in found] == [(example, sample) for example in (1, 2, 3) for sample in range(3)]
    assert len({text for _, _, text in found}) > 3
    assert (progress["done"], progress["total"]) == (9, 9)
    assert [text for _, _, text in texts(recorder, "after")] == ["no", None, "yes"] * 3
    (model,) = recorder.rows(records.StoredModel, run_id=recorder.run_id, name="before")
    recorder.close()
    assert model.details is not None and model.details["generation"]["samples"] == 3
    # The same answers in one go, in other batches, and then from the cache.
    file.write_text(text.replace("batch_size = 2", "deterministic = true"))
    again = generated(store, file)
    assert texts(again, "before") == found
    again.close()
    cached = generated(store, file)
    assert progress_of(cached, "before")["resumed_from"] == 9
    cached.close()


def test_what_the_prompts_show_is_stored_before_any_answer_and_outlives_a_stop(tmp_path: Path) -> None:
    base = tmp_path / "base"
    shutil.copytree(SAMPLES / "models/base", base)
    (base / "chat_template.jinja").write_text(
        "{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}<think>{% endif %}"
    )
    examples = [{"id": f"e{n}", "query": f"question {n}"} for n in range(5)]
    after = recorded(tmp_path, "after.jsonl", *({"id": f"e{n}", "response": "no"} for n in range(5)))
    file = plan(tmp_path, examples, f'path = "{base}"\nsystem = "Be brief."', after)
    store = tmp_path / "store"
    recorder = Recorder(store, queue(store, file))
    recorder.set_run(options={"only": "generate"})

    def asked() -> str | None:
        """At the first look after an answer."""
        return "pause" if recorder.rows(records.StoredResponse) else None

    with pytest.raises(Stopped):
        execute(recorder, store, asked)
    [model] = recorder.rows(records.StoredModel, run_id=recorder.run_id, name="before")
    answers = rows_of(recorder, records.StoredResponse, "before")
    with pytest.raises(Stopped):
        execute(recorder, store, lambda: None)
    [again] = recorder.rows(records.StoredModel, run_id=recorder.run_id, name="before")
    everything = rows_of(recorder, records.StoredResponse, "before")
    recorder.close()
    assert model.details is not None and again.details is not None
    assert model.details["unread_system"] == again.details["unread_system"] == 5
    # Cut at ten tokens within the trace that the prompt opened.
    assert answers and len(everything) == 5
    assert {row["text"] for row in everything if row["finish_reason"] == "length"} <= {None}


def test_an_example_whose_template_raises_is_named_and_counted_and_the_run_goes_on(tmp_path: Path) -> None:
    base = tmp_path / "base"
    shutil.copytree(SAMPLES / "models/base", base)
    (base / "chat_template.jinja").write_text(
        "{% for m in messages %}{% if 'odd' in m.content %}"
        "{{ raise_exception('no odd \x1b[2J ones') }}{% endif %}{{ m.content }}{% endfor %}"
    )
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]  # ends with an answer
    examples = [{"id": "e0", "messages": turns}, {"id": "e1", "query": "odd"}, {"id": "e2", "query": "even"}]
    after = recorded(tmp_path, "after.jsonl", *({"id": f"e{n}", "response": "no"} for n in range(3)))
    recorder = generated(tmp_path / "store", plan(tmp_path, examples, f'path = "{base}"', after))
    found = {row["example_id"]: row for row in rows_of(recorder, records.StoredResponse, "before")}
    names = {row.id: row.example for row in recorder.rows(records.StoredExample)}
    told = [row.message for row in recorder.rows(records.Event, run_id=recorder.run_id, level="error")]
    recorder.close()
    missing = {names[place]: row["reason"] for place, row in found.items() if row["text"] is None}
    assert len(found) == 3 and list(missing) == ["e1"]
    assert "the chat template refuses the messages: no odd" in missing["e1"]
    [event] = told
    assert event.startswith("before, example e1: ") and "no odd" in event
