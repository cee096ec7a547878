"""From an example to the exact tokens that a local model is asked with."""

import re
from dataclasses import replace
from typing import Any

from jinja2 import TemplateError

from engine.data.example import Example
from engine.models.model import conversation

NO_TEMPLATE = "no chat template: asked with the plain query (its last user turn)"
NO_SYSTEM_ROLE = (
    "the chat template takes no system message: the system prompt stands before the first user turn"
)


NO_TOOLS = "the chat template leaves tools out: the model is not told of them"
NO_CALLS = "the chat template leaves earlier tool calls out of the prompt"
TOOLS_IN_SYSTEM = "the system text of the data defines the tools: the template is not given them again"
# A template is a program of the model's author: what it can raise besides Jinja's own errors.
_TEMPLATE_ERRORS = (TemplateError, TypeError, ValueError, LookupError, ArithmeticError, AttributeError)


class PromptError(Exception):
    """Why one example cannot be turned into a prompt; its message is the response's reason."""


class Prompts:
    """Turns examples into token ids with a model's own tokenizer and chat template.

    The template is applied once, and its text is tokenized without adding special tokens, since it wrote
    them itself; a second BOS token would be a prompt that the model never saw in training. Without a
    template the plain query is tokenized as the tokenizer does for any text. `notes` says what was unusual.
    """

    def __init__(self, tokenizer: Any, system: str | None) -> None:
        self._tokenizer = tokenizer
        self._system = system
        self.notes: list[str] = [] if tokenizer.chat_template else [NO_TEMPLATE]

    def ids(self, example: Example) -> list[int]:
        """The prompt's token ids, at least one. Raises PromptError when the template refuses the messages."""
        if self._tokenizer.chat_template:
            ids = self._encode(self._templated(example), special=False)
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

        Kept are the template's beginning with the system prompt, as far as it takes at most half, and the
        newest tokens to the prompt's end. What stands between them, the oldest, is left out.
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
            return self._apply(messages, tools)
        except _TEMPLATE_ERRORS as error:
            if messages[0]["role"] != "system":
                raise PromptError(f"the chat template refuses the messages: {error}") from error
        try:
            text = self._apply(_folded(messages), tools)
        except _TEMPLATE_ERRORS as error:
            raise PromptError(f"the chat template refuses the messages: {error}") from error
        self._note(NO_SYSTEM_ROLE)
        return text

    def _tools(self, example: Example, messages: list[dict[str, Any]]) -> list[dict[str, Any]] | None:
        """The tools for the template; None without, and where the data's own system text defines them."""
        said = "".join(message["content"] for message in messages if message["role"] == "system")
        names = [tool["function"]["name"] for tool in example.tools]
        if names and all(re.search(rf"(?<!\w){re.escape(name)}(?!\w)", said) for name in names):
            self._note(TOOLS_IN_SYSTEM)
            return None
        return list(example.tools) or None

    def _apply(self, messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None) -> str:
        """The template's text. Calls and tools that it leaves out of the prompt are noted."""
        if not any("tool_calls" in message for message in messages):
            text = self._rendered(messages, tools)
        else:
            text = self._with_calls(messages, tools)
        if tools and not all(tool["function"]["name"] in text for tool in tools):
            self._note(NO_TOOLS)
        return text

    def _with_calls(self, messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None) -> str:
        """The first form of the calls' empty texts that has every call in the prompt.

        Some templates show calls only where there is no text, others need one, or print "None".
        """
ome templates show calls only where no text is beside them, others need one, or print "None": the
        first form that has every call in the prompt is taken."""
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

    def _rendered(self, messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None) -> str:
        given = {"tools": tools} if tools else {}
        return str(
            self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, **given)
        )

    def _note(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)


def _are_shown(names: list[str], text: str, without: str) -> bool:
    """Whether each call is in a prompt: its name is there more often than without the calls."""
    return all(text.count(name) >= without.count(name) + names.count(name) for name in set(names))


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
