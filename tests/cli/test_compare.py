import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.compare.comparison import Comparison
from engine.gates.checks import Incomparable, RunComparison, compare_runs
from engine.metrics.load import load_metric
from store import database
from store.read import history
from tests.cli.conftest import Assay, Ran


@pytest.fixture
def connection(own_store: Path) -> Iterator[sqlite3.Connection]:
    opened = history.attach(database.connect(own_store))
    yield opened
    opened.close()


def found(comparison: RunComparison, measure: str) -> Comparison:
    (item,) = [item for item in comparison.comparisons if item.measure == measure]
    return item


def reason(comparison: RunComparison, what: str) -> str:
    (item,) = [item for item in comparison.incomparable if item.what == what]
    return item.reason


def model_id(connection: sqlite3.Connection, run: int, name: str) -> int:
    row = connection.execute("SELECT id FROM model WHERE run_id = ? AND name = ?", (run, name)).fetchone()
    return int(row[0])


def test_candidates_of_one_name_are_paired_on_the_shared_examples(connection: sqlite3.Connection) -> None:
    comparison = compare_runs(connection, 1, 2)
    rouge = found(comparison, "rougeL")
    values = {
        run: dict(
            connection.execute(
                "SELECT example_id, value FROM score WHERE measure = 'rougeL' AND model_id = ?",
                (model_id(connection, run, "good"),),
            ).fetchall()
        )
        for run in (1, 2)
    }
    assert (rouge.candidate, rouge.baseline, rouge.n) == ("good (run 2)", "good (run 1)", 12)
    assert rouge.candidate_value == pytest.approx(sum(values[2].values()) / 12)
    assert rouge.delta == pytest.approx((sum(values[2].values()) - sum(values[1].values())) / 12)
    assert comparison.shared == 12
    assert Incomparable("overfit", "only run 2 has a candidate of that name") in comparison.incomparable


def test_win_rates_over_the_same_baseline_compare(connection: sqlite3.Connection) -> None:
    rate = found(compare_runs(connection, 1, 2), "win rate over prompted (reference)")
    stored = {row.candidate: row for row in history.win_rates(connection, 2) if row.baseline == "prompted"}
    assert rate.candidate_value == pytest.approx(stored["good"].win_rate)
    assert rate.n == 11  # one verdict failed, and counts for neither


def test_another_judge_or_baseline_is_not_compared(connection: sqlite3.Connection) -> None:
    connection.execute("UPDATE model SET fingerprint = 'other' WHERE run_id = 1 AND name = 'base'")
    comparison = compare_runs(connection, 1, 2)
    assert "not the same model" in reason(comparison, "win rate over base")
    assert found(comparison, "win rate over prompted (reference)").delta is not None
    connection.execute("UPDATE judge SET prompt_hash = 'new' WHERE run_id = 2")
    comparison = compare_runs(connection, 1, 2)
    assert "prompt" in reason(comparison, "judge reference")
    assert not any("win rate" in item.measure for item in comparison.comparisons)


def test_other_versions_settings_and_tokenizers_are_not_compared(connection: sqlite3.Connection) -> None:
    connection.execute("UPDATE metric SET version = '0' WHERE run_id = 1 AND measure = 'rougeL'")
    connection.execute(
        """UPDATE metric SET settings = '{"schema": "s"}'
        WHERE run_id = 1 AND measure = 'format_compliance'"""
    )
    connection.execute(
        """UPDATE model SET details = '{"tokenizer": "new"}' WHERE run_id = 2 AND name = 'good'"""
    )
    comparison = compare_runs(connection, 1, 2)
    assert "versions: 0 and 1" in reason(comparison, "rougeL")
    assert "settings" in reason(comparison, "format_compliance")
    assert "tokenizers" in reason(comparison, "perplexity, good (run 2)")
    assert found(comparison, "perplexity").delta is None
    assert {"rougeL", "format_compliance"}.isdisjoint(item.measure for item in comparison.comparisons)


OWN = "def polite(example, response): return 1"


