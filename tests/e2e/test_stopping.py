"""A run stops soon after it was asked to, and goes on elsewhere only when told."""

import json
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest

from store import people
from store.read import history
from store.records import Run
from tests.e2e.conftest import SAMPLES, queue, reader, wait_until
from tests.e2e.forked import Worker

pytestmark = pytest.mark.e2e

WITHIN = 2.0  # seconds of the worker's own computing: a busy machine adds none
DEADLINE = 240.0


class SlowServer:
    """Answers the first requests at once and keeps the others waiting; `die` ends it."""

    def __init__(self, quick: int) -> None:
        self.asked: list[str] = []
        self.quick = quick
        self.dead = False
        self.release = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                outer.asked.append(body["messages"][-1]["content"])
                if len(outer.asked) > outer.quick:
                    outer.release.wait()
                if outer.dead:
                    self.close_connection = True
                    return
                self._send(completion(body["messages"][-1]["content"]))

            def do_GET(self) -> None:
                self._send({"data": [{"id": "m"}]})

            def _send(self, value: dict[str, Any]) -> None:
                text = json.dumps(value).encode()
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                """A client that has gone away is part of these tests."""

        self._http = Quiet(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}/v1"
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()

    def die(self) -> None:
        """Takes no connection any more, and drops those that wait."""
        self.dead = True
        self._http.shutdown()
        self._http.server_close()
        self.release.set()


def completion(text: str) -> dict[str, Any]:
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    return {
        "id": "1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [choice],
        "usage": usage,
    }


@pytest.fixture
def slow() -> Iterator[SlowServer]:
    server = SlowServer(quick=5)
    yield server
    server.die()


def plan(folder: Path, models: str, sample: int = 16, tokens: int = 8) -> Path:
    file = folder / "plan.toml"
    examples = json.dumps(str(SAMPLES / "eval/domain.jsonl"))
    file.write_text(
        f'name = "stops"\n[data]\nexamples = {examples}\nsample = {sample}\n{models}\n'
        f"[generation]\nmax_new_tokens = {tokens}\nbatch_size = 2\nconcurrency = 4\ncache = false\n"
        '[metrics]\nuse = ["length"]\n'
    )
    return file


def local(name: str, role: str) -> str:
    path = json.dumps(str(SAMPLES / "models/base"))
    return f'[[models]]\nname = "{name}"\nrole = "{role}"\npath = {path}\n'


def served(name: str, role: str, url: str) -> str:
    return f'[[models]]\nname = "{name}"\nrole = "{role}"\nserver = "{url}"\nmodel = "m"\n'


def answers(store: Path) -> int:
    connection = reader(store)
    try:
        return int(connection.execute("SELECT count(*) FROM response").fetchone()[0])
    finally:
        connection.close()


def run_of(store: Path) -> Run:
    connection = reader(store)
    try:
        return history.run(connection, 1)
    finally:
        connection.close()


def stopped_after(store: Path, run_id: int, what: str, process: Worker) -> float:
    """Seconds that the worker computes from the request to the status that answers it."""
    worker = psutil.Process(process.pid)
    spent = [computed(worker)]
    connection = reader(store)
    people.request(connection, run_id, what)
    connection.close()
    wanted = {"pause": "paused", "cancel": "cancelled"}[what]

    def stopped() -> bool:
        with suppress(psutil.Error):  # it has just ended
            spent.append(computed(worker))
        return run_of(store).status == wanted

    assert wait_until(stopped, process)
    return spent[-1] - spent[0]


def computed(worker: psutil.Process) -> float:
    """Seconds on a CPU so far."""
    times = worker.cpu_times()
    return float(times.user + times.system)


