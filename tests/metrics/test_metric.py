"""The registry, the speed metric, and what holds for every metric."""

import numpy as np
import pytest

from engine.data.example import Example
from engine.errors import BadInput
from engine.metrics.efficiency import CACHED, NO_LATENCY, Efficiency
from engine.metrics.load import load_metric
from engine.metrics.metric import NO_TOKENS, Score
from engine.models.model import Response
from engine.plan.metrics import REGISTRY

EXAMPLE = Example("e", "q", ({"role": "user", "content": "q"},), ("ref",), schema={"type": "string"})


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_every_metric_answers_all_its_measures_in_order(name: str) -> None:
    metric = load_metric(name, {})
    names = [measure.name for measure in metric.measures]
    for text in ("ref", "", None):
        scores = metric.score(EXAMPLE, Response("e", text, 1, 1, "stop", 0.5))
        assert [score.measure for score in scores] == names
        for score, measure in zip(scores, metric.measures, strict=True):
            if score.value is None:
                assert score.reason
                continue
            assert measure.low is None or score.value >= measure.low
            assert measure.high is None or score.value <= measure.high
            combined = measure.combine(np.array(score.additive()))
            assert float(combined) == pytest.approx(score.value)


def test_an_unknown_metric_names_the_nearest() -> None:
    with pytest.raises(BadInput, match='did you mean "rouge"'):
        load_metric("rogue", {})


def test_an_unknown_setting_names_the_nearest() -> None:
    with pytest.raises(BadInput, match=r'metrics\.format\.shema \(did you mean "schema"\?\)'):
        load_metric("format", {"shema": "x.json"})
    with pytest.raises(BadInput, match="has no settings"):
        load_metric("length", {"stemmer": True})


def test_speed_is_tokens_over_seconds_of_the_whole_set() -> None:
    metric = Efficiency()
    scores = [
        metric.score(EXAMPLE, Response("e", "x", 1, out, "stop", s))[1] for out, s in ((10, 1.0), (10, 4.0))
    ]
    assert [score.value for score in scores] == [10.0, 2.5]
    total = np.array([score.additive() for score in scores]).sum(axis=0)
    assert float(metric.measures[1].combine(total)) == 4.0


@pytest.mark.parametrize(
    ("response", "reasons"),
    [
        (Response("e", "x", 1, 5, "stop", 2.0, cached=True), [CACHED, CACHED]),
        (Response("e", "x", None, None, None, None), [NO_LATENCY, NO_LATENCY]),
        (Response("e", "x", 1, None, "stop", 2.0), [None, NO_TOKENS]),
        (Response("e", None, None, None, None, 2.0, reason="timed out"), ["timed out", "timed out"]),
    ],
)
def test_time_that_was_not_measured_is_missing(response: Response, reasons: list[str | None]) -> None:
    assert [score.reason for score in Efficiency().score(EXAMPLE, response)] == reasons


def test_additive_parts_of_a_missing_score_are_none() -> None:
    assert Score("m", None, "why").additive() is None
    assert Score("m", 0.25).additive() == (0.25, 1.0)
