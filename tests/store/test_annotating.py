"""What people say of answers: the newest word counts, undoing is without limit, tags are one list."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from store import database, reviewing
from store.errors import StoreError
from store.read import failures, labels
from store.read.history import Connection
from store.reviewing import annotate, leave_off, left_off, undo
from tests.tui.history import build


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("told"))


@pytest.fixture
def connection(told: Path, tmp_path: Path) -> Connection:
    (tmp_path / database.FILE).write_bytes((told / database.FILE).read_bytes())
    return database.connect(tmp_path)


def ids(connection: Connection, run_id: int = 1) -> tuple[int, int, list[int]]:
    """A run's first candidate and baseline, and its examples."""
    models = {
        role: connection.execute(
            "SELECT id FROM model WHERE run_id = ? AND role = ? ORDER BY position", (run_id, role)
        ).fetchone()[0]
        for role in ("candidate", "baseline")
    }
    examples = connection.execute("SELECT example_id FROM runexample WHERE run_id = ?", (run_id,))
    return models["candidate"], models["baseline"], [row[0] for row in examples]


def prefer(
    connection: Connection, value: str, left: int, right: int, example: int, who: str = "ann", **more: object
) -> None:
    annotate(connection, 1, example, "preference", value, left_id=left, right_id=right, annotator=who, **more)  # type: ignore[arg-type]


def outcomes(connection: Connection) -> list[tuple[str, str]]:
    candidate, baseline, _ = ids(connection)
    return [(row.annotator, row.outcome) for row in labels.preferences(connection, 1, candidate, baseline)]


def test_a_preference_is_the_candidates_whichever_side_it_stood_on(connection: Connection) -> None:
    candidate, baseline, examples = ids(connection)
    before = len(outcomes(connection))
    prefer(connection, "left", candidate, baseline, examples[0])
    prefer(connection, "left", baseline, candidate, examples[1])
    prefer(connection, "both_bad", baseline, candidate, examples[2])
    assert outcomes(connection)[before:] == [("ann", "win"), ("ann", "loss"), ("ann", "both_bad")]


def test_the_newest_word_of_each_person_counts_until_it_is_taken_back(connection: Connection) -> None:
    candidate, baseline, examples = ids(connection)
    before = len(outcomes(connection))
    prefer(connection, "left", candidate, baseline, examples[0])
    prefer(connection, "right", baseline, candidate, examples[0], who="bob")
    prefer(connection, "tie", baseline, candidate, examples[0])
    assert sorted(outcomes(connection)[before:]) == [("ann", "tie"), ("bob", "win")]
    undo(connection, 1, "ann")
    assert sorted(outcomes(connection)[before:]) == [("ann", "win"), ("bob", "win")]
    undo(connection, 1, "ann")
    assert outcomes(connection)[before:] == [("bob", "win")]


def test_a_repeat_that_measures_consistency_is_no_label(connection: Connection) -> None:
    candidate, baseline, examples = ids(connection)
    prefer(connection, "left", candidate, baseline, examples[0], queue="random", blind=True, seconds=2.5)
    prefer(connection, "right", candidate, baseline, examples[0], control=True)
    row = labels.preferences(connection, 1, candidate, baseline)[-1]
    assert (row.outcome, row.queue, row.blind, row.seconds) == ("win", "random", True, 2.5)


def test_ratings_are_by_criterion_and_of_one_answer(connection: Connection) -> None:
    candidate, _, examples = ids(connection)
    for criterion, value in (("correct", "2"), ("polite", "5"), ("correct", "4")):
        annotate(
            connection,
            1,
            examples[0],
            "rating",
            value,
            left_id=candidate,
            annotator="ann",
            criterion=criterion,
        )
    found = {(row.criterion, row.value) for row in labels.criteria(connection, 1)}
    assert found == {("correct", 4.0), ("polite", 5.0)}


def test_everyone_goes_on_where_they_left_off_in_each_queue(connection: Connection) -> None:
    _, _, examples = ids(connection)
    leave_off(connection, 1, "ann", "random", examples[3])
    leave_off(connection, 1, "ann", "losses", examples[1])
    leave_off(connection, 1, "bob", "random", examples[0])
    leave_off(connection, 1, "ann", "random", examples[4])
    assert dict(left_off(connection, 1, "ann")) == {"random": examples[4], "losses": examples[1]}
    assert left_off(connection, 2, "ann") == []


def tag(connection: Connection, name: str, example: int, run_id: int = 1) -> None:
    candidate, baseline, _ = ids(connection, run_id)
    name = reviewing.make_tag(connection, name, "ann")
    annotate(connection, run_id, example, "tag", name, left_id=baseline, right_id=candidate, annotator="ann")


def test_tags_get_letters_and_are_counted_over_runs(connection: Connection) -> None:
    first, second = ids(connection)[2], ids(connection, 2)[2]
    tag(connection, "negation", first[0])
    tag(connection, "negation", second[0], run_id=2)
    tag(connection, "numbers", second[1], run_id=2)
    found = {row.name: row for row in failures.tags(connection)}
    assert (found["negation"].letter, found["numbers"].letter) == ("n", "u")
    assert (found["negation"].answers, found["negation"].runs, found["negation"].last_run) == (2, 2, 2)
    assert [row.run_id for row in failures.failures(connection, tag="negation")] == [2, 1]
    assert failures.failures(connection, tag="negation")[0].model == "good"


