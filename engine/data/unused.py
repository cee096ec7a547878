"""Columns of the data that are in no prompt but may belong to the question."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from engine.data.example import TEMPLATE, Example

_LONG = 300  # characters: a longer text is rarely a remark about the example
# Words of a column's name that say what it is to the question.
_KINDS = {
    "history": {
        "history", "dialog", "dialogue", "dialogs", "conversation", "conversations", "chat", "previous",
    },
    "choices": {
        "choice", "choices", "option", "options", "endings", "distractor", "distractors", "candidates",
    },
    "tools": {"tool", "tools", "function", "functions", "apis"},
    "system": {"instructions", "persona"},
    "context": {
        "context", "contexts", "ctx", "passage", "passages", "paragraph", "paragraphs", "article", "articles",
        "document", "documents", "doc", "docs", "story", "background", "knowledge", "evidence", "facts",
        "premise", "hypothesis", "sentence", "sentences", "table", "tables", "ddl", "input", "inputs", "hint",
        "support", "messages", "images", "image", "audio", "audios", "video", "videos", "snippet", "snippets",
        "excerpt", "transcript",
    },
}  # fmt: skip
_NO_TEXT = {"image", "images", "audio", "audios", "video", "videos"}
# What metrics, judges and models read, and what describes the answer.
READ_ELSEWHERE = {
    "source", "regex", "items", "language", "term", "terms", "harmful", "test_list", "test_cases", "test",
    "test_imports", "test_setup_code", "challenge_test_list", "entry_point", "checks", "max_new_tokens",
    "turn_references", "instruction_id_list", "kwargs", "canonical_solution", "rejected", "chosen",
    "model_response", "incorrect_answers",
}  # fmt: skip
_OF_THE_ANSWER = {
    "answer", "answers", "response", "responses", "output", "outputs", "solution", "solutions", "explanation",
    "rationale", "reasoning", "reason", "thought", "thoughts", "cot", "proof", "completion", "label",
    "target", "gold", "reference", "references", "judgment", "feedback", "comment", "comments", "note",
    "notes", "metadata", "meta", "url", "rejected", "chosen", "code",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class UnusedColumn:
    """A column that no prompt holds in `rows` examples; `kind` is the name it could be mapped to."""

    column: str
    rows: int
    kind: str

    @property
    def message(self) -> str:
        examples = "1 example" if self.rows == 1 else f"{self.rows:,} examples"
        return f'column "{self.column}" is not in the prompt of {examples}, and may belong to the question'

    @property
    def way_out(self) -> str:
        """How to map the column, in a plan and on the command line."""
        if _words(self.column) & _NO_TEXT:
            return "only text is evaluated: leave such examples out, or say what it shows in a template"
        name = self.column if self.column.isidentifier() else f"record[{self.column!r}]"
        mapped = f'[data] fields = {{ {self.kind} = "{self.column}" }}'
        mapped += f" (--field {self.kind}={self.column})"
        template = f"[data] template = '{{{{ {name} }}}} …'"
        # It has that name already: its form, or a conversation beside it, keeps it out of the prompt.
        return f"use {template}" if self.column == self.kind else f"use {mapped}, or {template}"


def unused_columns(examples: Iterable[Example], fields: Mapping[str, str]) -> list[UnusedColumn]:
    """The columns of some examples, those of most rows first; none where a template makes the question."""
    if TEMPLATE in fields:
        return []
    found = Counter(column for example in examples for column in unused(example))
    return [UnusedColumn(column, rows, kind_of(column)) for column, rows in found.most_common()]


def kind_of(column: str) -> str:
    """What a column could be mapped to."""
    words = _words(column)
    return next((kind for kind, names in _KINDS.items() if words & names), "context")


def unused(example: Example) -> Iterator[str]:
    """The columns of one example, by their names and by how long their texts are."""
    if not example.extra:
        return
    asked = "\n".join(str(message["content"]) for message in example.messages)
    for column, value in example.extra.items():
        if (
            value in (None, "", "[]", "{}", [], {})
            or column.lower() in READ_ELSEWHERE
            or isinstance(value, bool | int | float)
        ):
            continue
        words = _words(column)
        named = any(words & names for names in _KINDS.values())
        long = isinstance(value, str) and len(value) >= _LONG and not words & _OF_THE_ANSWER
        if (named or long) and not _is_in(value, asked, example):
            yield column


def _is_in(value: object, asked: str, example: Example) -> bool:
    """Whether the prompt or the tools hold a value: of a list or an object, all of its texts."""
    texts = [text for text in _texts(value) if text]
    if not texts:
        return True
    if example.tools and all(text in json.dumps(example.tools, ensure_ascii=False) for text in texts):
        return True
    return all(text in asked for text in texts)


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value.strip()
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


def _words(column: str) -> set[str]:
    """The words in a column's name: "sentence1", "ctx_a", "inputText"."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", column)
    return set(re.findall(r"[^\W\d_]+", spaced.lower()))
