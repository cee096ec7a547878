"""The scripted server, up for one test."""

from collections.abc import Iterator

import pytest

from tests.judge.scripted import JudgeServer


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[JudgeServer]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = JudgeServer()
    yield server
    server.stop()