def test_a_run_that_waits_for_a_server_is_paused_within_two_seconds(slow: SlowServer, tmp_path: Path) -> None:
    store = tmp_path / "store"
    models = served("before", "baseline", slow.url) + served("after", "candidate", slow.url)
    run_id = queue(store, plan(tmp_path, models))
    process = Worker(store, run_id)
    assert wait_until(lambda: answers(store) == 5, process)
    assert stopped_after(store, run_id, "pause", process) < WITHIN
    assert process.wait(DEADLINE) == 0
    assert answers(store) == 5


def test_a_run_that_generates_here_is_cancelled_within_two_seconds(tmp_path: Path) -> None:
    store = tmp_path / "store"
    models = local("before", "baseline") + local("after", "candidate")
    run_id = queue(store, plan(tmp_path, models, sample=150, tokens=300))
    process = Worker(store, run_id)
    assert wait_until(lambda: answers(store) > 2, process)
    assert stopped_after(store, run_id, "cancel", process) < WITHIN
    process.wait(DEADLINE)
    assert 2 < answers(store) < 300


def test_a_server_that_dies_half_way_is_waited_for_and_resuming_asks_for_the_rest(
    slow: SlowServer, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    models = served("before", "baseline", slow.url) + served("after", "candidate", slow.url)
    file = plan(tmp_path, models, sample=8)
    run_id = queue(store, file)
    process = Worker(store, run_id)
    assert wait_until(lambda: answers(store) == 5, process)
    slow.die()
    assert wait_until(lambda: "has not answered since" in str(run_of(store).waiting), process)
    assert slow.url in str(run_of(store).waiting)
    connection = reader(store)
    people.request(connection, run_id, "pause")
    connection.close()
    assert process.wait(DEADLINE) == 0
    assert run_of(store).status == "paused" and run_of(store).waiting is None
    assert answers(store) == 5
    again = SlowServer(quick=1000)
    try:
        connection = reader(store)
        connection.execute("UPDATE run SET plan = replace(plan, ?, ?)", (slow.url, again.url))
        connection.execute("UPDATE model SET fingerprint = NULL")
        connection.close()
        assert Worker(store, run_id).wait(DEADLINE) == 0
        assert answers(store) == 16 and len(again.asked) == 11
    finally:
        again.die()


def test_a_run_goes_on_on_other_hardware_only_when_told_and_says_so(tmp_path: Path) -> None:
    store = tmp_path / "store"
    run_id = queue(store, plan(tmp_path, local("before", "baseline") + local("after", "candidate"), sample=3))
    assert Worker(store, run_id).wait(DEADLINE) == 0
    connection = reader(store)
    # As if it had been paused on a GPU, where "auto" is bfloat16, with one model's answers still to come.
    connection.execute("UPDATE run SET status = 'paused'")
    connection.execute(
        "UPDATE run SET environment = json_set(environment, '$.devices', json('[\"NVIDIA H200\"]'))"
    )
    connection.execute(
        "UPDATE model SET details = json_set(details, '$.dtype', 'bfloat16'), fingerprint = NULL"
    )
    connection.execute("DELETE FROM response WHERE model_id = (SELECT id FROM model WHERE name = 'after')")
    assert Worker(store, run_id).wait(DEADLINE) == 3
    found = run_of(store)
    assert found.status == "failed"
    assert "began on NVIDIA H200; this is cpu" in str(found.error) and "--other-hardware" in str(found.error)
    people.allow_other_hardware(connection, run_id)
    assert Worker(store, run_id).wait(DEADLINE) == 0
    found = run_of(store)
    assert found.status == "finished" and answers(store) == 6
    assert found.environment is not None and found.options is not None
    assert found.environment["earlier_devices"] == [["NVIDIA H200"]] and "other_hardware" not in found.options
    events = [row[0] for row in connection.execute("SELECT message FROM event WHERE level = 'warning'")]
    assert any("continues on other hardware" in event for event in events)
    (dtype,) = connection.execute(
        "SELECT json_extract(details, '$.dtype') FROM model WHERE name = 'after'"
    ).fetchone()
    connection.close()
    assert dtype == "bfloat16"
