"""What if: other limits decide as a run of the plan that has them would have."""

import random
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.compare.calibration import HumanLabel, calibrate
from engine.decision import what_if
from engine.decision.decision import Decision, decide
from engine.decision.what_if import GatedRun, diff_of, plan_with, write_limits
from engine.errors import BadInput
from engine.gates.judges import (
    JudgeAgreement,
    JudgeConsistency,
    MatchVerdicts,
    agreement_alerts,
    inconsistency_alerts,
    missing_pairs_alert,
    win_rate_alerts,
)
from engine.plan.plan import Gates
from engine.stats.family import wilson
from engine.stats.winrate import WinRate
from store.read.rows import AlertRow
from store.records.alert import DowntrendEvidence
from store.session import opened
from tests.engine.runs import queue, recorded_plan, work_here
from tui.screens.what_if import written

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


def test_every_gate_decides_at_both_ends_and_off(store: Path) -> None:
    with opened(store) as connection:
        found = GatedRun(connection, 1)
    for gate in found.known.values():
        for limit in (0.0, gate.most, *([None] if gate.start is not None else [])):
            assert len(found.decide({gate.name: limit})) == 2
            assert (found.looks({gate.name: limit})[gate.name] == []) or limit is not None


def test_a_warning_follows_the_limit_that_it_would_pass(store: Path) -> None:
    with opened(store) as connection:
        found = GatedRun(connection, 1)
    assert found.changes(found.moved({"max_metric_drop": 0.01})) == {
        "max_metric_drop": 0.01, "warn_metric_drop": 0.01
    }  # fmt: skip
    assert found.changes(found.moved({"warn_metric_drop": 0.2})) == {
        "max_metric_drop": 0.2, "warn_metric_drop": 0.2
    }  # fmt: skip


def moved(run: GatedRun, limits: Limits) -> list[AlertRow]:
    """The run's alerts under other limits."""
    return sorted(
        run.facts_under(limits).alerts, key=lambda alert: (alert.kind, alert.candidate, alert.message)
    )


def shown(alerts: list[AlertRow], kind: str) -> list[tuple[Any, ...]]:
    return [
        (each.severity, each.candidate, each.baseline, each.measure, each.message)
        for each in alerts
        if each.kind == kind
    ]


def sliced(folder: Path, gates: str = "") -> Path:
    """Three categories: one fell by all, one by a third, and the rest rose, so that the mean stands."""
    folder.mkdir(parents=True, exist_ok=True)
    categories = ["hard"] * 40 + ["odd"] * 60 + ["easy"] * 80
    examples = [
        {"id": f"e{n:03}", "query": f"Which is {n}", "references": ["yes indeed"], "category": category}
        for n, category in enumerate(categories)
    ]
    right, wrong = "yes indeed", "something else"
    before = {f"e{n:03}": right if n < 100 or n % 4 == 0 else wrong for n in range(180)}
    after = {f"e{n:03}": wrong if n < 40 or n in range(40, 60) else right for n in range(180)}
    return recorded_plan(
        folder,
        examples,
        {"before": before, "after": after},
        f'[metrics]\nuse = ["exact_match", "rouge"]\n{gates}',
    )


def test_slices_warn_as_in_a_run_with_these_gates(tmp_path: Path) -> None:
    def run(name: str, gates: str = "") -> GatedRun:
        folder = tmp_path / name
        run_id = queue(folder / "store", sliced(folder / "plan", gates))
        work_here(folder / "store", run_id)
        with opened(folder / "store") as connection:
            return GatedRun(connection, run_id)

    usual = run("usual")
    assert any("“category: hard”" in each[-1] for each in shown(usual.facts.alerts, "slice_drop"))
    for limit in (0.0, 0.5, 1.0):
        limits: Limits = {"max_metric_drop": max(limit, 0.05), "warn_metric_drop": limit}
        gates = "\n".join(f"{name} = {value}" for name, value in limits.items())
        other = run(f"at-{limit}", f"[gates]\n{gates}")
        assert shown(moved(usual, limits), "slice_drop") == shown(other.facts.alerts, "slice_drop")
        assert told(usual.decide(limits)) == told(other.stored)
    assert shown(moved(usual, {"warn_metric_drop": 1.0}), "slice_drop") == []


