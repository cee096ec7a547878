"""Tools and the calls of them are read in every form that data have, and broken ones are named."""

import json
from pathlib import Path
from typing import Any

import pytest

from engine.data.example import Example, eval_set_version
from engine.data.examples import Account, data_rows, read_examples
from engine.data.preview import preview
from engine.errors import BadInput
from engine.formats.annotated import example_records
from store.read.queues import AnnotatedExample, AnnotatedRow

PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
FUNCTION = {"name": "weather", "description": "The weather.", "parameters": PARAMETERS}
TOOL = {"type": "function", "function": FUNCTION}
ASKED = {"role": "user", "content": "Weather in Bergen?"}
ARGUMENTS = {"city": "Bergen"}
DEEP: dict[str, Any] = {}
for _ in range(400):
    DEEP = {"items": DEEP}


def one(tmp_path: Path, record: Any) -> Example:
    path = tmp_path / "one.jsonl"
    path.write_text(json.dumps(record) + "\n", "utf-8")
    [example] = read_examples(path)
    return example


def refused(tmp_path: Path, record: Any) -> str:
    with pytest.raises(BadInput) as error:
        one(tmp_path, record)
    assert "one.jsonl:1: " in str(error.value)
    return str(error.value)


def called(content: Any = None, arguments: Any = ARGUMENTS, identity: str = "c1") -> dict[str, Any]:
    call = {"id": identity, "type": "function", "function": {"name": "weather", "arguments": arguments}}
    return {"role": "assistant", "content": content, "tool_calls": [call]}


@pytest.mark.parametrize(
    "tools",
    [
        [TOOL],
        [FUNCTION],
        json.dumps([TOOL]),
        json.dumps([FUNCTION]),
        json.dumps(json.dumps([TOOL])),
        repr([TOOL]),
        [json.dumps(TOOL)],
        TOOL,
        [{**TOOL, "function": {**FUNCTION, "parameters": json.dumps(PARAMETERS)}}],
    ],
)
def test_tools_in_every_form(tmp_path: Path, tools: Any) -> None:
    example = one(tmp_path, {"messages": [ASKED], "tools": tools})
    function = example.tools[0]["function"]
    assert (function["name"], function["parameters"]) == ("weather", PARAMETERS)
    assert example.tools[0]["type"] == "function" and "tools" not in example.extra
    assert one(tmp_path, {"query": "Q", "functions": tools}).tools == example.tools


def test_types_in_pythons_names_are_left_as_they_are(tmp_path: Path) -> None:
    parameters = {"type": "dict", "properties": {"city": {"type": "str"}, "days": {"type": "list"}}}
    example = one(tmp_path, {"query": "Q", "tools": [{"name": "f", "parameters": parameters}]})
    assert example.tools[0]["function"]["parameters"] == parameters


@pytest.mark.parametrize("tools", [None, "", "[]", [], "a hammer", ["hammer", "saw"]])
def test_what_is_no_tool_stays_beside_the_example(tmp_path: Path, tools: Any) -> None:
    example = one(tmp_path, {"messages": [ASKED], "tools": tools})
    assert (example.tools, example.extra) == ((), {"tools": tools})


@pytest.mark.parametrize("content", [None, ""])
@pytest.mark.parametrize("arguments", [ARGUMENTS, json.dumps(ARGUMENTS)])
def test_calls_and_their_results_are_turns(tmp_path: Path, content: Any, arguments: Any) -> None:
    result = {"role": "tool", "tool_call_id": "c1", "content": {"degrees": 4}}
    messages = [ASKED, called(content, arguments), result, {"role": "assistant", "content": "4 degrees."}]
    example = one(tmp_path, {"messages": messages, "tools": [TOOL]})
    assert example.messages == (
        ASKED,
        called(""),
        {"role": "tool", "tool_call_id": "c1", "content": '{"degrees": 4}', "name": "weather"},
    )
    assert (example.query, example.references, example.calls) == (ASKED["content"], ("4 degrees.",), ())


@pytest.mark.parametrize(
    ("call", "result"),
    [
        ("function_call", "observation"),
        ("function-call", "function-response"),
        ("tool_call", "tool_response"),
    ],
)
@pytest.mark.parametrize(
    "value",
    [
        '{"name": "weather", "arguments": {"city": "Bergen"}}',
        '{"name": "weather", "arguments": "{\\"city\\": \\"Bergen\\"}"}',
        '[{"name": "weather", "arguments": {"city": "Bergen"}}]',
        """{"name": "weather", "arguments": '{"city": "Bergen"}'}""",
    ],
)
def test_sharegpts_roles_of_calls_and_results(tmp_path: Path, call: str, result: str, value: str) -> None:
    turns = [("human", "Weather in Bergen?"), (call, value), (result, "4"), ("gpt", "4 degrees.")]
    example = one(tmp_path, {"conversations": [{"from": role, "value": text} for role, text in turns]})
    answer = {"role": "tool", "content": "4", "tool_call_id": "call00001", "name": "weather"}
    assert example.messages == (ASKED, called("", identity="call00001"), answer)
    assert example.references == ("4 degrees.",)


