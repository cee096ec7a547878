"""A model behind a real HTTP server on this machine, well behaved and not."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from engine.data.calls import find_calls
from engine.data.example import Example
from engine.errors import CannotRun, Paused
from engine.models.model import UNFINISHED, Response, Settings
from engine.models.server import ServerModel
from engine.phases.work import closed_after
from engine.plan.plan import Model
from engine.servers import control
from tests.models.tiny import ask

Reply = tuple[int, dict[str, str], str]
QUESTIONS = [ask(f"question {number}") for number in range(12)]
SOON = {"retry-after-ms": "1"}
DEADLINE = 240.0  # seconds; what a busy machine needs at most, no measure of anything


def completion(text: Any, finish: str = "stop") -> Reply:
    choice = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": text}}
    usage = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
    body = {
        "id": "1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [choice],
        "usage": usage,
    }
    return 200, {"content-type": "application/json"}, json.dumps(body)


def asked_in(body: dict[str, Any]) -> str:
    return str(body["prompt"] if "prompt" in body else body["messages"][-1]["content"])


class _QuietServer(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has gone away is part of these tests."""


class Server:
    """Answers each chat completion with what `reply` says; keeps the requests and the most at one time."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.most = 0
        self._now = 0
        self._lock = threading.Lock()
        self.reply: Callable[[str, int], Reply] = lambda question, attempt: completion(question.upper())
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                with outer._lock:
                    outer._now += 1
                    outer.most = max(outer.most, outer._now)
                    question = asked_in(body)
                    attempt = sum(asked_in(seen) == question for seen in outer.requests)
                    outer.requests.append(body)
                    outer.keys.append(str(self.headers["authorization"]))
                status, headers, text = outer.reply(question, attempt)
                with outer._lock:
                    outer._now -= 1
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(text.encode())))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._http = _QuietServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}/v1"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def refuse(self) -> None:
        """Takes no connection any more."""
        self._http.socket.close()

    def stop(self) -> None:
        self._http.shutdown()
        self._http.server_close()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = Server()
    yield server
    server.stop()
    control.forget()


def served(server: Server, timeout_s: float = 20, retries: int = 2, **more: Any) -> ServerModel:
    model = Model(name="served", role="candidate", server=server.url, model="merged", **more)
    return ServerModel(model, concurrency=4, timeout_s=timeout_s, retries=retries, backoff_s=0.001)


def answers(
    model: ServerModel, examples: list[Example], settings: Settings | None = None
) -> dict[str, Response]:
    return {r.example_id: r for batch in model.generate(examples, settings or Settings()) for r in batch}


def test_every_example_is_asked_once_within_the_concurrency(server: Server) -> None:
    found = answers(served(server, system="Be brief."), QUESTIONS, Settings(max_new_tokens=9, stop=("!",)))
    assert {name: response.text for name, response in found.items()} == {
        q.id: q.id.upper() for q in QUESTIONS
    }
    assert len(server.requests) == len(QUESTIONS)
    assert server.most <= 4
    one = found["question 3"]
    assert (one.tokens_in, one.tokens_out, one.finish_reason) == (5, 2, "stop")
    assert one.latency_s is not None and one.latency_s > 0
    asked = server.requests[0]
    assert asked["messages"][0] == {"role": "system", "content": "Be brief."}
    assert (asked["model"], asked["temperature"], asked["max_tokens"], asked["stop"]) == (
        "merged",
        0.0,
        9,
        ["!"],
    )
    assert "top_p" not in asked


def test_an_answer_that_is_only_a_call_is_an_answer(server: Server) -> None:
    function = {"name": "weather", "arguments": '{"city": "Oslo"}'}
    status, headers, text = completion(None, "tool_calls")
    body = json.loads(text)
    body["choices"][0]["message"]["tool_calls"] = [{"id": "x", "type": "function", "function": function}]
    server.reply = lambda question, attempt: (status, headers, json.dumps(body))
    [answer] = answers(served(server), [ask("Weather?")], Settings()).values()
    assert (answer.reason, answer.finish_reason) == (None, "stop")
    assert find_calls(answer.text or "").calls == ({"name": "weather", "arguments": {"city": "Oslo"}},)


def test_tools_and_calls_are_sent_in_the_form_of_the_api(server: Server) -> None:
    tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
    given = {"type": "function", "function": {"name": "weather", "parameters": {"type": "dict"}}}
    function = {"name": "weather", "arguments": {"city": "Oslo"}}
    asked = {"role": "user", "content": "Weather?"}
    calls = [{"id": "c1", "type": "function", "function": function}]
    call = {"role": "assistant", "content": "", "tool_calls": calls}
    result = {"role": "tool", "content": "4", "tool_call_id": "c1", "name": "weather"}
    example = Example("e", "Weather?", (asked, call, result), tools=(given,))
    answers(served(server), [example, ask("plain")], Settings())
    plain, sent = sorted(server.requests, key=lambda body: len(body["messages"]))
    assert "tools" not in plain
    assert sent["tools"] == [tool]
    text = {**function, "arguments": '{"city": "Oslo"}'}
    assert sent["messages"] == [
        asked,
        {"role": "assistant", "content": None, "tool_calls": [{**calls[0], "function": text}]},
        {"role": "tool", "content": "4", "tool_call_id": "c1"},
    ]


def test_sampling_settings_are_passed_on(server: Server) -> None:
    answers(served(server), QUESTIONS[:1], Settings(temperature=0.7, top_p=0.9, seed=3))
    asked = server.requests[0]
    assert (asked["temperature"], asked["top_p"], asked["seed"]) == (0.7, 0.9, 3)


EXTRA = Settings(temperature=0.7, top_k=20, min_p=0.1, repetition_penalty=1.1, seed=3)


def test_settings_beyond_the_api_go_where_servers_take_them_and_are_told(server: Server) -> None:
    model = served(server, chat_template_kwargs={"enable_thinking": False})
    answers(model, QUESTIONS[:1], EXTRA)
    asked = server.requests[0]
    assert (asked["top_k"], asked["min_p"], asked["chat_template_kwargs"]) == (
        20, 0.1, {"enable_thinking": False},
    )  # fmt: skip
    assert asked["repetition_penalty"] == asked["repeat_penalty"] == 1.1  # llama.cpp's name
    (told,) = [note for note in model.describe()["notes"] if "beyond the OpenAI API" in note]
    assert told.startswith("top_k, min_p, repetition_penalty, chat_template_kwargs: ")
    assert model.fingerprint != served(server).fingerprint
    plain = served(server)
    answers(plain, QUESTIONS[:1], Settings(top_k=20, temperature=0))
    assert "top_k" not in server.requests[-1]
    assert "temperature 0 takes the likeliest token: top_k has no effect" in plain.describe()["notes"]


def test_a_refused_setting_beyond_the_api_is_dropped_and_told(server: Server) -> None:
    def reply(question: str, attempt: int) -> Any:
        asked = server.requests[-1]
        refused = next((name for name in ("top_k", "repeat_penalty") if name in asked), None)
        said = {"error": {"message": f"Unrecognized request argument supplied: {refused}"}}
        return (400, {}, json.dumps(said)) if refused else completion("fine")

    server.reply = reply
    model = served(server)
    assert answers(model, QUESTIONS[:1], EXTRA)[QUESTIONS[0].id].text == "fine"
    assert model.rejected == ["top_k"]
    assert any(note.startswith("min_p, repetition_penalty: beyond") for note in model.describe()["notes"])


def test_each_sample_is_asked_for_with_a_seed_of_its_own(server: Server) -> None:
    examples = [replace(QUESTIONS[0], sample=place) for place in range(3)]
    found = [one for batch in served(server).generate(examples, EXTRA) for one in batch]
    seeds = [body["seed"] for body in server.requests]
    assert sorted(one.sample for one in found) == [0, 1, 2]
    assert 3 in seeds and len({*seeds}) == 3 and max(seeds) < 2**31


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_asked_again(server: Server, status: int) -> None:
    server.reply = lambda question, attempt: completion("late") if attempt else (status, SOON, "busy")
    found = answers(served(server), QUESTIONS)
    assert {response.text for response in found.values()} == {"late"}


def test_an_example_that_stays_unanswered_is_missing_and_the_others_are_kept(server: Server) -> None:
    server.reply = lambda question, attempt: (500, SOON, "broken") if "7" in question else completion("fine")
    found = answers(served(server), QUESTIONS)
    assert found["question 7"].text is None
    assert "500" in str(found["question 7"].reason)
    assert sum(response.text == "fine" for response in found.values()) == len(QUESTIONS) - 1


@pytest.mark.parametrize(
    ("reply", "found"),
    [
        ((200, {"content-type": "application/json"}, "{half"), "no completion: {half (3 attempts)"),
        ((200, {"content-type": "text/html"}, "<h1>proxy</h1>"), "no completion: <h1>"),
        ((200, {"content-type": "application/json"}, '{"choices": []}'), "no completion"),
        ((200, {"content-type": "application/json"}, "[1]"), "no completion"),
        (completion(None), "has no text"),
        (completion("", "content_filter"), "content filter"),
        ((400, {}, '{"error": {"message": "prompt too long"}}'), "prompt too long"),
    ],
)
def test_an_answer_that_is_none_is_missing_with_its_reason(server: Server, reply: Reply, found: str) -> None:
    server.reply = lambda question, attempt: reply if question == "question 0" else completion("fine")
    response = answers(served(server), QUESTIONS[:1])["question 0"]
    assert response.text is None
    assert found in str(response.reason)


def test_an_empty_answer_is_an_answer(server: Server) -> None:
    server.reply = lambda question, attempt: completion("", "length")
    response = answers(served(server), QUESTIONS[:1])["question 0"]
    assert (response.text, response.finish_reason) == ("", "length")


def test_a_server_too_slow_is_missing_with_the_time_it_was_given(server: Server) -> None:
    release = threading.Event()

    def stuck(question: str, attempt: int) -> Reply:
        if question == "question 0":
            release.wait()
        return completion("too late")

    server.reply = stuck
    response = answers(served(server, timeout_s=0.5, retries=0), QUESTIONS[:1])["question 0"]
    release.set()
    assert response.text is None
    assert "no answer within 0.5 s" in str(response.reason)


def test_a_key_that_the_server_repeats_is_not_kept(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVED_KEY", "sk-very-secret")
    server.reply = lambda question, attempt: (400, {}, '{"error": {"message": "no sk-very-secret here"}}')
    response = answers(served(server, api_key_env="SERVED_KEY"), QUESTIONS[:1])["question 0"]
    assert "secret" not in str(response.reason)


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_stops_the_run_and_is_never_shown(
    server: Server, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVED_KEY", "sk-very-secret")
    server.reply = lambda question, attempt: (status, {}, '{"error": {"message": "bad key sk-very-secret"}}')
    model = served(server, api_key_env="SERVED_KEY")
    with pytest.raises(CannotRun) as caught:
        answers(model, QUESTIONS)
    assert "SERVED_KEY" in str(caught.value) and server.url in str(caught.value)
    assert "secret" not in str(caught.value) + json.dumps(model.describe())
    assert server.keys[0] == "Bearer sk-very-secret"


def test_a_key_that_is_not_set_is_told_before_anything_is_asked(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SERVED_KEY", raising=False)
    with pytest.raises(CannotRun, match="SERVED_KEY"):
        served(server, api_key_env="SERVED_KEY")


def test_an_unknown_model_stops_the_run(server: Server) -> None:
    server.reply = lambda question, attempt: (404, {}, '{"error": {"message": "no such model"}}')
    with pytest.raises(CannotRun, match="no model merged"):
        answers(served(server), QUESTIONS)


@pytest.mark.usefixtures("impatient")
def test_a_server_that_is_not_there_stops_the_run(server: Server) -> None:
    server.stop()
    with pytest.raises(CannotRun, match="has been unreachable"):
        answers(served(server, retries=0), QUESTIONS)


def test_models_that_refuse_max_tokens_are_asked_with_its_newer_name(server: Server) -> None:
    refusal = '{"error": {"message": "Use \'max_completion_tokens\' instead of \'max_tokens\'."}}'
    server.reply = lambda question, attempt: completion("yes") if attempt else (400, {}, refusal)
    assert answers(served(server), QUESTIONS[:1])["question 0"].text == "yes"
    assert server.requests[-1]["max_completion_tokens"] == 256


def test_closing_early_stops_asking(server: Server) -> None:
    many = [ask(f"question {number}") for number in range(500)]
    with closed_after(served(server).generate(many, Settings())) as batches:
        assert next(batches)
    asked = len(server.requests)
    assert asked < len(many)
    assert threading.active_count() < 30
    assert len(server.requests) <= asked + 4


def plain_completion(text: str) -> Reply:
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    choice = {"index": 0, "finish_reason": "length", "text": text}
    body = {"id": "1", "object": "text_completion", "created": 1, "model": "m", "choices": [choice]}
    return 200, {"content-type": "application/json"}, json.dumps(body | {"usage": usage})


def test_a_model_without_chat_is_asked_with_the_plain_query(server: Server) -> None:
    server.reply = lambda question, attempt: plain_completion(question.upper())
    model = served(server, api="completions", system="Be brief.")
    response = answers(model, QUESTIONS[:1], Settings(max_new_tokens=7))["question 0"]
    assert response.text == "BE BRIEF.\n\nQUESTION 0"
    assert (response.tokens_in, response.tokens_out, response.finish_reason) == (3, 2, "length")
    assert server.requests[0]["max_tokens"] == 7 and "messages" not in server.requests[0]
    assert model.fingerprint != served(server, system="Be brief.").fingerprint


def test_a_chat_answer_to_a_completions_model_is_none(server: Server) -> None:
    with pytest.raises(CannotRun, match="does not answer like the OpenAI API: no completion"):
        answers(served(server, api="completions"), QUESTIONS[:1])


def test_an_example_of_its_own_length_is_asked_with_it(server: Server) -> None:
    asked = [
        replace(QUESTIONS[0], extra={"max_new_tokens": 3}),
        replace(QUESTIONS[1], extra={"max_new_tokens": 0}),
    ]
    found = answers(served(server), asked)
    assert server.requests[0]["max_tokens"] == 3 and len(server.requests) == 1
    assert "max_new_tokens is 0" in str(found["question 1"].reason)


def test_a_server_that_asks_for_time_gets_it_from_all_requests(server: Server) -> None:
    """The first four are told to wait, once all have come; nobody asks before the time is over."""
    seen: list[float] = []
    together = threading.Barrier(4, lambda: seen.append(time.monotonic()))

    def reply(question: str, attempt: int) -> Reply:
        if not seen:
            together.wait(240)
            return 429, {"retry-after": "1"}, "slow down"
        seen.append(time.monotonic())
        return completion("yes")

    server.reply = reply
    found = answers(served(server), QUESTIONS)
    assert {response.text for response in found.values()} == {"yes"}
    assert seen[1] - seen[0] > 0.9


def test_a_parameter_that_the_server_refuses_is_left_out_and_noted(server: Server) -> None:
    refusal = '{"error": {"message": "temperature is not supported", "param": "temperature"}}'
    server.reply = lambda question, attempt: completion("yes") if attempt else (400, {}, refusal)
    model = served(server)
    assert answers(model, QUESTIONS[:1])["question 0"].text == "yes"
    assert "temperature" not in server.requests[-1]
    assert any("refuses temperature" in note for note in model.describe()["notes"])


def test_what_is_under_way_and_what_was_read_can_be_seen(server: Server) -> None:
    model = served(server)
    busy = 0
    for _ in model.generate(QUESTIONS, Settings()):
        busy = max(busy, model.load().busy)
    load = model.load()
    assert (load.prompt_tokens, load.tokens, load.busy) == (5 * len(QUESTIONS), 2 * len(QUESTIONS), 0)
    assert busy <= 4 and 1 <= load.slots <= 4


def test_waiting_for_a_slow_server_can_be_left_at_once(server: Server) -> None:
    release = threading.Event()
    answered: list[str] = []

    def stuck(question: str, attempt: int) -> Reply:
        release.wait(DEADLINE)
        answered.append(question)
        return completion("too late")

    server.reply = stuck
    with closed_after(served(server).generate(QUESTIONS, Settings())) as batches:
        assert next(batches) == []
    assert not answered
    release.set()


@pytest.mark.usefixtures("impatient")
def test_a_server_that_dies_half_way_is_waited_for_and_then_pauses_the_run(server: Server) -> None:
    def reply(question: str, attempt: int) -> Reply:
        if len(server.requests) > 6:
            server.refuse()
        return completion("fine")

    server.reply = reply
    kept: list[Response] = []
    with pytest.raises(Paused, match="has been unreachable since") as caught:
        kept.extend(
            response for batch in served(server).generate(QUESTIONS, Settings()) for response in batch
        )
    assert "finished answers are saved" in str(caught.value)
    assert kept and all(response.text == "fine" for response in kept)


def out(seconds_told: bool) -> Reply:
    return 503, SOON if seconds_told else {}, '{"error": {"message": "no healthy upstream"}}'


def test_an_outage_is_waited_for_and_loses_no_answer(server: Server) -> None:
    """The server answers, then nobody until the process says that it waits, then all again."""
    down, told = threading.Event(), set()

    def reply(question: str, attempt: int) -> Reply:
        if len(server.requests) == 6:
            down.set()
        if text := control.waiting():
            told.add(text)
            if len(told) >= 3:
                down.clear()
        return out(seconds_told=False) if down.is_set() else completion("fine")

    server.reply = reply
    many = [ask(f"question {number}") for number in range(23)]
    found = answers(served(server), many)
    assert [response.text for response in found.values()] == ["fine"] * 23
    assert all(server.url in text and "503 no healthy upstream" in text for text in told)
    assert control.waiting() is None


@pytest.mark.parametrize("concurrency", [1, 4])
@pytest.mark.usefixtures("impatient")
def test_an_outage_that_lasts_pauses_and_answers_nothing(server: Server, concurrency: int) -> None:
    server.reply = lambda question, attempt: (
        out(seconds_told=False) if len(server.requests) > 5 else completion("fine")
    )
    model = Model(name="served", role="candidate", server=server.url, model="merged")
    generator = ServerModel(model, concurrency=concurrency, retries=1, backoff_s=0.001)
    kept: list[Response] = []
    with pytest.raises(Paused, match="503 no healthy upstream"):
        kept.extend(response for batch in generator.generate(QUESTIONS, Settings()) for response in batch)
    assert [response.text for response in kept] == ["fine"] * 5


@pytest.mark.usefixtures("impatient")
def test_a_server_that_tells_everybody_to_come_later_for_ever_pauses_and_answers_nothing(
    server: Server,
) -> None:
    server.reply = lambda question, attempt: (429, {}, "later")
    with pytest.raises(Paused, match="429 later"):
        answers(served(server, retries=0), QUESTIONS[:2])


def test_who_only_measures_waits_for_no_outage(server: Server) -> None:
    server.reply = lambda question, attempt: out(seconds_told=False)
    model = Model(name="served", role="candidate", server=server.url, model="merged")
    with pytest.raises(CannotRun, match="does not answer: 503") as caught:
        answers(ServerModel(model, retries=1, backoff_s=0.001, patient=False), QUESTIONS)
    assert not isinstance(caught.value, Paused)


def test_reasoning_that_comes_apart_is_no_part_of_the_answer(server: Server) -> None:
    status, headers, text = completion("42")
    body = json.loads(text)
    body["choices"][0]["message"]["reasoning_content"] = "six times seven"
    body["usage"]["completion_tokens_details"] = {"reasoning_tokens": 3}
    server.reply = lambda question, attempt: (status, headers, json.dumps(body))
    found = answers(served(server), QUESTIONS[:1])["question 0"]
    assert (found.text, found.thinking, found.thinking_tokens) == ("42", "six times seven", 3)


@pytest.mark.parametrize("said", ["", "\n\n", None])
def test_no_room_after_a_servers_reasoning_is_no_answer(server: Server, said: str | None) -> None:
    status, headers, text = completion(said, "length")
    body = json.loads(text)
    body["usage"]["completion_tokens_details"] = {"reasoning_tokens": 2}
    server.reply = lambda question, attempt: (status, headers, json.dumps(body))
    found = answers(served(server), QUESTIONS[:1])["question 0"]
    assert (found.text, found.reason, found.thinking_tokens) == (None, UNFINISHED, 2)
    assert (found.finish_reason, found.tokens_out) == ("length", 2)


def test_a_complaint_that_repeats_a_prompt_drops_no_parameter(server: Server) -> None:
    echo = '{"error": {"message": "blocked prompt: the temperature is not supported by the pipe"}}'
    server.reply = lambda question, attempt: (400, {}, echo) if "3" in question else completion("yes")
    model = served(server)
    found = answers(model, QUESTIONS)
    assert found["question 3"].text is None and "blocked prompt" in str(found["question 3"].reason)
    assert model.describe()["rejected"] == []
    for body in server.requests[-1:]:
        assert body["temperature"] == 0.0
