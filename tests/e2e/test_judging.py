"""Real workers and a judge's server that is killed, goes away, costs money, and knows a secret."""

import json
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.servers import control
from store import people
from store.read import history
from tests.cli.conftest import Assay, assay, process  # noqa: F401  # fixtures
from tests.e2e.conftest import queue, reader, wait_until
from tests.e2e.forked import Worker
from tests.judges.scripted import Answer, Json, JudgeServer, fault, prefers

EXAMPLES = 40
KEY = "sk-never-to-be-seen-1234"
PRICES = (
    '[models]\n"judge" = { input = 100, output = 1000 }\n'  # 0.02 dollars an answer of the scripted server
)

pytestmark = pytest.mark.e2e


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[JudgeServer]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("JUDGE_KEY", KEY)
    server = JudgeServer()
    yield server
    server.stop()
    control.forget()  # what it did to this process


def write_plan(folder: Path, server: JudgeServer, judging: str = "", judge: str = "") -> Path:
    """Two models whose answers were made elsewhere, and one judge."""
    folder.mkdir(exist_ok=True)
    rows = [
        {"id": f"e{n}", "query": f"What is {n} plus 1?", "reference": str(n + 1)} for n in range(EXAMPLES)
    ]
    (folder / "eval.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name in ("base", "tuned"):
        outputs = [{"id": row["id"], "response": f"{name} says {row['reference']}"} for row in rows]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in outputs))
    (folder / "prices.toml").write_text(PRICES)
    plan = folder / "plan.toml"
    plan.write_text(
        f"""
name = "judged"
[data]
examples = "eval.jsonl"
[[models]]
name = "base"
role = "baseline"
outputs = "base.jsonl"
[[models]]
name = "tuned"
role = "candidate"
outputs = "tuned.jsonl"
[metrics]
use = ["exact_match"]
[[judges]]
name = "served"
server = "{server.url}"
model = "judge"
api_key_env = "JUDGE_KEY"
concurrency = 4
max_tokens = 20
{judge}
[judging]
prices = "prices.toml"
{judging}
"""
    )
    return plan


def judgments(store: Path) -> list[dict[str, Any]]:
    connection = reader(store)
    connection.row_factory = lambda cursor, row: dict(
        zip([column[0] for column in cursor.description], row, strict=True)
    )
    return connection.execute("SELECT * FROM judgment").fetchall()


def test_no_judgment_is_lost_or_made_twice_by_kills(server: JudgeServer, tmp_path: Path) -> None:
    server.answers(prefers("A"))
    store = tmp_path / "store"
    run_id = queue(store, write_plan(tmp_path / "plan", server))
    kills = (5, 35, 65)  # judgments stored
    for moment in kills:
        assert Worker(store, run_id, (moment, ("judgment",))).wait(timeout=240) == -signal.SIGKILL
    assert Worker(store, run_id).wait(timeout=240) == 0
    found = judgments(store)
    assert len({(row["example_id"], row["order"]) for row in found}) == len(found) == 2 * EXAMPLES
    assert [row["failure"] for row in found] == [None] * len(found)
    asked = Counter(json.dumps(body["messages"]) for body in server.requests)
    assert len(asked) == 2 * EXAMPLES
    assert len(server.requests) - len(asked) <= 4 * len(kills), "only calls in flight at a kill"


def test_a_run_waits_for_its_judge_says_so_and_goes_on_when_told(
    server: JudgeServer,
    tmp_path: Path,
    assay: Assay,  # noqa: F811
) -> None:
    down = True

    def script(body: Json, number: int) -> Answer:
        if down and number >= 10:
            # Longer than the test may take: it is the person's word that ends the wait.
            return fault(503, "no healthy upstream", headers={"retry-after": "200"})
        return prefers("A")

    server.script = script
    store = tmp_path / "store"
    run_id = queue(store, write_plan(tmp_path / "plan", server))
    running = Worker(store, run_id)

    def waiting() -> str:
        return history.run(reader(store), run_id).waiting or ""

    assert wait_until(lambda: "no healthy upstream" in waiting(), running)
    assert server.url in waiting()
    shown = assay("show", "last", "--json", "--store", store)
    assert server.url in shown.json["run"]["waiting"]
    down = False
    assert assay("resume", str(run_id), "--store", store).code == 0
    assert running.wait(timeout=240) == 0
    ended = history.run(reader(store), run_id)
    assert (ended.status, ended.waiting, ended.error) == ("finished", None, None)
    assert {row["failure"] for row in judgments(store)} == {None}


