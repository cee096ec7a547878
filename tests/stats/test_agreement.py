"""Coefficients of agreement equal the packages that define them, and say what cannot be computed."""

import krippendorff
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau, spearmanr
from sklearn.metrics import cohen_kappa_score
from statsmodels.stats.inter_rater import aggregate_raters
from statsmodels.stats.inter_rater import fleiss_kappa as statsmodels_fleiss

from engine.stats.agreement import (
    FEW,
    cohen_kappa,
    fleiss_kappa,
    kendall,
    krippendorff_alpha,
    raw_agreement,
    spearman,
)

VERDICTS = st.sampled_from(["win", "loss", "tie"])
PAIRS = st.lists(st.tuples(VERDICTS, VERDICTS), min_size=2, max_size=30)


@settings(max_examples=30, deadline=None)
@given(PAIRS)
def test_cohens_kappa_is_scikit_learns(pairs: list[tuple[str, str]]) -> None:
    first, second = zip(*pairs, strict=True)
    found = cohen_kappa(first, second)
    if len({*first, *second}) == 1:
        assert found.value is None and found.reason
    else:
        assert found.value == pytest.approx(cohen_kappa_score(first, second), abs=1e-9)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(VERDICTS, VERDICTS, VERDICTS), min_size=3, max_size=20))
def test_fleiss_kappa_is_statsmodels(items: list[tuple[str, str, str]]) -> None:
    found = fleiss_kappa(items)
    if len({value for item in items for value in item}) == 1:
        assert found.value is None and found.reason
    else:
        expected = statsmodels_fleiss(aggregate_raters(np.array(items))[0])
        assert found.value == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("level", ["nominal", "ordinal", "interval"])
@settings(max_examples=30, deadline=None)
@given(
    rows=st.lists(
        st.tuples(*[st.one_of(st.none(), st.integers(1, 5))] * 3).filter(
            lambda item: sum(value is not None for value in item) > 1
        ),
        min_size=3,
        max_size=20,
    )
)
def test_alpha_is_krippendorffs(level: str, rows: list[tuple[int | None, ...]]) -> None:
    raters = list(zip(*rows, strict=True))
    found = krippendorff_alpha(raters, level)  # type: ignore[arg-type]
    if len({value for row in rows for value in row if value is not None}) == 1:
        assert found.value is None and found.reason
    else:
        data = np.array(raters, dtype=float)
        expected = krippendorff.alpha(reliability_data=data, level_of_measurement=level)
        assert found.value == pytest.approx(expected, abs=1e-9)


def test_rank_correlations_are_scipys_and_carry_intervals() -> None:
    first = [1, 2, 2, 4, 5, 7, 7, 9, 10, 3]
    second = [2, 1, 3, 4, 4, 8, 6, 9, 9, 2]
    rho, tau = spearman(first, second), kendall(first, second)
    assert rho.value == pytest.approx(spearmanr(first, second).statistic)
    assert tau.value == pytest.approx(kendalltau(first, second).statistic)
    for found in (rho, tau):
        assert found.low is not None and found.high is not None and found.value is not None
        assert found.low < found.value < found.high <= 1


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 5), st.integers(1, 4)), min_size=3, max_size=40))
def test_rank_correlations_of_few_values_are_scipys(pairs: list[tuple[float, float]]) -> None:
    first, second = zip(*pairs, strict=True)
    rho, tau = spearman(first, second), kendall(first, second)
    if len(set(first)) == 1 or len(set(second)) == 1:
        assert rho.value is None and tau.reason
    else:
        assert rho.value == pytest.approx(spearmanr(first, second).statistic, abs=1e-9)
        assert tau.value == pytest.approx(kendalltau(first, second).statistic, abs=1e-9)


def test_scores_of_many_values_correlate_as_scipys_do() -> None:
    rng = np.random.default_rng(2)
    first = rng.normal(size=2 * FEW)
    second = first + rng.normal(size=2 * FEW)
    found = spearman(first.tolist(), second.tolist())
    assert found.value == pytest.approx(spearmanr(first, second).statistic, abs=1e-9)
    assert found.low is not None and found.high is not None and found.low < found.value < found.high


def test_a_rater_who_always_says_the_same_correlates_with_nobody() -> None:
    found = spearman([5, 5, 5], [1, 2, 3])
    assert found.value is None and "same score" in (found.reason or "")


def test_raters_who_never_differ_have_no_interval_of_no_width() -> None:
    said = ["win", "loss"] * 6
    for found in (
        cohen_kappa(said, said),
        krippendorff_alpha([said, said]),
        spearman([1, 2] * 6, [1, 2] * 6),
    ):
        assert (found.value, found.low, found.high) == (pytest.approx(1.0), None, None)
    raw = raw_agreement(said, said)
    assert raw.value == 1.0 and raw.low is not None and raw.low < 0.8


def test_items_that_one_rater_left_out_are_in_no_figure() -> None:
    found = raw_agreement(["win", None, "loss", "tie"], ["win", "win", "win", None])
    assert (found.value, found.n) == (0.5, 2)
    assert raw_agreement([None], ["win"]).reason


def test_the_interval_of_kappa_covers_the_truth() -> None:
    """Two raters who say the same on 70 % of items and otherwise answer at random: kappa is 0.7."""
    rng = np.random.default_rng(1)
    covered = 0
    for trial in range(60):
        truth = rng.integers(0, 2, 150)
        second = np.where(rng.random(150) < 0.7, truth, rng.integers(0, 2, 150))
        found = cohen_kappa(truth.tolist(), second.tolist(), seed=trial)
        assert found.low is not None and found.high is not None
        covered += found.low <= 0.7 <= found.high
    assert covered >= 52
