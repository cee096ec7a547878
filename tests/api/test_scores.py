"""Rows from Python are scored and judged as files and runs are, and what is missing says why."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import assay
from engine.servers import control
from tests.judges.scripted import JudgeServer, kept_port, prefers, says

ROWS = [
    {"query": "2 + 2?", "response": "4", "reference": "4"},
    {"query": "3 + 3?", "response": None, "reference": "6"},
    {"query": "4 + 4?", "response": "9", "reference": "8"},
]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[JudgeServer]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = JudgeServer()
    yield server
    server.stop()
    control.forget()


def test_a_response_that_is_missing_counts_for_nothing_and_says_why() -> None:
    found = assay.score(ROWS, ["exact_match"])
    total = found["exact_match"]
    assert (total["value"], total["n"], total["missing"]) == (0.5, 2, 1)
    assert [row["value"] for row in found.rows] == [1.0, None, 0.0]
    assert found.rows[1]["reason"] == "the recorded response is null"


def test_rows_score_as_the_same_rows_in_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tui.cli.main import command

    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    assert command(["score", str(file), "--metrics", "exact_match,rouge", "--json"]) == 0
    of_file = json.loads(capsys.readouterr().out)["scores"]
    of_rows = assay.score(iter(ROWS), "exact_match").totals + assay.score(iter(ROWS), ["rouge"]).totals
    assert of_rows == [{key: value for key, value in row.items() if key != "model"} for row in of_file]


def test_a_list_of_responses_is_samples_of_one_answer() -> None:
    found = assay.score([{"query": "a", "response": ["4", "5"], "reference": "4"}], ["exact_match"])
    assert found["exact_match"]["value"] == 0.5
    assert found["exact_match"]["n"] == 1


def test_settings_are_those_of_a_plan() -> None:
    rows = [
        {"query": "q", "response": "no", "label": "yes"},
        {"query": "r", "response": "yes", "label": "yes"},
    ]
    found = assay.score(rows, {"classification": {"labels": ["yes", "no"]}})
    assert found["accuracy"]["value"] == 0.5
    assert {row["label"] for row in found.classes} == {"yes", "no"}


@pytest.mark.parametrize(
    ("rows", "metrics", "said"),
    [
        ([{"query": "a"}], ["exact_match"], "rows:1: has no 'response'"),
        ([{"query": "a", "response": 4}], ["exact_match"], "rows:1: its 'response' is not a text"),
        ([ROWS[0], "text"], ["exact_match"], "rows:2: is a str, not a dict"),
        ([{"query": "a", "response": {1, 2}}], ["exact_match"], "rows:1: is not what JSON can hold"),
        ([{**ROWS[0], "reference": math.inf}], ["exact_match"], "Infinity is not a JSON value"),
        ([{**ROWS[0], "response": "\udcff"}], ["exact_match"], "key 'response' holds half of a character"),
        ([], ["exact_match"], "rows: holds no response"),
        (ROWS, [], "no metric was named"),
        (ROWS, ["exact_mach"], "exact_match"),
        (ROWS, {"classification": {"lables": ["a"]}}, "labels"),
        (ROWS, {"exact_match": None}, "metrics.exact_match: its settings are NoneType"),
    ],
)
def test_what_is_wrong_with_rows_or_metrics_is_said(rows: Any, metrics: Any, said: str) -> None:
    with pytest.raises(assay.AssayError, match=said.replace("(", r"\(")):
        assay.score(rows, metrics)


def test_a_number_that_is_none_is_a_missing_response() -> None:
    assert assay.score([ROWS[0] | {"response": math.nan}], ["exact_match"])["exact_match"]["missing"] == 1


def test_two_tables_are_compared_on_the_rows_that_both_have_in_any_order() -> None:
    rows = [{"query": f"{n}?", "reference": str(n), "response": str(n)} for n in range(40)]
    worse = [row | {"response": "no"} if n % 2 else row for n, row in enumerate(rows)]
    other = {"query": "41?", "reference": "41", "response": "41"}
    found = assay.compare(
        assay.score(rows, ["exact_match"]), assay.score([other, *reversed(worse)], ["exact_match"])
    )
    (row,) = found.comparisons
    assert (row["baseline_value"], row["candidate_value"], row["n"]) == (1.0, 0.5, 40)
    assert row["standing"] == "worse"


def test_measures_with_other_settings_are_not_compared_and_the_reason_is_told() -> None:
    rows = [{"query": "q", "response": "a yes", "reference": "yes"}]
    one = assay.score(rows, {"regex": {"pattern": "yes"}, "exact_match": {}})
    other = assay.score(rows, {"regex": {"pattern": "no"}, "exact_match": {}, "length": {}})
    found = assay.compare(one, other)
    assert [row["measure"] for row in found.comparisons] == ["exact_match"]
    reasons = {row["what"]: row["reason"] for row in found.incomparable}
    assert "other settings" in reasons.pop(next(name for name in reasons if "regex" in name))
    assert set(reasons.values()) == {"only one table has it"}


def test_each_pair_is_judged_in_both_orders_and_paid_once(server: JudgeServer, tmp_path: Path) -> None:
    server.script = lambda body, number: prefers("A" if _first(body) == "4" else "B")
    table = {"name": "served", "server": server.url, "model": "judge"}
    pairs = [{"query": "2 + 2?", "candidate": "4", "baseline": "5"}]
    found = assay.judge(pairs, table, store=tmp_path)
    (row,) = found.rows
    assert (row["outcome"], row["consistent"]) == ("win", True)
    assert [call["order"] for call in row["judgments"]] == ["candidate_first", "baseline_first"]
    assert found.totals[0]["win_rate"] == 1.0
    assert found.cost is None  # of a model without a price
    asked = len(server.requests)
    again = assay.judge(pairs, table, store=tmp_path)
    assert len(server.requests) == asked == 2
    assert again.cost == 0.0
    assert again.rows[0]["outcome"] == "win"


def _first(body: dict[str, Any]) -> str:
    prompt = body["messages"][-1]["content"]
    return "4" if prompt.index("\n4\n") < prompt.index("\n5\n") else "5"


def test_a_missing_or_unreadable_answer_is_no_verdict(server: JudgeServer, tmp_path: Path) -> None:
    server.script = lambda body, number: says("I cannot decide")
    rows = [
        {"query": "a", "candidate": "x", "baseline": "y"},
        {"query": "b", "candidate": None, "baseline": "y"},
        {"query": "c", "candidate": "x", "baseline": "x"},
    ]
    found = assay.judge(rows, {"server": server.url, "model": "judge"}, store=tmp_path)
    assert [row["outcome"] for row in found.rows] == ["failed", "failed", "tie"]
    assert all(row["reason"] for row in found.rows)
    assert (found.totals[0]["failed"], found.totals[0]["ties"]) == (2, 1)


def test_a_judge_is_shown_no_reasoning_trace(server: JudgeServer, tmp_path: Path) -> None:
    server.script = lambda body, number: prefers("A" if _first(body) == "4" else "B")
    rows = [
        {"query": "2 + 2?", "candidate": "<think>or is it 6</think>\n4", "baseline": "5"},
        {"query": "2 + 3?", "candidate": "<think>it could be 5, or", "baseline": "5"},
        {"query": "2 + 4?", "candidate": "<think>sure</think>\n6", "baseline": "6"},
    ]
    found = assay.judge(rows, {"server": server.url, "model": "judge"}, store=tmp_path)
    assert [row["outcome"] for row in found.rows] == ["win", "failed", "tie"]
    assert "or is it 6" not in str(server.requests)


def test_a_pointwise_judge_scores_single_responses(server: JudgeServer, tmp_path: Path) -> None:
    server.script = lambda body, number: says(json.dumps({"reasoning": "fine", "score": 8}))
    found = assay.judge(
        [{"query": "a", "response": "x"}, {"query": "b", "response": None}],
        {"server": server.url, "model": "judge", "kind": "pointwise"},
        store=tmp_path,
    )
    assert [row["score"] for row in found.rows] == [8.0, None]
    assert found.rows[1]["reason"] == "the model gave no response"


def test_a_judge_that_is_not_there_is_told_at_once(server: JudgeServer, tmp_path: Path) -> None:
    with kept_port() as port, pytest.raises(assay.AssayError, match=str(port)):
        assay.judge(
            [{"query": "a", "candidate": "x", "baseline": "y"}],
            {"server": f"http://127.0.0.1:{port}/v1", "model": "m", "retries": 0},
            store=tmp_path,
        )


def test_no_more_is_asked_beyond_max_cost_and_what_was_answered_is_kept(
    server: JudgeServer, tmp_path: Path
) -> None:
    prices = tmp_path / "prices.toml"
    prices.write_text("[models.judge]\ninput = 100.0\noutput = 100.0\n")
    pairs = [{"query": str(n), "candidate": "x", "baseline": "y"} for n in range(20)]
    table = {"server": server.url, "model": "judge", "concurrency": 1, "max_tokens": 20}
    with pytest.raises(assay.AssayError, match="max_cost"):
        assay.judge(pairs, table, store=tmp_path, prices=prices, max_cost=0.2)
    asked = len(server.requests)
    assert 0 < asked < 40
    found = assay.judge(pairs, table, store=tmp_path, prices=prices)
    assert len(server.requests) == 40
    assert found.cost == pytest.approx((40 - asked) * 110 * 100 / 1e6)


def test_a_limit_that_cannot_be_held_is_refused(server: JudgeServer, tmp_path: Path) -> None:
    pairs = [{"query": "a", "candidate": "x", "baseline": "y"}]
    with pytest.raises(assay.AssayError, match="max_cost cannot be enforced: m has no price"):
        assay.judge(pairs, {"server": server.url, "model": "m"}, store=tmp_path, max_cost=1.0)
    assert server.requests == []


def test_a_key_in_a_judges_table_is_refused_and_not_repeated(tmp_path: Path) -> None:
    key = "sk-" + "a1" * 20
    with pytest.raises(assay.AssayError) as error:
        assay.judge(
            [{"query": "a", "candidate": "x", "baseline": "y"}],
            {"server": "http://localhost/v1", "model": "m", "api_key_env": key},
            store=tmp_path,
        )
    assert key not in str(error.value)


@pytest.mark.parametrize(
    ("pairs", "judge", "said"),
    [
        ([{"query": "a", "candidate": "x"}], "reference", "pairs:1: has no 'baseline'"),
        ([{"query": "a", "candidate": 1, "baseline": "x"}], "reference", "pairs:1: its 'candidate' is not"),
        ([], "reference", "pairs: there is none"),
        ([{"candidate": "x", "baseline": "x"}], "reference", "pairs:1"),
        ([{"query": "a", "candidate": "x", "baseline": "y"}], {"serve": "x"}, "server"),
        ([], {"name": "reference", "sample": 9, "max_calls": 4}, "sample, max_calls: every row is judged"),
    ],
)
def test_what_is_wrong_with_pairs_or_the_judge_is_said(
    pairs: Any, judge: Any, said: str, tmp_path: Path
) -> None:
    with pytest.raises(assay.AssayError, match=said):
        assay.judge(pairs, judge, store=tmp_path)


def test_what_models_write_is_no_markup_in_a_notebook() -> None:
    hostile = '<script>alert(1)</script>\x1b[31m\u202e"'
    found = assay.ResultTable([{"<b>": hostile, "list": [hostile]}, {"<b>": None, "more": 0.1234}])
    html = found._repr_html_()
    assert "<script" not in html
    assert "\x1b" not in html
    assert "\u202e" not in html
    assert "&lt;script&gt;" in html


def test_tables_go_to_pandas_and_arrow_whatever_their_values() -> None:
    table = assay.ResultTable([{"a": 1, "b": [1], "c": "x"}, {"a": 2.5, "b": None, "c": 3, "d": "\ud800"}])
    frame, arrow = table.to_pandas(), table.to_arrow()
    assert list(frame.columns) == arrow.column_names == ["a", "b", "c", "d"]
    assert arrow.column("a").to_pylist() == [1.0, 2.5]
    assert arrow.column("b").to_pylist() == ["[1]", None]
    assert arrow.column("c").to_pylist() == ['"x"', "3"]
    assert assay.ResultTable().to_arrow().num_rows == 0
