import pytest

from engine.errors import CannotRun
from engine.models.holder import base_key
from engine.phases.fleet import MOST_DEATHS, ModelQueue
from engine.plan.plan import Model

NOW = 0.0


def models(*bases: str) -> list[Model]:
    return [
        Model(name=f"{base}{place}", role="candidate", path=base) for place, base in enumerate(bases, start=1)
    ]


def take(line: ModelQueue, holding: Model | None = None) -> Model:
    model = line.take(base_key(holding) if holding else None, NOW)
    assert model is not None
    return model


def test_models_go_to_the_actor_that_has_their_base() -> None:
    line = ModelQueue(models("a", "b", "a", "b"))
    first = take(line)
    assert first.name == "a1"
    second = take(line)
    assert second.name == "b2", "a base that no actor is at comes before one that another loads already"
    line.done(second)
    assert take(line, second).name == "b4"
    line.done(first)
    assert take(line, first).name == "a3"


def test_an_actor_without_models_of_its_base_takes_others() -> None:
    line = ModelQueue(models("a", "a"))
    take(line)
    assert take(line).name == "a2"
    assert line.take(None, NOW) is None


def test_it_is_over_when_nothing_is_under_way_any_more() -> None:
    line = ModelQueue(models("a"))
    model = take(line)
    assert not line.over
    line.again(model, "killed", moved=False)
    assert not line.over
    line.done(take(line))
    assert line.over


def test_a_model_that_kills_its_actors_stops_the_run() -> None:
    line = ModelQueue(models("a"))
    for _ in range(MOST_DEATHS - 1):
        line.again(take(line), "out of memory", moved=False)
    with pytest.raises(
        CannotRun, match=r"a1: 3 actors died in a row before it made progress: out of memory"
    ) as error:
        line.again(take(line), "out of memory", moved=False)
    assert "vLLM" in error.value.hint


def test_a_model_that_gets_on_may_lose_any_number_of_actors() -> None:
    line = ModelQueue(models("a"))
    for _ in range(10):
        line.again(take(line), "spot machine taken", moved=True)
    assert not line.over


def test_after_a_failure_nothing_is_given_out() -> None:
    line = ModelQueue(models("a", "b"))
    line.fail()
    assert line.take(None, NOW) is None
    assert line.over
