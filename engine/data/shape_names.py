"""In which shape a record is, and which of its columns is read as what: for showing what was understood."""

from collections.abc import Mapping
from typing import Any

from engine.data.shapes import QUERIES, REFERENCES

_AS_THEY_ARE = ("label", "category", "schema", "tests", "group")
_CONVERSATIONS = {
    "messages": "OpenAI chat (messages)",
    "conversations": "ShareGPT (conversations)",
    "prompt": "prompt and completion as messages",
}
_TEXTS = {
    "query": "pairs (query, answer)",
    "question": "pairs (question, answer)",
    "instruction": "Alpaca (instruction, input, output)",
    "prompt": "prompt and completion",
    "text": "plain text",
}
NO_SHAPE = "no known shape"


def columns_used(record: Mapping[str, Any], fields: Mapping[str, str]) -> dict[str, str]:
    """Which column each of our fields is read from, in one record; `fields` are the columns named for it."""
    named = {name: column for name, column in fields.items() if column in record}
    hidden = set(named.values())
    found = dict(named)
    asked = _question_column(record, hidden)
    if asked and not {"query", "messages", "turns"} & named.keys():
        found["query"] = asked
    expected = next(
        (key for key in REFERENCES if record.get(key) not in (None, "", []) and key not in hidden), None
    )
    if expected and not {"reference", "references"} & named.keys():
        found["references"] = expected
    for name in ("id", "question_id"):
        if record.get(name) is not None and "id" not in found:
            found["id"] = name
    return found | {name: name for name in _AS_THEY_ARE if record.get(name) is not None and name not in found}


def shape_name(record: Mapping[str, Any], fields: Mapping[str, str]) -> str:
    """The name of a record's shape; with columns named for the question, those."""
    for name in ("query", "messages", "turns"):
        if fields.get(name) in record:
            return f"{name} from the column {fields[name]}"
    column = _question_column(record, set(fields.values()))
    if column is None:
        return NO_SHAPE
    if column == "turns":
        return "MT-Bench (turns)"
    spoken = column in _CONVERSATIONS and _is_conversation(record, column)
    return _CONVERSATIONS[column] if spoken else _TEXTS[column]


def _question_column(record: Mapping[str, Any], hidden: set[str]) -> str | None:
    for key in _CONVERSATIONS:
        if key not in hidden and _is_conversation(record, key):
            return key
    if record.get("turns") not in (None, "", []) and "turns" not in hidden:
        return "turns"
    return next(
        (key for key in (*QUERIES, "text") if record.get(key) not in (None, "") and key not in hidden), None
    )


def _is_conversation(record: Mapping[str, Any], key: str) -> bool:
    value = record.get(key)
    return isinstance(value, list) or (key != "prompt" and isinstance(value, str) and bool(value.strip()))