def measure_politeness(connection: sqlite3.Connection, folder: Path, text: str = OWN) -> Path:
    """Makes both runs have measured what their exact_match was by a metric of their own plan's."""
    own = folder / "my_metrics.py"
    own.write_text(text)
    version = load_metric(f"{own}:polite", {}).measures[0].version
    connection.execute("UPDATE score SET measure = 'polite' WHERE measure = 'exact_match'")
    connection.execute(
        "UPDATE metric SET measure = 'polite', version = ? WHERE measure = 'exact_match'", (version,)
    )
    plan = 'name = "t"\n[metrics]\nuse = ["rouge", "my_metrics.py:polite"]\n'
    connection.execute("UPDATE run SET plan = ?, plan_folder = ?", (plan, str(folder)))
    return own


def test_a_metric_of_the_plans_own_is_compared(connection: sqlite3.Connection, tmp_path: Path) -> None:
    before = found(compare_runs(connection, 1, 2), "exact_match")
    measure_politeness(connection, tmp_path)
    after = found(compare_runs(connection, 1, 2), "polite")
    assert after.n == 12
    assert (after.candidate_value, after.delta, after.p) == (before.candidate_value, before.delta, before.p)


def test_two_runs_of_one_older_version_are_compared_where_the_values_are_averaged(
    connection: sqlite3.Connection,
) -> None:
    connection.execute("UPDATE metric SET version = '0' WHERE measure IN ('exact_match', 'bleu_corpus')")
    assert found(compare_runs(connection, 1, 2), "exact_match").n == 12


def test_comparing_runs_no_code_that_a_plan_names(connection: sqlite3.Connection, tmp_path: Path) -> None:
    own = measure_politeness(connection, tmp_path)
    own.write_text(f"from pathlib import Path\nPath({str(tmp_path / 'ran')!r}).touch()\n{OWN}")
    assert found(compare_runs(connection, 1, 2), "polite").n == 12
    own.unlink()
    assert found(compare_runs(connection, 1, 2), "polite").n == 12
    assert not (tmp_path / "ran").exists()


def test_an_own_measure_that_is_no_average_is_not_compared(
    connection: sqlite3.Connection, tmp_path: Path
) -> None:
    measure_politeness(connection, tmp_path)
    connection.execute(
        "UPDATE modelscore SET measure = 'polite', value = value + 0.25 WHERE measure = 'exact_match'"
    )
    comparison = compare_runs(connection, 1, 2)
    assert "its values are not averages" in reason(comparison, "polite")
    assert "polite" not in {item.measure for item in comparison.comparisons}
    assert found(comparison, "rougeL").delta is not None


def test_a_run_whose_plan_cannot_be_read_is_compared(connection: sqlite3.Connection) -> None:
    for plan in ("[metrics", 'name = "t"\nmetrics = 5', "[metrics]\nuse = 5", "[metrics]\nuse = [[1]]"):
        connection.execute("UPDATE run SET plan = ? WHERE id = 1", (plan,))
        assert found(compare_runs(connection, 1, 2), "rougeL").n == 12


def test_measures_that_come_from_a_plans_settings_are_known(connection: sqlite3.Connection) -> None:
    connection.execute("UPDATE score SET measure = 'pass_at_3' WHERE measure = 'exact_match'")
    connection.execute("UPDATE metric SET measure = 'pass_at_3' WHERE measure = 'exact_match'")
    plan = 'name = "t"\n[metrics]\ncode = { k = [1, 3] }\n'
    connection.execute("UPDATE run SET plan = ?", (plan,))
    assert found(compare_runs(connection, 1, 2), "pass_at_3").n == 12


def test_an_example_in_another_eval_set_counts_only_where_its_words_and_right_calls_are_the_same(
    connection: sqlite3.Connection,
) -> None:
    calls = """'{"calls": [{"name": "f", "arguments": {}}]}'"""
    changed = (
        ("t-001", "query", "NULL"),
        ("t-002", "'changed: ' || query", "NULL"),
        ("t-003", "query", calls),
    )
    for name, query, extra in changed:
        (old,) = connection.execute("SELECT id FROM example WHERE example = ?", (name,)).fetchone()
        (new,) = connection.execute(
            f"""INSERT INTO example
            (eval_set, example, position, query, messages, "references", label, category, extra)
            SELECT 'newer', example, position, {query}, messages, "references", label, category, {extra}
            FROM example WHERE id = ? RETURNING id""",
            (old,),
        ).fetchone()
        connection.execute(
            "UPDATE runexample SET example_id = ? WHERE run_id = 2 AND example_id = ?", (new, old)
        )
        connection.execute(
            "UPDATE score SET example_id = ? WHERE example_id = ? AND model_id = ?",
            (new, old, model_id(connection, 2, "good")),
        )
    comparison = compare_runs(connection, 1, 2)
    assert comparison.shared == 10 and found(comparison, "rougeL").n == 10
    assert "have changed" in reason(comparison, "2 examples")


