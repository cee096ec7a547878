"""Calls to real servers on localhost: whose fault, whose turn, when to wait, when to stop."""

import asyncio
import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.errors import CannotRun, Paused
from engine.judges.asking import Answered, JudgmentCache, Question, ServerAsker, access_of
from engine.servers import control, transport
from engine.servers.client import Client
from engine.servers.wire import Reply, read_reply
from tests.judges.scripted import Answer, Json, JudgeServer, fault, prefers, says, spec_for

FAST = 0.001  # backoff: seconds before a first retry


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


def ask(
    server: JudgeServer, count: int, cache: JudgmentCache | None = None, **settings: Any
) -> list[Answered[int]]:
    return list(ServerAsker(spec_for(server, **settings), cache, FAST).ask(map(question, range(count))))


def one(server: JudgeServer, **settings: Any) -> Answered[int]:
    (answered,) = ask(server, 1, **settings)
    return answered


def in_thread(work: Callable[[], object]) -> tuple[threading.Thread, list[object]]:
    """Starts the work; its result, or what it raised, is the list's one entry once the thread has ended."""
    outcome: list[object] = []

    def run() -> None:
        try:
            outcome.append(work())
        except Exception as error:
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, outcome


DEADLINE = 240.0  # seconds; what a busy machine needs at most, no measure of anything


def until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_judges_on_one_server_share_its_places_and_keep_their_own_ceilings(server: JudgeServer) -> None:
    first, second = (
        Client(access_of(spec_for(server, name=name, concurrency=count)), set(), FAST)
        for name, count in (("a", 2), ("b", 3))
    )
    other_key = control.server_at(server.url, "SOME_KEY")
    assert first._server is second._server
    assert other_key is not first._server
    all_at_once = threading.Event()

    def script(body: Json, number: int) -> Answer:
        if server.busiest >= 5:  # both at their own ceilings
            all_at_once.set()
        all_at_once.wait(0.02)
        return prefers("A")

    def ask_until_then(concurrency: int) -> None:
        until(lambda: len(ask(server, 20, concurrency=concurrency)) == 20 and all_at_once.is_set())

    server.script = script
    threads = [in_thread(lambda n=count: ask_until_then(n)) for count in (2, 3)]
    for thread, outcome in threads:
        thread.join()
        assert outcome == [None]
    assert server.busiest == 5


def test_a_wait_that_a_server_asks_for_holds_for_all_judges_on_it(server: JudgeServer) -> None:
    asked: list[float] = []

    def script(body: Json, number: int) -> Answer:
        asked.append(time.monotonic())
        return fault(429, headers={"retry-after": "0.3"}) if number == 0 else prefers("A")

    server.script = script
    first, _ = in_thread(lambda: ask(server, 1))
    until(lambda: control.server_at(server.url, None).limiter.resume_at)
    ask(server, 3)
    first.join(DEADLINE)
    assert len(asked) == 5
    assert min(asked[1:]) - asked[0] >= 0.29


def test_a_quota_that_is_used_up_is_waited_for(server: JudgeServer) -> None:
    asked: list[float] = []
    waits: list[float] = []
    used_up = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "300ms"}

    def script(body: Json, number: int) -> Answer:
        asked.append(time.monotonic())
        waits.append(control.server_at(server.url, None).limiter.resume_at)
        answer = prefers("A")
        return Answer(body=answer.body, headers=used_up) if number == 0 else answer

    server.script = script
    assert len(ask(server, 3, concurrency=1)) == 3
    assert asked[1] - asked[0] >= 0.29
    assert waits[2] == waits[1] > waits[0], "the second answer has no wait of its own"


