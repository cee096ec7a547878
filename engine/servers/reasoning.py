"""Reasoning traces: the text before a model's answer, and where the answer begins."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

# Most families; Seed; Mistral.
_END = re.compile(r"</(?:seed:)?think(?:ing)?>|\[/THINK\]", re.IGNORECASE)
_START = re.compile(r"\s*(?:<(?:seed:)?think(?:ing)?>|\[THINK\])", re.IGNORECASE)
_UNCLOSED = ("<think", "<seed:think", "[think]")
# Where servers send the trace apart from the answer: vLLM, SGLang, DeepSeek; OpenRouter, newer vLLM.
_FIELDS = ("reasoning_content", "reasoning")


@dataclass(frozen=True, slots=True)
class Reasoned:
    """A text in its two parts; `closed`: the trace ended. An unclosed trace leaves no answer."""

    reasoning: str
    answer: str
    closed: bool = True


def split_reasoning(text: str) -> Reasoned:
    """A model's text as trace and answer.

    The answer begins after the last closing tag. Chat templates may put the opening tag into the prompt, so
    that a text need not hold it. A text without tags is all answer.
    """
    *thoughts, answer = _END.split(text)
    answer = answer.strip()
    if answer.lower().startswith(_UNCLOSED):
        return Reasoned(_START.sub("", text, count=1).strip(), "", closed=False)
    reasoning = "".join(thoughts).strip()
    return Reasoned(_START.sub("", reasoning, count=1).strip(), answer)


def reasoning_apart(message: Mapping[str, object]) -> str | None:
    """The trace that a server sends beside a message's content, None without one."""
    found = (message.get(name) for name in _FIELDS)
    return next((text for text in found if isinstance(text, str) and text), None)
