"""Always-valid tests and intervals: they hold at every look, agree with SciPy, and settle what is clear."""

import math

import numpy as np
import pytest
from scipy import integrate, stats

from engine.stats.sequential import (
    FEWEST_UNITS,
    ConfidenceSequence,
    Moments,
    difference_at_any_time,
    mean_at_any_time,
    normal_at_any_time,
)

ALARM = math.log(20)  # the e-value that rules a hypothesis out at 5 %


@pytest.mark.parametrize("rate", [0.5, 0.55, 0.9])
def test_the_truth_is_almost_never_left_out_at_any_moment(rate: float) -> None:
    rng = np.random.default_rng(7)
    left = 0
    for _ in range(150):
        sequence = ConfidenceSequence()
        for value in (rng.random(200) < rate).astype(float):
            sequence.add(value)
            low, high = sequence.interval()
            if not low <= rate <= high:
                left += 1
                break
    assert left <= 150 * 0.05 + 5


def test_a_clear_win_is_settled_long_before_the_end() -> None:
    rng = np.random.default_rng(0)
    sequence = ConfidenceSequence()
    for value in rng.choice([0.0, 0.5, 1.0], 1_000, p=[0.1, 0.1, 0.8]):
        sequence.add(float(value))
        if sequence.settled(0.55):
            break
    assert sequence.n < 100
    assert sequence.interval()[0] > 0.55


def test_what_lies_on_the_threshold_is_not_settled() -> None:
    sequence = ConfidenceSequence()
    for place in range(400):
        sequence.add(float(place % 2))
    assert not sequence.settled(0.5)


def test_nothing_seen_leaves_everything_possible() -> None:
    assert ConfidenceSequence().interval() == (0.0, 1.0)


def test_values_all_alike_close_in_on_them() -> None:
    sequence = ConfidenceSequence()
    for _ in range(300):
        sequence.add(0.5)
    low, high = sequence.interval()
    assert low <= 0.5 <= high and high - low < 0.1


def test_values_outside_the_range_are_refused() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        ConfidenceSequence().add(1.5)


@pytest.mark.parametrize("scales", [(1.0,), (1.0, 3.0)])
@pytest.mark.parametrize(("z", "information"), [(0.5, 0.1), (2.0, 3.0), (4.0, 40.0)])
def test_the_normal_e_value_is_a_mixture_over_true_values(
    z: float, information: float, scales: tuple[float, ...]
) -> None:
    def expected(true: float) -> float:
        return float(np.mean([stats.norm.pdf(true, scale=math.sqrt(information) * each) for each in scales]))

    mixed, _ = integrate.quad(
        lambda true: stats.norm.pdf(z, true) * expected(true), -60, 60, points=[0.0, z], limit=200
    )
    wanted = math.log(mixed / stats.norm.pdf(z))
    assert normal_at_any_time(z, 1.0, information, scales=scales).log_e == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("scales", [(1.0,), (1.0, 3.0)])
def test_an_interval_and_its_e_value_say_the_same(scales: tuple[float, ...]) -> None:
    test = normal_at_any_time(1.0, 0.4, 5.0, scales=scales)
    shifted = normal_at_any_time(1.0 - test.low, 0.4, 5.0, scales=scales)
    assert shifted.log_e == pytest.approx(ALARM)


def test_few_values_tell_a_large_difference_and_many_lose_little_by_it() -> None:
    """Standard errors each way of 58 and of 2,000 values a side; one gambler has 5.3 and 3.04."""

    def width(n: int) -> float:
        test = difference_at_any_time(Moments(n, 0.5, 0.25), Moments(n, 0.5, 0.25))
        assert test is not None
        return (test.high - test.value) / test.error

    assert width(58) < 3.5 and width(2_000) < 3.2


def test_without_a_value_there_is_no_mean() -> None:
    with pytest.raises(ValueError, match="no mean"):
        Moments.of([])


@pytest.mark.parametrize(("share", "part"), [(0.01, 0.5), (0.05, 0.1), (0.5, 0.5), (0.9, 0.3)])
def test_equal_arms_that_are_looked_at_all_the_time_seldom_raise_an_alarm(share: float, part: float) -> None:
    """Sixty looks: a test of a fixed sample size would be wrong in more than a quarter of such studies."""

    def alarmed(seed: int) -> bool:
        rng = np.random.default_rng(seed)
        one, other = (np.cumsum(rng.random(2_400) < share) for _ in range(2))
        for look in range(40, 2_401, 40):
            a, b = int(look * part), int(look * (1 - part))
            means = one[a - 1] / a, other[b - 1] / b
            sides = (Moments(n, mean, mean * (1 - mean)) for n, mean in zip((a, b), means, strict=True))
            test = difference_at_any_time(*sides)
            if test is not None and test.p <= 0.05:
                return True
        return False

    assert sum(map(alarmed, range(120))) / 120 <= 0.05


def test_skewed_values_that_are_looked_at_all_the_time_seldom_raise_an_alarm() -> None:
    def alarmed(seed: int) -> bool:
        values = np.exp(np.random.default_rng(seed).normal(size=(2, 1_000)))
        return any(
            test.p <= 0.05
            for n in range(20, 1_001, 35)
            if (test := difference_at_any_time(*(Moments.of(side[:n].tolist()) for side in values)))
        )

    assert sum(map(alarmed, range(80))) / 80 <= 0.05


def test_a_true_difference_is_found_and_the_values_it_takes_are_foretold() -> None:
    rng = np.random.default_rng(3)
    one, other = (rng.random(4_000) < 0.15).astype(float), (rng.random(4_000) < 0.10).astype(float)
    early = difference_at_any_time(Moments.of(one[:200].tolist()), Moments.of(other[:200].tolist()))
    late = difference_at_any_time(Moments.of(one.tolist()), Moments.of(other.tolist()))
    assert early is not None and late is not None
    assert early.low < 0 < early.high and early.times is not None and early.times > 1
    assert late.low > 0 and late.p < 0.05 and late.times is None


def test_the_values_foretold_are_just_enough() -> None:
    test = normal_at_any_time(1.0, 0.5, 2.0)
    assert test.times is not None
    enough = normal_at_any_time(1.0, 0.5 / math.sqrt(test.times), 2.0 * test.times)
    assert enough.log_e == pytest.approx(ALARM) and enough.low == pytest.approx(0.0, abs=1e-9)


def test_few_units_or_all_alike_are_not_tested() -> None:
    few = Moments(FEWEST_UNITS - 1, 0.5, 0.25)
    enough, alike = Moments(FEWEST_UNITS, 0.5, 0.25), Moments(FEWEST_UNITS, 1.0, 0.0)
    assert difference_at_any_time(few, enough) is None
    assert difference_at_any_time(alike, alike) is None
    assert difference_at_any_time(alike, enough) is not None
    assert mean_at_any_time(few, 0.5) is None and mean_at_any_time(enough, 0.5) is not None
