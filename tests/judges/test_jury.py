"""Several judges in one run: panels, cascades, judges that stop early, and what is found out about them."""

import json
from pathlib import Path
from typing import Any

import pytest

from engine.phases.judge import majority
from engine.phases.judging.audits import BOAST
from engine.phases.work import Stopped
from engine.stats.winrate import Outcome
from store import records
from store.records.judging import SHARED_RATES
from store.write import Recorder
from tests.engine.runs import carry_out, queue, recorded_plan
from tests.judges.scripted import Answer, Json, JudgeServer, fault, prefers, says

COUNT = 40


def _examples(count: int = COUNT) -> list[dict[str, Any]]:
    return [{"id": f"e{place:02}", "query": f"Question {place}?"} for place in range(count)]


def _texts(words: str, count: int = COUNT) -> dict[str, str]:
    return {f"e{place:02}": f"{words} {place}" for place in range(count)}


def _judge(server: JudgeServer, name: str, **settings: Any) -> str:
    table = {"name": name, "server": server.url, "model": name, **settings}
    return "\n".join(["[[judges]]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())])


def _run(folder: Path, rest: list[str], count: int = COUNT, **texts: dict[str, str]) -> Recorder:
    given = texts or {"base": _texts("weak", count), "tuned": _texts("strong", count)}
    toml = "\n".join(['[metrics]\nuse = ["length"]', *rest])
    plan = recorded_plan(folder, _examples(count), given, toml)
    return carry_out(folder / "store", queue(folder / "store", plan))


def _judge_row(run: Recorder, name: str) -> records.StoredJudge:
    (row,) = run.rows(records.StoredJudge, run_id=run.run_id, name=name)
    return row


def _rate(run: Recorder, name: str) -> records.StoredWinRate:
    (row,) = run.rows(records.StoredWinRate, judge_id=_judge_row(run, name).id, turn=0)
    return row


def _audit(run: Recorder, judge: str, measure: str) -> records.Audit:
    rows = run.rows(records.Audit, judge_id=_judge_row(run, judge).id, measure=measure)
    assert rows, f"{judge} has no {measure}"
    return rows[0]


def _first(body: Json) -> str:
    return str(body["messages"][1]["content"]).split("RESPONSE A", 1)[1].split("RESPONSE B", 1)[0]


def _better(body: Json, number: int) -> Answer:
    """The strong response wins, wherever it stands."""
    return prefers("A", 9, 3) if "strong" in _first(body) else prefers("B", 3, 9)


def test_an_always_first_judge_comes_out_even_and_totally_biased(server: JudgeServer, tmp_path: Path) -> None:
    server.script = lambda body, number: prefers("A", 8, 5)
    run = _run(tmp_path, [_judge(server, "j")])
    rate = _rate(run, "j")
    assert (rate.win_rate, rate.ties, rate.position_bias) == (0.5, COUNT, 1.0)
    assert _audit(run, "j", "consistency").value == 0.0


def test_a_judge_of_length_is_shown_up_and_equal_answers_come_out_near_even(
    server: JudgeServer, tmp_path: Path
) -> None:
    def longer(body: Json, number: int) -> Answer:
        text = str(body["messages"][1]["content"])
        a = text.split("RESPONSE A", 1)[1].split("RESPONSE B", 1)[0]
        b = text.split("RESPONSE B", 1)[1]
        return prefers("A") if len(a.split()) > len(b.split()) else prefers("B")

    server.script = longer
    sizes = [(5 + place * 7 % 23, 5 + place * 11 % 29) for place in range(COUNT)]
    run = _run(
        tmp_path,
        [_judge(server, "j")],
        base={f"e{place:02}": "word " * size for place, (_, size) in enumerate(sizes)},
        tuned={f"e{place:02}": "word " * size for place, (size, _) in enumerate(sizes)},
    )
    assert _audit(run, "j", "longer_wins").value > 0.9
    assert _rate(run, "j").length_controlled == pytest.approx(0.5, abs=0.15)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (["win", "win", "loss"], "win"),
        (["win", "loss"], "tie"),
        (["loss", "failed"], "loss"),
        (["failed", "failed"], "failed"),
        (["win", "tie", "loss"], "tie"),
    ],
)
def test_the_majority_decides_and_a_failed_judge_has_no_vote(said: list[Outcome], expected: Outcome) -> None:
    assert majority(said) == expected


