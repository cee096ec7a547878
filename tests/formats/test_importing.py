"""Files of other tools become runs with the numbers that those tools print."""

import json
from pathlib import Path

import numpy as np
import pytest

from engine.decision.judges import about_judge, about_match
from engine.errors import BadInput
from engine.formats.importing import import_run
from engine.gates.checks import compare_runs
from store import database, session
from store.read import history, judging, slices
from tests.formats import files

Rows = list[dict[str, object]]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


def _rows(store: Path, query: str) -> Rows:
    connection = database.connect(store)
    return [dict(row) for row in connection.execute(query)]


def _only(store: Path, query: str) -> dict[str, object]:
    rows = _rows(store, query)
    assert len(rows) == 1
    return rows[0]


def _score(store: Path, model: str, slice: str | None = None) -> dict[str, object]:
    table = "slicescore" if slice else "modelscore"
    where = f" AND s.slice = '{slice}'" if slice else ""
    return _only(
        store,
        f"SELECT s.* FROM {table} s JOIN model m ON m.id = s.model_id"
        f" WHERE m.name = '{model}' AND s.measure = 'judge:gpt-4'{where}",
    )


def test_mt_bench_scores_are_those_of_its_own_table(tmp_path: Path, store: Path) -> None:
    import_run("mt-bench", files.mt_bench(tmp_path / "mt_bench"), store)
    for model in files.MODELS:
        scores = [score for (name, _, _), score in files.SCORES.items() if name == model and score != -1]
        found = _score(store, model)
        assert found["value"] == pytest.approx(np.mean(scores))
    assert _score(store, "vicuna-13b")["missing"] == 1
    assert _score(store, "vicuna-13b", "turn 1")["value"] == pytest.approx(5.5)
    assert _score(store, "gpt-3.5-turbo", "category: reasoning")["value"] == pytest.approx(4.5)


def test_mt_bench_pairs_count_a_win_only_where_both_games_agree(tmp_path: Path, store: Path) -> None:
    import_run("mt-bench", files.mt_bench(tmp_path / "mt_bench"), store)
    overall = _only(store, "SELECT * FROM winrate WHERE turn = 0")
    assert [overall[key] for key in ("wins", "losses", "ties", "failed")] == [1, 1, 1, 1]
    assert overall["win_rate"] == pytest.approx((1 + 0.5) / 3)  # FastChat's win_rate_adjusted
    second = _only(store, "SELECT * FROM winrate WHERE turn = 2")
    assert [second[key] for key in ("wins", "losses", "ties", "failed")] == [0, 0, 1, 1]


def test_mt_bench_answers_keep_both_turns_and_the_baseline_its_role(tmp_path: Path, store: Path) -> None:
    run = import_run("mt-bench", files.mt_bench(tmp_path / "mt_bench"), store, name="published")
    answer = _rows(
        store, "SELECT r.* FROM response r JOIN model m ON m.id = r.model_id WHERE m.role = 'baseline'"
    )
    assert json.loads(str(answer[0]["turns"])) == ["gpt-3.5-turbo one", "gpt-3.5-turbo two, longer"]
    assert answer[0]["text"] == "gpt-3.5-turbo two, longer"
    row = _only(store, "SELECT * FROM run")
    assert (row["id"], row["name"], row["status"], row["passed"]) == (run, "published", "finished", None)


def test_a_model_with_fewer_judgments_is_told_apart_and_compared_on_what_all_share(
    tmp_path: Path, store: Path
) -> None:
    grades = [
        {"question_id": place, "model": model, "judge": ["gpt-4", "single-v1"], "judgment": "", "turn": 1,
         "score": score + (place < 10)}
        for model, score, count in (("whole", 7, 40), ("partial", 9, 10))
        for place in range(count)
    ]  # fmt: skip
    run = import_run("mt-bench", files.lines(tmp_path / "gpt-4_single.jsonl", grades), store)
    whole, partial = _score(store, "whole"), _score(store, "partial")
    assert (whole["n"], whole["missing"]) == (40, 0)
    assert (partial["n"], partial["missing"], partial["reason"]) == (
        10, 30, "graded for other models, and not for this one",
    )  # fmt: skip
    (alert,) = history.alerts(history.attach(database.connect(store)), run)
    assert (alert.severity, alert.kind, alert.candidate) == ("warning", "judge_failures", "partial")
    assert alert.message.startswith("30 of 40 ratings of partial by gpt-4 failed or are missing (75.0%")
    assert alert.message.endswith("On the 10 that all models share: whole 8.00, partial 10.00.")


