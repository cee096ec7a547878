"""From a record in one of the shapes that people have to an Example.

Shapes, told apart by their keys, the first that fits: OpenAI chat (`messages`), ShareGPT (`conversations`),
MT-Bench (`turns`), Alpaca (`instruction`, `input`, `output`), prompt/completion, plain pairs (`query` or
`question` with `reference(s)`, `reference_answer`, `answer` or `response`), and MBPP (`text`, `test_list`).
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.data.example import FIELDS, Example
from engine.data.reading import Record, decode_json, type_name
from engine.errors import BadInput

_ROLES = {
    "user": "user", "human": "user", "assistant": "assistant", "gpt": "assistant", "chatgpt": "assistant",
    "bing": "assistant", "bard": "assistant", "model": "assistant", "system": "system", "developer": "system",
    "tool": "tool", "function": "tool", "observation": "tool",
}  # fmt: skip
QUERIES = ("query", "question", "instruction", "prompt")
LONGEST = 10_000_000  # characters of a question, beyond any model's context
_KNOWN = {"id", "question_id", *FIELDS}
TURN_REFERENCES = "turn_references"  # in an example's `extra`
REFERENCES = ("references", "reference", "reference_answer", "answer", "response", "output", "completion")
_SHAPES = (
    'Known shapes: query|question with reference|answer|response; messages [{"role", "content"}]; '
    'conversations [{"from", "value"}]; instruction, input, output; prompt, completion. '
    'Other columns are named in the plan: [data] fields = { query = "COLUMN", reference = "COLUMN" }'
)

Messages = list[dict[str, str]]


class _Wrong(ValueError):
    """What is wrong with a record, without its place."""


def example_from(path: Path, record: Record, fields: Mapping[str, str], training: bool = False) -> Example:
    """The example in a record; its id is "" when the record has none.

    A conversation whose last turn is the assistant's has that turn as a reference. References that are no
    text become one: numbers as they are written, objects as JSON. Empty ones count as missing. `training`
    accepts what only training data has: bare `text`, and conversations that end anywhere. Raises BadInput
    with file and line.
    """
    line, found = record
    try:
        return _example(line, _renamed(found, fields), training)
    except _Wrong as error:
        raise BadInput(f"{path}:{line}: {error.args[0]}", _SHAPES if error.args[1:] else "") from error


def _renamed(record: dict[str, Any], fields: Mapping[str, str]) -> dict[str, Any]:
    """The record with mapped columns under our names; what stood under such a name before gives way."""
    mapped = {name: record[column] for name, column in fields.items() if column in record} if fields else {}
    if not mapped:
        return record
    hidden = {fields[name] for name in mapped}
    if "query" in mapped or "messages" in mapped or "turns" in mapped:
        hidden |= {"messages", "conversations", "turns", *QUERIES}
    if "reference" in mapped or "references" in mapped:
        hidden |= set(REFERENCES)
    return {**{key: value for key, value in record.items() if key not in hidden}, **mapped}


def _example(line: int, record: dict[str, Any], training: bool) -> Example:
    turns = _texts(record, "turns")
    messages, answer, used = _conversation(record, turns, training)
    references, reference_keys = _references(record, turns)
    if answer and answer not in references:
        references = (*references, answer)
    query = next((turn["content"] for turn in reversed(messages) if turn["role"] == "user"), "")
    if not query.strip() and not training:
        raise _Wrong("the query is empty" if messages else "has no user turn", True)
    if len(query) > LONGEST and not training:
        raise _Wrong(f"the query has {len(query):,} characters; no model can be asked more than {LONGEST:,}")
    return Example(
        id=_scalar(record, "id") or _scalar(record, "question_id") or "",
        query=query,
        messages=tuple(messages),
        references=references,
        label=_scalar(record, "label"),
        category=_scalar(record, "category"),
        schema=_schema(record),
        tests=_texts(record, "tests"),
        turns=turns,
        group=_scalar(record, "group"),
        line=line,
        extra={
            key: value
            for key, value in record.items()
            if key not in _KNOWN and key not in used and key not in reference_keys
        }
        | (_turn_references(record, turns) if len(turns) > 1 else {}),
    )


def _conversation(
    record: dict[str, Any], turns: tuple[str, ...], training: bool
) -> tuple[Messages, str, set[str]]:
    """The turns to answer, the assistant's last turn or "", and the keys that they came from."""
    for key in ("messages", "conversations", "prompt"):
        if _structured(record, key):
            messages = _messages(record, key)
            if not any(message["role"] == "system" for message in messages):
                messages = [*_system(record), *messages]
            completion = _messages(record, "completion") if _structured(record, "completion") else []
            return (*_split_answer([*messages, *completion], key, training), {key, "system", "completion"})
    if turns:
        return [*_system(record), _turn("user", turns[0])], "", {"turns", "system"}
    bare_text = training or "test_list" in record
    for key in (*QUERIES, "text") if bare_text else QUERIES:
        text = _scalar(record, key)
        if text is not None:
            context = _scalar(record, "input") if key == "instruction" else None
            whole = f"{text}\n\n{context}" if context else text
            return [*_system(record), _turn("user", whole)], "", {key, "input", "system"}
    if any(str(record.get(key, "x")).strip() == "" for key in QUERIES):
        raise _Wrong("the query is empty", True)
    raise _Wrong(f"no query found among its keys: {', '.join(record) or 'none'}", True)