def test_an_outage_is_waited_for_and_loses_nothing(server: JudgeServer) -> None:
    """The server answers, then nobody for a while, then all again."""
    down = threading.Event()
    texts: set[str] = set()

    def script(body: Json, number: int) -> Answer:
        if number == 20:
            down.set()
        if text := control.waiting():
            texts.add(text)
            if len(texts) >= 3:
                down.clear()
        return fault(503, "no healthy upstream") if down.is_set() else prefers("A")

    server.script = script
    answers = ask(server, 200, concurrency=8, retries=1)
    assert [answer.failure for answer in answers] == [None] * 200
    assert control.waiting() is None
    assert all(server.url in text and "503 no healthy upstream" in text for text in texts)


def test_a_person_can_end_the_wait_for_a_server(server: JudgeServer) -> None:
    down = threading.Event()

    def script(body: Json, number: int) -> Answer:
        return fault(500) if down.is_set() else prefers("A")

    server.script = script
    assert one(server).failure is None
    down.set()
    place = control.server_at(server.url, None)
    thread, outcome = in_thread(lambda: ask(server, 50))
    until(lambda: place.breaker.outage)
    place.limiter.collapse(3600)  # as if it had been down for long
    until(lambda: place.limiter.active == 0)
    assert control.waiting() is not None
    down.clear()
    control.try_again()
    thread.join(DEADLINE)
    assert isinstance(outcome[0], list)
    assert len(outcome[0]) == 50
    assert control.waiting() is None


def test_a_run_that_is_asked_to_stop_waits_for_no_server(server: JudgeServer) -> None:
    server.answers(prefers("A"), fault(429, headers={"retry-after": "200"}))
    thread, outcome = in_thread(lambda: ask(server, 20))
    until(lambda: control.waiting())
    assert "asks to wait until" in str(control.waiting())
    control.interrupt("a pause was asked for")
    thread.join(DEADLINE)
    assert isinstance(outcome[0], Paused)


def test_answers_under_way_arrive_when_a_run_is_asked_to_stop_and_no_others_are_asked_for(
    server: JudgeServer,
) -> None:
    go_on = threading.Event()

    def script(body: Json, number: int) -> Answer:
        go_on.wait(DEADLINE)
        return prefers("A")

    server.script = script
    answered: list[object] = []
    asker = ServerAsker(spec_for(server, concurrency=4), None, FAST)
    thread, outcome = in_thread(lambda: answered.extend(asker.ask(map(question, range(50)))))
    until(lambda: len(server.requests) == 4)
    control.interrupt("a pause was asked for")
    go_on.set()
    thread.join(DEADLINE)
    assert isinstance(outcome[0], Paused)
    assert len(answered) == len(server.requests) == 4


def test_an_answer_that_does_not_come_holds_up_nobody_who_stops(
    server: JudgeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "GRACE_S", 0.05)
    go_on = threading.Event()

    def script(body: Json, number: int) -> Answer:
        go_on.wait()
        return prefers("A")

    server.script = script
    thread, outcome = in_thread(lambda: ask(server, 20))
    until(lambda: server.requests)
    control.interrupt("a pause was asked for")
    thread.join(DEADLINE)
    stopped = not thread.is_alive()
    go_on.set()
    assert stopped and isinstance(outcome[0], Paused)


@pytest.mark.usefixtures("impatient")
def test_a_server_that_stays_away_pauses_the_run(server: JudgeServer) -> None:
    server.script = lambda body, number: prefers("A") if number < 5 else fault(502, "bad gateway")
    with pytest.raises(Paused, match="502 bad gateway") as caught:
        ask(server, 100, retries=1)
    assert server.url in str(caught.value)
    assert control.waiting() is None


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (fault(429, "daily limit", headers={"retry-after": "86400"}), "asks to wait 86400 s"),
        (fault(429, "You exceeded your current quota", code="insufficient_quota"), "requires payment"),
        (fault(402, "Payment required"), "requires payment"),
    ],
)
def test_what_only_a_person_can_mend_pauses_the_run(server: JudgeServer, answer: Answer, said: str) -> None:
    server.answers(answer)
    with pytest.raises(Paused, match=said):
        ask(server, 20)
    assert len(server.requests) <= 8


