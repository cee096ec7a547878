"""What people said is held against the judges, and written out."""

import csv
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.decision.decision import decide
from store import database, reviewing
from store.read import evidence, history
from store.reviewing import annotate
from store.session import opened
from tests.cli.conftest import Assay
from tests.tui.judged import build

HOSTILE = "no\x1b[31m [/b] \ud800 😀"
KEPT = "no\x1b[31m [/b] \ufffd 😀"  # what has no UTF-8 is replaced
Say = Callable[..., None]


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("judged") / "store")


@pytest.fixture
def store(judged: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(judged, tmp_path / "store"))


@pytest.fixture
def say(store: Path) -> Say:
    """Annotates example number `place` of the run, of tuned against base."""
    connection = history.attach(database.connect(store))
    ids = {model.name: model.id for model in history.models(connection, 1)}
    examples = [example.id for example in evidence.run_examples(connection, 1)]

    def said(place: int, kind: str, value: str, annotator: str = "ann", **more: Any) -> None:
        if kind == "tag":
            value = reviewing.make_tag(connection, value, annotator)
        sides = {"left_id": ids["base"], "right_id": ids["tuned"]}
        if kind in ("correction", "rating"):
            sides = {"left_id": ids["tuned"]}
        annotate(connection, 1, examples[place], kind, value, annotator=annotator, **sides, **more)

    return said


def set_plan(store: Path, plan: str) -> None:
    database.connect(store).execute("UPDATE run SET plan = ?", (plan,))


def test_a_judge_is_held_against_people(assay: Assay, store: Path, say: Say) -> None:
    for place, value in enumerate(["right", "left", "right", "tie", "right", "both_bad"]):
        say(place, "preference", value)
        say(place, "preference", "right", "bob")
    shown = assay("agreement", "1", "--judge", "gpt-4o", "--store", store)
    assert shown.code == 0
    assert "gpt-4o · tuned against base" in shown.out and "labels by ann, bob" in shown.out
    assert "6 random labels are too few" not in shown.out and "0 random labels are too few" in shown.out
    values = assay("agreement", "1", "--store", store, "--json").json
    assert values["pairs"] == 6 and values["judge"] == "gpt-4o"
    assert {"raw", "kappa", "spearman", "kendall", "alpha"} <= values.keys()
    assert values["raw"]["low"] <= values["raw"]["value"] <= values["raw"]["high"]
    assert values["corrected_win_rate"]["value"] is None and values["corrected_win_rate"]["reason"]
    assert {match["judge"] for match in values["matches"]} == {"gpt-4o", "strict", "panel"}
    ann, bob = values["own"]
    assert (ann["annotator"], bob["annotator"], ann["candidate"]) == ("ann", "bob", "tuned")
    assert ann["outcomes"] == {"win": 3, "loss": 1, "tie": 1, "both_bad": 1}
    assert ann["won"]["value"] == 4 / 6 and bob["won"]["value"] == 1.0 and ann["left"]["n"] == 0


def test_where_nobody_said_anything_the_way_to_say_it_is_told(assay: Assay, store: Path) -> None:
    shown = assay("agreement", "1", "--store", store)
    assert shown.code == 2 and "assay review 1" in shown.err
    shown = assay("agreement", "1", "--judge", "nobody", "--store", store)
    assert shown.code == 2 and "gpt-4o" in shown.err


def test_a_judge_under_the_plans_gate_is_an_alert_until_people_say_otherwise(
    assay: Assay, store: Path, say: Say
) -> None:
    set_plan(store, "[gates]\nmin_judge_agreement = 0.9\n")
    generator = random.Random(0)
    for place in range(12):
        say(place, "preference", generator.choice(["left", "right", "tie"]))
    shown = assay("agreement", "1", "--store", store)
    assert "disagrees with people about tuned against base" in " ".join(shown.out.split())
    alerts = assay("show", "1", "--store", store, "--json").json["alerts"]
    assert {alert["measure"] for alert in alerts if alert["kind"] == "judge_agreement"} >= {"strict"}
    set_plan(store, "")
    assay("agreement", "1", "--store", store)
    alerts = assay("show", "1", "--store", store, "--json").json["alerts"]
    assert not [alert for alert in alerts if alert["kind"] == "judge_agreement"]


