"""A run of several judges that is killed again and again comes to the same end as one that was left alone."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from store import records
from store.write import Recorder
from tests.engine.runs import carry_out, queue, recorded_plan
from tests.judges.scripted import Answer, Json, JudgeServer, prefers, says

COUNT = 16


class Killed(BaseException):
    """Ends the run where it stands."""


def script(body: Json, number: int) -> Answer:
    text = str(body["messages"][1]["content"])
    if body["model"] == "rater":
        return says(json.dumps({"reasoning": "so", "score": 7}))
    if body["model"] == "cheap" and any(f"Question {place}?" in text for place in (3, 9)):
        return prefers("A", 6, 5)
    first = text.split("RESPONSE A", 1)[1].split("RESPONSE B", 1)[0]
    return prefers("A", 9, 3) if "strong" in first else prefers("B", 3, 9)


def judge(server: JudgeServer, name: str, **settings: Any) -> str:
    table = {"name": name, "server": server.url, "model": name, "concurrency": 3, **settings}
    return "\n".join(["[[judges]]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())])


def queued(folder: Path, judges: list[str]) -> int:
    folder.mkdir()
    examples = [{"id": f"e{place:02}", "query": f"Question {place}?"} for place in range(COUNT)]
    words = {"base": "weak", "tuned": "strong"}
    texts = {
        model: {each["id"]: f"{word} {each['id']}" for each in examples} for model, word in words.items()
    }
    rest = "\n".join(['[metrics]\nuse = ["length"]', *judges])
    return queue(folder / "store", recorded_plan(folder, examples, texts, rest))


def outcome(run: Recorder) -> list[Any]:
    """Everything that a screen shows of the judges."""
    rows = run.rows(records.StoredJudge, run_id=run.run_id)
    names = {row.id: row.name for row in rows}

    def table(which: Any, *columns: str) -> list[Any]:
        return sorted(
            (names[row.judge_id], *(getattr(row, column) for column in columns)) for row in run.rows(which)
        )

    marks = [(row.details.get("part_of"), row.details.get("asked_where_unsure")) for row in rows]
    return [
        marks,
        table(
            records.StoredWinRate,
            "wins",
            "losses",
            "ties",
            "failed",
            "win_rate",
            "low",
            "high",
            "position_bias",
        ),
        table(records.Verdict, "example_id", "outcome", "consistent", "reason"),
        table(records.Audit, "measure", "subject", "value", "n"),
        table(records.Ranking, "model_id", "strength"),
    ]


def killed_after(looks: int) -> Callable[[], None]:
    """What a run asks whether it shall stop; kills it instead."""
    left = iter(range(looks))

    def killed() -> None:
        if next(left, None) is None:
            raise Killed

    return killed


@pytest.mark.parametrize("together", ["cascade", "panel"])
def test_judges_of_a_killed_run_end_as_if_it_had_not_been_killed(
    server: JudgeServer, tmp_path: Path, together: str
) -> None:
    server.script = script
    judges = [
        judge(server, "cheap", constant_probe=4),
        judge(server, "dear"),
        judge(server, "rater", kind="pointwise"),
        '[judging]\ncascade = ["cheap", "dear"]' if together == "cascade" else "",
    ]
    alone = carry_out(tmp_path / "alone" / "store", queued(tmp_path / "alone", judges))
    calls = len(server.requests)
    assert max(Counter(map(json.dumps, server.requests)).values()) == 1
    server.requests.clear()

    run_id, store = queued(tmp_path / "killed", judges), tmp_path / "killed" / "store"
    run, kills = None, 0
    while run is None:
        try:
            run = carry_out(store, run_id, killed_after(20))
        except Killed:
            kills += 1
    assert kills > 3
    assert outcome(run) == outcome(alone)
    # What was under way when it was killed is asked again; all else is known.
    assert len(server.requests) <= calls + 3 * kills
    progress = [row for row in run.rows(records.Progress, run_id=run_id) if row.phase == "judge"]
    assert all(row.done == row.total for row in progress)
    assert len({row.position for row in progress}) == len(progress)