def test_results_without_ids_answer_the_open_calls_in_order(tmp_path: Path) -> None:
    calls = [{"name": name, "arguments": {}} for name in ("first", "second")]
    turns = [("human", "Q"), ("function_call", json.dumps(calls)), ("observation", "1"), ("observation", "2")]
    example = one(tmp_path, {"conversations": [{"from": role, "value": text} for role, text in turns]})
    asked = [call["id"] for call in example.messages[1]["tool_calls"]]
    assert asked == [turn["tool_call_id"] for turn in example.messages[2:]] == ["call00001", "call00002"]


def test_a_turn_in_parts_has_its_text_and_calls_without_its_reasoning(tmp_path: Path) -> None:
    call = json.dumps({"name": "weather", "arguments": ARGUMENTS})
    parts = [{"type": "reasoning", "value": "Hm."}, {"type": "text", "value": "I'll look."}]
    turns = [
        {"role": "user", "content": [{"type": "text", "value": ASKED["content"]}]},
        {"role": "assistant", "content": [*parts, {"type": "tool_call", "value": call}]},
        {"role": "tool", "content": [{"type": "text", "value": "4"}]},
        {"role": "assistant", "content": [parts[0], {"type": "text", "text": "Cold."}]},
    ]
    example = one(tmp_path, {"messages": turns})
    assert example.messages[:2] == (ASKED, called("I'll look.", identity="call00001"))
    assert (example.messages[2]["content"], example.references) == ("4", ("Cold.",))


def test_openais_first_form_of_calls(tmp_path: Path) -> None:
    call = {"role": "assistant", "content": None, "function_call": {"name": "weather", "arguments": "{}"}}
    result = {"role": "function", "name": "weather", "content": "4"}
    example = one(tmp_path, {"messages": [ASKED, call, result], "functions": [FUNCTION]})
    assert example.messages[1]["tool_calls"][0]["function"] == {"name": "weather", "arguments": {}}
    assert example.messages[2]["tool_call_id"] == example.messages[1]["tool_calls"][0]["id"]
    assert example.tools == (TOOL,)


def test_glaives_text_of_functions_calls_and_results(tmp_path: Path) -> None:
    system = (
        "SYSTEM: You are a helpful assistant with access to the following functions. Use them if required -\n"
    )
    chat = (
        "USER: Weather in Bergen?\n\n\nASSISTANT: <functioncall> "
        '{"name": "weather", "arguments": \'{"city": "Bergen"}\'} <|endoftext|>\n\n\n'
        'FUNCTION RESPONSE: {"t": 4}\n\n\nASSISTANT: It\'s 4 degrees. <|endoftext|>\n\n'
    )
    example = one(tmp_path, {"system": system + json.dumps(FUNCTION, indent=4), "chat": chat})
    assert example.messages == (
        {"role": "system", "content": "You are a helpful assistant."},
        ASKED,
        called("", identity="call00001"),
        {"role": "tool", "content": '{"t": 4}', "tool_call_id": "call00001", "name": "weather"},
    )
    assert (example.references, example.tools) == (("It's 4 degrees.",), (TOOL,))
    bare = one(
        tmp_path, {"system": "SYSTEM: You are helpful, with no access to external functions.", "chat": chat}
    )
    assert bare.messages[0]["content"] == "You are helpful, with no access to external functions."


@pytest.mark.parametrize(
    "record",
    [
        {"messages": [ASKED, called()], "tools": [TOOL]},
        {"query": "Weather in Bergen?", "tools": json.dumps([FUNCTION]),
         "answers": json.dumps([{"name": "weather", "arguments": ARGUMENTS}])},
        {"conversations": [{"from": "human", "value": "Weather in Bergen?"}], "tools": json.dumps([FUNCTION]),
         "chosen": {"from": "function_call", "value": '{"name": "weather", "arguments": {"city": "Bergen"}}'},
         "rejected": {"from": "gpt", "value": "Rain."}},
    ],
    ids=["a call at the end", "xLAM", "preferred"],
)  # fmt: skip
def test_the_call_that_would_be_right(tmp_path: Path, record: Any) -> None:
    example = one(tmp_path, record)
    assert example.messages == (ASKED,)
    assert (example.calls, example.references) == (({"name": "weather", "arguments": ARGUMENTS},), ())