@pytest.mark.parametrize(("what", "status"), [("pause", "paused"), ("cancel", "cancelled")])
def test_a_run_that_waits_can_be_stopped(server: JudgeServer, tmp_path: Path, what: str, status: str) -> None:
    server.script = lambda body, number: (
        prefers("A") if number < 10 else fault(429, headers={"retry-after": "250"})
    )
    store = tmp_path / "store"
    run_id = queue(store, write_plan(tmp_path / "plan", server))
    running = Worker(store, run_id)
    assert wait_until(lambda: bool(history.run(reader(store), run_id).waiting), running)
    people.request(reader(store), run_id, what)
    assert running.wait(timeout=240) == 0
    ended = history.run(reader(store), run_id)
    assert (ended.status, ended.waiting) == (status, None)


def test_a_cost_cap_pauses_the_run_and_a_higher_one_lets_it_go_on(
    server: JudgeServer,
    tmp_path: Path,
    assay: Assay,  # noqa: F811
) -> None:
    server.answers(prefers("A"))
    store = tmp_path / "store"
    plan = write_plan(tmp_path / "plan", server, judging="max_cost = 0.5")
    refused = assay("run", plan, "--store", store)
    assert refused.code == 2, refused.err
    assert "max_cost is $0.50" in refused.err
    assert server.requests == []

    paused = assay("run", plan, "--yes", "--store", store)
    assert paused.code == 130, paused.err
    assert "cost cap of $0.50 reached" in paused.err
    assert "judge served: 80 calls" in paused.err
    shown = assay("show", "last", "--json", "--store", store).json
    assert shown["run"]["status"] == "paused"
    assert "cost cap" in shown["run"]["error"]
    assert 0.4 <= shown["run"]["cost"] <= 0.5
    assert shown["run"]["cost"] == pytest.approx(0.02 * len(server.requests))

    assert assay("resume", "last", "--max-cost", "50", "--quiet", "--store", store).code in (0, 1)
    listed = assay("runs", "--json", "--store", store).json[0]
    assert (listed["status"], listed["cost"]) == ("finished", pytest.approx(0.02 * 2 * EXAMPLES))
    assert len(server.requests) == 2 * EXAMPLES

    again = assay("run", plan, "--yes", "--quiet", "--store", store)
    assert again.code in (0, 1), again.err
    assert len(server.requests) == 2 * EXAMPLES, "a rerun with the same texts costs nothing"
    assert assay("runs", "--json", "--store", store).json[0]["cost"] == 0.0


def test_the_key_is_in_no_file_of_the_store_and_on_no_screen(
    server: JudgeServer,
    tmp_path: Path,
    process: Assay,  # noqa: F811
    assay: Assay,  # noqa: F811
) -> None:
    def script(body: Json, number: int) -> Answer:
        answer = prefers("A")
        if number % 7 == 3:
            return fault(400, f"something about {KEY}")
        return Answer(body=answer.body.replace(b"because", KEY.encode()))

    server.script = script
    store = tmp_path / "store"
    plan = write_plan(tmp_path / "plan", server)
    shown = [assay("check", plan, "--store", store), process("run", plan, "--store", store)]
    server.answers(fault(401, f"Incorrect API key provided: {KEY}"))
    shown.append(process("run", plan, "--no-cache", "--store", store))
    assert shown[-1].code == 3
    assert shown[-1].err.count("does not accept the key in JUDGE_KEY") == 1
    shown.append(assay("report", "1", "--format", "html", "--store", store))
    assert server.headers[-1]["authorization"] == f"Bearer {KEY}"
    assert all(KEY not in done.out + done.err for done in shown)
    files = [path for path in store.rglob("*") if path.is_file()]
    assert len(files) > 3
    assert all(KEY.encode() not in path.read_bytes() for path in files)
    assert "[key]" in " ".join(row["reasoning"] for row in judgments(store))
