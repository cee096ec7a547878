"""Judging in batches, against a server that keeps files and batches as OpenAI's does."""

import json
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from engine.errors import CannotRun, Paused
from engine.judges.asking import Answered, JudgmentCache, Question
from engine.judges.batch_api import BatchAsker
from engine.plan.plan import Judge
from engine.servers import control, costs, transport
from engine.servers.costs import Ledger, read_prices
from tests.judges.scripted import Json, prefers, says

PRICES = '[models]\n"judge" = { input = 100, output = 1000 }\n'  # 0.02 dollars an answer, half in a batch


class BatchServer:
    """`script` gives a request's answer in a batch: a completion's body, or None for one that fails."""

    def __init__(self) -> None:
        self.script: Callable[[Json], Json | None] = lambda body: completion()
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, Json] = {}
        self.singly: list[Json] = []
        self.polls_before_done = 2
        self.lose_next_creation = False
        self.refuses = 0
        self.pages_first = False  # a proxy's page with status 200 in place of each path's first answer
        self.paged: set[str] = set()
        self._polls: dict[str, int] = {}
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler_of(self))
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}/v1"

    def stop(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def keep(self, content: bytes) -> str:
        name = f"file-{len(self.files)}"
        self.files[name] = content
        return name

    def create(self, body: Json) -> Json:
        name = f"batch-{len(self.batches)}"
        self.batches[name] = {"id": name, "object": "batch", "status": "in_progress", **body}
        return self.batches[name]

    def look(self, name: str) -> Json:
        self._polls[name] = self._polls.get(name, 0) + 1
        batch = self.batches[name]
        if self._polls[name] > self.polls_before_done and batch["status"] == "in_progress":
            lines = self.files[batch["input_file_id"]].splitlines()
            out = b""
            for line in lines[::-1]:
                request = json.loads(line)
                body = self.script(request["body"])
                if body is not None:
                    response = {"status_code": 200, "request_id": "r", "body": body}
                    entry = {"id": "x", "custom_id": request["custom_id"], "response": response}
                    out += json.dumps(entry).encode() + b"\n"
            batch |= {"status": "completed", "output_file_id": self.keep(out)}
        return batch


def completion(text: str | None = None) -> Json:
    body: Json = json.loads((prefers("A") if text is None else says(text)).body)
    return body


def _handler_of(server: BatchServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = self.path.removeprefix("/v1")
            if path == "/batches":
                self.send(200, {"object": "list", "data": list(server.batches.values())})
            elif path.startswith("/batches/"):
                self.send(200, server.look(path.removeprefix("/batches/")))
            else:
                self.send(200, server.files[path.split("/")[2]])

        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["content-length"]))
            if server.refuses:
                self.send(server.refuses, {"error": {"message": "no"}})
            elif self.path == "/v1/files":
                found = re.search(rb"filename=.*?\r\n\r\n(.*?)\r\n--", content, re.DOTALL)
                assert found is not None
                assert b'name="purpose"\r\n\r\nbatch' in content
                self.send(200, {"id": server.keep(found[1]), "object": "file"})
            elif self.path == "/v1/batches":
                batch = server.create(json.loads(content))
                if server.lose_next_creation:
                    server.lose_next_creation = False
                    self.close_connection = True
                    return
                self.send(200, batch)
            else:
                server.singly.append(json.loads(content))
                self.send(200, completion())

        def send(self, status: int, value: Any) -> None:
            body = value if isinstance(value, bytes) else json.dumps(value).encode()
            if server.pages_first and self.path not in server.paged:
                server.paged.add(self.path)
                body = b"<!doctype html><title>Sign in</title>"
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Handler


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[BatchServer]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    (tmp_path / "prices.toml").write_text(PRICES)
    monkeypatch.setattr(costs, "_current", Ledger(read_prices(tmp_path / "prices.toml")))
    provider = BatchServer()
    yield provider
    provider.stop()


def question(number: int) -> Question[int]:
    messages = [{"role": "user", "content": f"question {number}"}]
    return Question(
        about=number,
        key=str(number),
        messages=messages,
        response_format={"type": "json_object"},
        problem=lambda reply: None if "winner" in reply.text else "no winner",
        repair=lambda answer, problem: messages,
    )


def asker(provider: BatchServer, folder: Path) -> BatchAsker:
    spec = Judge.model_validate(
        {"name": "b", "server": provider.url, "model": "judge", "batch": True, "max_tokens": 20, "retries": 1}
    )
    return BatchAsker(spec, JudgmentCache(folder / "judgments"), backoff_s=0.001, poll_s=0.002)


def ask(provider: BatchServer, folder: Path, count: int = 20) -> list[Answered[int]]:
    return list(asker(provider, folder).ask(map(question, range(count))))


def notes(folder: Path) -> list[Path]:
    return list((folder / "batches").glob("*"))


def test_all_questions_go_in_one_batch_at_half_the_price(provider: BatchServer, tmp_path: Path) -> None:
    answers = ask(provider, tmp_path)
    assert sorted(answer.question.about for answer in answers) == list(range(20))
    assert all(answer.failure is None and not answer.cached for answer in answers)
    assert [answer.reply.cost for answer in answers] == [pytest.approx(0.01)] * 20
    assert costs.current_ledger().spent == pytest.approx(0.2)
    (batch,) = provider.batches.values()
    assert (batch["endpoint"], batch["completion_window"]) == ("/v1/chat/completions", "24h")
    lines = [json.loads(line) for line in provider.files[batch["input_file_id"]].splitlines()]
    assert {line["url"] for line in lines} == {"/v1/chat/completions"}
    assert lines[0]["body"]["temperature"] == 0
    assert len({line["custom_id"] for line in lines}) == 20
    assert (provider.singly, notes(tmp_path)) == ([], [])

    again = ask(provider, tmp_path)
    assert all(answer.cached for answer in again)
    assert len(provider.batches) == 1


