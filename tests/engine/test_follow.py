"""A training is followed: its checkpoints are evaluated as they land, in one run."""

import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest

from engine.errors import BadInput, CannotRun
from engine.models.folder import unfinished
from engine.phases.work import Stopped
from engine.plan.paths import read_json
from engine.run import execute, launch
from store import database, people, records
from store.read import history, live, trends
from store.read.rows import ModelRow
from store.write import Recorder
from tests.engine.checkpoints import SAMPLES, make_checkpoints
from tests.engine.runs import carry_out, work_here
from tui.sections.gather import gather_report

EXAMPLES, SAMPLE = 8, 3
DEADLINE = 240.0  # seconds; what a busy machine needs at most, no measure of anything
LOSS = "eval_loss:validation"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execute, "LOOK", 0.01)


def plan_in(folder: Path, more: str = "", models: str = "", data: str = "") -> Path:
    domain = (SAMPLES / "eval/domain.jsonl").read_text().splitlines(keepends=True)
    (folder / "eval.jsonl").write_text("".join(domain[:EXAMPLES]))
    (folder / "general.jsonl").write_text('{"text": "The ship came in."}\n{"text": "It rained all day."}\n')
    plan = folder / "plan.toml"
    asked = models or 'models = { sweep = "outputs/checkpoint-*", dtype = "float32", device = "cpu" }'
    plan.write_text(
        f"""
name = "training"
{asked if not models else ""}
[data]
examples = "eval.jsonl"
{data}
[generation]
max_new_tokens = 16
[metrics]
use = ["token_f1"]
corpora = {{ general = "general.jsonl" }}
[follow]
sample = {SAMPLE}
{more}
{models}
"""
    )
    return plan


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`checkpoint-1` to `checkpoint-4`, to be copied from."""
    folder = tmp_path_factory.mktemp("weights")
    make_checkpoints(folder, 4)
    return folder


@pytest.fixture
def land(weights: Path, tmp_path: Path) -> Callable[..., Path]:
    """Lets a checkpoint land in a training's folder; with `of`, the training goes on to that step."""
    (tmp_path / "outputs").mkdir()

    def one(step: int, of: int | None = 100) -> Path:
        target = tmp_path / f"outputs/checkpoint-{step}"
        shutil.copytree(weights / target.name, target)
        if of is not None:
            (target / "trainer_state.json").write_text(json.dumps({"global_step": step, "max_steps": of}))
        return target

    return one


def models(store: Path, run: int) -> dict[str, ModelRow]:
    return {row.name: row for row in history.models(connected(store), run)}


def checkpoint(store: Path, run: int, step: int) -> dict[str, Any]:
    """What is known of a checkpoint."""
    found: dict[str, Any] = (models(store, run)[f"checkpoint-{step}"].details or {})["checkpoint"]
    return found


def connected(store: Path) -> history.Connection:
    return history.attach(database.connect(store))


def count(store: Path, table: str) -> int:
    found: int = connected(store).execute(f"SELECT count(*) FROM {table}").fetchone()[0]
    return found


def events(store: Path) -> list[str]:
    return [row[0] for row in connected(store).execute("SELECT message FROM event ORDER BY id")]


Landed = Callable[..., Path]


