"""The real vLLM with the sample models: the same texts, probes and perplexities as here, and clean ends.

`make test-vllm` makes its environment and runs these.
"""

import json
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM

from engine.benchmarks.harness import ServedCountingModel
from engine.data.example import Example
from engine.data.examples import read_examples
from engine.metrics.perplexity import conditional_nll, corpus_nll
from engine.models.holder import Holder, served
from engine.models.local import LocalModel
from engine.models.model import Settings
from engine.models.served import ServedModel, holding
from engine.plan.plan import Compute, Model, read_plan
from engine.servers import control
from engine.servers.engines import installed
from engine.servers.started import StartedServer
from tests.e2e.conftest import queue, reader, wait_until
from tests.e2e.forked import Worker, rows

ROOT = Path(__file__).parents[2]
PROGRAM = Path(os.environ.get("ASSAY_VLLM_PROGRAM", ROOT / ".venv-vllm/bin/vllm"))
pytestmark = pytest.mark.skipif(
    not PROGRAM.exists(), reason="no vLLM here: `make test-vllm` installs it and runs these"
)
SAMPLES = ROOT / "samples"
SETTINGS = Settings(max_new_tokens=40)
MODELS = [
    {"name": "base"},
    {"name": "prompted", "system": (SAMPLES / "prompts/tickets.md").read_text()},
    *(
        {"name": name, "adapter": SAMPLES / "models/adapters" / name}
        for name in ("good", "overfit", "no-effect")
    ),
]


def models() -> list[Model]:
    path = str(SAMPLES / "models/base")
    return [Model.model_validate({"role": "candidate", "path": path, **one}) for one in MODELS]


@pytest.fixture(scope="module")
def examples() -> list[Example]:
    return read_examples(SAMPLES / "eval/domain.jsonl")[:12]


@pytest.fixture(scope="module")
def server() -> Iterator[StartedServer]:
    vllm = installed("vllm", Compute.model_construct(vllm=PROGRAM))
    (group,), others = served(models(), vllm)
    assert not others
    with closing(StartedServer(vllm, holding(vllm, group, Compute(), None))) as made:
        yield made
    assert not processes()
    control.forget()


def processes() -> list[psutil.Process]:
    """Of any vLLM that this program of the environment runs."""
    python = str(PROGRAM.parent)
    return [
        one
        for one in psutil.process_iter(["cmdline"])
        if any(python in part for part in one.info["cmdline"] or ())
    ]


def both(server: StartedServer, model: Model, here: Holder) -> tuple[LocalModel, LocalModel]:
    return Holder(None, server).model(model), here.model(model)


def texts(model: LocalModel, examples: list[Example], settings: Settings = SETTINGS) -> dict[str, object]:
    return {
        r.example_id: (r.text, r.tokens_in, r.tokens_out, r.finish_reason)
        for batch in model.generate(examples, settings)
        for r in batch
    }


def test_greedy_answers_of_base_prompt_and_adapters_are_those_of_transformers(
    server: StartedServer, examples: list[Example]
) -> None:
    here = Holder(None)
    for model in models():
        there, own = both(server, model, here)
        assert texts(there, examples) == texts(own, examples), model.name


def test_stop_strings_and_penalties_are_applied_alike(server: StartedServer, examples: list[Example]) -> None:
    there, own = both(server, models()[2], Holder(None))
    for settings in (
        Settings(max_new_tokens=40, stop=(",",)),
        Settings(max_new_tokens=40, repetition_penalty=1.2),
    ):
        assert texts(there, examples, settings) == texts(own, examples, settings)


def test_sampled_answers_are_the_same_when_asked_again(
    server: StartedServer, examples: list[Example]
) -> None:
    settings = Settings(max_new_tokens=40, temperature=1.0, top_p=0.9, seed=5)
    there = Holder(None, server).model(models()[0])
    first = texts(there, examples, settings)
    assert first == texts(there, examples[::-1], settings) != texts(there, examples)


def test_the_probe_finds_the_adapter_without_effect(server: StartedServer, examples: list[Example]) -> None:
    here = Holder(None)
    found = {}
    for model in models()[2:]:
        there, own = both(server, model, here)
        found[model.name] = there.probe(examples).max_difference
        assert (found[model.name] > 1e-6) == (own.probe(examples).max_difference > 1e-6)
    assert found["no-effect"] == 0 < 1 < found["good"]


def test_perplexities_are_those_of_the_weights_here(server: StartedServer, examples: list[Example]) -> None:
    here = Holder(None)
    items = [(example, example.references[0]) for example in examples]
    passage = " ".join(example.query for example in examples) * 3
    for model in models():
        there, own = both(server, model, here)
        expected = {nll.example_id: nll for nll in conditional_nll(own, items)}
        for nll in conditional_nll(there, items):
            assert nll.nll == pytest.approx(expected[nll.example_id].nll, rel=1e-3), model.name
            assert nll.end == pytest.approx(expected[nll.example_id].end, rel=1e-3, abs=1e-4)
        (long,), (own_long,) = corpus_nll(there, [(0, passage)]), corpus_nll(own, [(0, passage)])
        assert long.tokens == own_long.tokens > 512  # in windows of the whole context
        assert long.nll == pytest.approx(own_long.nll, rel=1e-3)


