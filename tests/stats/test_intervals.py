"""Intervals: against references by other hands, and in what they promise."""

import numpy as np
import pytest
from scipy import stats

from engine.metrics.metric import mean
from engine.stats import intervals
from engine.stats.intervals import Interval, bootstrap_interval, expanded, share_of, wilson, with_unseen


def parts(values: list[float]) -> intervals.Array:
    return np.column_stack([values, np.ones(len(values))])


def test_bootstrap_agrees_with_scipy() -> None:
    values = np.random.default_rng(1).exponential(size=600)
    ours = bootstrap_interval(parts(list(values)), mean)
    theirs = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=10_000, random_state=2)
    assert ours.value == pytest.approx(values.mean())
    assert ours.low == pytest.approx(theirs.confidence_interval.low, abs=0.01)
    assert ours.high == pytest.approx(theirs.confidence_interval.high, abs=0.01)


def test_a_ratio_is_resampled_as_a_ratio() -> None:
    rng = np.random.default_rng(3)
    ratio = np.column_stack([rng.integers(1, 50, 60), rng.integers(1, 9, 60)]).astype(float)
    ours = bootstrap_interval(ratio, mean)
    theirs = stats.bootstrap(
        (ratio[:, 0], ratio[:, 1]),
        lambda a, b, axis: a.sum(axis) / b.sum(axis),
        paired=True,
        vectorized=True,
        method="percentile",
        n_resamples=10_000,
        random_state=2,
    )
    assert ours.low == pytest.approx(theirs.confidence_interval.low, rel=0.02)
    assert ours.high == pytest.approx(theirs.confidence_interval.high, rel=0.02)


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    trials = 300
    hits = 0
    for trial in range(trials):
        sample = bootstrap_interval(parts(list(rng.normal(size=60))), mean, seed=trial, resamples=1000)
        assert sample.low is not None and sample.high is not None
        hits += sample.low <= 0 <= sample.high
    assert stats.binomtest(hits, trials, 0.95).pvalue > 0.001


def test_skewed_values_are_studentised() -> None:
    values = np.random.default_rng(1).exponential(size=60)
    ours = bootstrap_interval(parts(list(values)), mean)
    rng = np.random.default_rng(5)
    drawn = rng.choice(values, (20_000, 60))
    t = (drawn.mean(axis=1) - values.mean()) / drawn.std(axis=1)
    low, high = np.quantile(t, [0.025, 0.975])
    assert ours.low == pytest.approx(values.mean() - high * values.std(), abs=0.02)
    assert ours.high == pytest.approx(values.mean() - low * values.std(), abs=0.03)
    assert ours.high - ours.value > ours.value - ours.low  # type: ignore[operator]  # the long tail's side


def test_the_correction_for_few_examples_gives_students_interval_for_normal_resamples() -> None:
    n = 12
    tail = stats.norm.isf((1 - expanded(n)) / 2) * np.sqrt((n - 1) / n)
    assert tail == pytest.approx(stats.t.isf(0.025, n - 1))
    assert expanded(10_000) == pytest.approx(0.95, abs=1e-4)


def test_a_share_has_wilsons_interval() -> None:
    ours = bootstrap_interval(parts([1.0] * 3 + [0.0] * 7), mean)
    assert (ours.low, ours.high) == (wilson(3, 10).low, wilson(3, 10).high)


@pytest.mark.parametrize("right", [0, 40])
def test_a_share_of_none_or_of_all_keeps_a_width(right: int) -> None:
    ours = bootstrap_interval(parts([1.0] * right + [0.0] * (40 - right)), mean)
    assert ours == wilson(right, 40)
    assert ours.high - ours.low == pytest.approx(0.0876, abs=1e-4)  # type: ignore[operator]


def test_from_a_thousand_examples_counts_are_drawn_one_by_one_with_the_same_spread() -> None:
    values = np.random.default_rng(8).exponential(size=3000)
    sums = intervals.bootstrap_sums(parts(list(values)), 0, 4000)
    assert np.std(sums[:, 0] / sums[:, 1]) == pytest.approx(values.std() / np.sqrt(3000), rel=0.05)


def test_the_same_seed_gives_the_same_interval_and_another_a_near_one() -> None:
    data = parts(list(np.random.default_rng(4).random(50)))
    first = bootstrap_interval(data, mean, seed=1)
    assert first == bootstrap_interval(data, mean, seed=1)
    other = bootstrap_interval(data, mean, seed=2)
    assert other != first
    assert other.low == pytest.approx(first.low, abs=0.01)


def test_chunks_bound_the_memory_and_cover_all_resamples() -> None:
    sizes = list(intervals.chunks(10_000, 5_000))
    assert sum(sizes) == 10_000
    assert max(sizes) * 5_000 <= 2_000_000
    assert list(intervals.chunks(3, 10_000_000)) == [1, 1, 1]


def test_too_few_examples_give_no_interval() -> None:
    assert bootstrap_interval(np.empty((0, 2)), mean) == Interval(None, None, None, 0)
    assert bootstrap_interval(parts([0.3]), mean) == Interval(0.3, None, None, 1)


