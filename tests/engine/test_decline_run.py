"""Slow degradation over many runs: found where it is there, not where there is noise."""

import numpy as np

from engine.gates.drops import SHORTEST, MeasureSeries, downtrend_alerts

RUNS = 30


def series(
    values: "np.typing.NDArray[np.float64]", lower: bool = False, measure: str = "rouge1"
) -> MeasureSeries:
    shown = tuple(float(value) for value in values)
    return MeasureSeries("lora", measure, lower, 0.05, shown, tuple(range(1, len(shown) + 1)))


def history(seed: int, loss: float) -> "np.typing.NDArray[np.float64]":
    return 0.8 + np.random.default_rng(seed).normal(0, 0.008, RUNS) - np.linspace(0, loss, RUNS)


def test_thirty_runs_that_lose_a_little_each_are_caught() -> None:
    falling = history(0, 0.06)
    [alert] = downtrend_alerts([series(falling)])
    assert (alert.severity, alert.kind, alert.baseline) == ("critical", "slow_decline", None)
    assert alert.message.startswith("rouge1 of lora has been getting worse over 30 runs, from 0.8")
    assert alert.evidence.runs == tuple(range(1, 31))
    [mild] = downtrend_alerts([series(history(0, 0.03))])
    assert mild.severity == "warning"


def test_it_is_caught_before_the_end_and_while_each_step_is_small() -> None:
    falling = history(1, 0.06)
    first = next(n for n in range(SHORTEST, RUNS + 1) if downtrend_alerts([series(falling[:n])]))
    assert first <= 26


def test_a_rise_of_what_should_fall_is_a_decline_too() -> None:
    [alert] = downtrend_alerts([series(0.5 - (history(2, 0.06) - 0.8), lower=True, measure="toxicity")])
    assert alert.evidence.delta > 0
    assert downtrend_alerts([series(0.5 - (history(2, 0.06) - 0.8))]) == []


def test_stable_histories_raise_nothing_whenever_they_are_looked_at() -> None:
    alarmed = 0
    for seed in range(20):
        measures = [history(100 * seed + place, 0.0) for place in range(5)]
        looks = (
            downtrend_alerts(
                [series(values[:n], measure=str(place)) for place, values in enumerate(measures)]
            )
            for n in range(SHORTEST, RUNS + 1)
        )
        alarmed += any(looks)
    assert alarmed <= 1


def test_a_decline_that_is_certain_but_tiny_is_nobodys_worry() -> None:
    assert downtrend_alerts([series(np.linspace(0.8, 0.79, RUNS))]) == []


def test_too_few_runs_say_nothing() -> None:
    assert downtrend_alerts([series(np.linspace(0.8, 0.5, SHORTEST - 1))]) == []
