"""Gates: what trips them, how severe it is, and what the alert tells the person who decides."""

import json
import math
from dataclasses import asdict, replace
from statistics import NormalDist

import numpy as np
import pytest

from engine.compare.comparison import Comparison, Kind, compare_parts, from_paired, not_comparable
from engine.gates.checks import (
    AdapterEffect,
    ComplianceRate,
    Leaked,
    all_passed,
    format_alerts,
    leakage_alerts,
    passed,
    probe_alerts,
    unmeasured_alerts,
)
from engine.gates.judges import (
    JudgeConsistency,
    MatchVerdicts,
    inconsistency_alerts,
    judge_failure_alerts,
    win_rate_alerts,
)
from engine.gates.measures import drop_alerts, evaluated, ruled
from engine.metrics.efficiency import Efficiency, Length
from engine.metrics.exact import ExactMatch
from engine.metrics.metric import Measure
from engine.metrics.overlap import Rouge
from engine.metrics.perplexity import BITS_PER_BYTE, PERPLEXITY
from engine.metrics.refusals import Refusals
from engine.metrics.suites import suite_measures
from engine.plan.plan import Gates
from engine.stats.paired import from_stderr
from engine.stats.winrate import win_rate
from store.records.alert import Alert

GATES = Gates()
ROUGE1 = Rouge().measures[0]
ALL = {
    measure.name: measure
    for measure in (
        *Rouge().measures,
        *ExactMatch.measures,
        *Length.measures,
        *Efficiency.measures,
        PERPLEXITY,
        BITS_PER_BYTE,
    )
}
ARITHMETIC = Measure(
    "arithmetic/acc", "higher", 0.0, 1.0, "share", frozenset(), "1", "local task", "sums answered right"
)


def parts(values: list[float]) -> dict[str, tuple[float, float]]:
    return {f"e{place:03}": (value, 1.0) for place, value in enumerate(values)}


def shares(right: int, n: int = 200) -> dict[str, tuple[float, float]]:
    return parts([1.0] * right + [0.0] * (n - right))


def fallen(
    right: int,
    before: int,
    n: int = 200,
    measure: Measure = ROUGE1,
    kind: Kind = "metric",
    candidate: str = "lora",
) -> Comparison:
    return compare_parts(candidate, "base", measure, shares(right, n), shares(before, n), kind)


def metric_alerts(comparisons: list[Comparison], gates: Gates, measures: dict[str, Measure]) -> list[Alert]:
    return drop_alerts(*ruled(comparisons, [], gates, measures), gates, measures)


def benchmark_alerts(comparisons: list[Comparison], gates: Gates) -> list[Alert]:
    return drop_alerts(*ruled([], comparisons, gates, {}), gates, {})


def only(alerts: list[Alert]) -> Alert:
    [alert] = alerts
    return alert


def test_an_overfitted_adapter_fails_by_its_benchmarks_and_a_good_one_passes() -> None:
    comparisons = [
        fallen(30, 180, measure=ARITHMETIC, kind="benchmark", candidate="overfitted"),
        fallen(179, 180, measure=ARITHMETIC, kind="benchmark", candidate="good"),
    ]
    alerts = benchmark_alerts(comparisons, GATES)
    alert = only(alerts)
    assert (alert.severity, alert.kind, alert.candidate) == ("critical", "benchmark_drop", "overfitted")
    assert passed(alerts, "good")
    assert not passed(alerts, "overfitted")


def test_the_message_tells_measure_values_interval_n_and_limit() -> None:
    alert = only(metric_alerts([fallen(100, 140)], GATES, ALL))
    assert alert.message.startswith(
        "lora falls behind base on rouge1: 0.500 against 0.700, a drop of 0.200 ("
    )
    for said in (
        "difference -0.200, 95% CI -0.2",
        "n = 200, p < 0.001",
        "The plan allows at most 0.05.",
    ):
        assert said in alert.message
    assert alert.evidence.delta == pytest.approx(-0.2)
    assert len(alert.evidence.example_ids) == 20
    json.dumps(asdict(alert.evidence), allow_nan=False)


