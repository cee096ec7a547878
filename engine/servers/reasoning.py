"""Reasoning traces: the text before a model's answer, and where the answer begins."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

# Most families; Seed; Mistral; Gemma 4; Cohere, which marks the answer too.
_OPEN = r"<(?:seed:)?think(?:ing)?>|\[THINK\]|<\|channel>thought|<\|START_THINKING\|>"
_CLOSE = r"</(?:seed:)?think(?:ing)?>|\[/THINK\]|<channel\|>|<\|END_THINKING\|>"
_RESPONSE = re.compile(r"\s*<\|START_RESPONSE\|>(.*?)(?:<\|END_RESPONSE\|>\s*)?", re.DOTALL)
Delimiters = tuple[str, str]  # what opens and what closes a trace
# gpt-oss: channels with their names.
_CHANNEL, _FINAL = re.compile(r"\s*<\|channel\|>(?:analysis|final)\b"), "<|channel|>final<|message|>"
_CALLED = re.compile(r"(?:(?:<\|start\|>)?assistant |<\|channel\|>commentary )to=functions\.")
_HARMONY_END = re.compile(r"(?:<\|(?:return|end)\|>\s*)+\Z")
_CHANNELS = ("<|channel|>", "<|message|>", "<|channel>")
_TAIL = 100  # characters at a prompt's end
_QUOTES = "`'\"“‘«"
# Where servers send the trace apart from the answer: vLLM, SGLang, DeepSeek; OpenRouter, newer vLLM.
_FIELDS = ("reasoning_content", "reasoning")


@dataclass(frozen=True, slots=True)
class Reasoned:
    """A text in its two parts; `closed`: the trace ended. An unclosed trace leaves no answer."""

    reasoning: str
    answer: str
    closed: bool = True


@cache
def _tags(own: Delimiters | None) -> re.Pattern[str]:
    opens, closes = map(re.escape, own) if own else ("(?!)", "(?!)")
    return re.compile(f"(?P<open>{_OPEN}|{opens})|{_CLOSE}|{closes}", re.IGNORECASE)


def is_tag(token: str, own: Delimiters | None = None) -> bool:
    """Whether a special token is part of a trace's tags, so that texts have to keep it."""
    return token in _CHANNELS or _tags(own).fullmatch(token) is not None


def opens_reasoning(prompt: str, own: Delimiters | None = None) -> bool:
    """Whether a prompt ends within a trace, so that the model's text begins there."""
    *_, last = [None, *_tags(own).finditer(prompt, max(len(prompt) - _TAIL, 0))]
    return last is not None and last["open"] is not None and not prompt[last.end() :].strip()


def split_reasoning(text: str, opened: bool = False, own: Delimiters | None = None) -> Reasoned:
    """A model's text as trace and answer; a text without a trace is all answer, unchanged.

    A trace stands at the beginning: in tags, which may be nested or repeated, or up to a closing tag alone,
    since chat templates may put the opening tag into the prompt (`opened`: this one did, and a text without a
    closing tag is all trace). Tags in code, in quotes or in the middle of an answer are its text. `own`
    delimiters count beside the known ones. Time grows with the text.
    """
    tags = _tags(own)
    if _CHANNEL.match(text):
        before, found, answer = text.rpartition(_FINAL)
        called = _CALLED.search(text)
        if called and not found:
            return Reasoned(text[: called.start()].strip(), text[called.start() :].strip())
        trace = (before if found else text).strip()
        return Reasoned(trace, _HARMONY_END.sub("", answer).strip() if found else "", closed=bool(found))
    first = tags.match(text.lstrip())
    answer_at = None
    depth, open_from = int(opened and not (first and first["open"])), 0
    for tag in tags.finditer(text):
        opens = tag["open"] is not None
        if not depth and text[open_from : tag.start()].strip():
            # Words before it: the end of a trace that the prompt opened, or a tag that the answer mentions.
            if opens or answer_at is not None or _is_quoted(text, tag):
                break
        elif opens:
            depth += 1
            continue
        depth = max(depth - 1, 0)
        answer_at = open_from = tag.end()
    if depth and answer_at is None:
        return Reasoned(_bare(text, tags), "", closed=False)
    if answer_at is None:
        return Reasoned("", _marked(text))
    answer = _marked(text[answer_at:]).strip()
    again = tags.match(answer)
    if again and again["open"]:
        return Reasoned(_bare(text, tags), "", closed=False)
    return Reasoned(_bare(text[:answer_at], tags), answer)


def _marked(answer: str) -> str:
    """What Cohere's marks say is the answer; all of a text without them."""
    whole = _RESPONSE.fullmatch(answer)
    return whole[1] if whole else answer


def _bare(trace: str, tags: re.Pattern[str]) -> str:
    """A trace without the tags around it."""
    trace = trace.strip()
    first = tags.match(trace)
    trace = trace[first.end() :] if first else trace
    *_, last = [None, *tags.finditer(trace)]
    return (trace[: last.start()] if last and last.end() == len(trace) else trace).strip()


def _is_quoted(text: str, tag: re.Match[str]) -> bool:
    return text[max(tag.start() - 1, 0) : tag.start()] in tuple(_QUOTES) or (
        text.count("```", 0, tag.start()) % 2 == 1
    )


def reasoning_apart(message: Mapping[str, object]) -> str | None:
    """The trace that a server sends beside a message's content, None without one."""
    found = (message.get(name) for name in _FIELDS)
    return next((text for text in found if isinstance(text, str) and text), None)