def test_a_drop_beyond_the_gates_is_an_alert(connection: sqlite3.Connection) -> None:
    connection.execute(
        "UPDATE score SET value = 0 WHERE measure = 'exact_match' AND model_id = ?",
        (model_id(connection, 2, "good"),),
    )
    alerts = compare_runs(connection, 1, 2).alerts
    assert [(alert.severity, alert.kind, alert.measure) for alert in alerts] == [
        ("critical", "metric_drop", "exact_match")
    ]
    assert all(alert.severity == "note" for alert in compare_runs(connection, 2, 1).alerts)


def test_json_has_the_documented_shape(assay: Assay, history_store: Path) -> None:
    shown = assay("compare", "tickets-v1", "2", "--json", "--store", history_store).json
    assert {"comparisons", "benchmarks", "alerts", "incomparable"} <= shown.keys()
    assert {"candidate", "baseline", "measure", "delta", "low", "high", "p", "n", "reason"} <= shown[
        "comparisons"
    ][0].keys()
    assert {"what", "reason"} == shown["incomparable"][0].keys()
    text = assay("compare", "1", "2", "--store", history_store).out
    assert "good (run 2) against good (run 1)" in text and "Not compared" in text


def test_runs_with_nothing_in_common_are_bad_input(assay: Assay, own_store: Path) -> None:
    def compared(*options: str) -> Ran:
        return assay("compare", "1", "2", *options, "--store", own_store)

    connection = database.connect(own_store)
    connection.execute("UPDATE model SET name = name || ' of run 1' WHERE run_id = 1")
    found = compared()
    assert found.code == 2 and "runs 1 and 2 have nothing in common that can be compared" in found.err
    assert "only run 1 has a candidate of that name" in found.out.replace("\n", " ")
    found = compared("--json")
    assert found.code == 2 and found.json["verdict"] == "not evaluated"
    assert compared("--allow-empty").code == 0
    connection.execute("UPDATE model SET name = replace(name, ' of run 1', '')")
    assert compared().code == 0
    # In common is what no gate checks.
    connection.execute("DELETE FROM benchmarkscore")
    connection.execute("DELETE FROM score WHERE measure <> 'response_words'")
    connection.execute("DELETE FROM verdict")
    connection.close()
    assert compared().code == 1
    connection = database.connect(own_store)
    connection.execute("DELETE FROM score")  # the same questions, of which nothing was measured
    assert compared().code == 1
    connection.execute("DELETE FROM runexample WHERE run_id = 1")
    assert compared().code == 2
    connection.close()


def test_a_parameter_that_only_one_server_applied_sets_runs_apart(connection: sqlite3.Connection) -> None:
    connection.execute(
        "UPDATE model SET details = json_object('generation', json_object('temperature', 0.5))"
    )
    connection.execute(
        """UPDATE model SET details = json_set(details, '$.rejected', json_array('temperature'))
        WHERE run_id = 2"""
    )
    settings = compare_runs(connection, 1, 2).settings
    assert settings and all("rejected none and ['temperature']" in said for said in settings)


def test_what_is_not_known_of_recorded_answers_sets_no_runs_apart(connection: sqlite3.Connection) -> None:
    asked = {"temperature": 0.5, "samples": 1, "reasoning": "strip"}
    for run, kind, generation, template in ((1, "local", asked, "895980309ced"), (2, "recorded", {}, None)):
        known = {"samples": 1, "reasoning": "keep"} | generation
        details = json.dumps({"generation": known} | ({"template": template} if template else {}))
        connection.execute("UPDATE model SET kind = ?, details = ? WHERE run_id = ?", (kind, details, run))
    assert [said.partition("settings: ")[2] for said in compare_runs(connection, 1, 2).settings] == [
        "reasoning strip and keep"
    ]
