"""Tools, calls and their results are in the prompt as the model's template writes them, or it is noted."""

from typing import Any

import pytest

from engine.data.calls import is_mark
from engine.data.example import Example
from engine.models.model import Settings
from engine.models.prompt import NO_CALLS, NO_TOOLS, TOOLS_IN_SYSTEM, PromptError, Prompts
from engine.models.rows import DecodingRow, Request, Rules
from tests.models.tiny import TEMPLATE, make_tokenizer

TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
CALL = {"id": "call00001", "type": "function", "function": {"name": "weather", "arguments": {"city": "Oslo"}}}
ASKED = {"role": "user", "content": "Weather in Oslo?"}
MESSAGES = (
    ASKED,
    {"role": "assistant", "content": "", "tool_calls": [CALL]},
    {"role": "tool", "content": '{"t": 4}', "tool_call_id": "call00001", "name": "weather"},
)
# In the manner of Qwen's, of one that shows calls beside null only, and of one that must have a text.
QWEN = (
    "{% if tools %}# Tools:{% for tool in tools %} {{ tool | tojson }}{% endfor %}{% endif %}"
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content or '' }}"
    "{% if m.tool_calls %}{% for c in m.tool_calls %}"
    "<tool_call>{{ c.function.name }} {{ c.function.arguments | tojson }}{% endfor %}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
NULL_ONLY = QWEN.replace("{% if m.tool_calls %}", "{% if m.tool_calls and m.content is not string %}")
TEXT_ONLY = QWEN.replace("{{ m.content or '' }}", "{{ '' + m.content }}")


def prompt(template: str | None, example: Example) -> tuple[str, list[str]]:
    tokenizer = make_tokenizer(template)
    prompts = Prompts(tokenizer, None)
    return tokenizer.decode(prompts.ids(example)), prompts.notes


@pytest.mark.parametrize("template", [QWEN, NULL_ONLY, TEXT_ONLY], ids=["any", "null only", "text only"])
def test_tools_calls_and_results_reach_the_prompt(template: str) -> None:
    text, notes = prompt(template, Example("e", ASKED["content"], MESSAGES, tools=(TOOL,)))
    assert text == (
        '# Tools: {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}'
        "<|user|>Weather in Oslo?"
        '<|assistant|><tool_call>weather {"city": "Oslo"}<|tool|>{"t": 4}<|assistant|>'
    )
    assert notes == []


def test_a_template_that_leaves_them_out_is_noted() -> None:
    text, notes = prompt(TEMPLATE, Example("e", ASKED["content"], MESSAGES, tools=(TOOL,)))
    assert "<|tool|>" in text and "None" not in text
    assert notes == [NO_CALLS, NO_TOOLS]


def test_tools_that_the_data_define_in_the_system_text_are_not_given_twice() -> None:
    system = {"role": "system", "content": 'You may call <tools>[{"name": "weather"}]</tools>'}
    text, notes = prompt(QWEN, Example("e", ASKED["content"], (system, ASKED), tools=(TOOL,)))
    assert "# Tools" not in text and text.count("weather") == 1 and notes == [TOOLS_IN_SYSTEM]


def test_tools_that_the_system_text_only_mentions_are_given() -> None:
    system = {"role": "system", "content": "You know the weather."}
    text, notes = prompt(QWEN, Example("e", ASKED["content"], (system, ASKED), tools=(TOOL,)))
    assert "# Tools" in text and notes == []


def test_a_template_that_raises_names_its_example_and_no_other() -> None:
    refusing = QWEN + "{% if tools %}{{ raise_exception('no tools here') }}{% endif %}"
    prompts = Prompts(make_tokenizer(refusing), None)
    with pytest.raises(PromptError, match="no tools here"):
        prompts.ids(Example("e", ASKED["content"], MESSAGES, tools=(TOOL,)))
    assert prompts.ids(Example("f", ASKED["content"], MESSAGES))


def test_a_special_token_that_marks_a_call_stays_in_the_text() -> None:
    tokenizer = make_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["[TOOL_CALLS]", "<|im_end|>"]})
    mark, other = tokenizer.convert_tokens_to_ids(["[TOOL_CALLS]", "<|im_end|>"])
    assert [is_mark(token) for token in ("[TOOL_CALLS]", "<|im_end|>")] == [True, False]
    said = tokenizer("[1]", add_special_tokens=False)["input_ids"]
    answer = [mark, *said, mark, *said, other]
    row = DecodingRow(
        0, Request([], len(answer)), Rules(tokenizer, frozenset(), Settings(), marks=frozenset({mark}))
    )
    assert [done.text for token in answer if (done := row.add(token))] == ["[TOOL_CALLS][1][TOOL_CALLS][1]"]


def test_an_example_without_tools_is_rendered_as_before() -> None:
    asked: list[dict[str, Any]] = []
    tokenizer = make_tokenizer()
    apply = tokenizer.apply_chat_template

    def recorded(messages: Any, **given: Any) -> Any:
        asked.append(given)
        return apply(messages, **given)

    tokenizer.apply_chat_template = recorded
    Prompts(tokenizer, None).ids(Example("e", "Q", (ASKED,)))
    assert asked and not any("tools" in given for given in asked)