def declining(run: GatedRun, change: float, severity: str) -> GatedRun:
    """The run with an alert on a decline of exact_match by so much, where 0.05 is allowed in one step."""
    runs, values = tuple(range(1, 10)), tuple(0.8 + change * n / 8 for n in range(9))
    evidence = DowntrendEvidence(
        candidate_value=values[-1], baseline_value=values[0], delta=change, limit=0.05, n=9, runs=runs,
        values=values,
    )  # fmt: skip
    alert = AlertRow(
        run_id=1, run_name="recorded", severity=severity, kind="slow_decline", candidate="better",
        baseline=None, measure="exact_match", created=0.0, evidence=evidence,
        message="exact_match of better has been getting worse. The plan allows 0.050 in one step.",
    )  # fmt: skip
    run.facts = replace(run.facts, alerts=[*run.facts.alerts, alert])
    return run


def test_missing_pairs_of_an_import_are_dropped_within_the_limit_and_kept_beyond(store: Path) -> None:
    with opened(store) as connection:
        run = GatedRun(connection, 1)
    (alert,) = missing_pairs_alert("reference", "better", "base", 2, 10, Gates(max_judge_failures=0.1))
    known = {name: getattr(alert, name) for name in ("severity", "kind", "candidate", "baseline", "measure")}
    row = AlertRow(
        run_id=1, run_name="r", message=alert.message, created=0.0, evidence=alert.evidence, **known
    )  # fmt: skip
    run.facts = replace(run.facts, alerts=[*run.facts.alerts, row])
    assert shown(moved(run, {"max_judge_failures": 0.2}), "judge_failures") == []
    (kept,) = shown(moved(run, {"max_judge_failures": 0.15}), "judge_failures")
    assert kept[-1] == alert.message.replace("10.0%", "15.0%")


WON = ((2, 8), (5, 5), (40, 60), (55, 45), (90, 10))
RATES = [(wins, losses, limit) for wins, losses in WON for limit in (0.3, 0.55)]


@pytest.mark.parametrize(("wins", "losses", "limit"), RATES)
@pytest.mark.parametrize("gate", ["min_win_rate", "warn_win_rate"])
def test_a_win_rate_is_on_the_side_of_its_alert(wins: int, losses: int, limit: float, gate: str) -> None:
    found = wilson(wins, wins + losses)
    rate = WinRate(wins, losses, 0, 0, found.value, found.low, found.high)
    low = found.low or 0.0
    match = MatchVerdicts("j", "tuned", "base", rate)
    alerts = win_rate_alerts([match], Gates.model_validate({"warn_win_rate": None, gate: limit}), ["tuned"])
    side = what_if._rate_look(match, limit, warns=gate == "warn_win_rate").side
    if not alerts:
        assert side == ("within" if low >= limit else "open")
    else:
        assert side == ("open" if alerts[0].severity == "note" else "beyond")


def test_a_warning_of_win_rates_looks_at_nothing_while_a_smallest_one_is_set(store: Path) -> None:
    with opened(store) as connection:
        found = GatedRun(connection, 1)
    assert found.looks({"warn_win_rate": 0.9})["warn_win_rate"]
    assert found.looks({"warn_win_rate": 0.9, "min_win_rate": 0.5})["warn_win_rate"] == []


@pytest.mark.parametrize(
    ("low", "high", "side", "severity"),
    [
        (0.4, 0.6, "beyond", "warning"),
        (0.4, 0.9, "open", "note"),
        (0.65, 0.95, "open", None),
        (0.8, 1.0, "within", None),
    ],
)
def test_contradictions_are_beyond_only_with_their_interval(
    low: float, high: float, side: str, severity: str | None
) -> None:
    row = JudgeConsistency("j", "tuned", "base", (low + high) / 2, low, high, 40)
    found = what_if._contradictions_look(row, 0.3)
    assert found.side == side and ("needs about" in found.more) is (side == "open")
    alerts = inconsistency_alerts([row], Gates(max_judge_inconsistency=0.3))
    assert [alert.severity for alert in alerts] == ([severity] if severity else [])


@pytest.mark.parametrize(("pairs", "side"), [(2, "open"), (9, "open"), (10, "within")])
def test_kappa_of_fewer_labels_than_are_needed_is_open(pairs: int, side: str) -> None:
    said = [HumanLabel(f"e{n}", "ann", "win" if n % 2 else "loss", None, None) for n in range(pairs)]
    found = calibrate(said, {label.example: label.outcome for label in said})
    match = JudgeAgreement("j", 1, True, "tuned", "base", ("ann",), found, None)
    look = what_if._kappa_look(match, 0.4)
    assert look.side == side
    assert look.more == ("10 labelled pairs are needed" if side == "open" else "")
    assert bool(agreement_alerts([match], 0.4)) is (side == "open")


