"""The client of the collector: what a service sends comes in once, and the service never notices more."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from engine.traffic import client as module
from engine.traffic.client import CollectorClient
from engine.traffic.events import event_id
from tests.traffic.collecting import TOKEN, Running, collector

QUICK = {"wait": 0.01, "timeout": 5.0}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with collector(tmp_path_factory.mktemp("client") / "store") as found:
        yield found


@pytest.fixture
def url(running: Running) -> str:
    return f"http://127.0.0.1:{running.port}"


class Scripted:
    """A server that answers with the next of some statuses, and 202 from then on."""

    def __init__(self, statuses: list[int], headers: dict[str, str] | None = None) -> None:
        self.bodies: list[list[dict[str, object]]] = []
        self.keys: list[str | None] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.bodies.append([json.loads(line) for line in body.splitlines()])
                outer.keys.append(self.headers["Authorization"])
                self.send_response(statuses.pop(0) if statuses else 202)
                for name, value in (headers or {}).items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_GET = do_POST

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PAUSE", 0.01)


def test_events_and_feedback_are_in_the_store_when_it_is_closed(running: Running, url: str) -> None:
    with CollectorClient(url, TOKEN, batch=3, **QUICK) as client:
        ids = [
            client.event(prompt=f"Question {n}?", response="5 days.", model="m", user="ana") for n in range(7)
        ]
        client.feedback(ids[0], thumbs="down", correction="3 days.")
    assert (client.sent, client.dropped) == (8, 0)
    stored = {row[0] for row in running.rows("trafficevent", "id")}
    assert {event_id(id) for id in ids} <= stored
    said = running.rows(f"trafficfeedback WHERE event_id = '{event_id(ids[0])}'", "thumbs, correction")
    assert [tuple(row) for row in said] == [(-1, "3 days.")]


def test_what_cannot_be_taken_is_dropped_alone_and_told_without_its_texts(
    running: Running, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with CollectorClient(url, TOKEN, **QUICK) as client:
        kept = [client.event(prompt=f"Kept {n}?", response="Yes.") for n in range(3)]
        client.event(prompt="Secret-prompt?", response="No.", tokens_in=-1)
        client.event(prompt="Secret-prompt?", response=object())
        client.event(prompt="Secret-prompt?", response="x" * 1_000_001)
        kept += [client.event(prompt=f"Kept {n}?", response="Yes.") for n in range(3, 6)]
    assert (client.sent, client.dropped) == (6, 3)
    assert {event_id(id) for id in kept} <= {row[0] for row in running.rows("trafficevent", "id")}
    assert "the collector answered 400" in caplog.text and "Secret" not in caplog.text


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("statuses", [[503, 503], [429], [500], [401], [404]])
def test_what_is_refused_for_now_is_sent_again_until_it_is_taken(
    statuses: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    server = Scripted(list(statuses))
    with CollectorClient(server.url, TOKEN, **QUICK) as client:
        id = client.event(prompt="Q?", response="A.")
        assert client.flush(10)
    assert (client.sent, client.dropped) == (1, 0)
    assert [body[0]["id"] for body in server.bodies] == [id] * (len(statuses) + 1)
    assert caplog.text.count(f"answered {statuses[0]}") == 1
    assert TOKEN not in caplog.text
    server.stop()


@pytest.mark.usefixtures("quick")
def test_a_redirect_is_not_followed_with_the_token() -> None:
    elsewhere = Scripted([])
    server = Scripted([302, 307], {"Location": elsewhere.url})
    with CollectorClient(server.url, TOKEN, **QUICK) as client:
        client.event(prompt="Q?", response="A.")
    assert elsewhere.keys == [] and client.sent == 1
    elsewhere.stop()
    server.stop()


def test_without_a_collector_no_call_waits_or_raises_and_the_buffer_is_bounded() -> None:
    client = CollectorClient("http://127.0.0.1:9", room=10, batch=5, **QUICK)
    for n in range(100):
        client.feedback(client.event(prompt=f"{n}?", response="A."), thumbs="up")
    assert not client.flush(0.05)
    client.close(0.05)
    client.event(prompt="late?")
    assert client.sent == 0 and client.dropped >= 186
    with pytest.raises(ValueError, match="url"):
        CollectorClient("file:///etc/passwd")


def test_what_waits_when_python_ends_is_sent(running: Running, url: str) -> None:
    code = (
        "import sys; from engine.traffic.client import CollectorClient\n"
        f"client = CollectorClient({url!r}, {TOKEN!r}, wait=60)\n"
        "print(client.event(prompt='At the end?', response='Yes.'))\n"
        "assert not {'fastapi', 'sqlalchemy', 'numpy', 'pydantic'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert running.rows(f"trafficevent WHERE id = '{event_id(done.stdout.strip())}'")


def test_a_forked_process_sends_its_own_events_and_no_one_elses(running: Running, url: str) -> None:
    code = (
        "import os; from engine.traffic.client import CollectorClient\n"
        f"client = CollectorClient({url!r}, {TOKEN!r}, wait=60)\n"
        "print(client.event(prompt='Parent?', response='A.'), flush=True)\n"
        "if os.fork() == 0:\n"
        "    print(client.event(prompt='Child?', response='A.'), flush=True)\n"
        "    client.close(); assert client.sent == 1; os._exit(0)\n"
        "assert os.wait()[1] == 0; client.close(); assert client.sent == 1"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for id in done.stdout.split():
        assert running.rows(f"trafficevent WHERE id = '{event_id(id)}'")