def test_a_corrected_interval_holds_no_difference_that_cannot_be() -> None:
    others = [fallen(150, 150, measure=replace(ARITHMETIC, name=f"other {place}")) for place in range(30)]
    alert = only(benchmark_alerts([fallen(4, 198, measure=ARITHMETIC, kind="benchmark"), *others], GATES))
    assert "95% CI -1.000 to -0.9" in alert.message


def test_where_nobody_knows_n_it_is_not_called_0() -> None:
    def imported(value: float) -> Comparison:
        paired = from_stderr(value, 0.0144, 0.41, 0.0144, None)
        return from_paired("lora", "base", "arc · acc", "higher", "benchmark", paired)

    settled = only(benchmark_alerts([imported(0.35)], GATES))
    assert settled.severity == "critical"
    assert "an unknown n, p = 0.003" in settled.message
    open_still = only(benchmark_alerts([imported(0.375)], GATES))
    assert open_still.severity == "note"
    assert open_still.message.startswith("Inconclusive: needs more examples. ")
    assert "n = 0" not in settled.message + open_still.message


@pytest.mark.parametrize(
    ("drop", "severity"), [(200, "critical"), (51, "critical"), (50, "warning"), (31, "warning")]
)
def test_critical_is_tested_before_warning_and_a_limit_itself_is_allowed(drop: int, severity: str) -> None:
    alert = only(metric_alerts([fallen(800 - drop, 800, n=1000)], GATES, ALL))
    assert alert.severity == severity


@pytest.mark.parametrize("right", [770, 800, 900])
def test_small_falls_and_gains_raise_nothing(right: int) -> None:
    assert metric_alerts([fallen(right, 800, n=1000)], GATES, ALL) == []


def test_a_fall_that_may_be_chance_is_a_note_with_the_examples_it_needs() -> None:
    candidate = parts([1.0, 0.0] * 10 + [0.0])
    baseline = parts([0.0, 1.0] * 10 + [1.0])
    comparison = compare_parts("lora", "base", ROUGE1, candidate, baseline)
    alerts = metric_alerts([replace(comparison, delta=-0.2)], GATES, ALL)
    alert = only(alerts)
    assert alert.severity == "note"
    needed = alert.evidence.needed
    exact = 21 * ((comparison.smallest_detectable or 0) / 0.2) ** 2
    assert exact <= needed <= 1.1 * exact
    assert alert.message.startswith(
        f"Inconclusive: needs about {needed} examples. rouge1 of lora is 0.476 against 0.524 of base, "
        "a drop of 0.200 that n = 21 cannot tell from noise"
    )
    assert passed(alerts, "lora")


def test_looking_at_many_measures_raises_the_bar_for_each() -> None:
    alone = replace(fallen(100, 140), p=0.03, low=-0.3, high=-0.01)
    assert only(metric_alerts([alone], GATES, ALL)).severity == "critical"
    others = [replace(fallen(100, 100, measure=ROUGE1), measure=name) for name in ("rouge2", "rougeL")]
    alert = only(metric_alerts([alone, *others], GATES, ALL))
    assert alert.severity == "note"
    assert "p = 0.090, both corrected for 3 comparisons" in alert.message
    # The interval is held to the same level as its p: 1 - 0.05 / 3.
    widened = 0.1 * NormalDist().inv_cdf(1 - 0.05 / 6) / NormalDist().inv_cdf(0.975)
    assert alert.evidence.low_corrected == pytest.approx(-0.2 - widened)
    assert alert.evidence.high_corrected > 0 > alert.evidence.high
    elsewhere = [replace(other, candidate="another") for other in others]
    assert only(metric_alerts([alone, *elsewhere], GATES, ALL)).severity == "critical"


def test_a_fall_without_an_interval_is_a_warning_that_says_so() -> None:
    alert = only(metric_alerts([fallen(0, 1, n=1)], GATES, ALL))
    assert alert.severity == "warning"
    assert "No interval could be computed" in alert.message


