"""A run says which of its examples leaked, what its scores are without them, and what it left out."""

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest

from engine.data.example import query_id
from engine.data.leak import TEXT_LENGTH
from engine.errors import BadInput
from engine.gates.checks import Leaked, leakage_alerts, passed
from engine.plan.plan import Gates, read_plan
from engine.preflight.check import check
from engine.run.launch import create
from store import database, records
from store.people import exclude
from store.records.alert import LeakDifference
from store.write import Recorder
from tests.engine.runs import carry_out, lines, queue, recorded_plan

Row = dict[str, Any]
SYLLABLES = ("ka", "lo", "mi", "ren", "tus", "vo", "zel", "dar", "fin", "gol")


def words(place: int, count: int) -> str:
    draw = Random(place)
    return " ".join("".join(draw.choices(SYLLABLES, k=3)) for _ in range(count))


def question(place: int) -> str:
    return f"What does {words(place, 14)} mean?"


def examples(count: int = 40) -> list[Row]:
    return [
        {"id": f"e{place}", "query": question(place), "reference": f"It is {words(1000 + place, 6)}."}
        for place in range(count)
    ]


def training() -> list[Row]:
    """e0 word for word, e1 nearly so, e2 quoted; e3 a template filled otherwise, e4's answer elsewhere."""
    asked = examples()
    return [
        {"query": "Tell me of the weather in the hills", "answer": "It rains."},
        {"query": asked[0]["query"].upper(), "answer": "Closed."},
        {"query": f"Good day! {asked[1]['query']}", "answer": asked[1]["reference"]},
        {"query": "Give me a sample", "answer": f"Here it comes: {asked[2]['query']}"},
        {"query": f"Why and when {asked[3]['query'][10:]}", "answer": "It is something else."},
        {"query": "What of the other?", "answer": asked[4]["reference"]},
    ]


def plan(folder: Path, data: str = "", rest: str = "") -> Path:
    """Answers of the candidate are right on the first five examples, those of the base on none."""
    folder.mkdir(exist_ok=True)
    lines(folder / "train.jsonl", training())
    asked = examples()
    right = {row["id"]: row["reference"] if place < 5 else "No." for place, row in enumerate(asked)}
    wrong = {row["id"]: "No." for row in asked}
    file = recorded_plan(
        folder, asked, {"base": wrong, "tuned": right}, f'[metrics]\nuse = ["exact_match"]\n{rest}'
    )
    file.write_text(file.read_text().replace("[data]\n", f'[data]\ntrain = "train.jsonl"\n{data}\n'))
    return file


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Recorder:
    folder = tmp_path_factory.mktemp("leaks")
    log = [{"text": f"My parcel number {place} is lost, where is it?"} for place in range(30)]
    lines(folder / "log.jsonl", log)
    lines(folder / "v1.jsonl", examples()[:3])
    file = plan(folder, 'earlier = ["v1.jsonl"]\nqueries = "log.jsonl"')
    return carry_out(folder / "store", queue(folder / "store", file))


def summary(run: Recorder) -> Row:
    found: Row = run.run().data_summary
    return found


def alerts(run: Recorder, kind: str) -> list[Row]:
    return [row for row in run.rows(records.StoredAlert, run_id=run.run_id) if row.kind == kind]


def events(run: Recorder) -> str:
    return "\n".join(row.message for row in run.rows(records.Event, run_id=run.run_id))


def test_leaks_of_every_lexical_tier_are_stored_with_the_training_text(run: Recorder) -> None:
    names = {row.id: row.example for row in run.rows(records.StoredExample)}
    found = {names[row.example_id]: row for row in run.rows(records.StoredLeak, run_id=run.run_id)}
    assert {name: (row.tier, row.train_line, row.field) for name, row in found.items()} == {
        "e0": ("identical", 2, "query"),
        "e1": ("near", 3, "both"),
        "e2": ("ngram", 4, "query"),
    }
    assert found["e2"].train_text == f"Give me a sample\n\nHere it comes: {question(2)}"
    assert all(len(row.train_text) <= TEXT_LENGTH for row in found.values())


def test_templates_and_answers_alone_are_told_apart_from_leaks(run: Recorder) -> None:
    found = summary(run)
    assert (found["leaked"], found["similar"], found["answers_seen"]) == (3, 1, 1)
    [alike] = found["similar_ids"]
    ids = {row.name: row.id for row in run.rows(records.StoredModel, run_id=run.run_id)}
    rows = {
        row.slice: row.n for row in run.rows(records.SliceScore, model_id=ids["tuned"], measure="exact_match")
    }
    assert (rows["similar to training"], rows["unlike training"]) == (1, 36) and alike.startswith("e")
    assert found["leaks_by_tier"] == {"identical": 1, "near": 1, "ngram": 1, "meaning": None}
    assert found["examples_path"].endswith("examples.jsonl") and 0 < found["detectable"] < 1


def test_every_measure_has_a_value_with_and_without_the_leaked(run: Recorder) -> None:
    ids = {row.name: row.id for row in run.rows(records.StoredModel, run_id=run.run_id)}
    rows = {
        row.slice: row for row in run.rows(records.SliceScore, model_id=ids["tuned"], measure="exact_match")
    }
    assert (rows["leaked"].value, rows["leaked"].n) == (1.0, 3)
    assert (rows["not leaked"].value, rows["not leaked"].n) == (2 / 37, 37)
    [compared] = run.rows(
        records.SliceComparison, candidate_id=ids["tuned"], measure="exact_match", slice="not leaked"
    )
    assert compared.delta == 2 / 37


