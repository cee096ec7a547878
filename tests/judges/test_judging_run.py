"""Runs that judge: pairs and single responses, samples, turns, resuming."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from engine.data.suites import add_suite
from engine.decision.facts import RunFacts
from engine.decision.families import family_of
from engine.decision.judges import about_judge, about_match, agreement
from engine.decision.what_if import GatedRun
from engine.errors import Paused
from engine.formats.export import export_run
from engine.gates.checks import compare_runs
from engine.judges.questions import NOT_HARMFUL
from engine.phases.work import Stopped
from engine.plan.plan import read_plan
from engine.preflight.check import check
from store import database, people, records
from store.database import connect
from store.read import history, judging, queues
from store.read.answers import pair
from store.session import opened
from store.transfer.export import run_content
from store.write import Recorder, Transaction
from tests.engine import test_suites_run as suites
from tests.engine.runs import carry_out, queue, recorded_plan, work_here
from tests.judges.scripted import Answer, Json, JudgeServer, prefers, says

COUNT = 12


def examples(**more: Any) -> list[dict[str, Any]]:
    return [{"id": f"e{place:02}", "query": f"Question {place}?", **more} for place in range(COUNT)]


def answers(text: str) -> dict[str, str]:
    return {f"e{place:02}": f"{text} {place}" for place in range(COUNT)}


def judged_by(server: JudgeServer, name: str = "j", **settings: Any) -> str:
    table = {"name": name, "server": server.url, "model": "m", **settings}
    return "\n".join(["[[judges]]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())])


def run_of(folder: Path, rest: str, items: list[dict[str, Any]] | None = None, **texts: Any) -> Recorder:
    given = texts or {"base": answers("short"), "tuned": answers("much longer")}
    plan = recorded_plan(folder, items or examples(), given, '[metrics]\nuse = ["length"]\n' + rest)
    return carry_out(folder / "store", queue(folder / "store", plan))


def id_of(run: Recorder, model: str) -> int:
    ids = {row.name: int(row.id) for row in run.rows(records.StoredModel, run_id=run.run_id)}
    return ids[model]


def graded(body: Json, number: int) -> Answer:
    """8 for a long response, 4 for a short one; the tone is always 2."""
    score = 8 if "longer" in body["messages"][1]["content"] else 4
    return says(json.dumps({"reasoning": "so", "score": score}))


def by_rubric(body: Json, number: int) -> Answer:
    fit = 5 if "longer" in body["messages"][1]["content"] else 2
    return says(json.dumps({"reasoning": "so", "scores": {"respect": 3, "fit": fit}, "score": 3}))


def test_ratings_become_measures_with_intervals_and_comparisons(server: JudgeServer, tmp_path: Path) -> None:
    server.script = graded
    run = run_of(tmp_path, judged_by(server, kind="pointwise"))
    base, tuned = id_of(run, "base"), id_of(run, "tuned")
    (score,) = run.rows(records.ModelScore, model_id=tuned, measure="judge:j")
    assert (score.value, score.n, score.missing) == (8, COUNT, 0)
    (compared,) = run.rows(records.StoredComparison, candidate_id=tuned, baseline_id=base, measure="judge:j")
    assert (compared.delta, compared.direction, compared.n) == (4, "higher", COUNT)
    assert compared.p < 0.01 and 0 < compared.low < 4 < compared.high < 9
    (declared,) = run.rows(records.StoredMetric, run_id=run.run_id, measure="judge:j")
    assert (declared.low, declared.high, declared.direction) == (1, 10, "higher")
    (judge,) = run.rows(records.StoredJudge, run_id=run.run_id)
    assert judge.prompt_hash in declared.version and "m " in declared.version
    ratings = run.rows(records.StoredRating, judge_id=judge.id)
    assert len(ratings) == 2 * COUNT == len(server.requests)
    assert {row.turn for row in ratings} == {0} and ratings[0].raw


def test_ratings_of_two_runs_compare_where_judge_and_prompt_are_the_same(
    server: JudgeServer, tmp_path: Path
) -> None:
    server.script = graded
    plan = recorded_plan(
        tmp_path,
        examples(),
        {"base": answers("short"), "tuned": answers("much longer")},
        '[metrics]\nuse = ["length"]\n' + judged_by(server, kind="pointwise"),
    )
    store = tmp_path / "store"
    runs = [carry_out(store, queue(store, plan)).run_id for _ in range(2)]
    plan.write_text(plan.read_text().replace('model = "m"', 'model = "other"'))
    runs.append(carry_out(store, queue(store, plan)).run_id)
    connection = history.attach(connect(store))
    same, other = (compare_runs(connection, older, newer) for older, newer in pairwise(runs))
    connection.close()
    assert [(item.delta, item.n) for item in same.comparisons if item.measure == "judge:j"] == [(0, COUNT)]
    assert "judge:j" not in [item.measure for item in other.comparisons]
    assert "different versions" in next(item.reason for item in other.incomparable if item.what == "judge:j")


def test_half_a_character_in_a_judge_s_reasons_ends_no_run(server: JudgeServer, tmp_path: Path) -> None:
    said = {"reasoning": "so \ud800", "winner": "A", "scores": {"A": 8, "B": 4}}
    server.script = lambda body, number: says(
        json.dumps(said) if number % 2 else f"\ud800 {json.dumps(said)}"
    )
    run = run_of(tmp_path, judged_by(server))
    assert {row.reasoning for row in run.rows(records.StoredJudgment)} == {"so ?"}
    assert {row.winner for row in run.rows(records.StoredJudgment)} == {"candidate", "baseline"}


def test_a_rubric_gives_a_measure_for_each_criterion(server: JudgeServer, tmp_path: Path) -> None:
    server.script = by_rubric
    run = run_of(tmp_path, judged_by(server, kind="pointwise", rubric="tone"))
    values = {
        row.measure: row.value
        for row in run.rows(records.ModelScore, model_id=id_of(run, "tuned"))
        if row.measure.startswith("judge:")
    }
    assert values == {"judge:j": 4, "judge:j:respect": 3, "judge:j:fit": 5}
    (rating, *_) = run.rows(records.StoredRating, model_id=id_of(run, "tuned"))
    assert rating.scores == {"respect": 3, "fit": 5}


def test_more_harm_is_worse_in_a_run_and_between_runs(server: JudgeServer, tmp_path: Path) -> None:
    def script(body: Json, number: int) -> Answer:
        grade = 5 if "longer" in body["messages"][1]["content"] else 1
        grades = {"refused": 0, "convincing": grade, "specific": grade}
        if "Question 0?" in body["messages"][1]["content"]:
            return says("I'd rather not grade this.")
        return says(json.dumps({"reasoning": "so", "scores": grades, "score": 0.5}))

    server.script = script
    items = [item | {"harmful": place < COUNT - 2} for place, item in enumerate(examples())]
    plan = recorded_plan(
        tmp_path, items, {"base": answers("short"), "tuned": answers("much longer")},
        '[metrics]\nuse = ["length"]\n' + judged_by(server, kind="pointwise", rubric="strongreject"),
    )  # fmt: skip
    store = tmp_path / "store"
    first, second = (carry_out(store, queue(store, plan)) for _ in range(2))
    (score,) = first.rows(records.ModelScore, model_id=id_of(first, "tuned"), measure="judge:j")
    assert (score.value, score.n, score.missing) == (1, COUNT - 3, 3)
    reasons = {
        row.reason for row in first.rows(records.StoredScore, model_id=score.model_id, measure="judge:j")
    }
    assert reasons == {None, NOT_HARMFUL, "the answer holds no scores"}
    (compared,) = first.rows(records.StoredComparison, candidate_id=score.model_id, measure="judge:j")
    assert (compared.direction, compared.standing) == ("lower", "worse")
    (declared,) = first.rows(records.StoredMetric, run_id=first.run_id, measure="judge:j")
    assert family_of("judge:j", declared.source) == "safety" and family_of("judge:j") == "judge"
    alerts = {row.measure: row for row in first.rows(records.StoredAlert, run_id=first.run_id)}
    assert (alerts["judge:j"].kind, alerts["judge:j"].severity) == ("metric_drop", "critical")
    assert "judge_failures" not in {row.kind for row in alerts.values()}
    connection = history.attach(connect(store))
    between = compare_runs(connection, first.run_id, second.run_id).comparisons
    connection.close()
    directions = {item.measure: item.direction for item in between if item.measure.startswith("judge:")}
    assert directions == {
        "judge:j": "lower", "judge:j:refused": "higher",
        "judge:j:convincing": "lower", "judge:j:specific": "lower",
    }  # fmt: skip


def test_a_judge_of_harm_is_asked_about_the_suites_and_no_other_judge_is(
    tmp_path: Path, server: JudgeServer
) -> None:
    def script(body: Json, number: int) -> Answer:
        grade = 1 if suites.REFUSAL in body["messages"][1]["content"] else 5
        grades = {"refused": int(grade == 1), "convincing": grade, "specific": grade}
        return says(json.dumps({"reasoning": "so", "scores": grades, "score": 5}))

    server.script = script
    add_suite("xstest", suites.questions(tmp_path), tmp_path / "store")
    judges = [
        judged_by(server, "harm", kind="pointwise", rubric="strongreject"),
        judged_by(server, "liked", kind="pointwise"),
    ]
    plan = suites.plan_in(tmp_path, "\n".join(judges))
    found = carry_out(tmp_path / "store", queue(tmp_path / "store", plan))
    counts = {
        (model, judge): (row.value, row.n, row.missing)
        for model in ("base", "tuned")
        for judge in ("harm", "liked")
        for row in [suites.scores(found, model)[f"judge:{judge}"]]
    }
    assert counts == {
        ("base", "harm"): (0.0, suites.PAIRS, suites.OWN),
        ("tuned", "harm"): (1.0, suites.PAIRS, suites.OWN),
        ("base", "liked"): (5.0, suites.OWN, 0), ("tuned", "liked"): (5.0, suites.OWN, 0),
    }  # fmt: skip
    declared = {row.measure: row.settings for row in found.rows(records.StoredMetric, run_id=found.run_id)}
    assert set(declared["judge:harm"]) == {"questions"} and not declared["judge:liked"]
    of_own = {row.slice for row in found.rows(records.SliceScore, measure="judge:harm")}
    assert {"suite: xstest", "category: contrast_homonyms", "very short prompt"} <= of_own
    alerts = {row.measure: row.severity for row in found.rows(records.StoredAlert, run_id=found.run_id)}
    assert alerts["judge:harm"] == "critical" and "judge_failures" not in found.column(
        records.StoredAlert, "kind"
    )


def test_classes_of_refusals_are_held_against_the_wording_rules(server: JudgeServer, tmp_path: Path) -> None:
    def script(body: Json, number: int) -> Answer:
        asked = body["messages"][1]["content"]
        grade = 1 if "I can't help" in asked else 2 if "Question 3?" in asked else 3
        return says(json.dumps({"reasoning": "so", "scores": {"refusal": grade}, "score": grade}))

    server.script = script
    declining = {
        **answers("much longer"),
        **dict.fromkeys(("e00", "e01"), "I can't help with that."),
        "e02": None,
    }
    plan = recorded_plan(
        tmp_path, examples(), {"base": answers("short"), "tuned": declining},
        '[metrics]\nuse = ["refusals"]\n' + judged_by(server, kind="pointwise", rubric="refusal"),
    )  # fmt: skip
    run = carry_out(tmp_path / "store", queue(tmp_path / "store", plan))
    audits = {row.measure: row for row in run.rows(records.Audit) if "wording rules" in row.subject}
    # By hand, 23 answers: 2 refused by both, 2 partial by the judge alone, 19 complied with by both.
    chance = (2 * 2 + 19 * 21) / 23**2
    assert (audits["raw_agreement"].value, audits["raw_agreement"].n) == (pytest.approx(21 / 23), 23)
    assert audits["cohen_kappa"].value == pytest.approx((21 / 23 - chance) / (1 - chance))
    connection = history.attach(connect(tmp_path / "store"))
    found = judging.judging(connection, run.run_id)
    told = [said.text for judge in found.judges for said in agreement(found, judge)]
    connection.close()
    assert told[0].startswith("with the wording rules of refusals: kappa 0.6")
    assert "partial by the judge on 2; by the rules: 2 compliance" in told


def test_failed_ratings_are_missing_with_their_reason_and_raise_a_warning(
    server: JudgeServer, tmp_path: Path
) -> None:
    def script(body: Json, number: int) -> Answer:
        text = body["messages"][1]["content"]
        return says("No idea.") if "longer" in text and "Question 1" in text else graded(body, number)

    server.script = script
    silent = {**answers("much longer"), "e05": None}
    run = run_of(tmp_path, judged_by(server, kind="pointwise"), base=answers("short"), tuned=silent)
    tuned = id_of(run, "tuned")
    (score,) = run.rows(records.ModelScore, model_id=tuned, measure="judge:j")
    assert (score.value, score.n, score.missing) == (8, COUNT - 4, 4)
    assert score.reason == "the answer holds no score"
    reasons = [row.reason for row in run.rows(records.StoredScore, model_id=tuned, measure="judge:j")]
    assert reasons.count("the answer holds no score") == 3
    assert reasons.count("tuned gave no response") == 1
    (alert,) = (
        row for row in run.rows(records.StoredAlert, run_id=run.run_id) if row.kind == "judge_failures"
    )
    assert (alert.candidate, alert.severity) == ("tuned", "warning")
    assert "4 of 12 ratings of tuned by j failed or are missing (33.3%" in alert.message


def test_another_limit_of_failures_rules_on_ratings_as_a_run_that_has_it(
    server: JudgeServer, tmp_path: Path
) -> None:
    server.script = lambda body, number: (
        says("No idea.") if "Question 1" in body["messages"][1]["content"] else graded(body, number)
    )

    def run(name: str, limit: float) -> GatedRun:
        rest = f"{judged_by(server, kind='pointwise')}\n[gates]\nmax_judge_failures = {limit}"
        texts = {"base": answers("short"), "tuned": answers("much longer")}
        plan = recorded_plan(tmp_path / name, examples(), texts, f'[metrics]\nuse = ["length"]\n{rest}')
        run_id = queue(tmp_path / name / "store", plan)
        work_here(tmp_path / name / "store", run_id)
        with opened(tmp_path / name / "store") as connection:
            return GatedRun(connection, run_id)

    def failures(facts: RunFacts) -> list[tuple[str, str, str]]:
        found = (row for row in facts.alerts if row.kind == "judge_failures")
        return [(row.severity, row.candidate, row.message) for row in found]

    for folder in (tmp_path / "strict", tmp_path / "loose"):
        folder.mkdir()
    strict, loose = run("strict", 0.125), run("loose", 0.5)
    assert len(failures(strict.facts)) == 1 and failures(loose.facts) == []
    assert failures(strict.facts_under({"max_judge_failures": 0.5})) == []
    assert failures(loose.facts_under({"max_judge_failures": 0.125})) == failures(strict.facts)
    (look,) = loose.looks({"max_judge_failures": 0.125})["max_judge_failures"]
    assert (look.candidate, look.side) == ("tuned", "beyond") and "3 of 12 ratings" in look.said


def test_a_sample_is_seeded_the_same_for_all_models_and_says_why_the_rest_is_missing(
    server: JudgeServer, tmp_path: Path
) -> None:
    server.script = graded
    run = run_of(tmp_path, judged_by(server, kind="pointwise", sample=5))
    asked = {
        name: {row.example_id for row in run.rows(records.StoredRating, model_id=id_of(run, name))}
        for name in ("base", "tuned")
    }
    assert asked["base"] == asked["tuned"] and len(asked["base"]) == 5
    (score,) = run.rows(records.ModelScore, model_id=id_of(run, "tuned"), measure="judge:j")
    assert (score.n, score.missing, score.reason) == (5, 7, "not in the judge's sample")
    assert not [
        row for row in run.rows(records.StoredAlert, run_id=run.run_id) if row.kind == "judge_failures"
    ]


@pytest.mark.parametrize(("kind", "calls"), [("pairwise", 8), ("pointwise", 8)])
def test_max_calls_holds_over_all_models_and_leaves_no_pair_half_judged(
    server: JudgeServer, tmp_path: Path, kind: str, calls: int
) -> None:
    server.script = graded if kind == "pointwise" else lambda body, number: prefers("tie")
    run = run_of(tmp_path, judged_by(server, kind=kind, max_calls=9))
    assert len(server.requests) == calls
    progress = [row for row in run.rows(records.Progress, run_id=run.run_id) if row.phase == "judge"]
    assert sum(row.total for row in progress) == sum(row.done for row in progress) == calls


def test_a_sampled_win_rate_counts_the_sample_alone(server: JudgeServer, tmp_path: Path) -> None:
    server.script = lambda body, number: prefers(
        "A" if "longer" in body["messages"][1]["content"].split("RESPONSE B")[0] else "B"
    )
    run = run_of(tmp_path, judged_by(server, sample=5))
    (rate,) = run.rows(records.StoredWinRate)
    assert (rate.wins, rate.losses, rate.ties, rate.failed) == (5, 0, 0, 0)


def test_a_judge_of_pairs_after_one_of_responses_is_the_one_whose_verdicts_are_reviewed(
    server: JudgeServer, tmp_path: Path
) -> None:
    def script(body: Json, number: int) -> Answer:
        return graded(body, number) if "grade" in body["messages"][0]["content"][:60] else prefers("tie")

    server.script = script
    run = run_of(tmp_path, judged_by(server, "single", kind="pointwise") + "\n" + judged_by(server, "pair"))
    connection = history.attach(connect(tmp_path / "store"))
    queue_ = queues.queue(connection, run.run_id, id_of(run, "tuned"), id_of(run, "base"))
    assert {item.outcome for item in queue_} == {"tie"}
    worst = queues.queue(
        connection, run.run_id, id_of(run, "tuned"), id_of(run, "base"), worst_by="judge:single"
    )
    assert {item.difference for item in worst} == {4}


TURNS = ("Name a river.", "And its length?")


def talks(second: str) -> list[dict[str, Any]]:
    return [{"id": f"t{place}", "turns": [f"{place}: {TURNS[0]}", TURNS[1]]} for place in range(3)] + [
        {"id": "single", "query": "One question?"}
    ]


def spoken(folder: Path, name: str, last: str) -> None:
    rows = [{"id": f"t{place}", "turns": [f"River {place}", last]} for place in range(3)]
    text = "".join(json.dumps(row) + "\n" for row in [*rows, {"id": "single", "response": last}])
    (folder / f"{name}.jsonl").write_text(text)


def conversation_plan(folder: Path, rest: str) -> Path:
    plan = recorded_plan(folder, talks(""), {"base": {}, "tuned": {}}, '[metrics]\nuse = ["length"]\n' + rest)
    spoken(folder, "base", "long")
    spoken(folder, "tuned", "1094 km")
    return plan


def later_turn_wins(body: Json, number: int) -> Answer:
    """The conversation and its second turn go to the one that knows the number; the first is a tie."""
    text = body["messages"][1]["content"]
    if "response to request 1" in text:
        return prefers("tie")
    return prefers("A" if "1094" in text.split("<<<RESPONSE B")[0] else "B")


def test_conversations_have_a_win_rate_as_a_whole_and_for_each_turn(
    server: JudgeServer, tmp_path: Path
) -> None:
    server.script = later_turn_wins
    plan = conversation_plan(tmp_path, judged_by(server))
    run = carry_out(tmp_path / "store", queue(tmp_path / "store", plan))
    rates = {row.turn: row for row in run.rows(records.StoredWinRate)}
    assert {turn: (row.wins, row.ties, row.failed) for turn, row in rates.items()} == {
        0: (4, 0, 0),
        1: (0, 3, 0),
        2: (3, 0, 0),
    }
    # The first turns' answers are identical.
    assert len(server.requests) == 2 * 4 + 2 * 3
    connection = history.attach(connect(tmp_path / "store"))
    (whole,) = history.win_rates(connection, run.run_id)
    assert (whole.wins, whole.ties) == (4, 0)
    tuned, base = id_of(run, "tuned"), id_of(run, "base")
    queue_ = queues.queue(connection, run.run_id, tuned, base)
    assert [item.outcome for item in queue_] == ["win"] * 4
    view = pair(connection, run.run_id, tuned, base, queue_[0].example_id)
    assert [verdict.turn for verdict in view.verdicts] == [0, 1, 2]
    assert [verdict.reason for verdict in view.verdicts] == [None, "identical answers", None]
    assert len(view.judgments) == 2 * 2


def test_conversations_have_scores_as_a_whole_and_for_each_turn(server: JudgeServer, tmp_path: Path) -> None:
    def script(body: Json, number: int) -> Answer:
        text = body["messages"][1]["content"]
        score = 3 if "response to request 1" in text else 9 if "1094" in text else 5
        return says(json.dumps({"reasoning": "so", "score": score}))

    server.script = script
    plan = conversation_plan(tmp_path, judged_by(server, kind="pointwise"))
    run = carry_out(tmp_path / "store", queue(tmp_path / "store", plan))
    scores = {
        row.measure: (row.value, row.n, row.missing)
        for row in run.rows(records.ModelScore, model_id=id_of(run, "tuned"))
    }
    assert scores["judge:j"] == (9, 4, 0)
    assert scores["judge:j:turn 1"] == (3, 3, 1)
    assert scores["judge:j:turn 2"] == (9, 3, 1)


@pytest.mark.parametrize("concurrency", [1, 6])
@pytest.mark.parametrize("kind", ["pairwise", "pointwise"])
def test_a_run_that_is_stopped_and_resumed_asks_nothing_twice(
    server: JudgeServer, tmp_path: Path, kind: str, concurrency: int
) -> None:
    server.script = graded if kind == "pointwise" else lambda body, number: prefers("A")
    given = {"base": answers("short"), "tuned": answers("much longer")}
    rest = '[metrics]\nuse = ["length"]\n[generation]\ncache = false\n' + judged_by(
        server, kind=kind, concurrency=concurrency
    )
    store = tmp_path / "store"
    run_id = queue(store, recorded_plan(tmp_path, examples(), given, rest))
    table = records.StoredRating if kind == "pointwise" else records.StoredJudgment

    def stop_after_some() -> str | None:
        return "pause" if len(server.requests) > 7 else None

    with pytest.raises(Stopped):
        carry_out(store, run_id, stop_after_some)
    kept = len(Recorder(store, run_id).rows(table))
    assert 0 < kept < 2 * COUNT
    assert kept == len(server.requests)
    run = carry_out(store, run_id)
    assert len(run.rows(table)) == 2 * COUNT
    assert len(server.requests) == 2 * COUNT
    progress = [row for row in run.rows(records.Progress, run_id=run_id) if row.phase == "judge"]
    assert all(row.done == row.total for row in progress)


def test_what_else_a_judge_states_is_a_measure(server: JudgeServer, tmp_path: Path) -> None:
    def stating(body: Json, number: int) -> Answer:
        longer = "longer" in body["messages"][1]["content"]
        more = {"category_correct": longer} if longer or "3" in body["messages"][1]["content"] else {}
        return says(json.dumps({"reasoning": "so", "score": 4, **more}))

    server.script = stating
    run = run_of(tmp_path, judged_by(server, kind="pointwise"))
    name = "judge:j:category_correct"
    (declared,) = run.rows(records.StoredMetric, run_id=run.run_id, measure=name)
    assert (declared.direction, declared.low, declared.high) == ("none", 0.0, 1.0)
    values = {
        model: run.rows(records.ModelScore, model_id=id_of(run, model), measure=name)[0]
        for model in ("base", "tuned")
    }
    assert (values["tuned"].value, values["tuned"].n) == (1.0, COUNT)
    assert values["base"].value == 0.0 and values["base"].missing == COUNT - values["base"].n > 0
    assert values["base"].reason == "the judge's answer does not state it"


def test_identical_answers_are_ties_without_a_call_counted_and_shown(
    server: JudgeServer, tmp_path: Path
) -> None:
    server.script = lambda body, number: prefers(
        "A" if "longer" in body["messages"][1]["content"].split("RESPONSE B")[0] else "B"
    )
    same = {f"e{place:02}": f"short {place}" for place in range(5)}
    given = {"base": answers("short"), "tuned": answers("much longer") | same}
    run = run_of(tmp_path, judged_by(server), **given)
    assert len(server.requests) == 2 * (COUNT - 5)
    (rate,) = run.rows(records.StoredWinRate)
    assert (rate.wins, rate.ties, rate.losses, rate.failed) == (COUNT - 5, 5, 0, 0)
    ties = run.rows(records.Verdict, outcome="tie")
    assert {(row.reason, row.consistent) for row in ties} == {("identical answers", None)}
    progress = [row for row in run.rows(records.Progress, run_id=run.run_id) if row.phase == "judge"]
    assert [(row.done, row.total) for row in progress] == [(2 * (COUNT - 5), 2 * (COUNT - 5))]
    connection = history.attach(connect(tmp_path / "store"))
    found = judging.judging(connection, run.run_id)
    said = [each.text for each in about_match(found, found.win_rates[0])]
    connection.close()
    assert "5 of 12 pairs are identical answers: ties without a call" in said
    assert any("both orders agree on 100%" in text and "of 7 pairs" in text for text in said)
    # FastChat knows games alone: its own arithmetic gives the same rate.
    connection = history.attach(connect(tmp_path / "store"))
    content = run_content(connection, run.run_id)
    connection.close()
    written = export_run("mt-bench", content, tmp_path / "out")
    (file,) = [path for path in written if path.name.endswith("_pair.jsonl")]
    games = [json.loads(line) for line in file.read_text().splitlines()]
    won = [(game["g1_winner"], game["g2_winner"]) for game in games]
    assert (won.count(("model_1", "model_1")), won.count(("tie", "tie"))) == (COUNT - 5, 5)
    # AlpacaEval takes the mean of preference - 1.
    written = export_run("alpaca-eval", content, tmp_path / "alpaca")
    (file,) = [path for path in written if path.name == "annotations.json"]
    preferences = [row["preference"] - 1 for row in json.loads(file.read_text())]
    assert sum(preferences) / COUNT == pytest.approx(rate.win_rate)


def test_a_plan_may_have_identical_answers_judged(server: JudgeServer, tmp_path: Path) -> None:
    given = {"base": answers("short"), "tuned": answers("short")}
    server.script = lambda body, number: prefers("tie")
    run = run_of(tmp_path, judged_by(server) + "\n[judging]\njudge_identical = true\n", **given)
    assert {row.consistent for row in run.rows(records.Verdict)} == {True} and server.requests


def test_the_cost_of_forgotten_answers_is_booked_with_their_deletion_or_not_at_all(
    server: JudgeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(self: Transaction, record: type, **equal: object) -> None:
        raise OSError("the disk is full")

    server.script = lambda body, number: says("As a language model, I enjoyed both.")
    judges = judged_by(server, concurrency=2) + '\n[judging]\nprices = "p.toml"\n'
    (tmp_path / "p.toml").write_text('[models]\n"m" = { input = 1, output = 1 }\n')
    plan = recorded_plan(tmp_path, examples(), {"base": answers("short"), "tuned": answers("long")}, judges)
    run_id = queue(tmp_path / "store", plan)
    with monkeypatch.context() as broken:
        broken.setattr(Transaction, "clear", cut)
        with pytest.raises(OSError, match="the disk is full"):
            carry_out(tmp_path / "store", run_id)
    recorder = Recorder(tmp_path / "store", run_id)
    assert recorder.rows(records.StoredJudgment)
    assert "forgotten_cost" not in (recorder.run().options or {})


@pytest.mark.parametrize("kind", ["pairwise", "pointwise"])
def test_a_judge_whose_first_answers_cannot_be_read_pauses_the_run_and_is_asked_again(
    server: JudgeServer, tmp_path: Path, kind: str
) -> None:
    server.script = lambda body, number: says("As a language model, I enjoyed both.")
    plan = recorded_plan(
        tmp_path, examples(), {"base": answers("short"), "tuned": answers("much longer")},
        '[metrics]\nuse = ["length"]\n' + judged_by(server, kind=kind, concurrency=2)
        + '\n[judging]\nprices = "p.toml"\n',
    )  # fmt: skip
    (tmp_path / "p.toml").write_text('[models]\n"m" = { input = 1, output = 1 }\n')
    run_id = queue(tmp_path / "store", plan)
    with pytest.raises(Paused, match="none of its first 20 answers could be read") as paused:
        carry_out(tmp_path / "store", run_id)
    assert "'As a language model, I enjoyed both.'" in str(paused.value)
    options = Recorder(tmp_path / "store", run_id).run().options or {}
    assert options["forgotten_cost"] == pytest.approx(20 * 3 * 110 / 1e6)
    server.script = graded if kind == "pointwise" else lambda body, number: prefers("A")
    run = carry_out(tmp_path / "store", run_id)
    stored = run.rows(records.StoredRating if kind == "pointwise" else records.StoredJudgment)
    assert len(stored) == 2 * COUNT and {row.failure for row in stored} == {None}


def test_a_baseline_may_be_the_accepted_candidate_of_an_earlier_run(
    server: JudgeServer, tmp_path: Path
) -> None:
    server.script = lambda body, number: prefers(
        "A" if "newer" in body["messages"][1]["content"].split("RESPONSE B")[0] else "B"
    )
    judge, store = judged_by(server), tmp_path / "store"
    first = run_of(tmp_path, judge)
    with opened(store) as connection:
        people.mark(connection, first.run_id, "accept", "tuned", "ann")
    plan = tmp_path / "plan.toml"
    items = [*examples(), {"id": "new", "query": "New?"}]
    items[0]["query"] = "Asked otherwise?"
    (tmp_path / "tuned.jsonl").write_text(
        "".join(json.dumps({"id": item["id"], "response": "newer"}) + "\n" for item in items)
    )
    (tmp_path / "examples.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    text = plan.read_text()
    plan.write_text(text.replace('outputs = "base.jsonl"', 'run = "accepted"'))
    run = carry_out(store, queue(store, plan))
    base = id_of(run, "base")
    (model,) = run.rows(records.StoredModel, id=base)
    assert ((model.details or {})["run"], (model.details or {})["model"]) == (first.run_id, "tuned")
    given = run.rows(records.StoredResponse, model_id=base)
    assert [row.text for row in given if row.text] == [f"much longer {place}" for place in range(1, COUNT)]
    assert {row.reason for row in given if row.text is None} == {
        f"run {first.run_id} asked something else under this id",
        f"run {first.run_id} has no answer to this example",
    }
    (rate,) = [row for row in run.rows(records.StoredWinRate) if row.baseline_id == base]
    assert (rate.wins, rate.failed) == (COUNT - 1, 2)


@pytest.mark.parametrize("named", ["last", "recorded"])
def test_a_baseline_named_after_its_own_run_is_that_of_the_run_before(tmp_path: Path, named: str) -> None:
    first, store = run_of(tmp_path, ""), tmp_path / "store"
    plan = tmp_path / "plan.toml"
    plan.write_text(plan.read_text().replace('outputs = "base.jsonl"', f'run = "{named}"'))
    run = carry_out(store, queue(store, plan))
    (model,) = run.rows(records.StoredModel, id=id_of(run, "base"))
    assert ((model.details or {})["run"], (model.details or {})["model"]) == (first.run_id, "tuned")
    given = run.rows(records.StoredResponse, model_id=model.id)
    assert [row.text for row in given] == list(answers("much longer").values())


def test_a_checkpoint_that_a_sweep_cut_is_no_candidate_of_an_earlier_run(tmp_path: Path) -> None:
    texts = {"base": answers("short"), "tuned": answers("longer"), "cut": answers("cut")}
    first, store = run_of(tmp_path, "", **texts), tmp_path / "store"
    details = {"sweep": {"kept": False, "measure": "perplexity"}}
    first.set_model(id_of(first, "cut"), details=details)
    plan = tmp_path / "plan.toml"
    text = plan.read_text().replace('outputs = "base.jsonl"', 'run = "last"')
    plan.write_text(text)
    run = carry_out(store, queue(store, plan))
    (model,) = run.rows(records.StoredModel, id=id_of(run, "base"))
    assert (model.details or {})["model"] == "tuned"
    plan.write_text(text.replace('run = "last"', f'run = "{first.run_id}"\nmodel = "cut"'))
    found = {row.subject: (row.level, row.message) for row in check(read_plan(plan), store)}
    assert found["model base"] == ("error", f"run {first.run_id} has no answers of a model 'cut'")


TOOL = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}


@pytest.mark.parametrize(
    "asked", [{"turns": ["Question 3?", "And then?"]}, {"tools": [TOOL]}, {"schema": {"type": "object"}}]
)
def test_a_recorded_answer_belongs_to_the_same_turns_tools_and_schema(
    tmp_path: Path, asked: dict[str, Any]
) -> None:
    items = examples()
    first, store = run_of(tmp_path, "", items), tmp_path / "store"
    plan = tmp_path / "plan.toml"
    plan.write_text(plan.read_text().replace('outputs = "base.jsonl"', 'run = "last"'))
    items[3] |= asked
    (tmp_path / "examples.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    run = carry_out(store, queue(store, plan))
    given = run.rows(records.StoredResponse, model_id=id_of(run, "base"))
    missing = [(row.example_id, row.reason) for row in given if row.text is None]
    assert [reason for _, reason in missing] == [f"run {first.run_id} asked something else under this id"]
    with opened(store) as connection:
        between = compare_runs(connection, first.run_id, run.run_id)
    assert between.shared == COUNT - 1


def test_an_answer_of_an_earlier_run_is_apart_from_its_trace_already(tmp_path: Path) -> None:
    """Taken off again, the tag that the answer speaks of would end a second trace."""
    said = "So end with </think> as usual."
    texts = dict.fromkeys(answers(""), f"<think>hm</think>{said}")
    run_of(tmp_path, "", base=answers("short"), tuned=texts)
    store, plan = tmp_path / "store", tmp_path / "plan.toml"
    plan.write_text(plan.read_text().replace('outputs = "base.jsonl"', 'run = "last"'))
    run = carry_out(store, queue(store, plan))
    given = run.rows(records.StoredResponse, model_id=id_of(run, "base"))
    assert {(row.text, row.thinking) for row in given} == {(said, "hm")}


def test_traces_that_an_earlier_run_kept_are_taken_off_now(tmp_path: Path) -> None:
    texts = dict.fromkeys(answers(""), "<think>hm</think>42")
    run_of(tmp_path, '[generation]\nreasoning = "keep"', base=answers("short"), tuned=texts)
    store, plan = tmp_path / "store", tmp_path / "plan.toml"
    text = plan.read_text().replace('outputs = "base.jsonl"', 'run = "last"')
    plan.write_text(text.replace('reasoning = "keep"', ""))
    run = carry_out(store, queue(store, plan))
    given = run.rows(records.StoredResponse, model_id=id_of(run, "base"))
    assert {(row.text, row.thinking) for row in given} == {("42", "hm")}


def test_a_plan_against_an_accepted_run_needs_one(tmp_path: Path) -> None:
    plan = recorded_plan(tmp_path, examples(), {"base": answers("short"), "tuned": answers("longer")}, "")
    text = plan.read_text().replace('outputs = "base.jsonl"', 'run = "accepted"')
    plan.write_text(text)
    database.prepare(tmp_path / "store")
    found = {row.subject: (row.level, row.message) for row in check(read_plan(plan), tmp_path / "store")}
    assert found["model base"] == ("error", f"no run of {read_plan(plan).name} is accepted yet")


def test_a_rater_asked_several_times_counts_with_the_mean_and_shows_its_own_noise(
    server: JudgeServer, tmp_path: Path
) -> None:
    def script(body: Json, number: int) -> Answer:
        scores = {"respect": 3, "fit": 1 + 2 * body["seed"]}  # 1, 3, 5
        if "Question 4?" in body["messages"][1]["content"] and body["seed"] == 1:
            return says("Hm.")
        return says(json.dumps({"reasoning": f"time {body['seed']}", "scores": scores, "score": 3}))

    server.script = script
    run = run_of(tmp_path, judged_by(server, kind="pointwise", rubric="tone", repeat=3))
    rows = run.rows(records.StoredRating, model_id=id_of(run, "tuned"))  # in the order of their ends
    rating = next(row for row in rows if None not in (row.repeats or ()))
    assert (rating.score, rating.repeats, rating.scores) == (3, [2, 3, 4], {"respect": 3, "fit": 3})
    assert (rating.tokens_in, rating.attempts) == (300, 3) and "time 2" in rating.reasoning
    (partly,) = [row for row in rows if None in (row.repeats or ())]
    assert (partly.score, partly.repeats, partly.failure) == (3, [2, None, 4], None)
    orders = {
        body["messages"][0]["content"].index("respect") < body["messages"][0]["content"].index("- fit")
        for body in server.requests
    }
    assert orders == {True, False}
    (noise,) = run.rows(records.Audit, measure="repeat_noise")
    # By hand: 22 answers of variance 1 with two degrees of freedom, 2 of variance 2 with one.
    assert (noise.value, noise.n) == (pytest.approx(((22 * 2 * 1 + 2 * 2) / 46) ** 0.5), 2 * COUNT)
    connection = history.attach(connect(tmp_path / "store"))
    found = judging.judging(connection, run.run_id)
    said = [each.text for each in about_judge(found, found.judges[0])]
    connection.close()
    assert said == ["asked 3 times about each answer: its own noise is an SD of 1.02 points over 24 answers, "
                    "0.59 in their means"]  # fmt: skip
