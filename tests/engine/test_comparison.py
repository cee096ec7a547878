"""Comparisons pair examples by id and say why where they can't."""

import numpy as np
import pytest

from engine.compare.comparison import Comparison, compare_parts, not_comparable
from engine.metrics.efficiency import Efficiency
from engine.metrics.metric import Measure
from engine.metrics.overlap import Rouge
from engine.metrics.perplexity import PERPLEXITY

ROUGE1 = Rouge().measures[0]


def compared(
    candidate: dict[str, tuple[float, ...]], baseline: dict[str, tuple[float, ...]], measure: Measure = ROUGE1
) -> Comparison:
    return compare_parts("lora", "base", measure, candidate, baseline)


def test_only_examples_that_both_have_are_compared() -> None:
    candidate = {"a": (0.5, 1.0), "b": (1.0, 1.0), "only": (0.0, 1.0)}
    baseline = {"b": (0.25, 1.0), "a": (0.25, 1.0), "other": (1.0, 1.0)}
    comparison = compared(candidate, baseline)
    assert (comparison.candidate_value, comparison.baseline_value, comparison.n) == (0.75, 0.25, 2)
    assert comparison.delta == 0.5
    assert comparison.worsening == -0.5


def test_the_order_of_examples_changes_nothing() -> None:
    rng = np.random.default_rng(0)
    candidate = {f"e{i}": (float(rng.random()), 1.0) for i in range(30)}
    baseline = {f"e{i}": (float(rng.random()), 1.0) for i in range(30)}
    backwards = compared(dict(reversed(candidate.items())), baseline)
    assert backwards == compared(candidate, baseline)


def test_the_worst_examples_are_named_furthest_first() -> None:
    baseline = dict.fromkeys("abcd", (0.9, 1.0))
    candidate = {"a": (0.8, 1.0), "b": (0.1, 1.0), "c": (0.9, 1.0), "d": (1.0, 1.0)}
    assert compared(candidate, baseline).worst == ("b", "a")


def test_of_a_lower_is_better_measure_the_highest_is_worst() -> None:
    candidate = {"a": (9.0, 3.0), "b": (1.0, 1.0)}
    baseline = {"a": (3.0, 3.0), "b": (2.0, 1.0)}
    comparison = compared(candidate, baseline, PERPLEXITY)
    assert comparison.candidate_value == pytest.approx(np.exp(10 / 4))
    assert comparison.worst == ("a",)
    assert comparison.worsening == comparison.delta


def test_nothing_shared_is_no_comparison_and_says_why() -> None:
    lost = compared({}, {"a": (1.0, 1.0)})
    assert (lost.candidate_value, lost.baseline_value, lost.delta, lost.reason) == (
        None,
        1.0,
        None,
        "no value for lora",
    )
    disjoint = compared({"b": (0.5, 1.0)}, {"a": (1.0, 1.0)})
    assert (disjoint.candidate_value, disjoint.delta, disjoint.n) == (0.5, None, 0)
    assert disjoint.reason == "no example has a value for both models"


def test_one_example_has_no_interval_and_says_so() -> None:
    comparison = compared({"a": (0.5, 1.0)}, {"a": (1.0, 1.0)})
    assert (comparison.delta, comparison.low) == (-0.5, None)
    assert "no interval" in (comparison.reason or "")


def test_values_that_must_not_be_compared_are_kept_with_the_reason() -> None:
    comparison = not_comparable("lora", "base", "perplexity", "lower", "metric", "other tokenizers", 8.0, 9.0)
    assert (comparison.candidate_value, comparison.delta, comparison.worsening) == (8.0, None, None)
    assert comparison.reason == "other tokenizers"


def test_values_that_hang_together_give_a_difference_and_no_claim_about_chance() -> None:
    latency = Efficiency.measures[0]
    slow = {f"e{place}": (2.0, 1.0) for place in range(50)}
    fast = {f"e{place}": (1.0, 1.0) for place in range(50)}
    found = compare_parts("good", "base", latency, slow, fast)
    assert (found.candidate_value, found.baseline_value, found.delta, found.n) == (2.0, 1.0, 1.0, 50)
    assert (found.low, found.high, found.p) == (None, None, None)
    assert found.reason is not None and "batch" in found.reason
