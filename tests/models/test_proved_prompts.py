"""A prompt holds its system text, asks for an answer and is the same each time, or that is said."""

import pytest

from engine.data.example import Example
from engine.gates.checks import prompt_alerts
from engine.models.prompt import (
    NO_GENERATION_PROMPT,
    PINNED_DATE,
    UNREAD_SYSTEM,
    UNSTEADY,
    Prompts,
    with_pinned_date,
)
from tests.models.tiny import TEMPLATE, ask, make_tokenizer

USER_ONLY = (
    "{% for m in messages %}{% if m.role == 'user' %}<|user|>{{ m.content }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
NO_ASKING = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}</s>{% endfor %}"
DATED = "Today is {{ strftime_now('%d %b %Y') }}, {{ strftime_now('%A, %-d %B') }}." + TEMPLATE
TRIMMED = TEMPLATE.replace("m.content", "m.content | trim")
ESCAPED = TEMPLATE.replace("m.content", "m.content | tojson")
SYSTEM = 'Answer briefly.\nSay "no" when unsure.  '


def proved(template: str, system: str | None = SYSTEM) -> tuple[Prompts, str]:
    tokenizer = make_tokenizer(template)
    prompts = Prompts(tokenizer, system)
    return prompts, str(tokenizer.decode(prompts.ids(ask("Where is it?"))))


@pytest.mark.parametrize("template", [TEMPLATE, TRIMMED, ESCAPED])
def test_a_system_text_that_is_in_the_prompt_is_not_missed(template: str) -> None:
    prompts, _ = proved(template)
    assert (prompts.notes, prompts.unread_system) == ([], 0)


def test_a_template_that_skips_the_system_text_is_told_with_a_critical_alert() -> None:
    prompts, text = proved(USER_ONLY)
    prompts.ids(Example("other", "?", ({"role": "user", "content": "?"},)))
    assert "briefly" not in text
    assert (prompts.notes, prompts.unread_system) == ([UNREAD_SYSTEM], 2)
    alerts = prompt_alerts({"prompted": 2, "base": 0}, ["tuned", "other"])
    assert [(alert.severity, alert.candidate, alert.baseline) for alert in alerts] == [
        ("critical", "tuned", "prompted"), ("critical", "other", "prompted"),
    ]  # fmt: skip
    [own] = prompt_alerts({"tuned": 1}, ["tuned"])
    assert own.baseline is None and "never reaches tuned" in own.message


def test_without_a_system_text_nothing_is_missed() -> None:
    assert proved(USER_ONLY, None)[0].notes == []


def test_a_template_that_does_not_ask_for_an_answer_is_told() -> None:
    assert proved(NO_ASKING)[0].notes == [NO_GENERATION_PROMPT]


def test_a_date_in_the_template_is_the_same_in_every_run() -> None:
    prompts, text = proved(DATED)
    assert prompts.notes == [PINNED_DATE]
    assert "Today is 26 Jul 2024, Friday, 26 July.<s>" in text


def test_a_template_that_differs_each_time_is_told() -> None:
    assert UNSTEADY in proved("{{ range(100000) | random }}" + TEMPLATE)[0].notes


def test_a_conversation_that_cannot_be_shown_without_its_calls_is_not_refused() -> None:
    strict = (
        "{% for m in messages %}{% if m.role == 'tool' and not messages[loop.index0 - 1].tool_calls %}"
        "{{ raise_exception('no call') }}{% endif %}{% endfor %}" + NO_ASKING
    )
    call = {"type": "function", "function": {"name": "look", "arguments": {}}}
    turns = (
        {"role": "user", "content": "?"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "here"},
    )
    prompts = Prompts(make_tokenizer(strict), None)
    assert prompts.ids(Example("called", "?", turns))
    assert NO_GENERATION_PROMPT not in prompts.notes
    prompts.ids(ask("Where is it?"))
    assert NO_GENERATION_PROMPT in prompts.notes


CHATML = (
    "{% for m in messages %}<|user|>{{ m.content }}<|system|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


@pytest.mark.parametrize(
    ("template", "end"),
    [
        (TEMPLATE, "</s>"),
        (CHATML, "<|system|>"),  # any special token, and white space after it
        (TEMPLATE.replace("</s>", " </s>"), "</s>"),
        (TEMPLATE.replace("</s>", "\n"), None),
        (TEMPLATE.replace("{{ m.content }}", "{{ raise_exception('no') }}"), None),
        (None, None),
    ],
)
def test_the_token_that_ends_a_turn_is_read_from_the_template(template: str | None, end: str | None) -> None:
    tokenizer = make_tokenizer(template)
    found = Prompts(tokenizer, None).turn_end
    assert (None if found is None else tokenizer.decode([found])) == end


@pytest.mark.parametrize("template", [TEMPLATE, TRIMMED, CHATML, DATED, NO_ASKING])
def test_the_ids_are_the_templates_own_with_one_bos_at_most(template: str) -> None:
    tokenizer = make_tokenizer(template)
    prompts = Prompts(tokenizer, SYSTEM)
    ids = prompts.ids(ask("Where is it?"))
    turns = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": "Where is it?"}]
    own = tokenizer.apply_chat_template(
        turns, chat_template=with_pinned_date(template), add_generation_prompt=True
    )
    assert ids == own["input_ids"] and ids.count(tokenizer.bos_token_id) == ("bos_token" in template)


@pytest.mark.parametrize(
    ("template", "query", "opens"),
    [
        (TEMPLATE.replace("<|assistant|>", "<|assistant|><think>\n"), "Why?", True),
        (TEMPLATE.replace("<|assistant|>", "<|assistant|><think>\n"), "What is <think>?", True),
        (TEMPLATE, "Explain <think>", False),
        ("{{ messages[-1].content }}", "Go on: <think>", False),
        (TEMPLATE.replace("<|assistant|>", "<|assistant|><think></think>"), "Explain <think>", False),
    ],
)
def test_only_a_tag_that_the_template_wrote_opens_a_trace(template: str, query: str, opens: bool) -> None:
    prompts = Prompts(make_tokenizer(template), None)
    prompts.ids(ask(query))
    assert prompts.opens_reasoning is opens
