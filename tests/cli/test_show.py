from pathlib import Path

import pytest
from rich.cells import cell_len

from store import records
from store.write import Recorder
from tests.cli.conftest import Assay
from tests.rulings import ruled


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
    model = recorder.rows(records.StoredModel, run_id=1, name="good")[0].id
    row = {"model_id": model, "measure": "rougeL", "value": float("inf"), "low": None, "high": None}
    recorder.put(records.ModelScore(**{**row, "n": 0, "missing": 12, "reason": None}))
    recorder.close()
    shown = assay("show", "1", "--json", "--store", own_store)
    (score,) = [s for s in shown.json["scores"] if (s["model"], s["metric"]) == ("good", "rougeL")]
    assert score["value"] is None and score["reason"]
    assert "Infinity" not in shown.out


def test_the_table_fits_eighty_columns_and_says_what_a_person_needs(
    assay: Assay, history_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tui.text.output.width", lambda: 80)
    shown = assay("show", "2", "--section", "all", "--store", history_store).out
    assert max(cell_len(line) for line in shown.splitlines()) <= 80
    for words in (
        "A GATE FAILED", "good", "FAILED (2 critical, 1 warning)", "reference (not a language model)",
        " worse", " better", "= inconclusive", "CRITICAL", "WARNING", "NOTE", "1 of 12 missing",
    ):  # fmt: skip
        assert words in shown, words
    assert "\x1b" not in shown


def test_full_adds_every_interval(assay: Assay, history_store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui.text.output.width", lambda: 80)
    shown = assay("show", "2", "--full", "--store", history_store).out
    assert max(cell_len(line) for line in shown.splitlines()) <= 80
    for words in ("- worse", "+ better", "inconclusive", "Scores, with 95% CIs", "95% CI"):
        assert words in shown, words


def test_a_run_is_found_by_id_name_and_last(assay: Assay, history_store: Path) -> None:
    for name, found in (("2", "2"), ("tickets-v1", "1"), ("last", "3")):
        assert assay("--store", history_store, "show", name, "--json").json["run"]["id"] == found


def test_runs_lists_the_newest_first(assay: Assay, history_store: Path) -> None:
    listed = assay("runs", "--json", "--store", history_store).json
    assert [run["id"] for run in listed] == ["3", "2", "1"]
    assert {"id", "name", "status", "started", "finished", "passed", "reason"} <= listed[0].keys()
    assert [run["passed"] for run in listed] == [None, False, True]
    assert "a gate failed" in assay("runs", "--store", history_store).out
    assert len(assay("runs", "--limit", "1", "--json", "--store", history_store).json) == 1


def test_measures_stand_by_family_and_those_that_got_worse_first(assay: Assay, history_store: Path) -> None:
    lines = assay("show", "2", "--section", "all", "--store", history_store).out.splitlines()
    change = lines[lines.index("Change against base") :]
    families = [line.split("  ")[0] for line in change[2 : change.index("")] if not line.startswith(" ")]
    assert families[:2] == ["perplexity", "benchmarks"] and "exact & token" in families
    scores = lines[lines.index("Scores") :]
    assert scores[2] == "overlap" and scores[3].startswith("  rougeL")


def test_many_measures_are_folded_but_for_the_worse_ones(assay: Assay, own_store: Path) -> None:
    recorder = Recorder(own_store, 2)
    ids = {row.name: row.id for row in recorder.rows(records.StoredModel, run_id=2)}
    names = [f"check_{n}" for n in range(30)]
    declared = {"run_id": 2, "direction": "higher", "unit": "share", "version": "1", "source": "rule"}
    recorder.append(
        [
            records.StoredMetric(**{**declared, "measure": name, "position": 9 + n, "meaning": ""})
            for n, name in enumerate(names)
        ]
    )
    pair = {"candidate_id": ids["good"], "baseline_id": ids["base"], "kind": "metric", "direction": "higher"}
    recorder.append(
        [
            records.StoredComparison(**row)
            for name in names
            for row in ruled(
                [
                    pair
                    | {"measure": name, "candidate_value": 0.4, "baseline_value": 0.6, "delta": -0.2, "n": 50}
                    | {"low": -0.3, "high": -0.1 if name == "check_7" else 0.1, "p": 0.02}
                ]
            )
        ]
    )
    recorder.close()
    shown = assay("show", "2", "--section", "all", "--store", own_store).out
    assert "format: 31 folded" in shown and "check_7" in shown and "check_8" not in shown
    assert "are folded: --find NAME" in shown
    assert "check_8" in assay("show", "2", "--full", "--store", own_store).out
    found = assay("show", "2", "--find", "check_8", "--store", own_store).out
    assert "check_8" in found and "check_7" not in found and "folded" not in found
    assert "check_8" in assay("show", "2", "--find", "FORMAT", "--store", own_store).out


def test_slices_are_shown_worst_first_all_of_them_when_asked(
    assay: Assay, history_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tui.text.output.width", lambda: 80)
    few = assay("show", "2", "--section", "slices", "--store", history_store).out
    assert "Slices: 24 of 48 clearly worse" in few and "--slices shows all of them" in few
    assert "category: billing" not in few
    every = assay("show", "2", "--slices", "--store", history_store).out
    assert max(cell_len(line) for line in every.splitlines()) <= 80
    assert "category: billing" in every and "+0.420 better" in every and "-0.310 worse" in every
    found = assay("show", "2", "--slices", "--find", "shipping", "--store", history_store).out
    assert "category: shipping" in found and "category: billing" not in found
    assert "no slices were computed" in assay("show", "1", "--slices", "--store", history_store).out


def test_forgetting_corpora_and_disparities_are_shown_with_what_is_missing(
    assay: Assay, history_store: Path
) -> None:
    shown = assay("show", "2", "--section", "all", "--store", history_store).out
    for words in (
        "Forgetting, against base", "- forgotten", "drifted", "bits per byte of general",
        "overfit: forgotten (bits per byte of general, arithmetic · acc, copying · acc)",
        "general: 1 of 2 texts missing (fewer than two tokens)", "men", "unequal",
    ):  # fmt: skip
        assert words in shown, words


def test_json_tells_slices_forgetting_corpora_and_disparities(assay: Assay, history_store: Path) -> None:
    shown = assay("show", "2", "--json", "--store", history_store).json
    slice_ = shown["slices"][0]
    assert {
        "candidate", "baseline", "measure", "slice", "candidate_value", "baseline_value", "delta", "low",
        "high", "p", "n", "reason", "standing",
    } <= slice_.keys()  # fmt: skip
    assert (slice_["slice"], slice_["standing"], slice_["p"]) == ("category: shipping", "worse", 0.004)
    forgot = next(row for row in shown["forgetting"] if row["candidate"] == "overfit")
    assert forgot["baseline"] == "base" and forgot["standing"] == "worse" and forgot["delta"] > 0
    corpus = next(row for row in shown["corpora"] if row["model"] == "overfit")
    assert (
        corpus["missing"] == 1
        and corpus["reason"]
        and corpus["bits_per_byte"] == pytest.approx(1.262, abs=1e-3)
    )
    assert {"model", "measure", "first", "second", "delta", "low", "high", "p", "n"} <= shown["disparities"][
        0
    ].keys()
    rouge = next(metric for metric in shown["metrics"] if metric["measure"] == "rougeL")
    assert rouge["family"] == "overlap" and rouge["needs"] == ["references"]


CLASSES = {
    "labels": ["billing", "other"],
    "per_class": [
        {"label": "billing", "precision": 0.9, "recall": 0.75, "f1": 0.818, "support": 12},
        {"label": "other", "precision": None, "recall": 0.0, "f1": 0.0, "support": 3},
    ],
    "confusion": [[9, 0, 3], [1, 0, 2]],
}
FACTS = {
    "adapter": {"path": "a", "bytes": 2_097_152, "parameters": 500_000, "trainable_share": 0.0125},
    "device_use": {"peak_memory": 3 << 30, "energy_j": None, "reason": None, "energy_reason": "not reported"},
}


def test_errors_by_label_and_what_the_models_took_are_shown(assay: Assay, own_store: Path) -> None:
    recorder = Recorder(own_store, 2)
    model = recorder.rows(records.StoredModel, run_id=2, name="good")[0].id
    recorder.set_model(model, details={"classification": CLASSES, **FACTS})
    recorder.close()
    shown = " ".join(assay("show", "2", "--section", "all", "--store", own_store).out.split())
    assert "F1 by label label examples good" in shown and "0.818" in shown and "→ not found" not in shown
    assert "good: adapter 2.0 MiB, 500,000 parameters, 1.250% trainable" in shown
    assert "peak GPU memory 3.0 GiB; energy missing: not reported" in shown
    full = assay("show", "2", "--full", "--store", own_store).out
    assert "good: examples by label and answer" in full and "→ not found" in full
    page = assay("report", "2", "--format", "html", "--store", own_store).out
    assert "good: by label" in page and "→ not found" in page and "2.0 MiB" in page
    assert "1.250% trainable" in assay("report", "2", "--format", "md", "--store", own_store).out


def test_the_gpu_hours_of_a_run_are_shown_where_a_gpu_was_used(assay: Assay, own_store: Path) -> None:
    assert "GPU-hours" not in assay("show", "2", "--store", own_store).out
    assert assay("show", "2", "--json", "--store", own_store).json["run"]["gpu_hours"] == 0.0
    recorder = Recorder(own_store, 2)
    for row in recorder.rows(records.StoredModel, run_id=2):
        recorder.set_model(row.id, details={"device": "cuda"})
    recorder.close()
    assert "its models used 0.011 GPU-hours" in assay("show", "2", "--store", own_store).out
    hours = assay("show", "2", "--json", "--store", own_store).json["run"]["gpu_hours"]
    assert hours == pytest.approx(5 * 8 / 3600)


@pytest.mark.parametrize(("rows", "columns"), [(24, 80), (36, 100), (48, 160), (24, 20)])
def test_a_run_fits_on_one_screen(
    assay: Assay, history_store: Path, monkeypatch: pytest.MonkeyPatch, rows: int, columns: int
) -> None:
    for name, value in (("LINES", rows), ("COLUMNS", columns)):
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("NO_COLOR", "1")
    for run in ("1", "2", "3"):
        shown = assay("show", run, "--store", history_store).out.splitlines()
        assert len(shown) < rows and shown[0].startswith(f"run {run}"), shown
        assert any("assay show" in line for line in shown), "where the rest is"
        assert run != "2" or any(line.startswith("Alerts: 3 critical") for line in shown), "none is hidden"
        told = " ".join(shown)
        assert columns == 20 or (f"show {run} --full" in told and f"assay review {run}" in told), (
            "what is next"
        )
    assert columns == 20 or max(map(cell_len, shown)) <= columns


def test_the_one_screen_has_the_verdict_the_changes_alerts_and_what_is_missing(
    assay: Assay, history_store: Path
) -> None:
    shown = assay("show", "2", "--store", history_store).out
    assert len(shown.splitlines()) < 48
    for words in (
        "Decision", "? good: inconclusive", "- overfit: DON'T SHIP", "Alerts", "Missing values",
        "Changes that matter: 8 worse, 12 better", "CRITICAL overfit: arithmetic fell by 0.62",
        "more: assay show 2 --section",
        "prompted: 1 of 12 missing (no response): rougeL", "assay show 2 --slices    24 of 48 clearly worse",
    ):  # fmt: skip
        assert words in shown, words
    base = "base, prompted, good, overfit, no-effect: 1 of 2 missing (fewer than two tokens)"
    assert base.split(":")[0] in " ".join(
        assay("show", "2", "--section", "scores", "--store", history_store).out.split()
    )


def test_a_section_is_shown_alone_and_an_empty_one_says_so(assay: Assay, history_store: Path) -> None:
    shown = assay("show", "2", "--section", "forgetting", "--section", "alerts", "--store", history_store).out
    assert "Forgetting, against base" in shown and "Alerts" in shown and "Decision" not in shown
    assert (
        "sweep: nothing in this run" in assay("show", "2", "--section", "sweep", "--store", history_store).out
    )
    wrong = assay("show", "2", "--section", "forgeting", "--store", history_store)
    assert wrong.code == 2 and "forgeting" in wrong.err