def test_what_a_batch_lacks_is_asked_one_by_one(provider: BatchServer, tmp_path: Path) -> None:
    def script(body: Json) -> Json | None:
        number = int(body["messages"][0]["content"].split()[1])
        if number % 5 == 0:
            return None
        return completion("prose" if number % 5 == 1 else None)

    provider.script = script
    answers = ask(provider, tmp_path)
    assert sorted(answer.question.about for answer in answers) == list(range(20))
    assert all(answer.failure is None for answer in answers)
    assert sorted(body["messages"][0]["content"] for body in provider.singly) == sorted(
        f"question {n}" for n in range(20) if n % 5 in (0, 1)
    )


@pytest.mark.parametrize("status", ["failed", "expired", "cancelled"])
def test_a_batch_that_came_to_nothing_loses_nothing(
    provider: BatchServer, tmp_path: Path, status: str
) -> None:
    create = provider.create
    provider.create = lambda body: create(body) | {"status": status}  # type: ignore[method-assign]
    look = provider.look
    provider.look = lambda name: look(name) | {"status": status}  # type: ignore[method-assign]
    assert [answer.failure for answer in ask(provider, tmp_path)] == [None] * 20
    assert len(provider.singly) == 20
    assert notes(tmp_path) == []


class Killed(BaseException):
    """What kill -9 does to a process: nothing after it runs."""


@pytest.mark.parametrize("moment", ["create", "state", "content", "find"])
def test_a_worker_killed_at_any_moment_pays_for_one_batch(
    provider: BatchServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """With the batch made but its id not heard, while waiting, or with the answers on their way."""
    from engine.judges import batch_api

    whole = getattr(batch_api._Endpoint, moment)

    async def killed(self: Any, *arguments: Any) -> Any:
        await whole(self, *arguments)
        raise Killed

    with monkeypatch.context() as patch:
        if moment == "find":
            provider.lose_next_creation = True
        patch.setattr(batch_api._Endpoint, moment, killed)
        with pytest.raises(Killed):
            ask(provider, tmp_path)
    assert len(provider.batches) == 1
    assert len(notes(tmp_path)) == 1
    answers = ask(provider, tmp_path)
    assert sorted(answer.question.about for answer in answers) == list(range(20))
    assert (len(provider.batches), provider.singly, notes(tmp_path)) == (1, [], [])


def test_a_lost_answer_to_the_creation_makes_no_second_batch(provider: BatchServer, tmp_path: Path) -> None:
    provider.lose_next_creation = True
    assert len(ask(provider, tmp_path)) == 20
    assert len(provider.batches) == 1


def test_batches_are_cut_to_what_the_money_covers(
    provider: BatchServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At its worst an answer costs about 0.015, in fact 0.01: several batches come before the cap."""
    monkeypatch.setattr(costs, "_current", Ledger(read_prices(tmp_path / "prices.toml"), max_cost=0.15))
    found = []
    with pytest.raises(Paused, match="cost cap"):
        for answered in asker(provider, tmp_path).ask(map(question, range(50))):
            found.append(answered.question.about)  # noqa: PERF401  # what came before it was raised counts
    assert len(provider.batches) > 1
    assert 8 <= len(found) <= 15
    assert costs.current_ledger().spent == pytest.approx(0.01 * len(found))


def test_a_run_that_waits_for_a_batch_says_so_and_can_be_stopped(
    provider: BatchServer, tmp_path: Path
) -> None:
    provider.polls_before_done = 1_000_000
    stopped: list[object] = []

    def work() -> None:
        try:
            ask(provider, tmp_path)
        except Paused as error:
            stopped.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    while control.waiting() is None:
        thread.join(0.001)
    assert "batch batch-0 is in_progress" in str(control.waiting())
    control.interrupt("a pause was asked for")
    thread.join(240)
    assert len(stopped) == 1
    assert control.waiting() is None
    provider.polls_before_done = 0
    assert len(ask(provider, tmp_path)) == 20
    assert len(provider.batches) == 1


@pytest.mark.parametrize(
    ("status", "said"),
    [(401, "requires a key"), (404, "accepts no batches"), (400, "accepts no batches: 400 no")],
)
def test_a_server_without_batches_or_access_stops_at_once(
    provider: BatchServer, tmp_path: Path, status: int, said: str
) -> None:
    provider.refuses = status
    with pytest.raises(CannotRun, match=said):
        ask(provider, tmp_path)


def test_a_page_of_a_proxy_is_no_answer_of_the_api_and_is_asked_again(
    provider: BatchServer, tmp_path: Path
) -> None:
    """Not a batch without an id, nor a file without answers, whose questions would be paid for again."""
    provider.pages_first = True
    answers = ask(provider, tmp_path)
    assert len(answers) == 20 and provider.singly == [] and len(provider.batches) == 1
    assert {path.rpartition("/")[0] for path in provider.paged} >= {"/v1", "/v1/batches"}
    assert any(path.endswith("/content") for path in provider.paged)


def test_a_server_that_answers_without_ids_accepts_no_batches(
    provider: BatchServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provider, "keep", lambda content: 7)
    with pytest.raises(CannotRun, match="no answer of its API"):
        ask(provider, tmp_path)


def test_questions_longer_than_answers_may_be_are_not_sent(
    provider: BatchServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "LONGEST_FILE", 1000)
    with pytest.raises(CannotRun, match="the questions are longer than"):
        ask(provider, tmp_path)
    assert provider.files == {}
