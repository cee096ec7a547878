"""One gatherer reads a run once; its sections are data, and every renderer makes its own text of them."""

from pathlib import Path
from typing import Any

import pytest

from store import database, records
from store.write import Recorder
from tests.sections.conftest import Gathered
from tests.tui.history import HOSTILE
from tests.tui.leaky import set_summary, summary
from tui.report import FORMATS, render
from tui.sections.data import NOT_LEAKED
from tui.sections.overview import judging_cost


def summarise(store: Path, **values: Any) -> None:
    """Changes what run 2 recorded of its data."""
    connection = database.connect(store)
    set_summary(connection, {**summary(connection), **values})
    connection.close()


def test_a_run_has_its_sections(history_store: Path, gathered: Gathered) -> None:
    found = gathered(history_store, 2)
    assert found.overview.verdict == "a gate failed" and found.overview.no_verdict is None
    assert [candidate.name for candidate in found.overview.candidates] == ["good", "overfit", "no-effect"]
    assert [verdict.candidate for verdict in found.decision] == ["good", "overfit", "no-effect"]
    assert found.judging.names == {"reference": "reference (not a language model)"}
    assert {pair.row.turn for judge in found.judging.judges for pair in judge.pairs} == {0}
    assert found.slices.worse == len(found.slices.worst(1000)) == 24
    assert {conclusion.verdict for conclusion in found.forgetting.conclusions} == {
        "forgotten",
        "inconclusive",
    }
    assert all(found.alerts.behind(alert) for alert in found.alerts.rows if alert.kind == "benchmark_drop")
    assert {trend.candidate for trend in found.trends} <= set(found.measures.main)


def test_a_run_without_results_has_empty_sections_and_says_why(
    history_store: Path, gathered: Gathered
) -> None:
    found = gathered(history_store, 3)
    assert found.run.passed is None and found.overview.no_verdict
    assert found.overview.sweep is None and found.trends == ()
    assert found.costs.dollars == 0.0 and found.costs.unknown is None


def test_an_unknown_price_is_never_a_cost_of_zero() -> None:
    assert judging_cost((None, 0)) == (0.0, None)
    assert judging_cost((1.25, 0)) == (1.25, None)
    dollars, reason = judging_cost((1.25, 3))
    assert dollars is None and reason == "cost: 3 judgments of unknown price, on top of $1.25"


def test_changes_carry_their_family_and_outcome(history_store: Path, gathered: Gathered) -> None:
    changes = {
        (change.row.candidate, change.row.baseline, change.row.measure): change
        for change in gathered(history_store, 2).measures.changes
    }
    lost = changes["overfit", "base", "arithmetic · acc"]
    assert (lost.family, lost.word) == ("benchmarks", "worse")
    assert changes["good", "base", "rougeL"].family == "overlap"


def test_leaks_are_counted_by_tier_as_recorded(leaky_store: Path, gathered: Gathered) -> None:
    data = gathered(leaky_store, 2).data
    assert data.leaked == 4 and data.leaks_by_tier == {"identical": 1, "near": 1, "ngram": 1, "meaning": 1}
    assert (data.similar, data.answers_seen, data.duplicates) == (2, 1, 1)
    assert data.earlier == (("spring.jsonl", 3),)


def test_leaks_of_an_older_run_are_counted_from_its_rows(history_store: Path, gathered: Gathered) -> None:
    data = gathered(history_store, 2).data
    assert "leaks_by_tier" not in (data.recorded or {})
    assert data.leaks_by_tier == {"identical": 1} and len(data.leaks) == 1


def test_a_tier_that_was_not_searched_has_no_count(leaky_store: Path, gathered: Gathered) -> None:
    summarise(leaky_store, leaks_by_tier={"identical": 1, "meaning": None})
    data = gathered(leaky_store, 2).data
    assert data.leaks_by_tier == {"identical": 1, "meaning": None}


def test_coverage_has_shares_gaps_and_only_the_shifts_that_matter(
    leaky_store: Path, gathered: Gathered
) -> None:
    connection = database.connect(leaky_store)
    recorded = summary(connection)["coverage"] | {"sizes": {"eval": 10, "train": 1000, "log": 5000}}
    connection.close()
    summarise(leaky_store, coverage=recorded)
    coverage = gathered(leaky_store, 2).data.coverage
    assert coverage is not None and coverage.reason is None
    assert coverage.groups[0].shares == pytest.approx((0.7, 0.9, 0.48))
    assert [(gap.label, gap.missing) for gap in coverage.gaps] == [("cancel · subscription", 3)]
    assert [(shift.name, shift.indices) for shift in coverage.shifts] == [
        ("log", (("length", 0.31), ("cluster", 0.4)))
    ]


