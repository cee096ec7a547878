"""Figures of samples and their differences: against scipy and statsmodels, and with users who come back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from engine.traffic.alerts import FALSE_ALARMS, look, looks
from engine.traffic.periods import DAY
from engine.traffic.samples import (
    NOWHERE,
    SHARES,
    Floats,
    Sample,
    design_effect,
    difference,
    figure,
    joined,
    same_within,
    shares_differ,
    shift,
)


def alone(values: list[float] | Floats) -> tuple[Floats, np.ndarray]:
    """Each value another user's."""
    return np.asarray(values, dtype=float), np.arange(len(values))


def sample(
    values: dict[str, Floats], clusters: np.ndarray | None = None, units: np.ndarray | None = None
) -> Sample:
    n = len(next(iter(values.values())))
    return Sample(
        np.zeros(n),
        np.arange(n) * 3 + 1 if units is None else units,
        values,
        np.full(n, NOWHERE) if clusters is None else clusters,
        {},
        np.full(n, "m", dtype=object),
    )


@pytest.mark.parametrize(("first", "second"), [((3, 60), (9, 50)), ((0, 40), (4, 30)), ((40, 40), (28, 30))])
def test_two_shares_differ_as_fishers_exact_test_says(
    first: tuple[int, int], second: tuple[int, int]
) -> None:
    one, other = (alone([1.0] * k + [0.0] * (n - k)) for k, n in (first, second))
    table = [[second[0], second[1] - second[0]], [first[0], first[1] - first[0]]]
    sides = [stats.fisher_exact(table, alternative=side).pvalue for side in ("less", "greater")]
    assert shares_differ(one, other).p == pytest.approx(min(1.0, 2 * min(sides)), abs=1e-9)


def test_a_median_is_compared_by_moods_test() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.normal(0, 1, 80), rng.normal(0.8, 1, 61)
    found = difference(alone(one), alone(other), "length")
    _, _, _, table = stats.median_test(other, one, ties="below")
    sides = [stats.fisher_exact(table, alternative=side).pvalue for side in ("less", "greater")]
    assert found is not None and found.delta > 0
    assert found.p == pytest.approx(2 * min(sides), rel=1e-6)


@pytest.mark.parametrize(("name", "share"), [("length", 0.5), ("latency_p95", 0.95)])
def test_a_quantiles_interval_is_that_of_order_statistics(name: str, share: float) -> None:
    values = np.random.default_rng(1).lognormal(0, 1, 200)
    found = figure(alone(values), name)
    reference = stats.quantile_test(values, p=share).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((reference.low, reference.high), abs=1e-6)
    assert found.value == pytest.approx(np.quantile(values, share))


def test_a_population_shift_is_as_likely_as_the_chi_squared_test_says() -> None:
    one, other = np.repeat([0, 1, 2], [50, 30, 20]), np.repeat([0, 1, 2], [20, 30, 30])
    first, second = (sample({"cut": np.zeros(len(each))}) for each in (one, other))
    found = shift(first, second, "clusters", (one, other))
    assert found.p == pytest.approx(stats.chi2_contingency([[50, 30, 20], [20, 30, 30]]).pvalue, rel=1e-9)
    assert found.psi is not None and found.chance is not None and found.psi > found.chance


def test_a_kind_of_question_that_is_too_rare_is_not_compared() -> None:
    one, other = np.zeros(100, int), np.array([1] * 2 + [0] * 38)
    sides = [sample({"cut": np.zeros(len(each))}) for each in (one, other)]
    found = shift(sides[0], sides[1], "negation", (one, other))
    assert found.p is None and found.psi is None and found.reason is not None
    assert shift(sides[0], sides[1], "negation", (one, np.zeros(40, int))).p == 1.0


def test_chance_alone_keeps_the_index_below_its_limit_in_19_of_20_periods() -> None:
    rng = np.random.default_rng(2)
    shares = [0.4, 0.3, 0.15, 0.1, 0.05]
    above = 0
    for _ in range(400):
        one, other = rng.choice(5, 300, p=shares), rng.choice(5, 120, p=shares)
        found = shift(
            *(sample({"cut": np.zeros(len(each))}) for each in (one, other)), "clusters", (one, other)
        )
        assert found.psi is not None and found.chance is not None
        above += found.psi > found.chance
    assert 0.02 <= above / 400 <= 0.08


