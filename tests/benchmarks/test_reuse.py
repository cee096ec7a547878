"""Whole runs of benchmarks: stored task by task, and taken over where the same weights were asked before."""

from pathlib import Path
from typing import Any

import pytest

from engine.benchmarks import harness
from engine.errors import CannotRun
from store import records
from store.records.columns import values_of
from store.write import Recorder
from tests.benchmarks.tiny_tasks import CHOICE, FILTERED, GROUP, SECOND, write_task, write_tasks
from tests.engine.runs import carry_out, lines, queue
from tests.models.tiny import make_adapter, make_model

PLAN = """
name = "benchmarks"
[data]
examples = "examples.jsonl"
[[models]]
name = "base"
role = "baseline"
path = "base"
device = "cpu"
[[models]]
name = "tuned"
role = "candidate"
path = "base"
adapter = "adapter"
device = "cpu"
[generation]
max_new_tokens = 2
[metrics]
use = ["length"]
[benchmarks]
include = "tasks"
"""
TASKS = 'tasks = ["tiny_group", "tiny_filtered", "tiny_choice"]\n'


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    make_model(folder / "base")
    make_adapter(folder / "adapter", folder / "base")
    return folder


@pytest.fixture
def folder(models: Path, tmp_path: Path) -> Path:
    for name in ("base", "adapter"):
        (tmp_path / name).symlink_to(models / name)
    lines(tmp_path / "examples.jsonl", [{"id": "a", "query": "the cat"}])
    write_tasks(tmp_path / "tasks", CHOICE, SECOND, FILTERED, GROUP)
    return tmp_path


def run(folder: Path, rest: str = TASKS, **options: Any) -> Recorder:
    (folder / "plan.toml").write_text(PLAN + rest)
    store = folder / "store"
    run_id = queue(store, folder / "plan.toml")
    if options:
        recorder = Recorder(store, run_id)
        recorder.set_run(options=options)
        recorder.close()
    return carry_out(store, run_id)


def rows(recorder: Recorder, table: Any, name: str) -> list[dict[str, Any]]:
    (model,) = recorder.rows(records.StoredModel, run_id=recorder.run_id, name=name)
    return [
        {key: value for key, value in values_of(row).items() if key != "model_id"}
        for row in recorder.rows(table, model_id=model.id)
    ]


def told(recorder: Recorder) -> list[str]:
    events = recorder.rows(records.Event, run_id=recorder.run_id)
    return [row.message for row in events if row.phase == "benchmarks"]


def test_a_later_run_takes_over_what_the_same_weights_scored(folder: Path) -> None:
    first, second = run(folder), run(folder)
    assert told(second) == [
        f"{task} of {model}: reused from run 1, with the same weights"
        for model in ("base", "tuned")
        for task in ("tiny_group", "tiny_filtered")
    ]
    for model in ("base", "tuned"):
        before, after = (rows(each, records.StoredBenchmarkScore, model) for each in (first, second))
        assert {row["task"] for row in before} == {
            "tiny_group", "tiny_choice", "tiny_second", "tiny_filtered",
        }  # fmt: skip
        assert after == [row | {"reused_from": 1} for row in before]
        samples = [rows(each, records.StoredBenchmarkSample, model) for each in (first, second)]
        assert samples[0] == samples[1] != []
    compared = [each.rows(records.StoredComparison, kind="benchmark") for each in (first, second)]
    by_run = {row.candidate_id: row for row in compared[1] if row.measure == "tiny_group · acc"}
    assert len(by_run) == 2 and {row.n for row in by_run.values()} == {16}
    progress = second.rows(records.Progress, run_id=2, phase="benchmarks")
    assert {row.item: (row.done, row.total) for row in progress}["tuned · tiny_group"] == (16, 16)
    third = run(folder, cache=False)
    assert not told(third)
    assert {row["reused_from"] for row in rows(third, records.StoredBenchmarkScore, "base")} == {None}


def test_other_weights_of_the_same_name_and_path_are_asked_themselves(folder: Path, models: Path) -> None:
    tasks = 'tasks = ["tiny_filtered"]\n'
    first = run(folder, tasks)
    (folder / "adapter").unlink()
    make_adapter(folder / "adapter", models / "base", seed=1)
    second = run(folder, tasks)
    assert told(second) == ["tiny_filtered of base: reused from run 1, with the same weights"]
    (adapted,) = {row["identity"] for row in rows(second, records.StoredBenchmarkScore, "tuned")}
    assert adapted not in {row.identity for row in first.rows(records.StoredBenchmarkScore, model_id=2)}


def test_a_crash_in_a_later_task_keeps_those_before_and_resumes_with_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = 'tasks = ["tiny_choice", "tiny_second", "tiny_late"]\n'
    write_task(folder / "tasks", CHOICE | {"task": "tiny_late", "doc_to_text": "{{question.nothing.there}}"})
    with pytest.raises(CannotRun, match="1 of 3 benchmark tasks failed"):
        run(folder, tasks)
    recorder = Recorder(folder / "store", 1)
    assert {row["task"] for row in rows(recorder, records.StoredBenchmarkScore, "base")} == {
        "tiny_choice", "tiny_second",
    }  # fmt: skip
    recorder.set_run(status="failed")
    recorder.close()
    write_task(folder / "tasks", CHOICE | {"task": "tiny_late"})
    asked: list[str] = []
    run_one = harness._run
    monkeypatch.setattr(
        harness, "_run", lambda model, settings, task, *rest: (asked.append(f"{model.name} {task}"),
                                                               run_one(model, settings, task, *rest))[1],
    )  # fmt: skip
    resumed = carry_out(folder / "store", 1)
    assert asked == ["base tiny_late", "tuned tiny_choice", "tuned tiny_second", "tuned tiny_late"]
    assert "tiny_late" in {row["task"] for row in rows(resumed, records.StoredBenchmarkScore, "base")}
