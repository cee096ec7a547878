from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.decision.answers import safe
from engine.decision.decision import (
    AnsweredQuestion,
    Decision,
    Topic,
    decide,
    decision_values,
    headline,
    verdicts,
)
from engine.decision.facts import cases, read, similar_scores
from store.read.rows import AlertRow
from store.read.slices import SliceScoreRow
from store.records import StoredMetric
from store.records.judging import HARM
from store.reviewing import acknowledge
from store.session import opened
from tests.tui.decided import GOOD, PLAN, alert, benchmark, compared, told

FELL = {"candidate_value": 0.2, "baseline_value": 0.9, "delta": -0.7, "n": 80}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One store for all these runs: each has a name of its own."""
    return tmp_path_factory.mktemp("decided")


def decided(folder: Path, *arguments: Any, **more: Any) -> Decision:
    run_id = told(folder, *arguments, **more)
    return again(folder, run_id)


def again(folder: Path, run_id: int) -> Decision:
    with opened(folder) as connection:
        return decide(connection, run_id)[0]


def answer(verdict: Decision, topic: Topic) -> AnsweredQuestion:
    found = verdict.answer(topic)
    assert found is not None
    return found


def test_better_than_base_and_prompt_with_nothing_forgotten_ships(store: Path) -> None:
    verdict = decided(store)
    assert verdict.word == "ship"
    assert verdict.reasons == (
        "better than base: 1 of 1 measure, exact_match 0.400 → 0.800",
        "nothing forgotten: 1 of 1 aspect kept, within the plan's limits",
        "beats prompting: a prompt alone gets 12.5% of the gain in exact_match",
    )


def test_cut_answers_are_said_of_the_model_that_gave_them(store: Path) -> None:
    found = {"value": 0.195, "n": 200, "baseline_share": 0.195}
    of_the_baseline = alert("warning", "cut_answers", evidence=found)
    verdict = decided(store, GOOD, (of_the_baseline,))
    assert "but 19.5% of 200 answers of base were cut off at the token limit" in verdict.reasons
    of_its_own = alert("warning", "cut_answers", evidence=found, baseline=None)
    verdict = decided(store, GOOD, (of_its_own,))
    assert "but 19.5% of 200 answers of tuned were cut off at the token limit" in verdict.reasons


def test_an_open_critical_alert_forbids_it_whatever_was_gained(store: Path) -> None:
    first = alert("critical", "benchmark_drop", measure="arithmetic · acc", evidence=FELL)
    second = alert("critical", "benchmark_drop", measure="copying · acc", evidence=FELL | {"delta": -0.1})
    nothing = {"max_difference": 0.0, "n": 4}
    other = alert("critical", "adapter_no_effect", "The adapter of tuned has no effect: …", evidence=nothing)
    verdict = decided(store, [*GOOD[:2], benchmark(-0.7)], (first, second, other), passed=False)
    assert verdict.word == "don't ship"
    assert verdict.reasons == (
        "the adapter has no effect: the logits change by at most 0.000 over 4 prompts",
        "forgot skills of base: arithmetic · acc 0.900 → 0.200, n 80, and 1 more",
        "although better than base: 1 of 1 measure, exact_match 0.400 → 0.800",
    )
    assert answer(verdict, "forgotten").standing == "bad"


def test_an_accepted_failure_names_who_accepted_it_and_never_ships(store: Path) -> None:
    critical = alert("critical", "benchmark_drop", measure="arithmetic · acc", evidence=FELL)
    run_id = told(store, GOOD, (critical,), passed=False)
    assert again(store, run_id).word == "don't ship"
    with opened(store) as connection:
        [row] = alerts_of(connection, run_id)
        acknowledge(connection, row.id, "ana", "arithmetic is not used")
        verdict = decide(connection, run_id)[0]
    assert verdict.word == "inconclusive"
    assert verdict.reasons[0].startswith("accepted by ana (“arithmetic is not used”): forgot skills of base")


def alerts_of(connection: Any, run_id: int) -> list[AlertRow]:
    from store.read.history import alerts

    return alerts(connection, run_id)


@pytest.mark.parametrize(("of", "on", "word"), [(9, 50, "inconclusive"), (9, 0, "ship"), (3, 50, "ship")])
def test_a_checkpoint_chosen_on_its_own_examples_is_not_settled(
    store: Path, of: int, on: int, word: str
) -> None:
    sweep = {"kept": True, "value": 1.2, "of": of, "keep": 3, "sample": 50, "measure": "perplexity"}
    verdict = decided(store, details={"sweep": sweep | {"on_examples": on}})
    assert verdict.word == word
    assert ("one of the best 3 of 9 checkpoints by perplexity on 50" in verdict.reasons[0]) == (
        word != "ship"
    )


def test_what_a_checkpoint_was_chosen_by_does_not_show_that_it_forgot_nothing(store: Path) -> None:
    """By a benchmark, or held to a corpus; another one that is kept settles it."""
    sweep = {"kept": True, "value": 0.9, "of": 9, "keep": 3, "sample": 50, "on_examples": 0}
    by_task = {"sweep": sweep | {"measure": "arithmetic"}}
    verdict = decided(store, details=by_task)
    assert verdict.word == "inconclusive"
    assert verdict.reasons[0] == (
        "what it forgot is unknown: not settled: it was chosen as one of the best 3 of 9 checkpoints by "
        "arithmetic, which favours it there; judge it by another corpus or benchmark"
    )
    corpus = benchmark(0.0, kind="corpus", measure="perplexity:general", direction="lower")
    verdict = decided(store, [*GOOD, corpus], details=by_task)
    assert verdict.word == "ship"
    assert "arithmetic · acc not settled: it was chosen" in answer(verdict, "forgotten").answer
    held = {"sweep": sweep | {"measure": "perplexity:general", "held_to": "arithmetic"}}
    assert decided(store, [*GOOD, corpus], details=held).word == "inconclusive"
    bits = {"sweep": sweep | {"measure": "bits_per_byte:general"}}
    assert decided(store, [*GOOD[:2], corpus], details=bits).word == "inconclusive"
    lost = decided(store, [*GOOD[:2], benchmark(-0.3)], details=by_task)
    assert answer(lost, "forgotten").standing == "bad"  # what favours it explains no drop


@pytest.mark.parametrize(
    ("chosen", "task", "is_settled"),
    [
        ("maths", "arithmetic", False),  # a task of the group
        ("arithmetic", "maths", False),  # the group's mean holds the task
        ("maths", "sums", False),  # a group in the group
        ("maths", "maths", False),
        ("maths", "copying", True),
        ("copying", "maths", True),
    ],
)
def test_what_chose_a_checkpoint_holds_the_tasks_of_a_group(
    store: Path, chosen: str, task: str, is_settled: bool
) -> None:
    groups = {"maths": ["arithmetic", "adding", "taking"], "sums": ["adding", "taking"]}
    sweep = {"kept": True, "value": 0.9, "of": 9, "keep": 3, "sample": 50, "on_examples": 0}
    details = {"sweep": sweep | {"measure": chosen}, "benchmark_groups": groups}
    rows = [*GOOD[:2], benchmark(0.0, measure=f"{task} · acc")]
    verdict = decided(store, rows, details=details)
    assert (verdict.word == "ship") == is_settled
    assert (answer(verdict, "forgotten").standing == "good") == is_settled


def test_a_gain_on_the_benchmark_that_chose_it_shows_nothing(store: Path) -> None:
    sweep = {"kept": True, "value": 0.9, "of": 9, "keep": 3, "sample": 50, "on_examples": 0}
    gain = benchmark(0.08, baseline_value=0.5)
    assert answer(decided(store, [gain]), "base").standing == "good"
    verdict = decided(store, [gain], details={"sweep": sweep | {"measure": "arithmetic"}})
    assert answer(verdict, "base").standing == "open"
    assert any("checkpoints by arithmetic" in reason for reason in verdict.reasons)


def test_a_failed_gate_without_its_alert_never_ships(store: Path) -> None:
    assert decided(store, passed=False).word == "don't ship"


def test_nothing_shown_better_is_not_settled_and_says_how_many_examples_would(store: Path) -> None:
    verdict = decided(store, [compared("exact_match", 0.01), benchmark(0.0)])
    assert verdict.word == "inconclusive"
    assert verdict.reasons[0] == (
        "better than base: not shown on the only measure; needs about 2,200 examples"
    )


def test_a_note_on_a_fall_that_may_be_chance_keeps_it_from_being_shipped(store: Path) -> None:
    found = FELL | {"needed": 900}
    note = alert("note", "benchmark_drop", "Not settled: …", measure="arithmetic · acc", evidence=found)
    verdict = decided(store, GOOD, (note,))
    assert verdict.word == "inconclusive"
    assert verdict.reasons[0] == (
        "arithmetic · acc 0.900 → 0.200 against base may be chance: needs about 900 examples"
    )
    [ground] = [reason.alert for reason in verdict.grounds if reason.alert]
    assert (ground.kind, ground.severity) == ("benchmark_drop", "note")
    assert verdict.reasons[-1].startswith("although better than base")


def test_an_older_alert_without_its_figures_is_told_by_its_whole_message(store: Path) -> None:
    message = "Not settled: tuned has forgotten … About 900 examples would settle a difference of this size."
    assert decided(store, GOOD, (alert("note", "benchmark_drop", message),)).reasons[0] == message
    failed = alert("critical", "format", "12.0% of them: too few. The plan asks for 90%.", evidence=None)
    assert decided(store, GOOD, (failed,), passed=False).reasons[0] == failed["message"]


def test_a_warning_within_the_limits_is_told_and_does_not_forbid(store: Path) -> None:
    small = {"candidate_value": 0.86, "baseline_value": 0.9, "delta": -0.04, "n": 80}
    warning = alert("warning", "metric_drop", measure="rougeL", evidence=small)
    verdict = decided(store, GOOD, (warning,))
    assert verdict.word == "ship"
    assert verdict.reasons[1] == "but fell behind base: rougeL 0.900 → 0.860, n 80"


def test_what_could_not_be_compared_is_not_settled(store: Path) -> None:
    gap = alert("warning", "benchmark_drop", "tuned could not be compared", evidence={"delta": None})
    assert decided(store, GOOD, (gap,)).word == "inconclusive"


@pytest.mark.parametrize(
    ("over_prompt", "width", "standing", "word", "said"),
    [
        (0.35, 0.02, "good", "ship", "a prompt alone gets 12.5% of the gain"),
        (0.04, 0.02, "bad", "inconclusive", "a prompt alone gets 90.0% of the gain"),
        (0.10, 0.06, "open", "inconclusive", "needs about 3,700 examples"),
        (-0.20, 0.02, "bad", "inconclusive", "a prompt alone gets 100% of the gain"),
    ],
)
def test_the_80_percent_rule(
    store: Path, over_prompt: float, width: float, standing: str, word: str, said: str
) -> None:
    against = compared("exact_match", over_prompt, width, baseline="prompted")
    verdict = decided(store, [GOOD[0], against, benchmark(0.0)])
    found = answer(verdict, "prompt")
    assert (found.standing, verdict.word) == (standing, word)
    assert said in found.answer


def test_the_rule_takes_the_mean_over_the_families_and_one_measure_of_each(store: Path) -> None:
    pairs = [("rougeL", 0.2), ("rouge1", 0.0), ("format_compliance", 0.0)]
    rows = [compared(name, 0.4) for name, _ in pairs]
    rows += [compared(name, left, baseline="prompted") for name, left in pairs]
    found = answer(decided(store, [*rows, benchmark(0.0)]), "prompt")
    assert "75.0% of the gain (mean of 2 measures)" in found.answer
    assert not any("rouge1" in line for line in found.evidence)


def test_without_a_prompted_baseline_the_rule_is_missing_and_not_met(store: Path) -> None:
    verdict = decided(store, baselines=("base",))
    found = answer(verdict, "prompt")
    assert found.standing == "missing" and "system" in found.answer
    assert verdict.word == "ship"
    assert verdict.reasons[-1] == "but whether a prompt does as well is not known: no baseline has a prompt"


def test_worse_than_the_prompt_where_nothing_was_gained_is_bad(store: Path) -> None:
    rows = [compared("exact_match", 0.0), compared("exact_match", -0.3, baseline="prompted")]
    found = answer(decided(store, rows), "prompt")
    assert (found.standing, found.answer) == ("bad", "no: worse than prompted on exact_match")


@pytest.mark.parametrize(
    ("row", "standing", "said"),
    [
        (benchmark(0.0, 0.01), "good", "nothing seen"),
        (benchmark(-0.02, 0.01), "bad", "arithmetic · acc 0.900 → 0.880"),
        (benchmark(0.0, 0.12), "open", "is possible on"),
        (
            benchmark(0.0) | dict.fromkeys(("delta", "low", "high", "p")) | {"reason": "other version"},
            "missing",
            "nothing could be compared",
        ),
        (None, "missing", "no benchmarks and no corpora"),
        (
            compared("perplexity:wiki", 3.0, 0.5, kind="corpus", direction="lower", baseline_value=20.0),
            "bad",
            "perplexity of wiki 20.00",
        ),
    ],
    ids=["kept", "fell", "few", "missing", "none", "corpus"],
)
def test_what_was_forgotten(store: Path, row: Any, standing: str, said: str) -> None:
    found = answer(decided(store, [*GOOD[:2], *([row] if row else [])]), "forgotten")
    assert found.standing == standing and said in found.answer


def test_without_measured_forgetting_nothing_ships_and_the_reason_says_what_to_add(store: Path) -> None:
    verdict = decided(store, GOOD[:2])
    assert verdict.word == "inconclusive"
    assert verdict.reasons[0] == (
        "what it forgot is unknown: not measured: the plan has no benchmarks and no corpora; "
        'add corpora = { general = "TEXTS" } to [metrics], or tasks to [benchmarks]'
    )


@pytest.mark.parametrize(
    ("run", "reason"),
    [
        ({"status": "running", "passed": None}, "the run is interrupted"),
        ({"status": "failed", "passed": None, "error": "out of disk"}, "the run failed: out of disk"),
        ({"passed": None, "options": {"imported": "mt-bench"}}, "imported from mt-bench"),
        ({"passed": None, "options": {"only": "judge"}}, "only the phase 'judge'"),
    ],
)
def test_a_run_without_a_verdict_is_not_settled_with_the_reason(
    store: Path, run: dict[str, Any], reason: str
) -> None:
    verdict = decided(store, **run)
    assert verdict.word == "inconclusive" and reason in verdict.reasons[0]


def test_with_everything_missing_nothing_is_good(store: Path) -> None:
    verdict = decided(store, [], baselines=(), data_summary=None)
    assert verdict.word == "inconclusive"
    assert {found.standing for found in verdict.answers} == {"missing"}


def test_many_leaked_examples_are_not_settled_unless_the_others_show_it_too(store: Path) -> None:
    leaked = {"selected": 200, "split": "all", "leaked": 60}
    verdict = decided(store, data_summary=leaked)
    assert verdict.word == "inconclusive" and "60 of 200 examples" in verdict.reasons[0]
    clean = {
        "baseline": "base", "measure": "exact_match", "slice": "not leaked", "direction": "higher",
        "candidate_value": 0.8, "baseline_value": 0.4, "delta": 0.4, "low": 0.3, "high": 0.5, "p": 0.001,
        "n": 140,
    }  # fmt: skip
    verdict = decided(store, data_summary=leaked, slices=(clean,))
    assert verdict.word == "ship"
    assert "better on the others too" in answer(verdict, "data").answer
    assert answer(verdict, "slices").standing == "missing"


@pytest.mark.parametrize(
    ("delta", "p", "word", "standing", "told"),
    [
        (0.4, 0.001, "ship", "good", "50 are synthetic, and without them the measures say the same"),
        (0.01, 0.5, "ship", "open", "without them exact_match is inconclusive, not better"),
        (-0.2, 0.001, "inconclusive", "bad", "without them exact_match is worse, not better"),
    ],
)
def test_a_gain_on_what_a_model_wrote_is_held_against_the_other_examples(
    store: Path, delta: float, p: float, word: str, standing: str, told: str
) -> None:
    real: dict[str, Any] = {
        "baseline": "base", "measure": "exact_match", "slice": "not synthetic", "direction": "higher",
        "candidate_value": 0.4 + delta, "baseline_value": 0.4, "delta": delta, "low": delta - 0.1,
        "high": delta + 0.1, "p": p, "n": 150,
    }  # fmt: skip
    summary = {"selected": 200, "split": "all", "leaked": 0, "synthetic": 50}
    verdict = decided(store, data_summary=summary, slices=(real,))
    found = answer(verdict, "data")
    assert (verdict.word, found.standing) == (word, standing) and told in found.answer
    assert any(told in reason for reason in verdict.reasons) == (standing != "good")
    assert f"exact_match 0.400 → {0.4 + delta:.3f} without 50 synthetic" in verdict.card


def test_a_set_that_a_model_wrote_alone_says_so(store: Path) -> None:
    summary = {"selected": 200, "split": "all", "leaked": 0, "synthetic": 200}
    verdict = decided(store, data_summary=summary)
    assert "but of the examples all are synthetic: no person asked any of this" in verdict.reasons
    assert "200 synthetic" in verdict.card


def test_a_set_that_was_never_held_against_training_is_not_called_clean(store: Path) -> None:
    found = answer(decided(store, data_summary={"selected": 200, "leaked": None}), "data")
    assert found.standing == "missing" and "changes of 7.0% or more" in found.answer


def test_lost_slices_are_named_the_surest_first(store: Path) -> None:
    rows = tuple(
        {
            "baseline": "base", "measure": "exact_match", "slice": name, "direction": "higher", "p": p,
            "candidate_value": 0.1, "baseline_value": 0.4, "delta": -0.3, "low": -0.4, "high": -0.2, "n": 20,
        }
        for name, p in (("long", 0.01), ("billing", 0.001), ("short", 0.4))
    )  # fmt: skip
    found = answer(decided(store, slices=rows), "slices")
    assert (found.standing, found.answer) == ("bad", "2 of 3 slices: billing, long")


def test_a_judge_alone_ships_only_when_it_can_be_believed(store: Path) -> None:
    rows = [benchmark(0.0)]
    rate = {"win_rate": 0.78, "low": 0.72, "high": 0.83}
    verdict = decided(store, rows, win_rate=rate, baselines=("base",))
    assert verdict.word == "ship" and "wins 78.0% (judge gpt)" in verdict.reasons[0]
    verdict = decided(store, rows, win_rate=rate | {"position_bias": 0.9}, baselines=("base",))
    assert verdict.word == "inconclusive" and "only by a judge" in verdict.reasons[0]
    assert answer(verdict, "judge").standing == "bad"


@pytest.mark.parametrize(
    ("rate", "standing", "told"),
    [
        ((0.75, 0.68, 0.81), "good", "without them it wins 75% [68, 81] (judge gpt, 150)"),
        ((0.52, 0.44, 0.60), "open", "without them it wins 52% [44, 60] (judge gpt, 150)"),
        ((0.30, 0.23, 0.38), "bad", "without them it wins 30% [23, 38] (judge gpt, 150)"),
    ],
)
def test_what_judges_alone_say_is_held_against_the_other_examples(
    store: Path, rate: tuple[float, float, float], standing: str, told: str
) -> None:
    value, low, high = rate
    real = {"measure": "win_rate_without_synthetic", "subject": "tuned against base", "n": 150}
    verdict = decided(
        store, [benchmark(0.0)], win_rate={"win_rate": 0.78, "low": 0.72, "high": 0.83}, baselines=("base",),
        audits=(real | {"value": value, "low": low, "high": high},),
        data_summary={"selected": 200, "split": "all", "leaked": 0, "synthetic": 50},
    )  # fmt: skip
    found = answer(verdict, "data")
    assert found.standing == standing and told in found.answer
    assert any(told in reason for reason in verdict.reasons) == (standing != "good")


def test_an_adapter_is_held_against_a_full_fine_tune_of_its_base(store: Path) -> None:
    adapter = {"adapter": {"trainable_share": 0.012, "bytes": 1_000, "parameters": 12}}
    scores = (("tuned", "exact_match", 0.776), ("full", "exact_match", 0.8))
    found = answer(decided(store, details=adapter, full={"path": "full"}, scores=scores), "full")
    assert found.standing == "good"
    assert found.answer == "97.0% of the quality of full with 1.200% of the parameters"
    other = {"path": "full", "parameters": 7_000}
    found = answer(decided(store, details=adapter, full=other, scores=scores), "full")
    assert found.standing == "missing"


def test_cost_stands_beside_the_bases(store: Path) -> None:
    scores = (("base", "tokens_per_second", 100.0), ("tuned", "tokens_per_second", 60.0))
    found = answer(decided(store, scores=scores), "cost")
    said = "60.00 tokens/s, base 100.0; one measurement each, so no verdict"
    assert (found.standing, found.answer) == ("neutral", said)


def test_changes_are_told_against_the_finished_run_of_that_name_before(store: Path) -> None:
    def trained(rate: float, epochs: int) -> dict[str, Any]:
        return {
            "training": {"file": "a.yaml", "sha256": "0", "values": {"learning_rate": rate, "epochs": epochs}}
        }

    scores = (("tuned", "exact_match", 0.7),)
    first = told(store, name="tickets", details=trained(2e-4, 3), scores=scores)
    told(store, name="another", details=trained(5e-4, 9))
    told(store, name="tickets", status="failed", passed=None, details=trained(5e-4, 9))
    after = (("tuned", "exact_match", 0.8),)
    run_id = told(store, name="tickets", details=trained(1e-4, 3), scores=after, fingerprint="u")
    found = answer(again(store, run_id), "changed")
    assert (found.question, found.answer) == (f"Changed since run {first}?", "lr 2e-4 → 1e-4")
    assert "exact_match 0.700 → 0.800" in found.evidence and "different weights" in found.evidence
    assert again(store, first).answer("changed") is None


def test_the_first_run_of_a_name_has_nothing_to_be_told_against(store: Path) -> None:
    assert decided(store).answer("changed") is None


def test_values_for_programs_hold_every_answer(store: Path) -> None:
    [values] = decision_values([decided(store, plan=PLAN)])
    assert values["candidate"] == "tuned" and values["word"] == "ship" and len(values["reasons"]) == 3
    assert [found["topic"] for found in values["answers"]] == [
        "base", "prompt", "forgotten", "slices", "cost", "full", "data", "judge"
    ]  # fmt: skip
    assert all(set(found) >= {"question", "answer", "standing", "evidence"} for found in values["answers"])


def test_the_demo_store_tells_three_candidates_apart(store_folder: Path) -> None:
    with opened(store_folder) as connection:
        words = {verdict.candidate: verdict.word for verdict in decide(connection, 2)}
        [first] = decide(connection, 1)
    assert first.word == "inconclusive" and first.reasons[0].startswith("what it forgot is unknown")
    assert words == {"good": "inconclusive", "overfit": "don't ship", "no-effect": "don't ship"}


def test_a_score_that_is_better_on_what_training_resembles_says_so() -> None:
    def row(name: str, value: float, p: float | None) -> SliceScoreRow:
        return SliceScoreRow(
            model="tuned", measure="exact_match", slice=name, value=value, n=50, missing=0, p=p
        )

    values = {"direction": "higher", "low": 0.0, "high": 1.0, "unit": "", "version": "1", "source": ""}
    metric = StoredMetric(run_id=1, position=0, measure="exact_match", meaning="", settings=None, **values)
    for p, standing in ((0.01, "better"), (0.4, "inconclusive"), (None, "not tested")):
        rows = [row("similar to training", 0.9, p), row("unlike training", 0.5, 0.01)]
        [found] = similar_scores(rows, "tuned", ["exact_match", "rougeL"], [metric])
        assert found.said == (
            f"exact_match 0.900 on 50 like a training question, 0.500 on the rest: {standing}"
        )


def test_several_candidates_are_summed_up_and_the_best_named_where_a_gain_is_known() -> None:
    words = {"a": ("ship", 0.9), "b": ("ship", 0.6), "c": ("inconclusive", None), "d": ("don't ship", 1.0)}
    decided = [Decision(name, word, (), (), gain) for name, (word, gain) in words.items()]  # type: ignore[arg-type]
    assert headline(decided) == "2 ship · 1 inconclusive · 1 don't; best: a"
    assert headline([decided[0], decided[0]]) == "2 ship"  # equals: none is the best
    assert headline(decided[2:]) == "1 inconclusive · 1 don't"
    assert headline(decided[:1]) == ""
    assert headline([decided[3], decided[3]]) == "2 don't"


def test_of_two_candidates_the_one_that_may_be_shipped_stands_first(store: Path) -> None:
    run_id = told(store, full={"parameters": 2_000})
    with opened(store) as connection:
        found = decide(connection, run_id)
    assert [verdict.candidate for verdict in found] == ["tuned", "full"]
    assert [verdict.word for verdict in found] == ["ship", "inconclusive"]


def test_candidates_are_ordered_by_what_is_known_of_all(store: Path) -> None:
    """A win rate of one is not held against the improvement of another."""
    run_id = told(store, full={"parameters": 2_000})
    with opened(store) as connection:
        found = cases(read(connection, run_id))
        assert all(verdict.gain is None for verdict in verdicts(found, None)), "nothing is known of full"
        assert verdicts(found[:1], None)[0].gain == pytest.approx(0.4)


def refusing(measure: str, before: float, after: float, **more: Any) -> Any:
    direction = "higher" if measure == "refused_harmful" else "lower"
    values = {"candidate_value": after, "baseline_value": before, "direction": direction}
    return compared(measure, after - before, **values, **more)


def test_over_refusal_stands_beside_under_refusal(store: Path) -> None:
    both = [refusing("refused_harmful", 0.97, 0.61), refusing("refused_harmless", 0.03, 0.04, width=0.05)]
    verdict = decided(store, [*GOOD, *both])
    found = answer(verdict, "safety")
    assert (found.standing, found.lead) == ("bad", "no, became less safe")
    assert "refuses 97.0% → 61.0% of harmful (worse, p " in found.said
    assert "refuses 3.0% → 4.0% of harmless (" in found.said
    too_much = decided(store, [*GOOD, refusing("refused_harmless", 0.03, 0.4)])
    assert answer(too_much, "safety").answer.startswith(
        "no, refuses too much: refusals of harmful are not known; refuses 3.0% → 40.0% of harmless"
    )


def test_what_was_not_tested_is_not_shown_to_be_as_safe(store: Path) -> None:
    alone = refusing("refused_harmless", 0.0, 0.0) | {"standing": "not tested", "low": None, "high": None}
    kept = refusing("refused_harmful", 0.97, 0.97) | {"standing": "no worse"}
    found = answer(decided(store, [*GOOD, kept, alone]), "safety")
    assert (found.standing, found.lead) == ("open", "not shown")


def test_harm_that_a_judge_sees_counts_beside_refusals_by_wording(store: Path) -> None:
    """Unlike a judge of anything else, and unlike a single grade of it."""
    kept = [refusing("refused_harmful", 0.97, 0.97), refusing("refused_harmless", 0.03, 0.03)]
    graded = [refusing(f"judge:{name}", 0.1, 0.4) for name in ("harm", "harm:specific", "other")]
    run_id = told(store, [*GOOD, *kept, *graded])
    with opened(store) as connection:
        [case] = cases(read(connection, run_id))
    values = {"direction": "lower", "unit": "", "version": "1", "source": HARM, "meaning": ""}
    judge = [
        StoredMetric(run_id=run_id, measure=name, position=0, settings=None, **values)
        for name in ("judge:harm", "judge:harm:specific")
    ]
    found = safe(replace(case, facts=replace(case.facts, metrics=judge)))
    assert found is not None and (found.standing, found.lead) == ("bad", "no, became less safe")
    assert found.said.count("judge:") == 1 and "judge:harm 0.100 → 0.400 (worse, p " in found.said
    rest = [row for row in case.facts.comparisons if not row.measure.startswith("judge:")]
    found = safe(replace(case, facts=replace(case.facts, metrics=judge, comparisons=rest)))
    assert found is not None and found.standing == "open" and found.said.endswith("judge:harm is not known")


def test_without_labelled_questions_nothing_is_asked_about_safety(store: Path) -> None:
    assert decided(store).answer("safety") is None
    unknown = refusing("refused_harmful", 0.97, 0.61) | {"standing": "missing", "delta": None}
    assert decided(store, [*GOOD, unknown]).answer("safety") is None


def test_a_loss_of_safety_is_told_with_both_shares(store: Path) -> None:
    fell = {"candidate_value": 0.61, "baseline_value": 0.97, "delta": -0.36, "p_corrected": 0.0001, "n": 100}
    lost = alert("critical", "less_safe", measure="refused_harmful", evidence=fell)
    verdict = decided(store, GOOD, (lost,), passed=False)
    said = "became less safe than base: refuses 97.0% → 61.0% of harmful, p <0.001"
    assert verdict.reasons[0] == said and verdict.advice.startswith("Mix some hundred safety examples")
