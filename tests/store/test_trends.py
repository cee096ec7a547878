"""A measure over the runs: what each run's value is, and between which of them no line may be drawn."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.plan.plan import Data, Generation
from engine.plan.sweep import Follow
from store import database, people
from store.read import history, runs, trends
from tests.tui.history import build


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("trends") / "store")


@pytest.fixture
def connection(built: Path) -> Iterator[history.Connection]:
    """All that a test writes is rolled back."""
    opened = history.attach(database.connect(built))
    opened.execute("BEGIN")
    yield opened
    opened.execute("ROLLBACK")
    opened.close()


def gaps(connection: history.Connection, measure: str) -> list[str | None]:
    return trends.breaks(trends.trend(connection, measure))


def test_every_kind_of_measure_is_named_with_its_direction_and_runs(connection: history.Connection) -> None:
    known = {item.name: item for item in trends.measures(connection)}
    assert known["rougeL"].runs == 3 and known["rougeL"].direction == "higher"
    assert known["perplexity"].direction == "lower"
    assert known["win rate over base (reference)"].direction == "higher"
    assert known["arithmetic · acc"].runs == 1
    for name in known:
        trends.trend(connection, name)


def test_a_metric_has_its_value_and_interval_in_each_run_oldest_first(connection: history.Connection) -> None:
    points = trends.trend(connection, "rougeL")
    assert [point.run_id for point in points] == [1, 2, 3]
    stored = {row.model: row for row in history.model_scores(connection, 2) if row.measure == "rougeL"}
    assert (points[1].candidate, points[1].value, points[1].low, points[1].n) == (
        *("good", stored["good"].value, stored["good"].low, stored["good"].n),
    )
    assert trends.trend(connection, "rougeL", limit=1) == points[2:]
    (overfit,) = trends.trend(connection, "rougeL", candidate="overfit")
    assert overfit.value == stored["overfit"].value
    assert trends.trend(connection, "unheard of") == []


def test_win_rates_and_benchmarks_have_theirs(connection: history.Connection) -> None:
    points = trends.trend(connection, "win rate over base (reference)")
    rates = {row.candidate: row for row in history.win_rates(connection, 2) if row.baseline == "base"}
    assert points[1].value == rates["good"].win_rate and points[1].low == rates["good"].low
    (point,) = trends.trend(connection, "arithmetic · acc")
    scored = {row.model: row for row in history.benchmarks(connection, 2) if row.task == "arithmetic"}
    assert point.value == scored["good"].value
    assert point.low is not None and point.value is not None and scored["good"].stderr is not None
    assert point.value - point.low == pytest.approx(1.96 * scored["good"].stderr, rel=1e-3)


def test_only_what_was_taken_in_the_same_way_is_joined(connection: history.Connection) -> None:
    assert gaps(connection, "rougeL") == [None, None, None]
    connection.execute("UPDATE metric SET version = '2' WHERE run_id = 2 AND measure = 'rougeL'")
    assert gaps(connection, "rougeL") == [None, *2 * ["the measure's version differs"]]
    connection.execute("UPDATE run SET eval_set = 'other' WHERE id = 2")
    assert gaps(connection, "rougeL")[1] == "the measure's version and the eval set differ"
    connection.execute("UPDATE judge SET prompt_hash = 'new' WHERE run_id = 2")
    assert (
        gaps(connection, "win rate over base (reference)")[1] == "the judge's prompt and the eval set differ"
    )


def test_other_examples_and_other_generation_settings_make_a_gap(connection: history.Connection) -> None:
    connection.execute("UPDATE model SET details = json_set(details, '$.tokenization', 'same')")
    for plan, wanted in (
        ("[data]\nsample = 5\n", "the choice of examples differs"),
        ("[generation]\ntemperature = 0.7\n", "the generation settings differ"),
        ("[generation]\nconcurrency = 4\n", None),
        ("[generation]\ntemperature = 0.0\n[data]\nseed = 0\n", None),
    ):
        connection.execute("UPDATE run SET plan = CASE id WHEN 2 THEN ? ELSE '' END", (plan,))
        assert gaps(connection, "rougeL") == [None, wanted, wanted]
        assert gaps(connection, "win rate over base (reference)")[1] == wanted
        likelihood = wanted if "sample" in plan else None
        assert gaps(connection, "perplexity")[1] == likelihood
    connection.execute("UPDATE run SET options = '{\"limit\": 9}' WHERE id = 3")
    assert gaps(connection, "rougeL")[2] == "how many examples were asked for differs"


@pytest.mark.parametrize(
    ("first", "second", "gap"),
    [
        ("[follow]\nsample = 40", "[follow]\nsample = 60", "the choice of examples differs"),
        ("[follow]\nsample = 40", "[follow]\nsample = 40\nstop_after = 2", None),
        ("", "[follow]\nsample = 50", None),
        ("", "[follow]\nsample = 60", "the choice of examples differs"),
        ("[data]\nsample = 40", "[data]\nsample = 500\n[follow]\nsample = 40", None),
        ("[data]\nsample = 200", "[data]\nsample = 500", None),
        ('[data]\nsplit = "test"', '[data]\nsplit = "validation"', None),
        ("[follow]\nsample = 'all'", "[follow]\nsample = 40", "the choice of examples differs"),
    ],
)
def test_runs_that_follow_a_training_are_joined_where_their_checkpoints_answer_the_same_sample(
    connection: history.Connection, first: str, second: str, gap: str | None
) -> None:
    connection.execute("""UPDATE run SET options = '{"follow": {}}', plan = ?""", (first,))
    connection.execute("UPDATE run SET plan = ? WHERE id = 2", (second,))
    assert gaps(connection, "rougeL") == [None, gap, gap]
    # The loss is that of the whole split, whatever the sample.
    for table in ("modelscore", "metric"):
        connection.execute(
            f"UPDATE {table} SET measure = 'eval_loss:validation' WHERE measure = 'response_words'"
        )
    connection.execute("UPDATE model SET details = json_set(details, '$.tokenization', 'same')")
    assert gaps(connection, "eval_loss:validation") == [None, None, None]


def test_a_setting_that_the_server_refused_makes_a_gap(connection: history.Connection) -> None:
    for refused, wanted in (("json_array()", None), ("json_array('seed')", "the generation settings differ")):
        connection.execute(f"UPDATE model SET details = json_object('rejected', {refused}) WHERE run_id = 2")
        assert gaps(connection, "rougeL") == [None, wanted, wanted]


def test_a_default_that_is_written_out_is_known_as_the_plans_own() -> None:
    for known, table in ((trends.CHOICE, Data), (trends.GENERATION, Generation), (trends.FOLLOW, Follow)):
        plans = {
            name: field.get_default(call_default_factory=True) for name, field in table.model_fields.items()
        }
        assert known == {
            name: list(plans[name]) if isinstance(plans[name], tuple) else plans[name] for name in known
        }


TOKENIZER = "the tokenizer differs or is not known"


@pytest.mark.parametrize(
    ("first", "second", "gap"),
    [
        ({"tokenization": "a", "tokenizer": "x"}, {"tokenization": "a", "tokenizer": "x"}, None),
        # Other files that cut texts alike, and a GGUF file, which has no other.
        ({"tokenization": "a", "tokenizer": "x"}, {"tokenization": "a", "tokenizer": "y"}, None),
        ({"tokenization": "a", "tokenizer": "x"}, {"tokenization": "a"}, None),
        ({"tokenization": "a", "tokenizer": "x"}, {"tokenizer": "x"}, None),
        ({"tokenization": "a", "tokenizer": "x"}, {"tokenization": "b", "tokenizer": "y"}, TOKENIZER),
        ({"tokenization": "a"}, {"tokenizer": "a"}, TOKENIZER),
        ({"tokenization": "a"}, {}, TOKENIZER),
        ({}, {}, TOKENIZER),
    ],
)
def test_perplexities_are_joined_under_tokenizers_known_to_be_the_same(
    connection: history.Connection, first: dict[str, str], second: dict[str, str], gap: str | None
) -> None:
    for run, facts in ((1, first), (2, second)):
        sql = "UPDATE model SET details = json_patch(details, ?) WHERE run_id = ?"
        connection.execute(sql, (json.dumps(facts), run))
    assert gaps(connection, "perplexity")[1] == gap
    assert trends.same_tokenizer(first, second) == (gap is None)
    assert gaps(connection, "rougeL") == [None, None, None]


def test_a_missing_value_is_no_zero_and_keeps_its_reason(connection: history.Connection) -> None:
    connection.execute(
        """UPDATE modelscore SET value = NULL, low = NULL, high = NULL, reason = 'no references'
        WHERE measure = 'rougeL' AND model_id IN (SELECT id FROM model WHERE run_id = 1)"""
    )
    first = trends.trend(connection, "rougeL")[0]
    assert (first.value, first.reason) == (None, "no references")


def test_deleted_runs_and_those_that_the_words_leave_out_have_no_point(built: Path) -> None:
    connection = history.attach(database.connect(built))
    people.tag(connection, 1, "release", "ann")
    words = runs.read_words("tag:release")
    assert [point.run_id for point in trends.trend(connection, "rougeL", words)] == [1]
    people.delete(connection, 1, "ann")
    assert [point.run_id for point in trends.trend(connection, "rougeL")] == [2, 3]
    people.restore(connection, 1, "ann")
    people.untag(connection, 1, "release", "ann")
    connection.close()


def checkpoints(connection: history.Connection, **told: tuple[str, int]) -> None:
    """Run 2's candidates become the checkpoints of a sweep: `told` has each one's new name and step."""
    for candidate, (name, step) in told.items():
        details = json.dumps({"checkpoint": {"step": step, "folder": name}})
        sql = "UPDATE model SET name = ?, details = ? WHERE run_id = 2 AND name = ?"
        connection.execute(sql, (name, details, candidate.replace("_", "-")))


def along(connection: history.Connection) -> list[tuple[str, int | None, str | None]]:
    points = trends.curve(connection, "rougeL", 2)
    named = [(point.candidate, point.step) for point in points]
    return [(*name, gap) for name, gap in zip(named, trends.breaks(points), strict=True)]


def test_a_curve_joins_the_checkpoints_of_one_training(connection: history.Connection) -> None:
    checkpoints(connection, good=("checkpoint-300", 300), overfit=("checkpoint-100", 100))
    assert along(connection) == [("checkpoint-100", 100, None), ("checkpoint-300", 300, None)]


def test_a_curve_keeps_trainings_apart(connection: history.Connection) -> None:
    checkpoints(
        connection,
        good=("r8/checkpoint-100", 100),
        overfit=("r16/checkpoint-100", 100),
        no_effect=("r8/checkpoint-200", 200),
    )
    assert along(connection) == [
        ("r8/checkpoint-100", 100, None),
        ("r8/checkpoint-200", 200, None),
        ("r16/checkpoint-100", 100, "another training"),
    ]
    # Folders whose names tell no step are trainings of their own, whatever their numbers mean.
    checkpoints(connection, **{"r8/checkpoint-100": ("lr-2e-4", 4), "r16/checkpoint-100": ("rank-16", 16)})
    assert [gap for _, _, gap in along(connection)] == [None, "another training", "another training"]


def test_no_step_is_made_up_between_two_of_the_same_step(connection: history.Connection) -> None:
    checkpoints(connection, good=("checkpoint-100", 100), overfit=("checkpoint-0100", 100))
    assert [gap for _, _, gap in along(connection)] == [None, "both are of step 100"]


def test_a_run_that_follows_a_training_has_one_whatever_its_folders_are_called(
    connection: history.Connection,
) -> None:
    checkpoints(connection, good=("epoch-1", 120), overfit=("epoch-2", 240))
    assert along(connection)[1] == ("epoch-2", 240, "another training")
    connection.execute("""UPDATE run SET options = '{"follow": {}}' WHERE id = 2""")
    assert along(connection)[1] == ("epoch-2", 240, None)
