import os
import socket
import sqlite3
import time
from typing import Any

import pytest

from store import database, people, records, reviewing
from store.errors import StoreError
from store.read import answers, history, live, queues, runs
from store.write import Recorder
from tests.store.conftest import queued_run


@pytest.fixture
def connection(recorder: Recorder) -> sqlite3.Connection:
    return history.attach(database.connect(recorder.folder))


def test_runs_come_newest_first_and_page_by_page(recorder: Recorder, connection: sqlite3.Connection) -> None:
    ids = [recorder.run_id, *(queued_run(recorder.folder, f"run {place}") for place in range(4))]
    page = runs.page(connection, limit=2)
    assert [row.id for row in page] == ids[:-3:-1]
    assert [row.id for row in runs.page(connection, limit=2, before=page[-1].id)] == ids[2:0:-1]
    assert [row.name for row in runs.page(connection, words=runs.read_words("RUN 3"))] == ["run 3"]


def test_a_run_whose_worker_died_is_interrupted(recorder: Recorder, connection: sqlite3.Connection) -> None:
    now = time.time()
    recorder.set_run(
        status="running", worker_pid=os.getpid(), worker_host=socket.gethostname(), heartbeat=now
    )
    assert history.run(connection, recorder.run_id).status == "running"
    recorder.set_run(worker_pid=2**22 - 1)
    assert history.run(connection, recorder.run_id).status == "interrupted"
    recorder.set_run(worker_host="elsewhere")
    assert runs.page(connection)[0].status == "running"
    recorder.set_run(heartbeat=now - 60)
    assert runs.page(connection)[0].status == "interrupted"


def test_a_run_is_found_by_id_by_name_and_as_the_last(
    recorder: Recorder, connection: sqlite3.Connection
) -> None:
    newest = queued_run(recorder.folder, "first")
    assert history.find_run(connection, str(recorder.run_id)) == recorder.run_id
    assert history.find_run(connection, "first") == newest
    assert history.find_run(connection, "last") == newest
    for wrong in ("77", "nothing", "9" * 30):
        with pytest.raises(StoreError, match="there is no run"):
            history.find_run(connection, wrong)


def test_a_run_that_asks_means_one_before_itself(recorder: Recorder, connection: sqlite3.Connection) -> None:
    first = recorder.run_id
    name = history.run(connection, first).name
    asking, later = queued_run(recorder.folder, name), queued_run(recorder.folder, name)
    for text in (name, "last", str(first)):
        assert history.find_run(connection, text, before=asking) == first
    assert history.find_run(connection, "last", before=later) == asking
    for text in (name, "last", str(first), str(asking), str(later)):
        with pytest.raises(StoreError, match=f"there is no run '{text}' before run {first}"):
            history.find_run(connection, text, before=first)


def test_cancelling_a_run_without_a_worker_takes_effect_at_once(
    recorder: Recorder, connection: sqlite3.Connection
) -> None:
    people.request(connection, recorder.run_id, "cancel")
    assert history.run(connection, recorder.run_id).status == "cancelled"
    with pytest.raises(StoreError, match="nothing to pause"):
        people.request(connection, recorder.run_id, "pause")


def score(model: int, example: int, value: float | None) -> dict[str, object]:
    return {
        "model_id": model,
        "measure": "token_f1",
        "example_id": example,
        "value": value,
        "reason": None,
        "parts": None,
    }


@pytest.fixture
def judged(recorder: Recorder, two_models: tuple[int, int]) -> tuple[int, int]:
    base, good = two_models
    recorder.append(
        [
            records.StoredResponse(model_id=model, example_id=example, text=f"{model}/{example}", created=1.0)
            for model in two_models
            for example in (1, 2, 3)
            if (model, example) != (good, 3)
        ]
    )
    recorder.append(
        [
            records.StoredScore(**row)
            for row in [
                *(score(base, example, 0.5) for example in (1, 2, 3)),
                score(good, 1, 0.4),
                score(good, 2, 0.1),
                score(good, 3, None),
            ]
        ]
    )
    judge = recorder.insert(
        records.StoredJudge(
            run_id=recorder.run_id,
            name="reference",
            kind="pairwise",
            is_language_model=False,
            prompt_hash="h",
        )
    )
    sides = {"judge_id": judge, "candidate_id": good, "baseline_id": base}
    recorder.append(
        [
            records.Verdict(
                **{**sides, "example_id": 1, "outcome": "win", "consistent": True, "reason": None}
            ),
            records.Verdict(
                **{**sides, "example_id": 2, "outcome": "tie", "consistent": False, "reason": None}
            ),
            records.Verdict(
                **{**sides, "example_id": 3, "outcome": "failed", "consistent": None, "reason": "no response"}
            ),
        ]
    )
    for order in ("candidate_first", "baseline_first"):
        recorder.append(
            [
                records.StoredJudgment(
                    **{**sides, "example_id": example, "order": order, "winner": "candidate", "created": 1.0}
                )
                for example in (1, 2)
            ]
        )
    return base, good


