"""The queue of a store: who starts when and where, with real workers where they matter."""

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from engine.data.suites import add_suite
from engine.errors import BadInput
from engine.plan.errors import in_units
from engine.plan.plan import read_plan
from engine.preflight import estimate
from engine.preflight.check import asked_in_all, check
from engine.run import launch, queue, worker
from engine.run.queue import QueueWork
from store import people
from store.database import connect, prepare
from store.errors import StoreError
from store.read import history, runs
from store.read.history import Connection
from store.read.live import events
from store.records import Run
from store.write import Recorder, create_run, hold
from tests.data.test_suites import downloaded
from tests.engine.runs import recorded_plan, work_here

GIB = 1 << 30
ROOT = Path(__file__).parents[2]
Wait = Callable[..., int]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    prepare(tmp_path / "store")
    return tmp_path / "store"


@pytest.fixture
def connection(store: Path) -> Iterator[Connection]:
    with closing(history.attach(connect(store))) as opened:
        yield opened


@pytest.fixture
def waits(store: Path, tmp_path: Path) -> Wait:
    """Adds a run to the queue, of recorded answers."""
    examples = [{"id": f"e{n}", "query": f"What is {n}?", "reference": str(n)} for n in range(3)]
    answers = {"before": {"e0": "no"}, "after": {f"e{n}": str(n) for n in range(3)}}
    plan = recorded_plan(tmp_path, examples, answers, '[metrics]\nuse = ["exact_match"]\n')

    def add(priority: int = 0) -> int:
        return launch.create(plan, store, priority=priority)

    return add


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int | None]]:
    """The runs that were started, with their GPUs: by no worker, they stay as they are."""
    found: list[tuple[int, int | None]] = []

    def start(_store: Path, run_id: int, gpu: int | None = None) -> int:
        found.append((run_id, gpu))
        return os.getpid()

    monkeypatch.setattr(launch, "start", start)
    return found


def order(connection: Connection) -> list[int]:
    return [run.id for run in runs.waiting(connection)]


def finish(store: Path, run_id: int) -> None:
    recorder = Recorder(store, run_id)
    recorder.set_run(status="finished", passed=True)
    recorder.close()


def test_first_in_first_out_within_a_priority(connection: Connection, waits: Wait) -> None:
    low, high, second, higher = waits(), waits(5), waits(), waits(9)
    assert order(connection) == [higher, high, low, second]
    assert [runs.place(connection, run) for run in (low, high, second, higher)] == [3, 2, 4, 1]
    people.request(connection, high, "cancel")
    people.delete(connection, low, "me")
    assert order(connection) == [higher, second] and runs.place(connection, high) is None


@pytest.mark.parametrize(("place", "expected"), [(1, "2013"), (2, "0213"), (3, "0123"), (9, "0132")])
def test_a_run_is_moved_to_a_place_and_who_comes_later_is_behind_it(
    connection: Connection, waits: Wait, place: int, expected: str
) -> None:
    made = [waits(7), waits(7), waits(), waits()]
    people.move(connection, made[2], place)
    assert "".join(str(made.index(run)) for run in order(connection)) == expected
    later = waits()
    assert order(connection)[-1] == later


def test_only_a_waiting_run_is_moved(connection: Connection, waits: Wait, store: Path) -> None:
    run = waits()
    people.move(connection, run, 1)
    finish(store, run)
    with pytest.raises(StoreError, match="does not wait"):
        people.move(connection, run, 1)


def test_a_run_that_was_not_queued_is_nobodys_to_start(
    connection: Connection, store: Path, started: list[tuple[int, int | None]]
) -> None:
    create_run(store, Run(name="x", plan="", plan_hash="", plan_folder="/", plan_file="p"))
    assert not QueueWork(connection, store, print, memory=dict).look() and started == []


def test_without_a_gpu_one_runs_at_a_time(
    connection: Connection, store: Path, waits: Wait, started: list[tuple[int, int | None]]
) -> None:
    said: list[str] = []
    first, second = waits(), waits(1)
    work = QueueWork(connection, store, said.append, memory=dict)
    for _ in range(3):
        assert work.look()
    assert started == [(second, None)]
    assert said == [f"run {second} started", f"run {first} waits: run {second} is under way"]
    finish(store, second)
    assert work.look() and started == [(second, None), (first, None)]
    finish(store, first)
    assert not work.look() and said[-1] == f"run {first} is finished, passed"