@pytest.mark.parametrize("limit", [None, 64])
def test_benchmarks_score_as_lm_eval_does_also_what_is_cut(
    server: StartedServer, examples: list[Example], monkeypatch: pytest.MonkeyPatch, limit: int | None
) -> None:
    if limit:  # the server has room for more: what this client makes of the limit is tried
        monkeypatch.setattr(server, "holding", replace(server.holding, limit=limit, length=limit + 1))
    there, own = both(server, models()[2], Holder(None))
    assert isinstance(there, ServedModel)
    long = " ".join(example.query for example in examples) * 3
    generating = {"until": ["!"], "max_gen_toks": 30, "do_sample": False}
    asked = ServedCountingModel(there, lambda: 6, lambda done, total: None)
    with own.active() as active:
        harness = HFLM(pretrained=active, tokenizer=own.tokenizer, max_length=limit)
        for kind, told in {
            "loglikelihood": [("Is it open?", " Yes, it is."), (long, " Yes, it is.")],
            "loglikelihood_rolling": [("Is it open?",), (long,)],
            "generate_until": [(examples[0].query, generating), (long, generating)],
        }.items():
            requests = [Instance(kind, {}, arguments, place) for place, arguments in enumerate(told)]
            found = getattr(asked, kind)(requests)
            expected = getattr(harness, kind)(requests, disable_tqdm=True)
            for one, other in zip(found, expected, strict=True):
                assert one == (other if isinstance(other, str) else pytest.approx(other, rel=1e-4)), kind
    assert str(asked.note).startswith("2 of 6 texts were cut")


def test_kill_9_of_the_server_loses_no_answer(server: StartedServer, examples: list[Example]) -> None:
    there, own = both(server, models()[2], Holder(None))
    expected, found = texts(own, examples), {}
    assert server._running is not None and server._running._process is not None
    (api,) = psutil.Process(server._running._process.pid).children()
    for batch in there.generate(examples * 1, SETTINGS):
        if api.is_running() and not found:
            os.kill(api.pid, signal.SIGKILL)
        found |= {r.example_id: (r.text, r.tokens_in, r.tokens_out, r.finish_reason) for r in batch}
    assert found == expected
    assert server._died == 1


def test_a_run_survives_kill_9_of_its_worker_and_a_pause(tmp_path: Path) -> None:
    text = (SAMPLES / "plans/quickstart.toml").read_text().replace('"../', f'"{SAMPLES}/')
    text = text.replace("batch_size = 50", f'engine = "vllm"\n[compute]\nvllm = {json.dumps(str(PROGRAM))}')
    text = text.replace("[data]", "[data]\nsample = 30")
    plan = tmp_path / "plan.toml"
    plan.write_text(text)
    store, here, others = tmp_path / "store", tmp_path / "here", set(processes())
    run = queue(store, plan)
    worker = Worker(store, run, kill_at=(20, ("response",)))
    worker.wait(300)
    assert worker.poll() == -signal.SIGKILL
    psutil.wait_procs([one for one in processes() if one not in others], 15)
    assert set(processes()) <= others
    before = rows(store, "response")
    worker = Worker(store, run)
    assert wait_until(lambda: rows(store, "response") > before + 20, worker)
    os.kill(worker.pid, signal.SIGTERM)  # a batch system's way to ask for a pause
    assert worker.wait(60) == 0 and set(processes()) <= others
    assert rows(store, "response") < 150
    assert Worker(store, run).wait(400) == 0
    assert before >= 20 and set(processes()) <= others
    plan.write_text(text.replace('engine = "vllm"', "").replace(f"vllm = {json.dumps(str(PROGRAM))}", ""))
    assert Worker(here, queue(here, plan)).wait(300) == 0
    with closing(reader(store)) as one, closing(reader(here)) as other:
        assert answered(one) == answered(other)
        assert benchmarks(one) == benchmarks(other)
        assert perplexities(one) == pytest.approx(perplexities(other), rel=1e-3) != {}
        (engine,) = one.execute("SELECT DISTINCT json_extract(details, '$.engine') FROM model").fetchone()
        assert engine.startswith("vllm")
    assert read_plan(plan).generation.engine == "transformers"
    shutil.rmtree(here)


def answered(connection: object) -> dict[tuple[str, str], str]:
    query = """SELECT m.name, e.position, r.text FROM response r JOIN model m ON m.id = r.model_id
               JOIN example e ON e.id = r.example_id"""
    return {(name, place): text for name, place, text in connection.execute(query)}  # type: ignore[attr-defined]


def perplexities(connection: object) -> dict[tuple[str, str], float]:
    query = """SELECT m.name, e.position, s.value FROM score s JOIN model m ON m.id = s.model_id
               JOIN example e ON e.id = s.example_id WHERE s.measure = 'perplexity'"""
    return {(name, place): value for name, place, value in connection.execute(query)}  # type: ignore[attr-defined]


def benchmarks(connection: object) -> set[tuple[str, str, str, float]]:
    query = """SELECT m.name, b.task, b.metric, b.value FROM benchmarkscore b
               JOIN model m ON m.id = b.model_id"""
    return set(connection.execute(query))  # type: ignore[attr-defined]