def test_a_candidate_compared_on_fewer_pairs_than_others_is_a_warning(tmp_path: Path, store: Path) -> None:
    pairs = [
        {"question_id": place, "model_1": model, "model_2": "base", "g1_winner": "model_1",
         "g2_winner": "model_2" if place % 2 else "model_1", "judge": ["gpt-4", "pair-v2"], "turn": 1}
        for model, count in (("whole", 12), ("partial", 3))
        for place in range(count)
    ]  # fmt: skip
    run = import_run("mt-bench", files.lines(tmp_path / "gpt-4_pair.jsonl", pairs), store)
    (alert,) = history.alerts(history.attach(database.connect(store)), run)
    assert (alert.candidate, alert.baseline) == ("partial", "base")
    assert "on 3 of the 12 questions" in alert.message
    with session.opened(store) as connection:
        found = judging.judging(connection, run)
    (said,) = [said.text for said in about_judge(found, found.judges[0]) if said.warns]
    assert said.startswith(
        "win rates against base are not over the same questions; over the 3 judged for all"
    )
    assert "whole 83% [" in said and "partial 83% [" in said


def test_imported_failures_raise_the_alerts_of_a_run_here(tmp_path: Path, store: Path) -> None:
    run = import_run("alpaca-eval", files.alpaca_eval(tmp_path / "annotations.json", [2.0, 1.0, -1.0]), store)
    (alert,) = history.alerts(history.attach(database.connect(store)), run)
    assert (alert.severity, alert.kind) == ("warning", "judge_failures")
    assert alert.message.startswith("1 of 3 verdicts of weighted_alpaca_eval_gpt4_turbo on my-model against")


def _retried(folder: Path) -> Path:
    """Two judgments of each kind: the first failed, and FastChat appended the second."""
    files.lines(
        folder / "model_judgment" / "gpt-4_single.jsonl",
        [
            {"question_id": question, "model": "a", "judge": ["gpt-4", "single-v1"], "judgment": text,
             "score": score}
            for question, text, score in (
                (81, "$ERROR$", -1), (81, "[[9]]", 9), (81, "[[4]]", 4), (82, "$ERROR$", -1),
            )
        ],
    )  # fmt: skip
    return files.lines(
        folder / "pairs.jsonl",
        [
            {"question_id": 81, "model_1": "a", "model_2": "b", "judge": ["gpt-4", "pair-v2"], "turn": 1,
             "g1_winner": first, "g2_winner": second}
            for first, second in (("error", "tie"), ("model_1", "model_1"))
        ],
    )  # fmt: skip


def test_of_retried_mt_bench_judgments_the_last_valid_one_stands(tmp_path: Path, store: Path) -> None:
    pairs = _retried(tmp_path)
    single = tmp_path / "model_judgment" / "gpt-4_single.jsonl"
    import_run("mt-bench", single, store)
    score = _only(store, "SELECT * FROM modelscore")
    assert (score["value"], score["n"], score["missing"]) == (4.0, 1, 1)
    assert [row["failure"] for row in _rows(store, "SELECT failure FROM rating ORDER BY id")] == [
        None, "the judge's server failed",
    ]  # fmt: skip
    import_run("mt-bench", pairs, store)
    assert _only(store, "SELECT outcome FROM verdict WHERE turn = 1")["outcome"] == "win"
    assert _only(store, "SELECT failed FROM winrate WHERE turn = 0")["failed"] == 0
    notes = [str(row["message"]) for row in _rows(store, "SELECT message FROM event ORDER BY id")]
    assert [note.split(":")[0] for note in notes] == ["2 rows were superseded", "1 row was superseded"]


