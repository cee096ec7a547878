"""lm-eval really run on small local tasks, against its own command's numbers."""

import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from jinja2.exceptions import SecurityError
from lm_eval import simple_evaluate
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

from engine.benchmarks.harness import (
    CountingModel,
    KnownTask,
    ServedCountingModel,
    TaskResult,
    check_tasks,
    identity,
    run_tasks,
)
from engine.benchmarks.tasks import task_manager
from engine.errors import BadInput, CannotRun
from engine.models.local import LocalBase, LocalModel
from engine.models.served import ServedModel
from engine.plan.plan import Benchmarks, Model
from engine.servers.engines import Holding, Sglang, Vllm
from engine.servers.wire import Reply
from tests.benchmarks.tiny_tasks import CHOICE, FILTERED, GROUP, SECOND, write_task, write_tasks
from tests.models.tiny import CONTEXT, TEMPLATE, make_adapter, make_model

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
    folder = write_tasks(tmp_path_factory.mktemp("tasks"), CHOICE, OPEN, SECOND, FILTERED, GROUP)
    yield folder
    shutil.rmtree(folder)


def local(base: Path, adapter: Path | None = None, **more: Any) -> LocalModel:
    model = Model(name="m", role="baseline", path=str(base), adapter=adapter, device="cpu", **more)
    return LocalBase(str(base), device="cpu").generator(model)


def run(model: LocalModel, include: Path, *tasks: str, **settings: Any) -> dict[str, TaskResult]:
    plan = Benchmarks(tasks=tasks, include=include, **settings)
    results = run_tasks(model, plan, tasks)
    return {result.task: result for result in results if isinstance(result, TaskResult)}


def test_the_numbers_are_lm_evals_own(base: Path, include: Path, tmp_path: Path) -> None:
    own = yaml.safe_load((include / "tiny_choice.yaml").read_text())
    own["dataset_kwargs"] = {
        "data_files": {"test": str(include / "colours.jsonl")},
        "cache_dir": str(tmp_path / "c"),
    }
    (tmp_path / "tasks").mkdir()
    write_task(tmp_path / "tasks", own)
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
    steps: list[tuple[str, int, int]] = []
    tasks = ("tiny_choice", "tiny_open")
    settings = Benchmarks(tasks=tasks, include=include, limit=5)
    results = run_tasks(local(base), settings, tasks, lambda *step: steps.append(step))
    choice = next(results)
    assert isinstance(choice, TaskResult) and choice.task == "tiny_choice"
    assert (steps[0], steps[-1]) == (("tiny_choice", 0, 15), ("tiny_choice", 15, 15))
    opened = next(results)
    assert isinstance(opened, TaskResult)
    assert (opened.task, opened.scores[0].metric, opened.scores[0].n) == ("tiny_open", "exact_match", 5)
    assert steps[-1] == ("tiny_open", 5, 5)
    sample = choice.samples[1]
    assert "<|user|>the cat 1\nAnswer:</s>" in sample.question
    assert sample.target == "green"
    assert sample.answer in ("red", "green", "blue")
    assert sample.value == float(sample.answer == sample.target)
    assert sample.likelihoods is not None and sample.correct == 1
    assert sample.answer == ("red", "green", "blue")[sample.likelihoods.index(max(sample.likelihoods))]
    assert opened.samples[0].likelihoods is None


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
    halved = run(model, include, "tiny_choice", batch_size=8)["tiny_choice"].samples
    for sample, before in zip(halved, expected, strict=True):
        # The last bits of a likelihood depend on the batch.
        assert sample.likelihoods == pytest.approx(before.likelihoods, rel=1e-4)
        assert replace(sample, likelihoods=None) == replace(before, likelihoods=None)
    assert any("out of memory" in note for note in model.describe()["notes"])


def test_a_task_that_fails_does_not_stop_the_others(base: Path, include: Path, tmp_path: Path) -> None:
    shutil.copytree(include, tmp_path, dirs_exist_ok=True)
    write_task(tmp_path, CHOICE | {"task": "tiny_broken", "doc_to_text": "{{question.nothing.there}}"})
    tasks = ("tiny_broken", "tiny_choice")
    results = run_tasks(local(base), Benchmarks(tasks=tasks, include=tmp_path), tasks)
    assert next(results).task == "tiny_choice"
    with pytest.raises(CannotRun, match="1 of 2 benchmark tasks failed\n  tiny_broken: "):
        next(results)


