"""A run over examples of which a model wrote some: every number is there with and without them."""

from pathlib import Path

import pytest

from engine.data.versions import example_of
from engine.gates.checks import compare_runs
from store import records
from store.read import runs, trends
from store.session import opened
from store.write import Recorder
from tests.engine.runs import queue, recorded_plan, work_here
from tui.report.html import html
from tui.report.json import comparison_values
from tui.report.markdown import markdown
from tui.screens.compare.data import judge_lines, metric_lines, read_numbers
from tui.screens.compare.lines import brief, explained
from tui.sections.gather import RunSections, gather_report

RIGHT, WRONG = "yes indeed", "something else"
MORE = """[metrics]
use = ["exact_match"]
[[judges]]
name = "reference"
"""


def carried_out(folder: Path, written: int, asked: int, gains: str) -> None:
    """A run whose candidate gains on one part of the examples ("synthetic" or "real")."""
    rows = [
        {
            "id": f"synthetic-{n}",
            "query": f"Is lamp {n} on?",
            "reference": RIGHT,
            "synthetic": {"kind": "edge"},
        }
        for n in range(written)
    ] + [{"id": f"real-{n}", "query": f"May I return chair {n}?", "reference": RIGHT} for n in range(asked)]
    before = {row["id"]: WRONG for row in rows}
    after = {row["id"]: RIGHT if row["id"].startswith(gains) else WRONG for row in rows}
    plan = recorded_plan(folder, rows, {"before": before, "after": after}, MORE)
    work_here(folder / "store", queue(folder / "store", plan))


def gathered(folder: Path) -> RunSections:
    with opened(folder / "store") as connection:
        return gather_report(connection, 1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The candidate gained on what a model wrote, and on nothing that people asked."""
    folder = tmp_path_factory.mktemp("synthetic")
    carried_out(folder, 40, 30, "synthetic")
    carried_out(folder, 40, 30, "nothing")
    return folder


def test_both_halves_are_slices_of_every_measure(folder: Path) -> None:
    found = {
        row.slice: (row.candidate_value, row.n, row.standing)
        for row in gathered(folder).slices.rows
        if row.measure == "exact_match"
    }
    assert found["synthetic"] == (1.0, 40, "better")
    assert found["not synthetic"][:2] == (0.0, 30) and found["not synthetic"][2] != "better"


def test_the_decision_says_that_the_gain_is_on_synthetic_examples_alone(folder: Path) -> None:
    (verdict,) = gathered(folder).decision
    (believed,) = (each for each in verdict.answers if each.question == "Can the eval set be believed?")
    assert (
        "40 are synthetic, and without them exact_match is" in believed.said and "not better" in believed.said
    )
    assert any(
        line.startswith("without the synthetic: exact_match 0.000 → 0.000") for line in believed.evidence
    )
    assert believed.standing in ("open", "missing")
    assert "50% without 40 synthetic" in verdict.card


def test_win_rates_stand_there_without_them_too(folder: Path) -> None:
    found = gathered(folder)
    (judged,) = found.judging.judges[0].pairs
    assert any(said.text.startswith("without the synthetic examples: 50%") for said in judged.said)
    (told,) = (remark for remark in found.remarks if "after against before" in remark)
    assert "wins 50%" in told and "without the synthetic, 79%" in told


def test_reports_tell_each_main_measure_with_and_without_them(folder: Path) -> None:
    found = gathered(folder)
    whole = "before 0.000 (with them 0.000), after 0.000 (with them 0.571)"
    assert f"exact_match without the synthetic: {whole}" in found.remarks
    assert "40 of 70 examples are synthetic: a model wrote them" in found.remarks
    assert "40 of 70 examples are synthetic" in markdown(found) and "40 of 70 examples are" in html(found)
    assert found.data.synthetic == 40


def test_two_runs_are_compared_with_and_without_them(folder: Path) -> None:
    with opened(folder / "store") as connection:
        found = compare_runs(connection, 2, 1)
    whole = {item.measure: item for item in found.comparisons}
    without = {item.measure: item for item in found.without_synthetic}
    assert (found.shared, found.synthetic) == (70, 40) and whole.keys() == without.keys()
    for measure in ("exact_match", "win rate over before (reference)"):
        assert whole[measure].ruling is not None and whole[measure].ruling.standing == "better"
        assert (without[measure].delta, without[measure].n) == (0.0, 30)
        assert without[measure].ruling is not None and without[measure].ruling.standing != "better"
    told = comparison_values(found)
    assert told["synthetic_examples"] == 40 and len(told["without_synthetic"]) == len(without)


def test_trends_and_the_list_of_runs_have_both(folder: Path) -> None:
    with opened(folder / "store") as connection:
        first, _ = trends.trend(connection, "exact_match")
        judged, _ = trends.trend(connection, "win rate over before (reference)")
        (listed,) = [row for row in runs.page(connection) if row.id == 1]
    assert (first.value, first.without_synthetic) == (pytest.approx(40 / 70), 0.0)
    assert judged.value == pytest.approx(0.786, abs=0.001) and judged.without_synthetic == 0.5
    assert (listed.win_rate, listed.win_rate_without_synthetic) == (judged.value, 0.5)


def test_compare_says_both_of_the_line_in_hand(folder: Path) -> None:
    with opened(folder / "store") as connection:
        numbers = read_numbers(connection, 1)
    (measure,) = (row for row in metric_lines(numbers, "after", "before") if row.name == "exact_match")
    (judge,) = judge_lines(numbers, "after", "before")
    for told in (brief, explained):
        for entry, said in (
            (measure, "without the synthetic: 0.000 → 0.000, delta +0.000"),
            (judge, "without the synthetic: win rate 0.500"),
        ):
            assert any(line.plain.startswith(said) for line in told(entry, 200)), told(entry, 200)


def test_a_set_that_a_model_wrote_alone_has_no_number_without_it(tmp_path: Path) -> None:
    carried_out(tmp_path, 12, 0, "synthetic")
    found = gathered(tmp_path)
    assert not any("synthetic" in row.slice for row in found.slices.rows)
    assert "no example is left without the synthetic ones: nothing here was asked by people" in found.remarks
    (verdict,) = found.decision
    assert any("all are synthetic" in each.said for each in verdict.answers)


def test_how_an_example_came_about_is_in_the_store_with_the_run(folder: Path) -> None:
    recorder = Recorder(folder / "store", 1)
    rows = recorder.rows(records.StoredExample)
    recorder.close()
    kept = {row.example: example_of(row).extra.get("synthetic") for row in rows}
    assert kept["synthetic-3"] == {"kind": "edge"} and kept["real-3"] is None
