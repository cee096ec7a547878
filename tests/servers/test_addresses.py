"""Addresses and keys as real servers see them."""

import asyncio
import json
import threading
import traceback
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from engine.errors import CannotRun
from engine.judges.asking import JudgmentCache, Question
from engine.judges.batch_api import BatchAsker
from engine.plan.paths import server_url
from engine.plan.plan import Judge
from engine.servers import control, transport
from engine.servers.address import Redactor, read_address, read_key
from engine.servers.client import Access, CallFailed, Client
from engine.servers.transport import NamedServer
from engine.servers.wire import Reply
from tests.judges.scripted import Answer, JudgeServer, prefers

KEY = "sk-very-secret-1234"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[JudgeServer]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("SERVER_KEY", KEY)
    server = JudgeServer()
    yield server
    server.stop()
    control.forget()


def ask(address: str, key: str | None = None) -> Reply:
    async def work() -> Reply:
        client = Client(Access("model m", address, "m", key, 2, 20.0, 1), set(), 0.001)
        try:
            return await client.complete({"messages": [{"role": "user", "content": "x"}], "max_tokens": 3})
        finally:
            await client.close()

    return asyncio.run(work())


@pytest.mark.parametrize("end", ["/v1", "/v1/", "", "/"])
def test_an_address_with_or_without_v1_and_slash_is_the_same_server(server: JudgeServer, end: str) -> None:
    address = server.url.removesuffix("/v1") + end
    assert read_address(address).base == server.url
    assert control.server_at(address, None) is control.server_at(server.url, None)
    assert "winner" in ask(address).text


def test_another_path_is_left_alone() -> None:
    address = read_address("https://h.openai.azure.com/openai/deployments/gpt/?api-version=2024-10-21")
    assert address.base == "https://h.openai.azure.com/openai/deployments/gpt"
    assert address.query == (("api-version", "2024-10-21"),)
    assert address.headers(KEY) == {"api-key": KEY}


def test_an_address_with_an_api_version_gets_the_key_in_the_header_that_azure_reads(
    server: JudgeServer,
) -> None:
    ask(f"{server.url}?api-version=2024-10-21", "SERVER_KEY")
    assert server.headers[0]["api-key"] == KEY


def test_the_organisation_of_the_environment_is_told_to_nobody(
    server: JudgeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_ORG_ID", "org-secret")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-meant-for-another")
    ask(server.url)
    assert "secret" not in repr(server.headers) and "another" not in repr(server.headers)
    assert "authorization" not in server.headers[0]


def test_a_redirect_says_where_it_leads_and_takes_nothing_there(server: JudgeServer) -> None:
    elsewhere = JudgeServer()
    try:
        server.answers(Answer(status=307, headers={"location": f"{elsewhere.url}/chat?token=abc"}))
        with pytest.raises(CannotRun, match="redirects") as caught:
            ask(server.url, "SERVER_KEY")
        assert elsewhere.url in str(caught.value)
        assert "abc" not in str(caught.value) and KEY not in str(caught.value)
        assert elsewhere.requests == []
    finally:
        elsewhere.stop()


@pytest.mark.parametrize("key", ["1", "x", "EMPTY", "A"])
def test_a_key_that_occurs_in_any_text_breaks_no_reply(
    server: JudgeServer, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("SERVER_KEY", key)
    reply = ask(server.url, "SERVER_KEY")
    assert reply.text.encode() in prefers("A").body.replace(b'\\"', b'"')
    assert reply.tokens_in == 100


def test_a_key_is_taken_out_as_a_whole_word() -> None:
    redact = Redactor(KEY)
    assert redact(f"your {KEY}, again: {KEY}.") == "your [key], again: [key]."
    assert redact(f"{KEY}5") == f"{KEY}5"


@pytest.mark.parametrize("held", ["", "  ", "two\nlines", "k\u00e9y"])
def test_what_is_no_key_is_told_by_its_variable_alone(held: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVER_KEY", held)
    with pytest.raises(CannotRun, match="SERVER_KEY") as caught:
        read_key("model m", "SERVER_KEY")
    assert not held.strip() or held not in str(caught.value)


class Hostile:
    """Answers every request with what it is told to, and keeps what it was sent."""

    def __init__(self) -> None:
        self.answer = Answer()
        self.got: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.rfile.read(int(self.headers.get("content-length") or 0))
                outer.got.append(self.path)
                self.send_response(outer.answer.status or 200)
                for name, value in outer.answer.headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(outer.answer.body)))
                self.end_headers()
                self.wfile.write(outer.answer.body)

            do_POST = do_HEAD = do_GET

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}/v1"
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        self._http.shutdown()
        self._http.server_close()