def test_merged_tags_are_one_wherever_they_were_given(connection: Connection) -> None:
    first = ids(connection)[2]
    for place, name in enumerate(("wrong number", "numbers", "digits")):
        tag(connection, name, first[place])
    reviewing.merge_tags(connection, "digits", "numbers")
    reviewing.merge_tags(connection, "numbers", "wrong number")
    found = {row.name: row.answers for row in failures.tags(connection)}
    assert found["wrong number"] == 3 and "digits" not in found
    assert reviewing.make_tag(connection, "digits", "ann") == "wrong number"
    assert len(failures.failures(connection, tag="wrong number")) == 3
    with pytest.raises(StoreError, match="no tag 'digits'"):
        reviewing.merge_tags(connection, "digits", "wrong number")
    with pytest.raises(StoreError, match="itself"):
        reviewing.merge_tags(connection, "wrong number", "wrong number")


# Decides one example after another, each with its place in the queue, and tells the id once it is recorded.
DECIDING = """
import sys
from pathlib import Path
from store import database, reviewing
folder, who, left, right, *examples = sys.argv[1:]
connection = database.connect(Path(folder))
while True:
    for example in map(int, examples):
        said = {"run_id": 1, "example_id": example, "kind": "preference", "value": "left"}
        said |= {"left_id": int(left), "right_id": int(right), "annotator": who}
        print(reviewing.decide(connection, said, ("random", example)), flush=True)
"""


def deciding(folder: Path, connection: Connection, who: str) -> subprocess.Popen[str]:
    candidate, baseline, examples = ids(connection)
    words = [sys.executable, "-c", DECIDING, str(folder), who, *map(str, (candidate, baseline, *examples))]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


def test_two_people_who_decide_at_once_and_are_killed_lose_nothing_that_was_recorded(
    connection: Connection, tmp_path: Path
) -> None:
    draw = random.Random(3)
    for kill in range(3):
        people = {who: deciding(tmp_path, connection, who) for who in (f"ann{kill}", f"ben{kill}")}
        told: dict[str, list[int]] = {}
        for who, process in people.items():
            assert process.stdout is not None
            told[who] = [int(process.stdout.readline()) for _ in range(draw.randrange(3, 40))]
        for who, process in people.items():
            os.kill(process.pid, signal.SIGKILL)
            told[who] += [int(line) for line in process.communicate()[0].splitlines() if line.strip()]
        for who, known in told.items():
            rows = connection.execute(
                "SELECT id, example_id FROM annotation WHERE annotator = ? ORDER BY id", (who,)
            ).fetchall()
            # One more may have been recorded and not told.
            assert [row[0] for row in rows][: len(known)] == known and len(rows) - len(known) <= 1
            assert left_off(connection, 1, who) == [("random", rows[-1][1])], "its place was lost"
    assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"


def test_the_newest_word_is_the_last_one_also_when_the_clock_was_set_back(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    candidate, baseline, examples = ids(connection)
    before = len(outcomes(connection))
    prefer(connection, "left", candidate, baseline, examples[0])
    monkeypatch.setattr(time, "time", lambda: 1.0)
    prefer(connection, "right", candidate, baseline, examples[0])
    assert outcomes(connection)[before:] == [("ann", "loss")]
    assert undo(connection, 1, "ann") == examples[0]
    assert outcomes(connection)[before:] == [("ann", "win")]


def test_a_tag_on_several_answers_is_one_step_to_undo(connection: Connection) -> None:
    candidate, _, examples = ids(connection)
    said = {"run_id": 1, "annotator": "ann", "left_id": candidate, "value": "late", "queue": "flips"}

    def tagged() -> list[int]:
        return sorted(row.example_id for row in failures.failures(connection, tag="late"))

    reviewing.toggle_tag(connection, {**said, "kind": "tag", "example_id": examples[1]})
    assert reviewing.tag_all(connection, said, examples[:3]) == ("late", 2), "one has it already"
    assert tagged() == sorted(examples[:3])
    taken = reviewing.take_back(connection, 1, "ann")
    assert taken is not None and (taken.kind, taken.value, taken.answers) == ("tag", "late", 2)
    assert tagged() == [examples[1]], "what was tagged before stays"
    assert reviewing.tag_all(connection, said, examples[:2]) == ("late", 1)
    reviewing.toggle_tag(connection, {**said, "kind": "tag", "example_id": examples[0]})
    assert tagged() == [examples[1]], "a single one can be taken off"
    taken = reviewing.take_back(connection, 1, "ann")
    assert taken is not None and taken.answers == 1 and tagged() == []


def test_an_undo_takes_back_nothing_of_another_person_or_tag(connection: Connection) -> None:
    candidate, _, examples = ids(connection)
    said = {"run_id": 1, "annotator": "ann", "left_id": candidate, "value": "late"}
    reviewing.tag_all(connection, said, examples[:2])
    reviewing.tag_all(connection, said | {"value": "rude"}, examples[:2])
    reviewing.tag_all(connection, said | {"annotator": "bob"}, examples[:2])
    connection.execute("UPDATE annotation SET created = 5.0")
    taken = reviewing.take_back(connection, 1, "ann")
    assert taken is not None and (taken.value, taken.answers) == ("rude", 2)
    assert (
        sorted(row.annotator for row in failures.failures(connection, tag="late"))
        == ["ann"] * 2 + ["bob"] * 2
    )