BFCL = {
    "id": "live_simple_3-1-0",
    "question": [[ASKED]],
    "function": [
        {"name": "weather", "parameters": {"type": "dict", "properties": {"city": {"type": "any"}}}}
    ],
}
POSSIBLE = [{"weather": {"city": ["Bergen", "Bjørgvin"], "unit": ["C", ""]}}]
RIGHT = ({"name": "weather", "allowed": {"city": ["Bergen", "Bjørgvin"], "unit": ["C", ""]}},)


def test_bfcls_questions_functions_and_possible_answers(tmp_path: Path) -> None:
    example = one(tmp_path, BFCL | {"ground_truth": POSSIBLE})
    assert (example.messages, example.calls, example.category) == ((ASKED,), RIGHT, "live_simple")
    assert (example.tools[0]["function"], example.extra) == (BFCL["function"][0], {})
    assert one(tmp_path, BFCL | {"question": [ASKED], "possible_answer": json.dumps(POSSIBLE)}).calls == RIGHT


def test_bfcls_answers_beside_its_questions_belong_to_them(tmp_path: Path) -> None:
    (tmp_path / "possible_answer").mkdir()
    answers = {"id": BFCL["id"], "ground_truth": POSSIBLE}
    (tmp_path / "possible_answer" / "one.jsonl").write_text(json.dumps(answers), "utf-8")
    assert one(tmp_path, BFCL).calls == RIGHT


@pytest.mark.parametrize(
    ("record", "calls"),
    [
        (BFCL | {"id": "irrelevance_1"}, ()),
        (BFCL | {"id": "live_relevance_1-1-0"}, None),
        ({"query": "Q", "tools": [TOOL], "answers": "[]"}, ()),
        ({"messages": [ASKED, {"role": "assistant", "content": "Rain."}], "tools": [TOOL]}, ()),
        ({"query": "Q", "tools": [TOOL]}, None),
        ({"query": "Q", "answer": "A"}, None),
    ],
)
def test_no_call_is_right_where_the_record_says_so(tmp_path: Path, record: Any, calls: Any) -> None:
    assert one(tmp_path, record).calls == calls


@pytest.mark.parametrize(
    ("record", "says"),
    [
        (BFCL | {"question": [[ASKED], [ASKED]]}, "question: 2 turns, whose calls would have to be run"),
        (BFCL | {"id": "simple_java_0"}, "Java and JavaScript cannot be scored"),
    ],
)
def test_parts_of_bfcl_that_cannot_be_scored_are_refused(tmp_path: Path, record: Any, says: str) -> None:
    assert says in refused(tmp_path, record)


def test_calls_that_a_models_form_has_in_a_reference_are_right_ones(tmp_path: Path) -> None:
    said = f'<tool_call>\n{{"name": "weather", "arguments": {json.dumps(ARGUMENTS)}}}\n</tool_call>'
    turns = [{"from": "human", "value": "Weather?"}, {"from": "gpt", "value": said}]
    for more in ({}, {"tools": json.dumps([TOOL])}):
        example = one(tmp_path, {"conversations": turns, **more})
        assert (example.calls, example.references) == (
            ({"name": "weather", "arguments": ARGUMENTS},),
            (said,),
        )
    assert one(tmp_path, {"query": "Q", "tools": [TOOL], "output": "<tool_call>{"}).calls is None


def test_xlams_parameters_are_no_schema_but_its_properties(tmp_path: Path) -> None:
    parameters = {"type": {"description": "Of giveaway.", "type": "str", "default": "game"}}
    tools = json.dumps([{"name": "giveaways", "parameters": parameters}])
    call = {"name": "giveaways", "arguments": {"type": "beta"}}
    example = one(tmp_path, {"id": 0, "query": "Q", "answers": json.dumps([call]), "tools": tools})
    assert (example.calls, example.tools[0]["function"]["parameters"]) == ((call,), parameters)


