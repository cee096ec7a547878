"""The calibration error in numbers worked out by hand, and in what its interval promises."""

import numpy as np
import pytest

from engine.stats.calibration import (
    accuracy_at_coverage,
    binned,
    calibration_error,
    calibration_interval,
    compare_calibration,
    covered,
    plain_error,
    reliability,
)
from engine.stats.intervals import Array


def answered(n: int, excess: float, seed: int = 0) -> tuple[Array, Array]:
    """Confidences, and whether each answer was right: as often as they say, less the excess."""
    rng = np.random.default_rng(seed)
    confidence = 0.4 + 0.6 * rng.random(n)
    return confidence, (rng.random(n) < confidence - excess).astype(np.float64)


def test_the_plain_error_is_the_mean_gap_of_bins_of_equal_mass() -> None:
    confidence = np.repeat([0.6, 0.9], 10)
    right = np.array([1.0] * 4 + [0.0] * 6 + [1.0] * 9 + [0.0])
    assert float(plain_error(binned(confidence, right).sum(axis=0))) == pytest.approx((0.2 + 0.0) / 2)


def test_bins_hold_ten_examples_or_more_and_there_are_ten_at_most() -> None:
    assert [item.n for item in reliability(*answered(25, 0.0))] == [13, 12]
    assert [item.n for item in reliability(*answered(1_000, 0.0))] == [100] * 10
    bins = reliability(*answered(1_000, 0.2))
    assert [item.confidence for item in bins] == sorted(item.confidence for item in bins)
    assert all((item.low or 0.0) <= item.right <= (item.high or 1.0) for item in bins)


def test_chance_is_taken_off_the_error_of_a_calibrated_model() -> None:
    plain, corrected = [], []
    for seed in range(40):
        sums = binned(*answered(200, 0.0, seed)).sum(axis=0)
        plain.append(float(plain_error(sums)))
        corrected.append(float(calibration_error(sums)))
    assert np.mean(plain) > 0.06
    assert np.mean(corrected) < 0.75 * np.mean(plain)


def test_a_calibrated_model_may_have_no_error_and_an_overconfident_one_has_its_own() -> None:
    calibrated, overconfident = (calibration_interval(*answered(400, excess)) for excess in (0.0, 0.2))
    assert calibrated.low == 0.0 and calibrated.high is not None and calibrated.high < 0.12
    assert overconfident.low is not None and overconfident.high is not None
    assert 0.1 < overconfident.low < 0.2 < overconfident.high < 0.3


def test_answers_that_were_all_right_leave_room_for_wrong_ones() -> None:
    sure = np.full(80, 0.999), np.ones(80)
    found = calibration_interval(*sure)
    assert found.value == pytest.approx(0.001, abs=1e-6)
    assert found.high is not None and found.high > 0.04  # Wilson's: up to 4.6% of others
    compared = compare_calibration((np.full(80, 0.99), np.ones(80)), sure)
    assert compared.low is not None and compared.high is not None
    assert compared.low < 0 < compared.high


def test_a_pair_is_compared_example_by_example() -> None:
    before, after = answered(400, 0.0), answered(400, 0.25)
    found = compare_calibration(after, before)
    assert found.delta is not None and found.low is not None and found.high is not None
    assert 0 < found.low < 0.25 < found.high and found.p is not None and found.p < 0.01
    same = compare_calibration(before, before)
    assert (same.delta, same.p) == (0.0, 1.0)


def test_too_few_examples_have_no_error() -> None:
    assert calibration_interval(*answered(19, 0.0)).value is None
    assert compare_calibration(answered(19, 0.0), answered(19, 0.0)).delta is None


def test_accuracy_at_coverage_is_that_of_the_surest() -> None:
    confidence = np.array([0.9, 0.8, 0.7, 0.6, 0.5])
    right = np.array([1.0, 1.0, 1.0, 0.0, 0.0])
    found = accuracy_at_coverage(confidence, right)
    assert (found.value, found.n) == (0.75, 4)
    # Of two that are equally sure, with room for one, each counts half.
    tied = covered(np.array([0.9, 0.8, 0.7, 0.6, 0.6]), np.array([1.0, 1.0, 1.0, 1.0, 0.0]))
    assert tied.sum(axis=0).tolist() == [3.5, 4.0]
    assert covered(np.array([]), np.array([])).shape == (0, 2)


def test_accuracy_at_coverage_is_of_a_share_that_need_not_be_a_whole_number_of_examples() -> None:
    for n in range(1, 40):
        found = accuracy_at_coverage(np.linspace(0.5, 0.9, n), np.ones(n))
        assert (found.value, found.high) == (pytest.approx(1.0), 1.0), n
        none = accuracy_at_coverage(np.linspace(0.5, 0.9, n), np.zeros(n))
        assert (none.value, none.low) == (0.0, 0.0), n
    assert accuracy_at_coverage(np.array([]), np.array([])).value is None


def test_the_order_of_the_data_makes_no_error_where_confidences_are_equal() -> None:
    """An eval set may be sorted by answer, and low precision makes many confidences equal."""
    right = np.repeat([1.0, 0.0], 200)
    found = calibration_interval(np.full(400, 0.5), right)
    assert found.value is not None and found.value < 0.05
    assert found.low == 0.0
