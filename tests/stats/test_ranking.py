"""Bradley-Terry strengths from pairs."""

import numpy as np
import pytest
from scipy.optimize import minimize

from engine.stats.winrate import Points, bradley_terry


def _played(strengths: dict[str, float], examples: int, seed: int) -> list[Points]:
    rng = np.random.default_rng(seed)
    names = list(strengths)
    pairs = [(one, other) for at, one in enumerate(names) for other in names[at + 1 :]]
    chance = {
        (one, other): 1 / (1 + 10 ** ((strengths[other] - strengths[one]) / 400)) for one, other in pairs
    }
    return [{pair: float(rng.random() < chance[pair]) for pair in pairs} for _ in range(examples)]


def test_strengths_maximise_the_penalised_likelihood() -> None:
    names = ["a", "b", "c"]
    examples = _played({"a": 1100, "b": 1000, "c": 900}, 60, seed=3)
    wins = np.zeros((3, 3))
    for example in examples:
        for (one, other), point in example.items():
            wins[names.index(one), names.index(other)] += point
            wins[names.index(other), names.index(one)] += 1 - point

    def loss(log_strengths: np.ndarray) -> float:
        apart = log_strengths[:, None] - log_strengths[None, :]
        prior = 0.5 * (np.logaddexp(0, -log_strengths) + np.logaddexp(0, log_strengths)).sum()
        return float((wins * np.logaddexp(0, -apart)).sum() + prior)

    fitted = minimize(loss, np.zeros(3), method="BFGS", options={"gtol": 1e-9}).x
    expected = dict(zip(names, 1000 + 400 / np.log(10) * (fitted - fitted.mean()), strict=True))
    for item in bradley_terry(names, examples):
        assert item.strength == pytest.approx(expected[item.model], abs=1e-2)


def test_the_strongest_comes_first_and_intervals_cover_the_truth() -> None:
    truth = {"base": 900.0, "prompted": 1000.0, "lora": 1100.0}
    covered = total = 0
    for seed in range(12):
        found = bradley_terry(list(truth), _played(truth, 150, seed), seed)
        for item in found:
            assert item.low is not None and item.high is not None
            total += 1
            covered += item.low <= truth[item.model] <= item.high
    assert [item.model for item in found] == ["lora", "prompted", "base"]
    assert covered / total > 0.8


def test_a_model_that_won_everything_has_a_finite_strength() -> None:
    found = bradley_terry(["a", "b"], [{("a", "b"): 1.0}] * 20)
    assert found[0].model == "a" and found[0].strength is not None and 1000 < found[0].strength < 2000
    assert found[0].n == 20
    # Every resample is the same: its spread says nothing of how sure the strength is.
    assert (found[0].low, found[0].high, found[0].reason) == (None, None, "no interval: all examples alike")


def test_ties_alone_make_equals() -> None:
    found = bradley_terry(["a", "b"], [{("a", "b"): 0.5}] * 10)
    assert [item.strength for item in found] == pytest.approx([1000, 1000])


def test_a_model_that_was_never_compared_has_no_strength_but_a_reason() -> None:
    found = {item.model: item for item in bradley_terry(["a", "b", "c"], [{("a", "b"): 1.0}])}
    assert found["c"].strength is None and found["c"].reason == "was never compared"
    assert bradley_terry(["a", "b"], [])[0].reason == "nothing was compared"