def test_with_all_rows_mt_bench_means_are_fastchats_own(tmp_path: Path, store: Path) -> None:
    _retried(tmp_path)
    import_run("mt-bench", tmp_path / "model_judgment" / "gpt-4_single.jsonl", store, all_rows=True)
    assert _only(store, "SELECT value FROM modelscore")["value"] == 6.5  # mean of all scores but -1
    assert [row["score"] for row in _rows(store, "SELECT score FROM rating ORDER BY id")] == [4.0, None]


def test_whole_conversations_have_the_verdict_of_the_last_turn(tmp_path: Path, store: Path) -> None:
    import_run("mt-bench", files.mt_bench(tmp_path / "mt_bench"), store)
    rows = _rows(
        store,
        "SELECT e.example, v.outcome FROM verdict v JOIN example e ON e.id = v.example_id WHERE v.turn = 0",
    )
    assert {row["example"]: row["outcome"] for row in rows} == {"81": "tie", "101": "failed"}


def test_slices_of_an_imported_run_show_both_models_values(tmp_path: Path, store: Path) -> None:
    run = import_run("mt-bench", files.mt_bench(tmp_path / "mt_bench"), store)
    scores = slices.slice_scores(history.attach(database.connect(store)), run)
    found = {row.slice: row for row in slices.untested(scores, *files.MODELS)}
    turn = found["turn 1"]
    assert (turn.candidate_value, turn.baseline_value, turn.n, turn.standing) == (5.5, 5.5, 2, "not tested")


def test_imported_pairs_have_the_audits_and_ranking_of_judged_ones(tmp_path: Path, store: Path) -> None:
    import_run("mt-bench", files.mt_bench(tmp_path / "mt_bench"), store)
    agree = _only(store, "SELECT value, n FROM audit WHERE measure = 'consistency'")
    assert (agree["value"], agree["n"]) == (pytest.approx(2 / 3), 3)
    kin = _only(store, "SELECT a.subject FROM audit a JOIN judge j ON j.id = a.judge_id"
                " WHERE measure = 'self_preference' AND j.kind = 'pairwise'")  # fmt: skip
    assert kin["subject"] == "gpt-3.5-turbo"
    assert len(_rows(store, "SELECT * FROM ranking")) == 2


def test_alpaca_eval_preferences_may_be_texts_and_have_a_standard_error(tmp_path: Path, store: Path) -> None:
    path = files.alpaca_eval(tmp_path / "annotations.json", ["2", "1.25", "nan", ""])
    import_run("alpaca-eval", path, store)
    found = _only(store, "SELECT win_rate, failed FROM winrate")
    assert (found["win_rate"], found["failed"]) == (0.625, 2)
    error = _only(store, "SELECT value, n FROM audit WHERE measure = 'standard_error'")
    assert error["value"] == pytest.approx(np.std([1.0, 0.25], ddof=1) / np.sqrt(2))  # pandas' sem
    path.write_text(path.read_text().replace('"1.25"', '"m"'))
    with pytest.raises(BadInput, match=r"annotations.json:\d+: preference: found 'm', expected a number"):
        import_run("alpaca-eval", path, store)


def test_alpaca_evals_baseline_against_itself_is_half(tmp_path: Path, store: Path) -> None:
    path = files.alpaca_eval(tmp_path / "annotations.json", [1.5, 1.5])
    path.write_text(path.read_text().replace("my-model", "gpt4_1106_preview"))
    import_run("alpaca-eval", path, store)
    assert _only(store, "SELECT win_rate FROM winrate")["win_rate"] == 0.5
    names = [row["name"] for row in _rows(store, "SELECT name FROM model ORDER BY position")]
    assert names == ["gpt4_1106_preview", "gpt4_1106_preview (itself)"]