def test_coverage_that_was_not_computed_has_a_reason(own_store: Path, gathered: Gathered) -> None:
    summarise(own_store, coverage={"reason": "fewer than 20 questions"})
    coverage = gathered(own_store, 2).data.coverage
    assert coverage is not None and coverage.groups == () and coverage.reason == "fewer than 20 questions"


def test_a_sweep_is_ordered_by_rank_with_the_unmeasured_last(own_store: Path, gathered: Gathered) -> None:
    asked = {"measure": "rougeL", "sample": 50, "of": 3, "keep": 2, "n": 50, "low": None, "high": None}
    fared = {
        "good": {"rank": None, "kept": False, "value": None, "reason": "no response"},
        "overfit": {"rank": 2, "kept": True, "value": 0.3, "reason": None},
        "no-effect": {"rank": 1, "kept": True, "value": 0.4, "reason": None},
    }
    recorder = Recorder(own_store, 2)
    for name, values in fared.items():
        model = recorder.rows(records.StoredModel, run_id=2, name=name)[0].id
        recorder.set_model(model, details={"sweep": asked | values})
    recorder.close()
    overview = gathered(own_store, 2).overview
    assert overview.sweep is not None and overview.sweep.cut == 1
    assert [item.name for item in overview.sweep.checkpoints] == ["no-effect", "overfit", "good"]
    assert [model.name for model in overview.cut] == ["good"]
    assert [candidate.name for candidate in overview.candidates] == ["overfit", "no-effect"]


@pytest.mark.parametrize("form", ["html", "md"])
def test_a_report_tells_what_a_sweep_was_held_to_and_why_one_was_cut(
    own_store: Path, gathered: Gathered, form: str
) -> None:
    forgot = "not in the better half on perplexity:wiki, and more than 1% from the best there"
    asked = {"measure": "rougeL", "held_to": "perplexity:wiki", "sample": 50, "of": 2, "keep": 1, "n": 50}
    asked |= {"low": 0.25, "high": 0.45}
    fared = {
        "good": {"rank": 1, "kept": True, "value": 0.3, "reason": None, "general": 12.5},
        "overfit": {"rank": 2, "kept": False, "value": 0.4, "reason": forgot, "general": 19.25},
    }
    recorder = Recorder(own_store, 2)
    for name, values in fared.items():
        model = recorder.rows(records.StoredModel, run_id=2, name=name)[0].id
        recorder.set_model(model, details={"sweep": asked | values})
    recorder.close()
    report = render(gathered(own_store, 2), form)
    rows = [line for line in report.splitlines() if "12.5" in line or "19.2" in line]
    assert len(rows) == 2 and "good" in rows[0] and f"cut: {forgot}" in rows[1]
    assert "Kept: the best by rougeL among those that forgot least by perplexity:wiki." in report
    assert "1 checkpoint cut and not evaluated further" in report


def test_sections_hold_text_as_it_was_recorded_and_renderers_make_it_harmless(
    own_store: Path, gathered: Gathered
) -> None:
    recorder = Recorder(own_store, 2)
    recorder.set_run(name=HOSTILE)
    recorder.close()
    found = gathered(own_store, 2)
    assert found.run.name == HOSTILE
    assert all(not set(render(found, form)) & set("\x1b\x07\x00\x9b\u202e") for form in FORMATS)


def test_the_main_measures_begin_with_those_of_the_alerts(history_store: Path, gathered: Gathered) -> None:
    found = gathered(history_store, 2)
    named = [alert.measure for alert in found.alerts.of("overfit")]
    main = found.measures.main["overfit"]
    assert main[0] in named and len(main) == len(set(main))


def test_candidates_have_their_main_measures_without_the_leaked_examples(
    own_store: Path, gathered: Gathered
) -> None:
    assert not gathered(own_store, 2).data.has_slice_without_leaks
    recorder = Recorder(own_store, 2)
    model = recorder.rows(records.StoredModel, run_id=2, name="overfit")[0].id
    row = {"model_id": model, "measure": "rougeL", "slice": NOT_LEAKED, "value": 0.6, "n": 11, "missing": 0}
    recorder.append(records.SliceScore(**row))
    recorder.close()
    data = gathered(own_store, 2).data
    assert data.has_slice_without_leaks
    (score,) = data.without_leaks
    assert (score.model, score.measure, score.without) == ("overfit", "rougeL", 0.6)
    assert score.value == pytest.approx(0.833, abs=1e-3)
