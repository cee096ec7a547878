"""Whole runs of benchmarks: stored task by task, and taken over where the same weights were asked before."""

import shlex
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from lm_eval._cli.harness import HarnessCLI

from engine.benchmarks import harness
from engine.benchmarks.results import ASKED, LONGEST, asked_as, command
from engine.compare.benchmarks import Key, Measured, compare_scores
from engine.errors import CannotRun
from engine.models.prompt import PINNED_DATE
from engine.phases.benchmarks import how_asked
from engine.plan.plan import Benchmarks, Model
from store import database, records
from store.read import history
from store.records.columns import values_of
from store.write import Recorder
from tests.benchmarks.tiny_tasks import CHOICE, FILTERED, GROUP, SECOND, write_task, write_tasks
from tests.engine.runs import carry_out, lines, queue
from tests.models.tiny import make_adapter, make_model
from tui.sections.gather import gather
from tui.sections.measures import _asked

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
"""
REST = """
[generation]
max_new_tokens = 2
[metrics]
use = ["length"]
[benchmarks]
include = "tasks"
"""
PROMPTED = """
[[models]]
name = "prompted"
role = "candidate"
path = "base"
device = "cpu"
system = "Be brief."
"""
TOLD = """
[[models]]
name = "told"
role = "candidate"
path = "base"
device = "cpu"
chat_template_kwargs = { tone = "dry, and short" }
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


def run(folder: Path, rest: str = TASKS, models: str = PLAN, **options: Any) -> Recorder:
    (folder / "plan.toml").write_text(models + REST + rest)
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


def test_weights_are_asked_once_for_all_that_are_told_the_same_and_each_candidate_is_compared(
    folder: Path,
) -> None:
    head, first, tuned = PLAN.split("[[models]]")
    before = run(
        folder,
        'tasks = ["tiny_choice", "tiny_group"]',
        models="[[models]]".join([head + PROMPTED, first, tuned]) + TOLD,
    )
    asked = {name for name in ("prompted", "base", "tuned", "told")
             if rows(before, records.StoredBenchmarkScore, name)}  # fmt: skip
    assert asked == {"prompted", "tuned", "told"}
    names = {row.id: row.name for row in before.rows(records.StoredModel, run_id=1)}
    pairs = {
        (names[row.candidate_id], names[row.baseline_id])
        for row in before.rows(records.StoredComparison, kind="benchmark")
    }
    assert pairs == {(name, "base") for name in ("prompted", "tuned", "told")}
    # A member that had been asked by itself comes with its group.
    after = run(folder, 'tasks = ["tiny_group"]')
    assert told(after) == ["tiny_group of tuned: reused from run 1, with the same weights"]
    own = rows(after, records.StoredBenchmarkScore, "tuned")
    assert {row["task"] for row in own} == {"tiny_group", "tiny_choice", "tiny_second"}
    grouped = [row for row in after.rows(records.StoredComparison, kind="benchmark")
               if row.measure == "tiny_group · acc" and row.candidate_id > 4]  # fmt: skip
    assert [row.n for row in grouped] == [16]


def test_texts_that_were_cut_are_a_remark_also_where_the_scores_are_taken_over(folder: Path) -> None:
    said = "24 of 24 texts were cut at their beginning to fit the model's context of 96 tokens"
    for number in (1, 2):
        run(folder, 'tasks = ["tiny_choice"]\nshots = 7\n').close()
        with closing(history.attach(database.connect(folder / "store"))) as connection:
            assert f"base, tuned, tiny_choice: {said}" in gather(connection, number).remarks


def test_scores_of_cut_texts_do_not_compare_with_those_of_longer_ones() -> None:
    flags = {"apply_chat_template": False, "limit": None}
    held, free = ({ASKED: flags | more} for more in ({LONGEST: 64}, {}))
    score = Measured(0.5, 0.1, 8, "1", 0, True, "hash", asked=asked_as(free))
    short = replace(score, asked=asked_as(held))
    key = Key("tiny_choice", "acc", "none")
    assert compare_scores("a", "b", key, short, score).delta == 0  # all fitted
    found = compare_scores("a", "b", key, replace(short, cut=True), score)
    assert (found.delta, found.reason) == (None, "different longest text: none and 64 tokens")


TEMPLATED = {"template": "1", "dtype": "float32", "tokens": 300, "vocabulary": 300}


def asked(details: dict[str, Any] = TEMPLATED, **model: Any) -> dict[str, Any]:
    known = Model.model_validate({"name": "m", "role": "candidate", "path": "org/m", **model})
    return {"benchmarks_asked": how_asked(known, Benchmarks(tasks=("tiny_choice",)), details)}


def test_the_command_is_one_that_lm_eval_reads_as_what_was_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    told = {"tone": "dry, and short", "enable_thinking": False}
    adapted = TEMPLATED | {"adapter": {"own_tokenizer": True}}
    said = command(asked(adapted, adapter="org/a", trust_remote_code=True, chat_template_kwargs=told))
    monkeypatch.setattr("sys.argv", shlex.split(said))
    given = HarnessCLI().parse_args()
    assert given.model_args == {
        "pretrained": "org/m",
        "peft": "org/a",
        "tokenizer": "org/a",
        "dtype": "float32",
        "trust_remote_code": True,
        "chat_template_args": told,
    }
    assert given.tasks == ["tiny_choice"] and given.fewshot_as_multiturn


@pytest.mark.parametrize(
    ("model", "details", "reason"),
    [
        ({}, {"notes": [PINNED_DATE]}, "today's date"),
        ({"quantize": "nf4"}, {}, "quantises no weights"),
        ({"path": "small.gguf"}, {"quantisation": {"quant_method": "gguf"}}, "packed weights"),
        ({"adapter": "org/a", "adapter_revision": "v2"}, {}, "at one revision"),
        ({"adapter": "org/a"}, {"tokens": 290}, "cuts the model's vocabulary"),
    ],
)
def test_where_lm_eval_would_give_other_numbers_the_reason_stands_for_a_command(
    model: dict[str, Any],
    details: dict[str, Any],
    reason: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.gguf").write_bytes(b"")
    found = asked(TEMPLATED | details, **model)
    assert command(found) == "" and reason in _asked(found)


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