def drifted(name: str, candidate: float, baseline: float) -> list[Alert]:
    rng = np.random.default_rng(0)
    ours, theirs = (parts(list(rng.normal(mean, mean / 10, 50))) for mean in (candidate, baseline))
    return metric_alerts([compare_parts("lora", "base", ALL[name], ours, theirs)], GATES, ALL)


@pytest.mark.parametrize(("candidate", "said"), [(120, "a rise of 1"), (20, "a drop of 6")])
def test_answers_that_became_much_longer_or_shorter_are_a_warning(candidate: float, said: str) -> None:
    alert = only(drifted("response_tokens", candidate, 60))
    assert (alert.severity, alert.kind) == ("warning", "length_drift")
    assert said in alert.message
    assert "The plan warns above 50%." in alert.message


def test_slower_answers_are_a_note_since_times_have_no_interval() -> None:
    alert = only(drifted("latency_s", 9, 1))
    assert (alert.severity, alert.kind) == ("note", "latency_drift")
    assert "it may be chance. The plan warns above 50%." in alert.message
    assert drifted("latency_s", 1, 9) == []


@pytest.mark.parametrize("name", ["response_words", "response_tokens", "latency_s"])
def test_small_drifts_of_length_and_time_raise_nothing(name: str) -> None:
    assert drifted(name, 1.3, 1) == [] == drifted(name, 1, 1.3)
    assert drifted("tokens_per_second", 1, 9) == []


def test_every_baseline_is_held_against_the_candidate() -> None:
    against_both = [fallen(100, 140), replace(fallen(100, 140), baseline="prompted")]
    assert {alert.baseline for alert in metric_alerts(against_both, GATES, ALL)} == {"base", "prompted"}


def nll(per_token: float) -> dict[str, tuple[float, float]]:
    rng = np.random.default_rng(1)
    return {f"e{i}": (per_token * 20 + float(rng.normal(0, 0.5)), 20.0) for i in range(100)}


def test_a_rise_in_perplexity_is_relative_and_critical() -> None:
    risen = compare_parts("lora", "base", PERPLEXITY, nll(2.2), nll(2.0))
    alert = only(metric_alerts([risen], GATES, ALL))
    assert (alert.severity, alert.kind) == ("critical", "perplexity_rise")
    assert "a rise of 22.1%" in alert.message
    assert "The plan allows at most 10%." in alert.message
    small = compare_parts("lora", "base", PERPLEXITY, nll(2.05), nll(2.0))
    assert metric_alerts([small], GATES, ALL) == []


def test_bits_per_byte_stand_in_where_perplexities_do_not_compare() -> None:
    perplexity = not_comparable("lora", "base", "perplexity", "lower", "metric", "other tokenizers", 9.0, 4.0)
    bits = compare_parts("lora", "base", BITS_PER_BYTE, nll(2.4), nll(2.0))
    for order in ([perplexity, bits], [bits, perplexity]):
        assert only(metric_alerts(order, GATES, ALL)).measure == "bits_per_byte"
    comparable = compare_parts("lora", "base", PERPLEXITY, nll(2.4), nll(2.0))
    for order in ([comparable, bits], [bits, comparable]):
        assert only(metric_alerts(order, GATES, ALL)).measure == "perplexity"


def test_a_value_that_one_side_lacks_is_a_warning_not_a_pass() -> None:
    lost = compare_parts("lora", "base", ROUGE1, {}, shares(5, 10))
    alert = only(metric_alerts([lost], GATES, ALL))
    assert alert.severity == "warning"
    assert "on rouge1: no value for lora (lora has no value, base has 0.500)" in alert.message
    assert metric_alerts([compare_parts("lora", "base", ROUGE1, {}, {})], GATES, ALL) == []


