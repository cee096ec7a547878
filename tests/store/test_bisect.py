"""One example over the checkpoints of a training, or over runs: their order, and where it was lost."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from store import database, people, records
from store.errors import StoreError
from store.read import history
from store.read.trends import Bisection, bisect, find_example
from store.write import Recorder, create_run

QUERY = "Where is my parcel?"


class Told:
    """Runs over one example, each with its models and how their answers to it were scored."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, name: str = "sweep", /, version: str = "1", query: str = QUERY, **models: Any) -> int:
        """`models` by name with "__" for "-": a score, None for no answer, or a model's details."""
        plan = {"plan": "", "plan_hash": "0", "plan_folder": "/", "plan_file": "p.toml"}
        run_id = create_run(self.folder, records.Run(name=name, eval_set=f"{name} {query}", **plan))
        recorder = Recorder(self.folder, run_id)
        known = recorder.rows(records.StoredExample, eval_set=f"{name} {query}")
        example = known[0].id if known else recorder.insert(_example(f"{name} {query}", query))
        measures = [("rougeL", 0.0, 1.0), ("exact_match", 0.0, 1.0)]
        recorder.append(
            [
                records.StoredMetric(
                    run_id=run_id, measure=measure, position=place, direction="higher", low=low, high=high,
                    unit="", version=version, source="", meaning="",
                )
                for place, (measure, low, high) in enumerate(measures)
            ]
        )  # fmt: skip
        recorder.append([records.RunExample(run_id=run_id, position=0, example_id=example)])
        for place, (model, told) in enumerate({"base": 1.0, **models}.items()):
            details = told if isinstance(told, dict) else None
            model_id = recorder.insert(
                records.StoredModel(
                    run_id=run_id, name=model.replace("__", "-"), role="candidate" if place else "baseline",
                    kind="local", position=place, details=details,
                )
            )  # fmt: skip
            if details is None:
                _answer(recorder, model_id, example, told)
        recorder.close()
        return run_id


def _example(eval_set: str, query: str) -> records.StoredExample:
    return records.StoredExample(
        eval_set=eval_set, example="t-1", position=0, query=query, messages=[], references=["Here."], extra={}
    )


def _answer(recorder: Recorder, model_id: int, example: int, score: float | None) -> None:
    text = None if score is None else f"It is {'here' if score else 'lost'}."
    reason = "the server was away" if score is None else None
    ids = {"model_id": model_id, "example_id": example}
    more = {"tokens_in": 1, "tokens_out": 1, "finish_reason": "stop", "latency_s": 0.1, "created": 0.0}
    recorder.append([records.StoredResponse(**ids, text=text, reason=reason, **more)])
    values = {"exact_match": score, "rougeL": score and 0.7}
    recorder.append([records.StoredScore(**ids, measure=name, value=value) for name, value in values.items()])


@pytest.fixture
def told(tmp_path: Path) -> Told:
    return Told(tmp_path / "store")


@pytest.fixture
def connection(told: Told) -> Iterator[history.Connection]:
    told.run("other", unrelated=1.0)
    opened = history.attach(database.connect(told.folder))
    yield opened
    opened.close()


def followed(connection: history.Connection, run_id: int, *names: str, **more: Any) -> Bisection:
    return bisect(connection, run_id, find_example(connection, run_id, "t-1"), *names, **more)


def of(told: Told, connection: history.Connection, *scores: float | None, base: float = 1.0) -> Bisection:
    """The example over as many checkpoints, a hundred steps apart, stored in another order."""
    named = {f"checkpoint__{100 * step}": score for step, score in enumerate(scores, 1)}
    return followed(connection, told.run(**{"base": base} | dict(reversed(named.items()))), "checkpoint-100")


def test_checkpoints_stand_in_the_order_of_their_steps_after_the_baseline(
    told: Told, connection: history.Connection
) -> None:
    run = told.run(checkpoint__1000=0.0, checkpoint__200=1.0, other=0.0, checkpoint__30=1.0)
    found = followed(connection, run, "checkpoint-200")
    assert found.is_sweep and found.baseline is not None and found.baseline.model == "base"
    assert [attempt.step for attempt in found.attempts] == [30, 200, 1000]
    assert found.measure == "exact_match"  # the first that says right or wrong, as flips go by it


