"""The real llama.cpp server with a GGUF file: the same texts as here, settings applied, clean ends.

`make test-llama` builds it and runs these. The file is the sample model's, so that no rounding of weights is
between the two engines.
"""

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from engine.data.example import Example
from engine.data.examples import read_examples
from engine.models.holder import Holder, served
from engine.models.local import LocalModel
from engine.models.model import Settings
from engine.models.served import holding
from engine.plan.plan import Compute, Model
from engine.servers import control
from engine.servers.engines import installed
from engine.servers.started import StartedServer
from tests.models.tiny import make_gguf

ROOT = Path(__file__).parents[2]
PROGRAM = Path(os.environ.get("ASSAY_LLAMA_SERVER", ROOT / ".venv-llama/bin/llama-server"))
pytestmark = pytest.mark.skipif(
    not PROGRAM.exists(), reason="no llama.cpp here: `make test-llama` builds it and runs these"
)
SAMPLES = ROOT / "samples"
SETTINGS = Settings(max_new_tokens=40)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Model]:
    file = make_gguf(tmp_path_factory.mktemp("export") / "base.gguf", SAMPLES / "models/base")
    told = (None, (SAMPLES / "prompts/tickets.md").read_text())
    return [
        Model(name=f"{place}", role="candidate", path=str(file), system=system)
        for place, system in enumerate(told)
    ]


@pytest.fixture(scope="module")
def examples() -> list[Example]:
    return read_examples(SAMPLES / "eval/domain.jsonl")[:12]


@pytest.fixture(scope="module")
def server(models: list[Model]) -> Iterator[StartedServer]:
    llama = installed("llama.cpp", Compute.model_construct(llama_server=PROGRAM))
    (group,), others = served(models, llama)
    assert not others
    with closing(StartedServer(llama, holding(llama, group, Compute(), 400, 4))) as made:
        yield made
        assert processes()
    assert not processes()
    control.forget()


def processes() -> list[psutil.Process]:
    return [
        one
        for one in psutil.process_iter(["cmdline"])
        if str(PROGRAM) in (one.info["cmdline"] or ()) and one.status() != "zombie"
    ]


def texts(model: LocalModel, examples: list[Example], settings: Settings = SETTINGS) -> dict[str, object]:
    return {
        r.example_id: (r.text, r.tokens_in, r.tokens_out, r.finish_reason)
        for batch in model.generate(examples, settings)
        for r in batch
    }


def test_greedy_answers_are_those_of_transformers(
    server: StartedServer, models: list[Model], examples: list[Example]
) -> None:
    here = Holder(None)
    for model in models:
        there = Holder(None, server).model(model)
        assert texts(there, examples) == texts(here.model(model), examples)
        assert not any("cuts texts" in note for note in there.describe()["notes"])


def test_stop_strings_and_penalties_are_applied_alike(
    server: StartedServer, models: list[Model], examples: list[Example]
) -> None:
    there, own = Holder(None, server).model(models[0]), Holder(None).model(models[0])
    for settings in (
        Settings(max_new_tokens=40, stop=(",",)),
        Settings(max_new_tokens=40, repetition_penalty=1.2),
    ):
        assert texts(there, examples, settings) == texts(own, examples, settings)


def test_sampled_answers_are_the_same_when_asked_again(
    server: StartedServer, models: list[Model], examples: list[Example]
) -> None:
    settings = Settings(max_new_tokens=40, temperature=1.0, top_p=0.9, top_k=50, min_p=0.01, seed=5)
    there = Holder(None, server).model(models[0])
    first = texts(there, examples, settings)
    assert first == texts(there, examples[::-1], settings) != texts(there, examples)
