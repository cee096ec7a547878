"""A real Trainer of transformers, or of TRL, whose checkpoints are evaluated while it trains."""

import importlib.util
import logging
import time
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer, TrainingArguments

import assay
from engine import training
from engine.run import execute
from engine.training import AssayCallback
from store import database, people
from store.read import history, live
from tests.e2e.forked import Worker
from tests.engine.checkpoints import BASE, SAMPLES
from tests.engine.runs import work_here

LOSS = "assay/eval_loss:validation"
NOBODY = 2**22 + 1  # a process id that no process has


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execute, "LOOK", 0.01)
    monkeypatch.setattr(training, "_HEED", 0.0)


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    domain = (SAMPLES / "eval/domain.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "eval.jsonl").write_text("".join(domain[:4]))
    file = tmp_path / "plan.toml"
    file.write_text(
        """
name = "trained"
models = { sweep = "outputs/checkpoint-*", dtype = "float32", device = "cpu" }
[data]
examples = "eval.jsonl"
[generation]
max_new_tokens = 4
[metrics]
use = ["token_f1"]
[follow]
sample = 2
"""
    )
    return file


class Texts(torch.utils.data.Dataset):  # type: ignore[type-arg]
    def __len__(self) -> int:
        return 8

    def __getitem__(self, place: int) -> dict[str, list[int]]:
        tokens = [10 + (place + step) % 20 for step in range(12)]
        return {"input_ids": tokens, "labels": tokens, "attention_mask": [1] * 12}


def trainer(outputs: Path, callback: Any, steps: int = 4) -> Trainer:
    model = AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.float32)
    model = get_peft_model(model, LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM"))
    model.peft_config["default"].base_model_name_or_path = str(BASE)
    return Trainer(
        model=model,
        args=TrainingArguments(
            output_dir=str(outputs),
            max_steps=steps,
            save_steps=2,
            logging_steps=1,
            per_device_train_batch_size=2,
            report_to=[],
            use_cpu=True,
            disable_tqdm=True,
        ),
        train_dataset=Texts(),
        processing_class=AutoTokenizer.from_pretrained(BASE),
        callbacks=[callback],
    )


def evaluate_here(store: Path, run_id: int) -> int:
    """In place of a worker: what is there is evaluated at once, and nobody is left."""
    connection = database.connect(store)
    people.follow_on(connection, run_id, {"once": True})
    connection.close()
    work_here(store, run_id)
    return NOBODY


def logged(found: Trainer) -> list[dict[str, float]]:
    return [entry for entry in found.state.log_history if LOSS in entry]


def test_it_is_part_of_the_python_api() -> None:
    assert assay.AssayCallback is AssayCallback


def test_the_numbers_of_each_checkpoint_come_back_to_the_trainer(
    plan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "start", evaluate_here)
    callback = AssayCallback(plan, tmp_path / "store", between_steps=True)
    found = trainer(tmp_path / "outputs", callback)
    found.train()
    assert callback.failures == 0
    assert [entry["assay/step"] for entry in logged(found)] == [2.0, 4.0]
    assert all("assay/token_f1" in entry for entry in logged(found))
    connection = history.attach(database.connect(tmp_path / "store"))
    run = history.run(connection, callback.run_id or 0)
    assert run.status == "finished"
    names = [model.name for model in history.models(connection, run.id)]
    assert names == ["base", "checkpoint-2", "checkpoint-4"]
    scores = {(row.model, row.measure): row.value for row in history.model_scores(connection, run.id)}
    assert logged(found)[1][LOSS] == scores["checkpoint-4", "eval_loss:validation"]


def test_a_resumed_training_gets_no_numbers_twice(
    plan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "start", evaluate_here)
    outputs, store = tmp_path / "outputs", tmp_path / "store"
    trainer(outputs, AssayCallback(plan, store)).train()
    found = trainer(outputs, AssayCallback(plan, store), steps=6)
    found.train(resume_from_checkpoint=str(outputs / "checkpoint-4"))
    # The state of checkpoint-4 was saved before that was evaluated.
    assert [entry["assay/step"] for entry in logged(found)] == [2.0, 4.0, 6.0]


@pytest.mark.parametrize(
    ("begins", "had", "taken"),
    [(0, [], [6.0]), (2, [], [2.0, 6.0]), (4, [2.0], [4.0, 6.0]), (8, [2.0, 4.0, 6.0], [8.0])],
)
def test_numbers_of_an_earlier_training_are_not_those_of_the_next_one(
    plan: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    begins: int,
    had: list[float],
    taken: list[float],
) -> None:
    """An earlier training was evaluated at 2, 4 and 8 before this one begins; 6 was evaluated since."""
    callback = AssayCallback(plan, tmp_path / "store")
    callback.run_id = 1
    told = [{"assay/step": step} for step in had]
    state = SimpleNamespace(is_world_process_zero=True, global_step=begins, log_history=told)
    args = SimpleNamespace(output_dir=str(tmp_path / "outputs"))
    before = time.time() - 60
    callback.on_train_begin(args, state, None)
    rows = [
        live.CheckpointRow(step, f"c-{step}", f"c-{step}", step, when, None, True)
        for step, when in ((8, before), (6, time.time()), (4, before), (2, before))
    ]
    monkeypatch.setattr(training, "opened", nullcontext)
    monkeypatch.setattr(live, "checkpoints", lambda *_, **__: rows)
    monkeypatch.setattr(live, "headlines", lambda *_, **__: [("token_f1", 0.5)])
    for state.global_step in (max(begins, 6), 8):
        callback.on_log(args, state, None, logs={})
    assert [entry["assay/step"] for entry in state.log_history] == [*had, *taken]


def test_a_trainer_that_is_named_logs_them_as_its_own(
    plan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "start", evaluate_here)
    callback = AssayCallback(plan, tmp_path / "store")
    found = trainer(tmp_path / "outputs", callback, steps=2)
    callback.trainer, told = found, []
    log = found.log
    monkeypatch.setattr(found, "log", lambda logs, *rest: (told.append(dict(logs)), log(logs, *rest)))
    found.train()
    assert [logs["assay/step"] for logs in told if LOSS in logs] == [2.0]
    assert len(logged(found)) == 1


@pytest.mark.e2e
def test_a_worker_of_its_own_evaluates_while_the_training_waits(
    plan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers: list[Worker] = []

    def start(store: Path, run_id: int) -> int:
        workers.append(Worker(store, run_id))
        return workers[-1].pid

    monkeypatch.setattr(training, "start", start)
    callback = AssayCallback(plan, tmp_path / "store", between_steps=True)
    found = trainer(tmp_path / "outputs", callback)
    found.train()
    assert len(workers) == 1, "one worker follows the whole training"
    assert workers[0].wait(60) == 0
    assert (callback.failures, [entry["assay/step"] for entry in logged(found)]) == (0, [2.0, 4.0])


def test_a_training_does_not_wait_for_its_worker(
    plan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[int] = []
    monkeypatch.setattr(training, "start", lambda store, run: started.append(run) or NOBODY)
    callback = AssayCallback(plan, tmp_path / "store")
    found = trainer(tmp_path / "outputs", callback)
    found.train()
    assert found.state.global_step == 4
    assert started == [callback.run_id] * 2, "a worker that has died is started again at the next checkpoint"
    assert not logged(found)


@pytest.mark.parametrize("wrong", ["no plan", "no worker", "a broken store"])
def test_a_training_is_never_ended_by_its_evaluation(
    plan: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    wrong: str,
) -> None:
    def refuse(*_: Any) -> int:
        raise OSError("no process can be started")

    monkeypatch.setattr(training, "start", refuse)
    if wrong == "no plan":
        plan.write_text("name = 3")
    if wrong == "a broken store":
        (tmp_path / "store").mkdir()
        (tmp_path / "store/assay.db").write_text("no store")
    callback = AssayCallback(plan, tmp_path / "store", between_steps=True)
    found = trainer(tmp_path / "outputs", callback)
    with caplog.at_level(logging.WARNING, "assay.training"):
        found.train()
    assert found.state.global_step == 4
    assert callback.failures >= 2
    assert len([record for record in caplog.records if record.name == "assay.training"]) == 1


def test_a_stop_file_ends_the_training(plan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(store: Path, run_id: int) -> int:
        (tmp_path / "outputs/STOP").write_text("a gate failed\n")
        return NOBODY

    monkeypatch.setattr(training, "start", stop)
    found = trainer(tmp_path / "outputs", AssayCallback(plan, tmp_path / "store"), steps=10)
    found.train()
    assert found.state.global_step == 3, "the step after the checkpoint is the last one"


@pytest.mark.parametrize("together", [False, True], ids=["one process", "several processes"])
def test_a_folder_that_cannot_be_read_ends_no_training(
    plan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, together: bool
) -> None:
    def refuse(path: Path, **_: Any) -> bool:
        raise OSError(116, "Stale file handle", str(path))

    sent: list[list[bool]] = []
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: together)
    monkeypatch.setattr(torch.distributed, "broadcast_object_list", lambda told, src: sent.append(told))
    callback = AssayCallback(plan, tmp_path / "store")
    state, control = SimpleNamespace(global_step=5, logging_steps=1), SimpleNamespace()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "exists", refuse)
        callback.on_step_end(SimpleNamespace(output_dir=str(tmp_path)), state, control)
    assert not vars(control) and callback.failures == 1
    assert sent == [[False]] * together, "the other processes wait for an answer"


def test_the_end_of_a_training_is_told_to_its_worker(
    plan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "start", lambda store, run: NOBODY)
    callback = AssayCallback(plan, tmp_path / "store")
    trainer(tmp_path / "outputs", callback, steps=2).train()
    run = history.run(history.attach(database.connect(tmp_path / "store")), callback.run_id or 0)
    assert {name: (run.options or {})["follow"][name] for name in ("once", "over")} == {
        "once": True,
        "over": True,
    }


def test_the_environment_names_the_plan_of_a_callback_named_by_its_class(
    plan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASSAY_PLAN", str(plan))
    monkeypatch.setenv("ASSAY_STORE", str(tmp_path / "elsewhere"))
    callback = AssayCallback()
    assert (callback.plan, callback.store) == (plan, tmp_path / "elsewhere")
    found = trainer(tmp_path / "outputs", AssayCallback, steps=1)
    assert any(isinstance(each, AssayCallback) for each in found.callback_handler.callbacks)


@pytest.mark.skipif(importlib.util.find_spec("trl") is None, reason="trl is not installed")
def test_it_serves_a_trainer_of_trl(plan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    monkeypatch.setattr(training, "start", evaluate_here)
    rows = [{"prompt": "Who came?", "completion": f" A ship, {place}."} for place in range(8)]
    model = AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.float32)
    found = SFTTrainer(
        model=model,
        args=SFTConfig(
            output_dir=str(tmp_path / "outputs"),
            max_steps=2,
            save_steps=2,
            logging_steps=1,
            per_device_train_batch_size=2,
            report_to=[],
            use_cpu=True,
            bf16=False,
            max_length=64,
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=AutoTokenizer.from_pretrained(BASE),
        peft_config=LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM"),
        callbacks=[AssayCallback(plan, tmp_path / "store", between_steps=True)],
    )
    found.train()
    assert [entry["assay/step"] for entry in logged(found)] == [2.0]
