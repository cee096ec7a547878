"""The always-valid interval holds at every look, and settles what is clear."""

import numpy as np
import pytest

from engine.stats.winrate import ConfidenceSequence


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