def records(file: Path) -> list[Any]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_decided_pairs_and_corrections_become_preference_pairs(
    assay: Assay, store: Path, say: Say, tmp_path: Path
) -> None:
    connection = database.connect(store)
    connection.execute(
        "UPDATE response SET text = 'base says' WHERE model_id = (SELECT id FROM model WHERE name = 'base')"
    )
    say(1, "preference", "right")
    say(2, "preference", "left")
    say(3, "preference", "tie")
    say(4, "preference", "right")
    say(4, "preference", "left", "bob")
    say(5, "correction", HOSTILE)
    file = tmp_path / "pairs.jsonl"
    shown = assay("annotations", "export", "1", file, "--format", "dpo", "--store", store, "--json").json
    assert shown["records"] == 3 and shown["skipped"] == {"a tie, both bad, or no majority": 2}
    first, second, third = records(file)
    assert first["prompt"] == [{"role": "user", "content": "Question 1?"}]
    assert first["chosen"] == [{"role": "assistant", "content": "Answer 1."}]
    assert first["rejected"] == [{"role": "assistant", "content": "base says"}]
    assert second["rejected"] == [{"role": "assistant", "content": "Answer 2."}]
    assert third["chosen"][0]["content"] == KEPT and third["rejected"][0]["content"] == "Answer 5."
    assay("annotations", "export", "1", file, "--format", "sft", "--store", store)
    assert records(file)[0]["messages"][-1] == {"role": "assistant", "content": KEPT}


def test_failures_become_an_eval_set_with_the_correction_as_its_reference(
    assay: Assay, store: Path, say: Say, tmp_path: Path
) -> None:
    say(1, "tag", "negation")
    say(2, "tag", "numbers")
    say(2, "correction", "better")
    say(3, "flag", "later")
    file = tmp_path / "failures.jsonl"
    assay("annotations", "export", "1", file, "--format", "examples", "--store", store)
    assert [(row["id"], row.get("failures")) for row in records(file)] == [
        ("e01", ["negation"]), ("e02", ["numbers"]), ("e03", None),
    ]  # fmt: skip
    assert records(file)[1]["references"][0] == "better"
    assay("annotations", "export", "1", file, "--format", "examples", "--tag", "numbers", "--store", store)
    assert [row["id"] for row in records(file)] == ["e02"]
    assay("annotations", "merge", "numbers", "negation", "--store", store)
    assay("annotations", "export", "1", file, "--format", "tags", "--store", store)
    assert [(row["model"], row["tags"]) for row in records(file)] == [
        ("tuned", ["negation"]), ("tuned", ["negation"]),
    ]  # fmt: skip
    tags = assay("annotations", "tags", "--store", store, "--json").json["tags"]
    assert [(tag["name"], tag["letter"], tag["answers"]) for tag in tags] == [("negation", "n", 2)]


def test_everything_said_is_written_with_who_and_when(
    assay: Assay, store: Path, say: Say, tmp_path: Path
) -> None:
    say(1, "preference", "left", blind=True, queue="random", seconds=3.5)
    say(1, "rating", "4", criterion="tone")
    file = tmp_path / "said.jsonl"
    assay("annotations", "export", "1", file, "--store", store)
    first, second = records(file)
    assert (first["kind"], first["left"], first["blind"], first["queue"], first["seconds"]) == (
        "preference", "base", True, "random", 3.5,
    )  # fmt: skip
    assert (second["criterion"], second["value"], second["right"]) == ("tone", "4", None)
    shown = assay("annotations", "export", "1", file / "in-a-file.jsonl", "--store", store)
    assert shown.code == 2 and "cannot be written" in shown.err


def test_a_card_tells_kappa_from_as_many_labels_as_its_gate_needs(store: Path, say: Say) -> None:
    def cards() -> str:
        with opened(store) as connection:
            return " · ".join(figure for each in decide(connection, 1) for figure in each.card)

    for place in range(9):
        say(place, "preference", ("right", "left", "tie")[place % 3])
    assert "judge κ" not in cards()
    say(9, "preference", "right")
    assert "judge κ" in cards()