def test_the_alert_names_the_examples_and_what_changes_without_them(run: Recorder) -> None:
    [alert] = alerts(run, "leakage")
    assert (alert.severity, alert.candidate) == ("warning", "tuned")
    assert alert.evidence["example_ids"] == ["e0", "e1", "e2"]
    assert alert.message.startswith("3 of 40 examples (7.5%, where the plan allows 10.0%) appear in the")
    assert ": 1 word for word, 1 nearly so, 1 by a long run of words. " in alert.message
    assert "exact_match of tuned changes most, from 0.125 to 0.054." in alert.message


def test_earlier_sets_coverage_and_progress_are_recorded(run: Recorder) -> None:
    found = summary(run)
    assert found["earlier"] == [{"file": "v1.jsonl", "leaked": 3}]
    assert "3 of 40 examples are also in v1.jsonl: e0, e1, e2" in events(run)
    coverage = found["coverage"]
    assert coverage["sizes"] == {"eval": 40, "train": 6, "log": 30}
    assert any("parcel" in gap["label"] for gap in coverage["gaps"])
    assert coverage["drift"].keys() == {"train", "log"}
    assert len(json.dumps(coverage)) < 20_000
    [progress] = run.rows(records.Progress, run_id=run.run_id, phase="data")
    assert (progress.done, progress.total, progress.unit) == (6, 6, "training rows")


def test_more_leakage_than_the_plan_allows_is_critical() -> None:
    leaked = Leaked(("e1", "e2"), {"near": 2}, 10)
    [alert] = leakage_alerts(leaked, {"tuned": []}, Gates(max_leakage=0.1))
    assert alert.severity == "critical" and not passed([alert], "tuned")
    assert alert.message.startswith("2 of 10 examples (20.0%, where the plan allows 10.0%) appear in the")
    [alert] = leakage_alerts(
        leaked, {"tuned": [LeakDifference("rouge1", 0.5, 0.5, 0.0)]}, Gates(max_leakage=None)
    )
    assert alert.severity == "warning" and "no measure of tuned changes" in alert.message
    assert leakage_alerts(Leaked((), {}, 10), {"tuned": []}, Gates()) == []


def test_examples_that_people_excluded_are_left_out_and_make_a_new_version(tmp_path: Path) -> None:
    store, file = tmp_path / "store", plan(tmp_path)
    before = carry_out(store, queue(store, file))
    connection = database.connect(store)
    out = examples()[0]
    with connection:
        exclude(connection, before.run().eval_set, "e0", query_id(out["query"]), "mira", reason="leaked")
        exclude(connection, before.run().eval_set, "e1", query_id("another question"), "mira")
    connection.close()
    assert any("1 of 40 examples are left out" in found.message for found in check(read_plan(file), store))
    after = carry_out(store, queue(store, file))
    assert after.run().eval_set != before.run().eval_set
    assert (summary(after)["selected"], summary(after)["leaked"]) == (39, 2)
    assert summary(after)["excluded"] == [{"example": "e0", "reason": "leaked", "user": "mira"}]
    assert "left out, excluded by mira: e0" in events(after)
    assert summary(after)["file_version"] == before.run().eval_set


def test_a_used_test_split_is_refused_before_anything_is_stored_even_after_an_exclusion(
    tmp_path: Path,
) -> None:
    store, file = tmp_path / "store", plan(tmp_path, 'split = "test"\nratios = [0.2, 0.2, 0.6]')
    assert any("not used before" in found.message for found in check(read_plan(file), store))
    first = carry_out(store, create(file, store))
    connection = database.connect(store)
    with connection:
        exclude(connection, first.run().eval_set, "e0", query_id(question(0)), "mira")
    connection.close()
    with pytest.raises(BadInput, match=r"test split of eval set \w+ was used once before"):
        create(file, store)
    assert len(first.rows(records.Run)) == 1
    file.write_text(file.read_text().replace("[data]\n", "[data]\nfinal = true\n"))
    assert any(
        found.level == "warning" and "once before" in found.message for found in check(read_plan(file), store)
    )
    with (tmp_path / "train.jsonl").open("a") as training_file:
        training_file.write('{"query": "one more", "answer": "y"}\n')
    second = carry_out(store, create(file, store))
    assert summary(second)["train_edited_after"] == [first.run_id]


def test_repeated_examples_contradictions_and_a_base_near_the_ceiling_are_told(tmp_path: Path) -> None:
    rows = [
        *({**row, "reference": "At nine."} for row in examples(24)),
        {"id": "b", "query": f"Please: {question(1)}", "reference": "at nine"},
        {"id": "d", "query": question(5).upper(), "reference": "Never."},
    ]
    answers = {row["id"]: row["reference"] for row in rows}
    file = recorded_plan(
        tmp_path, rows, {"base": answers, "tuned": answers}, '[metrics]\nuse = ["exact_match"]'
    )
    run = carry_out(tmp_path / "store", queue(tmp_path / "store", file))
    assert summary(run)["duplicates"] == 2 and summary(run)["leaked"] is None
    assert "count more than once: lines 2 and 25; 6 and 26" in events(run)
    assert "equal questions with different answers: lines 6 and 26" in events(run)
    [alert] = alerts(run, "suspicion")
    assert (alert.severity, alert.candidate, alert.measure) == ("note", "base", "exact_match")
    assert "a hint, not proof" in alert.message
    assert run.run().passed is True


def test_training_data_without_rows_are_no_clean_bill(tmp_path: Path) -> None:
    file = plan(tmp_path)
    (tmp_path / "train.jsonl").write_text("")
    with pytest.raises(BadInput, match="holds no training row"):
        carry_out(tmp_path / "store", queue(tmp_path / "store", file))
