"""Runs held against earlier ones: the accepted one, the best so far, a named one; alerts that follow."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from engine.run import launch
from store import annotations, database, marks
from store.read import history, live
from store.read.rows import AlertRow, ComparisonRow
from tests.engine.runs import Row, carry_out, recorded_plan

EXAMPLES: list[Row] = [
    {"id": f"e{place}", "query": f"What is {place} plus 1?", "references": [str(place + 1)]}
    for place in range(60)
]
REST = '[metrics]\nuse = ["exact_match"]\n[gates]\nwarn_win_rate = 1.0\nmin_win_rate = 0.0'


def answers(right: int) -> dict[str, str]:
    return {f"e{place}": str(place + 1) if place < right else "no" for place in range(60)}


def queued(folder: Path, right: Mapping[str, int], against: str | None = None) -> int:
    """A run of a plan whose models answer so many of the 60 questions right, the first being the base."""
    plan = recorded_plan(folder, EXAMPLES, {name: answers(count) for name, count in right.items()}, REST)
    return launch.create(plan, folder / "store", against=against)


def done(folder: Path, right: Mapping[str, int], against: str | None = None) -> int:
    run_id = queued(folder, right, against)
    carry_out(folder / "store", run_id)
    return run_id


def reader(folder: Path) -> history.Connection:
    return history.attach(database.connect(folder / "store"))


def alerts(folder: Path, run_id: int, kind: str = "metric_drop") -> list[AlertRow]:
    return [alert for alert in history.alerts(reader(folder), run_id) if alert.kind == kind]


def held(folder: Path, run_id: int, label: str) -> list[ComparisonRow]:
    rows = history.comparisons(reader(folder), run_id)
    return [row for row in rows if row.baseline == label and row.measure == "exact_match"]


def remarks(folder: Path, run_id: int) -> str:
    return "\n".join(event.message for event in live.events(reader(folder), run_id))


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four runs: the first without a reference, the second accepted, two later ones held against it."""
    folder = tmp_path_factory.mktemp("runs")
    done(folder, {"base": 40, "lora": 50}, "accepted")
    done(folder, {"base": 40, "lora": 55})
    connection = reader(folder)
    marks.mark(connection, 2, "accept", "lora", "Ada")
    done(folder, {"base": 40, "lora": 40}, "accepted")
    done(folder, {"base": 40, "lora-v2": 50}, "best")
    return folder


def test_the_first_run_has_nothing_to_be_held_against_and_says_so(story: Path) -> None:
    assert "no previous run of recorded is accepted yet" in remarks(story, 1)
    assert history.run(reader(story), 1).passed is True


def test_a_run_is_held_against_the_accepted_one(story: Path) -> None:
    [row] = held(story, 3, "accepted run 2: lora")
    assert (row.candidate, row.n) == ("lora", 60)
    assert row.delta == pytest.approx(-15 / 60)
    [alert] = alerts(story, 3)
    assert (alert.severity, alert.baseline) == ("critical", "accepted run 2: lora")
    assert "lora falls behind accepted run 2: lora on exact_match: 0.667 against 0.917" in alert.message
    assert alert.evidence.example_ids[0] in {f"e{place}" for place in range(40, 55)}
    assert history.run(reader(story), 3).passed is False


def test_the_runs_own_baselines_stand_beside_it(story: Path) -> None:
    [row] = held(story, 3, "base")
    assert row.delta == 0


def test_the_best_so_far_is_found_on_the_plans_first_measure(story: Path) -> None:
    [row] = held(story, 4, "best run 2: lora")
    assert row.delta == pytest.approx(-5 / 60)
    assert "best so far on exact_match: run 2, 0.917" in remarks(story, 4)


def test_only_the_examples_that_both_evaluated_count(tmp_path: Path) -> None:
    done(tmp_path, {"base": 40, "lora": 50})
    plan = recorded_plan(tmp_path, EXAMPLES[20:], {name: answers(45) for name in ("base", "lora")}, REST)
    run_id = launch.create(plan, tmp_path / "store", against="1")
    carry_out(tmp_path / "store", run_id)
    [row] = held(tmp_path, run_id, "run 1: lora")
    assert row.n == 40
    assert "compared with run 1 on the 40 examples that both evaluated in the same words" in remarks(
        tmp_path, run_id
    )
    assert "20 examples (only run 1 evaluated them)" in remarks(tmp_path, run_id)


def test_the_reference_is_kept_when_another_run_is_accepted_meanwhile(tmp_path: Path) -> None:
    done(tmp_path, {"base": 40, "lora": 50})
    run_id = queued(tmp_path, {"base": 40, "lora": 45}, "accepted")
    connection = reader(tmp_path)
    marks.mark(connection, 1, "accept", "lora", "Ada")
    carry_out(tmp_path / "store", run_id)
    options = history.run(connection, run_id).options or {}
    assert options["reference"] == {"run": 1, "candidate": "lora", "label": "accepted run 1"}


def test_an_acknowledged_alert_is_acknowledged_again_until_it_gets_worse(tmp_path: Path) -> None:
    first = done(tmp_path, {"base": 50, "lora": 40})
    [alert] = alerts(tmp_path, first)
    assert alert.acknowledged is None and alert.follows is None
    annotations.acknowledge(reader(tmp_path), alert.id, "Ada", "known, fixed in v4")
    [again] = alerts(tmp_path, done(tmp_path, {"base": 50, "lora": 40}))
    assert (again.acknowledged_by, again.note, again.follows) == ("Ada", "known, fixed in v4", alert.id)
    [worse] = alerts(tmp_path, done(tmp_path, {"base": 50, "lora": 30}))
    assert (worse.acknowledged, worse.note, worse.follows) == (None, None, again.id)
    assert worse.message.startswith(
        "Reopened: acknowledged by Ada in run 2 at -0.167, now -0.333. lora falls behind base"
    )
