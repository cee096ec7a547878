from pathlib import Path

import pytest
from rich.cells import cell_len

from store import tables
from store.record import Recorder
from tests.cli.conftest import Assay


def test_json_has_the_documented_shape(assay: Assay, history_store: Path) -> None:
    shown = assay("show", "2", "--json", "--store", history_store).json
    assert {
        "run",
        "models",
        "scores",
        "verdicts",
        "comparisons",
        "benchmarks",
        "alerts",
        "passed",
    } <= shown.keys()
    assert shown["passed"] is False
    run = shown["run"]
    assert run["id"] == "2" and run["name"] == "tickets-v2" and run["status"] == "finished"
    assert run["started"] == "2026-09-20T12:13:20Z"
    assert run["plan_hash"] == "9f2c41d07be3" and run["eval_set_version"] == "5be1c07a9d42"
    assert run["environment"] == {"torch": "2.13.0", "device": "cpu"}
    overfit = next(model for model in shown["models"] if model["name"] == "overfit")
    assert (overfit["role"], overfit["kind"], overfit["passed"]) == ("candidate", "local", False)
    assert overfit["probe"]["max_difference"] == 4.2
    assert {"model", "metric", "value", "low", "high", "n", "missing", "reason"} <= shown["scores"][0].keys()
    assert {
        "judge", "candidate", "baseline", "wins", "losses", "ties", "failed", "win_rate", "low", "high",
        "position_bias", "length_controlled", "reason",
    } <= shown["verdicts"][0].keys()  # fmt: skip
    assert {
        "candidate", "baseline", "measure", "candidate_value", "baseline_value", "delta", "low", "high", "p",
        "n", "smallest_detectable", "reason",
    } <= shown["comparisons"][0].keys()  # fmt: skip
    assert {"model", "task", "metric", "value", "stderr", "n"} <= shown["benchmarks"][0].keys()
    assert {"severity", "kind", "measure", "message", "acknowledged"} <= shown["alerts"][0].keys()


def test_what_is_missing_is_null_with_a_reason(assay: Assay, history_store: Path) -> None:
    shown = assay("show", "3", "--json", "--store", history_store).json
    assert shown["passed"] is None and shown["reason"].startswith("the run is ")
    assert shown["run"]["finished"] is None and "finished" in shown["run"]["reason"]
    base = next(model for model in shown["models"] if model["name"] == "base")
    assert base["passed"] is None and "baseline" in base["reason"]


def test_a_score_that_is_no_number_is_null_with_a_reason(assay: Assay, own_store: Path) -> None:
    recorder = Recorder(own_store, 1)
    model = recorder.rows(tables.Model, run_id=1, name="good")[0]["id"]
    row = {"model_id": model, "measure": "rougeL", "value": float("inf"), "low": None, "high": None}
    recorder.put(tables.ModelScore, [row | {"n": 0, "missing": 12, "reason": None}])
    recorder.close()
    shown = assay("show", "1", "--json", "--store", own_store)
    (score,) = [s for s in shown.json["scores"] if (s["model"], s["metric"]) == ("good", "rougeL")]
    assert score["value"] is None and score["reason"]
    assert "Infinity" not in shown.out


def test_the_table_fits_eighty_columns_and_says_what_a_person_needs(
    assay: Assay, history_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tui.output.width", lambda: 80)
    shown = assay("show", "2", "--store", history_store).out
    assert max(cell_len(line) for line in shown.splitlines()) <= 80
    for words in (
        "A GATE FAILED", "good", "FAILED (2 critical, 1 warning)", "reference (not a language model)",
        " worse", " better", "= no clear change", "CRITICAL", "WARNING", "NOTE", "1 of 12 missing",
    ):  # fmt: skip
        assert words in shown, words
    assert "\x1b" not in shown


def test_full_adds_every_interval(assay: Assay, history_store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui.output.width", lambda: 80)
    shown = assay("show", "2", "--full", "--store", history_store).out
    assert max(cell_len(line) for line in shown.splitlines()) <= 80
    for words in ("- worse", "+ better", "no clear change", "Scores, with 95% intervals", "95% interval"):
        assert words in shown, words


def test_a_run_is_found_by_id_name_and_last(assay: Assay, history_store: Path) -> None:
    for name, found in (("2", "2"), ("tickets-v1", "1"), ("last", "3")):
        assert assay("--store", history_store, "show", name, "--json").json["run"]["id"] == found


def test_runs_lists_the_newest_first(assay: Assay, history_store: Path) -> None:
    listed = assay("runs", "--json", "--store", history_store).json
    assert [run["id"] for run in listed] == ["3", "2", "1"]
    assert {"id", "name", "status", "started", "finished", "passed", "reason"} == listed[0].keys()
    assert [run["passed"] for run in listed] == [None, False, True]
    assert "a gate failed" in assay("runs", "--store", history_store).out
    assert len(assay("runs", "--limit", "1", "--json", "--store", history_store).json) == 1
