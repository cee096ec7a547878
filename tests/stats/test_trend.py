"""The trend test against SciPy's Kendall tau and Theil-Sen slope, and in what it promises."""

import math

import numpy as np
import pytest
from scipy import stats

from engine.stats.trend import mann_kendall


@pytest.mark.parametrize("n", [3, 5, 10, 30, 50])
def test_tau_and_exact_p_are_kendalls_against_time(n: int) -> None:
    values = np.random.default_rng(n).normal(size=n).tolist()
    ours, theirs = mann_kendall(values), stats.kendalltau(np.arange(n), values, method="exact")
    assert ours is not None
    assert ours.tau == pytest.approx(theirs.statistic)
    assert ours.p == pytest.approx(theirs.pvalue, rel=1e-9)


def test_ties_are_corrected_for_as_in_tau_b() -> None:
    values = [0.9, 0.8, 0.9, 0.8, 0.7, 0.8, 0.7, 0.6, 0.6, 0.7, 0.5, 0.6]
    ours = mann_kendall(values)
    theirs = stats.kendalltau(np.arange(len(values)), values, method="asymptotic")
    assert ours is not None
    assert ours.tau == pytest.approx(theirs.statistic)
    # SciPy makes no correction for continuity, which makes p larger.
    assert theirs.pvalue < ours.p < 2 * theirs.pvalue


def test_the_slope_is_theil_sens() -> None:
    values = (np.random.default_rng(4).normal(size=40) - 0.05 * np.arange(40)).tolist()
    ours, theirs = mann_kendall(values), stats.theilslopes(values)
    assert ours is not None
    assert ours.slope == pytest.approx(theirs.slope)
    assert (ours.low, ours.high) == pytest.approx((theirs.low_slope, theirs.high_slope))
    assert ours.change == pytest.approx(39 * theirs.slope)


def test_equal_values_have_no_trend() -> None:
    ours = mann_kendall([0.7] * 10)
    assert ours is not None
    assert (ours.s, ours.p, ours.slope, ours.autocorrelation) == (0, 1.0, 0.0, None)


@pytest.mark.parametrize("values", [[], [0.5, 0.4], [0.5, math.nan, 0.4, 0.3]])
def test_too_little_to_tell_gives_nothing(values: list[float]) -> None:
    assert mann_kendall(values) is None


def test_without_a_trend_p_is_small_as_rarely_as_it_says() -> None:
    rng = np.random.default_rng(1)
    found = [mann_kendall(list(rng.normal(size=20))) for _ in range(2000)]
    small = sum(item is not None and item.p <= 0.05 for item in found)
    assert stats.binomtest(small, 2000, 0.05).pvalue > 0.001


def test_neighbours_that_hang_together_are_told() -> None:
    rng = np.random.default_rng(1)
    walk, noise = mann_kendall(list(np.cumsum(rng.normal(size=40)))), mann_kendall(list(rng.normal(size=40)))
    assert walk is not None and walk.is_dependent and walk.p_allowing > 10 * walk.p
    assert noise is not None and not noise.is_dependent and noise.p_allowing == noise.p