def test_alpaca_eval_gives_the_mean_preference_and_leaves_out_what_is_missing(
    tmp_path: Path, store: Path
) -> None:
    preferences = [1.0, 2.0, 1.83, 1.5, None, 1.2, -1.0, 0.0]
    import_run("alpaca-eval", files.alpaca_eval(tmp_path / "annotations.json", preferences), store)
    found = _only(store, "SELECT * FROM winrate")
    # alpaca_eval: 100 * mean(preference - 1), 0 read as 1.5, without what is no preference
    assert found["win_rate"] == pytest.approx(np.mean([0.0, 1.0, 0.83, 0.5, 0.2, 0.5]))
    assert [found[key] for key in ("wins", "losses", "ties", "failed")] == [2, 2, 2, 2]
    low, high = found["low"], found["high"]
    assert isinstance(low, float) and isinstance(high, float) and low < 0.505 < high
    assert found["length_controlled_reason"] == "fewer than 20 verdicts"


def test_alpaca_evals_own_length_controlled_rate_is_kept_under_its_name(tmp_path: Path, store: Path) -> None:
    path = files.alpaca_eval(tmp_path / "annotations.json", [1.0, 2.0, None])
    rows = json.loads(path.read_text())
    for row, predicted in zip(rows, (0.2, 0.9, 0.4), strict=True):
        row["glm_preference"] = predicted
    path.write_text(json.dumps(rows))
    run = import_run("alpaca-eval", path, store)
    judged = judging.judging(history.attach(database.connect(store)), run)
    (said,) = (said.text for said in about_match(judged, judged.win_rates[0]) if "own LC" in said.text)
    assert said == "AlpacaEval's own LC win rate: 50.00% over 3 rows"
    del rows[0]["glm_preference"]
    path.write_text(json.dumps(rows))
    import_run("alpaca-eval", path, store)
    partial = _rows(store, "SELECT value, reason FROM audit WHERE measure = 'alpaca_eval_lc'")[1]
    assert partial == {"value": None, "reason": "2 of 3 rows have a glm_preference"}


def test_nothing_is_computed_at_equal_length_where_texts_are_unknown(tmp_path: Path, store: Path) -> None:
    games = [("model_1", "model_1") if place % 2 else ("model_2", "tie") for place in range(24)]
    pairs = [
        {"question_id": place, "model_1": "a", "model_2": "b", "g1_winner": one, "g2_winner": other,
         "judge": ["gpt-4", "pair-v2"], "turn": 1}
        for place, (one, other) in enumerate(games)
    ]  # fmt: skip
    import_run("mt-bench", files.lines(tmp_path / "gpt-4_pair.jsonl", pairs), store)
    found = _rows(store, "SELECT win_rate, length_controlled, length_controlled_reason FROM winrate")[0]
    assert found == {
        "win_rate": 0.75,
        "length_controlled": None,
        "length_controlled_reason": "the texts of some pairs are unknown",
    }


def test_alpaca_evals_newer_names_of_price_and_time_are_read(tmp_path: Path, store: Path) -> None:
    path = files.alpaca_eval(tmp_path / "annotations.json", [2.0, 1.0], prefix="preference_")
    import_run("alpaca-eval", path, store)
    judgment = _rows(store, "SELECT * FROM judgment")[0]
    assert (judgment["cost"], judgment["latency_s"], judgment["order"]) == (0.01, 0.5, "baseline_first")


def test_judgelm_scores_decide_and_both_orders_count_once(tmp_path: Path, store: Path) -> None:
    import_run("judgelm", files.judgelm(tmp_path / "judgments.jsonl"), store)
    found = _only(store, "SELECT * FROM winrate")
    assert [found[key] for key in ("wins", "losses", "ties", "failed")] == [1, 1, 1, 1]
    consistent = _rows(store, "SELECT consistent FROM verdict ORDER BY example_id")
    assert [row["consistent"] for row in consistent] == [1, None, None, None]


