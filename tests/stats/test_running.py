"""Intervals over a stream: the same as over the whole where that fits, as wide as they ought to be beyond."""

import numpy as np
import pytest

from engine.metrics.metric import mean
from engine.stats import intervals
from engine.stats.intervals import Array, Interval, RunningInterval, bootstrap_interval

GROUPS = 2000


@pytest.fixture(autouse=True)
def _few_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intervals, "GROUPS", GROUPS)


def over(parts: Array, seed: int = 0) -> Interval:
    interval = RunningInterval(mean, seed)
    for row in parts.tolist():
        interval.add(row)
    return interval.interval()


def ratios(n: int) -> Array:
    rng = np.random.default_rng(5)
    return np.column_stack([rng.integers(1, 50, n), rng.integers(1, 9, n)]).astype(np.float64)


@pytest.mark.parametrize("n", [1, 2, 60, GROUPS])
def test_as_long_as_the_groups_suffice_it_is_the_bootstrap_itself(n: int) -> None:
    parts = ratios(n)
    assert over(parts, seed=3) == bootstrap_interval(parts, mean, seed=3)


def test_nothing_has_no_value() -> None:
    assert RunningInterval(mean).interval() == Interval(None, None, None, 0)


@pytest.mark.parametrize("n", [GROUPS + 1, 3 * GROUPS + 7])
@pytest.mark.parametrize("order", ["as drawn", "sorted"])
def test_beyond_it_is_as_wide_as_the_standard_error_of_the_ratio_says(n: int, order: str) -> None:
    parts = ratios(n)
    if order == "sorted":
        parts = parts[np.argsort(parts[:, 0] / parts[:, 1])]
    found = over(parts)
    value = parts[:, 0].sum() / parts[:, 1].sum()
    # The delta method: the ratio's residuals over the summed weights.
    error = np.sqrt(np.sum((parts[:, 0] - value * parts[:, 1]) ** 2)) / parts[:, 1].sum()
    assert found.low is not None and found.high is not None
    assert found.n == n and found.value == pytest.approx(value, rel=1e-12)
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.05)
    assert (found.high + found.low) / 2 == pytest.approx(value, abs=0.2 * error)


def test_asking_on_the_way_changes_nothing_up_to_the_groups() -> None:
    parts = ratios(100)
    asked = RunningInterval(mean)
    for place, row in enumerate(parts.tolist(), start=1):
        asked.add(row)
        if place == 50:
            assert asked.interval() == over(parts[:50])
    assert asked.interval() == over(parts)
