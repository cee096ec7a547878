"""A model's calls of tools are read from its text in the forms of its family; broken ones are named."""

import json
from time import process_time
from typing import Any

import pytest

from engine.data.calls import FoundCalls, ToolCall, find_calls, schema_of, with_calls

ARGUMENTS: dict[str, Any] = {"city": "Oslo", "days": 2, "units": ["C", "F"], "exact": True}
GIVEN = json.dumps(ARGUMENTS)
PROPERTIES = {
    "city": {"type": "string"}, "days": {"type": "integer"}, "units": {"type": "array"},
    "exact": {"type": "boolean"}, "zip": {"type": "string"},
}  # fmt: skip
TOOL = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": PROPERTIES}},
}
WEATHER = ToolCall(name="weather", arguments=ARGUMENTS)
TIME = ToolCall(name="time", arguments={})
XML = (
    "<function=weather>\n<parameter=city>\nOslo\n</parameter>\n<parameter=days>\n2\n</parameter>\n"
    '<parameter=units>\n["C", "F"]\n</parameter>\n<parameter=exact>\nTrue\n</parameter>\n</function>'
)
DSML = (
    '<｜DSML｜function_calls>\n<｜DSML｜invoke name="weather">\n'
    '<｜DSML｜parameter name="city" string="true">Oslo</｜DSML｜parameter>\n'
    '<｜DSML｜parameter name="days" string="false">2</｜DSML｜parameter>\n'
    '<｜DSML｜parameter name="units" string="false">["C", "F"]</｜DSML｜parameter>\n'
    '<｜DSML｜parameter name="exact" string="false">true</｜DSML｜parameter>\n'
    "</｜DSML｜invoke>\n</｜DSML｜function_calls>"
)
GLAIVE = f'<functioncall> {{"name": "weather", "arguments": \'{GIVEN}\'}} <|endoftext|>'
FORMS = {
    "Hermes": f'<tool_call>\n{{"name": "weather", "arguments": {GIVEN}}}\n</tool_call>',
    "Hermes after words": f'I look.\n<tool_call>{{"name": "weather", "arguments": {GIVEN}}}</tool_call>',
    "Hermes, not closed": f'<tool_call>{{"arguments": {GIVEN}, "name": "weather"}}',
    "Qwen3-Coder": f"I look.\n<tool_call>\n{XML}\n</tool_call>",
    "Qwen3-Coder, bare": XML,
    "GLM": "<tool_call>weather\n<arg_key>city</arg_key>\n<arg_value>Oslo</arg_value>\n<arg_key>days</arg_key>"
    '<arg_value>2</arg_value><arg_key>units</arg_key><arg_value>["C", "F"]</arg_value>'
    "<arg_key>exact</arg_key><arg_value>true</arg_value></tool_call>",
    "Kimi": "<|tool_calls_section_begin|><|tool_call_begin|>functions.weather:0<|tool_call_argument_begin|>"
    f"{GIVEN}<|tool_call_end|><|tool_calls_section_end|>",
    "Granite 3.0": f'<|tool_call|>[{{"name": "weather", "arguments": {GIVEN}}}]',
    "Granite 3.1": f'<tool_call>[{{"name": "weather", "arguments": {GIVEN}}}]',
    "Llama 3.1": f'{{"name": "weather", "parameters": {GIVEN}}}<|eom_id|>',
    "Llama 3.1 with its mark": f'<|python_tag|>{{"name": "weather", "parameters": {GIVEN}}}',
    "Llama 3.1 with a type": f'{{"type": "function", "name": "weather", "parameters": {GIVEN}}}',
    "Llama 3.1's function": f"<function=weather>{GIVEN}</function>",
    "OpenAI": json.dumps([{"type": "function", "function": {"name": "weather", "arguments": GIVEN}}]),
    "in a fence": f'```json\n{{"name": "weather", "arguments": {GIVEN}}}\n```',
    "Python": '[weather(city="Oslo", days=2, units=("C", "F"), exact=true)]',
    "Llama 4": "<|python_start|>[weather(city='Oslo', days=2, units=['C', 'F'], exact=True)]<|python_end|>",
    "Mistral": f'[TOOL_CALLS] [{{"name": "weather", "arguments": {GIVEN}}}]</s>',
    "Mistral v11": f"[TOOL_CALLS]weather[CALL_ID]abcDEF123[ARGS]{GIVEN}",
    "Mistral v13": f"[TOOL_CALLS]weather[ARGS]{GIVEN}",
    "DeepSeek V3": "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>weather\n"
    f"```json\n{GIVEN}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
    "DeepSeek V3.1": "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>weather<｜tool▁sep｜>"
    f"{GIVEN}<｜tool▁call▁end｜>",
    "DeepSeek V3.2": DSML,
    "Gemma 4": '<|tool_call>call:weather{city:<|"|>Oslo<|"|>,days:2,units:[<|"|>C<|"|>,<|"|>F<|"|>],'
    "exact:true}<tool_call|>",
    "functiongemma": "<start_function_call>call:weather{city:<escape>Oslo<escape>,days:2,"
    "units:[<escape>C<escape>,<escape>F<escape>],exact:true}<end_function_call>",
    "gpt-oss": f"<|channel|>commentary to=functions.weather <|constrain|>json<|message|>{GIVEN}<|call|>",
    "gpt-oss, name first": "<|start|>assistant to=functions.weather<|channel|>commentary json<|message|>"
    f"{GIVEN}",
    "glaive": GLAIVE,
}  # fmt: skip


