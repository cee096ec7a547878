"""Tool calls are scored by function, arguments and schema; BFCL's possible answers by its checker's rules."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.data.calls import ToolCall
from engine.data.example import Example
from engine.metrics.metric import Sums, combine_f1
from engine.metrics.tool_calls import ToolCalls
from engine.models.model import Response, missing
from engine.run.outputs import OutputScores, read_outputs

METRIC = ToolCalls()
PROPERTIES: dict[str, Any] = {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1}}
SCHEMA = {"type": "object", "properties": PROPERTIES, "required": ["city"]}
OSLO = {"city": "Oslo", "days": 2}


def tool(name: str, schema: Any = SCHEMA) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": schema}}


def call(name: str = "weather", /, **arguments: Any) -> ToolCall:
    return ToolCall(name=name, arguments=arguments)


def said(*calls: ToolCall) -> str:
    return "\n".join(f"<tool_call>{json.dumps(call)}</tool_call>" for call in calls)


RIGHT, TOOLS = (call(**OSLO),), (tool("weather"),)


def scores(
    text: str | None, right: Any = RIGHT, tools: tuple[dict[str, Any], ...] = TOOLS
) -> dict[str, tuple[float | None, str | None]]:
    example = Example("e", "Weather?", ({"role": "user", "content": "Weather?"},), tools=tools, calls=right)
    response = missing(example, "timed out") if text is None else Response("e", text, 1, 1, "stop", 0.1)
    found = METRIC.score(example, response)
    assert [score.measure for score in found] == [measure.name for measure in METRIC.measures]
    return {score.measure.removeprefix("tool_"): (score.value, score.reason) for score in found}


def values(text: str, right: Any, *tools: dict[str, Any]) -> list[float | None]:
    """Made, function, match, argument F1."""
    found = scores(text, right, tools or (tool("weather"), tool("time", {})))
    return [found[name][0] for name in ("made", "function", "match", "argument_f1")]


def test_the_right_call_has_all_and_in_any_order() -> None:
    found = scores(said(call(days=2, city="Oslo")))
    assert {name for name, (value, _) in found.items() if value == 1} == {*found} - {"abstained"}
    assert found["abstained"] == (None, "a call is right here")


@pytest.mark.parametrize(
    ("text", "right", "expected"),
    [
        (said(call(city="Oslo", days=3)), [call(**OSLO)], [1, 1, 0, 0.5]),
        (said(call(city="Oslo")), [call(**OSLO)], [1, 1, 0, 2 / 3]),
        (said(call(**OSLO, zip=1)), [call(**OSLO)], [1, 1, 0, 0.8]),
        (said(call("time", **OSLO)), [call(**OSLO)], [1, 0, 0, 0]),
        (said(call("time")), [call("time")], [1, 1, 1, None]),
        ("It rains.", [call(**OSLO)], [0, 0, 0, 0]),
        ("", [call("time")], [0, 0, 0, None]),
        (said(call("time"), call(**OSLO)), [call(**OSLO), call("time")], [1, 1, 1, 1]),
        (said(call(**OSLO), call(**OSLO)), [call(**OSLO)], [1, 0, 0, 2 / 3]),
        (said(call(**OSLO)), [call(**OSLO), call(city="Bergen", days=1)], [1, 0, 0, 2 / 3]),
        (said(call(city="B"), call(city="A")), [call(city="A"), call(city="B")], [1, 1, 1, 1]),
        (said(call(days="2", city="Oslo")), [call(**OSLO)], [1, 1, 0, 0.5]),
        (said(call(days=2.0, city="Oslo")), [call(**OSLO)], [1, 1, 1, 1]),
        (said(call(days=True)), [call(days=1)], [1, 1, 0, 0]),
        (said(call(city="oslo")), [call(city="Oslo")], [1, 1, 0, 0]),
        (said(call(a={"x": [1, None], "y": 0})), [call(a={"y": 0, "x": [1, None]})], [1, 1, 1, 1]),
        (said(call(a=[1, 2])), [call(a=[2, 1])], [1, 1, 0, 0]),
    ],
)  # fmt: skip
def test_functions_and_arguments(text: str, right: list[ToolCall], expected: list[float | None]) -> None:
    assert values(text, tuple(right)) == pytest.approx(expected)


def test_reasons_say_what_is_wrong() -> None:
    assert scores("Rain.")["match"] == (0, "the response makes no call")
    assert scores(said(call("time")))["function"] == (0, "expected weather, called time")
    assert scores(said(call(city="Bergen")))["match"] == (0, "the arguments differ")
    assert scores('<tool_call>{"name": "weather"')["made"][0] == 0
    assert "cannot be read" in str(scores('<tool_call>{"name": "weather"')["made"][1])
    assert set(scores(None).values()) == {(None, "timed out")}
    unknown = scores(said(call()), right=None)
    assert (
        unknown["match"] == unknown["abstained"] == (None, "the example does not say which calls are right")
    )


@pytest.mark.parametrize(
    ("text", "value", "reason"),
    [
        ("It rains.", 1, None),
        ("", 1, None),
        (said(call(), call("time")), 0, "weather, time"),
        ("<tool_call>{", 0, "the call cannot be read"),
    ],
)
def test_abstention_where_no_call_is_right(text: str, value: float, reason: str | None) -> None:
    found = scores(text, right=())
    assert found["abstained"][0] == value and (found["abstained"][1] or "").startswith(reason or "")
    assert found["made"] == found["match"] == (None, "no call is right here")


@pytest.mark.parametrize(
    ("text", "value", "reason"),
    [
        (said(call(**OSLO)), 1, None),
        (said(call(days=2)), 0, "weather at $: 'city' is a required property"),
        (said(call(city="Oslo", days=0)), 0, "weather at $.days: 0 is less than the minimum of 1"),
        (said(call(**OSLO), call("storm")), 0, "there is no tool 'storm'"),
        ("It rains.", None, "the response makes no call"),
        ("<tool_call>{", 0, "the call cannot be read: "),
    ],
)
def test_calls_are_valid_under_the_schemas_of_their_tools(
    text: str, value: float | None, reason: str | None
) -> None:
    for right in ((call(**OSLO),), (), None):
        found = scores(text, right)["valid"]
        assert found[0] == value and (found[1] or "").startswith(reason or "")


def test_validity_is_missing_without_tools_or_with_a_schema_that_cannot_be_used() -> None:
    assert scores(said(call()), tools=())["valid"] == (None, "the example names no tools")
    broken = scores(said(call()), tools=(tool("weather", {"$ref": "https://x.org/s"}),))["valid"]
    assert broken[0] is None and "the schema of the tool weather" in str(broken[1])
    python_types = {"type": "dict", "properties": {"city": {"type": "str"}}}
    assert scores(said(call(city="Oslo")), tools=(tool("weather", python_types),))["valid"][0] == 1


# Each vector was put to BFCL's own ast_checker (gorilla, March 2026): the type of a parameter, the values
# that are right, the one given (... for none), and whether it is right.
INTEGERS = {"type": "array", "items": {"type": "integer"}}
FLOATS = {"type": "array", "items": {"type": "float"}}
OBJECTS = {"type": "array", "items": {"type": "dict"}}
VECTORS: list[tuple[dict[str, Any], list[Any], Any, bool]] = [
    ({"type": "string"}, ["New York, NY"], "new york ny", True),
    ({"type": "string"}, ["it's"], 'it"s', True),
    ({"type": "string"}, ["April 1, 2024"], "april-1/2024.", True),
    ({"type": "string"}, ["Oslo"], "Oslo (Norway)", False),
    ({"type": "string"}, ["5"], 5, False),
    ({"type": "string"}, ["C", ""], ..., True),
    ({"type": "string"}, ["C", ""], "", True),
    ({"type": "string"}, ["C"], ..., False),
    ({"type": "integer"}, [5], 5.0, False),
    ({"type": "integer"}, [1], True, False),
    ({"type": "integer"}, [5, 6], 6, True),
    ({"type": "integer"}, ["n"], "n", True),
    ({"type": "integer"}, ["n"], "N", False),
    ({"type": "float"}, [5.0], 5, True),
    ({"type": "float"}, [5], 5.0, True),
    ({"type": "float"}, [0.5], "0.5", False),
    ({"type": "boolean"}, [True], "true", False),
    ({"type": "any"}, [3], 3, True),
    (INTEGERS, [[1, 2]], [1, 2], True),
    (INTEGERS, [[1, 2]], [2, 1], False),
    (INTEGERS, [[1, 2]], [1.0, 2.0], False),
    (INTEGERS, [[1], ""], [], True),
    (FLOATS, [[1.0, 2.5]], [1, 2.5], False),
    (FLOATS, [[1, 2]], [1.0, 2.0], True),
    ({"type": "array", "items": {"type": "string"}}, [["a b", "C"]], ["A-B", "c"], True),
    ({"type": "tuple", "items": {"type": "integer"}}, [[1, 2]], [1, 2], True),
    ({"type": "dict"}, [{"a": [1, 2], "b": ["x", ""]}], {"a": 2}, True),
    ({"type": "dict"}, [{"a": [1], "b": ["x"]}], {"a": 1}, False),
    ({"type": "dict"}, [{"a": ["X y"]}], {"a": "xy"}, True),
    ({"type": "dict"}, [{"a": [1]}], {"a": 1, "c": 2}, False),
    (OBJECTS, [[{"a": [1]}, {"a": [2]}]], [{"a": 1}, {"a": 2}], True),
    (OBJECTS, [[{"a": [1]}, {"a": [2]}]], [{"a": 2}, {"a": 1}], False),
    (OBJECTS, [[{"a": [1]}]], [{"a": 1}, {"a": 1}], False),
]  # fmt: skip


@pytest.mark.parametrize(("part", "allowed", "given", "right"), VECTORS)
def test_possible_answers_are_judged_as_bfcls_checker_does(
    part: Any, allowed: list[Any], given: Any, right: bool
) -> None:
    schema = {"type": "dict", "properties": {"p": part}, "required": []}
    due = (ToolCall(name="f", allowed={"p": allowed}),)
    made = call("f") if given is ... else call("f", p=given)
    assert scores(said(made), due, (tool("f", schema),))["match"][0] == right


def test_bfcls_required_and_unknown_parameters() -> None:
    schema = {
        "type": "dict",
        "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
        "required": ["a"],
    }
    due = (ToolCall(name="f", allowed={"a": ["x", ""], "b": ["y", ""]}),)
    for made, right, f1 in (
        (call("f", a="x"), 1, 1),
        (call("f", b="y"), 0, 2 / 3),
        (call("f", a="x", c=1), 0, 2 / 3),
    ):
        found = scores(said(made), due, (tool("f", schema),))
        assert (found["match"][0], found["argument_f1"][0]) == (right, pytest.approx(f1))


def test_parallel_calls_are_matched_as_well_as_they_can_be() -> None:
    """BFCL takes the first call that fits the first answer, and then finds none for the second."""
    schema = {"type": "dict", "properties": {"p": {"type": "integer"}}, "required": []}
    due = tuple(ToolCall(name="f", allowed={"p": allowed}) for allowed in ([1, 2], [1]))
    assert scores(said(call("f", p=1), call("f", p=2)), due, (tool("f", schema),))["match"][0] == 1


def test_argument_f1_of_a_set_sums_over_its_examples() -> None:
    parts = [METRIC.score(*pair)[4].additive() for pair in (
        (example(call(**OSLO)), response(said(call(**OSLO)))),
        (example(call(**OSLO)), response("Rain.")),
    )]  # fmt: skip
    summed: Sums = sum(map(np.array, parts))
    assert combine_f1(summed) == pytest.approx(2 * 2 / (2 + 4))


def example(*right: ToolCall) -> Example:
    return Example("e", "Q", ({"role": "user", "content": "Q"},), tools=(tool("weather"),), calls=right)


def response(text: str) -> Response:
    return Response("e", text, 1, 1, "stop", 0.1)


def test_recorded_answers_are_scored_in_any_form(tmp_path: Path) -> None:
    """`assay score`: texts, and the calls of OpenAI's API beside a missing text."""
    right = [{"name": "weather", "arguments": OSLO}]
    record = {"tools": [tool("weather")], "answers": right}
    function = {"name": "weather", "arguments": json.dumps(OSLO)}
    answers = [
        {"response": None, "tool_calls": [{"id": "x", "type": "function", "function": function}]},
        {"response": json.dumps({"name": "weather", "parameters": OSLO})},
        {"response": "<think>Oslo.</think>\n" + said(call(**OSLO))},
        {"response": "It rains."},
        {"response": None},
    ]
    path = tmp_path / "answers.jsonl"
    rows = [{"query": f"Q{n}", **record, **answer} for n, answer in enumerate(answers)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = OutputScores(read_outputs(path), ["tool_calls"], {})
    list(found)
    totals = {total.measure.name: total for total in found.totals()}
    assert (totals["tool_match"].interval.value, totals["tool_match"].missing) == (0.75, 1)
    assert (totals["tool_valid"].interval.value, totals["tool_valid"].interval.n) == (1, 3)