def test_a_server_that_was_never_there_by_its_name_stops_at_once() -> None:
    spec = spec_for_url("http://no-such-host.invalid/v1")
    with pytest.raises(CannotRun, match="cannot be reached") as caught:
        list(ServerAsker(spec, None, FAST).ask([question(0)]))
    assert not isinstance(caught.value, Paused)


def spec_for_url(url: str, **settings: Any) -> Any:
    from engine.plan.plan import Judge

    return Judge.model_validate({"name": "tester", "server": url, "model": "judge", **settings})


def test_a_third_of_all_requests_failing_in_every_way_costs_few_and_loses_none(server: JudgeServer) -> None:
    chance = random.Random(3)
    released = threading.Event()
    faults = (
        fault(429, headers={"retry-after": "0"}),
        fault(500),
        fault(503, headers={"retry-after-ms": "2"}),
        Answer(status=None),
        Answer(body=b"\xff\x00 garbage"),
        Answer(body=b'{"choices": ['),
        None,
    )

    def script(body: Json, number: int) -> Answer:
        found = chance.choice(faults) if chance.random() < 1 / 3 else prefers("A")
        if found is None:
            released.wait(30)  # hangs until the client has long gone
            return fault(500)
        return found

    server.script = script
    answers = ask(server, 300, timeout_s=0.3, concurrency=16)
    released.set()
    assert sorted(answer.question.about for answer in answers) == list(range(300))
    assert sum(answer.failure is not None for answer in answers) <= 7


def test_a_server_that_refuses_every_name_of_the_limit_gets_none(server: JudgeServer) -> None:
    def script(body: Json, number: int) -> Answer:
        for name in ("max_tokens", "max_completion_tokens", "response_format", "temperature", "seed"):
            if name in body:
                return fault(400, f"Unsupported parameter: '{name}' is not supported", param=name)
        return prefers("A")

    server.script = script
    asker = ServerAsker(spec_for(server, concurrency=1), None, FAST)
    for numbers in (range(1), range(1, 3)):
        assert {answer.failure for answer in asker.ask(map(question, numbers))} == {None}
    assert len(server.requests) == 8
    assert set(server.requests[-1]) == {"model", "messages"}
    assert asker.describe()["rejected"] == [
        "max_completion_tokens",
        "max_tokens",
        "response_format",
        "seed",
        "temperature",
    ]


@pytest.mark.parametrize(
    "answer",
    [
        fault(
            400,
            "This model's maximum context length is 8192 tokens. Unsupported: max_tokens, temperature.",
            code="context_length_exceeded",
        ),
        fault(400, "prompt is too long: the context window is 4096; lower max_tokens or response_format"),
    ],
)
def test_a_prompt_above_the_context_is_a_failure_with_that_reason(
    server: JudgeServer, answer: Answer
) -> None:
    server.answers(answer)
    found = one(server)
    assert found.failure is not None
    assert "context" in found.failure
    assert len(server.requests) == 1


def test_what_the_server_says_about_its_version_is_kept(server: JudgeServer) -> None:
    body = json.loads(prefers("A").body)
    body["model"], body["system_fingerprint"] = "other-model-2026", "fp_44709d6fcb"
    body["usage"]["prompt_tokens_details"] = {"cached_tokens": 64}
    server.answers(Answer(body=json.dumps(body).encode()))
    reply = one(server).reply
    assert (reply.model, reply.fingerprint) == ("other-model-2026", "fp_44709d6fcb")
    assert (reply.tokens_in, reply.tokens_cached) == (100, 64)