@pytest.fixture(scope="module")
def followed(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """A finished run over a training that saved three checkpoints while it was followed."""
    folder = tmp_path_factory.mktemp("followed")
    outputs = folder / "outputs"
    outputs.mkdir()
    store = folder / "store"
    run = launch.follow(plan_in(folder), store, outputs)

    def train() -> None:
        for step in (1, 2, 3):
            shutil.copytree(weights / f"checkpoint-{step}", outputs / f".tmp-{step}")
            state = {"global_step": step, "max_steps": 3}
            (outputs / f".tmp-{step}/trainer_state.json").write_text(json.dumps(state))
            (outputs / f".tmp-{step}").rename(outputs / f"checkpoint-{step}")
            time.sleep(0.05)

    training = threading.Thread(target=train)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(execute, "LOOK", 0.01)
        training.start()
        work_here(store, run)
    training.join()
    return store, run


def test_each_checkpoint_is_a_candidate_of_one_run_with_its_step(followed: tuple[Path, int]) -> None:
    store, run = followed
    found = models(store, run)
    assert list(found) == ["base", "checkpoint-1", "checkpoint-2", "checkpoint-3"]
    assert [checkpoint(store, run, step)["step"] for step in (1, 2, 3)] == [1, 2, 3]
    assert history.run(connected(store), run).status == "finished", "the training has made its last step"


def test_a_checkpoint_answers_a_sample_and_its_loss_is_that_of_the_whole_split(
    followed: tuple[Path, int],
) -> None:
    store, run = followed
    scores = {(row.model, row.measure): row for row in history.model_scores(connected(store), run)}
    for name in ("base", "checkpoint-1", "checkpoint-2", "checkpoint-3"):
        assert scores[name, "token_f1"].n == SAMPLE
        assert scores[name, LOSS].n == EXAMPLES
        assert scores[name, "perplexity:general"].n == 2
        assert not scores[name, LOSS].missing
    losses = [scores[f"checkpoint-{step}", LOSS].value or 0.0 for step in (1, 2, 3)]
    assert losses == sorted(losses, reverse=True)
    assert count(store, "response") == 4 * SAMPLE


def test_the_validation_loss_is_that_of_the_perplexity_metric_on_the_same_examples(
    land: Landed, tmp_path: Path
) -> None:
    land(2)
    plan = plan_in(tmp_path, data="sample = 100")
    text = (
        plan.read_text()
        .replace('["token_f1"]', '["perplexity"]')
        .replace(f"sample = {SAMPLE}", "sample = 50")
    )
    plan.write_text(text)
    run = launch.follow(plan, tmp_path / "store", tmp_path / "outputs", once=True)
    work_here(tmp_path / "store", run)
    scores = history.model_scores(connected(tmp_path / "store"), run)
    values = {(row.model, row.measure): row.value for row in scores}
    for name in ("base", "checkpoint-2"):
        assert values[name, LOSS] == pytest.approx(values[name, "eval_loss"], rel=1e-4)


def test_the_curve_has_the_values_by_step(followed: tuple[Path, int]) -> None:
    store, run = followed
    points = trends.curve(connected(store), LOSS, run)
    assert [(point.step, point.candidate) for point in points] == [
        (step, f"checkpoint-{step}") for step in (1, 2, 3)
    ]
    assert trends.breaks(points) == [None, None, None]
    assert all(point.value is not None and point.low is not None for point in points)


def test_the_newest_checkpoint_stands_for_the_run_among_others(followed: tuple[Path, int]) -> None:
    store, run = followed
    [point] = trends.trend(connected(store), LOSS)
    assert (point.run_id, point.candidate, point.step) == (run, "checkpoint-3", None)
    [named] = trends.trend(connected(store), LOSS, candidate="checkpoint-2")
    assert named.candidate == "checkpoint-2"


def test_a_repeated_run_follows_the_same_folder_once(followed: tuple[Path, int]) -> None:
    store, run = followed
    again = launch.again(connected(store), store, run)
    work_here(store, again)
    first, second = (
        [(row.model, row.measure, row.value) for row in history.model_scores(connected(store), one)]
        for one in (run, again)
    )
    assert first == second
    people.delete(connected(store), again, "me")


def test_the_references_of_the_split_are_no_corpus(followed: tuple[Path, int]) -> None:
    from store.read.slices import corpora

    store, run = followed
    assert {row.corpus for row in corpora(connected(store), run)} == {"general"}


def test_a_second_follower_finds_all_done_and_ends(followed: tuple[Path, int]) -> None:
    store, run = followed
    outputs, before = store.parent / "outputs", count(store, "response")
    assert launch.follow(store.parent / "plan.toml", store, outputs) == run
    work_here(store, run)
    assert history.run(connected(store), run).status == "finished"
    assert count(store, "response") == before


def test_a_follower_that_was_stopped_anywhere_goes_on_and_repeats_nothing(
    land: Landed, tmp_path: Path
) -> None:
    land(1)
    land(2)
    store = tmp_path / "store"
    plan = plan_in(tmp_path)
    run = launch.follow(plan, store, tmp_path / "outputs", once=True)
    stops = 0
    for answers in accumulate(range(2, 20)):
        try:
            carry_out(store, run, stop_after(answers))
        except Stopped:
            stops += 1
        else:
            break
    assert stops >= 4
    assert all("evaluated" in checkpoint(store, run, step) for step in (1, 2))
    for table, each in (("response", SAMPLE), ("corpusscore", EXAMPLES + 2)):
        assert count(store, table) == 3 * each
    assert count(store, "modelscore") == 3 * 4


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "adapter_model.safetensors").unlink(),
        lambda folder: cut(folder / "adapter_model.safetensors"),
        lambda folder: (folder / "adapter_config.json").write_text('{"peft_type": "LO'),
        lambda folder: (folder / "adapter_config.json").unlink(),
    ],
    ids=["no weights", "half the weights", "half the config", "no config"],
)
def test_a_checkpoint_that_is_half_written_waits_until_it_is_whole(
    land: Landed, weights: Path, tmp_path: Path, damage: Callable[[Path], Any]
) -> None:
    folder = land(2, of=None)
    damage(folder)
    store = tmp_path / "store"
    run = launch.follow(plan_in(tmp_path), store, tmp_path / "outputs", until=2)
    with pytest.raises(Stopped):
        carry_out(store, run, stop_after(5))
    assert list(models(store, run)) in ([], ["base"]), "it is neither evaluated nor an error yet"
    for file in (weights / "checkpoint-2").iterdir():
        shutil.copy(file, folder / file.name)
    work_here(store, run)
    assert models(store, run)["checkpoint-2"].passed is not None
    assert not [event for event in events(store) if "cannot be evaluated" in event]


