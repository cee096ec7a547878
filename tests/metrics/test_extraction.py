"""Entities, lists and JSON objects against hand-computed scores."""

import json

import numpy as np
import pytest

from engine.data.example import Example
from engine.metrics.extraction import NO_ENTITIES, NOT_ENTITIES, Entities, SetF1, read_items
from engine.metrics.json_values import NO_OBJECT, NOT_AN_OBJECT, JsonFields, flat, same
from engine.metrics.metric import Metric, Score
from engine.models.model import Response

ANN, OSLO = {"text": "Ann Lee", "type": "PER"}, {"text": "Oslo", "type": "LOC"}


def score(metric: Metric, answer: str | None, *references: object, **extra: object) -> list[Score]:
    texts = tuple(item if isinstance(item, str) else json.dumps(item) for item in references)
    example = Example("e", "q", ({"role": "user", "content": "q"},), texts, extra=extra)
    return metric.score(example, Response("e", answer, 1, 1, "stop", 0.1, reason="timed out"))


def entity_values(given: object, wanted: object) -> list[float | None]:
    return [one.value for one in score(Entities(), json.dumps(given), wanted)]


@pytest.mark.parametrize(
    ("given", "exact", "overlap"),
    [
        ([ANN, OSLO], 1.0, 1.0),
        ([ANN], 2 / 3, 2 / 3),
        ([{"text": "ann lee", "label": "per"}, {"span": "OSLO.", "entity": "loc"}], 1.0, 1.0),
        ([{"text": "Ann", "type": "PER"}, OSLO], 0.5, 1.0),
        ([{"text": "Ann Lee", "type": "LOC"}, OSLO], 0.5, 0.5),
        ([ANN, ANN, OSLO], 0.8, 0.8),
        ({"PER": ["Ann Lee"], "LOC": "Oslo"}, 1.0, 1.0),
        ({"entities": [ANN, OSLO]}, 1.0, 1.0),
        ([], 0.0, 0.0),
    ],
)
def test_entities_by_their_texts(given: object, exact: float, overlap: float) -> None:
    assert entity_values(given, [ANN, OSLO]) == pytest.approx([exact, overlap])


def test_entities_by_their_places() -> None:
    def at(start: int, end: int, kind: str = "X") -> dict[str, object]:
        return {"start": start, "end": end, "type": kind}

    assert entity_values([at(0, 5)], [at(0, 5)]) == [1.0, 1.0]
    assert entity_values([at(0, 4)], [at(0, 5)]) == [0.0, 1.0]
    assert entity_values([at(5, 9)], [at(0, 5)]) == [0.0, 0.0]
    # One wide answer can stand for one entity only, and never takes the one that another finds exactly.
    assert entity_values([at(0, 9)], [at(0, 4), at(5, 9)]) == pytest.approx([0.0, 2 / 3])
    assert entity_values([at(0, 9), at(0, 4)], [at(0, 4), at(5, 9)]) == pytest.approx([0.5, 1.0])


def test_nothing_wanted_and_nothing_found_is_right_and_weighs_nothing() -> None:
    rows = [score(Entities(), "[]", [])[0], score(Entities(), json.dumps([ANN]), [ANN, OSLO])[0]]
    assert rows[0].value == 1.0
    total = np.array([row.additive() for row in rows]).sum(axis=0)
    assert float(Entities.measures[0].combine(total)) == pytest.approx(2 / 3)


def test_entities_that_cannot_be_read() -> None:
    assert score(Entities(), "Ann is a person", [ANN])[0].value == 0.0
    assert score(Entities(), '["Ann"]', [ANN])[0].reason == NOT_ENTITIES
    assert score(Entities(), "[]", "no JSON")[0].reason == NO_ENTITIES
    assert score(Entities(), None, [ANN])[0].reason == "timed out"
    assert score(Entities(), json.dumps([ANN]), entities=[ANN])[0].value == 1.0


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        ('["red", "Green"]', 1.0),
        ("- green\n- red\n", 1.0),
        ("1. red\n2. blue", 0.5),
        ("red, green, blue", 0.8),
        ("red, red, green", 1.0),
        ("", 0.0),
    ],
)
def test_lists_are_sets(answer: str, value: float) -> None:
    assert score(SetF1(), answer, ["red", "green"])[0].value == pytest.approx(value)
    assert score(SetF1(), answer, items=["red", "green"])[0].value == pytest.approx(value)


def test_items_keep_what_only_looks_like_a_bullet() -> None:
    assert read_items("3.5 mm\n4 mm") == {"35 mm", "4 mm"}


def test_fields_are_counted_over_the_set() -> None:
    wanted = {"name": "Ann", "age": 30, "tags": ["x", "y"], "address": {"city": "Oslo"}}
    given = {"name": "ann", "age": 30.0, "tags": ["x"], "address": {"city": "Bergen"}, "note": 1}
    accuracy, match = score(JsonFields(), f"```json\n{json.dumps(given)}\n```", wanted)
    assert accuracy.value == pytest.approx(3 / 5)
    assert accuracy.parts == (3.0, 5.0)
    assert match.value == 0.0
    assert match.reason == "wrong: address.city, tags[1]; not asked for: note"
    assert [one.value for one in score(JsonFields(), json.dumps(wanted), wanted)] == [1.0, 1.0]


def test_no_object_has_no_field_right_and_a_broken_reference_is_missing() -> None:
    assert score(JsonFields(), "[1]", {"a": 1})[0] == Score("field_accuracy", 0.0, NOT_AN_OBJECT, (0.0, 1.0))
    assert score(JsonFields(), "{}", "text")[0].reason == NO_OBJECT
    prose = 'As said in [1] and [{"b": 2}], the result is {"a": 1}.'
    assert score(JsonFields(), prose, {"a": 1})[0].value == 1.0


def test_leaves_and_their_equality() -> None:
    assert flat({"a": {"b": [1, {"c": None}]}, "d": []}) == {"a.b[0]": 1, "a.b[1].c": None, "d": []}
    assert same(1, 1.0) and same("The cat", "cat!") and same(None, None)
    assert not same(1, True) and not same("1", 1) and not same(10**400, 1.5) and not same(None, "")
