"""The planned number of examples shows the planned difference in about 80 % of studies."""

import pytest
from scipy.stats import binom

from engine.stats.family import (
    FEWEST,
    LEVEL,
    examples_for,
    examples_needed,
    sign_test,
    smallest_change,
    smallest_difference,
    spread_of_shares,
)


def power(examples: int, differing: float, difference: float, looks: int) -> float:
    """The chance that the exact test of right and wrong shows a true difference, without simulation."""
    share = (differing + difference) / 2 / differing  # of the changed examples, those that got better
    found = 0.0
    for changed in range(examples + 1):
        weight = binom.pmf(changed, examples, differing)
        if weight < 1e-6:
            continue
        lost = -1
        while lost + 1 <= changed // 2 and sign_test(lost + 1, changed - lost - 1) * looks <= LEVEL:
            lost += 1
        found += weight * binom.cdf(lost, changed, 1 - share)
    return float(found)


@pytest.mark.parametrize("looks", [1, 5])
@pytest.mark.parametrize(
    ("differing", "difference"), [(0.05, 0.05), (0.125, 0.05), (0.125, 0.1), (0.25, 0.1), (0.5, 0.2)]
)
def test_the_exact_test_has_the_power_that_the_plan_says(
    differing: float, difference: float, looks: int
) -> None:
    planned = examples_for(difference, spread_of_shares(differing), looks)
    assert power(planned, differing, difference, looks) > 0.775
    # Seven tenths of the examples are too few: the plan asks for no more than it takes.
    assert power(planned * 7 // 10, differing, difference, looks) < 0.79


@pytest.mark.parametrize("examples", [30, 50, 62, 64, 200, 1000])
def test_the_smallest_change_of_so_many_examples_takes_so_many(examples: int) -> None:
    change = smallest_change(examples)
    needed = examples_for(change, spread_of_shares(max(0.125, change)))
    assert examples <= needed <= examples * 1.1 + 1


def test_a_plan_and_what_a_run_says_to_need_are_one_rule() -> None:
    error, n = 0.02, 150
    for distance in (0.01, 0.03, 0.05):
        planned = examples_for(distance, error * n**0.5, 3)
        assert examples_needed(error, distance, n, 3) == max(n + 1, planned)
        assert smallest_difference(planned, error * n**0.5, 3) == pytest.approx(distance, rel=0.05)


def test_fewer_examples_than_an_interval_takes_are_never_planned() -> None:
    assert examples_for(1.0, 0.01) == FEWEST
