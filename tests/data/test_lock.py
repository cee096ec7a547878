"""The test lock in a run: the second run on a test split must say that it is final."""

import json
from pathlib import Path

import pytest

from engine.errors import BadInput
from engine.phases.data import prepare
from engine.phases.work import Work
from engine.plan.plan import parse_plan
from store import database, records
from store.write import Recorder, create_run

PLAN = """
name = "lock"
[data]
examples = "eval.jsonl"
train = "train.jsonl"
split = "test"
{final}
[[models]]
name = "base"
role = "baseline"
outputs = "outputs.jsonl"
[[models]]
name = "tuned"
role = "candidate"
outputs = "outputs.jsonl"
"""


def run(folder: Path, final: bool) -> Recorder:
    """Prepares one run of the plan; its recorder."""
    text = PLAN.format(final="final = true" if final else "")
    plan = parse_plan(text, folder)
    row = {
        "name": plan.name,
        "plan": text,
        "plan_hash": plan.hash,
        "plan_folder": str(folder),
        "plan_file": "p",
    }
    recorder = Recorder(folder / "store", create_run(folder / "store", records.Run(**row)))
    prepare(Work(plan, recorder, folder / "store", {}, lambda: None))
    return recorder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = [json.dumps({"query": f"question {n}", "response": "x"}) + "\n" for n in range(100)]
    for name in ("eval.jsonl", "train.jsonl", "outputs.jsonl"):
        (tmp_path / name).write_text("".join(rows))
    database.prepare(tmp_path / "store")
    return tmp_path


def test_the_first_use_is_recorded_and_the_second_refused_unless_final(folder: Path) -> None:
    recorder = run(folder, final=False)
    assert len(recorder.rows(records.SplitUse, split="test")) == 1
    with pytest.raises(BadInput, match=r"was used once before(.|\n)*final = true"):
        run(folder, final=False)
    assert len(run(folder, final=True).rows(records.SplitUse, split="test")) == 2


def test_training_data_edited_after_the_test_split_was_used_are_told_of(folder: Path) -> None:
    first = run(folder, final=True)
    same = run(folder, final=True)
    assert not same.rows(records.Event, run_id=same.run_id)
    with (folder / "train.jsonl").open("a") as file:
        file.write('{"query": "one more", "response": "y"}\n')
    edited = run(folder, final=True)
    messages = [event.message for event in edited.rows(records.Event, run_id=edited.run_id)]
    assert f"the training file was edited after run {first.run_id} had used the test split" in messages
