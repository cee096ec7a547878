"""The win rate at equal length."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from engine.stats.length_control import length_controlled
from engine.stats.winrate import Outcome, win_rate


def test_without_length_differences_the_rate_is_the_plain_one() -> None:
    outcomes: list[Outcome] = ["win", "win", "loss", "tie", "failed"]
    assert length_controlled(outcomes, [10] * 5, [10] * 5).value == pytest.approx(0.625)


def test_wins_by_length_alone_are_discounted() -> None:
    rng = np.random.default_rng(0)
    longer = rng.normal(150, 100, 400)
    outcomes: list[Outcome] = ["win" if rng.random() < 1 / (1 + np.exp(-d / 40)) else "loss" for d in longer]
    candidate = [int(500 + difference) for difference in longer]
    controlled = length_controlled(outcomes, candidate, [500] * 400).value
    raw = win_rate(outcomes).win_rate
    assert raw is not None and raw > 0.8
    assert controlled == pytest.approx(0.5, abs=0.12)


def test_the_fit_is_the_penalised_optimum() -> None:
    outcomes: list[Outcome] = ["win", "win", "loss", "tie", "win", "loss"]
    candidate, baseline = [9, 12, 4, 8, 10, 3], [8, 8, 8, 8, 8, 8]
    points = np.array([1, 1, 0, 0.5, 1, 0])
    difference = np.array(candidate) - np.array(baseline)
    lengths = np.tanh(difference / difference.std(ddof=1))

    def best_loss(model: float) -> float:
        def loss(slope: float) -> float:
            logits = model + slope * lengths
            return float(np.sum(np.logaddexp(0, logits) - points * logits) + slope**2 / 2)

        return float(minimize_scalar(loss).fun)

    model = minimize_scalar(best_loss).x
    assert length_controlled(outcomes, candidate, baseline).value == pytest.approx(
        1 / (1 + np.exp(-model)), abs=1e-4
    )


def test_length_control_knows_its_limits() -> None:
    assert length_controlled(["failed"], [1], [2]).value is None
    assert length_controlled(["win", "win"], [5, 9], [1, 2]).value == 1.0
    assert length_controlled(["win", "loss"], [5, 5], [1, 1]).value is None
    with pytest.raises(ValueError, match="two lengths"):
        length_controlled(["win"], [1, 2], [1])


def test_the_interval_covers_a_rate_that_length_does_not_touch() -> None:
    """Equal models and a judge that prefers the longer answer: the rate at equal length is one half."""
    rng = np.random.default_rng(4)
    covered = 0
    for trial in range(30):
        difference = rng.normal(0, 100, 200)
        wins = rng.random(200) < 1 / (1 + np.exp(-difference / 60))
        outcomes: list[Outcome] = ["win" if won else "loss" for won in wins]
        lengths = [int(500 + one) for one in difference]
        found = length_controlled(outcomes, lengths, [500] * 200, seed=trial)
        assert found.low is not None and found.high is not None
        covered += found.low <= 0.5 <= found.high
    assert covered >= 25


def test_a_judge_that_always_takes_the_longer_answer_leaves_a_finite_interval() -> None:
    lengths = [400 + 10 * place for place in range(40)]
    outcomes: list[Outcome] = ["win" if length > 600 else "loss" for length in lengths]
    found = length_controlled(outcomes, lengths, [600] * 40)
    assert found.low is not None and found.high is not None
    assert 0 <= found.low < found.high <= 1
