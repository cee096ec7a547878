"""The exact prompt tokens of a local model for an example, turn by turn."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import cached_property
from typing import Any, TypeVar

from jinja2 import TemplateError

from engine.data.example import Example
from engine.models.model import Generator, Response, Settings, conversation
from engine.servers.reasoning import Delimiters, opens_reasoning

NO_TEMPLATE = "no chat template: the prompt is the plain query (its last user turn)"
NO_SYSTEM_ROLE = (
    "the chat template takes no system message: the system prompt is put before the first user turn"
)
UNREAD_SYSTEM = "the chat template leaves the system text out: the model never reads it"
NO_GENERATION_PROMPT = (
    "the chat template ignores add_generation_prompt: nothing in the prompt says that it is the model's turn"
)
PINNED_DATE = (
    "the chat template writes today's date: every run tells it 26 July 2024, so that prompts can be repeated"
)
UNSTEADY = "the chat template gives another prompt each time: a run cannot be repeated exactly"
# The day that Llama 3's own template falls back to. A macro, since transformers hands templates no functions.
_TODAY = datetime(2024, 7, 26)
_PINNED = "{%- macro strftime_now(form) -%}{{ form " + "".join(
    f"| replace('%{sign}', '{_TODAY.strftime(f'%{sign}')}') "
    for sign in ("-d", "-m", "-H", "-I", "-M", "-S", *"aAbBcdDeFHIjmMpSTuwxXyYzZ")
) + "}}{%- endmacro -%}"  # fmt: skip
UNREAD_VARIABLE = "the chat template does not read {}: it has no effect"
NO_TOOLS = "the chat template leaves tools out: the model is not told of them"
NO_CALLS = "the chat template leaves earlier tool calls out of the prompt"
TOOLS_IN_SYSTEM = "the system text of the data defines the tools: the template is not given them again"
HARMLESS = (NO_TEMPLATE, NO_SYSTEM_ROLE, PINNED_DATE, TOOLS_IN_SYSTEM)  # the prompt holds all that was said
_DEFINED = r"""["']name["']\s*:\s*["']{}["']"""


_SAID = "said"
# A template is a program of the model's author: what it can raise besides Jinja's own errors.
_TEMPLATE_ERRORS = (TemplateError, TypeError, ValueError, LookupError, ArithmeticError, AttributeError)


def with_pinned_date(template: str) -> str:
    """A chat template that is told the same date in every run; one that asks for no date stays as it is."""
    return _PINNED + template if "strftime_now" in template else template


class PromptError(Exception):
    """Why one example cannot be turned into a prompt; its message is the response's reason."""


def beginning(tokenizer: Any) -> list[int]:
    """The special tokens that a tokenizer puts in front of any text, such as BOS; mostly one or none."""
    bare, fed = (
        list(tokenizer("a", add_special_tokens=special, verbose=False)["input_ids"])
        for special in (False, True)
    )
    extra = len(fed) - len(bare)
    return next((fed[:start] for start in range(extra + 1) if fed[start : start + len(bare)] == bare), [])


class Prompts:
    """Turns examples into token ids with a model's own tokenizer and chat template.

    The template is applied once, and its text is tokenized without adding special tokens, since it wrote
    them itself; a second BOS token would be a prompt that the model never saw in training. Without a
    template the plain query is tokenized as the tokenizer does for any text. `notes` says what was unusual;
    `unread_system` is the number of prompts that lack their system text, `opens_reasoning` whether some end
    within a reasoning trace, which may have `delimiters` of its own. `told` are variables of the template's
    own, such as `enable_thinking`.
    """

    def __init__(self, tokenizer: Any, system: str | None, told: Mapping[str, Any] | None = None) -> None:
        self._tokenizer = tokenizer
        self._system = system
        self._told = dict(told or {})
        self.notes: list[str] = [] if tokenizer.chat_template else [NO_TEMPLATE]
        read = tokenizer.chat_template or ""
        read = "\n".join(read.values()) if isinstance(read, dict) else read
        self.notes += [
            UNREAD_VARIABLE.format(name)
            for name in self._told
            if not re.search(rf"\b{re.escape(name)}\b", read)
        ]
        self._unread: set[str] = set()
        self._proved = False
        self.delimiters: Delimiters | None = None
        self._last: tuple[Any, list[int]] | None = None
        self.opens_reasoning = False

    @property
    def unread_system(self) -> int:
        return len(self._unread)

    @cached_property
    def turn_end(self) -> int | None:
        """The special token with which the template ends an answer; None where it has none."""
        if not self._tokenizer.chat_template:
            return None
        turns = [{"role": "user", "content": _SAID}, {"role": "assistant", "content": _SAID}]
        try:
            ending = self._rendered(turns, None, asks=False).rpartition(_SAID)[2].lstrip()
        except _TEMPLATE_ERRORS:
            return None
        first = self._encode(ending, special=False)[:1]
        return first[0] if first and first[0] in self._tokenizer.added_tokens_decoder else None

    def ids(self, example: Example) -> list[int]:
        """The prompt's token ids, at least one. Raises PromptError when the template refuses the messages."""
        if example.sample and self._last and self._last[0] is example.messages:
            return self._last[1]  # a further sample of the same answer
        ids = self._ids(example)
        self._last = (example.messages, ids)
        return ids

    def _ids(self, example: Example) -> list[int]:
        if self._tokenizer.chat_template:
            text = self._templated(example)
            # A tag of the template's, and none that the user wrote.
            asked = example.query.strip()
            end = text.rfind(asked) + len(asked) if asked in text else 0
            self.opens_reasoning |= opens_reasoning(text[end:], self.delimiters)
            ids = self._encode(text, special=False)
        else:
            text = example.query if not self._system else f"{self._system}\n\n{example.query}"
            ids = self._without_end(self._encode(text, special=True), text)
        if not ids and self._tokenizer.bos_token_id is not None:
            ids = [self._tokenizer.bos_token_id]
        if not ids:
            raise PromptError("the prompt is empty, and the tokenizer has no token to begin with")
        return ids

    def cut(self, example: Example, ids: list[int], most: int) -> list[int]:
        """The prompt's `ids` cut to `most` tokens, for a prompt that does not fit.

        Keeps the template's beginning with the system prompt, as far as it takes at most half, and the
        newest tokens to the prompt's end. The oldest tokens, between the two, are left out.
        """
        try:
            emptied = self.ids(replace(example, query="", messages=_emptied(example.messages)))
        except PromptError:
            emptied = []
        pairs = enumerate(zip(ids, emptied, strict=False))
        beginning = next((place for place, (own, other) in pairs if own != other), len(emptied))
        kept = min(beginning, most // 2)
        return ids[:kept] + ids[len(ids) - (most - kept) :]

    def _encode(self, text: str, special: bool) -> list[int]:
        # Prompts longer than the tokenizer's limit are told apart later: no warning, and never a cut.
        return list(self._tokenizer(text, add_special_tokens=special, verbose=False)["input_ids"])

    def _without_end(self, ids: list[int], text: str) -> list[int]:
        # Tokenizers saved from training may append EOS: the model would start a new document after it.
        end = self._tokenizer.eos_token_id
        return ids[:-1] if ids and ids[-1] == end and not text.endswith(self._tokenizer.eos_token) else ids

    def _templated(self, example: Example) -> str:
        messages = conversation(example, self._system)
        tools = self._tools(example, messages)
        try:
            text = self._apply(messages, tools)
            self._prove(example, messages, text)
            return text
        except _TEMPLATE_ERRORS as error:
            if messages[0]["role"] != "system":
                raise PromptError(f"the chat template refuses the messages: {error}") from error
        try:
            text = self._apply(_folded(messages), tools)
        except _TEMPLATE_ERRORS as error:
            raise PromptError(f"the chat template refuses the messages: {error}") from error
        self._note(NO_SYSTEM_ROLE)
        return text

    def _prove(self, example: Example, messages: list[dict[str, Any]], text: str) -> None:
        """Notes whether the prompt holds its system text, and once whether the template does its part."""
        first = messages[0]
        if first["role"] == "system" and not _holds(text, first["content"]):
            self._unread.add(example.id)
            self._note(UNREAD_SYSTEM)
        if self._proved:
            return
        self._proved = True
        bare = [{key: value for key, value in turn.items() if key != "tool_calls"} for turn in messages]
        turns = [{**turn, "content": turn["content"] or ""} for turn in bare]
        try:
            asked, again = self._rendered(turns, None), self._rendered(turns, None)
            silent = self._rendered(turns, None, asks=False)
        except _TEMPLATE_ERRORS:  # without its calls a conversation may be refused: the next example proves
            self._proved = False
            return
        if asked != again:
            self._note(UNSTEADY)
        elif asked == silent:
            self._note(NO_GENERATION_PROMPT)

    def _tools(self, example: Example, messages: list[dict[str, Any]]) -> list[dict[str, Any]] | None:
        """The tools for the template; None without, and where the data's own system text defines them."""
        said = "".join(message["content"] for message in messages if message["role"] == "system")
        names = [tool["function"]["name"] for tool in example.tools]
        if names and all(re.search(_DEFINED.format(re.escape(name)), said) for name in names):
            self._note(TOOLS_IN_SYSTEM)
            return None
        return list(example.tools) or None

    def _apply(self, messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None) -> str:
        """The template's text. Calls and tools that it leaves out of the prompt are noted."""
        called = any("tool_calls" in message for message in messages)
        render = self._with_calls if called else self._rendered
        text = render(messages, tools)
        if tools and NO_TOOLS not in self.notes and render(messages, None) == text:
            self._note(NO_TOOLS)
        return text

    def _with_calls(self, messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None) -> str:
        """The first form of the calls' empty texts that has every call in the prompt.

        Some templates show calls only where there is no text, others need one, or print "None".
        """
        calls = [call["function"]["name"] for message in messages for call in message.get("tool_calls", ())]
        texts = []
        problem: Exception | None = None
        for content in ("", None):
            turns = [
                {**turn, "content": content} if "tool_calls" in turn and not turn["content"] else turn
                for turn in messages
            ]
            try:
                text = self._rendered(turns, tools)
            except _TEMPLATE_ERRORS as error:
                problem = error
                continue
            if _are_shown(calls, text, self._without_calls(turns, tools)):
                return text
            texts.append(text)
        if not texts and problem is not None:
            raise problem
        self._note(NO_CALLS)
        return texts[0]

    def _without_calls(self, messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None) -> str:
        bare = [{key: value for key, value in turn.items() if key != "tool_calls"} for turn in messages]
        try:
            return self._rendered([{**turn, "content": turn["content"] or ""} for turn in bare], tools)
        except _TEMPLATE_ERRORS:
            return ""

    def _rendered(
        self, messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None, asks: bool = True
    ) -> str:
        given: dict[str, Any] = self._told | ({"tools": tools} if tools else {})
        template = self._tokenizer.get_chat_template(tools=tools)
        if (pinned := with_pinned_date(template)) != template:
            given["chat_template"] = pinned
            self._note(PINNED_DATE)
        return str(
            self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=asks, **given)
        )

    def _note(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)


def _are_shown(names: list[str], text: str, without: str) -> bool:
    """Whether each call is in a prompt: its name is there more often than without the calls."""
    return all(text.count(name) >= without.count(name) + names.count(name) for name in set(names))


def _holds(text: str, part: str) -> bool:
    """Whether a prompt holds a text, but for white space and the escapes of JSON."""
    shown = "".join(text.split())
    return any("".join(form.split()) in shown for form in (part, json.dumps(part, ensure_ascii=False)[1:-1]))


def _emptied(messages: tuple[dict[str, Any], ...]) -> tuple[dict[str, Any], ...]:
    """The messages without the texts of their turns; a system message stays."""
    return tuple(
        message if message["role"] == "system" else {**message, "content": ""} for message in messages
    )


def _folded(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The messages with the system prompt in front of the first user turn."""
    system, *turns = messages
    for place, turn in enumerate(turns):
        if turn["role"] == "user":
            folded = {"role": "user", "content": f"{system['content']}\n\n{turn['content']}"}
            return [*turns[:place], folded, *turns[place + 1 :]]
    return turns


Number = TypeVar("Number", int, float)


def converse(
    generator: Generator,
    examples: Sequence[Example],
    settings: Settings,
    read: Callable[[Response], Response] = lambda response: response,
) -> Iterator[list[Response]]:
    """Answers the examples, those with several `turns` turn by turn with their own answers in between.

    Every turn's answer is taken as `read` gives it: a reasoning trace is no part of what was said before.

    All conversations go on together, round by round, so that their questions share batches. A conversation
    is given out when its last turn is answered, with the tokens, seconds and finish reason of all its turns
    together (see `Response`). Where a turn gets no answer, the conversation has none, and the reason names
    the turn. The example's first question is in its `messages`; `turns` repeats it before the others.
    """
    under_way = {(example.id, example.sample): _Conversation(example) for example in examples}
    waiting = list(examples)
    while waiting:
        again: list[Example] = []
        for batch in generator.generate(waiting, settings):
            finished = []
            for response in batch:
                conversation = under_way[response.example_id, response.sample]
                conversation.add(read(response))
                if conversation.over:
                    finished.append(conversation.response())
                else:
                    again.append(conversation.next_question())
            yield finished
        waiting = again


class _Conversation:
    """One example's questions and the answers so far."""

    def __init__(self, example: Example) -> None:
        self._example = example
        self._questions = example.turns[1:]
        self._responses: list[Response] = []

    @property
    def over(self) -> bool:
        return self._responses[-1].text is None or len(self._responses) > len(self._questions)

    def add(self, response: Response) -> None:
        self._responses.append(response)

    def next_question(self) -> Example:
        """The conversation up to its next question, as an example of its own."""
        messages = list(self._example.messages)
        for response, question in zip(self._responses, self._questions, strict=False):
            messages.append({"role": "assistant", "content": response.text or ""})
            messages.append({"role": "user", "content": question})
        query = messages[-1]["content"]
        return replace(self._example, query=query, messages=tuple(messages))

    def _thought(self) -> int | None:
        """The tokens of all turns' traces; None without one, and where one was not counted."""
        thought = [each for each in self._responses if each.thinking or each.thinking_tokens]
        return _sum([each.thinking_tokens for each in thought]) if thought else None

    def response(self) -> Response:
        last = self._responses[-1]
        if not self._questions:
            return last
        total = replace(
            last,
            tokens_in=_sum([response.tokens_in for response in self._responses]),
            tokens_out=_sum([response.tokens_out for response in self._responses]),
            finish_reason=_finish_reason([response.finish_reason for response in self._responses]),
            latency_s=_sum([response.latency_s for response in self._responses]),
            thinking="\n\n".join(filter(None, (response.thinking for response in self._responses))) or None,
            thinking_tokens=self._thought(),
            overran=any(response.overran for response in self._responses),
            reason=next((response.reason for response in self._responses if response.reason), None),
            cached=all(response.cached for response in self._responses),
        )
        if last.text is None:
            turn = f"turn {len(self._responses)} of {len(self._questions) + 1}"
            return replace(total, reason=f"{turn}: {last.reason}")
        return replace(total, turns=tuple(response.text or "" for response in self._responses))


def _finish_reason(turns: list[str | None]) -> str | None:
    return "length" if "length" in turns else None if None in turns else turns[-1]


def _sum(values: list[Number | None]) -> Number | None:
    """The sum; None where a part is not known."""
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None
