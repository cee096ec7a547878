"""The same weights behind `transformers serve` and here give the same greedy answers."""

import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from engine.data.example import Example
from engine.data.examples import read_examples
from engine.models.local import LocalBase
from engine.models.model import Response, Settings
from engine.models.prompt import converse
from engine.models.server import ServerModel
from engine.plan.plan import Model, parse_plan
from tests.e2e.conftest import queue, reader
from tests.e2e.forked import Worker
from tests.models.serving import MODEL, ROOT, transformers_serve

SETTINGS = Settings(max_new_tokens=24)
TURNS = ("What is 2 plus 2?", "And 3 plus 4?", "Write a ticket: my parcel is late.")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with transformers_serve(tmp_path_factory.mktemp("serve") / "log") as address:
        yield address


@pytest.fixture(scope="module")
def examples() -> list[Example]:
    return read_examples(ROOT / "samples/eval/domain.jsonl")[:8]


def texts(batches: Iterator[list[Response]]) -> dict[str, tuple[str | None, int | None, tuple[str, ...]]]:
    return {r.example_id: (r.text, r.tokens_out, r.turns) for batch in batches for r in batch}


def served(address: str, **more: str) -> ServerModel:
    model = Model.model_validate(
        {"name": "served", "role": "candidate", "server": address, "model": MODEL} | more
    )
    return ServerModel(model, concurrency=3)


def test_chat_answers_are_those_of_the_weights_here(address: str, examples: list[Example]) -> None:
    here = LocalBase(str(ROOT / MODEL), "float32", "cpu").generator(
        Model(name="here", role="baseline", path=str(ROOT / MODEL))
    )
    found = texts(served(address).generate(examples, SETTINGS))
    assert found == texts(here.generate(examples, SETTINGS))
    assert len(found) == len(examples)


def test_conversations_go_on_alike_behind_a_server_and_here(address: str, examples: list[Example]) -> None:
    talk = replace(
        examples[0], id="talk", query=TURNS[0], messages=({"role": "user", "content": TURNS[0]},), turns=TURNS
    )
    here = LocalBase(str(ROOT / MODEL), "float32", "cpu").generator(
        Model(name="here", role="baseline", path=str(ROOT / MODEL))
    )
    found = texts(converse(served(address), [talk, examples[1]], SETTINGS))
    assert found == texts(converse(here, [talk, examples[1]], SETTINGS))
    assert len(found["talk"][2]) == 3


def test_completions_are_asked_like_a_model_without_a_template(
    address: str, examples: list[Example], tmp_path: Path
) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(ROOT / MODEL, bare)
    (bare / "chat_template.jinja").unlink()
    here = LocalBase(str(bare), "float32", "cpu").generator(
        Model(name="here", role="baseline", path=str(bare), system="Be brief.")
    )
    asked = served(address, api="completions", system="Be brief.")
    assert texts(asked.generate(examples, SETTINGS)) == texts(here.generate(examples, SETTINGS))


def sections() -> dict[str, str]:
    parts = re.split(r"^## ", (ROOT / "docs/servers.md").read_text(), flags=re.MULTILINE)
    return {part.splitlines()[0]: part for part in parts}


def plan_lines(section: str) -> str:
    return "\n".join(re.findall(r"```toml\n(.*?)```", section, re.DOTALL))


DATA = 'name = "served"\n[data]\nexamples = "samples/eval/domain.jsonl"\nsample = 6\n'
END = '[generation]\nmax_new_tokens = 12\n[metrics]\nuse = ["exact_match", "length"]\n'


@pytest.mark.parametrize("section", [name for name in sections() if "```toml" in sections()[name]])
def test_the_plan_lines_of_each_recipe_can_be_read(section: str) -> None:
    lines = plan_lines(sections()[section])
    if 'role = "baseline"' not in lines:
        lines += '[[models]]\nname = "before"\nrole = "baseline"\npath = "samples/models/base"\n'
    plan = parse_plan(DATA + lines + END, ROOT)
    assert any(model.kind == "server" for model in plan.candidates)


def test_the_recipe_for_transformers_serve_runs(address: str, tmp_path: Path) -> None:
    section = sections()["transformers serve"]
    assert f"transformers serve {MODEL}" in section
    lines = plan_lines(section).replace("http://127.0.0.1:8000/v1", address)
    lines = lines.replace('path = "samples', f'path = "{ROOT}/samples')
    plan = tmp_path / "plan.toml"
    plan.write_text(DATA.replace("samples/", f"{ROOT}/samples/") + lines + END)
    store = tmp_path / "store"
    run_id = queue(store, plan)
    assert Worker(store, run_id).wait(timeout=240) == 0
    rows = reader(store).execute(
        "SELECT m.name, e.example, r.text, r.tokens_in, r.tokens_out, r.latency_s FROM response r "
        "JOIN model m ON m.id = r.model_id JOIN example e ON e.id = r.example_id ORDER BY 2, 1"
    )
    here, there = [], []
    for name, *answer, latency in rows.fetchall():
        (here if name == "here" else there).append(answer)
        assert latency > 0
    assert here == there and len(here) == 6