@pytest.mark.parametrize("read", ["", "b_reverse.jsonl"])
def test_judgelms_reversed_files_exchange_the_answers_and_not_the_ids(
    tmp_path: Path, store: Path, read: str
) -> None:
    path = files.judgelm_both(tmp_path / "both")
    import_run("judgelm", path / read, store)
    found = _only(store, "SELECT w.*, m.name FROM winrate w JOIN model m ON m.id = w.candidate_id")
    assert (found["name"], found["wins"], found["losses"]) == ("bad", 0, 4)
    assert found["position_bias"] == (None if read else 0.5)
    good = _rows(store, "SELECT text FROM response r JOIN model m ON m.id = r.model_id WHERE name = 'good'")
    assert all(str(row["text"]).startswith("long good") for row in good)


def test_judgelms_files_of_both_orders_that_do_not_say_which_is_reversed_are_refused(
    tmp_path: Path, store: Path
) -> None:
    path = files.judgelm_both(tmp_path / "both")
    (path / "b_reverse.jsonl").rename(path / "b.jsonl")
    with pytest.raises(BadInput, match=r"b.jsonl:1: answer1_body: .* cannot be told"):
        import_run("judgelm", path, store)


def test_prometheus_results_are_read_as_its_models_write_them(tmp_path: Path, store: Path) -> None:
    import_run("prometheus", files.prometheus(tmp_path / "graded.jsonl"), store)
    ratings = _rows(store, "SELECT score, failure FROM rating ORDER BY id")
    assert [row["score"] for row in ratings] == [4.0, 5.0, 2.0, None]
    assert ratings[3]["failure"] == "no [RESULT]"
    assert _only(store, "SELECT outcome FROM verdict")["outcome"] == "win"


def test_prometheus_answers_to_one_instruction_are_examples_with_its_rubric(
    tmp_path: Path, store: Path
) -> None:
    rows = [
        {"orig_instruction": "Do", "orig_response": f"answer {score}", "orig_criteria": "Is it right?",
         "orig_score1_description": "wrong", "output": f"So. [RESULT] {score}"}
        for score in (1, 4)
    ]  # fmt: skip
    import_run("prometheus", files.lines(tmp_path / "bench.jsonl", rows), store)
    assert _only(store, "SELECT value, n FROM modelscore") == {"value": 2.5, "n": 2}
    extra = json.loads(str(_rows(store, "SELECT extra FROM example")[0]["extra"]))
    assert extra["extra"] == {"rubric": {"criteria": "Is it right?", "score1_description": "wrong"}}


def test_prometheus_pairs_on_one_instruction_are_examples_and_exchanged_models_the_other_order(
    tmp_path: Path, store: Path
) -> None:
    def pair(a: str, b: str, result: str, **more: str) -> dict[str, str]:
        answers = {"response_A": f"by {a}", "response_B": f"by {b}"}
        return {"instruction": "Do", "output": f"So. [RESULT] {result}", **answers, **more}

    rows = [pair("x", "y", "A", model_A="x", model_B="y"), pair("y", "x", "B", model_A="y", model_B="x")]
    import_run("prometheus", files.lines(tmp_path / "both.jsonl", rows), store)
    assert _only(store, "SELECT wins, position_bias FROM winrate") == {"wins": 1, "position_bias": 0.5}
    assert [row["role"] for row in _rows(store, "SELECT role FROM model")] == ["candidate", "baseline"]
    unnamed = [pair("1", "2", "A"), pair("3", "4", "A"), pair("3", "4", "B")]
    import_run("prometheus", files.lines(tmp_path / "unnamed.jsonl", unnamed), store)
    assert _rows(store, "SELECT wins, losses FROM winrate")[-1] == {"wins": 2, "losses": 1}


def test_a_score_in_a_column_with_gaps_is_a_grade(tmp_path: Path, store: Path) -> None:
    graded = {"instruction": "Do", "response": "Done", "score": 4.0}
    import_run("prometheus", files.lines(tmp_path / "graded.jsonl", [graded]), store)
    assert _only(store, "SELECT score FROM rating") == {"score": 4.0}


