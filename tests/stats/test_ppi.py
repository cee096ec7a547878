"""A judge's rate corrected by people's labels equals ppi-python's, and its interval covers."""

import numpy as np
import pytest
from scipy.stats import norm

from engine.stats.intervals import Array
from engine.stats.ppi import corrected_mean, labels_to_settle

# Seed, labels, unlabelled, share of examples on which the judge is right; then ppi-python 0.2.3's
# ppi_mean_pointestimate and ppi_mean_ci (alpha 0.05) on the data that `drawn` makes of them.
REFERENCE = [
    (0, 40, 160, 0.9, 0.6597194602272727, 0.5642912463476434, 0.755147674106902),
    (1, 100, 900, 0.6, 0.6687105990515823, 0.5884550760359955, 0.7489661220671691),
    (2, 60, 40, 0.75, 0.6641908028455286, 0.5642341093857727, 0.7641474963052844),
]
MEAN = 0.65  # of what `drawn` draws


def drawn(seed: int, labelled: int, unlabelled: int, right: float) -> tuple[Array, Array, Array]:
    rng = np.random.default_rng(seed)
    count = labelled + unlabelled
    people = rng.choice([0, 0.5, 1.0], count, p=[0.3, 0.1, 0.6])
    judge = np.where(rng.random(count) < right, people, rng.choice([0, 0.5, 1.0], count))
    return people[:labelled], judge[:labelled], judge[labelled:]


@pytest.mark.parametrize(("seed", "labelled", "unlabelled", "right", "value", "low", "high"), REFERENCE)
def test_value_and_standard_error_are_those_of_ppi_python(
    seed: int, labelled: int, unlabelled: int, right: float, value: float, low: float, high: float
) -> None:
    found = corrected_mean(*drawn(seed, labelled, unlabelled, right))
    assert found.value == pytest.approx(value, abs=1e-9)
    assert found.standard_error == pytest.approx((high - low) / 2 / norm.ppf(0.975), abs=1e-9)
    assert found.low is not None and found.high is not None
    assert found.low < low and found.high > high  # Student's t is a little wider than the normal


@pytest.mark.parametrize("right", [0.3, 0.9])
def test_the_interval_covers_and_is_narrower_than_that_of_the_labels_alone(right: float) -> None:
    rounds = [corrected_mean(*drawn(seed, 60, 400, right)) for seed in range(600)]
    covered = np.mean([each.low <= MEAN <= each.high for each in rounds])  # type: ignore[operator]
    widths = [
        (each.high - each.low) / (each.labels_alone.high - each.labels_alone.low)  # type: ignore[operator]
        for each in rounds
    ]
    assert 0.925 <= covered <= 0.975
    assert np.mean(widths) < (0.6 if right > 0.5 else 1.0)


def test_a_judge_that_is_biased_is_corrected() -> None:
    people, judged, rest = drawn(3, 200, 2000, 1.0)
    found = corrected_mean(people, np.ones_like(judged), np.ones_like(rest))
    assert found.judge_alone == 1.0
    assert found.weight == 0.0  # a judge that always says the same tells nothing
    assert found.value == pytest.approx(people.mean())


def test_too_few_labels_correct_nothing_and_say_so() -> None:
    found = corrected_mean([1.0] * 29, [1.0] * 29, [0.0] * 100)
    assert (found.value, found.low, found.high) == (None, None, None)
    assert found.reason is not None and "29" in found.reason
    assert found.labels_alone.n == 29
    assert corrected_mean([], [], []).judge_alone is None


def test_labels_of_everything_leave_nothing_to_correct() -> None:
    people, judged, _ = drawn(0, 50, 0, 0.8)
    found = corrected_mean(people, judged, [])
    assert (found.value, found.low) == (pytest.approx(people.mean()), found.labels_alone.low)
    assert found.reason == "every example was labelled"


def test_as_many_labels_as_would_settle_a_gate_make_the_interval_that_narrow() -> None:
    data = drawn(4, 100, 5000, 0.8)
    value = corrected_mean(*data).value
    assert value is not None
    wanted = labels_to_settle(*data, threshold=value - 0.05)
    assert wanted is not None and wanted > 100
    found = [corrected_mean(*drawn(seed, wanted, 5000, 0.8)) for seed in range(100, 140)]
    halves = [(each.high - each.low) / 2 for each in found]  # type: ignore[operator]
    assert np.median(halves) == pytest.approx(0.05, rel=0.12)


def test_no_number_of_labels_settles_a_gate_that_lies_on_the_value() -> None:
    people = np.array([0.0, 1.0] * 20)
    assert labels_to_settle(people, people, np.array([0.0, 1.0] * 30), threshold=0.5) is None
