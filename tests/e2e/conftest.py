"""Real workers, real models, a real judge server."""

import json
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.plan.plan import read_plan
from store import database, records
from store.read import history
from store.write import create_run
from tests.e2e.forked import Worker

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "samples"


def queue(store: Path, plan_file: Path) -> int:
    plan = read_plan(plan_file)
    return create_run(
        store,
        records.Run(
            name=plan.name,
            plan=plan.text,
            plan_hash=plan.hash,
            plan_folder=str(plan.folder),
            plan_file=plan_file.name,
        ),
    )


def reader(store: Path) -> sqlite3.Connection:
    return history.attach(database.connect(store))


def wait_until(condition: Callable[[], bool], process: Worker, limit: float = 240.0) -> bool:
    """Polls until the condition holds; False when the process ends first."""
    deadline = time.monotonic() + limit
    while not condition():
        if process.poll() is not None:
            return condition()
        assert time.monotonic() < deadline, "the worker took too long"
        time.sleep(0.01)
    return True


@pytest.fixture
def plan_file(tmp_path: Path) -> Path:
    return write_plan(tmp_path)


def write_plan(folder: Path, judge_url: str | None = None, sample: int = 16) -> Path:
    """A small plan over the sample models: a base, a good adapter, one without effect."""
    text = f"""
name = "small"
[data]
examples = {json.dumps(str(SAMPLES / "eval/domain.jsonl"))}
train = {json.dumps(str(SAMPLES / "train/tickets.jsonl"))}
sample = {sample}
[[models]]
name = "base"
role = "baseline"
path = {json.dumps(str(SAMPLES / "models/base"))}
[[models]]
name = "good"
role = "candidate"
path = {json.dumps(str(SAMPLES / "models/base"))}
adapter = {json.dumps(str(SAMPLES / "models/adapters/good"))}
[[models]]
name = "no-effect"
role = "candidate"
path = {json.dumps(str(SAMPLES / "models/base"))}
adapter = {json.dumps(str(SAMPLES / "models/adapters/no-effect"))}
[generation]
max_new_tokens = 60
batch_size = 4
[metrics]
use = ["rouge", "exact_match", "perplexity", "length", "efficiency"]
format = {{ schema = {json.dumps(str(SAMPLES / "eval/ticket.schema.json"))} }}
[benchmarks]
tasks = ["sample_arithmetic", "sample_facts"]
include = {json.dumps(str(SAMPLES / "benchmarks"))}
limit = 6
[gates]
min_win_rate = 0.55
[[judges]]
name = "reference"
"""
    if judge_url is not None:
        text += f"""
[[judges]]
name = "served"
server = "{judge_url}"
model = "judge"
concurrency = 1
"""
    path = folder / "plan.toml"
    path.write_text(text)
    return path