def test_a_candidate_that_no_gate_could_look_at_has_neither_passed_nor_failed() -> None:
    lost = compare_parts("lora", "base", ROUGE1, {}, {})
    longer = compare_parts("drifted", "base", Length.measures[0], shares(1, 9), shares(5, 5))
    looked_at = evaluated([lost, longer, fallen(5, 5, candidate="good")], [], GATES, ALL)
    assert looked_at == {"good"}
    alert = only(unmeasured_alerts(["lora", "good"], looked_at))
    assert alert.candidate == "lora" and "Not evaluated" in alert.message
    assert passed([alert], "lora") is None and passed([alert], "good") is True
    failed = replace(alert, severity="critical")
    assert passed([alert, failed], "lora") is False


def test_a_run_has_passed_only_where_every_candidate_was_evaluated() -> None:
    assert [all_passed(each) for each in ([True, True], [True, None], [None, False], [])] == [
        *(True, None, False, None)
    ]


def test_a_benchmark_that_does_not_compare_is_a_warning_with_the_reason() -> None:
    other = not_comparable(
        "lora", "base", "mmlu/acc", "higher", "benchmark", "other task versions: 1 and 2", 0.5, 0.9
    )
    alert = only(benchmark_alerts([other], GATES))
    assert alert.severity == "warning"
    assert "other task versions: 1 and 2" in alert.message


def test_benchmarks_beyond_0_to_1_fall_relative_to_the_baseline() -> None:
    comparison = replace(
        fallen(100, 140, measure=ARITHMETIC, kind="benchmark"),
        candidate_value=40.0, baseline_value=41.0, delta=-1.0, low=-1.5, high=-0.5,
    )  # fmt: skip
    assert benchmark_alerts([comparison], GATES) == []
    halved = replace(comparison, candidate_value=20.5, delta=-20.5, low=-22.0, high=-19.0)
    alert = only(benchmark_alerts([halved], GATES))
    assert "a drop of 50%" in alert.message


def verdicts(wins: int, losses: int, ties: int = 0, failed: int = 0) -> MatchVerdicts:
    outcomes = ["win"] * wins + ["loss"] * losses + ["tie"] * ties + ["failed"] * failed
    return MatchVerdicts("gpt", "lora", "base", win_rate(outcomes))


WIN_GATE = Gates(min_win_rate=0.55)


def test_a_win_rate_under_the_minimum_is_critical() -> None:
    alert = only(win_rate_alerts([verdicts(60, 120, 20)], WIN_GATE, ["lora"]))
    assert alert.severity == "critical"
    assert alert.message.startswith("lora against base, judged by gpt: win rate 35.0% (95% CI ")
    assert "60 wins, 120 losses, 20 ties, 0 failed), below the 55.0% that the plan requires." in alert.message
    assert alert.evidence.judge == "gpt"


def test_a_win_rate_close_to_the_minimum_says_that_more_examples_may_turn_it() -> None:
    under = only(win_rate_alerts([verdicts(54, 46)], WIN_GATE, ["lora"]))
    assert under.severity == "critical"
    assert "more examples may show that it is met" in under.message
    over = only(win_rate_alerts([verdicts(57, 43)], WIN_GATE, ["lora"]))
    assert over.severity == "note"
    assert win_rate_alerts([verdicts(90, 10)], WIN_GATE, ["lora"]) == []


def test_a_missing_win_rate_never_passes() -> None:
    failed = only(win_rate_alerts([verdicts(0, 0, failed=9)], WIN_GATE, ["lora"]))
    assert failed.severity == "critical"
    assert (
        "could not be computed: no judgment succeeded (0 wins, 0 losses, 0 ties, 9 failed)" in failed.message
    )
    unjudged = only(win_rate_alerts([], WIN_GATE, ["lora"]))
    assert unjudged.severity == "critical"
    assert "nothing was judged" in unjudged.message


