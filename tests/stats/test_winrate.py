"""Win rates, position bias and length control."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from engine.stats.intervals import wilson
from engine.stats.winrate import Outcome, PositionBias, Winner, length_controlled, position_bias, win_rate


def test_a_tie_is_half_a_win_and_a_failure_nothing() -> None:
    rate = win_rate(["win"] * 5 + ["loss"] * 2 + ["tie"] * 3 + ["failed"] * 4)
    assert (rate.wins, rate.losses, rate.ties, rate.failed) == (5, 2, 3, 4)
    assert rate.win_rate == pytest.approx(0.65)
    assert rate.low is not None and rate.high is not None
    assert rate.low < 0.65 < rate.high


def test_verdicts_all_alike_still_have_a_width() -> None:
    rate = win_rate(["win"] * 12)
    expected = wilson(12, 12)
    assert (rate.win_rate, rate.low, rate.high) == (1.0, expected.low, expected.high)
    assert win_rate(["tie"] * 12).low == wilson(6, 12).low
    assert win_rate(["loss"]).high == wilson(0, 1).high


def test_nothing_judged_is_no_rate() -> None:
    failed: list[Outcome] = ["failed", "failed"]
    for outcomes in ([], failed):
        rate = win_rate(outcomes)
        assert (rate.win_rate, rate.low, rate.high, rate.failed) == (None, None, None, len(outcomes))


def test_a_judge_that_takes_the_first_is_found_out() -> None:
    bias = position_bias([("candidate", "baseline")] * 9 + [("baseline", "candidate")])
    assert (bias.first, bias.second, bias.tie, bias.rate) == (18, 2, 0, 0.9)
    assert bias.low is not None and bias.low > 0.5


def test_a_better_model_is_no_position_bias() -> None:
    pairs: list[tuple[Winner | None, Winner | None]] = [("candidate", "candidate")] * 10
    one_order_failed: list[tuple[Winner | None, Winner | None]] = [("candidate", None)] * 10
    bias = position_bias(pairs + one_order_failed)
    assert (bias.first, bias.second, bias.rate) == (10, 10, 0.5)
    assert bias.low == wilson(10, 20).low


def test_ties_decide_nothing_about_places() -> None:
    assert position_bias([("tie", "tie")]) == PositionBias(0, 0, 2, None, None, None)
    bias = position_bias([("tie", "baseline"), ("tie", "candidate")])
    assert (bias.first, bias.second, bias.tie, bias.rate) == (1, 1, 2, 0.5)


def test_without_length_differences_the_rate_is_the_plain_one() -> None:
    outcomes: list[Outcome] = ["win", "win", "loss", "tie", "failed"]
    assert length_controlled(outcomes, [10] * 5, [10] * 5) == pytest.approx(0.625)


def test_wins_by_length_alone_are_discounted() -> None:
    rng = np.random.default_rng(0)
    longer = rng.normal(150, 100, 400)
    outcomes: list[Outcome] = ["win" if rng.random() < 1 / (1 + np.exp(-d / 40)) else "loss" for d in longer]
    candidate = [int(500 + difference) for difference in longer]
    controlled = length_controlled(outcomes, candidate, [500] * 400)
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
    assert length_controlled(outcomes, candidate, baseline) == pytest.approx(
        1 / (1 + np.exp(-model)), abs=1e-4
    )


def test_length_control_knows_its_limits() -> None:
    assert length_controlled(["failed"], [1], [2]) is None
    assert length_controlled(["win", "win"], [5, 9], [1, 2]) == 1.0
    assert length_controlled(["win", "loss"], [5, 5], [1, 1]) is None
    with pytest.raises(ValueError, match="two lengths"):
        length_controlled(["win"], [1, 2], [1])