def test_a_gate_that_must_be_met_names_the_candidates_it_knows_nothing_of(store: Path) -> None:
    with opened(store) as connection:
        found = GatedRun(connection, 1)
    judging = replace(found.facts.judging, win_rates=[])
    found.facts = replace(found.facts, judging=judging, scores=[])
    looks = found.looks({"min_win_rate": 0.5, "min_format_compliance": 0.5})
    for gate in ("min_win_rate", "min_format_compliance"):
        sides = {look.candidate: look.side for look in looks[gate]}
        assert sides == {"worse": "missing", "better": "missing"}


@pytest.mark.parametrize(
    ("change", "before", "limit", "after"),
    [
        (-0.08, "critical", 0.05, "critical"),
        (-0.08, "critical", 0.1, "warning"),
        (-0.08, "critical", 0.5, None),
        (-0.03, "warning", 0.02, "critical"),
        (-0.03, "warning", 0.0, "critical"),
        (-0.03, "warning", 0.08, "warning"),
        (-0.03, "warning", 0.1, None),
    ],
)
def test_a_slow_decline_has_the_severity_of_the_moved_limit(
    store: Path, change: float, before: str, limit: float, after: str | None
) -> None:
    with opened(store) as connection:
        run = declining(GatedRun(connection, 1), change, before)
    limits: Limits = {"max_metric_drop": limit, "warn_metric_drop": min(limit, 0.03)}
    found = [alert for alert in moved(run, limits) if alert.kind == "slow_decline"]
    assert [alert.severity for alert in found] == ([after] if after else [])
    for alert in found:
        assert f"allows {limit:.3f} in one step" in alert.message
        assert getattr(alert.evidence, "limit", None) == pytest.approx(limit)
    untouched = [alert for alert in moved(run, {"max_benchmark_drop": 0.9}) if alert.kind == "slow_decline"]
    assert [alert.severity for alert in untouched] == [before]


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


def test_a_limit_is_written_with_all_its_digits(tmp_path: Path) -> None:
    file = tmp_path / "plan.toml"
    limits: Limits = {"max_leakage": 0.123456789, "max_metric_drop": 0.1 + 0.2, "min_win_rate": 0.5123456}
    for text in (PLAN, 'name = "p"\n'):
        file.write_text(text)
        write_limits(file, limits)
        gates = tomllib.loads(file.read_text())["gates"]
        assert {name: gates[name] for name in limits} == {**limits, "max_metric_drop": 0.3}
    assert f"={written(0.5123456789)}" == "=0.5123456789"


@pytest.mark.parametrize(
    "text", [PLAN, 'name = "p"\n', "[gates]\nmax_leakage = 0.1", "[gates]", PLAN.rstrip()]
)
def test_line_ends_are_those_of_the_file(tmp_path: Path, text: str) -> None:
    limits: Limits = {"max_leakage": 0.25, "min_win_rate": 0.55, "metrics.exact_match": 0.2}
    files = [tmp_path / "unix.toml", tmp_path / "windows.toml"]
    for file, end in zip(files, ("\n", "\r\n"), strict=True):
        file.write_bytes(text.replace("\n", end).encode())
        write_limits(file, limits)
    unix, windows = (file.read_bytes() for file in files)
    if b"\r" in windows:
        assert windows.replace(b"\r\n", b"\n") == unix and windows.count(b"\r") == unix.count(b"\n")


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
        ("gates = 3\n", {"max_metric_drop": 0.02}),
        ("gates = 3\n", {"min_win_rate": None}),
        ("[[gates]]\nmax_metric_drop = 0.05\n", {"max_metric_drop": 0.02}),
        ("[gates]\nmetrics = 3\n", {"metrics.rouge1": 0.2}),
        ("[[gates.metrics]]\nrouge1 = 0.1\n", {"metrics.rouge1": 0.2}),
        ('[gates.metrics]\nrouge1 = { max = 0.1, warn = "x" }\n', {"metrics.rouge1": 0.2}),
        ("[gates.metrics.rouge1]\nmax = 0.1\n", {"metrics.rouge1": 0.2}),
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
