"""A run records its slices, and warns of those that fell although the mean did not."""

from dataclasses import replace

import pytest

from engine.compare.comparison import from_paired
from engine.compare.ruling import BoundedComparison, rule
from engine.compare.slices import Slice
from engine.gates.drops import slice_alerts
from engine.metrics.load import load_metric
from engine.plan.plan import Gates
from engine.stats.paired import Paired
from store import records
from store.write import Recorder
from tests.engine.runs import carry_out, queue, recorded_plan

RIGHT, WRONG = "yes indeed", "something else"


def examples() -> list[dict[str, str]]:
    hard = [
        {
            "id": f"h{place}",
            "query": f"Why is it not on here, {place}",
            "reference": RIGHT,
            "category": "hard",
        }
        for place in range(30)
    ]
    easy = [
        {"id": f"e{place}", "query": "Tell me why the lamp is on " + "a" * place, "reference": RIGHT}
        for place in range(60)
    ]
    return [*hard, *easy]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Recorder:
    """The candidate fell on everything hard, and rose on as many of the easy ones."""
    folder = tmp_path_factory.mktemp("slices")
    before = {
        item["id"]: RIGHT if item["id"] < "e30" or item["id"][0] == "h" else WRONG for item in examples()
    }
    after = {item["id"]: WRONG if item["id"][0] == "h" else RIGHT for item in examples()}
    plan = recorded_plan(
        folder, examples(), {"before": before, "after": after}, '[metrics]\nuse = ["exact_match", "length"]'
    )
    return carry_out(folder / "store", queue(folder / "store", plan))


def test_every_model_has_a_value_on_every_slice_with_n_and_interval(run: Recorder) -> None:
    ids = {row.name: row.id for row in run.rows(records.StoredModel, run_id=run.run_id)}
    rows = {
        row.slice: row for row in run.rows(records.SliceScore, model_id=ids["after"], measure="exact_match")
    }
    hard = rows["category: hard"]
    assert (hard.value, hard.n, hard.missing) == (0.0, 30, 0)
    assert hard.low == 0.0 and 0 < hard.high < 0.2
    assert hard.p < 1e-6 and rows["negation"].n == 30
    words = run.rows(records.SliceScore, model_id=ids["after"], measure="response_words")
    assert {row.slice for row in words} == set(rows)
    tokens = run.rows(records.SliceScore, model_id=ids["after"], measure="response_tokens")
    assert {row.value for row in tokens} == {None} and all(row.reason for row in tokens)


def test_candidate_and_baseline_are_compared_on_every_slice(run: Recorder) -> None:
    ids = {row.name: row.id for row in run.rows(records.StoredModel, run_id=run.run_id)}
    rows = {
        row.slice: row
        for row in run.rows(records.SliceComparison, candidate_id=ids["after"], measure="exact_match")
    }
    hard = rows["category: hard"]
    assert (hard.baseline_id, hard.candidate_value, hard.baseline_value, hard.delta) == (
        ids["before"], 0.0, 1.0, -1.0,
    )  # fmt: skip
    assert hard.p < 0.001 and hard.n == 30 and hard.direction == "higher"
    assert "prompt of up to 25 words" not in rows  # all examples: no slice


def test_a_slice_that_fell_behind_a_steady_mean_is_a_warning(run: Recorder) -> None:
    [mean] = run.rows(records.StoredComparison, measure="exact_match")
    assert mean.p > 0.05
    alerts = [row for row in run.rows(records.StoredAlert, run_id=run.run_id) if row.kind == "slice_drop"]
    assert {row.severity for row in alerts} == {"warning"}
    told = {row.evidence["slice"]: row for row in alerts}
    assert set(told) >= {"category: hard", "negation"}
    evidence = told["category: hard"].evidence or {}
    assert evidence["n"] == 30 and evidence["p_corrected"] < 0.05 and evidence["example_ids"][0][0] == "h"
    assert "“category: hard”" in told["category: hard"].message


def fall(place: int, measure: str, drop: float) -> Slice:
    paired = Paired(0.9 - drop, 0.9, -drop, -drop - 0.01, -drop + 0.01, 1e-9, 100, 0.01)
    comparison = from_paired("new", "old", measure, "higher", "metric", paired)
    [ruling] = rule("slices", [BoundedComparison(comparison, (0.0, 1.0))])
    return Slice(f"slice {place}", replace(comparison, ruling=ruling))


def test_many_falls_make_a_handful_of_warnings_one_for_each_slice_the_largest_first() -> None:
    measures = {item.name: item for item in load_metric("rouge", {}).measures}
    falls = [fall(place, name, place / 20) for place in range(2, 12) for name in ("rouge1", "rougeL")]
    alerts = slice_alerts(falls, [], Gates(), measures)
    assert [alert.evidence.slice for alert in alerts] == [f"slice {place}" for place in (11, 10, 9, 8, 7)]
    assert "So did rougeL." in alerts[0].message and alerts[0].evidence.measures == ("rouge1", "rougeL")
    assert "5 more slices dropped" in alerts[-1].message and "more slices" not in alerts[0].message
    assert len(slice_alerts(falls[:4], [], Gates(), measures)) == 2
