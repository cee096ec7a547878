"""Gates: what trips them, how severe it is, and what the alert tells the person who decides."""

import json
import math
from dataclasses import asdict, replace

import numpy as np
import pytest

from engine.alerts import unmeasured_alerts
from engine.comparison import Comparison, Kind, compare_parts, not_comparable
from engine.gates import (
    Alert,
    Effect,
    Standing,
    Verdicts,
    benchmark_alerts,
    format_alerts,
    judge_alerts,
    leakage_alerts,
    metric_alerts,
    passed,
    probe_alerts,
    win_rate_alerts,
)
from engine.metrics.efficiency import Efficiency
from engine.metrics.form import Length
from engine.metrics.metric import Measure
from engine.metrics.overlap import Rouge
from engine.metrics.perplexity import BITS_PER_BYTE, PERPLEXITY
from engine.metrics.tokens import ExactMatch
from engine.plan import Gates
from engine.stats.winrate import win_rate

GATES = Gates()
ROUGE1 = Rouge.measures[0]
ALL = {
    measure.name: measure
    for measure in (
        *Rouge.measures,
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
        "difference -0.200, 95% interval -0.2",
        "n = 200, p < 0.001",
        "The plan allows at most 0.05.",
    ):
        assert said in alert.message
    assert alert.evidence["delta"] == pytest.approx(-0.2)
    assert len(alert.evidence["example_ids"]) == 20
    json.dumps(alert.evidence, allow_nan=False)


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
    assert alert.message.startswith("Not settled: lora falls behind base")
    needed = math.ceil(21 * ((comparison.smallest_detectable or 0) / 0.2) ** 2)
    assert f"About {needed} examples would settle a difference of this size." in alert.message
    assert passed(alerts, "lora")


def test_looking_at_many_measures_raises_the_bar_for_each() -> None:
    alone = replace(fallen(100, 140), p=0.03, low=-0.3, high=-0.01)
    assert only(metric_alerts([alone], GATES, ALL)).severity == "critical"
    others = [replace(fallen(100, 100, measure=ROUGE1), measure=name) for name in ("rouge2", "rougeL")]
    alert = only(metric_alerts([alone, *others], GATES, ALL))
    assert alert.severity == "note"
    assert "p = 0.090 after correction for 3 comparisons" in alert.message
    elsewhere = [replace(other, candidate="another") for other in others]
    assert only(metric_alerts([alone, *elsewhere], GATES, ALL)).severity == "critical"


def test_a_fall_without_an_interval_is_a_warning_that_says_so() -> None:
    alert = only(metric_alerts([fallen(0, 1, n=1)], GATES, ALL))
    assert alert.severity == "warning"
    assert "No interval could be computed" in alert.message


@pytest.mark.parametrize("name", ["response_words", "response_tokens", "latency_s", "tokens_per_second"])
def test_lengths_and_times_never_alert(name: str) -> None:
    rng = np.random.default_rng(0)
    candidate, baseline = parts(list(rng.normal(9, 1, 50))), parts(list(rng.normal(1, 0.1, 50)))
    for pair in ((candidate, baseline), (baseline, candidate)):
        assert metric_alerts([compare_parts("lora", "base", ALL[name], *pair)], GATES, ALL) == []


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


def test_a_candidate_of_which_nothing_is_known_has_not_passed() -> None:
    lost = compare_parts("lora", "base", ROUGE1, {}, {})
    alert = only(unmeasured_alerts(["lora", "good"], [lost, fallen(5, 5, candidate="good")], []))
    assert (alert.severity, alert.candidate) == ("critical", "lora")
    assert not passed([alert], "lora") and passed([alert], "good")
    assert unmeasured_alerts(["lora"], [lost], ["lora"]) == []


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


def verdicts(wins: int, losses: int, ties: int = 0, failed: int = 0) -> Verdicts:
    outcomes = ["win"] * wins + ["loss"] * losses + ["tie"] * ties + ["failed"] * failed
    return Verdicts("gpt", "lora", "base", win_rate(outcomes))


WIN_GATE = Gates(min_win_rate=0.55)


def test_a_win_rate_under_the_minimum_is_critical() -> None:
    alert = only(win_rate_alerts([verdicts(60, 120, 20)], WIN_GATE, ["lora"]))
    assert alert.severity == "critical"
    assert alert.message.startswith("lora against base, judged by gpt: win rate 35.0% (95% interval ")
    assert "60 wins, 120 losses, 20 ties, 0 failed), under the 55.0% that the plan asks for." in alert.message
    assert alert.evidence["judge"] == "gpt"


def test_a_win_rate_close_to_the_minimum_says_that_more_examples_may_turn_it() -> None:
    under = only(win_rate_alerts([verdicts(54, 46)], WIN_GATE, ["lora"]))
    assert under.severity == "critical"
    assert "more examples could still show it met" in under.message
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


def test_without_a_minimum_the_win_rate_decides_nothing() -> None:
    assert win_rate_alerts([verdicts(0, 50)], GATES, ["lora"]) == []


def test_failed_judgments_beyond_the_limit_alert() -> None:
    alert = only(judge_alerts([verdicts(50, 30, failed=20)], GATES))
    assert alert.severity == "warning"
    assert (
        "20 of 100 verdicts of gpt on lora against base failed (20.0%); the plan allows 10.0%"
        in alert.message
    )
    assert only(judge_alerts([verdicts(50, 30, failed=20)], WIN_GATE)).severity == "critical"
    assert judge_alerts([verdicts(60, 30, failed=10), verdicts(0, 0)], GATES) == []


FORMAT_GATE = Gates(min_format_compliance=0.9)


def test_format_compliance_under_the_minimum_or_unknown_is_critical() -> None:
    low = only(format_alerts([Standing("lora", 0.4, 0.3, 0.5, 200)], FORMAT_GATE, ["lora"]))
    assert low.severity == "critical"
    assert (
        "40.0% of the responses of lora have the right form (95% interval 30.0% to 50.0%, n = 200)"
        in low.message
    )
    missing = [Standing("lora", None, None, None, 0, "no schema")]
    assert "could not be computed: no schema" in only(format_alerts(missing, FORMAT_GATE, ["lora"])).message
    assert only(format_alerts([], FORMAT_GATE, ["lora"])).severity == "critical"
    assert format_alerts([Standing("lora", 0.95, 0.8, 1.0, 200)], FORMAT_GATE, ["lora"]) == []
    assert format_alerts([], GATES, ["lora"]) == []


def test_an_adapter_without_effect_is_critical_and_one_with_effect_is_not() -> None:
    alerts = probe_alerts([Effect("noop", 0.0, 8), Effect("good", 3.2, 8)])
    alert = only(alerts)
    assert (alert.severity, alert.kind, alert.candidate) == ("critical", "adapter_no_effect", "noop")
    assert "has no effect: over 8 prompts" in alert.message
    assert passed(alerts, "good")


@pytest.mark.parametrize(
    ("effect", "said"),
    [
        (Effect("lora", math.nan, 8), "breaks the model"),
        (Effect("lora", math.inf, 8), "breaks the model"),
        (Effect("lora", 0.0, 0), "no prompt was tried"),
    ],
)
def test_a_probe_that_proves_nothing_never_passes(effect: Effect, said: str) -> None:
    alert = only(probe_alerts([effect]))
    assert said in alert.message
    json.dumps(asdict(alert), allow_nan=False)


def test_leaked_examples_warn_each_candidate() -> None:
    alerts = leakage_alerts(["lora", "full"], ["e1", "e2"], 200)
    assert [alert.candidate for alert in alerts] == ["lora", "full"]
    assert alerts[0].message.startswith("2 of 200 examples also stand in the training data.")
    assert alerts[0].evidence["example_ids"] == ["e1", "e2"]
    assert leakage_alerts(["lora"], [], 200) == []


def test_only_critical_alerts_against_the_candidate_itself_fail_it() -> None:
    alerts = probe_alerts([Effect("noop", 0.0, 8)]) + leakage_alerts(["lora"], ["e1"], 10)
    assert passed(alerts, "lora")
    assert not passed(alerts, "noop")