def test_each_gpu_has_one_run_where_its_memory_is_free(
    connection: Connection,
    store: Path,
    waits: Wait,
    started: list[tuple[int, int | None]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    needs = {waits(): 30 * GIB, waits(): 30 * GIB, waits(): 0, waits(): 500 * GIB, waits(): None, waits(): 0}
    monkeypatch.setattr(QueueWork, "_need", lambda _, run: needs[run.id])
    free = {0: (20 * GIB, 80 * GIB), 3: (60 * GIB, 80 * GIB)}
    said: list[str] = []
    work = QueueWork(connection, store, said.append, memory=lambda: free)
    work.look()
    work.look()
    assert started == [(1, 3)], "the second waits for memory, and who comes after it waits for it"
    assert said[-1] == "run 2 waits: it needs 30.0 GiB, and GPU 0 has 20.0 GiB free"
    free[0] = (40 * GIB, 80 * GIB)
    work.look()
    assert started[1:] == [(2, 0)] and said[-1] == "run 3 waits: runs 1, 2 are under way"
    assert [run.gpu for run in runs.waiting(connection)][:2] == [3, 0]
    finish(store, 1)
    finish(store, 2)
    work.look()
    assert started[2:] == [(3, 3), (4, 0)], "one that no GPU is large enough for starts and says so itself"
    finish(store, 3)
    work.look()
    assert len(started) == 4 and said[-1] == "run 5 waits: it takes its GPUs itself, and run 4 is under way"
    finish(store, 4)
    work.look()
    assert started[4:] == [(5, None)] and said[-1] == "run 6 waits: run 5 is on any GPU"


def test_a_worker_on_a_gpu_sees_that_one_alone(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, dict[str, str]] = {}

    class Popen:
        pid = 1

        def __init__(self, *_: object, env: dict[str, str], **__: object) -> None:
            given["env"] = env

    monkeypatch.setattr(subprocess, "Popen", Popen)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,3")
    launch.start(store, 1, 3)
    assert given["env"]["CUDA_VISIBLE_DEVICES"] == "3"
    assert given["env"]["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID", "as the driver counts them"
    launch.start(store, 1)
    assert given["env"]["CUDA_VISIBLE_DEVICES"] == "0,3"


def test_a_run_whose_start_fails_is_told_and_does_not_hold_up_the_next(
    connection: Connection, store: Path, waits: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    monkeypatch.setattr(launch, "start", lambda *_: ended.pid)
    bad, said = waits(), list[str]()
    work = QueueWork(connection, store, said.append, memory=dict)
    assert work.look() and not work.look()
    run = history.run(connection, bad)
    assert run.status == "failed" and "ended before it began" in (run.error or "")
    assert "could not be started" in said[-1]
    assert [event.level for event in events(connection, bad)] == ["error"]

    def refuse(*_: object) -> int:
        raise launch.CannotRun("no worker can be started", "then resume")

    monkeypatch.setattr(launch, "start", refuse)
    two = waits(), waits()
    assert not work.look()
    assert [history.run(connection, run).status for run in two] == ["failed", "failed"]


def test_a_run_needs_what_its_check_says_with_suites_variants_and_corpora(
    connection: Connection, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu = estimate.Device("cuda", "GPU 0", 80 * GIB, 79 * GIB)
    monkeypatch.setattr(estimate, "device_of", lambda name: gpu)
    (tmp_path / "eval.jsonl").write_text(
        "".join(f'{{"id": "{place}", "query": "What is {place}?", "reference": "r"}}\n' for place in range(3))
    )
    (tmp_path / "corpus.jsonl").write_text(json.dumps({"text": "corpus " * 30}) + "\n")
    rows = [{"goal": "Write " + "a long virus " * 60, "target": "Sure"}]
    add_suite("advbench", downloaded(tmp_path, "advbench", rows), store)
    models = "".join(
        f'[[models]]\nname = "{role}"\nrole = "{role}"\npath = "{ROOT / "samples/models/base"}"\n'
        for role in ("baseline", "candidate")
    )
    (plan := tmp_path / "plan.toml").write_text(
        'name = "p"\n[data]\nexamples = "eval.jsonl"\nsuites = ["advbench"]\n'
        f'[generation]\nmax_new_tokens = 8\n[robustness]\nperturbations = ["politeness"]\n{models}'
        '[metrics]\nuse = ["exact_match"]\ncorpora = { general = "corpus.jsonl" }\n'
    )
    said: list[str] = []
    work = QueueWork(connection, store, said.append, memory=lambda: {0: (GIB, GIB)})
    need = work._need(history.run(connection, launch.create(plan, store)))
    read = read_plan(plan)
    (found,) = [one for one in check(read, store) if one.subject == "memory"]
    assert need and not said and f"at least about {in_units(need)} in all" in found.message
    assert "rows of up to 2" in found.message and "likelihoods of a text" in found.message
    asked = [example.query for example in asked_in_all(read, store)]
    assert len(asked) == 3 + 1 + 3 and rows[0]["goal"] in asked
    assert len(asked_in_all(read, store, 1)) == 1 + 1 + 1


def test_a_plan_whose_need_cannot_be_told_starts_and_says_itself_what_is_wrong(
    connection: Connection, store: Path, waits: Wait, tmp_path: Path, started: list[tuple[int, int | None]]
) -> None:
    run, said = waits(), list[str]()
    (tmp_path / "examples.jsonl").unlink()
    QueueWork(connection, store, said.append, memory=lambda: {0: (GIB, GIB)}).look()
    assert started == [(run, 0)] and "cannot be estimated" in said[0]


def test_a_run_that_is_removed_for_good_is_forgotten(
    connection: Connection, store: Path, waits: Wait, started: list[tuple[int, int | None]]
) -> None:
    work, run = QueueWork(connection, store, print, memory=dict), waits()
    assert work.look() and started == [(run, None)]
    connection.execute("DELETE FROM run")
    assert not work.look()


def test_a_store_that_is_locked_for_long_does_not_end_the_work(
    store: Path, waits: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = iter([sqlite3.OperationalError("database is locked")] * 2 + [KeyboardInterrupt()])

    def look(_: QueueWork) -> bool:
        raise next(looks)

    said: list[str] = []
    monkeypatch.setattr(QueueWork, "look", look)
    monkeypatch.setattr(queue, "EVERY_S", 0.0)
    with pytest.raises(KeyboardInterrupt):
        queue.work(store, said.append)
    assert len(said) == 1 and "trying again" in said[0]


def test_one_process_works_on_a_queue(store: Path) -> None:
    assert not queue.is_worked(store) and not (store / "queue.lock").exists(), "looking writes nothing"
    held = hold(store / "queue.lock")
    assert held is not None and queue.is_worked(store)
    with pytest.raises(BadInput, match="worked on already"):
        queue.work(store, print, once=True)
    os.close(held)
    assert not queue.is_worked(store)
    queue.work(store, print, once=True)


def working(store: Path, *more: str) -> subprocess.Popen[str]:
    words = [sys.executable, "-P", "-m", "assay", "queue", "work", "--store", str(store), *more]
    root = str(Path(__file__).parents[2])
    return subprocess.Popen(words, env={**os.environ, "PYTHONPATH": root}, stdout=subprocess.PIPE, text=True)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 240
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.e2e
def test_killed_at_any_moment_and_started_again_it_finishes_every_run_once(
    connection: Connection, store: Path, waits: Wait
) -> None:
    made = [waits(), waits()]

    def statuses() -> list[str]:
        return [history.run(connection, run).status for run in made]

    first = working(store)
    until(lambda: "running" in statuses() or "finished" in statuses())
    first.send_signal(signal.SIGKILL)
    first.wait()
    again = working(store, "--once")
    assert again.wait(60) == 0
    assert statuses() == ["finished", "finished"]
    scores = "SELECT count(*) FROM score s JOIN model m ON m.id = s.model_id WHERE m.run_id = ?"
    counted = [connection.execute(scores, (run,)).fetchone()[0] for run in made]
    assert counted[0] == counted[1] > 0


def test_after_a_power_cut_the_run_under_way_goes_on_before_the_others(
    connection: Connection, store: Path, waits: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "start", work_here)
    monkeypatch.setattr(queue, "EVERY_S", 0.0)
    cut, next_one, said = waits(), waits(), list[str]()
    die(store, cut)
    assert history.run(connection, cut).status == "interrupted"
    queue.work(store, said.append, once=True)
    assert said[:2] == [
        f"run {cut} goes on: its worker died while nobody worked on the queue",
        f"run {cut} started",
    ]
    assert said.index(f"run {next_one} started") > 1
    assert {history.run(connection, run).status for run in (cut, next_one)} == {"finished"}


def test_a_process_that_has_the_id_of_a_dead_worker_by_now_is_not_waited_for(
    connection: Connection, store: Path, waits: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a start of the machine the ids are given out again."""
    monkeypatch.setattr(launch, "start", work_here)
    monkeypatch.setattr(queue, "EVERY_S", 0.0)
    cut = waits()
    recorder = Recorder(store, cut)
    assert recorder.claim(os.getpid(), socket.gethostname())
    recorder.close()
    assert history.run(connection, cut).status == "running"
    connection.execute("UPDATE run SET heartbeat = ?", (time.time() - 86_400 * 365,))
    assert history.run(connection, cut).status == "interrupted"
    queue.work(store, print, once=True)
    assert history.run(connection, cut).status == "finished"


def die(store: Path, run: int) -> None:
    """Has a worker take a run and die."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    recorder = Recorder(store, run)
    assert recorder.claim(gone.pid, socket.gethostname())
    recorder.close()


def test_a_run_whose_worker_dies_while_others_wait_is_left_and_told(
    connection: Connection, store: Path, waits: Wait, started: list[tuple[int, int | None]]
) -> None:
    run, said = waits(), list[str]()
    work = QueueWork(connection, store, said.append, memory=dict)
    work.look()
    die(store, run)
    assert not work.look() and said[-1].startswith(f"run {run} is interrupted")
    assert started == [(run, None)]


def test_a_pause_that_is_asked_for_while_a_retry_is_answered_is_kept(store: Path, waits: Wait) -> None:
    recorder = Recorder(store, waits())
    assert recorder.claim(os.getpid(), socket.gethostname())
    recorder.set_run(request="pause")
    pulse = worker.Pulse(recorder)
    pulse._hear(worker.RETRY)  # as it was read a moment before
    assert recorder.run().request == "pause"
    recorder.set_run(request=worker.RETRY)
    pulse._hear(worker.RETRY)
    assert recorder.run().request is None
    recorder.close()


def test_a_run_that_a_worker_takes_while_it_is_cancelled_is_told_to_stop(
    connection: Connection, store: Path, waits: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = waits()
    seen = history.run(connection, run_id)
    recorder = Recorder(store, run_id)
    assert recorder.claim(os.getpid(), socket.gethostname())
    monkeypatch.setattr(people, "run", lambda *_: seen)  # as it was a moment before
    people.request(connection, run_id, "cancel")
    found = recorder.run()
    assert (found.status, found.request) == ("running", "cancel")
    recorder.close()


def test_a_run_whose_worker_died_is_cancelled_at_once(
    connection: Connection, store: Path, waits: Wait
) -> None:
    run_id = waits()
    die(store, run_id)
    assert history.run(connection, run_id).status == "interrupted"
    people.request(connection, run_id, "cancel")
    assert history.run(connection, run_id).status == "cancelled"


def test_a_worker_that_is_told_to_end_has_its_run_wait_again_but_a_person_who_pauses_it_does_not(
    connection: Connection, store: Path, waits: Wait
) -> None:
    for number, expected in ((signal.SIGTERM, "queued"), (None, "paused")):
        run = waits()
        recorder = Recorder(store, run)
        assert recorder.claim(os.getpid(), socket.gethostname())
        pulse = worker.Pulse(recorder)
        if number is not None:
            pulse.told(number)
        else:
            pulse.request = "pause"
        worker._pause(recorder, pulse, "")
        assert recorder.run().status == expected
        recorder.close()
    assert order(connection) == [1]