def test_a_crowd_labels_pairs_whose_models_and_order_are_hidden(
    assay: Assay, store: Path, tmp_path: Path
) -> None:
    connection = database.connect(store)
    models = dict(connection.execute("SELECT name, id FROM model").fetchall())
    connection.execute(
        "UPDATE response SET text = '=1+1, by base' WHERE model_id = ? AND example_id <> 3", (models["base"],)
    )
    connection.commit()
    file = tmp_path / "crowd.csv"
    shown = assay("annotations", "export", "1", file, "--format", "crowd", "--store", store, "--json").json
    items = list(csv.DictReader(file.open(newline="")))
    assert shown["records"] == len(items) == 22 and shown["skipped"] == {"both answers are the same": 2}
    assert not {"base", "tuned"} & set(file.read_text().replace("by base", "").replace(",", " ").split())
    assert {item["item_id"][0] for item in items} == {"i"}  # 12345678 and 1e5 are no numbers then
    shown_first = ["by base" in item["answer_a"] for item in items]
    assert 0 < sum(shown_first) < 22
    assert all(
        item["answer_a" if first else "answer_b"][0] == "'"
        for item, first in zip(items, shown_first, strict=True)
    )
    again = tmp_path / "again.csv"
    assay("annotations", "export", "1", again, "--format", "crowd", "--sample", "4", "--store", store)
    assert list(csv.DictReader(again.open(newline=""))) == items[:4]
    # A platform renames the columns and drops the texts; none of the crowd prefers base.
    lines = [
        f"{item['item_id']},{'b' if first else 'a'},w{place % 2}"
        for place, (item, first) in enumerate(zip(items, shown_first, strict=True))
    ]
    back = tmp_path / "batch.csv"
    back.write_text(
        "\n".join(["Input.item_id,Answer.winner,WorkerId", *lines[:-1], lines[-1][:17] + ",w1"]) + "\n"
    )
    fields = (
        "--field",
        "id=Input.item_id",
        "--field",
        "winner=Answer.winner",
        "--field",
        "annotator=WorkerId",
    )
    found = assay("import", "labels", back, "--run", "1", *fields, "--store", store, "--json").json
    assert found["people"] == {"w0": 11, "w1": 10} and found["left_out"] == {"names no winner": 1}
    rows = connection.execute("SELECT value, left_id, right_id, blind FROM annotation").fetchall()
    preferred = {row[1] if row[0] == "left" else row[2] for row in rows}
    assert preferred == set(models.values()) - {models["base"]} and {row[3] for row in rows} == {1}


def test_items_with_a_known_answer_show_who_reads_the_guidelines(
    assay: Assay, store: Path, say: Say, tmp_path: Path
) -> None:
    known = tmp_path / "known.jsonl"
    connection = database.connect(store)
    ids = [row[0] for row in connection.execute("SELECT example FROM example ORDER BY id LIMIT 4")]
    winners = ["tuned", "base", "tie", "tuned"]
    rows = [
        {"id": key, "model_a": "base", "model_b": "tuned", "winner": winner}
        for key, winner in zip(ids, winners, strict=True)
    ]
    known.write_text("".join(json.dumps(row) + "\n" for row in rows))
    set_plan(store, f'[review]\nqualification = "{known}"\n')
    say(0, "preference", "right")  # the left one is base
    say(1, "preference", "left")
    say(2, "preference", "right")
    say(0, "preference", "left", "bob")
    say(7, "preference", "left", "bob")
    found = assay("agreement", "1", "--store", store, "--json").json["qualification"]
    assert [(one["annotator"], one["right"], one["n"], one["wrong"]) for one in found] == [
        ("ann", 2, 3, [ids[2]]),
        ("bob", 0, 1, [ids[0]]),
    ]
    shown = assay("agreement", "1", "--store", store).out
    assert "Items with a known answer" in shown and "2 of 3" in shown
    known.write_text('{"id": "nowhere", "model_a": "base", "model_b": "tuned", "winner": "tuned"}\n')
    told = assay("agreement", "1", "--store", store)
    assert told.code == 2 and "no known answer of run 1: the run has no such example" in " ".join(
        told.err.split()
    )
    rows.append(rows[0] | {"winner": "tie"})
    known.write_text("".join(json.dumps(row) + "\n" for row in rows))
    told = assay("agreement", "1", "--store", store)
    assert told.code == 2 and "known.jsonl:5: winner: a line before has another known answer" in " ".join(
        told.err.split()
    )
    known.rename(tmp_path / "moved.jsonl")
    told = assay("agreement", "1", "--store", store)
    assert told.code == 0 and f"{known}: no such file" in " ".join(told.out.split())
    values = assay("agreement", "1", "--store", store, "--json").json
    assert (values["qualification"], values["qualification_reason"]) == ([], f"{known}: no such file")