def test_a_template_of_a_task_file_cannot_reach_python(include: Path) -> None:
    from lm_eval import utils

    with task_manager(include, ("tiny_choice",)):
        assert utils.apply_template("{{ a | regex_replace('b', 'c') }}\n", {"a": "abb"}) == "acc\n"
        for template in ("{{ a.__class__.__mro__ }}", "{{ cycler.__init__.__globals__.os.getpid() }}"):
            with pytest.raises(SecurityError):
                utils.apply_template(template, {"a": "abb"})


def test_unknown_tasks_are_refused_with_the_nearest_names(base: Path, include: Path) -> None:
    with pytest.raises(BadInput, match=r"Unknown benchmark task 'tiny_chioce'\. Nearest: tiny_choice"):
        run(local(base), include, "tiny_choice", "tiny_chioce")


def test_data_that_is_not_there_is_named_before_the_run(include: Path, tmp_path: Path) -> None:
    write_task(tmp_path, CHOICE)
    [problem] = check_tasks(("tiny_choice",), tmp_path)
    assert problem.message == "Task 'tiny_choice': no such data file: colours.jsonl"
    assert check_tasks(("tiny_choice",), include) == []


def test_nothing_is_left_beside_the_data(base: Path, include: Path) -> None:
    before = sorted(include.rglob("*"))
    run(local(base), include, "tiny_open", limit=2)
    assert sorted(include.rglob("*")) == before


def test_a_group_has_its_own_score_beside_its_members(base: Path, include: Path) -> None:
    found = run(local(base), include, "tiny_group")["tiny_group"]
    values = {score.task: score for score in found.scores}
    assert values.keys() == {"tiny_group", "tiny_choice", "tiny_second"}
    assert found.members == {"tiny_group": ("tiny_choice", "tiny_second")}
    group = values["tiny_group"]
    assert (group.n, group.version, group.higher_is_better) == (16, "3.0", True)
    assert group.value == sum(sample.value for sample in found.samples) / 16
    assert len({score.task_hash for score in found.scores}) == 3


def test_every_filter_of_a_task_has_scores_and_samples(base: Path, include: Path) -> None:
    found = run(local(base), include, "tiny_filtered")["tiny_filtered"]
    assert [(score.metric, score.filter) for score in found.scores] == [
        ("exact_match", "strict-match"), ("exact_match", "flexible-extract"),
    ]  # fmt: skip
    assert {sample.filter for sample in found.samples} == {"strict-match", "flexible-extract"}
    assert len(found.samples) == 16


def test_a_batch_size_that_is_found_on_the_way_changes_no_number(base: Path, include: Path) -> None:
    model = local(base)
    expected = run(model, include, "tiny_choice")["tiny_choice"]
    found = run(model, include, "tiny_choice", batch_size="auto")["tiny_choice"]
    assert (found.samples, found.identity) == (expected.samples, expected.identity)