def test_without_a_minimum_a_win_rate_under_55_percent_is_a_warning_where_it_is_settled() -> None:
    assert only(win_rate_alerts([verdicts(10, 50)], GATES, ["lora"])).severity == "warning"
    unsettled = only(win_rate_alerts([verdicts(26, 24)], GATES, ["lora"]))
    assert unsettled.severity == "note"
    assert unsettled.message.startswith("Inconclusive: needs about ")
    assert unsettled.evidence.needed > 50
    for nothing in (verdicts(60, 40), verdicts(0, 0)):
        assert win_rate_alerts([nothing], GATES, ["lora"]) == []
    assert win_rate_alerts([verdicts(0, 50)], Gates(warn_win_rate=None), ["lora"]) == []


def test_the_embedded_rule_is_called_one() -> None:
    rule = replace(verdicts(10, 50), judge="reference", is_language_model=False, losses=("e1", "e2"))
    alert = only(win_rate_alerts([rule], GATES, ["lora"]))
    assert "judged by reference (a rule, not a language model)" in alert.message
    assert alert.evidence.example_ids == ("e1", "e2")


def test_a_judge_that_contradicts_itself_too_often_is_told() -> None:
    shaky = JudgeConsistency("gpt", "lora", "base", 0.5, 0.4, 0.6, 100, ("e7",))
    alert = only(inconsistency_alerts([shaky], GATES))
    assert (alert.severity, alert.measure) == ("warning", "consistency")
    assert "contradicts itself in 50.0% of its verdicts" in alert.message
    assert alert.evidence.example_ids == ("e7",)
    unsure = replace(shaky, value=0.65, low=0.55, high=0.74)
    assert only(inconsistency_alerts([unsure], GATES)).message.startswith("Inconclusive: needs about ")
    assert inconsistency_alerts([replace(shaky, value=0.75)], GATES) == []


def refused(name: str, candidate: int, baseline: int) -> list[Alert]:
    measures = {measure.name: measure for measure in (*Refusals.measures, *suite_measures())}
    return metric_alerts([fallen(candidate, baseline, measure=measures[name])], GATES, measures)


def test_more_refusals_warn_and_wrongly_refused_prompts_fail() -> None:
    assert only(refused("refusal", 40, 4)).severity == "warning"
    assert refused("refusal", 4, 40) == []
    harmless = only(refused("refused_harmless", 40, 4))
    assert (harmless.severity, harmless.kind) == ("critical", "refusal_drift")
    harmful = only(refused("refused_harmful", 100, 180))
    assert (harmful.severity, harmful.kind) == ("critical", "less_safe")


def test_in_suites_whose_questions_are_all_labelled_only_refusals_by_label_are_checked() -> None:
    assert refused("suite:refusal", 40, 4) == [] and refused("suite:refused_harmful", 180, 100) == []
    harmless = only(refused("suite:refused_harmless", 40, 4))
    assert (harmless.severity, harmless.kind) == ("critical", "refusal_drift")


def test_each_direction_of_refusals_has_its_own_limit() -> None:
    gates = Gates.model_validate({"max_harmful_compliance_rise": 0.01, "max_over_refusal_rise": 0.5})
    measures = {measure.name: measure for measure in Refusals.measures}

    def raised(name: str, candidate: int, baseline: int) -> Alert:
        return only(metric_alerts([fallen(candidate, baseline, measure=measures[name])], gates, measures))

    assert raised("refused_harmful", 172, 180).severity == "critical"  # of 200: four points
    assert only(refused("refused_harmful", 172, 180)).severity == "warning"
    assert raised("refused_harmless", 40, 4).severity == "warning"


def test_a_measure_has_a_limit_of_its_own_relative_to_the_baseline() -> None:
    small = fallen(950, 980, n=1000)
    assert metric_alerts([small], GATES, ALL) == []
    gates = Gates.model_validate({"metrics": {"rouge1": 0.02}})
    alert = only(metric_alerts([small], gates, ALL))
    assert (alert.severity, alert.kind) == ("critical", "metric_drop")
    assert "a drop of 3.06%" in alert.message and "The plan allows at most 2%." in alert.message
    softer = Gates.model_validate({"metrics": {"rouge1": {"max": 0.05, "warn": 0.02}}})
    assert only(metric_alerts([small], softer, ALL)).severity == "warning"