def test_equal_values_are_not_certain_of_the_next_one() -> None:
    for n in (2, 7, 40):
        interval = bootstrap_interval(parts([0.1] * n), mean, ends=(0.0, 1.0))
        others = wilson(0, n).high
        assert others is not None and interval.value == pytest.approx(0.1)
        assert interval.low == pytest.approx(0.1 - 0.1 * others)
        assert interval.high == pytest.approx(0.1 + 0.9 * others)
    open_range = bootstrap_interval(parts([0.1] * 7), mean)
    assert (open_range.low, open_range.high) == (None, None)


@pytest.mark.parametrize("values", [[0.6, 0.8], [0.1, 0.5, 0.55], [0.9, 0.2, 0.8, 0.7, 0.75, 0.72, 0.71]])
def test_few_values_of_an_open_range_have_at_least_students_interval_at_98_percent(
    values: list[float],
) -> None:
    ours, middle = bootstrap_interval(parts(values), mean), float(np.mean(values))
    low, high = stats.t.interval(0.98, len(values) - 1, middle, stats.sem(values))
    assert ours.low is not None and ours.high is not None
    assert 2 * low - middle - 1e-9 <= ours.low <= low + 1e-9
    assert high - 1e-9 <= ours.high <= 2 * high - middle + 1e-9


def test_between_two_ends_few_values_leave_room_for_half_a_value_unseen() -> None:
    """At zeros and ones alone that is Jeffreys' interval of a share."""
    low, high = with_unseen(np.array([0.0, 0.0, 0.0, 1.0, 1.0]), 0.0, 1.0, 0.5, 0, 100_000)
    assert low == pytest.approx(stats.beta.ppf(0.025, 2, 3.5), abs=0.005)
    assert high == pytest.approx(stats.beta.ppf(0.975, 2.5, 3), abs=0.005)


@pytest.mark.parametrize("n", [2, 5, 12, 49])
def test_one_value_apart_from_many_at_an_end_leaves_the_interval_a_width(n: int) -> None:
    """Heaped scores: those not at the end are too few to show how far they reach."""
    alike = bootstrap_interval(parts([0.0] * n), mean, ends=(0.0, 1.0))
    found = bootstrap_interval(parts([0.0] * (n - 1) + [0.01]), mean, ends=(0.0, 1.0))
    assert found.low == pytest.approx(0.0, abs=0.01)
    assert found.high == pytest.approx(alike.high, rel=0.35)


@pytest.mark.parametrize("n", [2, 3, 5, 8, 12])
def test_skewed_and_heaped_scores_are_covered_from_two_values_on(n: int) -> None:
    rng, trials, hits, broken = np.random.default_rng(n), 150, [0, 0], 0
    for trial in range(trials):
        drawn = rng.beta(0.5, 2.0, n), rng.beta(1, 4, n) * (rng.random(n) < 0.5)
        for place, (values, truth) in enumerate(zip(drawn, (0.2, 0.1), strict=True)):
            found = bootstrap_interval(parts(list(values)), mean, trial % 2, 500, ends=(0.0, 1.0))
            assert found.low is not None and found.high is not None
            hits[place] += found.low <= truth <= found.high
            broken += not 0.0 <= found.low < found.high <= 1.0
    assert broken == 0
    assert min(stats.binomtest(hit, trials, 0.95, alternative="less").pvalue for hit in hits) > 0.001


def test_a_ratio_of_few_examples_has_a_width() -> None:
    found = bootstrap_interval(np.array([[3.0, 4.0], [9.0, 10.0]]), mean, ends=(0.0, 1.0))
    assert found.low is not None and found.high is not None
    assert 0.0 <= found.low < 12 / 14 < found.high <= 1.0


def test_a_ratio_over_nothing_has_no_value() -> None:
    assert bootstrap_interval(np.zeros((5, 2)), mean) == Interval(None, None, None, 5)


@pytest.mark.parametrize(("successes", "n"), [(0, 10), (10, 10), (3, 10), (81, 263)])
def test_wilson_agrees_with_scipy(successes: int, n: int) -> None:
    expected = stats.binomtest(successes, n).proportion_ci(method="wilson")
    ours = wilson(successes, n)
    assert (ours.value, ours.n) == (successes / n, n)
    assert ours.low == pytest.approx(expected.low)
    assert ours.high == pytest.approx(expected.high)


@pytest.mark.parametrize("n", range(1, 8))
def test_a_share_of_fewer_than_eight_has_the_exact_interval(n: int) -> None:
    for successes in range(n + 1):
        expected = stats.binomtest(successes, n).proportion_ci(method="exact")
        ours = share_of(successes, n)
        assert (ours.value, ours.n) == (successes / n, n)
        assert (ours.low, ours.high) == pytest.approx((expected.low, expected.high), abs=1e-9)
    half = share_of(0.5, n)
    assert (half.low, half.high) == (0.0, share_of(1, n).high), "a tie counts towards either end"


def test_wilson_of_nothing() -> None:
    assert wilson(0, 0) == Interval(None, None, None, 0)


@pytest.mark.parametrize("n", [2, 3, 4, 5, 8])
def test_few_different_values_never_have_an_interval_of_no_width(n: int) -> None:
    values = np.column_stack([np.linspace(0.2, 0.7, n), np.ones(n)])
    found = bootstrap_interval(values, mean)
    assert found.low is not None and found.high is not None and found.value is not None
    assert found.low < found.value < found.high
