"""A collector in a process of its own, and requests to it."""

import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from store import database

TOKEN = "c0ffee-5f1d2e"
ASSAY = [sys.executable, "-m", "assay"]


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    json: Any

    @property
    def param(self) -> str | None:
        return self.json["error"]["param"]

    @property
    def message(self) -> str:
        return str(self.json["error"]["message"])


@dataclass
class Running:
    store: Path
    process: "subprocess.Popen[str]"
    port: int

    def connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)

    def send(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        given = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json", **(headers or {})}
        with closing(self.connection()) as connection:
            connection.request(method, path, body, {key: value for key, value in given.items() if value})
            answer = connection.getresponse()
            return Answer(answer.status, dict(answer.headers), json.loads(answer.read()))

    def post(self, value: Any, path: str = "/v1/events", **headers: str) -> Answer:
        """Sends a value as JSON; header names have _ for -."""
        named = {key.replace("_", "-"): text for key, text in headers.items()}
        return self.send("POST", path, json.dumps(value).encode(), named)

    def rows(self, table: str, columns: str = "*") -> list[tuple[Any, ...]]:
        with closing(database.look(self.store)) as connection:
            return connection.execute(f"SELECT {columns} FROM {table} ORDER BY 1").fetchall()

    def stop(self) -> tuple[int, str]:
        """Sends SIGTERM; returns the exit code and what was said on standard error."""
        self.process.send_signal(signal.SIGTERM)
        _, said = self.process.communicate(timeout=30)
        return self.process.returncode, said


def launch(store: Path, *options: str, token: str | None = TOKEN) -> "subprocess.Popen[str]":
    environment = {key: value for key, value in os.environ.items() if key != "ASSAY_COLLECT_TOKEN"}
    if token is not None:
        environment["ASSAY_COLLECT_TOKEN"] = token
    return subprocess.Popen(
        [*ASSAY, "collect", "--port", "0", "--store", str(store), *options],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@contextmanager
def collector(store: Path, *options: str, token: str | None = TOKEN) -> Iterator[Running]:
    process = launch(store, *options, token=token)
    assert process.stderr is not None
    with process:
        line = process.stderr.readline()
        assert " at http://" in line, line + process.stderr.read()
        try:
            yield Running(store, process, int(line.rpartition(":")[2]))
        finally:
            process.kill()


def event(number: int = 0, **more: Any) -> dict[str, Any]:
    """An event as a service sends it."""
    return {
        "prompt": f"How long does return {number} take?",
        "response": "It takes 5 days.",
        "model": "support-v3",
        "time": "2026-03-02T10:00:00Z",
        **more,
    }
