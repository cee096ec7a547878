"""A run on examples with tools keeps the calls of its answers; slices and gates work on their measures."""

import json
from typing import Any

import pytest

from store import records
from store.session import opened
from store.write import Recorder
from tests.engine.runs import carry_out, queue, recorded_plan
from tui.screens.review.data import Wanted, read_review
from tui.screens.review.lines import details
from tui.screens.review.views import VIEWS
from tui.sections.gather import gather
from tui.text.diff import text_of

TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}


def call(city: str) -> dict[str, Any]:
    return {"name": "weather", "arguments": {"city": city}}


def examples() -> list[dict[str, Any]]:
    cities = [{"id": f"c{n}", "query": f"Weather in {n}?", "answers": [call(str(n))]} for n in range(24)]
    for place, city in enumerate(cities):
        city |= {"tools": json.dumps([TOOL]), "category": "far" if place % 2 else "near"}
    return [*cities, {"id": "plain", "query": "Hello?", "reference": "Hello!", "tools": [TOOL]}]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Recorder:
    """The candidate asks for the wrong city where it is far, and calls where it should not."""
    folder = tmp_path_factory.mktemp("calls")
    said = {f"c{n}": f"<tool_call>{json.dumps(call(str(n)))}</tool_call>" for n in range(24)}
    wrong = f"<tool_call>{json.dumps(call('Oslo'))}</tool_call>"
    answers = {
        "before": {**said, "plain": "Hello!"},
        "after": {key: wrong if int(key[1:]) % 2 else text for key, text in said.items()} | {"plain": wrong},
    }
    rest = '[metrics]\nuse = ["tool_calls"]\n[gates]\nmetrics = { tool_match = 0.10 }'
    plan = recorded_plan(folder, examples(), answers, rest)
    plan.write_text(f"judges = []\n{plan.read_text()}")
    return carry_out(folder / "store", queue(folder / "store", plan))


def model_id(run: Recorder, name: str) -> int:
    return next(row.id for row in run.rows(records.StoredModel, run_id=run.run_id, name=name))


def test_calls_are_kept_beside_the_raw_text(run: Recorder) -> None:
    rows = run.rows(records.StoredResponse, model_id=model_id(run, "before"))
    assert (rows[0].calls, rows[0].text) == ([call("0")], f"<tool_call>{json.dumps(call('0'))}</tool_call>")
    assert rows[-1].calls == []


def test_every_measure_has_its_value(run: Recorder) -> None:
    found = {
        row.measure: (row.value, row.n, row.missing)
        for row in run.rows(records.ModelScore, model_id=model_id(run, "after"))
    }
    assert found == {
        "tool_made": (1, 24, 1),
        "tool_abstained": (0, 1, 24),
        "tool_function": (1, 24, 1),
        "tool_match": (0.5, 24, 1),
        "tool_argument_f1": (0.5, 24, 1),
        "tool_valid": (1, 25, 0),
    }


def test_slices_have_their_own_values(run: Recorder) -> None:
    rows = run.rows(records.SliceScore, model_id=model_id(run, "after"), measure="tool_match")
    assert {row.slice: row.value for row in rows if row.slice.startswith("category")} == {
        "category: far": 0,
        "category: near": 1,
    }


def test_a_gate_on_a_measure_of_calls_fails_the_candidate(run: Recorder) -> None:
    alerts = [row for row in run.rows(records.StoredAlert, run_id=run.run_id) if row.measure == "tool_match"]
    assert ("critical", "metric_drop") in {(row.severity, row.kind) for row in alerts}
    assert run.rows(records.StoredModel, id=model_id(run, "after"))[0].passed is False


def test_show_and_review_have_the_calls(run: Recorder) -> None:
    with opened(run.folder) as connection:
        remarks = gather(connection, run.run_id).remarks
        review = read_review(connection, run.run_id, Wanted(), "ann")
        assert review is not None and review.pair is not None
        shown = "\n".join(line.plain for line in details(review.pair.view, review, 200))
        against = VIEWS["right against reference"].make(review, review.pair, 160)
    assert "answers with tool calls: before 24 of 25, after 25 of 25" in remarks
    assert 'right call\n  {"name": "weather", "arguments": {"city": "0"}}' in shown
    assert "call of before\n" in shown and "call of after\n" in shown
    assert "tool calls: 1" in against.headings[1].plain
    assert any('"city"' in text_of(row[0]) for row in against.rows)
