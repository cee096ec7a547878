"""What if: other limits decide as a run of the plan that has them would have."""

import random
from pathlib import Path
from typing import Any

import pytest

from engine.decision.decision import Decision, decide
from engine.decision.what_if import GatedRun, diff_of, plan_with, write_limits
from engine.errors import BadInput
from store.session import opened
from tests.engine.runs import queue, recorded_plan, work_here

METRICS = '[metrics]\nuse = ["exact_match", "rouge", "format"]\nformat = { schema = "schema.json" }\n'
Limits = dict[str, float | None]


def plan(folder: Path, gates: str = "") -> Path:
    """Two candidates of 60 examples: one a little worse than the base, one better with broken forms."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "schema.json").write_text('{"type": "string"}')
    draw = random.Random(7)
    examples = [
        {"id": f"e{n}", "query": f"Which is {n}?", "references": [f'"{n} and a word"']} for n in range(60)
    ]

    def answers(right: float, formed: float) -> dict[str, str]:
        return {
            f"e{n}": f'"{n} and a word"'
            if draw.random() < right
            else ('"no"' if draw.random() < formed else "no")
            for n in range(60)
        }

    texts = {"base": answers(0.7, 1.0), "worse": answers(0.62, 1.0), "better": answers(0.9, 0.2)}
    return recorded_plan(folder, examples, texts, METRICS + gates)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run under the usual gates, as run 1."""
    folder = tmp_path_factory.mktemp("what-if")
    work_here(folder / "store", queue(folder / "store", plan(folder / "plan")))
    return folder / "store"


def under(folder: Path, gates: str) -> list[Decision]:
    """What a run of the plan with these gates comes to."""
    run_id = queue(folder / "store", plan(folder / "plan", f"[gates]\n{gates}"))
    work_here(folder / "store", run_id)
    with opened(folder / "store") as connection:
        return decide(connection, run_id)


def told(decided: list[Decision]) -> list[tuple[Any, ...]]:
    return [(each.candidate, each.word, each.reasons, each.card) for each in decided]


@pytest.mark.parametrize(
    "limits",
    [
        {"max_metric_drop": 0.3, "warn_metric_drop": 0.2},
        {"max_metric_drop": 0.0, "warn_metric_drop": 0.0},
        {"min_win_rate": 0.6},
        {"min_win_rate": 0.2},
        {"warn_win_rate": 0.9},
        {"min_format_compliance": 0.95},
        {"min_format_compliance": 0.2, "min_win_rate": 0.45},
        {"max_judge_failures": 0.0},
        {"warn_length_drift": 0.0},
    ],
    ids=str,
)
def test_the_decision_is_that_of_a_run_with_these_gates(store: Path, tmp_path: Path, limits: Limits) -> None:
    gates = "\n".join(f"{name} = {value}" for name, value in limits.items())
    with opened(store) as connection:
        found = GatedRun(connection, 1).decide(limits)
    assert told(found) == told(under(tmp_path, gates))


def test_a_limit_of_one_measure_moves_too(tmp_path: Path) -> None:
    def run(folder: Path, limit: float) -> GatedRun:
        run_id = queue(folder / "store", plan(folder / "plan", f"[gates.metrics]\nexact_match = {limit}"))
        work_here(folder / "store", run_id)
        with opened(folder / "store") as connection:
            return GatedRun(connection, run_id)

    loose, strict = run(tmp_path / "a", 0.5), run(tmp_path / "b", 0.01)
    assert told(loose.decide({"metrics.exact_match": 0.01})) == told(strict.stored)
    assert told(strict.decide({"metrics.exact_match": 0.5})) == told(loose.stored)


def test_unmoved_limits_leave_the_stored_decision(store: Path) -> None:
    with opened(store) as connection:
        found, stored = GatedRun(connection, 1), decide(connection, 1)
    assert found.stored == stored
    assert found.decide({"max_metric_drop": 0.05}) == stored


