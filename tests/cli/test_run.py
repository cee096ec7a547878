"""Runs started from the command line, most by real workers, on recorded outputs and a local server."""

import http.server
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from store.database import connect
from store.read import history
from tests.cli.conftest import ASSAY, Assay, lines

pytestmark = pytest.mark.e2e
Write = Callable[..., Path]


def test_a_run_that_passes_prints_its_summary(
    process: Assay, assay: Assay, plan: Write, tmp_path: Path
) -> None:
    done = process("run", plan(gates="min_win_rate = 0.6"), "--store", tmp_path / "store")
    assert done.code == 0, done.err
    assert "recorded · passed" in done.out and "exact_match" in done.out
    assert "compare: 100%" in done.err and "\x1b" not in done.err
    shown = assay("show", "last", "--json", "--store", tmp_path / "store").json
    assert shown["passed"] is True and shown["verdicts"][0]["win_rate"] == 1.0


def test_a_run_of_recorded_answers_loads_no_model_library(assay: Assay, plan: Write, tmp_path: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom engine.run import launch, worker\n"
        "store = Path(sys.argv[2])\nworker.work(store, launch.create(Path(sys.argv[1]), store))\n"
        "print([name for name in ('torch', 'transformers', 'peft', 'lm_eval') if name in sys.modules])"
    )
    store = tmp_path / "store"
    words = [sys.executable, "-c", code, str(plan()), str(store)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert assay("show", "last", "--json", "--store", store).json["passed"] is True


def test_a_failed_gate_is_exit_code_1(assay: Assay, plan: Write, tmp_path: Path) -> None:
    done = assay("run", plan(candidate="wrong"), "--quiet", "--store", tmp_path / "store")
    assert done.code == 1
    assert "A GATE FAILED" in done.out and "CRITICAL" in done.out and done.err == ""
    assert "exact_match" in done.out and "Scores" not in done.out and "Judges" not in done.out


def test_a_run_prints_its_result_for_programs(assay: Assay, plan: Write, tmp_path: Path) -> None:
    store = tmp_path / "store"
    done = assay("run", plan(candidate="wrong"), "--json", "--store", store)
    assert done.code == 1 and done.json == assay("show", "last", "--json", "--store", store).json
    folds = assay("run", plan(), "--fold", "all", "--json", "--store", store)
    assert folds.code == 2 and "--json" in folds.err


def test_answers_to_other_questions_are_not_evaluated(assay: Assay, plan: Write, tmp_path: Path) -> None:
    file = plan()
    for name in ("right", "wrong"):
        lines(tmp_path / f"{name}.jsonl", [{"id": "another", "response": "It is so."}])
    done = assay("run", file, "--store", tmp_path / "store")
    assert done.code == 1, done.out
    assert "not evaluated" in done.out and "8 of 8 missing" in done.out
    shown = assay("show", "last", "--json", "--store", tmp_path / "store").json
    assert shown["passed"] is None and shown["reason"].startswith("not evaluated")
    assert shown["decision"][0]["word"] == "inconclusive"
    assert assay("run", file, "--allow-empty", "--quiet", "--store", tmp_path / "store").code == 0
    compared = assay("compare", "1", "2", "--store", tmp_path / "store")
    assert compared.code == 1 and "not evaluated" in compared.out
    again = assay("compare", "1", "2", "--allow-empty", "--json", "--store", tmp_path / "store")
    assert again.code == 0 and again.json["verdict"] == "not evaluated"


def test_one_phase_alone_pauses_and_resuming_does_the_rest(assay: Assay, plan: Write, tmp_path: Path) -> None:
    store = tmp_path / "store"
    first = assay("run", plan(), "--only", "generate", "--limit", "5", "--store", store)
    assert first.code == 0 and "`assay resume 1` continues" in first.err
    assert "only generate was requested; resuming does the rest" in first.err
    rest = assay("resume", "1", "--store", store)
    assert rest.code == 0, rest.err
    assert assay("show", "1", "--json", "--store", store).json["scores"][0]["n"] == 5


def test_a_plan_that_cannot_run_leaves_no_run(assay: Assay, plan: Write, tmp_path: Path) -> None:
    file = plan()
    (tmp_path / "right.jsonl").write_text("{broken\n")
    done = assay("run", file, "--store", tmp_path / "store")
    assert done.code == 2 and "right.jsonl:1" in done.err
    assert not (tmp_path / "store" / "assay.db").exists()


DEADLINE = 240.0  # seconds; what a busy machine needs at most, no measure of anything
QUICK = 3  # answers that the slow server gives at once


class Slow(http.server.BaseHTTPRequestHandler):
    """A chat server that counts what it was asked; it holds all but the first answers until released."""

    asked: list[str]
    begun: threading.Event
    release: threading.Event

    def do_GET(self) -> None:
        self._send({"data": [{"id": "m"}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append(body["messages"][-1]["content"])
        if len(self.asked) > QUICK:
            self.begun.set()
            self.release.wait()
        message = {"role": "assistant", "content": "It is so."}
        usage = {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        with suppress(OSError):  # who asked may have gone
            self._send(
                {
                    "id": "1",
                    "object": "chat.completion",
                    "created": 0,
                    "model": "m",
                    "choices": [choice],
                    "usage": usage,
                }
            )

    def _send(self, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@dataclass
class SlowServer:
    """Where it listens, what it was asked; `begun` once it holds an answer, which `release` lets go."""

    url: str
    asked: list[str]
    begun: threading.Event
    release: threading.Event


@pytest.fixture
def slow() -> Iterator[SlowServer]:
    asked: list[str] = []
    events = {"begun": threading.Event(), "release": threading.Event()}
    handler = type("Handler", (Slow,), {"asked": asked, **events})
    listening = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=listening.serve_forever)
    thread.start()
    yield SlowServer(f"http://127.0.0.1:{listening.server_address[1]}/v1", asked, **events)
    events["release"].set()
    listening.shutdown()
    thread.join()
    listening.server_close()


@pytest.fixture
def long_run(plan: Write, slow: SlowServer, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A followed run of a model that has begun to answer, and does not end before the server is released."""
    file = plan(more="[generation]\nconcurrency = 1\ncache = false")
    lines(
        tmp_path / "eval.jsonl",
        [{"id": f"e{n}", "query": f"question {n}", "reference": "It is so."} for n in range(60)],
    )
    served = f'server = "{slow.url}"\nmodel = "m"'
    file.write_text(file.read_text().replace('outputs = "right.jsonl"', served))
    follower = subprocess.Popen(
        [*ASSAY, "run", str(file), "--store", str(tmp_path / "store")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert follower.stderr is not None
    for line in follower.stderr:
        if line.startswith("generate"):
            break
    assert slow.begun.wait(DEADLINE)
    yield follower
    follower.kill()
    follower.communicate()


def test_ctrl_c_pauses_the_run_and_nothing_is_generated_twice(
    long_run: subprocess.Popen[str], slow: SlowServer, assay: Assay, tmp_path: Path
) -> None:
    long_run.send_signal(signal.SIGINT)
    _, told = long_run.communicate(timeout=DEADLINE)
    assert long_run.returncode == 130
    assert "paused; `assay resume 1` continues" in told
    assert assay("show", "1", "--json", "--store", tmp_path / "store").json["run"]["status"] == "paused"
    before = len(slow.asked)
    assert 0 < before < 60
    slow.release.set()
    assert assay("resume", "1", "--store", tmp_path / "store").code in (0, 1)
    assert len(slow.asked) - before <= 60 - before + 1 and len(set(slow.asked)) == 60


def test_closing_the_terminal_ends_the_follower_and_not_the_run(
    long_run: subprocess.Popen[str], slow: SlowServer, assay: Assay, tmp_path: Path
) -> None:
    long_run.send_signal(signal.SIGHUP)
    long_run.communicate(timeout=DEADLINE)
    run = assay("show", "1", "--json", "--store", tmp_path / "store").json["run"]
    assert run["status"] == "running"
    slow.release.set()
    watched = assay("watch", "1", "--store", tmp_path / "store")
    assert watched.code in (0, 1) and "compare: 100%" in watched.err


def test_a_killed_worker_is_told_with_the_way_on(long_run: subprocess.Popen[str], tmp_path: Path) -> None:
    connection = connect(tmp_path / "store")
    (pid,) = connection.execute("SELECT worker_pid FROM run").fetchone()
    connection.close()
    os.kill(pid, signal.SIGKILL)
    _, told = long_run.communicate(timeout=DEADLINE)
    assert long_run.returncode == 3
    assert "exited without an error message" in told and "`assay resume 1`" in told


def test_a_stopped_worker_is_told_and_another_takes_its_run(
    long_run: subprocess.Popen[str],
    slow: SlowServer,
    assay: Assay,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = tmp_path / "store"
    with closing(connect(store)) as connection:
        (pid,) = connection.execute("SELECT worker_pid FROM run").fetchone()
    alive = assay("resume", "1", "--take-over", "--store", store)
    assert alive.code == 2 and "its worker answers" in alive.err and "`assay pause 1`" in alive.err
    os.kill(pid, signal.SIGSTOP)
    while psutil.Process(pid).status() != psutil.STATUS_STOPPED:  # a busy machine stops it later
        time.sleep(0.01)
    monkeypatch.setattr(history, "SILENT_AFTER", -1.0)  # in place of waiting
    shown = assay("show", "1", "--store", store)
    assert "running: no heartbeat" in shown.out and f"{pid} is stopped" in " ".join(shown.out.split())
    told = assay("resume", "1", "--store", store)
    assert told.code == 2 and "no heartbeat for" in told.err and f"process {pid} is stopped" in told.err
    assert "`assay resume 1 --take-over` ends that process and continues" in told.err
    slow.release.set()
    over = assay("resume", "1", "--take-over", "--store", store)
    assert over.code in (0, 1), over.err
    assert "ended the worker of run 1: no heartbeat for" in over.err
    long_run.communicate(timeout=DEADLINE)
    result = assay("show", "1", "--json", "--store", store).json
    assert result["run"]["status"] == "finished" and max(row["n"] for row in result["scores"]) == 60


def test_memory_that_is_limited_is_told_as_that(process: Assay, plan: Write, tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (700 << 20, before[1]))
    try:
        done = process("run", plan(), "--store", tmp_path / "store")
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
    assert done.code == 3 and "`ulimit -v unlimited` lifts that" in done.err, done.err
    assert "memory ran out: this process may use 700 MiB" in done.err


def test_cancel_from_elsewhere_ends_the_run(
    long_run: subprocess.Popen[str], assay: Assay, tmp_path: Path
) -> None:
    assert assay("cancel", "last", "--store", tmp_path / "store").code == 0
    _, told = long_run.communicate(timeout=DEADLINE)
    assert long_run.returncode == 3 and "was cancelled" in told
    assert assay("resume", "1", "--store", tmp_path / "store").code == 2