def test_judges_of_the_same_pairs_speak_as_a_panel_and_the_gate_is_about_it(
    server: JudgeServer, tmp_path: Path
) -> None:
    def script(body: Json, number: int) -> Answer:
        # "c" finds every candidate worse; it is outvoted.
        if body["model"] == "c":
            return prefers("B", 3, 9) if "strong" in _first(body) else prefers("A", 9, 3)
        return _better(body, number)

    server.script = script
    run = _run(tmp_path, [*(_judge(server, name) for name in "abc"), "[gates]\nmin_win_rate = 0.6"])
    assert _rate(run, "panel").wins == COUNT
    assert _audit(run, "panel", "mean_win_rate").value == pytest.approx(2 / 3)
    agreement = {
        row.subject: row.value
        for row in run.rows(records.Audit, judge_id=_judge_row(run, "panel").id, measure="raw_agreement")
    }
    assert agreement == {"a and b": 1.0, "a and c": 0.0, "b and c": 0.0}
    assert _judge_row(run, "c").details["part_of"] == "panel"
    kinds = [
        row.kind for row in run.rows(records.StoredAlert, run_id=run.run_id) if row.severity == "critical"
    ]
    assert "win_rate" not in kinds


def test_the_embedded_rule_has_no_vote_beside_a_model(server: JudgeServer, tmp_path: Path) -> None:
    server.script = _better
    examples = [example | {"reference": "strong"} for example in _examples()]
    toml = f'[metrics]\nuse = ["length"]\n{_judge(server, "a")}\n[[judges]]\nname = "reference"'
    plan = recorded_plan(tmp_path, examples, {"base": _texts("weak"), "tuned": _texts("strong")}, toml)
    run = carry_out(tmp_path / "store", queue(tmp_path / "store", plan))
    assert {row.name for row in run.rows(records.StoredJudge, run_id=run.run_id)} == {"a", "reference"}
    assert _rate(run, "a").wins == COUNT


def test_a_cascade_asks_the_dearer_judge_only_where_the_cheap_one_is_unsure(
    server: JudgeServer, tmp_path: Path
) -> None:
    def script(body: Json, number: int) -> Answer:
        unsure = "Question 3?" in str(body["messages"][1]["content"])
        if body["model"] == "cheap" and unsure:
            return prefers("A", 6, 5)  # the first place, whoever stands there
        return _better(body, number)

    server.script = script
    run = _run(
        tmp_path,
        [_judge(server, "cheap"), _judge(server, "dear"), '[judging]\ncascade = ["cheap", "dear"]'],
    )
    asked = [body["model"] for body in server.requests]
    assert (asked.count("cheap"), asked.count("dear")) == (2 * COUNT, 2)
    rate = _rate(run, "cascade")
    assert (rate.wins, rate.ties) == (COUNT, 0)
    assert _rate(run, "cheap").ties == 1
    saved = _audit(run, "cascade", "calls_saved")
    assert (saved.value, saved.n) == (2 * COUNT - 2, 2 * COUNT)
    assert run.rows(records.StoredWinRate, judge_id=_judge_row(run, "dear").id) == []


def test_a_judge_stops_once_the_gate_is_settled_and_says_what_it_saved(
    server: JudgeServer, tmp_path: Path
) -> None:
    server.script = _better
    run = _run(
        tmp_path,
        [_judge(server, "j", stop_early=True, concurrency=2), "[gates]\nmin_win_rate = 0.55"],
        count=80,
    )
    assert len(server.requests) < 120
    saved = _audit(run, "j", "calls_saved")
    assert saved.value == 160 - len(run.rows(records.StoredJudgment)) > 0
    rate = _rate(run, "j")
    assert rate.win_rate == 1.0 and rate.low > 0.55
    progress = [row for row in run.rows(records.Progress, run_id=run.run_id) if row.phase == "judge"]
    assert all(row.done == row.total for row in progress)


def test_what_is_not_settled_is_judged_to_the_end(server: JudgeServer, tmp_path: Path) -> None:
    server.script = lambda body, number: prefers("tie", 7, 7)
    run = _run(tmp_path, [_judge(server, "j", stop_early=True)])
    assert len(server.requests) == 2 * COUNT
    assert _audit(run, "j", "calls_saved").value == 0
    assert _rate(run, "j").low < 0.5 < _rate(run, "j").high


def test_a_judge_that_falls_for_a_boast_is_warned_of(server: JudgeServer, tmp_path: Path) -> None:
    def script(body: Json, number: int) -> Answer:
        if BOAST in str(body["messages"][1]["content"]):
            return prefers("A") if BOAST in _first(body) else prefers("B")
        return _better(body, number)

    server.script = script
    run = _run(tmp_path, [_judge(server, "j", constant_probe=10)])
    probe = _audit(run, "j", "constant_answer_wins")
    assert (probe.value, probe.n) == (1.0, 10)
    (alert,) = [row for row in run.rows(records.StoredAlert, run_id=run.run_id) if row.kind == "judge_fooled"]
    assert alert.severity == "warning" and "100.0%" in alert.message
    assert len(server.requests) == 2 * COUNT + 20


