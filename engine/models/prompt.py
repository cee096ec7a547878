"""From an example to the exact tokens that a local model is asked with."""

from dataclasses import replace
from typing import Any

from jinja2 import TemplateError

from engine.data.example import Example
from engine.models.model import conversation

NO_TEMPLATE = "no chat template: asked with the plain query (its last user turn)"
NO_SYSTEM_ROLE = (
    "the chat template takes no system message: the system prompt stands before the first user turn"
)


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
        try:
            return self._apply(messages)
        except _TEMPLATE_ERRORS as error:
            if messages[0]["role"] != "system":
                raise PromptError(f"the chat template refuses the messages: {error}") from error
        try:
            text = self._apply(_folded(messages))
        except _TEMPLATE_ERRORS as error:
            raise PromptError(f"the chat template refuses the messages: {error}") from error
        if NO_SYSTEM_ROLE not in self.notes:
            self.notes.append(NO_SYSTEM_ROLE)
        return text

    def _apply(self, messages: list[dict[str, str]]) -> str:
        return str(self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))


def _emptied(messages: tuple[dict[str, str], ...]) -> tuple[dict[str, str], ...]:
    """The messages without the texts of their turns; a system message stays."""
    return tuple(
        message if message["role"] == "system" else {**message, "content": ""} for message in messages
    )


def _folded(messages: list[dict[str, str]]) -> list[dict[str, str]]:
    """The messages with the system prompt in front of the first user turn."""
    system, *turns = messages
    for place, turn in enumerate(turns):
        if turn["role"] == "user":
            folded = {"role": "user", "content": f"{system['content']}\n\n{turn['content']}"}
            return [*turns[:place], folded, *turns[place + 1 :]]
    return turns
