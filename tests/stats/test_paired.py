"""Paired comparison: interval, randomisation test, and what n allows to say."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as mcnemar_of_statsmodels

from engine.metrics.metric import mean
from engine.metrics.overlap import bleu_parts, combine_bleu
from engine.stats.family import holm
from engine.stats.intervals import Array
from engine.stats.paired import Paired, compare, from_stderr, mcnemar


def parts(values: Array | list[float]) -> Array:
    return np.column_stack([values, np.ones(len(values))])


def test_the_interval_of_the_difference_agrees_with_scipy() -> None:
    rng = np.random.default_rng(5)
    baseline = rng.random(100)
    candidate = baseline + rng.normal(0.05, 0.1, 100)
    ours = compare(parts(candidate), parts(baseline), mean)
    theirs = stats.bootstrap(
        (candidate - baseline,), np.mean, method="percentile", n_resamples=10_000, random_state=1
    )
    assert ours.delta == pytest.approx(np.mean(candidate - baseline))
    assert ours.low == pytest.approx(theirs.confidence_interval.low, abs=0.002)
    assert ours.high == pytest.approx(theirs.confidence_interval.high, abs=0.002)
    assert ours.smallest_detectable == pytest.approx(2.8 * theirs.standard_error, rel=0.03)


def test_p_agrees_with_all_swaps_counted_by_hand() -> None:
    differences = np.array([0.5, 0.25, -0.125, 1.0, 0.75, -0.5, 0.25, 0.5])
    observed = abs(differences.sum())
    swaps = list(itertools.product([1, -1], repeat=len(differences)))
    exact = np.mean([abs(np.dot(signs, differences)) >= observed for signs in swaps])
    ours = compare(parts(differences), parts(np.zeros(8)), mean)
    assert ours.p == pytest.approx(exact, abs=0.01)


def test_p_agrees_with_scipy_for_a_corpus_measure() -> None:
    rng = np.random.default_rng(7)
    pairs = [
        [
            bleu_parts([list("abcdefgh")], rng.choice(list("abcdefgh"), size, replace=True).tolist()).flat()
            for size in (8, 9)
        ]
        for _ in range(10)
    ]
    candidate, baseline = np.array([pair[0] for pair in pairs]), np.array([pair[1] for pair in pairs])

    def statistic(index: Array, other: Array) -> float:
        chosen = np.where(index[:, None] == 1, candidate, baseline)
        rest = np.where(index[:, None] == 1, baseline, candidate)
        return abs(float(combine_bleu(chosen.sum(axis=0)) - combine_bleu(rest.sum(axis=0))))

    exact = stats.permutation_test(
        (np.ones(10), np.zeros(10)),
        statistic,
        permutation_type="samples",
        alternative="greater",
        vectorized=False,
    )
    ours = compare(candidate, baseline, combine_bleu)
    assert ours.p == pytest.approx(exact.pvalue, abs=0.02)


def test_p_is_never_zero() -> None:
    ours = compare(parts(np.full(50, 0.9)), parts(np.zeros(50)), mean, resamples=999)
    assert ours.p == pytest.approx(1 / 1000)
    assert (ours.delta, ours.low, ours.high) == pytest.approx((0.9, 0.9, 0.9))


@pytest.mark.parametrize(("lost", "won"), [(0, 0), (1, 0), (0, 6), (3, 9), (12, 12), (40, 61), (900, 1000)])
def test_mcnemar_is_that_of_statsmodels(lost: int, won: int) -> None:
    theirs = mcnemar_of_statsmodels([[5, lost], [won, 7]], exact=True).pvalue
    assert mcnemar(lost, won) == pytest.approx(theirs, rel=1e-9)
    assert 0 < mcnemar(lost, won) == mcnemar(won, lost) <= 1


def test_right_and_wrong_answers_are_compared_by_mcnemar() -> None:
    rng = np.random.default_rng(3)
    candidate, baseline = rng.integers(0, 2, (2, 60)).astype(np.float64)
    lost, won = int(np.sum(candidate < baseline)), int(np.sum(candidate > baseline))
    assert compare(parts(candidate), parts(baseline), mean).p == mcnemar(lost, won)
    between: Array = candidate * 0.5  # points that are no rights and wrongs
    assert compare(parts(between), parts(baseline), mean, resamples=999).p != mcnemar(lost, won)


def test_under_no_difference_p_is_small_as_rarely_as_it_says() -> None:
    rng = np.random.default_rng(11)
    small = 0
    for trial in range(200):
        pair = rng.random((2, 40))
        p = compare(parts(pair[0]), parts(pair[1]), mean, seed=trial, resamples=400).p
        assert p is not None
        small += p <= 0.05
    assert stats.binomtest(small, 200, 0.05).pvalue > 0.001


def test_models_that_never_differ_are_not_certain_to_be_equal() -> None:
    values = parts(np.random.default_rng(2).random(33))
    value = float(mean(values.sum(axis=0)))
    assert compare(values, values.copy(), mean) == Paired(value, value, 0.0, None, None, 1.0, 33, None)
    z2 = stats.norm.isf(0.025) ** 2
    bounded = compare(values, values.copy(), mean, reach=1.0)
    assert (bounded.low, bounded.high) == pytest.approx((-z2 / (33 + z2), z2 / (33 + z2)))


@pytest.mark.parametrize("right", [0.0, 1.0])
def test_nothing_discordant_has_a_score_interval(right: float) -> None:
    both = parts([right] * 20)
    found = compare(both, both.copy(), mean)
    assert (found.delta, found.p) == (0.0, 1.0)
    assert (found.low, found.high) == pytest.approx((-0.161, 0.161), abs=0.001)


def test_few_differences_have_at_least_students_interval_at_98_percent_within_the_range() -> None:
    ours, theirs = [0.9, 0.4, 0.8, 0.7], [0.2, 0.3, 0.7, 0.65]
    low, high = stats.t.interval(0.98, 3, 0.2375, stats.sem(np.subtract(ours, theirs)))
    found = compare(parts(ours), parts(theirs), mean, reach=1.0)
    assert found.low is not None and found.high is not None
    assert -1.0 <= found.low <= low + 1e-9 and high - 1e-9 <= found.high <= 1.0


def test_many_equal_differences_may_hide_others() -> None:
    """One of 12 differs a little; nothing says that the next one would."""
    ours, theirs = [0.5] * 11 + [0.52], [0.5] * 12
    found = compare(parts(ours), parts(theirs), mean, reach=1.0)
    assert found.low is not None and found.high is not None
    assert found.low < -0.1 and found.high > 0.1


def test_too_few_examples() -> None:
    assert compare(np.empty((0, 2)), np.empty((0, 2)), mean) == Paired(
        None, None, None, None, None, None, 0, None
    )
    one = compare(parts([0.75]), parts([0.25]), mean)
    assert (one.delta, one.low, one.p, one.n) == (0.5, None, None, 1)


def test_rows_must_be_of_the_same_examples() -> None:
    with pytest.raises(ValueError, match="other examples"):
        compare(parts([1.0]), parts([1.0, 2.0]), mean)


def test_from_stderr_is_the_z_test() -> None:
    ours = from_stderr(0.50, 0.03, 0.62, 0.04, 200)
    assert ours.delta == pytest.approx(-0.12)
    assert ours.low == pytest.approx(-0.12 - stats.norm.ppf(0.975) * 0.05)
    assert ours.p == pytest.approx(2 * stats.norm.sf(0.12 / 0.05))
    assert ours.smallest_detectable == pytest.approx(0.14)


def test_a_standard_error_of_zero_at_the_ends_is_not_certainty() -> None:
    few = from_stderr(0.0, 0.0, 1.0, 0.0, 2)
    many = from_stderr(0.0, 0.0, 1.0, 0.0, 200)
    assert few.low is not None and few.high is not None and few.high > -0.5
    assert many.high is not None and many.high < -0.9


def test_without_a_standard_error_there_is_a_delta_alone() -> None:
    for missing in (None, math.nan):
        ours = from_stderr(0.5, missing, 0.25, 0.1, 20)
        assert (ours.delta, ours.low, ours.p) == (0.25, None, None)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


@pytest.mark.parametrize("n", [10, 80])
def test_pairs_that_all_went_one_way_have_the_interval_of_their_shares(n: int) -> None:
    ours, theirs = (np.column_stack([np.full(n, value), np.ones(n)]) for value in (0.0, 1.0))
    found = compare(ours, theirs, mean)
    z2 = 1.959964**2
    assert found.low == found.delta == -1.0
    assert found.high == pytest.approx(-1 + 2**0.5 * z2 / (n + z2), abs=1e-6)


def test_few_changed_pairs_of_right_and_wrong_have_newcombes_interval() -> None:
    """Newcombe 1998, table III: 36 both right, 12 and 2 changed, 0 both wrong of 50."""
    ours = np.repeat([1.0, 1.0, 0.0], [36, 12, 2])
    theirs = np.repeat([1.0, 0.0, 1.0], [36, 12, 2])
    found = compare(*(np.column_stack([side, np.ones(50)]) for side in (ours, theirs)), mean)
    assert found.delta == pytest.approx(0.2)
    assert (found.low, found.high) == pytest.approx((0.0569, 0.3404), abs=5e-4)
