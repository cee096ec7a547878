"""Win rates, position bias and length control."""

import pytest

from engine.stats.intervals import share_of
from engine.stats.winrate import Outcome, PositionBias, Winner, position_bias, win_rate


def test_a_tie_is_half_a_win_and_a_failure_nothing() -> None:
    rate = win_rate(["win"] * 5 + ["loss"] * 2 + ["tie"] * 3 + ["failed"] * 4)
    assert (rate.wins, rate.losses, rate.ties, rate.failed) == (5, 2, 3, 4)
    assert rate.win_rate == pytest.approx(0.65)
    assert rate.low is not None and rate.high is not None
    assert rate.low < 0.65 < rate.high


def test_verdicts_all_alike_still_have_a_width() -> None:
    rate = win_rate(["win"] * 12)
    expected = share_of(12, 12)
    assert (rate.win_rate, rate.low, rate.high) == (1.0, expected.low, expected.high)
    assert win_rate(["tie"] * 12).low == share_of(6, 12).low
    assert win_rate(["loss"]).high == share_of(0, 1).high


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
    assert bias.low == share_of(10, 20).low


def test_ties_decide_nothing_about_places() -> None:
    assert position_bias([("tie", "tie")]) == PositionBias(0, 0, 2, None, None, None)
    bias = position_bias([("tie", "baseline"), ("tie", "candidate")])
    assert (bias.first, bias.second, bias.tie, bias.rate) == (1, 1, 2, 0.5)
