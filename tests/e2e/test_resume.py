"""kill -9 at any moment loses nothing that was stored, and repeats nothing that was done."""

import json
import random
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from store.read import history
from tests.e2e.conftest import queue, reader, write_plan
from tests.e2e.forked import Worker, rows
from tests.judges.scripted import Answer, JudgeServer, prefers

KILLS = 10
TIMED = {  # no two runs take the same time
    "latency_s", "tokens_per_second", "latency_p50_s", "latency_p95_s", "latency_p99_s",
}  # fmt: skip
COUNTED = ("response", "score", "judgment", "benchmarksample", "modelscore")

pytestmark = pytest.mark.e2e


def longer_wins(body: dict[str, Any], number: int) -> Answer:
    """A judge whose answer depends on the question alone."""
    return prefers("AB"[len(body["messages"][1]["content"]) % 2])


def final_numbers(store: Path, run_id: int) -> dict[str, list[Any]]:
    connection = reader(store)
    return {
        "scores": [row for row in history.model_scores(connection, run_id) if row.measure not in TIMED],
        "comparisons": [row for row in history.comparisons(connection, run_id) if row.measure not in TIMED],
        "win_rates": history.win_rates(connection, run_id),
        "benchmarks": history.benchmarks(connection, run_id),
        "alerts": [
            (row.severity, row.kind, row.candidate, row.message)
            for row in history.alerts(connection, run_id)
            if row.kind != "latency_drift"
        ],
        "responses": [
            tuple(row)
            for row in connection.execute(
                "SELECT m.name, e.example, r.text FROM response r JOIN model m ON m.id = r.model_id "
                "JOIN example e ON e.id = r.example_id ORDER BY 1, 2"
            )
        ],
    }


def questions(server: JudgeServer) -> Counter[str]:
    return Counter(json.dumps(body["messages"]) for body in server.requests)


def test_a_run_killed_ten_times_ends_with_the_numbers_of_an_undisturbed_one(tmp_path: Path) -> None:
    server = JudgeServer()
    server.script = longer_wins
    try:
        plan = write_plan(tmp_path, server.url, sample=8)
        calm = tmp_path / "calm"
        run_id = queue(calm, plan)
        assert Worker(calm, run_id).wait(timeout=240) == 0
        expected = final_numbers(calm, run_id)
        assert history.run(reader(calm), run_id).status == "finished"
        asked = questions(server)
        assert max(asked.values()) == 1
        server.requests.clear()

        rough = tmp_path / "rough"
        run_id = queue(rough, plan)
        draw = random.Random(7)
        for moment in sorted(draw.randrange(rows(calm, *COUNTED) - 100) for _ in range(KILLS)):
            assert Worker(rough, run_id, (moment, COUNTED)).wait(timeout=240) == -signal.SIGKILL
            assert history.run(reader(rough), run_id).status == "interrupted"
        assert Worker(rough, run_id).wait(timeout=240) == 0

        assert final_numbers(rough, run_id) == expected
        repeated = sum((questions(server) - asked).values())
        assert questions(server).keys() == asked.keys()
        assert repeated <= KILLS, "only the one call in flight at a kill may be asked again"
    finally:
        server.stop()