def _split_answer(messages: Messages, key: str, training: bool) -> tuple[Messages, str]:
    answer = messages.pop()["content"] if messages and messages[-1]["role"] == "assistant" else ""
    if not training and messages and messages[-1]["role"] not in {"user", "tool"}:
        raise _Wrong(f"{key}: the turn to be answered must be the user's, found the {messages[-1]['role']}'s")
    return messages, answer


def _turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def _system(record: Mapping[str, Any]) -> Messages:
    text = _scalar(record, "system")
    return [_turn("system", text)] if text else []


def _structured(record: Mapping[str, Any], key: str) -> bool:
    value = record.get(key)
    if isinstance(value, str) and key in {"messages", "conversations"} and value.strip():
        return True
    return isinstance(value, list)


def _messages(record: Mapping[str, Any], key: str) -> Messages:
    value = _decoded(record[key], key) if isinstance(record[key], str) else record[key]
    if not isinstance(value, list):
        raise _Wrong(f'{key}: found {type_name(value)}, where a list of {{"role", "content"}} was expected')
    return [_message(item, f"{key}[{index}]") for index, item in enumerate(value)]


def _message(item: Any, where: str) -> dict[str, str]:
    if not isinstance(item, dict):
        raise _Wrong(f'{where}: found {type_name(item)}, where {{"role", "content"}} was expected')
    role, content = item.get("role", item.get("from")), item.get("content", item.get("value"))
    if not isinstance(role, str) or role.lower() not in _ROLES:
        raise _Wrong(f"{where}: found role {ascii(role)[:60]}; allowed: user, assistant, system, tool")
    if isinstance(content, list):
        content = _text_parts(content, where)
    if not isinstance(content, str):
        raise _Wrong(f"{where}: content is {type_name(content)}, where a text was expected")
    return _turn(_ROLES[role.lower()], content)


def _text_parts(parts: list[Any], where: str) -> str:
    texts = [part.get("text") for part in parts if isinstance(part, dict) and part.get("type") == "text"]
    if len(texts) != len(parts) or not all(isinstance(text, str) for text in texts):
        raise _Wrong(f"{where}: has parts that are no text (images, audio); only text can be evaluated")
    return "".join(str(text) for text in texts)


def _references(record: Mapping[str, Any], turns: tuple[str, ...]) -> tuple[tuple[str, ...], set[str]]:
    """The references under the first key that has some, and the keys that say nothing more."""
    used: set[str] = set()
    for key in REFERENCES:
        if key not in record:
            continue
        value = record[key]
        if isinstance(value, str) and key != "references" and value.strip():
            return (value,), {*used, key}
        if key == "completion" and isinstance(value, list):
            continue
        if key == "references" and isinstance(value, str):
            value = _listed(value)
        # MT-Bench lists one reference per turn; the query is the first turn.
        if isinstance(value, list) and len(turns) > 1:
            value = value[:1]
        items = value if isinstance(value, list) else [value]
        texts = [text for item in items if (text := _as_text(item)) and text.strip()]
        used.add(key)
        if texts:
            return tuple(dict.fromkeys(texts)), used
    return (), used


def _turn_references(record: Mapping[str, Any], turns: tuple[str, ...]) -> dict[str, list[str]]:
    """The references of all turns, where a record lists one for each: `references` holds the first one's."""
    values = [record[key] for key in REFERENCES if isinstance(record.get(key), list)]
    if not values or not 2 <= len(values[0]) <= len(turns):
        return {}
    return {TURN_REFERENCES: [_as_text(item) or "" for item in values[0]]}


def _listed(cell: str) -> Any:
    """The list that a CSV cell holds as JSON, else the cell itself."""
    try:
        value = decode_json(cell)
    except ValueError:
        return cell
    return value if isinstance(value, list) else cell


def _as_text(value: Any) -> str | None:
    """A text as it is, a number as written in JSON, an object or list as JSON; None stays None."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def _scalar(record: Mapping[str, Any], key: str) -> str | None:
    value = record.get(key)
    if value is None or isinstance(value, str):
        return value or None
    if isinstance(value, list | dict):
        raise _Wrong(f"{key}: found {type_name(value)}, where a text was expected")
    return _as_text(value)


def _texts(record: Mapping[str, Any], key: str) -> tuple[str, ...]:
    value = record.get(key)
    if value is None:
        return ()
    if isinstance(value, str) and value.lstrip().startswith("["):
        value = _decoded(value, key)
    items = value if isinstance(value, list) else [value] if value != "" else []
    if not all(isinstance(item, str) for item in items):
        raise _Wrong(f"{key}: must be a list of texts")
    return tuple(items)


def _schema(record: Mapping[str, Any]) -> dict[str, Any] | bool | None:
    value = record.get("schema")
    if isinstance(value, str) and value.strip():
        value = _decoded(value, "schema")
    if value in (None, ""):
        return None
    if not isinstance(value, dict | bool):
        raise _Wrong(f"schema: found {type_name(value)}, where a JSON schema (an object) was expected")
    return value


def _decoded(text: str, key: str) -> Any:
    try:
        return decode_json(text)
    except ValueError as error:
        raise _Wrong(f"{key}: is not JSON: {error}") from error


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