def test_each_gate_shows_its_figures_with_their_side_of_the_limit(store: Path) -> None:
    with opened(store) as connection:
        found = GatedRun(connection, 1)
    win = {look.candidate: look for look in found.looks({"min_win_rate": 0.45})["min_win_rate"]}
    assert win["better"].side == "within" and "wins against base by reference" in win["better"].said
    assert found.looks({})["min_win_rate"] == []
    drops = [look for look in found.looks({})["max_metric_drop"] if "exact_match against" in look.said]
    assert (drops[0].candidate, drops[0].side) == ("worse", "open")
    assert "needs about" in drops[0].more and ", p " in drops[0].said
    wide = found.looks({"max_metric_drop": 0.9})["max_metric_drop"]
    assert {look.side for look in wide} == {"within"}
    formed = found.looks({"min_format_compliance": 0.95})["min_format_compliance"]
    assert [(look.candidate, look.side) for look in formed] == [("better", "beyond"), ("worse", "within")]


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({"max_metric_dorp": 0.1}, 'no gate "max_metric_dorp" \\(did you mean "max_metric_drop"'),
        ({"max_metric_drop": 1.5}, "max_metric_drop is 1.5"),
        ({"max_metric_drop": -0.1}, "max_metric_drop is -0.1"),
        ({"max_metric_drop": float("nan")}, "max_metric_drop is nan"),
        ({"max_metric_drop": None}, "max_metric_drop cannot be off"),
    ],
)
def test_a_limit_that_cannot_be_is_said(store: Path, limits: Limits, said: str) -> None:
    with opened(store) as connection:
        found = GatedRun(connection, 1)
    with pytest.raises(BadInput, match=said):
        found.decide(limits)


def test_a_warning_follows_the_limit_that_it_would_pass(store: Path) -> None:
    with opened(store) as connection:
        found = GatedRun(connection, 1)
    assert found.changes(found.moved({"max_metric_drop": 0.01})) == {
        "max_metric_drop": 0.01, "warn_metric_drop": 0.01
    }  # fmt: skip
    assert found.changes(found.moved({"warn_metric_drop": 0.2})) == {
        "max_metric_drop": 0.2, "warn_metric_drop": 0.2
    }  # fmt: skip


PLAN = """\
name = "p"  # the name

[gates]  # what must hold
# not too much
max_metric_drop = 0.05     # of the range
"max_leakage" = 0.1

[gates.metrics]
rouge1 = { max = 0.05, warn = 0.02 }
exact_match = 0.1 # strict

[data]
examples = "e.jsonl"
"""


@pytest.mark.parametrize(
    ("limits", "before", "after"),
    [
        ({"max_metric_drop": 0.02}, "max_metric_drop = 0.05     # of", "max_metric_drop = 0.02     # of"),
        ({"max_leakage": 0.25}, '"max_leakage" = 0.1', '"max_leakage" = 0.25'),
        ({"min_win_rate": 0.55}, '"max_leakage" = 0.1\n', '"max_leakage" = 0.1\nmin_win_rate = 0.55\n'),
        ({"metrics.exact_match": 0.2}, "exact_match = 0.1 # strict", "exact_match = 0.2 # strict"),
        ({"min_win_rate": None}, "", ""),
    ],
)  # fmt: skip
def test_limits_are_written_where_they_stand_and_nothing_else_changes(
    tmp_path: Path, limits: Limits, before: str, after: str
) -> None:
    file = tmp_path / "plan.toml"
    file.write_text(PLAN)
    write_limits(file, limits)
    assert file.read_text() == PLAN.replace(before, after)


def test_a_plan_without_gates_gets_the_table_and_one_without_a_limit_loses_it(tmp_path: Path) -> None:
    file = tmp_path / "plan.toml"
    file.write_text('name = "p"\n')
    write_limits(file, {"max_metric_drop": 0.02, "min_win_rate": 0.6})
    assert file.read_text() == 'name = "p"\n\n[gates]\nmax_metric_drop = 0.02\nmin_win_rate = 0.6\n'
    write_limits(file, {"min_win_rate": None})
    assert file.read_text() == 'name = "p"\n\n[gates]\nmax_metric_drop = 0.02\n'


@pytest.mark.parametrize(
    ("text", "limits"),
    [
        ("gates = { max_metric_drop = 0.05 }\n", {"max_metric_drop": 0.02}),
        ("gates.max_metric_drop = 0.05\n", {"max_metric_drop": 0.02}),
        ("[gates]\nmetrics = { rouge1 = 0.1 }\n", {"metrics.rouge1": 0.2}),
        ('note = """\n[gates]\nmax_metric_drop = 0.5\n"""\n', {"max_metric_drop": 0.02}),
    ],
)
def test_what_only_a_person_can_edit_is_left_alone(tmp_path: Path, text: str, limits: Limits) -> None:
    file = tmp_path / "plan.toml"
    file.write_text(text)
    with pytest.raises(BadInput, match="not written line by line"):
        write_limits(file, limits)
    assert file.read_text() == text


def test_the_diff_is_what_would_be_written(tmp_path: Path) -> None:
    file = tmp_path / "plan.toml"
    file.write_text(PLAN)
    shown = diff_of(file, {"max_leakage": 0.2})
    assert '-"max_leakage" = 0.1' in shown and '+"max_leakage" = 0.2' in shown
    assert diff_of(file, {}) == [] and plan_with(file, {}) == (PLAN, PLAN)
    with pytest.raises(BadInput):
        diff_of(tmp_path / "gone.toml", {"max_leakage": 0.2})