def test_review_queues_hold_what_their_names_say(
    recorder: Recorder, connection: sqlite3.Connection, judged: tuple[int, int]
) -> None:
    base, good = judged

    def shown(show: str, **more: Any) -> list[str]:
        return [
            item.example for item in queues.queue(connection, recorder.run_id, good, base, show=show, **more)
        ]

    assert shown("all") == ["e0", "e1", "e2"]
    assert shown("wins") == ["e0"]
    assert shown("losses") == []
    assert shown("ties") == shown("disagreements") == ["e1"]
    assert shown("missing") == ["e2"]
    assert shown("all", worst_by="token_f1") == ["e1", "e0", "e2"]  # what has no value comes last
    assert shown("all", search="question 2") == ["e2"]


def test_a_pair_comes_with_everything_known_of_it(
    recorder: Recorder, connection: sqlite3.Connection, judged: tuple[int, int]
) -> None:
    base, good = judged
    view = answers.pair(connection, recorder.run_id, good, base, 1)
    assert view.candidate is not None and view.candidate.text == f"{good}/1"
    assert [verdict.outcome for verdict in view.verdicts] == ["win"]
    assert [judgment.order for judgment in view.judgments] == ["candidate_first", "baseline_first"]
    assert answers.pair(connection, recorder.run_id, good, base, 3).candidate is None


def test_the_newest_verdicts_come_first(
    recorder: Recorder, connection: sqlite3.Connection, judged: tuple[int, int]
) -> None:
    assert [verdict.example for verdict in live.latest_verdicts(connection, recorder.run_id)] == ["e1", "e0"]


def test_decisions_are_undone_one_by_one_and_by_their_own_person_only(
    recorder: Recorder, connection: sqlite3.Connection, judged: tuple[int, int]
) -> None:
    base, good = judged
    run_id = recorder.run_id

    def decide(example: int, kind: str, value: str, person: str) -> None:
        reviewing.annotate(
            connection, run_id, example, kind, value, left_id=base, right_id=good, annotator=person
        )

    decide(1, "preference", "left", "ada")
    decide(2, "note", "odd", "ada")
    decide(3, "preference", "tie", "bob")
    assert len(queues.queue(connection, run_id, good, base, show="unreviewed", person="ada")) == 2
    assert reviewing.undo(connection, run_id, "ada") == 2
    assert reviewing.undo(connection, run_id, "ada") == 1
    assert reviewing.undo(connection, run_id, "ada") is None
    assert [row.annotator for row in answers.annotations(connection, run_id)] == ["bob"]


def test_an_alert_is_acknowledged_with_a_name_and_a_note(
    recorder: Recorder, connection: sqlite3.Connection
) -> None:
    alert = recorder.insert(
        records.StoredAlert(
            run_id=recorder.run_id,
            severity="critical",
            kind="metric_drop",
            candidate="good",
            measure="rougeL",
            message="fell",
            created=1.0,
        )
    )
    assert runs.page(connection)[0].critical == 1
    reviewing.acknowledge(connection, alert, "ada", "known")
    [row] = history.alerts(connection, recorder.run_id)
    assert (row.acknowledged_by, row.note) == ("ada", "known")
    assert runs.page(connection)[0].critical == 0


def test_a_watcher_sees_that_another_process_wrote(
    recorder: Recorder, connection: sqlite3.Connection
) -> None:
    before = history.data_version(connection)
    assert history.data_version(connection) == before
    recorder.event("info", "generate", "something happened")
    assert history.data_version(connection) != before


def test_scores_of_texts_beyond_a_text_models_context_are_counted(
    recorder: Recorder, connection: sqlite3.Connection, two_models: tuple[int, int]
) -> None:
    base, good = two_models
    note = "read in windows of 512 tokens, the model's context"
    rows = [(base, 1, 0.9, note), (base, 2, 0.8, None), (good, 1, 0.7, note), (good, 2, 0.7, note)]
    recorder.append(
        [
            records.StoredScore(
                **score(model, example, value) | {"measure": "bertscore_f1", "reason": reason}
            )
            for model, example, value, reason in [*rows, (good, 3, None, "no response")]
        ]
    )
    found = answers.long_texts(connection, recorder.run_id)
    assert [(row.measure, row.scores, row.reading) for row in found] == [
        ("bertscore_f1", 1, note),
        ("bertscore_f1", 2, note),
    ]