def test_an_instruction_that_alpaca_eval_judged_twice_counts_twice(tmp_path: Path, store: Path) -> None:
    sides = {"generator_1": "base", "generator_2": "m", "instruction": "q", "output_1": "a"}
    rows = [sides | {"output_2": f"b{n}", "preference": 2.0 - n, "price_per_example": -1} for n in (0, 1)]
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps(rows))
    import_run("alpaca-eval", path, store)
    assert _only(store, "SELECT wins, losses, win_rate FROM winrate") == {
        "wins": 1,
        "losses": 1,
        "win_rate": 0.5,
    }
    assert [row["cost"] for row in _rows(store, "SELECT cost FROM judgment")] == [None, None]


def test_mt_bench_scores_off_the_scale_are_failed_grades(tmp_path: Path, store: Path) -> None:
    row = {"model": "m", "judge": ["gpt-4", "single-v1"], "judgment": "", "turn": 1}
    rows = [row | {"question_id": place, "score": score} for place, score in enumerate((0, 8, 1e308, -5))]
    import_run("mt-bench", files.lines(tmp_path / "m_single.jsonl", rows), store)
    assert [_score(store, "m")[key] for key in ("value", "n", "missing")] == [4.0, 2, 2]
    failures = [row["failure"] for row in _rows(store, "SELECT failure FROM rating ORDER BY id")]
    assert failures[2:] == ["the score 1e+308 is not from 0 to 10", "the score -5 is not from 0 to 10"]


def test_biggen_bench_scores_are_those_of_each_judge(tmp_path: Path, store: Path) -> None:
    graded = {
        "id": "plan_0",
        "capability": "planning",
        "system_prompt": "Be short.",
        "input": "Plan.",
        "reference_answer": "A plan.",
        "score_rubric": {"criteria": "Is it a plan?"},
        "response": "No.",
    }
    own = graded | {"response_model_name": "m", "feedback": "Bad.", "score": 2, "eval_model_name": "judge"}
    path = tmp_path / "evals.json"
    path.write_text(json.dumps({"plan_0": own, "plan_1": own | {"id": "plan_1", "score": None}}, indent=1))
    import_run("prometheus", path, store)
    assert _only(store, "SELECT value, n, missing FROM modelscore") == {"value": 2.0, "n": 1, "missing": 1}
    columns = graded | {"model_name": "m", "gpt4_score": 4.0, "human_score": 7}
    import_run("prometheus", files.lines(tmp_path / "results.jsonl", [columns]), store)
    judges = _rows(store, "SELECT name, is_language_model FROM judge WHERE run_id = 2")
    assert judges == [{"name": "gpt4", "is_language_model": 1}, {"name": "human", "is_language_model": 0}]
    failures = [row["failure"] for row in _rows(store, "SELECT failure FROM rating ORDER BY id")]
    assert failures == [None, "no score", None, "the score 7 is not from 1 to 5"]