def test_a_limit_on_a_measure_that_was_not_measured_is_not_met() -> None:
    gates = Gates.model_validate({"metrics": {"bleu": 0.02}})
    alert = only(metric_alerts([fallen(5, 5)], gates, ALL))
    assert (alert.severity, alert.measure) == ("critical", "bleu")


def test_scores_on_another_scale_fall_by_shares_of_its_width() -> None:
    points = Measure("judge:gpt", "higher", 1.0, 10.0, "points", frozenset(), "1", "", "")
    rng = np.random.default_rng(3)
    before = rng.uniform(5, 9, 200)
    for loss, severity in ((0.6, "critical"), (0.4, "warning")):
        after = before - loss + rng.normal(0, 0.1, 200)
        comparison = compare_parts("lora", "base", points, parts(list(after)), parts(list(before)))
        alert = only(metric_alerts([comparison], GATES, {"judge:gpt": points}))
        assert alert.severity == severity


def test_failed_judgments_beyond_the_limit_alert() -> None:
    alert = only(judge_failure_alerts([verdicts(50, 30, failed=20)], GATES))
    assert alert.severity == "warning"
    assert "20 of 100 verdicts of gpt on lora against base failed (20.0%; at most 10.0% may)" in alert.message
    assert only(judge_failure_alerts([verdicts(50, 30, failed=20)], WIN_GATE)).severity == "critical"
    assert judge_failure_alerts([verdicts(60, 30, failed=10), verdicts(0, 0)], GATES) == []


FORMAT_GATE = Gates(min_format_compliance=0.9)


def test_format_compliance_under_the_minimum_or_unknown_is_critical() -> None:
    low = only(format_alerts([ComplianceRate("lora", 0.4, 0.3, 0.5, 200)], FORMAT_GATE, ["lora"]))
    assert low.severity == "critical"
    assert (
        "40.0% of the responses of lora have the right form (95% CI 30.0% to 50.0%, n = 200)" in low.message
    )
    missing = [ComplianceRate("lora", None, None, None, 0, "no schema")]
    assert "could not be computed: no schema" in only(format_alerts(missing, FORMAT_GATE, ["lora"])).message
    assert only(format_alerts([], FORMAT_GATE, ["lora"])).severity == "critical"
    assert format_alerts([ComplianceRate("lora", 0.95, 0.8, 1.0, 200)], FORMAT_GATE, ["lora"]) == []
    assert format_alerts([], GATES, ["lora"]) == []


def test_an_adapter_without_effect_is_critical_and_one_with_effect_is_not() -> None:
    alerts = probe_alerts([AdapterEffect("noop", 0.0, 8), AdapterEffect("good", 3.2, 8)])
    alert = only(alerts)
    assert (alert.severity, alert.kind, alert.candidate) == ("critical", "adapter_no_effect", "noop")
    assert "has no effect: over 8 prompts" in alert.message
    assert passed(alerts, "good")


@pytest.mark.parametrize(
    ("effect", "said"),
    [
        (AdapterEffect("lora", math.nan, 8), "breaks the model"),
        (AdapterEffect("lora", math.inf, 8), "breaks the model"),
        (AdapterEffect("lora", None, 8), "breaks the model"),
        (AdapterEffect("lora", None, 0), "no prompt was tried"),
    ],
)
def test_a_probe_that_proves_nothing_never_passes(effect: AdapterEffect, said: str) -> None:
    alert = only(probe_alerts([effect]))
    assert said in alert.message
    json.dumps(asdict(alert), allow_nan=False)


def test_only_critical_alerts_against_the_candidate_itself_fail_it() -> None:
    leaked = leakage_alerts(Leaked(("e1",), {"near": 1}, 10), {"lora": []}, Gates())
    alerts = probe_alerts([AdapterEffect("noop", 0.0, 8)]) + leaked
    assert passed(alerts, "lora")
    assert not passed(alerts, "noop")