@pytest.mark.parametrize(
    ("scores", "base", "said"),
    [
        ((1, 1, 0, 0), 1, "lost at step 300: last right at step 200, right 2 of 4"),
        ((0, 0), 1, "lost at step 100: right at the baseline, right 0 of 2"),
        ((0, 1, 0), 0, "lost at step 300: last right at step 200, right 1 of 3"),
        ((1, 0, 1, 0, 0, 1, 0, 0, 0), 1, "flickers: right 3 of 9, first lost at step 200"),
        ((0, 1), 1, "flickers: right 1 of 2, first lost at step 100"),
        ((0, 0, 1, 1), 0, "learned at step 300 and kept, right 2 of 4"),
        ((1, 1, 1), 1, "right at all 3"),
        ((0, 0, 0), 0, "wrong at all 3"),
        ((1, None, None, 0), 1, "lost at step 400: last right at step 100, right 1 of 2; 2 not known"),
        ((1, None), 1, "right at all 1; 1 not known"),
        ((None, None), 1, "not known to be right or wrong anywhere: no answer: the server was away"),
    ],
)
def test_where_it_was_lost(
    told: Told, connection: history.Connection, scores: tuple[float | None, ...], base: float, said: str
) -> None:
    assert of(told, connection, *scores, base=base).said == said


def test_a_missing_answer_is_neither_right_nor_wrong(told: Told, connection: history.Connection) -> None:
    found = of(told, connection, 1.0, None, 0.0)
    assert [attempt.right for attempt in found.attempts] == [True, None, False]
    assert found.attempts[1].reason == "no answer: the server was away"


def test_checkpoints_of_another_training_and_those_that_were_cut_do_not_count(
    told: Told, connection: history.Connection
) -> None:
    cut = {"sweep": {"kept": False, "rank": 3}}
    run = told.run(
        "grid", r8__checkpoint__100=1.0, r16__checkpoint__150=0.0, r8__checkpoint__200=cut,
        r8__checkpoint__300=0.0,
    )  # fmt: skip
    found = followed(connection, run, "r8-checkpoint-100")
    assert [attempt.model for attempt in found.attempts] == [f"r8-checkpoint-{step}00" for step in "123"]
    assert found.attempts[1].right is None and found.attempts[1].reason == "the sweep cut it"
    assert found.said.startswith("lost at step 300: last right at step 100")


def test_a_measure_without_a_verdict_is_read_by_the_middle_of_its_range(
    told: Told, connection: history.Connection
) -> None:
    run = told.run(checkpoint__1=1.0, checkpoint__2=0.0)
    found = followed(connection, run, "checkpoint-1", measure="rougeL")
    assert [(attempt.value, attempt.right) for attempt in found.attempts] == [(0.7, True), (0.0, False)]


def test_without_checkpoints_it_is_the_runs_that_asked_it_oldest_first(
    told: Told, connection: history.Connection
) -> None:
    """The candidate of that name, else the only one; the same words, on whichever version of the set."""
    runs = [
        told.run("v1", tuned=1.0),
        told.run("v2", renamed=1.0),
        told.run("v3", one=0.0, two=0.0),
        told.run("v4", query="Where is my letter?", tuned=0.0),
        told.run("v5", tuned=0.0, other=1.0),
        told.run("v6", tuned=None),
    ]
    found = followed(connection, runs[4], "tuned")
    assert not found.is_sweep and found.baseline is None
    assert [attempt.run_name for attempt in found.attempts] == ["other", "v1", "v2", "v5", "v6"]
    assert found.said == f"lost at run {runs[4]}: last right at run {runs[1]}, right 3 of 4; 1 not known"


def test_what_was_measured_in_another_way_or_put_away_does_not_count(
    told: Told, connection: history.Connection
) -> None:
    first, away = told.run("v1", version="0", tuned=1.0), told.run("v2", tuned=1.0)
    last = told.run("v3", tuned=0.0)
    people.delete(connection, away, "me")
    found = followed(connection, last, "tuned")
    assert away not in [attempt.run_id for attempt in found.attempts]
    other = next(attempt for attempt in found.attempts if attempt.run_id == first)
    assert other.right is None and other.reason == "exact_match was measured in another way"


def test_what_does_not_exist_is_said(told: Told, connection: history.Connection) -> None:
    run = told.run(tuned=1.0)
    with pytest.raises(StoreError, match="has no example 't-9'"):
        find_example(connection, run, "t-9")
    with pytest.raises(StoreError, match="has no candidate 'nobody'"):
        followed(connection, run, "nobody")
    with pytest.raises(StoreError, match="has no candidate"):
        followed(connection, told.run("bare"))