@pytest.mark.parametrize("text", FORMS.values(), ids=FORMS)
def test_one_call_in_each_form(text: str) -> None:
    assert find_calls(text, [TOOL]) == FoundCalls((WEATHER,))


@pytest.mark.parametrize(
    "text",
    [
        f'<tool_call>{{"name": "weather", "arguments": {GIVEN}}}</tool_call>\n<tool_call>{{"name": "time"}}',
        f"<tool_call>{XML}</tool_call>\n<tool_call>\n<function=time>\n</function>\n</tool_call>",
        f'{{"name": "weather", "parameters": {GIVEN}}}; {{"name": "time", "parameters": {{}}}}',
        "[weather(city='Oslo', days=2, units=['C', 'F'], exact=True), time()]",
        f"[TOOL_CALLS]weather[ARGS]{GIVEN}[TOOL_CALLS]time[ARGS]{{}}",
        f"<｜tool▁call▁begin｜>weather<｜tool▁sep｜>{GIVEN}<｜tool▁call▁end｜>"
        "<｜tool▁call▁begin｜>time<｜tool▁sep｜>{}<｜tool▁call▁end｜>",
    ],
    ids=["Hermes", "Qwen3-Coder", "Llama", "Python", "Mistral", "DeepSeek"],
)
def test_several_calls_at_once(text: str) -> None:
    assert find_calls(text, [TOOL]).calls == (WEATHER, TIME)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "It's 4 degrees.",
        '{"name": "Bob", "age": 3}',
        '{"type": "object", "properties": {}}',
        "[1, 2]",
        "[see(1)] in the list",
        "print(weather)",
        'Write `<tool_call>{"name": "f"}</tool_call>` to call.',
    ],
)
def test_a_text_without_calls(text: str) -> None:
    assert find_calls(text, [TOOL]) == FoundCalls()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('<tool_call>{"name": "f", "arguments": {"a": </tool_call>', "cannot be read"),
        ('<tool_call>{"name": "f", "arguments": {"a": 1}}}</tool_call>', "text follows it"),
        ('<tool_call>{"arguments": {}}</tool_call>', 'no "name"'),
        ('<tool_call>{"name": "f", "arguments": [1]}</tool_call>', "found a list, where an object"),
        ('<tool_call>{"name": "f", "arguments": "a: 1"}</tool_call>', "cannot be read"),
        ('<tool_call>{"name": "f", "arguments": {"a": NaN}}</tool_call>', "NaN"),
        ('<tool_call>{"name": "f", "arguments": {"a": 1e999}}</tool_call>', "too large"),
        ('<tool_call>{"name": "f", "arguments": {"a": "\\ud83d"}}</tool_call>', "cannot be read"),
        ("<tool_call>" + "[" * 100_000, "nested too deeply"),
        ('{"name": "f", "parameters": {"a": 1', "not JSON"),
        ("<|python_tag|>print(1)", "neither JSON nor"),
        ("[f(1)]", "Python's form"),
        ("[f(a=g())]", "cannot be read"),
        ("[f(a={[1]})]", "cannot be read"),
        ("[f(a=" + "-" * 5000 + "1)]", ""),
        ("[TOOL_CALLS]", "cannot be read"),
        ('<|tool_call>call:f{a:"\\u00007"}<tool_call|>', "cannot be read"),
        ("<functioncall> f(x)", "the call is neither JSON"),
    ],
)
def test_a_broken_call_is_none_and_says_why(text: str, problem: str) -> None:
    good = '<tool_call>{"name": "f", "arguments": {}}</tool_call>' if text.startswith("<tool_call>") else ""
    found = find_calls(good + text)
    assert found.calls == () and found.problem is not None and problem in found.problem


