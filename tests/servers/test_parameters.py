"""Which complaints name a parameter as unsupported, and which only mention it."""

from typing import Any

import pytest

from engine.servers.reasoning import Reasoned, opens_reasoning, split_reasoning
from engine.servers.wire import dropped, named_unsupported, without

BODY: dict[str, Any] = {
    "messages": [], "max_tokens": 9, "temperature": 0, "top_p": 1, "seed": 0, "response_format": {},
}  # fmt: skip


@pytest.mark.parametrize(
    ("code", "param", "complaint", "names"),
    [
        ("unsupported_value", "temperature", "Only the default (1) value is supported.", {"temperature"}),
        (
            None,
            None,
            "Unsupported value: 'temperature' does not support 0.0 here.",
            {"temperature"},
        ),
        (None, None, "['body', 'seed'] Extra inputs are not permitted", {"seed"}),
        (None, None, "Failed to deserialize the JSON body: unknown field `seed`", {"seed"}),
        (None, None, 'Invalid JSON payload received. Unknown name "seed": Cannot find field.', {"seed"}),
        (None, None, "This response_format type is unavailable now", {"response_format"}),
        (None, None, "'max_tokens' is not supported. Use 'max_completion_tokens' instead.", {"max_tokens"}),
        (None, "temperature", "must be at most 2", set()),
        (None, "messages", "temperature is not supported", set()),
        (None, None, "cannot answer: what temperature does water boil at?", set()),
        (None, None, "the prompt was: set the seed to 3. Blocked as unsafe.", set()),
        (None, None, "content is not allowed", set()),
    ],
)
def test_a_parameter_is_named_by_code_param_or_wording(
    code: str | None, param: str | None, complaint: str, names: set[str]
) -> None:
    assert named_unsupported(BODY, code, param, complaint) == names


def test_the_limit_goes_under_its_newer_name_and_that_is_no_loss() -> None:
    assert without(BODY, {"max_tokens"})["max_completion_tokens"] == 9
    assert dropped({"max_tokens"}) == []
    gone = {"max_tokens", "max_completion_tokens"}
    assert not gone & without(BODY, gone).keys()
    assert dropped(gone) == ["max_tokens"]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("42", Reasoned("", "42")),
        ("<think>six times seven</think> 42", Reasoned("six times seven", "42")),
        ("six times seven</think>42", Reasoned("six times seven", "42")),
        ("<thinking>a</thinking>b", Reasoned("a", "b")),
        ("<seed:think>a</seed:think>b", Reasoned("a", "b")),
        ("[THINK]a[/THINK]b", Reasoned("a", "b")),
        ("[THINK]a", Reasoned("a", "", closed=False)),
        ("<seed:think>a", Reasoned("a", "", closed=False)),
        ("<think>still at it", Reasoned("still at it", "", closed=False)),
        ("<think>\n\n</think>\n\n42\n", Reasoned("", "42")),
        ("<think>a <think>b</think> c</think>d", Reasoned("a <think>b</think> c", "d")),
        ("<think>the tag <think> is odd</think>d", Reasoned("the tag <think> is odd", "d")),
        ("<think>a</think> <think>b</think> c", Reasoned("a</think> <think>b", "c")),
        ("<think>a</think>\n<think>again", Reasoned("a</think>\n<think>again", "", closed=False)),
        ("<think>a</think>Write `<think>x</think>`.", Reasoned("a", "Write `<think>x</think>`.")),
        ("Tags are <think> and </think>.", Reasoned("", "Tags are <think> and </think>.")),
        ("End it with `</think>`. ", Reasoned("", "End it with `</think>`. ")),
        ("```\nx </think> y\n```\n", Reasoned("", "```\nx </think> y\n```\n")),
        ("```xml\n<think>a</think>\n```", Reasoned("", "```xml\n<think>a</think>\n```")),
        (" 42 ", Reasoned("", " 42 ")),
        ("<|channel>thought\na<channel|>b", Reasoned("a", "b")),
        (
            "<|START_THINKING|>a<|END_THINKING|><|START_RESPONSE|>b\n<|END_RESPONSE|>",
            Reasoned("a", "b"),
        ),
        ("<|START_THINKING|>a<|END_THINKING|>b", Reasoned("a", "b")),
        ("<|START_RESPONSE|>b", Reasoned("", "b")),
        ("Write <|START_RESPONSE|> first.", Reasoned("", "Write <|START_RESPONSE|> first.")),
        (
            "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>final<|message|>b<|return|>",
            Reasoned("<|channel|>analysis<|message|>a<|end|><|start|>assistant", "b"),
        ),
        (
            "<|channel|>analysis<|message|>a<|end|><|channel|>commentary to=functions.f<|message|>{}",
            Reasoned(
                "<|channel|>analysis<|message|>a<|end|>", "<|channel|>commentary to=functions.f<|message|>{}"
            ),
        ),
        ("<|channel|>analysis<|message|>a", Reasoned("<|channel|>analysis<|message|>a", "", closed=False)),
    ],
)
def test_a_trace_is_told_from_the_answer(text: str, parts: Reasoned) -> None:
    assert split_reasoning(text) == parts


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a</think>b", Reasoned("a", "b")),
        ("is <think> odd, or `</think>`?</think>b", Reasoned("is <think> odd, or `</think>`?", "b")),
        ("still at it", Reasoned("still at it", "", closed=False)),
        ("<think>a</think>b", Reasoned("a", "b")),
        ("", Reasoned("", "", closed=False)),
    ],
)  # fmt: skip
def test_after_a_prompt_that_opens_a_trace_the_text_begins_in_it(text: str, parts: Reasoned) -> None:
    assert split_reasoning(text, opened=True) == parts


def test_a_prompt_that_ends_in_a_trace_opens_one() -> None:
    assert opens_reasoning("<|user|>Why <think>?<|assistant|><think>\n")
    assert not opens_reasoning("<|assistant|><think>\n\n</think>\n\n")
    assert not opens_reasoning("What is <think>? <|assistant|>")
    assert not opens_reasoning("")


def test_a_long_trace_takes_time_in_proportion() -> None:
    trace = "<think>" + "<think>x</think>" * 10_000 + "y" * 100_000
    assert split_reasoning(trace + "</think>42").answer == "42"
    assert len(split_reasoning("word " * 20_000 + "</think>42").reasoning) == 99_999


def test_own_delimiters_count_beside_the_known_ones() -> None:
    own = ("<scratch|", "|scratch>")
    assert split_reasoning("<scratch|6 * 7|scratch>42", own=own) == Reasoned("6 * 7", "42")
    assert split_reasoning("6 * 7|scratch> 42", own=own) == Reasoned("6 * 7", "42")
    assert split_reasoning("<scratch|6 *", own=own) == Reasoned("6 *", "", closed=False)
    assert split_reasoning("<think>a</think>b", own=own) == Reasoned("a", "b")
    assert opens_reasoning("<|assistant|><scratch|\n", own) and not opens_reasoning("<scratch|")
    assert split_reasoning("<scratch|6 * 7|scratch>42").answer == "<scratch|6 * 7|scratch>42"
