"""Addresses and keys as real servers see them."""

import asyncio
from collections.abc import Iterator

import pytest

from engine.errors import CannotRun
from engine.servers import control
from engine.servers.address import Redactor, read_address, read_key
from engine.servers.client import Access, Client
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