@pytest.mark.parametrize("unit", ["<tool_call>a<arg_key>", "<function=a><parameter=b>", "[TOOL_CALLS]a", " "])
def test_a_long_text_of_open_marks_takes_time_in_proportion(unit: str) -> None:
    start = process_time()
    find_calls("<tool_call>a" + unit * (100_000 // len(unit)))
    assert process_time() - start < 2


def test_marks_inside_of_arguments_are_text() -> None:
    arguments = {"text": "</tool_call><tool_call>{} [TOOL_CALLS]"}
    text = f"<tool_call>{json.dumps({'name': 'say', 'arguments': arguments})}</tool_call>"
    assert find_calls(text).calls == (ToolCall(name="say", arguments=arguments),)


def test_texts_of_xml_take_the_types_of_the_schema() -> None:
    text = "<function=weather><parameter=zip>0150</parameter><parameter=days>soon</parameter></function>"
    assert find_calls(text, [TOOL]).calls[0]["arguments"] == {"zip": "0150", "days": "soon"}
    assert find_calls(text.replace("weather", "other"), [TOOL]).calls[0]["arguments"]["zip"] == "0150"


@pytest.mark.parametrize("arguments", [ARGUMENTS, GIVEN])
def test_a_servers_calls_are_read_like_texts(arguments: Any) -> None:
    function = {"name": "weather", "arguments": arguments}
    for message in ({"tool_calls": [{"id": "x", "function": function}]}, {"function_call": function}):
        assert find_calls(with_calls(None, message) or "") == FoundCalls((WEATHER,))
        assert (with_calls("I look.", message) or "").startswith("I look.\n<tool_call>")
    assert (with_calls(None, {}), with_calls("", {"tool_calls": []})) == (None, "")


@pytest.mark.parametrize(
    "call", [{"function": {"name": "f", "arguments": '{"a": </tool_call>'}}, {}, 3, None]
)
def test_a_servers_broken_calls_are_named(call: Any) -> None:
    assert find_calls(with_calls("", {"tool_calls": [call]}) or "").problem


def test_the_schema_of_a_tool_has_jsons_types() -> None:
    parameters = {"type": "dict", "properties": {"a": {"type": "float"}, "b": {"type": "any"}}}
    found = schema_of({"function": {"name": "f", "parameters": parameters}})
    assert found == {"type": "object", "properties": {"a": {"type": "number"}, "b": {}}}
    xlam = {"type": {"type": "str, optional"}, "ids": {"type": "List[int]"}, "at": {"type": "datetime"}}
    assert schema_of({"function": {"name": "f", "parameters": xlam}}) == {
        "type": "object",
        "properties": {"type": {"type": "string"}, "ids": {"type": "array"}, "at": {}},
    }
    assert schema_of({"function": {"name": "f"}}) is None
