"""What an example is, and what its identity is."""

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from engine.data.calls import ToolCall

FIELDS = (
    "id", "query", "messages", "reference", "references", "label", "category", "schema", "tests", "turns",
    "group",
)  # fmt: skip
# Names that a column can be mapped to: an example's own, and the parts of its question.
MAPPABLE = (*FIELDS, "system", "context", "choices", "history", "tools")
TEMPLATE = "template"  # beside them in a mapping: a Jinja2 text that makes the query
_ID_LENGTH = 12
_DERIVED = re.compile(rf"[0-9a-f]{{{_ID_LENGTH}}}")


@dataclass(frozen=True, slots=True)
class Example:
    """One thing to answer.

    `messages` are {"role", "content"} turns with at least one of the user's; `query` is the last one of
    the user's. Turns of the assistant may have `tool_calls` and turns of tools a `tool_call_id`, in OpenAI's
    form but with arguments as objects. `references` are answers that would be right, `schema` a JSON schema
    for the answer, unchecked, `tests` code that the answer must pass, `turns` the user's turns of a
    conversation that the model continues. `tools` are {"type": "function", "function"} that the model may
    call, and `calls` the calls that would be right: () where it should make none, None where nothing says.
    `group` keeps examples together in one split. `line` is the place in the file, `extra` what else its
    record held. `sample` is the number of the answer that is asked for, from 0, where the same example is
    asked several times; it is no part of the example.
    """

    id: str
    query: str
    messages: tuple[dict[str, Any], ...]
    references: tuple[str, ...] = ()
    label: str | None = None
    category: str | None = None
    schema: Any = None
    tests: tuple[str, ...] = ()
    turns: tuple[str, ...] = ()
    group: str | None = None
    line: int = 0
    extra: dict[str, Any] = field(default_factory=dict)
    tools: tuple[dict[str, Any], ...] = ()
    calls: tuple[ToolCall, ...] | None = None
    sample: int = 0


def normalise(text: str) -> str:
    """The identity of a text: Unicode NFKC, case folded, runs of white space one space, none at the ends."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def query_id(query: str) -> str:
    """The id of an example that has none of its own: 12 hex digits of the normalised query's BLAKE2b hash."""
    return hashlib.blake2b(normalise(query).encode(), digest_size=_ID_LENGTH // 2).hexdigest()


def whole_question(example: Example) -> tuple[Any, ...]:
    """All that decides which answer is asked for: equal ones ask the same."""
    return example.query, example.messages, example.turns, example.tools, example.schema


TURN_REFERENCES = "turn_references"  # in an example's `extra`: a reference for each turn, where listed so


SYNTHETIC = "synthetic"  # in an example's `extra`: that a model wrote it, and how that came about
_NO = ("", "0", "0.0", "false", "f", "no", "n", "none", "null", "nan", "n/a", "-")


def is_synthetic(example: Example) -> bool:
    """Whether the example's record says that a model wrote it: a table of how, or any word but a no."""
    said = example.extra.get(SYNTHETIC)
    return bool(said) and not (isinstance(said, str | float) and str(said).strip().lower() in _NO)


def references_by_turn(example: Example) -> list[tuple[int, str]]:
    """The references, each with its turn from 1: several in a conversation of as many turns or more are one
    for each turn, a single one is for the last. Of one question all are for turn 1.
    """
    last = max(1, len(example.turns))
    listed = (example.extra.get(TURN_REFERENCES) if last > 1 else None) or example.references
    several = last > 1 and 2 <= len(listed) <= last
    return [(turn if several else last, text) for turn, text in enumerate(listed, 1) if text.strip()]


def with_last_references(example: Example) -> Example:
    """The example with the references of its last answer, which is what metrics look at."""
    if len(example.turns) < 2:
        return example
    texts = (text for turn, text in references_by_turn(example) if turn == len(example.turns))
    return replace(example, references=tuple(texts))


def has_own_id(example: Example) -> bool:
    """Whether the id comes from the data rather than from the query."""
    if not _DERIVED.match(example.id):
        return True
    derived = query_id(example.query)
    return example.id != derived and not example.id.startswith(f"{derived}-")


def eval_set_version(examples: Iterable[Example]) -> str:
    """12 hex digits of the SHA-256 over the examples' content, whatever their order and lines."""
    digests = sorted(hashlib.sha256(_content(example).encode()).hexdigest() for example in examples)
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()[:_ID_LENGTH]


def _content(example: Example) -> str:
    content: list[Any] = [
        example.id, example.messages, example.references, example.label, example.category, example.schema,
        example.tests, example.turns, example.group, example.extra,
    ]  # fmt: skip
    # Only if there are any, so that an eval set without tools keeps its version.
    if example.tools or example.calls:
        content += [example.tools, example.calls or ()]
    if example.calls == () and not example.references:
        content.append("no call is right")
    return json.dumps(content, sort_keys=True, default=str)
