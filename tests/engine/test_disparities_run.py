"""Counterfactual prompts in a run: differences between groups with interval and test, and the warning."""

from pathlib import Path

import pytest

from store import records
from store.read.slices import DisparityRow
from store.session import opened
from store.write import Recorder
from tests.engine.runs import carry_out, queue, recorded_plan
from tui.report.json import run_values
from tui.report.markdown import markdown
from tui.sections.gather import gather
from tui.sections.measures import SlicesSection

REFUSAL = "I'm sorry, but I can't help with that."
PAIRS = 30
METRICS = """
[metrics]
use = ["refusals", "length", "toxic_words"]
classification = { labels = ["no", "not sure", "yes"] }
"""


def examples() -> list[dict[str, str]]:
    return [
        {
            "id": f"{term}{place}",
            "query": f"Tell the {term} story {place}",
            "group": str(place),
            "term": term,
            "label": "no",
        }
        for place in range(PAIRS)
        for term in ("old", "young")
    ]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Recorder:
    folder = tmp_path_factory.mktemp("disparities")
    fair = {item["id"]: "not sure" for item in examples()}
    unfair = {item["id"]: REFUSAL if item["term"] == "old" else "no, no" for item in examples()}
    plan = recorded_plan(folder, examples(), {"fair": fair, "unfair": unfair}, METRICS)
    return carry_out(folder / "store", queue(folder / "store", plan))


def ids(run: Recorder) -> dict[str, int]:
    return {row.name: row.id for row in run.rows(records.StoredModel, run_id=run.run_id)}


def test_every_measure_of_single_answers_is_set_against_the_other_group(run: Recorder) -> None:
    rows = {row.measure: row for row in run.rows(records.StoredDisparity, model_id=ids(run)["unfair"])}
    refusal = rows["refusal"]
    assert (refusal.first, refusal.second, refusal.delta, refusal.n) == (
        "old",
        "young",
        1.0,
        PAIRS,
    )
    assert 0.8 < refusal.low < refusal.high == 1.0 and refusal.p < 0.05
    assert rows["response_words"].delta > 0 and rows["toxic_words"].p == 1.0
    tokens = rows["response_tokens"]
    assert tokens.delta is None and tokens.reason
    assert {"macro_f1", "kappa"}.isdisjoint(rows)
    fair = run.rows(records.StoredDisparity, model_id=ids(run)["fair"], measure="refusal")
    assert [row.delta for row in fair] == [0.0]


def test_a_settled_difference_of_a_candidate_is_a_warning(run: Recorder) -> None:
    alerts = [row for row in run.rows(records.StoredAlert, run_id=run.run_id) if row.kind == "disparity"]
    assert {(row.severity, row.candidate) for row in alerts} == {("warning", "unfair")}
    told = {row.measure: row for row in alerts}
    assert set(told) >= {"refusal"} and "response_words" not in told
    assert "“old”" in told["refusal"].message and told["refusal"].evidence["n"] == PAIRS


def test_the_gate_can_be_raised(tmp_path: Path) -> None:
    texts = {item["id"]: REFUSAL if item["term"] == "old" else "no" for item in examples()}
    plan = recorded_plan(
        tmp_path, examples(), {"before": texts, "after": texts}, f"{METRICS}\n[gates]\nmax_disparity = 1.0"
    )
    found = carry_out(tmp_path / "store", queue(tmp_path / "store", plan))
    assert "disparity" not in found.column(records.StoredAlert, "kind")


def test_the_errors_of_a_classifier_are_kept_by_label(run: Recorder) -> None:
    [row] = run.rows(records.StoredModel, id=ids(run)["fair"])
    table = row.details["classification"]
    assert table["labels"] == ["no", "not sure", "yes"]
    assert table["confusion"] == [[0, 2 * PAIRS, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert table["per_class"][0] == {
        "label": "no", "precision": None, "recall": 0.0, "f1": 0.0, "support": 2 * PAIRS,
    }  # fmt: skip
    assert table["per_class"][1]["precision"] == 0.0 and table["per_class"][1]["recall"] is None


def test_the_true_positive_rate_of_a_group_is_held_against_the_others(tmp_path: Path) -> None:
    rows = [
        row | {"id": f"{row['id']}-{term}", "term": term, "query": f"{row['query']} {term}",
               "label": "yes" if int(row["group"]) % 2 else "no"}
        for row in examples()[::2] for term in ("old", "young", "rich")
    ]  # fmt: skip
    told = {row["id"]: "no" if row["term"] == "old" else row["label"] for row in rows}
    plan = recorded_plan(tmp_path, rows, {"before": told, "after": told}, METRICS)
    found = carry_out(tmp_path / "store", queue(tmp_path / "store", plan))
    gaps = {
        (row.measure, row.first, row.second): (row.delta, row.n, row.standing)
        for row in found.rows(records.StoredDisparity, model_id=ids(found)["after"])
    }
    assert gaps["true_positive_rate:yes", "old", "rich"] == (-1.0, PAIRS // 2, "less")
    assert gaps["true_positive_rate:no", "old", "rich"][0] == 0.0
    assert gaps["accuracy", "old", "rich"][0] == -0.5
    with opened(tmp_path / "store") as connection:
        report = gather(connection, found.run_id)
    widest = {row.measure: row for row in report.slices.widest_gaps}
    assert widest["accuracy"].first == "old" and abs(widest["accuracy"].delta or 0.0) == 0.5
    told = [row for row in run_values(report)["widest_gaps"] if row["measure"] == "accuracy"]
    assert [(row["first"], row["delta"]) for row in told] == [("old", -0.5)] * 2
    assert "Widest gap of accuracy, after: old and" in markdown(report)


def test_the_widest_gap_is_of_each_group_of_terms() -> None:
    def row(first: str, second: str, delta: float) -> DisparityRow:
        return DisparityRow(
            model="m", measure="refusal", first=first, second=second, delta=delta, low=None, high=None,
            p=None, n=9, reason=None, standing="more",
        )  # fmt: skip

    ages = [row("age: old", "age: young", 0.1), row("age: old", "age: retired", 0.3),
            row("age: retired", "age: young", -0.2)]  # fmt: skip
    others = [row("gender: man", "gender: woman", 0.9), row("faith: a", "faith: b", 0.2),
              row("faith: a", "faith: c", -0.4), row("faith: b", "faith: c", -0.6)]  # fmt: skip
    found = SlicesSection([], [], [*ages, *others]).widest_gaps
    assert [(gap.first, gap.second) for gap in found] == [
        ("age: old", "age: retired"),
        ("faith: b", "faith: c"),
    ]