def test_the_same_kind_of_question_is_compared_as_statsmodels_does() -> None:
    from statsmodels.stats.contingency_tables import StratifiedTable

    rng = np.random.default_rng(3)
    clusters = [rng.choice(3, n) for n in (150, 120)]
    values = [(rng.random(len(c)) < 0.2 + 0.2 * c).astype(float) for c in clusters]
    tables = [
        [
            [float(v[c == k].sum()), float((1 - v[c == k]).sum())]
            for v, c in zip(values, clusters, strict=True)
        ]
        for k in range(3)
    ]
    first, second = (sample({"cut": v}, c) for v, c in zip(values, clusters, strict=True))
    reference = StratifiedTable([np.array(t) for t in tables]).test_null_odds(correction=True).pvalue
    assert same_within(first, second, "cut") == pytest.approx(reference, rel=1e-6)


def test_events_of_one_user_count_for_less() -> None:
    values = np.repeat([1.0, 0.0, 0.0, 1.0, 0.0] * 8, 10)
    users = np.repeat(np.arange(40), 10)
    assert design_effect((values, users)) == pytest.approx(10, rel=0.03)
    assert design_effect(alone(values)) == 1.0
    narrow, wide = figure(alone(values), "cut"), figure((values, users), "cut")
    assert narrow.low is not None and wide.low is not None and wide.low < narrow.low


def test_a_share_near_one_of_few_users_keeps_its_interval_below_one() -> None:
    values, users = np.array([1.0] * 197 + [0.0] * 3), np.repeat(np.arange(25), 8)
    found = figure((values, users), "same_language")
    assert found.low is not None and found.high is not None and found.low < 0.985 < found.high <= 1


def test_too_few_events_are_missing_with_the_reason() -> None:
    assert figure(alone([]), "thumbs_up").reason == "nobody gave a thumb"
    assert figure(alone([1.0] * 9), "cut").reason == "fewer than 10 events tell it (9)"
    few = figure((np.ones(50), np.repeat([1, 2], 25)), "cut")
    assert few.value == 1.0 and few.low is None and few.reason is not None
    assert difference(alone([1.0] * 9), alone([0.0] * 90), "cut") is None


@pytest.mark.parametrize("value", [1.0, 5.0])
@pytest.mark.parametrize("users", [10, 12, 600])
def test_ratings_that_are_all_equal_have_no_interval(value: float, users: int) -> None:
    """A rating of 1 is the worst of many scales, and no share."""
    events = 4 * users + 1
    found = figure((np.full(events, value), np.arange(events) % users), "rating")
    assert (found.value, found.low, found.high) == (value, None, None)
    assert found.reason == "all values are equal"


@settings(max_examples=8, deadline=None, derandomize=True)
@given(
    share=st.floats(0.02, 0.98),
    first=st.integers(10, 40),
    second=st.integers(10, 30),
)
def test_no_share_alarms_more_often_than_it_may(share: float, first: int, second: int) -> None:
    """The exact probability, over all outcomes, that p is at or below a level is at most that level."""
    for level in (0.05, 0.001):
        alarms = 0.0
        for k0 in range(first + 1):
            for k1 in range(second + 1):
                chance = stats.binom.pmf(k0, first, share) * stats.binom.pmf(k1, second, share)
                if chance > 1e-9 and _p(k0, first, k1, second) <= level:
                    alarms += chance
        assert alarms <= level


_KNOWN: dict[tuple[int, int, int, int], float] = {}


def _p(k0: int, n0: int, k1: int, n1: int) -> float:
    if (k0, n0, k1, n1) not in _KNOWN:
        ones = [np.arange(n) < k for k, n in ((k0, n0), (k1, n1))]
        _KNOWN[k0, n0, k1, n1] = shares_differ(alone(ones[0].astype(float)), alone(ones[1].astype(float))).p
    return _KNOWN[k0, n0, k1, n1]


def test_a_look_is_held_to_its_part_of_a_year() -> None:
    assert (looks(7), looks(1)) == (52, 365)
    rng = np.random.default_rng(4)

    def week(more: float) -> Sample:
        shares = {name: (rng.random(80) < 0.5).astype(float) for name in SHARES}
        return sample(shares | {name: rng.random(80) + more for name in _OTHERS})

    weeks = [week(0.0) for _ in range(5)]
    alarms, _ = look(0.0, 7, joined(weeks[:4]), weeks[4:])
    assert alarms == []
    alarms, _ = look(7 * DAY, 7, joined(weeks[:4]), [weeks[4], week(2.0)])
    assert {alarm.measure for alarm in alarms} == set(_OTHERS)
    assert all(alarm.evidence["level"] == FALSE_ALARMS / 52 for alarm in alarms)


_OTHERS = ("length", "latency_median", "latency_p95", "distance", "rating")
