"""Slow degradation over many runs: found where it is there, not where there is noise."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.compare.comparison import from_paired
from engine.gates.drops import SHORTEST, MeasureSeries, downtrend_alerts
from engine.metrics.exact import TokenF1
from engine.phases.alerts import decline_alerts
from engine.phases.work import Work
from engine.plan.plan import read_plan
from engine.stats.paired import Paired
from store import records
from store.write import Recorder
from tests.engine.runs import queue, recorded_plan

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


@pytest.mark.parametrize(
    ("options", "alerts"), [({}, 1), ({"follow": {"pattern": "outputs/checkpoint-*"}}, 0)]
)
def test_a_run_that_follows_a_training_is_no_step_of_a_decline(
    tmp_path: Path, options: dict[str, Any], alerts: int
) -> None:
    """Its values are those of the newest checkpoint of the day, and its own curve shows them."""
    plan = recorded_plan(tmp_path, [{"id": "1", "query": "q"}], {"base": {}, "lora": {}}, "")
    token_f1 = TokenF1.measures[0]
    for place in range(SHORTEST + 1):
        recorder = Recorder(tmp_path, queue(tmp_path, plan))
        recorder.set_run(options=options)
        ids = {"run_id": recorder.run_id, "role": "candidate", "kind": "recorded", "position": 1}
        lora = recorder.insert(records.StoredModel(name="lora", **ids))
        value = 0.9 - 0.02 * place
        recorder.append(records.ModelScore(model_id=lora, measure="token_f1", value=value, n=9, missing=0))
        work = Work(read_plan(plan), recorder, tmp_path, options, lambda: None)
        work.declare([(token_f1, {})])
        recorder.close()
    paired = Paired(0.3, 0.9, -0.6, -0.7, -0.5, 0.001, 9, 0.1)
    fell = from_paired("lora", "base", "token_f1", "higher", "metric", paired)
    found = decline_alerts(work, {"token_f1": token_f1}, [fell])
    assert [alert.kind for alert in found] == ["slow_decline"] * alerts
