"""The collector over real HTTP: what it takes is on disk and there once, what it refuses it names."""

import asyncio
import functools
import gzip
import http.client
import json
import os
import random
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any

import pytest

from engine.traffic import collector as served
from engine.traffic import events as native
from store import database, intake
from store.records import Event
from store.write import Recorder
from tests.cli.conftest import Assay
from tests.cli.conftest import assay as assay
from tests.store.conftest import queued_run
from tests.traffic.collecting import TOKEN, Running, collector, event

MEGABYTE = 1 << 20


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One collector for all tests that leave it running."""
    with collector(tmp_path_factory.mktemp("collector") / "store") as found:
        yield found


def test_an_event_and_what_is_said_of_it_are_in_the_store(running: Running) -> None:
    answer = running.post(event(1, user="ana@example.com", session="s1", variant="B", latency_ms=250))
    assert answer.status == 202
    (id,) = answer.json["ids"]
    said = running.post({"event_id": id, "thumbs": "down", "correction": "3 days."}, "/v1/feedback")
    assert said.status == 202
    row = running.rows(f"trafficevent WHERE id = '{id}'", "source, model, variant, latency_s, user, response")
    salt = native.salt(running.store)
    user = native.user_hash("ana@example.com", salt)
    assert [tuple(one) for one in row] == [("collector", "support-v3", "B", 0.25, user, "It takes 5 days.")]
    (feedback,) = running.rows(f"trafficfeedback WHERE event_id = '{id}'", "id, thumbs, correction")
    assert tuple(feedback) == (said.json["ids"][0], -1, "3 days.")


def test_feedback_may_name_the_services_own_id_and_come_first(running: Running) -> None:
    assert running.post({"event_id": "own-7", "thumbs": "up"}, "/v1/feedback").status == 202
    (id,) = running.post(event(7, id="own-7")).json["ids"]
    assert len(running.rows(f"trafficfeedback WHERE event_id = '{id}'")) == 1


def test_lists_and_lines_are_stored_as_a_whole_or_not_at_all(running: Running) -> None:
    listed = running.post([event(n, id=f"l{n}") for n in range(3)])
    lines = "".join(json.dumps(event(n, id=f"n{n}")) + "\r\n" for n in range(3)).encode()
    lined = running.send("POST", "/v1/events", lines, {"Content-Type": "application/x-ndjson"})
    assert (listed.status, lined.status) == (202, 202)
    assert len(set(listed.json["ids"] + lined.json["ids"])) == 6
    before = len(running.rows("trafficevent"))
    wrong = running.post([event(10, id="w1"), event(11, id="w2", tokens_in=-1)])
    assert (wrong.status, wrong.param) == (
        400,
        "[1].tokens_in",
    ) and "expected a whole number" in wrong.message
    assert len(running.rows("trafficevent")) == before


def test_an_event_with_thumbs_is_an_event_and_feedback(running: Running) -> None:
    (id,) = running.post(event(12, thumbs="up", user="u12")).json["ids"]
    assert [row[0] for row in running.rows(f"trafficfeedback WHERE event_id = '{id}'", "thumbs")] == [1]


def test_an_event_without_a_time_is_of_the_moment_when_it_came(running: Running) -> None:
    now = time.time()
    sent = {key: value for key, value in event(13).items() if key != "time"}
    (id,) = running.post(sent).json["ids"]
    ((when,),) = running.rows(f"trafficevent WHERE id = '{id}'", "time")
    assert now - 1 < when < time.time() + 1


def test_a_key_makes_a_request_that_is_sent_twice_one(running: Running) -> None:
    sent = [{key: value for key, value in event(14).items() if key != "time"}] * 2
    first = running.post(sent, Idempotency_Key="k-14")
    again = running.post(sent, Idempotency_Key="k-14")
    assert (first.status, again.status) == (202, 202)
    assert first.json == again.json and len(set(first.json["ids"])) == 2
    assert (first.headers.get("idempotent-replayed"), again.headers["idempotent-replayed"]) == (None, "true")
    other = running.post(event(15), Idempotency_Key="k-14")
    assert (other.status, other.param) == (422, "Idempotency-Key")
    assert running.post(sent, Idempotency_Key="k-15").json["ids"] != first.json["ids"]
    held = "".join(map(str, (tuple(row) for row in running.rows("trafficreceipt"))))
    assert held and "k-14" not in held


def test_an_id_of_another_question_is_refused_and_named(running: Running) -> None:
    assert running.post(event(16, id="same")).status == 202
    clash = running.post([event(17, id="w3"), event(18, id="same")])
    assert (clash.status, clash.param) == (409, "[1].id")
    assert running.rows(f"trafficevent WHERE id = '{native.event_id('w3')}'") == []


@pytest.mark.parametrize(
    "given", ["", "Bearer", "Bearer wrong", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x", "Bearer \xe9"]
)
def test_only_the_token_opens_the_door(running: Running, given: str) -> None:
    refused = running.send("POST", "/v1/events", b"{}", {"Authorization": given})
    assert (refused.status, refused.headers["www-authenticate"]) == (401, "Bearer")
    assert "ids" not in refused.json


def test_health_needs_no_token_and_tells_nothing_else(running: Running) -> None:
    found = running.send("GET", "/health", headers={"Authorization": ""})
    assert (found.status, found.json) == (200, {"status": "ok"})


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/events", 405),
        ("POST", "/v1/events/", 404),
        ("POST", "//v1/events", 404),
        ("POST", "/v1/../v1/events", 404),
        ("GET", "/openapi.json", 404),
        ("GET", "/docs", 404),
        ("GET", "/%2e%2e/%2e%2e/etc/passwd", 404),
    ],
)
def test_there_are_no_other_paths(running: Running, method: str, path: str, status: int) -> None:
    refused = running.send(method, path)
    assert refused.status == status and refused.message


@pytest.mark.parametrize(
    ("headers", "status", "param"),
    [
        ({"Content-Type": "text/plain"}, 415, "Content-Type"),
        ({"Content-Type": ""}, 415, "Content-Type"),
        ({"Content-Type": "application/json; charset=latin-1"}, 415, "Content-Type"),
        ({"Content-Type": 'application/json; charset="UTF-8"'}, 202, None),
        ({"Content-Encoding": "br"}, 415, "Content-Encoding"),
        ({"Content-Encoding": "gzip, gzip"}, 415, "Content-Encoding"),
        ({"Content-Encoding": "gzip"}, 400, "Content-Encoding"),
        ({"Transfer-Encoding": "chunked", "Content-Length": "2"}, 400, "Transfer-Encoding"),
        ({"Idempotency-Key": "x" * 256}, 400, "Idempotency-Key"),
    ],
)
def test_a_header_that_is_wrong_is_named(
    running: Running, headers: dict[str, str], status: int, param: str | None
) -> None:
    answer = running.send("POST", "/v1/events", json.dumps(event(20)).encode(), headers)
    assert answer.status == status
    assert param is None or answer.param == param


@pytest.mark.parametrize(
    ("body", "part"),
    [
        (b"", "is not JSON"),
        (b"{", "is not JSON"),
        (b"[]", "no events"),
        (b"7", "found a number"),
        (b"[null]", "found nothing"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"prompt": "a", "prompt": "b"}', "appears twice"),
        (b'{"prompt": "\\ud800", "response": "b"}', "half of a character"),
        (b'{"prompt": "a", "response": "b", "latency_s": 1e999}', "too large"),
        (b'{"prompt": "a", "response": "b", "tokens_in": ' + b"9" * 5_000 + b"}", "4300 digits"),
        (b'{"prompt": "a", "response": "b", "tokens_in": 99999999999999999999}', "whole number"),
        (b'{"prompt": "a", "response": "b", "latency_s": -1}', "expected a duration"),
        (b'{"prompt": "a", "response": "b", "time": "tomorrow"}', "expected seconds"),
        (b'{"prompt": "a", "response": "b", "time": "2999-01-01"}', "in the future"),
        (b'{"prompt": "a", "response": "b", "thumbs": "sideways"}', "expected up or down"),
        (b'{"prompt": "a", "response": {"b": 1}}', "where a text was expected"),
        (b'{"messages": {"role": "user"}}', "messages"),
        (b'{"prompt": "a", "__proto__": 1}', "unknown key"),
        (b'{"response": "a"}', "messages: is missing"),
        (b'{"prompt": "\xff"}', "not UTF-8"),
        ('{"prompt": "a"}'.encode("utf-16"), "not UTF-8"),
    ],
)  # fmt: skip
def test_a_body_that_is_wrong_is_refused_with_the_reason(running: Running, body: bytes, part: str) -> None:
    before = len(running.rows("trafficevent"))
    refused = running.send("POST", "/v1/events", body)
    assert refused.status == 400 and part in refused.message and len(refused.message) < 500
    assert len(running.rows("trafficevent")) == before


def test_hostile_texts_are_kept_as_they_are(running: Running) -> None:
    text = "a\x00b\x1b[31m‮\u2028 𝒳 '); DROP TABLE trafficevent; --"
    (id,) = running.post(event(21, response=text)).json["ids"]
    assert [row[0] for row in running.rows(f"trafficevent WHERE id = '{id}'", "response")] == [text]


def test_feedback_without_its_event_or_with_a_question_is_refused(running: Running) -> None:
    assert running.post({"thumbs": "up"}, "/v1/feedback").param == "event_id"
    assert running.post({"event_id": "x"}, "/v1/feedback").status == 400
    assert running.post(event(22, event_id="x", thumbs="up"), "/v1/feedback").param == "messages"


def test_sizes_are_limited_packed_or_not(running: Running) -> None:
    packed = {"Content-Encoding": "gzip"}
    fits = event(23, response="x" * (MEGABYTE - 400))
    assert running.send("POST", "/v1/events", gzip.compress(json.dumps(fits).encode()), packed).status == 202
    large = event(24, response="x" * MEGABYTE)
    assert running.post(large).status == 413
    refused = running.post([event(25), large])
    assert (refused.status, refused.param) == (413, "[1]")
    assert running.post([event(26)] * 1_001).status == 413
    assert running.send("POST", "/v1/events", b" " * (10 * MEGABYTE + 1)).status == 413
    chunks = {"Transfer-Encoding": "chunked"}
    with closing(running.connection()) as connection:
        body = (b" " * MEGABYTE for _ in range(12))
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json", **chunks}
        connection.request("POST", "/v1/events", body, headers, encode_chunked=True)
        assert connection.getresponse().status == 413
    bomb = gzip.compress(bytes(1 << 28))
    assert len(bomb) < MEGABYTE and running.send("POST", "/v1/events", bomb, packed).status == 413


def test_a_collector_starts_with_a_token_or_on_this_machine_alone(
    assay: Assay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ASSAY_COLLECT_TOKEN", raising=False)
    store = tmp_path / "store"
    without = assay("collect", "--port", "0", "--store", store)
    assert without.code == 2 and "ASSAY_COLLECT_TOKEN is not set" in without.err
    monkeypatch.setenv("ASSAY_COLLECT_TOKEN", TOKEN)
    for host in ("0.0.0.0", "::", "192.0.2.1", "example.com"):
        opened = assay("collect", "--no-token", "--host", host, "--store", store)
        assert opened.code == 2 and f"{host} can be reached from elsewhere" in opened.err
    monkeypatch.setenv("ASSAY_COLLECT_TOKEN", "schlüssel")
    odd = assay("collect", "--port", "0", "--store", store)
    assert odd.code == 2 and "does not hold a key" in odd.err and "schl" not in odd.err
    assert not store.exists()


def test_a_port_or_a_store_that_is_taken_is_named(
    assay: Assay, running: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASSAY_COLLECT_TOKEN", TOKEN)
    port = assay("collect", "--port", str(running.port), "--store", tmp_path / "other")
    assert port.code == 2 and f"port {running.port}: Address already in use" in port.err
    name = assay("collect", "--host", "no such host", "--store", tmp_path / "other")
    assert name.code == 2 and "cannot listen on no such host" in name.err
    second = assay("collect", "--port", "0", "--store", running.store)
    assert second.code == 2 and "another collector" in second.err


def test_without_a_token_only_names_of_this_machine_are_answered(tmp_path: Path) -> None:
    with collector(tmp_path / "store", "--no-token", "--mask", "--rate", "5", token=None) as running:
        sent = event(1, response="Write to ana@example.com or 4111 1111 1111 1111.", tags=["ana@example.com"])
        body = json.dumps(sent).encode()
        open_door = {"Authorization": ""}
        (id,) = running.send("POST", "/v1/events", body, open_door).json["ids"]
        row = running.rows(f"trafficevent WHERE id = '{id}'", "response, masked, personal, tags")
        assert [tuple(one) for one in row] == [
            ("Write to [email] or [card number].", 1, '["card number", "email"]', '["[email]"]')
        ]
        for host in ("evil.example", "127.0.0.1.evil.example", "evil.example:80@127.0.0.1"):
            assert running.send("POST", "/v1/events", body, {**open_door, "Host": host}).status == 403
        assert running.send("POST", "/v1/events", body, {**open_door, "Host": "localhost:1"}).status == 202
        forwarded = {**open_door, "X-Forwarded-For": "192.0.2.7"}
        refused = running.send("POST", "/v1/events", body, forwarded)
        assert (refused.status, refused.headers["retry-after"]) == (429, "1")


class Load:
    """Clients that send events under keys, each again until it is taken; `taken` are those answered 202."""

    def __init__(self) -> None:
        self.taken: dict[int, str] = {}
        self._next = 0
        self._lock = threading.Lock()

    def send(self, running: Running, stopped: threading.Event, open_: list[int]) -> None:
        connection = running.connection()
        while not stopped.is_set():
            with self._lock:
                number, self._next = (open_.pop(), self._next) if open_ else (self._next, self._next + 1)
            headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
            body = json.dumps({**event(number), "time": None})
            try:
                connection.request("POST", "/v1/events", body, {**headers, "Idempotency-Key": f"k{number}"})
                answer = connection.getresponse()
                said = json.loads(answer.read())
            except (OSError, http.client.HTTPException, ValueError):
                break
            if answer.status == 202:
                self.taken[number] = said["ids"][0]
        connection.close()

    @property
    def unanswered(self) -> list[int]:
        return [number for number in range(self._next) if number not in self.taken]


def stored(store: Path) -> list[tuple[str, str]]:
    """Ids and prompts of the events in a store."""
    with closing(sqlite3.connect(store / database.FILE)) as connection:
        rows = connection.execute("SELECT id, json_extract(messages, '$[0].content') FROM trafficevent")
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        return [(str(id), str(prompt)) for id, prompt in rows]


@pytest.mark.parametrize(("end", "times"), [(signal.SIGKILL, 3), (signal.SIGTERM, 1)])
def test_whatever_was_answered_with_202_is_in_the_store_once_however_it_ends(
    tmp_path: Path, end: signal.Signals, times: int
) -> None:
    load, store, draw = Load(), tmp_path / "store", random.Random(19)
    for _ in range(times):
        with collector(store) as running:
            stopped, left = threading.Event(), load.unanswered
            clients = [threading.Thread(target=load.send, args=(running, stopped, left)) for _ in range(8)]
            enough = len(load.taken) + draw.randint(20, 150)
            for client in clients:
                client.start()
            while len(load.taken) < enough:
                time.sleep(0.001)
            running.process.send_signal(end)
            code = running.process.wait(timeout=30)
            for client in clients:
                client.join()
            assert code == (-signal.SIGKILL if end == signal.SIGKILL else 0)
    found = stored(store)
    assert dict(found).keys() >= set(load.taken.values())
    prompts = [prompt for _, prompt in found]
    assert len(prompts) == len(set(prompts)), "an event that was sent again is there twice"
    assert {f"How long does return {number} take?" for number in load.taken} <= set(prompts)
    with collector(store) as running:
        for number, id in list(load.taken.items())[:20]:
            again = running.post({**event(number), "time": None}, Idempotency_Key=f"k{number}")
            assert (again.status, again.json["ids"]) == (202, [id])
    assert len(stored(store)) == len(found)


def test_nothing_that_a_client_sends_is_said_or_logged(tmp_path: Path) -> None:
    secret, store = "s3cret-word", tmp_path / "store"
    with collector(store) as running:
        sent = event(1, response=secret, id=secret)
        assert running.post(sent, f"/v1/events?{secret}={secret}", Idempotency_Key=secret).status == 202
        assert running.post(sent, f"/v1/{secret}").status == 404
        assert running.post({secret: secret}).status == 400
        assert running.send("POST", "/v1/events", b"", {"Authorization": f"Bearer {secret}"}).status == 401
        with closing(socket.create_connection(("127.0.0.1", running.port))) as raw:
            raw.sendall(f"{secret} \x00\r\n\r\n".encode())
            assert b"400" in raw.recv(1000)
        code, said = running.stop()
    assert code == 0 and "every" in said
    assert secret not in said and TOKEN not in said
    for file in store.iterdir():
        assert TOKEN.encode() not in file.read_bytes(), file


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with little room."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", place]
    with suppress(FileNotFoundError):
        if not subprocess.run(mount, capture_output=True, check=False).returncode:
            yield place
            subprocess.run(["umount", "--lazy", place], check=True)
            return
    pytest.skip("mounting a small file system takes the rights of root")


def test_a_full_disk_is_told_and_nothing_is_half_stored(small_disk: Path) -> None:
    with collector(small_disk / "store") as running:
        answers = [
            running.post([event(n, id=f"a{n}", response="x" * 90_000), event(n, id=f"b{n}")])
            for n in range(30)
        ]
        statuses = [answer.status for answer in answers]
        assert set(statuses) == {202, 503}
        refused = next(answer for answer in answers if answer.status == 503)
        assert refused.headers["retry-after"] and "nothing of this request" in refused.message
        assert str(small_disk) not in refused.message
        ids = {id for answer in answers if answer.status == 202 for id in answer.json["ids"]}
        assert {row[0] for row in running.rows("trafficevent", "id")} == ids
        subprocess.run(["mount", "-o", "remount,size=20m", small_disk], check=True)
        again = running.post([event(29, id="a29", response="x" * 90_000), event(29, id="b29")])
        assert again.status == 202, "it goes on when there is room"
        code, said = running.stop()
    assert code == 0 and said.count("is full") >= 1
    assert {id for id, _ in stored(small_disk / "store")} == ids | set(again.json["ids"])


@asynccontextmanager
async def here(folder: Path) -> AsyncIterator[Running]:
    """A collector in this process."""
    database.prepare(folder)
    listening = served.listen("127.0.0.1", 0)
    server = served.server(served.CollectorSettings(folder, TOKEN), lambda line: None)
    task = asyncio.create_task(server.serve(sockets=[listening]))
    while not server.started:
        await asyncio.sleep(0.01)
    yield Running(folder, None, listening.getsockname()[1])
    server.should_exit = True
    await task


async def test_slow_clients_are_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served, "HEAD_SECONDS", 0.3)
    monkeypatch.setattr(served, "BODY_SECONDS", 0.3)
    head = f"POST /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n".encode()
    async with here(tmp_path / "store") as running:

        async def all_that_comes(parts: Iterable[bytes]) -> bytes:
            reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
            with suppress(ConnectionError):
                for part in parts:
                    writer.write(part)
                    await asyncio.sleep(0.05)
            found = b""
            with suppress(ConnectionError):
                found = await asyncio.wait_for(reader.read(), 10)
            writer.close()
            return found

        assert await all_that_comes([]) == b""
        assert await all_that_comes([head[:20]]) == b""
        assert await all_that_comes(head[place : place + 1] for place in range(10)) == b""
        length = b"Content-Type: application/json\r\nContent-Length: 99\r\n\r\n"
        late = await all_that_comes([head, length, b"{"])
        assert b" 408 " in late and b"within" in late
        health = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
        assert (await all_that_comes([health, head])).count(b"HTTP/1.1") == 1
        done = await asyncio.to_thread(running.post, event(1))
        assert done.status == 202


async def test_idle_connections_keep_nobody_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served, "CONNECTIONS", 20)
    async with here(tmp_path / "store") as running:
        idle = [await asyncio.open_connection("127.0.0.1", running.port) for _ in range(60)]
        for _, writer in idle[::2]:
            writer.write(b"POST /v1/events HTTP/1.1\r\nHost: x\r\n")
        with closing(running.connection()) as kept:
            for number in range(3):
                headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
                body = json.dumps(event(number))
                await asyncio.to_thread(kept.request, "POST", "/v1/events", body, headers)
                answer = await asyncio.to_thread(kept.getresponse)
                assert (answer.status, bool(answer.read())) == (202, True)
        for _, writer in idle:
            writer.close()


async def test_what_waits_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "WAIT", 30)
    monkeypatch.setattr(served, "WAITING", 3)
    monkeypatch.setattr(served, "HELD_BYTES", MEGABYTE)
    async with here(tmp_path / "store") as running:
        large = await asyncio.to_thread(running.post, [event(n, response="x" * 400_000) for n in range(3)])
        assert (large.status, large.headers["retry-after"]) == (429, "1") and "bytes" in large.message
        with closing(database.connect(running.store)) as other:
            other.execute("BEGIN IMMEDIATE")
            asked = [asyncio.create_task(asyncio.to_thread(running.post, event(n))) for n in range(8)]
            done, waiting = await asyncio.wait(asked, timeout=1)
            assert {task.result().status for task in done} == {429} and len(done) == 5
            other.execute("ROLLBACK")
        assert {(await task).status for task in waiting} == {202}


def test_it_takes_events_beside_a_run_that_writes_into_the_same_store(tmp_path: Path) -> None:
    with collector(tmp_path / "store") as running:
        recorder = Recorder(running.store, queued_run(running.store))
        statuses: list[int] = []
        sending = threading.Thread(
            target=lambda: statuses.extend(running.post(event(n, id=f"r{n}")).status for n in range(60))
        )
        sending.start()
        written = 0
        while sending.is_alive():
            recorder.event("info", "generate", "x" * 1_000)
            written += 1
        sending.join()
        assert statuses == [202] * 60
        assert len(recorder.rows(Event)) == written > 0
        recorder.close()


def test_a_store_that_can_only_be_read_is_refused_at_the_start_and_later(
    assay: Assay, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASSAY_COLLECT_TOKEN", TOKEN)
    database.prepare(small_disk / "store")
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    refused = assay("collect", "--port", "0", "--store", small_disk / "store")
    assert refused.code == 2 and "can only be read here" in refused.err


def test_without_its_packages_it_says_what_to_install(
    assay: Assay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "fastapi", None)
    monkeypatch.delitem(sys.modules, "engine.traffic.collector", raising=False)
    refused = assay("collect", "--no-token", "--store", tmp_path / "store")
    assert refused.code == 2 and "needs the package fastapi" in refused.err
    assert "pip install 'assay[collect]'" in refused.err


async def test_a_locked_store_and_one_that_is_away_are_told_until_it_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "WAIT", 0.1)
    async with here(tmp_path / "store") as running:
        post = functools.partial(asyncio.to_thread, running.post)
        with closing(database.connect(running.store)) as other:
            other.execute("BEGIN IMMEDIATE")
            assert (await post(event(1))).status == 503
            other.execute("ROLLBACK")
        assert (await post(event(2))).status == 202
        away = running.store.rename(tmp_path / "away")
        assert (await post(event(3))).status == 503
        assert (await asyncio.to_thread(running.send, "GET", "/health")).status == 503
        away.rename(running.store)
        assert (await post(event(4))).status == 202
        assert len(running.rows("trafficevent")) == 2


def span(id: str, content: str | None, start: str = "1772445600000000000") -> dict[str, Any]:
    """A call of a model by OpenTelemetry's GenAI conventions, in OTLP's JSON; without content it is none."""

    def turns(role: str, text: str) -> str:
        return json.dumps([{"role": role, "parts": [{"type": "text", "content": text}]}])

    said = {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "support-v3",
        "gen_ai.input.messages": turns("user", content or ""),
        "gen_ai.output.messages": turns("assistant", "5 days."),
    }
    return {
        "traceId": "0af7651916cd43dd8448eb211c80319c",
        "spanId": id,
        "name": "chat",
        "startTimeUnixNano": start,
        "endTimeUnixNano": "1772445601500000000",
        "attributes": [
            {"key": key, "value": {"stringValue": value}} for key, value in said.items() if content
        ],
    }


def exported(*spans: dict[str, Any]) -> dict[str, Any]:
    return {"resourceSpans": [{"resource": {}, "scopeSpans": [{"scope": {}, "spans": list(spans)}]}]}


def test_spans_come_in_as_otlp_and_a_bad_one_keeps_no_other_out(running: Running) -> None:
    bad = span("b7ad6b7169203332", "When?", start="soon")
    sent = exported(bad, span("b7ad6b7169203331", "How long?"), span("b7ad6b7169203333", None))
    for _ in range(2):
        answer = running.post(sent, "/v1/traces")
        assert answer.status == 200
        assert answer.json["partialSuccess"]["rejectedSpans"] == "1"
        assert answer.json["partialSuccess"]["errorMessage"]
    rows = running.rows("trafficevent WHERE source = 'otlp'", "id, response, latency_s, model")
    id = native.event_id("b7ad6b7169203331")
    assert [tuple(row) for row in rows] == [(id, "5 days.", 1.5, "support-v3")]
    assert running.post(exported(span("b7ad6b7169203334", None)), "/v1/traces").json == {}
    clash = exported(span("b7ad6b7169203331", "Another?"), span("b7ad6b7169203335", "And?"))
    assert running.post(clash, "/v1/traces").json["partialSuccess"]["rejectedSpans"] == "1"
    assert len(running.rows("trafficevent WHERE source = 'otlp'")) == 2
    hostile = span("b7ad6b7169203336", None)
    names = ["gen_ai.prompt." + "9" * 5_000, "gen_ai." + "a." * 50_000 + "a", "", "."]
    hostile["attributes"] = [{"key": name, "value": {"stringValue": "x"}} for name in names]
    mixed = exported(hostile, span("b7ad6b7169203337", "Still there?"))
    assert running.post(mixed, "/v1/traces").json["partialSuccess"]["rejectedSpans"] == "1"
    assert running.rows(f"trafficevent WHERE id = '{native.event_id('b7ad6b7169203337')}'")
    protobuf = running.send("POST", "/v1/traces", b"\x0a", {"Content-Type": "application/x-protobuf"})
    assert protobuf.status == 415 and "application/json" in protobuf.message
    assert running.post({"resourceSpans": 7}, "/v1/traces").status == 400
    assert running.post([], "/v1/traces").status == 400


PAGE = Path(__file__).parents[2] / "docs/monitoring.md"


def test_the_manuals_curl_lines_and_python_lines_are_taken(tmp_path: Path) -> None:
    blocks = re.findall(r"```(sh|python)\n(.*?)```", PAGE.read_text().replace("4319", "{port}"), re.DOTALL)
    lines = [(kind, code) for kind, code in blocks if "curl " in code or "CollectorClient" in code]
    assert sorted(kind for kind, _ in lines) == ["python", "sh"]
    with collector(tmp_path / "store") as running:
        for kind, code in lines:
            shell = ["bash", "-c"] if kind == "sh" else [sys.executable, "-c"]
            done = subprocess.run(
                [*shell, code.replace("{port}", str(running.port))],
                env={**os.environ, "ASSAY_COLLECT_TOKEN": TOKEN}, capture_output=True, text=True, check=True,
            )  # fmt: skip
            assert "error" not in done.stdout
        said = running.rows(
            "trafficfeedback f JOIN trafficevent e ON e.id = f.event_id", "thumbs, correction"
        )
        assert [tuple(row) for row in said] == [(-1, "3 days.")] * 2
