"""Prices, what calls cost, and a cap that holds."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from engine.data.example import Example
from engine.errors import BadInput, Paused
from engine.judges.asking import Question, ServerAsker
from engine.judges.preflight import cost_findings, estimate
from engine.plan.plan import Plan, parse_plan
from engine.servers import costs
from engine.servers.costs import Ledger, Price, cost_of, is_local, read_prices, worst_cost
from engine.servers.wire import Reply
from tests.judges.scripted import JudgeServer, prefers, spec_for

OPENAI = "https://api.openai.com/v1"
OWN = 'batch_discount = 0.4\n[models]\n"judge" = { input = 10, cached = 1, output = 100 }\n'


@pytest.fixture
def own(tmp_path: Path) -> Path:
    file = tmp_path / "my-prices.toml"
    file.write_text(OWN)
    return file


def reply(tokens_in: int | None = 1000, tokens_out: int | None = 100, cached: int | None = None) -> Reply:
    return Reply("x", "stop", tokens_in, tokens_out, "m", 0.1, tokens_cached=cached)


@pytest.mark.parametrize("name", ["gpt-4o", "gpt-4o-2024-08-06", "openai/gpt-4o", "gpt-4o-20240806"])
def test_a_model_is_found_by_its_name_with_or_without_provider_and_date(name: str) -> None:
    price = read_prices().of(name, OPENAI)
    assert price == Price(input=2.5, cached=1.25, output=10.0)


def test_a_model_costs_what_its_own_provider_asks() -> None:
    prices = read_prices()
    assert prices.of("claude-sonnet-4-5", "https://api.anthropic.com/v1") == Price(3, 15, 0.3)
    assert prices.of("gpt-4o", "https://proxy.example/v1") == prices.of("gpt-4o", OPENAI)
    # Groq and Azure name a price of their own, or none is known.
    assert prices.of("gpt-4o", "https://api.groq.com/openai/v1") is None
    llama = "meta-llama/Llama-3.3-70B-Instruct-Turbo"
    assert prices.of(llama, "https://api.together.xyz/v1") == Price(1.04, 1.04, 1.04)
    assert prices.of(llama, OPENAI) is None


def test_every_shipped_price_is_one_and_the_list_has_a_date_and_a_licence() -> None:
    shipped = json.loads(costs.SHIPPED.read_text())
    assert shipped["license"].startswith("MIT. Copyright (c)") and "litellm" in shipped["source"]
    assert len(shipped["updated"]) == 10 and len(shipped["models"]) > 1000
    assert all(price.input > 0 and price.output > 0 for price in read_prices().shipped.values())


def test_a_model_that_no_list_has_costs_nobody_knows_what() -> None:
    assert read_prices().of("gpt-4o-by-us", OPENAI) is None
    assert cost_of(None, reply()) is None


def test_a_server_on_this_machine_costs_what_a_person_says_and_nothing_else(own: Path) -> None:
    for server in ("http://localhost:8000/v1", "http://127.0.0.1:1/v1", "http://[::1]:2/v1"):
        assert is_local(server)
        assert read_prices().of("gpt-4o", server) is None
        assert read_prices(own).of("judge", server) == Price(input=10, cached=1, output=100)
    assert not is_local("http://gpu7:8000/v1")


@pytest.mark.parametrize(
    "server",
    ["http://gpu7:8000/v1", "http://10.0.0.5/v1", "http://192.168.1.9:8000/v1", "http://172.16.0.1/v1",
     "http://100.64.0.1/v1", "http://[fd00::1]:8000/v1", "http://0.0.0.0:1/v1", "http://llm.internal/v1",
     "https://vllm.team.svc.cluster.local/v1", "http://gpu.lan./v1"],
)  # fmt: skip
def test_a_private_server_is_not_priced_as_its_model_s_maker(server: str, own: Path, tmp_path: Path) -> None:
    assert read_prices().of("gpt-4o", server) is None
    assert read_prices(own).of("judge", server) == Price(input=10, cached=1, output=100)
    ((level, _, message, _),) = cost_findings(plan(tmp_path, server=server), examples(2))
    # Only this machine asks no money for sure: a gateway may pass a provider's price on.
    expected = "warning" if is_local(server) else "error"
    assert (level, "cost unknown" in message) == (expected, True)


@pytest.mark.parametrize("server", ["https://8.8.8.8/v1", "https://llm.example.com/v1"])
def test_a_public_server_may_pass_a_maker_s_price_on(server: str) -> None:
    assert read_prices().of("gpt-4o", server) == read_prices().of("gpt-4o", OPENAI)


def test_a_person_s_prices_stand_beside_the_shipped_ones(own: Path) -> None:
    prices = read_prices(own)
    assert prices.of("judge", OPENAI) is not None
    assert prices.of("gpt-4o", OPENAI) is not None
    assert (prices.batch_discount, read_prices().batch_discount) == (0.4, 0.5)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[models", "is not TOML"),
        ('[models]\n"a" = { input = 1 }', "models.a needs input and output"),
        ('[models]\n"a" = { input = 1, output = "2" }', "models.a.output is '2'"),
        ('[models]\n"a" = { input = -1, output = 2 }', "models.a.input is -1"),
        ('[models]\n"a" = { input = 1, output = 2, reasoning = 3 }', "models.a needs"),
        ("models = 3", "models is not a table"),
        ("currency = 'EUR'", "currency is unknown"),
        ("batch_discount = 50", "batch_discount is 50"),
    ],
)
def test_a_bad_file_of_prices_is_told_with_its_name_and_key(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "p.toml"
    file.write_text(text)
    with pytest.raises(BadInput) as caught:
        read_prices(file)
    assert str(file) in str(caught.value)
    assert said in str(caught.value)


def test_cost_follows_from_the_tokens() -> None:
    price = Price(input=10, cached=1, output=100)
    assert cost_of(price, reply(1000, 100)) == pytest.approx(0.02)
    assert cost_of(price, reply(1000, 100, cached=400)) == pytest.approx(0.0164)
    assert cost_of(price, reply(None, 100)) is None
    assert worst_cost(price, [{"role": "user", "content": "x" * 3000}], 1000) > 0.11


async def test_the_cap_is_never_passed_and_leaves_no_money_unspent() -> None:
    """Calls may cost 0.5 each and cost 0.1: under a cap of 1.00 five or more of them fit."""
    ledger = Ledger(read_prices(), max_cost=1.0)
    highest = under_way = 0.0

    async def call() -> None:
        nonlocal highest, under_way
        async with ledger.hold(0.5) as bill:
            under_way += 0.5
            highest = max(highest, ledger.spent + under_way)
            await asyncio.sleep(0)
            under_way -= 0.5
            bill.cost = 0.1

    results = await asyncio.gather(*(call() for _ in range(20)), return_exceptions=True)
    paused = [result for result in results if isinstance(result, Paused)]
    assert (len(results) - len(paused), len(paused)) == (6, 14)
    assert ledger.spent == pytest.approx(0.6)
    assert highest <= 1.0
    assert "cost cap of $1.00 reached: $0.60 spent" in str(paused[0])
    assert "--max-cost" in str(paused[0])


async def test_what_was_spent_before_counts() -> None:
    with pytest.raises(Paused):
        async with Ledger(read_prices(), max_cost=5.0, spent=4.99).hold(0.02):
            pass


async def test_a_call_that_fails_gives_its_money_back() -> None:
    ledger = Ledger(read_prices(), max_cost=1.0)
    for _ in range(5):
        with pytest.raises(ConnectionError):
            async with ledger.hold(0.9):
                raise ConnectionError
    assert ledger.spent == 0.0


def question(number: int) -> Question[int]:
    messages = [{"role": "user", "content": f"question {number}"}]
    return Question(number, str(number), messages, None, lambda reply: None, lambda answer, problem: messages)


def test_a_judge_s_answers_carry_their_cost_and_stop_at_the_cap(
    server: JudgeServer, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """100 tokens in, 10 out, at 10 and 100 dollars a million: 0.002 each; at most 0.0135."""
    server.answers(prefers("A"))
    monkeypatch.setattr(costs, "_current", Ledger(read_prices(own), max_cost=0.05))
    answers = ServerAsker(spec_for(server, max_tokens=100), None, 0.001).ask(map(question, range(100)))
    found = []
    with pytest.raises(Paused, match="cost cap"):
        for answered in answers:
            found.append(answered.reply.cost)  # noqa: PERF401  # what came before it was raised counts
    assert found == [pytest.approx(0.002)] * len(found)
    assert 15 <= len(server.requests) <= 25
    assert costs.current_ledger().spent == pytest.approx(0.002 * len(server.requests))


PLAN = """
name = "p"
[data]
examples = "e.jsonl"
[[models]]
name = "base"
role = "baseline"
outputs = "o.jsonl"
[[models]]
name = "tuned"
role = "candidate"
outputs = "o.jsonl"
[[judges]]
name = "strong"
server = "{server}"
model = "{model}"
[judging]
max_cost = {cap}
"""


def plan(folder: Path, server: str = OPENAI, model: str = "gpt-4o", cap: float = 100.0) -> Plan:
    for name in ("e.jsonl", "o.jsonl"):
        (folder / name).write_text('{"id": "1", "query": "q", "response": "r"}\n')
    return parse_plan(PLAN.format(server=server, model=model, cap=cap), folder)


def examples(count: int) -> list[Example]:
    return [
        Example(str(n), "What is it?", ({"role": "user", "content": "What is it?"},)) for n in range(count)
    ]


def test_the_estimate_spans_what_is_likely_and_what_is_possible(tmp_path: Path) -> None:
    (found,) = estimate(plan(tmp_path), examples(200))
    assert (found.judge, found.calls) == ("strong", 400)
    assert found.dollars is not None
    assert 0 < found.dollars[0] < found.dollars[1] < 10
    assert "400 calls" in found.text()
    assert "$" in found.text()
    shipped = json.loads(costs.SHIPPED.read_text())
    assert found.text().endswith(f"(prices of {shipped['updated']})")


@pytest.mark.parametrize(
    ("settings", "levels", "said"),
    [
        ({}, ["ok"], "$"),
        ({"cap": 0.01}, ["ok", "warning"], "the run will pause at $0.01"),
        ({"model": "unheard-of"}, ["error"], "max_cost cannot be enforced"),
        ({"server": "http://127.0.0.1:8000/v1"}, ["warning"], "cost unknown"),
    ],
)
def test_the_preflight_tells_the_cost_and_what_cannot_be_held(
    tmp_path: Path, settings: dict[str, Any], levels: list[str], said: str
) -> None:
    findings = cost_findings(plan(tmp_path, **settings), examples(50))
    assert [finding[0] for finding in findings] == levels
    assert said in findings[-1][2]


def calls_of(folder: Path, more: str, items: list[Example]) -> list[str]:
    for name in ("e.jsonl", "o.jsonl"):
        (folder / name).write_text('{"id": "1", "query": "q", "response": "r"}\n')
    text = PLAN.format(server=OPENAI, model="gpt-4o", cap=100)
    return [each.text().partition(",")[0] for each in estimate(parse_plan(text + more, folder), items)]


SECOND = f'[[judges]]\nname = "other"\nserver = "{OPENAI}"\nmodel = "gpt-4o"\n'
THIRD_MODEL = '[[models]]\nname = "more"\nrole = "candidate"\noutputs = "o.jsonl"\n'


@pytest.mark.parametrize(
    ("more", "calls"),
    [
        (SECOND + "sample = 5", ["40 calls", "10 calls"]),
        (SECOND + "max_calls = 5", ["40 calls", "4 calls"]),
        (SECOND + "stop_early = true", ["40 calls", "up to 40 calls"]),
        (SECOND + "constant_probe = 3", ["40 calls", "46 calls"]),
        (SECOND + 'kind = "pointwise"', ["40 calls", "40 calls"]),
        (SECOND + 'kind = "pointwise"\nrepeat = 3', ["40 calls", "120 calls"]),
        ('cascade = ["strong", "other"]\n' + SECOND, ["40 calls", "up to 40 calls"]),
        (THIRD_MODEL, ["80 calls"]),
        ("all_pairs = true\n" + THIRD_MODEL, ["120 calls"]),
    ],
)
def test_the_estimate_counts_the_calls_that_will_be_made(tmp_path: Path, more: str, calls: list[str]) -> None:
    assert calls_of(tmp_path, more, examples(20)) == calls


def test_the_estimate_counts_turns(tmp_path: Path) -> None:
    turns = ("One?", "Two?")
    items = [Example("1", "One?", ({"role": "user", "content": "One?"},), turns=turns)]
    assert calls_of(tmp_path, SECOND + 'format = "mt-bench"', items) == ["6 calls", "4 calls"]