@pytest.fixture
def hostile(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hostile]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("SERVER_KEY", KEY)
    found = Hostile()
    yield found
    found.stop()
    control.forget()


def checked(server: Hostile, folder: Path) -> str:
    return repr(transport.reach([NamedServer("model m", server.url, "m", "SERVER_KEY")]))


def judged_in_a_batch(server: Hostile, folder: Path) -> str:
    spec = {"name": "b", "server": server.url, "model": "m", "batch": True, "retries": 0}
    judge = Judge.model_validate({**spec, "api_key_env": "SERVER_KEY"})
    asker = BatchAsker(judge, JudgmentCache(folder / "judgments"), 0.001, 0.001)
    messages = [{"role": "user", "content": "x"}]
    return repr(list(asker.ask([Question(1, "1", messages, None, lambda _: None, lambda *_: [])])))


def answered(server: Hostile, folder: Path) -> str:
    return repr(ask(server.url, "SERVER_KEY"))


Asked = Callable[[Hostile, Path], str]


def told_by(asked: Asked, server: Hostile, folder: Path) -> str:
    """What people read: of an error with all that it was raised from, as a traceback shows it."""
    try:
        return asked(server, folder)
    except (CannotRun, CallFailed) as error:
        return "".join(traceback.format_exception(error))


@pytest.mark.parametrize("asked", [checked, judged_in_a_batch, answered])
@pytest.mark.parametrize("status", [301, 303, 307])
def test_no_request_follows_a_redirect_and_each_says_where_it_leads(
    hostile: Hostile, asked: Asked, status: int, tmp_path: Path
) -> None:
    elsewhere = Hostile()
    hostile.answer = Answer(status, headers={"location": f"{elsewhere.url}/{KEY}?sig=abcdef"})
    said = told_by(asked, hostile, tmp_path)
    elsewhere.stop()
    assert elsewhere.got == [] and len(hostile.got) == 1
    assert f"{elsewhere.url}/[key]" in said and "abcdef" not in said and KEY not in said


@pytest.mark.parametrize("asked", [checked, judged_in_a_batch, answered])
@pytest.mark.parametrize(
    "answer",
    [
        Answer(302, headers={"location": "http://["}),
        Answer(302, headers={"location": f"http://me:{KEY}@h/\x1b[31m"}),
        Answer(200, json.dumps({"data": [{"id": f"model {KEY}"}]}).encode()),
        Answer(200, b"[" * 100_000),
        Answer(200, b" " * 1990 + KEY.encode() + b"<html>"),
        Answer(400, json.dumps({"error": {"message": f"bad key {KEY}"}}).encode()),
        Answer(404, f"no {KEY}".encode()),
    ],
    ids=["no-address", "login", "model", "deep", "cut", "complaint", "lost"],
)
def test_whatever_a_server_says_the_key_is_not_told_and_nothing_breaks(
    hostile: Hostile, asked: Asked, answer: Answer, tmp_path: Path
) -> None:
    hostile.answer = answer
    said = told_by(asked, hostile, tmp_path)
    assert said and KEY[:10] not in said and "\x1b" not in said


@pytest.mark.parametrize(
    "address",
    [
        "http://me:secret@host/v1", "http://h/v1?key=abc", "http://h/v1?x-api-key=abc", "http://h/v1?Auth=abc",
        "http://h/v1?a=1&password=q", "http://h/v1#key=abc", "http://h/v1;key=abc", "http://h/v1?%6bey=abc",
        "http://h/v1?key", "http://h/v1/sk-abcdefgh12345678", "http://h/v1?v=hf_abcdefgh12345678",
    ],
)  # fmt: skip
def test_an_address_with_a_key_in_any_place_is_refused_and_not_repeated(address: str) -> None:
    with pytest.raises(ValueError, match="must not hold a") as caught:
        server_url(address)
    assert "abc" not in str(caught.value) and "secret" not in str(caught.value)
    assert server_url("https://h/openai/deployments/gpt?api-version=2024-10-21")