def test_the_probe_of_a_stopped_run_is_not_asked_again(server: JudgeServer, tmp_path: Path) -> None:
    server.script = _better
    given = {"base": _texts("weak"), "tuned": _texts("strong")}
    toml = "\n".join(['[metrics]\nuse = ["length"]', _judge(server, "j", constant_probe=10, concurrency=1)])
    plan = recorded_plan(tmp_path, _examples(), given, "[generation]\ncache = false\n" + toml)
    store, seen = tmp_path / "store", 2 * COUNT + 9
    run_id = queue(store, plan)
    with pytest.raises(Stopped):
        carry_out(store, run_id, lambda: "pause" if len(server.requests) >= seen else None)
    before = len(server.requests)
    run = Recorder(store, run_id)
    run.set_run(status="paused", request=None)
    run.close()
    carry_out(store, run_id)
    # What was finished stays; of the pair under way its first call may be asked again.
    assert len(server.requests) <= 2 * COUNT + 20 + 3 and before < len(server.requests)


def test_a_judge_of_the_candidates_family_is_noted(server: JudgeServer, tmp_path: Path) -> None:
    server.script = lambda body, number: (
        _better(body, number) if len(body["messages"]) > 1 else says("a strong answer")
    )
    judge = _judge(server, "j").replace('model = "j"', 'model = "Llama-3.3-70B-Instruct"')
    given = {"base": _texts("weak"), "tuned": _texts("strong")}
    plan = recorded_plan(tmp_path, _examples(), given, f'[metrics]\nuse = ["length"]\n{judge}')
    plan.write_text(
        plan.read_text()
        + f'\n[[models]]\nname = "kin"\nrole = "candidate"\nserver = "{server.url}"\n'
        + 'model = "meta-llama/Llama-3.1-8B"\n'
    )
    run = carry_out(tmp_path / "store", queue(tmp_path / "store", plan))
    notes = [row for row in run.rows(records.StoredAlert, run_id=run.run_id) if row.kind == "self_preference"]
    assert [(row.candidate, row.severity) for row in notes] == [("kin", "note")]


def test_all_pairs_are_ranked_without_intervals_where_all_examples_are_alike(
    server: JudgeServer, tmp_path: Path
) -> None:
    server.script = _better
    run = _run(
        tmp_path,
        [_judge(server, "j"), "[judging]\nall_pairs = true"],
        base=_texts("weak"),
        middle=_texts("weaker"),
        best=_texts("strong"),
    )
    names = {row.id: row.name for row in run.rows(records.StoredModel, run_id=run.run_id)}
    ranked = sorted(run.rows(records.Ranking), key=lambda row: -row.strength)
    assert names[ranked[0].model_id] == "best"
    assert {(row.low, row.high, row.reason) for row in ranked} == {
        (None, None, "no interval: all examples alike")
    }
    assert len(run.rows(records.StoredWinRate)) == 3


def test_candidates_judged_on_different_pairs_are_told_over_the_shared_ones(
    server: JudgeServer, tmp_path: Path
) -> None:
    server.script = _better
    half = {f"e{place:02}": "strong" if place < 9 else None for place in range(12)}
    mixed = {name: ("weaker" if place < 6 else "strong") for place, name in enumerate(half)}
    run = _run(tmp_path, [_judge(server, "j")], 12, base=_texts("weak", 12), half=half, mixed=mixed)
    audit = _audit(run, "j", SHARED_RATES)
    assert audit.details is not None
    assert (audit.subject, audit.n) == ("base", 9)
    assert {name: rate[0] for name, rate in audit.details.items()} == {
        "half": 1.0,
        "mixed": pytest.approx(6 / 9),
    }


def test_at_a_third_of_faults_few_pairs_fail_and_none_vanish(server: JudgeServer, tmp_path: Path) -> None:
    server.script = lambda body, number: (
        fault((429, 500, 503)[number % 3], headers={"retry-after": "0"})
        if number % 3 == 0
        else _better(body, number)
    )
    run = _run(tmp_path, [_judge(server, "j")])
    rate = _rate(run, "j")
    assert rate.wins + rate.losses + rate.ties + rate.failed == COUNT
    assert rate.failed <= 0.05 * COUNT
