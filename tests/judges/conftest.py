"""The scripted server, up for one test."""

from collections.abc import Iterator

import pytest

from engine.servers import control
from tests.judges.scripted import JudgeServer


@pytest.fixture(autouse=True)
def nothing_learned() -> Iterator[None]:
    """What one test's servers did to the process is forgotten after it: ports come back."""
    yield
    control.forget()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[JudgeServer]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = JudgeServer()
    yield server
    server.stop()