def test_the_preview_says_which_rows_name_calls_and_which_call_their_completion_bad(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    call = {"name": "weather", "arguments": ARGUMENTS}
    records = [{"prompt": "Q", "completion": "A", "label": n > 1} for n in range(4)]
    records += [{"query": "W", "tools": [TOOL], "answers": [call]}]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    found = preview(path)
    assert (found.bad, found.with_calls, found.with_references) == (2, 1, 2)
    assert found.columns["calls"] == {"answers": 1}
    assert found.columns["references"] == {"completion": 2}


@pytest.mark.parametrize("calls", [({"name": "weather", "arguments": ARGUMENTS},), RIGHT, (), None])
def test_an_eval_set_of_annotated_examples_keeps_tools_and_calls(tmp_path: Path, calls: Any) -> None:
    extra = {"tools": [TOOL]} | ({} if calls is None else {"calls": list(calls)})
    kept = AnnotatedExample("e", ASKED["content"], [ASKED], [], None, None, extra, {})
    flag = AnnotatedRow(
        1, 1, 7, "flag", "later", None, "ann", 0.0, 0, None, False, False, None, 1, None, "m", None, 1, "m"
    )
    [record] = example_records([flag], {7: kept}).records
    found = one(tmp_path, record)
    assert (found.tools, found.calls) == ((TOOL,), calls)


def test_tools_and_calls_belong_to_the_version(tmp_path: Path) -> None:
    versions = {
        eval_set_version([one(tmp_path, {"messages": [ASKED, *more], "tools": tools})])
        for more in ([], [called()], [called(arguments={})])
        for tools in ([TOOL], [{**FUNCTION, "description": "Another."}])
    }
    assert len(versions) == 6


def chat(*turns: dict[str, Any]) -> dict[str, Any]:
    return {"messages": [ASKED, *turns]}


def answer(content: Any, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, **more}


CALL = "messages[1].tool_calls[0]"


@pytest.mark.parametrize(
    ("record", "says"),
    [
        ({"tools": '[{"name": "weather"'}, "tools: is neither JSON nor a Python literal"),
        ({"tools": [{"type": "function"}]}, "tools[0]: a tool is"),
        ({"tools": [TOOL, {"type": "web_search"}]}, "tools[1]: a tool is"),
        ({"tools": [{"name": "f", "parameters": "{"}]}, "tools[0].parameters: is neither JSON"),
        (
            {"tools": [{"name": "f", "parameters": {"$schema": [], "type": "x"}}]},
            "parameters: is not a valid JSON schema",
        ),
        ({"tools": [{"name": "f", "parameters": DEEP}]}, "it is nested more than 100 deep"),
        ({"tools": [{"name": "f", "parameters": ["city"]}]}, "tools[0].parameters: found a list"),
        (
            {"tools": [{"name": "f", "parameters": {"type": "text"}}]},
            "is not a valid JSON schema: $.type: 'text'",
        ),
        (chat(called(arguments='{"city": ')), f"{CALL}.function.arguments: is neither JSON"),
        (chat(called(arguments="[1]")), f"{CALL}.function.arguments: found a list"),
        (chat(answer(None, tool_calls=[{"id": "c"}])), f'{CALL}: the call has no "name"'),
        (chat(answer(None, tool_calls={})), "messages[1]: content is nothing"),
        (chat(answer(None, tool_calls="[{")), "messages[1].tool_calls: is neither JSON"),
        (
            chat(called(), {"role": "tool", "tool_call_id": "c9", "content": "4"}),
            "messages[2]: tool_call_id 'c9' belongs to no earlier call",
        ),
        (chat(answer(None)), "messages[1]: content is nothing"),
        (chat({"role": "narrator", "content": "x"}), "messages[1]: found role 'narrator'"),
        (
            chat(called(), answer("4")),
            "messages: the turn to be answered must be the user's, found the assistant's",
        ),
        (
            {"conversations": [{"from": "human", "value": "Q"}, {"from": "function_call", "value": "f()"}]},
            "conversations[1]: the call is neither JSON",
        ),
    ],
)
def test_what_is_broken_is_named_by_file_line_and_key(tmp_path: Path, record: Any, says: str) -> None:
    asked = {} if {"messages", "conversations"} & record.keys() else {"query": "Q"}
    assert says in refused(tmp_path, asked | record)


def test_broken_calls_are_counted_where_the_reading_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    records = [{"messages": [ASKED, called()]}, {"messages": [ASKED, called(arguments="{")]}]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    account = Account()
    assert len(list(data_rows(path, training=False, account=account))) == 1
    assert len(account.skipped) == 1 and "x.jsonl:2: messages[1].tool_calls[0]" in account.skipped[0]


def test_training_data_with_broken_calls_are_still_read_as_text(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    turns = [("human", "Q"), ("function_call", "weather(Bergen)"), ("observation", "4"), ("gpt", "A")]
    record = {"conversations": [{"from": role, "value": text} for role, text in turns], "tools": "[{"}
    path.write_text(json.dumps(record))
    [row] = data_rows(path)
    assert row.messages[1] == {"role": "assistant", "content": "weather(Bergen)"}


@pytest.mark.parametrize(
    "row",
    [
        {"question": "?", "ground_truth": [{"colours": {"main": ["red"]}}], "answer": "red"},
        {"question": "?", "answers": [{"name": "Bob", "arguments": {}}], "answer": "red"},
    ],
)
def test_columns_like_those_of_calls_are_no_calls_without_tools(tmp_path: Path, row: dict[str, Any]) -> None:
    assert one(tmp_path, row).calls is None and "red" in one(tmp_path, row).references