def stop_after(questions: int) -> Callable[[], str | None]:
    asked = iter([None] * questions)
    return lambda: next(asked, "pause")


def cut(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def test_a_damaged_checkpoint_is_told_and_counted_and_the_next_one_is_evaluated(
    land: Landed, weights: Path, tmp_path: Path
) -> None:
    cut(land(1) / "adapter_model.safetensors")
    land(2, of=2)
    store, outputs, plan = tmp_path / "store", tmp_path / "outputs", plan_in(tmp_path)
    run = launch.follow(plan, store, outputs)
    work_here(store, run)
    found = models(store, run)
    assert "corrupt or truncated" in checkpoint(store, run, 1)["failed"]
    assert found["checkpoint-2"].passed is not None
    ended = history.run(connected(store), run)
    assert (ended.status, ended.passed) == ("finished", None if found["checkpoint-2"].passed else False)
    [told] = [event for event in events(store) if "checkpoint-1 cannot be evaluated" in event]
    remarks = gather_report(connected(store), run).remarks
    assert any("checkpoint-1 cannot be evaluated: " in remark for remark in remarks)
    assert launch.follow(plan, store, outputs) == run
    work_here(store, run)
    assert events(store).count(told) == 1, "it is not tried again until its files are others"

    shutil.copy(weights / "checkpoint-1/adapter_model.safetensors", outputs / "checkpoint-1")
    assert launch.follow(plan, store, outputs) == run
    work_here(store, run)
    assert "evaluated" in checkpoint(store, run, 1)


def test_what_fails_for_another_reason_is_tried_again_once_by_each_worker(
    land: Landed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    land(1, of=1)
    store, outputs, plan = tmp_path / "store", tmp_path / "outputs", plan_in(tmp_path)
    tries = []

    def out_of_memory(*_: Any) -> None:
        tries.append(1)
        raise RuntimeError("CUDA out of memory")

    for starts in (1, 2):
        run = launch.follow(plan, store, outputs)
        with monkeypatch.context() as patch:
            patch.setattr(execute, "_weights_of", out_of_memory)
            work_here(store, run)
        assert "CUDA out of memory" in checkpoint(store, run, 1)["failed"]
        assert len(tries) == starts
    assert launch.follow(plan, store, outputs) == run
    work_here(store, run)
    assert "evaluated" in checkpoint(store, run, 1)
    assert models(store, run)["checkpoint-1"].passed is not None


def test_other_hardware_ends_the_run_and_is_no_fault_of_a_checkpoint(land: Landed, tmp_path: Path) -> None:
    land(1, of=1)
    store = tmp_path / "store"
    run = launch.follow(plan_in(tmp_path), store, tmp_path / "outputs")
    recorder = Recorder(store, run)
    recorder.set_run(environment={"devices": ["NVIDIA H100"]})
    recorder.close()
    with pytest.raises(CannotRun, match="began on NVIDIA H100"):
        carry_out(store, run)
    assert not models(store, run)
    assert not [event for event in events(store) if "cannot be evaluated" in event]


def answered_in_part(tmp_path: Path) -> tuple[Path, int]:
    """A run that was stopped while its first checkpoint answered."""
    store = tmp_path / "store"
    run = launch.follow(plan_in(tmp_path), store, tmp_path / "outputs", once=True)
    with pytest.raises(Stopped):
        carry_out(store, run, lambda: "pause" if count(store, "response") > SAMPLE else None)
    assert "evaluated" not in checkpoint(store, run, 1)
    return store, run


@pytest.mark.parametrize("annotated", [False, True], ids=["not annotated", "annotated"])
def test_a_checkpoint_that_is_written_again_while_it_waits_is_evaluated_anew(
    land: Landed, weights: Path, tmp_path: Path, annotated: bool
) -> None:
    land(1)
    store, run = answered_in_part(tmp_path)
    land(2)
    first = models(store, run)["checkpoint-1"].id
    if annotated:
        recorder = Recorder(store, run)
        [example, *_] = recorder.column(records.StoredResponse, "example_id", model_id=first)
        said = {"kind": "note", "value": "Good.", "annotator": "ann", "created": 1.0}
        recorder.append(records.Annotation(run_id=run, example_id=example, left_id=first, **said))
        recorder.close()
    file = "adapter_model.safetensors"
    shutil.copy(weights / "checkpoint-2" / file, tmp_path / "outputs/checkpoint-1" / file)
    work_here(store, run)
    values = {point.candidate: point.value for point in trends.curve(connected(store), LOSS, run)}
    assert values["checkpoint-1"] == values["checkpoint-2"] is not None
    found = models(store, run)
    assert "evaluated" in checkpoint(store, run, 1)
    earlier = [name for name in found if "earlier" in name]
    assert earlier == (["checkpoint-1 (earlier files)"] if annotated else [])
    assert count(store, "annotation") == annotated
    assert all(found[name].id == first and found[name].passed is None for name in earlier)
    assert [row.name for row in live.checkpoints(connected(store), run)] == ["checkpoint-2", "checkpoint-1"]
    passed = history.run(connected(store), run).passed
    assert passed == (found["checkpoint-1"].passed and found["checkpoint-2"].passed)
    judged = {verdict.candidate for verdict in gather_report(connected(store), run).decision}
    assert judged == {"checkpoint-1", "checkpoint-2"}
    positions = [row[0] for row in connected(store).execute("SELECT position FROM model")]
    assert len(set(positions)) == len(positions)


def test_a_checkpoint_that_is_written_again_while_it_is_evaluated_is_evaluated_anew(
    land: Landed, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    land(1)
    land(2)
    store, real, asked = tmp_path / "store", execute._weights_of, []

    def rewrite(work: Any, model: Any, loader: Any) -> None:
        real(work, model, loader)
        asked.append(model.name)
        if asked == ["base", "checkpoint-1"]:
            file = "adapter_model.safetensors"
            shutil.copy(weights / "checkpoint-2" / file, tmp_path / "outputs/checkpoint-1" / file)

    monkeypatch.setattr(execute, "_weights_of", rewrite)
    run = launch.follow(plan_in(tmp_path), store, tmp_path / "outputs", once=True)
    work_here(store, run)
    assert asked.count("checkpoint-1") == 2
    values = {point.candidate: point.value for point in trends.curve(connected(store), LOSS, run)}
    assert values["checkpoint-1"] == values["checkpoint-2"] is not None
    assert [event for event in events(store) if "checkpoint-1 was written again meanwhile" in event]


def test_weights_that_do_not_fit_their_base_end_nothing(land: Landed, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    file = land(1) / "adapter_model.safetensors"
    save_file({name: tensor[:1].contiguous() for name, tensor in load_file(file).items()}, file)
    land(2, of=2)
    store = tmp_path / "store"
    run = launch.follow(plan_in(tmp_path), store, tmp_path / "outputs")
    work_here(store, run)
    assert [event for event in events(store) if event.startswith("checkpoint-1 cannot be evaluated")]
    assert models(store, run)["checkpoint-2"].passed is not None


def test_checkpoints_that_the_training_deletes_are_not_missed(land: Landed, tmp_path: Path) -> None:
    store, outputs, plan = tmp_path / "store", tmp_path / "outputs", plan_in(tmp_path)
    for step in (1, 2, 3):
        folder = land(step)
        run = launch.follow(plan, store, outputs, once=True)
        work_here(store, run)
        shutil.rmtree(folder)
    assert list(models(store, run)) == ["base", "checkpoint-1", "checkpoint-2", "checkpoint-3"]
    assert len(trends.curve(connected(store), LOSS, run)) == 3


def test_a_gate_writes_stop_with_its_reason_and_the_following_ends(land: Landed, tmp_path: Path) -> None:
    land(1)
    land(2)
    plan = plan_in(tmp_path, 'stop_after = 2\n[gates.metrics]\n"eval_loss:nothing" = 0.0')
    store = tmp_path / "store"
    run = launch.follow(plan, store, tmp_path / "outputs")
    work_here(store, run)
    stop = (tmp_path / "outputs/STOP").read_text()
    assert stop.startswith(f"assay run {run}: checkpoint-1, checkpoint-2 failed a gate\n")
    assert "checkpoint-2: eval_loss:nothing was not measured" in stop
    assert history.run(connected(store), run).status == "finished"
    assert not list((tmp_path / "outputs").glob(".STOP*"))

    (tmp_path / "outputs/STOP").unlink()
    assert launch.follow(plan, store, tmp_path / "outputs", once=True) == run
    work_here(store, run)
    assert not (tmp_path / "outputs/STOP").exists(), (
        "who removes it to train on is not stopped again by these"
    )


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Nothing is measured, and each checkpoint fails a gate; their names."""
    names: list[str] = []

    def evaluate(work: Any, known: dict[str, Any] | None = None) -> None:
        if known is not None:
            execute._declare_models(work, known)
            names.append(known["folder"])
            work.recorder.set_model(work.model_ids[known["folder"]], passed=False)

    monkeypatch.setattr(execute, "_evaluate", evaluate)
    return names


def stops(tmp_path: Path, once: bool = True, **asked: Any) -> str:
    """What STOP says after a checkpoint of the training has failed a gate; "" where there is none."""
    run = launch.follow(
        plan_in(tmp_path, "stop_after = 1"), tmp_path / "store", tmp_path / "outputs", once=once
    )
    people.follow_on(connected(tmp_path / "store"), run, asked)
    work_here(tmp_path / "store", run)
    stop = tmp_path / "outputs/STOP"
    return stop.read_text().splitlines()[0] if stop.exists() else ""


def test_stop_waits_for_the_newest_whole_checkpoint(land: Landed, tmp_path: Path, failing: list[str]) -> None:
    for step in (1, 2):
        land(step)
    cut(land(3) / "adapter_model.safetensors")
    assert "checkpoint-2 failed a gate" in stops(tmp_path)
    assert failing == ["checkpoint-1", "checkpoint-2"]


def test_a_checkpoint_that_landed_meanwhile_is_evaluated_before_stop(
    land: Landed, tmp_path: Path, failing: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    land(1)
    evaluate = execute._evaluate

    def slowly(work: Any, known: Any = None) -> None:
        evaluate(work, known=known)
        if failing == ["checkpoint-1"]:
            land(2)

    monkeypatch.setattr(execute, "_evaluate", slowly)
    assert "checkpoint-2 failed a gate" in stops(tmp_path, once=False)


def test_no_checkpoint_beyond_the_last_one_asked_for_is_waited_for(
    land: Landed, tmp_path: Path, failing: list[str]
) -> None:
    land(1)
    land(2)
    assert "checkpoint-1 failed a gate" in stops(tmp_path, until=1)


@pytest.mark.parametrize(("last", "told"), [(1, {}), (100, {"over": True})], ids=["last step", "ended early"])
def test_a_training_that_is_over_is_not_stopped(
    land: Landed, tmp_path: Path, failing: list[str], last: int, told: dict[str, bool]
) -> None:
    land(1, of=last)
    assert stops(tmp_path, **told) == ""
    assert failing == ["checkpoint-1"]


def test_a_folder_without_a_step_is_told_and_not_evaluated(
    land: Landed, tmp_path: Path, failing: list[str]
) -> None:
    land(1)
    land(2, of=None).rename(tmp_path / "outputs/checkpoint-best")
    stops(tmp_path)
    assert failing == ["checkpoint-1"]
    [told] = [event for event in events(tmp_path / "store") if "checkpoint-best" in event]
    assert told.endswith("neither its name nor its trainer_state.json tells a training step")


def test_the_test_split_is_never_looked_at(land: Landed, tmp_path: Path) -> None:
    land(1)
    plan = plan_in(tmp_path, data='split = "test"\nratios = [0.0, 0.5, 0.5]')
    run = launch.follow(plan, tmp_path / "store", tmp_path / "outputs", once=True)
    work_here(tmp_path / "store", run)
    connection = connected(tmp_path / "store")
    splits = {row[0] for row in connection.execute("SELECT split FROM runexample")}
    assert splits == {"validation"}
    assert connection.execute("SELECT count(*) FROM splituse").fetchone()[0] == 0


def test_a_plan_without_a_sweep_has_its_candidates_replaced(land: Landed, tmp_path: Path) -> None:
    from tests.engine.checkpoints import BASE

    land(1)
    entries = f"""
[[models]]
name = "plain"
role = "baseline"
path = "{BASE}"
dtype = "float32"
device = "cpu"
[[models]]
name = "final"
role = "candidate"
path = "{BASE}"
adapter = "outputs/final"
"""
    plan = plan_in(tmp_path, models=entries)
    run = launch.follow(plan, tmp_path / "store", tmp_path / "outputs", once=True)
    work_here(tmp_path / "store", run)
    assert list(models(tmp_path / "store", run)) == ["plain", "checkpoint-1"]


def test_what_is_wrong_with_the_plan_is_said_before_the_first_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "outputs").mkdir()
    plan = plan_in(tmp_path, more="every = 2")
    with pytest.raises(BadInput, match="every"):
        launch.follow(plan, tmp_path / "store", tmp_path / "outputs")
    with pytest.raises(BadInput, match="no such folder"):
        launch.follow(plan_in(tmp_path), tmp_path / "store", tmp_path / "output")
    plan.write_text(plan.read_text().replace("general =", "validation ="))
    with pytest.raises(BadInput, match="another name"):
        launch.follow(plan, tmp_path / "store", tmp_path / "outputs")


def test_shards_without_their_index_are_not_whole(tmp_path: Path) -> None:
    model = tmp_path / "checkpoint-5"
    shutil.copytree(SAMPLES / "models/base", model)
    assert unfinished(model) is None
    (model / "model.safetensors").rename(model / "model-00001-of-00002.safetensors")
    assert "lacks model.safetensors.index.json" in (unfinished(model) or "")
    (model / "model.safetensors.index.json").write_text('{"weight_map": ')
    assert "not valid JSON" in (unfinished(model) or "")
    (model / "model.safetensors.index.json").write_text('{"weight_map": null}')
    assert "weight_map" in (unfinished(model) or "")
    held = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (model / "model.safetensors.index.json").write_text(json.dumps({"weight_map": held}))
    assert "lacks model-00002-of-00002.safetensors" in (unfinished(model) or "")


def test_a_checkpoint_still_being_written_is_changing(tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint-1"
    checkpoint.mkdir()
    landing = execute.Landing(str(tmp_path / "checkpoint-*"))
    (checkpoint / "optimizer.pt").write_bytes(b"1")
    landing.look()
    assert landing.changing == {checkpoint}
    landing.look()
    assert not landing.changing
    (checkpoint / "optimizer.pt").write_bytes(b"12")
    landing.look()
    assert landing.changing == {checkpoint}


def test_a_trainers_state_is_read_again_only_where_it_changed(
    land: Landed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, real, states = [], execute.step_of, []
    monkeypatch.setattr(execute, "step_of", lambda path: (read.append(path.name), real(path))[1])
    monkeypatch.setattr(execute, "read_json", lambda path: (states.append(path), read_json(path))[1])
    land(1)
    land(2)
    landing = execute.Landing(str(tmp_path / "outputs/checkpoint-*"))
    for _ in range(3):
        landing.look()
        assert (landing.far, landing.is_trained) == ((2, 100), False)
    assert sorted(read) == ["checkpoint-1", "checkpoint-2"]
    assert len(states) == 3 * 2, "the folder's and the newest checkpoint's, once a look"
    (tmp_path / "outputs/checkpoint-2/trainer_state.json").write_text('{"global_step": 7, "max_steps": 7}')
    landing.look()
    assert list(landing.steps.values()) == [1, 7]
    assert landing.is_trained


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_the_curve_of_a_followed_training_goes_to_the_trackers_of_its_plan(
    land: Landed, tmp_path: Path
) -> None:
    pytest.importorskip("tensorboard", reason="assay[tensorboard]")
    from tensorboard.backend.event_processing.directory_watcher import DirectoryDeletedError
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for step in (1, 2):
        land(step, of=2)
    plan = plan_in(tmp_path, '[track]\nto = ["tensorboard"]\nfolder = "curves"')
    store = tmp_path / "store"
    run = launch.follow(plan, store, tmp_path / "outputs", once=True)
    work_here(store, run)

    curve = f"checkpoint/{LOSS.replace(':', '_')}"

    def steps() -> list[int]:
        """What is there by now; each sending puts a new folder in the place of the one before."""
        for folder in (tmp_path / "curves").glob("[!.]*"):
            read = EventAccumulator(str(folder))
            with suppress(DirectoryDeletedError):
                read.Reload()
            if curve in read.Tags()["tensors"]:
                return [event.step for event in read.Tensors(curve)]
        return []

    deadline = time.monotonic() + DEADLINE
    while steps() != [1, 2]:
        assert time.monotonic() < deadline, history.tracks(connected(store), run)
        time.sleep(0.1)


def test_values_in_place_of_the_plans_are_in_the_run_and_another_value_is_another_run(
    land: Landed, tmp_path: Path
) -> None:
    land(1)
    plan, store, outputs = plan_in(tmp_path), tmp_path / "store", tmp_path / "outputs"
    given = ("generation.max_new_tokens=3",)
    run = launch.follow(plan, store, outputs, settings=given)
    assert "max_new_tokens = 3" in history.run(connected(store), run).plan
    assert launch.follow(plan, store, outputs, settings=given) == run
    assert launch.follow(plan, store, outputs) != run
