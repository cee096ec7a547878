"""lm-eval really run on small local tasks, against its own command's numbers."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from lm_eval import simple_evaluate
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

from engine.benchmarks.harness import TaskResult, check_tasks, run_tasks
from engine.errors import BadInput, CannotRun
from engine.generate.local import LocalBase, LocalModel
from engine.plan import Benchmarks, Model
from tests.generate.tiny import make_adapter, make_model

COLOURS = [{"question": f"the cat {number}", "choices": ["red", "green", "blue"], "answer": number % 3}
           for number in range(8)]  # fmt: skip
CHOICE = {
    "task": "tiny_choice",
    "dataset_path": "json",
    "dataset_kwargs": {"data_files": {"test": "colours.jsonl"}},
    "test_split": "test",
    "fewshot_split": "test",
    "output_type": "multiple_choice",
    "doc_to_text": "{{question}}\nAnswer:",
    "doc_to_choice": "choices",
    "doc_to_target": "answer",
    "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    "metadata": {"version": 2.0},
}
OPEN = CHOICE | {
    "task": "tiny_open",
    "output_type": "generate_until",
    "doc_to_target": "{{choices[answer]}}",
    "generation_kwargs": {"until": ["\n"], "max_gen_toks": 4, "do_sample": False},
    "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("models") / "tiny-base")


@pytest.fixture(scope="module")
def include(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("tasks")
    (folder / "colours.jsonl").write_text("".join(json.dumps(row) + "\n" for row in COLOURS))
    for config in (CHOICE, OPEN):
        write(folder, config)
    yield folder
    shutil.rmtree(folder)


def write(folder: Path, config: dict[str, Any]) -> None:
    text = yaml.safe_dump({key: value for key, value in config.items() if key not in ("doc_to_choice",)})
    if config["output_type"] == "multiple_choice":
        text += "doc_to_choice: choices\n"
    (folder / f"{config['task']}.yaml").write_text(text)


def local(base: Path, adapter: Path | None = None) -> LocalModel:
    model = Model(name="m", role="baseline", path=str(base), adapter=adapter, device="cpu")
    return LocalBase(str(base), device="cpu").generator(model)


def run(model: LocalModel, include: Path, *tasks: str, **settings: Any) -> dict[str, TaskResult]:
    plan = Benchmarks(tasks=tasks, include=include, **settings)
    return {result.task: result for result in run_tasks(model, plan, tasks)}


def test_the_numbers_are_lm_evals_own(base: Path, include: Path, tmp_path: Path) -> None:
    own = yaml.safe_load((include / "tiny_choice.yaml").read_text())
    own["dataset_kwargs"] = {
        "data_files": {"test": str(include / "colours.jsonl")},
        "cache_dir": str(tmp_path / "c"),
    }
    (tmp_path / "tasks").mkdir()
    write(tmp_path / "tasks", own)
    weights, tokenizer = AutoModelForCausalLM.from_pretrained(base), AutoTokenizer.from_pretrained(base)
    expected = simple_evaluate(
        model=HFLM(pretrained=weights, tokenizer=tokenizer),
        tasks=["tiny_choice"],
        num_fewshot=2,
        bootstrap_iters=1000,
        apply_chat_template=True,
        task_manager=TaskManager(include_path=str(tmp_path / "tasks"), include_defaults=False),
    )  # fmt: skip
    found = run(local(base), include, "tiny_choice", shots=2)["tiny_choice"]
    [score] = found.scores
    assert score.value == expected["results"]["tiny_choice"]["acc,none"]
    assert score.stderr == expected["results"]["tiny_choice"]["acc_stderr,none"]
    assert (score.metric, score.filter, score.n, score.version, score.shots) == ("acc", "none", 8, "2.0", 2)
    assert score.higher_is_better
    pairs = [(line["doc_hash"], line["prompt_hash"], line["target_hash"], float(line["acc"]))
             for line in expected["samples"]["tiny_choice"]]  # fmt: skip
    assert [(s.doc_hash, s.prompt_hash, s.target_hash, s.value) for s in found.samples] == pairs


def test_tasks_come_one_after_the_other_with_their_samples(base: Path, include: Path) -> None:
    steps: list[tuple[int, int]] = []
    tasks = ("tiny_choice", "tiny_open")
    settings = Benchmarks(tasks=tasks, include=include, limit=5)
    results = run_tasks(local(base), settings, tasks, lambda done, total: steps.append((done, total)))
    choice = next(results)
    assert choice.task == "tiny_choice"
    assert steps[-1] == (15, 15)
    opened = next(results)
    assert (opened.task, opened.scores[0].metric, opened.scores[0].n) == ("tiny_open", "exact_match", 5)
    assert steps[-1] == (5, 5)
    sample = choice.samples[1]
    assert "<|user|>the cat 1\nAnswer:</s>" in sample.question
    assert sample.target == "green"
    assert sample.answer in ("red", "green", "blue")
    assert sample.value == float(sample.answer == sample.target)


def test_equal_questions_have_equal_hashes_and_other_prompts_do_not(base: Path, include: Path) -> None:
    model = local(base)
    first = run(model, include, "tiny_choice")["tiny_choice"]
    assert run(model, include, "tiny_choice")["tiny_choice"].task_hash == first.task_hash
    plain = run(model, include, "tiny_choice", apply_chat_template=False)["tiny_choice"]
    assert plain.task_hash != first.task_hash
    assert "<|user|>" not in plain.samples[0].question


def test_an_adapter_is_on_for_its_own_benchmark_only(base: Path, include: Path, tmp_path: Path) -> None:
    shared = LocalBase(str(base), device="cpu")
    adapter = make_adapter(tmp_path / "adapter", base)
    plain = shared.generator(Model(name="b", role="baseline", path=str(base)))
    tuned = shared.generator(Model(name="c", role="candidate", path=str(base), adapter=adapter))
    before = run(plain, include, "tiny_open")["tiny_open"].samples
    assert [s.answer for s in run(tuned, include, "tiny_open")["tiny_open"].samples] != [
        s.answer for s in before
    ]
    assert run(plain, include, "tiny_open")["tiny_open"].samples == before
    assert plain.tokenizer.padding_side == AutoTokenizer.from_pretrained(base).padding_side


def test_out_of_memory_halves_the_batch_and_changes_no_number(
    base: Path, include: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = local(base)
    expected = run(model, include, "tiny_choice")["tiny_choice"].samples
    forward = LlamaForCausalLM.forward

    def hungry(self: Any, input_ids: Any, *args: Any, **kwargs: Any) -> Any:
        if len(input_ids) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(self, input_ids, *args, **kwargs)

    monkeypatch.setattr(LlamaForCausalLM, "forward", hungry)
    assert run(model, include, "tiny_choice", batch_size=8)["tiny_choice"].samples == expected
    assert any("out of memory" in note for note in model.describe()["notes"])


def test_a_task_that_fails_does_not_stop_the_others(base: Path, include: Path, tmp_path: Path) -> None:
    shutil.copytree(include, tmp_path, dirs_exist_ok=True)
    write(tmp_path, CHOICE | {"task": "tiny_broken", "doc_to_text": "{{question.nothing.there}}"})
    tasks = ("tiny_broken", "tiny_choice")
    results = run_tasks(local(base), Benchmarks(tasks=tasks, include=tmp_path), tasks)
    assert next(results).task == "tiny_choice"
    with pytest.raises(CannotRun, match="1 of 2 benchmark tasks failed\n  tiny_broken: "):
        next(results)


def test_unknown_tasks_are_refused_with_the_nearest_names(base: Path, include: Path) -> None:
    with pytest.raises(BadInput, match=r"Unknown benchmark task 'tiny_chioce'\. Nearest: tiny_choice"):
        run(local(base), include, "tiny_choice", "tiny_chioce")


def test_data_that_is_not_there_is_named_before_the_run(include: Path, tmp_path: Path) -> None:
    write(tmp_path, CHOICE)
    assert check_tasks(("tiny_choice",), tmp_path) == ["Task 'tiny_choice': no such data file: colours.jsonl"]
    assert check_tasks(("tiny_choice",), include) == []


def test_nothing_is_left_beside_the_data(base: Path, include: Path) -> None:
    before = sorted(include.rglob("*"))
    run(local(base), include, "tiny_open", limit=2)
    assert sorted(include.rglob("*")) == before