@pytest.mark.parametrize("single", [True, False])
def test_judgments_that_all_failed_are_missing_with_their_reason(
    tmp_path: Path, store: Path, single: bool
) -> None:
    """Of two models and three questions, not all of both."""
    asked = [("m", 1), ("n", 2), ("n", 3)]
    judged: list[dict[str, object]] = [
        {"question_id": question, "turn": 1, "judge": ["gpt-4", "v"]}
        | (
            {"model": model, "score": -1, "judgment": "?"}
            if single
            else {"model_1": model, "model_2": "base", "g1_winner": "error", "g2_winner": "error"}
        )
        for model, question in asked
    ]
    import_run("mt-bench", files.lines(tmp_path / "judged.jsonl", judged), store)
    if single:
        scores = _rows(store, "SELECT value, n, missing FROM modelscore")
        assert scores == [{"value": None, "n": 0, "missing": 3}] * 2
        told = [str(row["message"]) for row in _rows(store, "SELECT message FROM alert")]
        assert told and all(each.endswith("No question was graded for all models.") for each in told)
    else:
        rates = _rows(store, "SELECT win_rate, failed, reason FROM winrate WHERE turn = 0 ORDER BY failed")
        assert [(row["win_rate"], row["failed"]) for row in rates] == [(None, 1), (None, 2)]
        assert {row["reason"] for row in rates} == {"every judgment failed"}


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        ("alpaca-eval", '[{"instruction": "a"}]', "annotations.json:1: is neither an AlpacaEval output"),
        ("alpaca-eval", "[]", "holds no records"),
        ("mt-bench", '{"question_id": 1}', "annotations.json:1: is no MT-Bench judgment"),
        (
            "mt-bench",
            '{"question_id": 1, "model": "m", "score": 1, "turn": 1000000000000000000000}',
            "annotations.json:1: turn: found 1000000000000000000",
        ),
        (
            "mt-bench",
            '{"question_id": 1, "model_1": "m", "model_2": "m", "g1_winner": "tie", "g2_winner": "tie"}',
            "annotations.json:1: model_2: is the same model as model_1",
        ),
        ("judgelm", '{"question_id": 1}', "annotations.json:1: question_body: is missing"),
        ("prometheus", '{"instruction": 5.0}', "response: is missing"),
        (
            "judgelm",
            "\n".join(
                json.dumps(
                    {"question_id": 1, "question_body": asked, "answer1_body": "a", "answer2_body": "b"}
                )
                for asked in ("Why?", "How?")
            ),
            "annotations.json:2: question_id: 1 stands for another question in a line before",
        ),
        (
            "prometheus",
            "\n".join(
                json.dumps(
                    {
                        "id": "1",
                        "instruction": asked,
                        "response": "a",
                        "model": asked,
                        "output": "x [RESULT] 3",
                    }
                )
                for asked in ("Why?", "How?")
            ),
            "annotations.json:2: id: 1 stands for another question in a line before",
        ),
        ("no-such", "{}", "known kinds: mt-bench, alpaca-eval, prometheus, judgelm"),
        ("no-such", "{}", "lm-eval, store, verdicts, labels"),
    ],
)
def test_files_of_another_kind_are_refused_by_line_and_key(
    tmp_path: Path, store: Path, kind: str, text: str, message: str
) -> None:
    path = tmp_path / "annotations.json"
    path.write_text(text)
    with pytest.raises(BadInput) as refused:
        import_run(kind, path, store)
    assert message in str(refused.value)


def test_a_preference_out_of_range_is_refused_and_nothing_is_stored(tmp_path: Path, store: Path) -> None:
    path = files.alpaca_eval(tmp_path / "annotations.json", [2.0, 7.0])
    with pytest.raises(BadInput, match=r"preference: found 7\.0"):
        import_run("alpaca-eval", path, store)
    assert not database.exists(store)


def test_two_imports_compare_by_their_judge_s_scores(store: Path, tmp_path: Path) -> None:
    before = import_run("mt-bench", files.mt_bench(tmp_path / "before"), store)
    later = files.mt_bench(tmp_path / "after")
    file = later / "model_judgment" / "gpt-4_single.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    better = [
        row | {"score": row["score"] + (row["model"] == "vicuna-13b" and row["score"] > 0)} for row in rows
    ]
    files.lines(file, better)
    after = import_run("mt-bench", later, store)
    connection = history.attach(database.connect(store))
    comparison = compare_runs(connection, before, after)
    connection.close()
    (judged,) = [item for item in comparison.comparisons if item.measure == "judge:gpt-4"]
    assert judged.baseline_value == pytest.approx(5.5)
    assert judged.candidate_value == pytest.approx(6.5)
    assert judged.n == 2
    assert not [
        item for item in comparison.incomparable if "gpt-4)" in item.what and "pairs" not in item.what
    ]