def test_a_redirect_is_told_and_not_followed_with_the_key(
    server: JudgeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUDGE_KEY", "sk-very-secret-1234")
    elsewhere = JudgeServer()
    try:
        server.answers(Answer(status=307, headers={"location": f"{elsewhere.url}/chat/completions"}))
        with pytest.raises(CannotRun, match="redirects"):
            one(server, api_key_env="JUDGE_KEY")
        assert elsewhere.requests == []
    finally:
        elsewhere.stop()


def test_the_address_s_query_goes_along_and_is_shown_nowhere(server: JudgeServer) -> None:
    asker = ServerAsker(spec_for_url(f"{server.url}?api-version=2024-10-21"), None, FAST)
    (answered,) = asker.ask([question(0)])
    assert answered.failure is None
    assert "2024-10-21" not in json.dumps(asker.describe())


def test_an_answer_that_never_ends_is_left(server: JudgeServer, monkeypatch: pytest.MonkeyPatch) -> None:

    monkeypatch.setattr(transport, "LONGEST", 1 << 20)
    server.answers(Answer(body=b" " * (3 << 20)), prefers("A"))
    answered = one(server)
    assert (answered.failure, answered.reply.attempts) == (None, 2)


def test_a_question_that_is_longer_than_an_answer_may_be_is_not_sent(
    server: JudgeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "LONGEST", 10)
    assert "the question is longer" in str(one(server).failure)
    assert server.requests == []


def test_a_page_with_status_200_is_asked_again(server: JudgeServer) -> None:
    page = Answer(body=b"<!doctype html><title>Sign in</title>", headers={"content-type": "text/html"})
    server.answers(prefers("A"), page, prefers("A"))
    answers = ask(server, 2, concurrency=1)
    assert [(answer.failure, answer.reply.attempts) for answer in answers] == [(None, 1), (None, 2)]


@pytest.mark.usefixtures("impatient")
def test_the_key_is_in_nothing_that_a_person_or_a_file_gets(
    server: JudgeServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    key = "sk-very-secret-1234"
    monkeypatch.setenv("JUDGE_KEY", key)
    winner = '{"winner": "A", "reasoning": "' + key + '"}'
    replies = [
        says(winner),
        fault(400, f"bad {key}"),
        fault(500, key),
        Answer(body=f"not JSON {key}".encode()),
        fault(429, key, code="insufficient_quota"),
    ]
    shown: list[object] = []
    kept: list[object] = []
    for place, reply in enumerate(replies):
        server.answers(reply)
        server.requests.clear()
        cache = JudgmentCache(tmp_path / str(place))
        try:
            shown += ask(server, 2, cache, api_key_env="JUDGE_KEY", retries=1)
        except CannotRun as error:
            shown += [error, error.__cause__, str(error)]
        shown.append(control.waiting())
        kept += [cache._cache[name] for name in cache._cache]
        cache.close()
    assert len(shown) > 10
    assert "[key]" in repr(kept)
    assert "secret" not in repr([shown, kept])


def test_answers_kept_before_there_were_costs_can_still_be_read(tmp_path: Path) -> None:
    cache = JudgmentCache(tmp_path)
    cache._cache.set(
        "k",
        {
            "text": "x",
            "finish_reason": "stop",
            "tokens_in": 1,
            "tokens_out": 2,
            "model": "m",
            "latency_s": 0.1,
            "attempts": 1,
            "refused": None,
            "repaired": False,
        },
    )
    kept = cache.get("k")
    assert isinstance(kept, Reply)
    assert (kept.cost, kept.fingerprint) == (None, None)
    reply = read_reply(prefers("A").body, 0.5)
    cache.put("n", reply)
    assert cache.get("n") == reply


async def test_a_server_that_drips_bytes_is_left_at_the_timeout(server: JudgeServer) -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
        while not writer.is_closing():
            writer.write(b" ")
            await asyncio.sleep(0.01)

    listening = await asyncio.start_server(drip, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    spec = spec_for_url(f"http://127.0.0.1:{port}/v1", timeout_s=0.1, retries=0)
    client = Client(access_of(spec), set(), FAST)
    try:
        with pytest.raises(Exception, match=r"no answer within 0\.1 s"):
            await client.complete({"messages": [{"role": "user", "content": "x"}]})
    finally:
        await client.close()
        listening.close()


@pytest.fixture(autouse=True)
def no_threads_left() -> Iterator[None]:
    yield
    assert not any(thread.name == "servers" for thread in threading.enumerate())
