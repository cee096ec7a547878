"""Format compliance: JSON, whole and alone, valid under a schema that needs no network; and lengths."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.data.example import Example
from engine.data.schemas import compile_schema
from engine.errors import BadInput
from engine.metrics.efficiency import Length
from engine.metrics.json_values import NO_SCHEMA, FormatCompliance, find_json
from engine.metrics.metric import Score
from engine.models.model import Response
from engine.run.outputs import OutputScores, read_outputs

SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {"category": {"enum": ["billing", "access"]}, "priority": {"$ref": "#/$defs/level"}},
    "required": ["category", "priority"],
    "additionalProperties": False,
    "$defs": {"level": {"type": "integer", "minimum": 1, "maximum": 3}},
}
GOOD = '{"category": "billing", "priority": 2}'


def check(
    text: str | None, schema: dict[str, Any] | bool | None = SCHEMA, metric: FormatCompliance | None = None
) -> Score:
    return both(text, schema, metric)[0]


def both(
    text: str | None, schema: dict[str, Any] | bool | None = SCHEMA, metric: FormatCompliance | None = None
) -> list[Score]:
    example = Example("e7", "q", ({"role": "user", "content": "q"},), schema=schema)
    return (metric or FormatCompliance()).score(example, Response("e7", text, 1, 1, "stop", 0.1))


def test_a_valid_response_complies_without_a_reason() -> None:
    assert check(f"\n {GOOD}\n") == Score("format_compliance", 1.0)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "the response is empty"),
        ("Sure! " + GOOD, "not JSON"),
        (GOOD + " Anything else?", "not JSON: Extra data"),
        ('{"category": "billing"}', "'priority' is a required property"),
        ('{"category": "billing", "priority": 9}', "at $.priority: 9 is greater than the maximum of 3"),
        (
            '{"category": "other", "priority": 1}',
            "at $.category: 'other' is not one of ['billing', 'access']",
        ),
        ('{"category": "billing", "priority": NaN}', "NaN is not a JSON value"),
        ("9" * 5000, "not JSON"),
        (f"```json\n{GOOD}\n```", "the JSON is in a Markdown fence"),
    ],
)
def test_a_fault_scores_zero_and_keeps_its_reason(text: str, reason: str) -> None:
    score = check(text)
    assert score.value == 0.0
    assert reason in (score.reason or "")


def test_json_that_parses_is_counted_apart_from_json_that_complies() -> None:
    assert [score.value for score in both('{"category": "other"}')] == [0.0, 1.0]
    assert [score.value for score in both("no JSON")] == [0.0, 0.0]
    assert [score.value for score in both("[1]", schema=None)] == [None, 1.0]
    assert [score.value for score in both("[" * 200_000)] == [None, None]


def test_a_fence_is_allowed_only_when_asked_for_and_alone() -> None:
    metric = FormatCompliance(around="fenced")
    assert check(f"```json\n{GOOD}\n```", metric=metric).value == 1.0
    assert check(f"```\n{GOOD}\n```\n", metric=metric).value == 1.0
    assert check(GOOD, metric=metric).value == 1.0
    assert check(f"Here:\n```json\n{GOOD}\n```", metric=metric).value == 0.0


def test_prose_is_allowed_only_when_asked_for() -> None:
    metric = FormatCompliance(around="anywhere")
    for text in (f"Here:\n```json\n{GOOD}\n```\nBye", f"Sure: {GOOD} Anything else?", GOOD):
        assert check(text, metric=metric).value == 1.0
    assert check("Sure.", metric=metric).value == 0.0
    assert check('Sure: {"category": "billing"}', metric=metric).value == 0.0
    with pytest.raises(BadInput, match=r"metrics\.format\.around: found 'prose'; allowed: strict, fenced"):
        FormatCompliance(around="prose")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('As said in [1], the result is {"a": 1}.', {"a": 1}),
        ('Of [2, 3] take [{"a": 1}].', [{"a": 1}]),
        ("Not [2], not [3, 4], but [5, 6, 7].", [5, 6, 7]),
        ("[1] " * 30 + '{"a": 1}', {"a": 1}),
        ("[1]", [1]),
    ],
)
def test_in_prose_objects_go_before_lists_and_long_lists_before_short(text: str, found: object) -> None:
    assert find_json(text) == found


def test_a_citation_is_no_json() -> None:
    fault = check("I cannot do that, see [1].", metric=FormatCompliance(around="anywhere"))
    assert (fault.value, fault.reason) == (0.0, "no JSON in the response")


@pytest.mark.parametrize("schema", [3, [], "not JSON", {"type": "objekt"}])
def test_one_bad_schema_costs_its_example_and_not_the_file(tmp_path: Path, schema: object) -> None:
    file = tmp_path / "answers.jsonl"
    rows = [
        {"id": str(place), "query": str(place), "response": "1", "schema": one}
        for place, one in enumerate([True, schema, {"type": "integer"}])
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = [scores[0] for _, scores in OutputScores(read_outputs(file), ["format"], {})]
    assert [score.value for score in found] == [1.0, None, 1.0]
    assert "the schema of example 1" in (found[1].reason or "")


def test_what_cannot_be_checked_is_missing() -> None:
    assert check(None).value is None
    assert check(GOOD, schema=None).reason == NO_SCHEMA
    assert check("[" * 200_000).value is None
    broken = check(GOOD, schema={"type": "objekt"})
    assert broken.value is None
    assert "example e7" in (broken.reason or "")
    assert check(GOOD, schema={"$ref": "#"}).value is None


def test_the_schema_file_serves_examples_that_bring_none(tmp_path: Path) -> None:
    file = tmp_path / "schema.json"
    file.write_text(json.dumps(SCHEMA))
    metric = FormatCompliance(schema=str(file))
    assert check(GOOD, schema=None, metric=metric).value == 1.0
    assert check("{}", schema=None, metric=metric).value == 0.0
    assert check("{}", schema={"type": "object"}, metric=metric).value == 1.0


@pytest.mark.parametrize(
    "remote",
    [
        {"$ref": "http://127.0.0.1:9/schema.json"},
        {"properties": {"a": {"items": {"$ref": "other.json#/$defs/x"}}}},
        {"$ref": "#/hidden", "hidden": {"$ref": "https://example.invalid/x"}},
        {"$ref": "#/nowhere"},
        {"$ref": "http://json-schema.org/draft-07/schemas"},
    ],
)
def test_references_out_of_the_schema_are_refused_never_fetched(remote: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match="does not resolve"):
        FormatCompliance(schema=remote)


def test_a_schema_of_true_allows_everything_and_false_nothing() -> None:
    assert check("1", schema=True).value == 1.0
    assert check("no JSON", schema=True).value == 0.0
    assert check("1", schema=False).value == 0.0


@pytest.mark.parametrize(
    "meta", ["http://json-schema.org/draft-07/schema#", "https://json-schema.org/draft/2020-12/schema"]
)
def test_the_drafts_own_schemas_can_be_referred_to(meta: str) -> None:
    for schema in ({"$schema": meta, "$ref": meta}, {"$schema": meta, "properties": {"a": {"$ref": meta}}}):
        assert check('{"type": "integer"}', schema=schema).value == 1.0
    assert check('{"type": 1}', schema={"$schema": meta, "$ref": meta}).value == 0.0


EVIL = "^(a|a)*$"
DRAFT = "https://json-schema.org/draft/2020-12/schema"
DRAFT_3, DRAFT_4 = (f"http://json-schema.org/draft-0{number}/schema#" for number in (3, 4))


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ({"properties": {"a": {"pattern": EVIL}}}, '{"a": "%s!"}'),
        ({"patternProperties": {EVIL: {}}}, '{"%s!": 1}'),
        ({"patternProperties": {EVIL: {}}, "additionalProperties": False}, '{"%s!": 1}'),
        ({"additionalProperties": False, "patternProperties": {EVIL: {}}, "$schema": DRAFT_3}, '{"%s!": 1}'),
        ({"unevaluatedProperties": False, "patternProperties": {EVIL: {}}}, '{"%s!": 1}'),
        ({"unevaluatedProperties": False, "allOf": [{"patternProperties": {EVIL: {}}}]}, '{"%s!": 1}'),
        ({"propertyNames": {"pattern": EVIL}}, '{"%s!": 1}'),
        ({"patternProperties": {f"{EVIL}|{place}": {} for place in range(50)}}, '{"%s!": 1}'),
    ],
)
def test_a_pattern_that_backtracks_for_ever_is_stopped_and_missing(
    schema: dict[str, Any], text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.data.schemas.TIMEOUT_S", 0.02)
    found = check(text % ("a" * 40), schema=schema)
    assert found.value is None
    assert "the pattern did not finish" in (found.reason or "")


def twice(keyword: str, leaf: Any) -> dict[str, Any]:
    """40 definitions, each the next one twice: a short schema of 2^40 steps."""
    steps: dict[str, Any] = {f"d{n}": {keyword: [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(40)}
    if keyword == "dependentSchemas":
        steps = {name: {keyword: dict(zip("xy", step[keyword], strict=True))} for name, step in steps.items()}
    return {"unevaluatedProperties": False, "$ref": "#/$defs/d0", "$defs": {**steps, "d40": leaf}}


@pytest.mark.parametrize(
    "schema",
    [
        twice("allOf", True),
        twice("allOf", {}),
        twice("anyOf", {"type": "string"}),
        twice("oneOf", {}),
        twice("dependentSchemas", {}),
        {"properties": {"x": {"$schema": DRAFT, "$id": "http://inner.invalid/", **twice("allOf", {})}}},
        {"$schema": DRAFT, **twice("allOf", {"allOf": [True] * 2}), "properties": {"x": {"$ref": "#"}}},
        {"$dynamicAnchor": "meta", "properties": {"x": {"$ref": DRAFT}}, **twice("allOf", {})},
    ],
)  # fmt: skip
def test_references_that_double_are_stopped_and_missing(
    schema: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.data.schemas.SCHEMA_S", 0.2)
    found = check('{"x": {"x": 1, "y": 1}, "y": 1}', schema=schema)
    assert found.value is None
    assert "the schema's check did not finish on this response within 0.2 s" in (found.reason or "")


def nested(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for _ in range(levels):
        schema = {"items": schema}
    return schema


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        (nested(100), "it is nested more than 100 deep"),
        ({"enum": ["x" * 1_000_000]}, "characters; at most 1,000,000 are used"),
        ({"$schema": "http://[x"}, "unknown JSON Schema draft"),
        ({"properties": {"a": {"$schema": "http://[x"}}}, "a part of the schema names an unknown draft"),
        ({"pattern": "a|" * 20_000}, "has 40,000 characters; a regular expression may have 20,000"),
        ({"multipleOf": 0.5}, "a number is too large to be checked"),
    ],
)
def test_what_is_out_of_bounds_is_missing(schema: dict[str, Any], reason: str) -> None:
    text = "1" + "0" * 400 if "multipleOf" in schema else '"a"'
    found = check(text, schema=schema)
    assert found.value is None
    assert reason in (found.reason or "")


def test_many_items_are_compared_in_one_pass() -> None:
    """jsonschema compares each with each: 20,000 objects took minutes."""
    many = [{"a": place} for place in range(20_000)]
    assert check(json.dumps(many), schema={"uniqueItems": True}).value == 1.0
    assert check(json.dumps([*many, {"a": 0.0}]), schema={"uniqueItems": True}).value == 0.0
    assert check("[1, true, [1], [true], {}]", schema={"uniqueItems": True}).value == 1.0
    assert check(json.dumps({"enum": many}), schema={"$schema": DRAFT_4, "$ref": DRAFT_4}).value == 1.0


def test_a_property_called_ref_is_no_reference() -> None:
    schema = {"properties": {"$ref": {"type": "string"}}, "enum": [{"$ref": "http://x.invalid"}]}
    assert check('{"$ref": "http://x.invalid"}', schema=schema).value == 1.0


def test_the_draft_named_in_the_schema_is_used() -> None:
    exclusive = {"type": "number", "maximum": 3, "exclusiveMaximum": True}
    draft4 = compile_schema({"$schema": "http://json-schema.org/draft-04/schema#", **exclusive}, "s")
    assert not draft4.is_valid(3)
    with pytest.raises(BadInput, match="not a valid schema"):
        compile_schema(exclusive, "s")
    with pytest.raises(BadInput, match="unknown JSON Schema draft"):
        compile_schema({"$schema": "https://example.invalid/mine"}, "s")


@pytest.mark.parametrize(
    ("content", "message"), [("{", "not JSON"), ("[]", "a JSON object"), (None, "can't be read")]
)
def test_a_bad_schema_file_is_named(tmp_path: Path, content: str | None, message: str) -> None:
    file = tmp_path / "schema.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(BadInput, match=message) as error:
        FormatCompliance(schema=str(file))
    assert str(file) in str(error.value)


def test_lengths() -> None:
    example = Example("e", "q", ({"role": "user", "content": "q"},))
    words, tokens = Length().score(example, Response("e", "two  words 打印", 1, 9, "stop", None))
    assert (words.value, tokens.value) == (4.0, 9.0)
    words, tokens = Length().score(example, Response("e", "", None, None, None, None))
    assert (words.value, tokens.value) == (0.0, None)
    assert tokens.reason


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(0, 4) | st.sampled_from(["billing", "access", "x"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["category", "priority", "other"]), inner, max_size=3)
    ),
    max_leaves=5,
)


@pytest.mark.parametrize("draft", ["draft-07/schema#", "draft/2019-09/schema", "draft/2020-12/schema"])
@settings(suppress_health_check=[HealthCheck.too_slow])  # a busy machine makes no schema wrong
@given(value=VALUES)
def test_compliance_equals_jsonschemas_verdict(draft: str, value: Any) -> None:
    start = "http://json-schema.org/" if draft.startswith("draft-") else "https://json-schema.org/"
    schema = SCHEMA | {"$schema": start + draft}
    valid = jsonschema.validators.validator_for(schema)(schema).is_valid(value)
    assert check(json.dumps(value), schema).value == float(valid)