def test_what_is_known_is_not_asked_again(base: Path, include: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = local(base)
    known = run(model, include, "tiny_choice")["tiny_choice"].identity
    settings = Benchmarks(tasks=("tiny_choice",), include=include)
    monkeypatch.setattr(LlamaForCausalLM, "forward", lambda *_, **__: pytest.fail("the model was asked"))
    assert list(run_tasks(model, settings, ("tiny_choice",), known={known})) == [
        KnownTask("tiny_choice", known)
    ]


def test_an_identity_is_that_of_weights_and_questions(base: Path, include: Path, tmp_path: Path) -> None:
    model = local(base)
    adapted = local(base, make_adapter(tmp_path / "adapter", base))
    other = write_tasks(tmp_path / "tasks", CHOICE | {"metric_list": [{"metric": "acc_norm"}]})
    edited = write_tasks(tmp_path / "edited", CHOICE)
    rows = (edited / "colours.jsonl").read_text()
    (edited / "colours.jsonl").write_text(rows.replace("the cat 5", "the dog 5"))
    moved = shutil.copytree(include, tmp_path / "moved")

    def of(asked: LocalModel, folder: Path, **settings: Any) -> str:
        return run(asked, folder, "tiny_choice", **settings)["tiny_choice"].identity

    same = of(model, include)
    assert of(model, moved, batch_size=3) == same
    others = [
        of(adapted, include), of(model, include, limit=3), of(model, include, shots=1), of(model, other),
        of(model, include, apply_chat_template=False), of(model, edited),
    ]  # fmt: skip
    assert len({same, *others}) == 7


class _Task:
    """As much of an lm-eval task as is hashed."""

    VERSION = 1

    def __init__(self, prompt: str) -> None:
        self.instances = [
            Instance(request_type="loglikelihood", doc={"q": prompt}, arguments=(prompt, " a"), idx=0)
        ]

    def dump_config(self) -> dict[str, Any]:
        return {"metric_list": [{"metric": "acc"}]}


@given(st.tuples(st.text(), st.text()), st.tuples(st.text(), st.text()))
def test_other_weights_or_other_prompts_never_have_one_identity(
    first: tuple[str, str], second: tuple[str, str]
) -> None:
    hashes = [identity(weights, {"tasks": {"t": _Task(prompt)}}) for weights, prompt in (first, second)]
    assert (hashes[0] == hashes[1]) == (first == second)


def test_data_sets_of_the_hub_are_named_with_the_command_that_fetches_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for name in ("first", "second"):
        hub = CHOICE | {"task": f"tiny_{name}", "dataset_path": "org/Colours", "dataset_name": name}
        write_task(tmp_path, hub | {"dataset_kwargs": {"revision": "v1"}})
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    [problem] = check_tasks(("tiny_first", "tiny_second"), tmp_path)
    assert "'org/Colours', which tiny_first and 1 other tasks need, is not on this machine" in problem.message
    (tmp_path / "datasets.py").write_text("def load_dataset(*names, **settings): print(names, settings)\n")
    command = problem.hint.partition(": python ")[2]
    ran = subprocess.run(
        ["bash", "-c", f"{sys.executable} {command}"], env={"PYTHONPATH": str(tmp_path)}, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    assert ran.stdout.splitlines() == [
        f"('org/Colours', '{name}') {{'revision': 'v1'}}" for name in ("first", "second")
    ]
    (tmp_path / "cache" / "org___colours" / "first" / "0.0.0" / "abc").mkdir(parents=True)
    [left] = check_tasks(("tiny_first", "tiny_second"), tmp_path)
    assert "which tiny_second needs" in left.message


def test_the_templates_variables_reach_the_questions(base: Path) -> None:
    model = local(base, chat_template_kwargs={"enable_thinking": False})
    model.tokenizer.chat_template = "{{ messages[0].content }}{{ ' /no_think' if not enable_thinking }}"
    with model.active() as active:
        asked = CountingModel(active, model, 1, lambda: 0, lambda done, total: None)
        assert asked.apply_chat_template([{"role": "user", "content": "hi"}]) == "hi /no_think"


def test_a_date_in_the_chat_template_is_the_same_in_every_run_with_one_bos(base: Path) -> None:
    model = local(base)
    dated = "{{ strftime_now('%d %b %Y') }} {{ m.content }}"
    model.tokenizer.chat_template = TEMPLATE.replace("{{ m.content }}", dated)
    with model.active() as active:
        asked = CountingModel(active, model, 1, lambda: 0, lambda done, total: None)
        text = asked.apply_chat_template([{"role": "user", "content": "the cat"}])
        assert text == "<s><|user|>26 Jul 2024 the cat</s><|assistant|>"
        ids = asked.tok_batch_encode([text])[0][0].tolist()
    assert asked.tok_encode(text) == ids and ids.count(model.tokenizer.bos_token_id) == 1


class Weights:
    """A started server whose answers are those of weights that are here, held to its own length."""

    def __init__(self, base: LocalBase, limit: int | None, kind: type[Vllm | Sglang] = Vllm) -> None:
        self.engine = kind(Path("program"), "1", Path("python"), "package")
        longest = (limit or CONTEXT) + 1
        self.holding = Holding(base.folder, (), 0, (), "float32", longest, "cpu", limit=limit)
        self._model = base.model

    def ask(self, name: str, questions: Sequence[Mapping[str, Any]]) -> Iterator[list[tuple[int, Reply]]]:
        yield [(place, self._answer(question)) for place, question in enumerate(questions)]

    def _answer(self, question: Mapping[str, Any]) -> Reply:
        ids, room = question["prompt"], question["max_tokens"]
        assert len(ids) + room <= self.holding.length
        with torch.inference_mode():
            told = self._model(torch.tensor([ids])).logits[0].log_softmax(dim=-1)
            new = self._model.generate(torch.tensor([ids]), max_new_tokens=room, do_sample=False)
        choice: dict[str, Any] = {"token_ids": new[0, len(ids) :].tolist()}
        if "prompt_logprobs" in question:
            own = [(token, float(row[token]), row) for token, row in zip(ids[1:], told, strict=False)]
            choice["prompt_logprobs"] = [
                None,
                *(
                    {str(t): {"logprob": value, "rank": 1 + int((row > value).sum())}}
                    for t, value, row in own
                ),
            ]
        if "logprobs" in question:
            last = {f"token_id:{token}": float(value) for token, value in enumerate(told[-1])}
            choice["logprobs"] = {"top_logprobs": [last]}
        return Reply("", "length", len(ids), room, "base", 0.1, choice=choice)


def served(base: Path, limit: int | None, kind: type[Vllm | Sglang] = Vllm) -> ServedModel:
    opened = LocalBase(str(base), device="cpu")
    model = Model(name="m", role="baseline", path=str(base), device="cpu")
    return ServedModel(opened, model, Weights(opened, limit, kind))  # type: ignore[arg-type]


LONG = "the cat sat on the mat and the dog ran " * 12
REQUESTS = {
    "loglikelihood": [("the cat", " sat on"), (LONG, " the dog"), (LONG, LONG[:30])],
    "loglikelihood_rolling": [("the dog ran",), (LONG,)],
    "generate_until": [
        (text, {"until": ["!"], "max_gen_toks": 4, "do_sample": False}) for text in ("the cat", LONG)
    ],
}


@pytest.mark.parametrize("limit", [None, 32])
def test_a_server_is_held_to_the_models_context_or_the_plans_and_scores_as_lm_eval_does(
    base: Path, limit: int | None
) -> None:
    weights, tokenizer = AutoModelForCausalLM.from_pretrained(base), AutoTokenizer.from_pretrained(base)
    asked = ServedCountingModel(served(base, limit), lambda: 7, lambda done, total: None)
    own = HFLM(pretrained=weights, tokenizer=tokenizer, max_length=limit)
    for kind, told in REQUESTS.items():
        requests = [Instance(kind, {}, arguments, place) for place, arguments in enumerate(told)]
        found, expected = getattr(asked, kind)(requests), getattr(own, kind)(requests, disable_tqdm=True)
        for one, other in zip(found, expected, strict=True):
            assert one == (other if isinstance(other, str) else pytest.approx(other, rel=1e-4)), kind
    whose = f"the plan's max_model_len of {limit}" if limit else f"the model's context of {CONTEXT}"
    assert asked.note == f"3 of 7 texts were cut at their beginning to fit {whose} tokens"


def test_a_server_that_foretells_nothing_reads_a_token_less_and_leaves_none_out(base: Path) -> None:
    asked = ServedCountingModel(served(base, 32, Sglang), lambda: 1, lambda done, total: None)
    own = HFLM(pretrained=asked._served.base.model, tokenizer=asked.tokenizer, max_length=31)
    requests = [Instance("loglikelihood_rolling", {}, (LONG,), 0)]
    assert asked.loglikelihood_rolling(requests) == pytest.approx(
        own.loglikelihood_rolling(requests, disable_tqdm=True), rel=1e-4
    )


def test_scores_of_cut_texts_say_so_and_stand_for_no_others(base: Path, include: Path) -> None:
    whole, cut = (run(served(base, limit), include, "tiny_choice")["tiny_choice"] for limit in (None, 16))
    assert whole.scores[0].reason is None and whole.identity != cut.identity
    assert cut.scores[0].reason == (
        "24 of 24 texts were cut at their beginning to fit the plan's max_model_len of 16 tokens"
    )
    at_hand = run(local(base), include, "tiny_choice", shots=7)["tiny_choice"]
    assert "24 of 24 texts were cut" in str(at_hand.scores[0].reason)
    assert "to fit the model's context of 96" in str(at_hand.scores[0].reason)


def test_an_answer_longer_than_the_limit_is_no_score(base: Path, include: Path) -> None:
    with pytest.raises(CannotRun, match=r"exceeds the plan's max_model_len of 2"):
        run(served(base, 2), include, "tiny_choice")
    with pytest.raises(CannotRun, match=r"max tokens to generate \(4\) must be less than"):
        run(served(base, 4), include, "tiny_open")
