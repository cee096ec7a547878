"""The win rate at equal length."""

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from bench.length_control import simulated
from engine.stats.length_control import (
    FEW,
    NO_BETTER,
    ONE_WINNER,
    SAME_DIFFERENCE,
    TOO_FEW,
    UNKNOWN_TEXTS,
    LengthControlled,
    length_controlled,
)

Numbers = NDArray[np.float64]


def drawn(effect: float, n: int = 400) -> tuple[list[float], list[int], list[int]]:
    """Points of a judge whose logit grows by `effect` for each 100 characters, between equal models."""
    rng = np.random.default_rng(1)
    baseline = rng.integers(200, 900, n)
    difference = rng.normal(50, 100, n).round().astype(int)
    points = (rng.random(n) < 1 / (1 + np.exp(-effect * difference / 100))).astype(float)
    return points.tolist(), (baseline + difference).tolist(), baseline.tolist()


def test_wins_by_length_alone_are_discounted() -> None:
    points, candidate, baseline = drawn(effect=3)
    found = length_controlled(points, candidate, baseline)
    assert np.mean(points) > 0.6
    assert found.value is not None and found.low is not None and found.high is not None
    assert found.value == pytest.approx(0.5, abs=0.07) and found.low < 0.5 < found.high


def test_the_two_models_exchanged_have_what_is_left_to_one() -> None:
    points, candidate, baseline = drawn(effect=2)
    one = length_controlled(points, candidate, baseline)
    other = length_controlled([1 - point for point in points], baseline, candidate)
    assert one.value is not None and other.value == pytest.approx(1 - one.value)


def test_where_length_predicts_nothing_it_says_so() -> None:
    points, candidate, baseline = drawn(effect=0)
    assert length_controlled(points, candidate, baseline) == LengthControlled(reason=NO_BETTER)


def test_the_fit_is_the_penalised_regression_of_scikit_learn() -> None:
    points, candidate, baseline = drawn(effect=3)
    difference = np.subtract(candidate, baseline)
    demand = np.log1p(candidate) + np.log1p(baseline)
    lengths = np.tanh(difference / difference.std(ddof=1))
    demand = (demand - demand.mean()) / demand.std()
    terms = np.column_stack([lengths, demand])
    fit = LogisticRegression(C=1.0, tol=1e-10).fit(terms, points)  # the penalty 1 on both
    level = fit.predict_proba(terms * (0.0, 1.0))[:, 1].mean()
    assert length_controlled(points, candidate, baseline).value == pytest.approx(level, abs=1e-5)


@pytest.mark.parametrize(
    ("points", "candidate", "baseline", "reason"),
    [
        ([None] * 40, [5] * 40, [9] * 40, TOO_FEW),
        ([1.0, 0.0] * (FEW // 2 - 1), [5] * (FEW - 2), [9] * (FEW - 2), TOO_FEW),
        ([1.0] * 40, [5, 6] * 20, [9] * 40, ONE_WINNER),
        ([1.0, 0.0] * 20, [5] * 40, [9] * 40, SAME_DIFFERENCE),
        ([1.0, 0.0] * 20, [5, 6] * 20, [9] * 39 + [None], UNKNOWN_TEXTS),
    ],
)
def test_without_a_value_there_is_a_reason(
    points: list[float | None], candidate: list[int], baseline: list[int | None], reason: str
) -> None:
    assert length_controlled(points, candidate, baseline) == LengthControlled(reason=reason)


def test_a_failed_judgment_needs_no_texts() -> None:
    points, candidate, baseline = drawn(effect=3)
    known = length_controlled(points, candidate, baseline)
    assert length_controlled([None, *points], [None, *candidate], [None, *baseline]).value == known.value


def test_it_is_nearer_to_a_known_truth_than_the_raw_rate_and_covers_it() -> None:
    _, raw, own, given, covers = simulated(200, effect=2.0, shorter=0.5, rounds=40)
    assert own < raw / 2 and given > 0.9 and covers > 0.8
    _, raw, own, given, covers = simulated(200, effect=0.0, shorter=0.0, rounds=40)
    assert own < 1.15 * raw
