"""Runs that compute on the processor at the same time share its cores."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path

import pytest
import torch

from engine.models import cores
from tests.engine.runs import carry_out, lines, queue, recorded_plan

OTHER = "import sys; from engine.models import cores; cores.MARK = sys.argv[1]; own = cores.mark(); print()"
Other = Callable[[], subprocess.Popen[str]]


@pytest.fixture(autouse=True)
def four_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A worker with four threads, whose looks at the others are not spared."""
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    for name in cores.SET_BY_USER:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(cores, "EVERY_S", 0.0)
    monkeypatch.setattr(cores, "MARK", f"assay-test-{os.getpid()}")  # apart from other tests' runs
    yield
    torch.set_num_threads(before)


@pytest.fixture
def other() -> Iterator[Other]:
    """Starts another process that computes, to the end of its input."""
    started: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        command = [sys.executable, "-c", f"{OTHER}; sys.stdout.flush(); input()", cores.MARK]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None and process.stdout.readline() == "\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def local_plan(folder: Path, base: Path, rest: str = "") -> Path:
    lines(folder / "examples.jsonl", [{"id": f"e{n}", "query": f"question {n}"} for n in range(4)])
    lines(folder / "after.jsonl", [{"id": f"e{n}", "response": "no"} for n in range(4)])
    file = folder / "plan.toml"
    file.write_text(
        'name = "p"\n[data]\nexamples = "examples.jsonl"\n'
        f'[[models]]\nname = "before"\nrole = "baseline"\npath = "{base}"\ndevice = "cpu"\n'
        '[[models]]\nname = "after"\nrole = "candidate"\noutputs = "after.jsonl"\n'
        f'[metrics]\nuse = ["length", "perplexity"]\n[generation]\nmax_new_tokens = 4\n{rest}'
    )
    return file


def threads_of(folder: Path, plan: Path, then: Callable[[], None] = lambda: None) -> list[int]:
    """The numbers of threads after each piece of work; `then` is called when they are not all."""
    seen: list[int] = []

    def heed() -> None:
        seen.append(torch.get_num_threads())
        if seen[-1] < 4:
            then()

    carry_out(folder / "store", queue(folder / "store", plan), heed)
    return seen


def in_turn(numbers: list[int]) -> list[int]:
    return [number for number, _ in groupby(numbers)]


def test_a_run_takes_its_share_and_gets_all_cores_back(tmp_path: Path, base: Path, other: Other) -> None:
    process = other()
    seen = threads_of(tmp_path, local_plan(tmp_path, base), lambda: process.communicate()[0])
    assert in_turn(seen) == [4, 2, 4]
    assert seen.count(2) == 1, "the other one ended then"


def test_each_of_more_runs_than_cores_has_a_thread(tmp_path: Path, base: Path, other: Other) -> None:
    for _ in range(4):
        other()
    seen = threads_of(tmp_path, local_plan(tmp_path, base))
    assert in_turn(seen) == [4, 1, 4]
    assert seen.count(1) > 1


@pytest.mark.parametrize("name", cores.SET_BY_USER)
def test_threads_that_a_user_has_set_stay(
    tmp_path: Path, base: Path, other: Other, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "4")
    other()
    assert set(threads_of(tmp_path, local_plan(tmp_path, base))) == {4}


def test_a_deterministic_run_keeps_its_threads(tmp_path: Path, base: Path, other: Other) -> None:
    other()
    assert set(threads_of(tmp_path, local_plan(tmp_path, base, "deterministic = true"))) == {4}


def test_a_run_says_how_many_threads_it_may_have(tmp_path: Path, base: Path) -> None:
    store = tmp_path / "store"
    recorder = carry_out(store, queue(store, local_plan(tmp_path, base)))
    environment = recorder.run().environment
    assert environment is not None and environment["threads"] == "up to 4"


def test_a_run_counts_while_it_computes(tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    marks: list[str] = []
    mark = cores.mark
    monkeypatch.setattr(cores, "mark", lambda: marks.append("made") or mark())
    answers = {"before": {"e": "yes"}, "after": {"e": "no"}}
    plan = recorded_plan(tmp_path, [{"id": "e", "query": "q"}], answers, '[metrics]\nuse = ["length"]')
    carry_out(tmp_path / "store", queue(tmp_path / "store", plan))
    assert marks == []
    with cores.shared():
        cores.compute()
        assert marks == ["made"] and cores.MARK in Path("/proc/net/unix").read_text()
    assert cores.MARK not in Path("/proc/net/unix").read_text()


@contextmanager
def confined(core: int) -> Iterator[None]:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def test_runs_on_other_cores_do_not_count(other: Other) -> None:
    here, *elsewhere = os.sched_getaffinity(0)
    if not elsewhere:
        pytest.skip("there is one core")
    other()
    with confined(elsewhere[0]):
        other()
    assert cores.computing() == 2
    with confined(here):
        assert cores.computing() == 1


def test_a_server_on_the_processor_gets_a_share_at_its_start(other: Other) -> None:
    assert cores.divisor() == 1
    other()
    with cores.shared():
        cores.compute()
        assert cores.divisor() == 2
    with cores.shared(fixed=True):
        cores.compute()
        assert cores.divisor() == 1
