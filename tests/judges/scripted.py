"""A chat-completions server on localhost that answers by script."""

import json
import socket
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from engine.data.example import Example
from engine.judges.asking import ServerAsker
from engine.judges.chat import PairwiseJudge
from engine.judges.judge import ORDERS, Call, Pair
from engine.judges.prompt import PairwisePrompt
from engine.plan.plan import Judge

Json = dict[str, Any]


@dataclass(frozen=True)
class Answer:
    """What the server sends; status None closes the connection without a word."""

    status: int | None = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


def says(text: str | None, finish_reason: str = "stop", **message: Any) -> Answer:
    """A chat completion."""
    body = {
        "id": "x",
        "object": "chat.completion",
        "model": "judge-2026-01-01",
        "choices": [
            {
                "index": 0,
                "finish_reason": finish_reason,
                "message": {"role": "assistant", "content": text, **message},
            }
        ],
        "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110},
    }
    return Answer(body=json.dumps(body).encode())


def prefers(winner: str, a: int = 7, b: int = 7) -> Answer:
    return says(json.dumps({"reasoning": "because", "winner": winner, "scores": {"A": a, "B": b}}))


def fault(status: int, message: str = "no", headers: dict[str, str] | None = None, **error: Any) -> Answer:
    return Answer(status, json.dumps({"error": {"message": message, **error}}).encode(), headers or {})


@contextmanager
def kept_port() -> Iterator[int]:
    """A port that nobody else is given meanwhile: a server may listen there, leave, and return.

    While none does, connections are refused.
    """
    with socket.socket() as kept:
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        kept.bind(("127.0.0.1", 0))
        yield kept.getsockname()[1]


class JudgeServer:
    """`script` decides each answer from the request's body and its number, counted from 0."""

    def __init__(self, port: int = 0) -> None:
        self.script: Callable[[Json, int], Answer] = lambda body, number: prefers("A")
        self.requests: list[Json] = []
        self.headers: list[dict[str, str]] = []
        self.busiest = 0
        self._active = 0
        self._lock = threading.Lock()
        self._http = _Http(("127.0.0.1", port), _handler_of(self))
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    @property
    def port(self) -> int:
        return self._http.server_port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def answers(self, *answers: Answer) -> None:
        """One answer after another; the last one for ever."""
        self.script = lambda body, number: answers[min(number, len(answers) - 1)]

    def stop(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def take(self, body: Json, headers: dict[str, str]) -> int:
        with self._lock:
            self.requests.append(body)
            self.headers.append(headers)
            self._active += 1
            self.busiest = max(self.busiest, self._active)
            return len(self.requests) - 1

    def leave(self) -> None:
        with self._lock:
            self._active -= 1


class _Http(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that leaves early is what some tests are about; anything else is told as usual."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def _handler_of(server: JudgeServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            number = server.take(body, {name.lower(): value for name, value in self.headers.items()})
            try:
                answer = server.script(body, number)
            finally:
                server.leave()
            if answer.status is None:
                self.close_connection = True
                return
            self.send_response(answer.status)
            for name, value in {"content-type": "application/json", **answer.headers}.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Handler


def spec_for(server: JudgeServer, **settings: Any) -> Judge:
    return Judge.model_validate({"name": "tester", "server": server.url, "model": "judge", **settings})


def judge_for(server: JudgeServer, cache: Any = None, rubric: Any = None, **settings: Any) -> PairwiseJudge:
    """A judge on the server that does not wait between its retries."""
    spec = spec_for(server, **settings)
    asker = ServerAsker(spec, cache, backoff_s=0.001)
    return PairwiseJudge(spec.name, asker, PairwisePrompt(rubric, spec.seed))


def pair(
    number: int = 0, candidate: str = "Paris.", baseline: str = "London.", references: tuple[str, ...] = ()
) -> Pair:
    query = f"What is the capital of country {number}?"
    example = Example(f"e{number}", query, ({"role": "user", "content": query},), references)
    return Pair(example, "tuned", candidate, "base", baseline)


def calls_for(pairs: Iterable[Pair]) -> list[Call]:
    """Every pair in both orders, as a run asks them."""
    return [Call(each, order) for each in pairs for order in ORDERS]


def call(number: int = 0, **texts: Any) -> Call:
    return Call(pair(number, **texts), "candidate_first")
