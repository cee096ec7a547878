import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from engine.run import launch
from tests.engine.runs import work_here
from tests.tui.history import build
from tui.cli.main import command, guarded

ASSAY = [sys.executable, "-m", "assay"]


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Assay = Callable[..., Ran]


@pytest.fixture(scope="session")
def history_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a passed, a failed and an unfinished run; not to be written to."""
    return build(tmp_path_factory.mktemp("history") / "store")


@pytest.fixture
def own_store(history_store: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(history_store, tmp_path / "own-store"))


@pytest.fixture
def assay(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Assay:
    """Runs a command line in this process, and the work of a run that it starts."""
    monkeypatch.setattr(launch, "start", work_here)

    def run(*arguments: str | Path) -> Ran:
        code = guarded(lambda: command([str(argument) for argument in arguments]))
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return run


@pytest.fixture
def process() -> Assay:
    """Runs a command line in a process of its own."""

    def run(*arguments: str | Path) -> Ran:
        done = subprocess.run(
            [*ASSAY, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=240
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def plan(tmp_path: Path) -> Callable[..., Path]:
    """Writes a plan that needs no model: what the baseline and the candidate said is recorded in files."""

    def write(*, candidate: str = "right", gates: str = "", more: str = "") -> Path:
        examples = [
            {"id": f"e{n}", "query": f"What is {n} and {n}?", "reference": f"It is {2 * n}."}
            for n in range(8)
        ]
        answers = {"right": [f"It is {2 * n}." for n in range(8)], "wrong": ["No idea."] * 8}
        lines(tmp_path / "eval.jsonl", examples)
        for name in ("right", "wrong"):
            said = [{"id": f"e{n}", "response": text} for n, text in enumerate(answers[name])]
            lines(tmp_path / f"{name}.jsonl", said)
        baseline = "wrong" if candidate == "right" else "right"
        file = tmp_path / "plan.toml"
        file.write_text(
            f"""name = "recorded"
[data]
examples = "eval.jsonl"
[[models]]
name = "before"
role = "baseline"
outputs = "{baseline}.jsonl"
[[models]]
name = "after"
role = "candidate"
outputs = "{candidate}.jsonl"
[metrics]
use = ["exact_match", "length"]
{more}
[gates]
{gates}
"""
        )
        return file

    return write


def lines(file: Path, records: list[dict[str, Any]]) -> Path:
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    return file
