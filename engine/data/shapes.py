"""Turns a record in a known shape into an Example.

Shapes, told apart by their keys, the first that fits: OpenAI chat (`messages`), ShareGPT (`conversations`),
MT-Bench (`turns`), Alpaca (`instruction`, `input`, `output`), prompt/completion, plain pairs (`query` or
`question` with `reference(s)`, `reference_answer`, `answer` or `response`), MBPP (`text`, `test_list`),
preferences (`chosen`, `rejected`), glaive (`system`, `chat`), HellaSwag (`ctx`, `endings`) and BFCL
(`question` as turns, `function`). Beside a question stand its passages (`context`), choices, earlier
exchanges (`history`) and tools.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from engine.data.calls import ToolCall, find_calls, has_tools, read_tools
from engine.data.cells import Malformed, decoded, listed
from engine.data.choices import Choices, choices_of, columns_of, stand_beside
from engine.data.example import FIELDS, TEMPLATE, TURN_REFERENCES, Example
from engine.data.messages import (
    Message,
    Messages,
    are_messages,
    glaive_messages,
    glaive_system,
    hh_messages,
    is_glaive,
    is_role,
    read_messages,
    spoken_answer,
)
from engine.data.reading import Record, type_name
from engine.errors import BadInput

QUERIES = ("query", "question", "instruction", "prompt")
LONGEST = 10_000_000  # characters of a question, beyond any model's context
_KNOWN = {"id", "question_id", *FIELDS}
REFERENCES = (
    "references", "reference", "reference_answer", "answer", "response", "output", "completion", "answers",
    "chosen", "ideal", "solution", "ground_truth", "ground_truths", "target", "correct_answers",
    "correct_answer", "best_answer", "expected", "expected_output", "expected_answer",
)  # fmt: skip
CONTEXTS = ("context", "contexts", "passage", "passages")
TOOLS = ("tools", "functions")
_BFCL_TOOLS = "function"
POSSIBLE = ("ground_truth", "possible_answer")  # BFCL's calls with the values that are right
_OF_THE_COMPLETION = ("label", "kto_tag")  # KTO: whether the completion is good
_SHAPES = (
    'Known shapes: query|question with reference|answer|response; messages [{"role", "content"}]; '
    'conversations [{"from", "value"}]; instruction, input, output; prompt, completion. '
    'Other columns are named in the plan: [data] fields = { query = "COLUMN", reference = "COLUMN" }'
)


@dataclass(slots=True)
class _Asked:
    """The turns to be answered, the turn that answers them, and the columns that both came from."""

    messages: Messages
    used: set[str]
    answer: Message | None = None
    choices: Choices | None = None


def example_from(path: Path, record: Record, fields: Mapping[str, str], training: bool = False) -> Example:
    """The example in a record; its id is "" when the record has none.

    A conversation whose last turn is the assistant's has that turn as a reference. References that are no
    text become one: numbers as they are written, objects as JSON. Empty ones count as missing. `training`
    accepts what only training data has: bare `text`, and conversations that end anywhere. Raises BadInput
    with file and line.
    """
    line, found = record
    try:
        return _example(line, _flattened(_renamed(found, fields)), fields.get(TEMPLATE), training)
    except Malformed as error:
        raise BadInput(f"{path}:{line}: {error.message}", _SHAPES if error.shapes else "") from error


def _renamed(record: dict[str, Any], fields: Mapping[str, str]) -> dict[str, Any]:
    """The record with mapped columns under our names; they replace columns that had such a name."""
    mapped = {
        name: record[column] for name, column in fields.items() if name != TEMPLATE and column in record
    }
    if not mapped:
        return record
    hidden = {fields[name] for name in mapped}
    if "query" in mapped or "messages" in mapped or "turns" in mapped:
        hidden |= {"messages", "conversations", "turns", *QUERIES}
    if "reference" in mapped or "references" in mapped:
        hidden |= set(REFERENCES)
    return {**{key: value for key, value in record.items() if key not in hidden}, **mapped}


def _flattened(record: dict[str, Any]) -> dict[str, Any]:
    """The record with the parts of a question under keys of their own, where it is an object or a stem."""
    question = record.get("question")
    if turns := _bfcl_turns(record):
        if len(turns) > 1:
            raise Malformed(
                f"question: {len(turns)} turns, whose calls would have to be run; only those of one turn can "
                "be evaluated"
            )
        # The names of BFCL's parts: live_irrelevance_3-1-0.
        part = re.match(r"(\D+)_\d", str(record.get("id", "")))
        if part and part[1].endswith(("java", "javascript")):
            raise Malformed("question: BFCL's calls in Java and JavaScript cannot be scored, only Python's")
        return {"category": part[1] if part else None, **record, "question": turns[0]}
    if isinstance(question, dict) and isinstance(question.get("stem"), str):
        parts = {key: value for key, value in question.items() if key != "stem"}
        return {**record, "question": question["stem"], **parts}
    if stem := _stem(record):
        asked = {"question" if isinstance(record[stem], str) else "prompt": record[stem]}
        return asked | {key: value for key, value in record.items() if key != stem}
    return record


def _stem(record: Mapping[str, Any]) -> str | None:
    """The column of a question by another name, or of its beginning, which the choices end."""
    if not record.keys().isdisjoint({*QUERIES, "messages", "conversations", "turns", "chat", "chosen"}):
        return None
    stems = ("ctx" if record.get("endings") else "question_stem", "problem", "input")
    return next((stem for stem in stems if record.get(stem) and isinstance(record[stem], str | list)), None)


def _bfcl_turns(record: Mapping[str, Any]) -> list[Any]:
    """The turns of BFCL's question, each a list of messages; [] for any other question."""
    question = record.get("question")
    if not isinstance(question, list) or not question:
        return []
    turns = question if isinstance(question[0], list) else [question]
    return turns if are_messages(turns[0]) else []


def says_bad(record: Mapping[str, Any]) -> bool:
    """Whether a KTO record marks its completion as bad."""
    said = next((record[key] for key in _OF_THE_COMPLETION if key in record), None)
    completed = record.get("completion")
    if "kto_tag" not in record and (completed in (None, "") or str(completed).strip().lower() == "false"):
        return False
    return said is False or (isinstance(said, str) and said.strip().lower() == "false")


def _example(line: int, record: dict[str, Any], template: str | None, training: bool) -> Example:
    turns = _texts(record, "turns")
    asked = _asked(record, turns, template, training)
    messages, used = asked.messages, asked.used
    tools, tool_columns = _tools(record, training)
    if says_bad(record):
        asked.answer, record = None, {**record, "completion": None}
    references, reference_keys = _references(record, turns, asked)
    answer = asked.answer["content"] if asked.answer else ""
    if answer and answer not in references:
        references = (*references, answer)
    calls = _expected_calls(record, asked.answer)
    if calls is None and references and (tools or "<tool_call>" in references[0]):
        found = find_calls(references[0], tools)
        calls = None if found.problem else found.calls
    query = next((turn["content"] for turn in reversed(messages) if turn["role"] == "user"), "")
    if not query.strip() and not training:
        raise Malformed("the query is empty" if messages else "has no user turn", True)
    if len(query) > LONGEST and not training:
        raise Malformed(f"the query has {len(query):,} characters; the maximum is {LONGEST:,}")
    return Example(
        id=_scalar(record, "id") or _scalar(record, "question_id") or "",
        query=query,
        messages=tuple(messages),
        references=references,
        label=_scalar(record, "label"),
        category=_scalar(record, "category"),
        schema=_schema(record),
        tests=() if _are_inputs(record.get("tests")) else _texts(record, "tests"),
        turns=turns,
        group=_scalar(record, "group"),
        line=line,
        extra={
            key: value
            for key, value in record.items()
            if key not in _KNOWN
            and key not in used
            and key not in reference_keys
            and key not in tool_columns
            and not (key in POSSIBLE and calls is not None)
        }
        | ({"tests": record["tests"]} if _are_inputs(record.get("tests")) else {})
        | (_turn_references(record, turns) if len(turns) > 1 else {}),
        tools=tools,
        calls=calls,
    )


def _asked(record: dict[str, Any], turns: tuple[str, ...], template: str | None, training: bool) -> _Asked:
    if template is not None and (made := _from_template(record, template, training)) is not None:
        messages, columns = _under(record, made)
        return _Asked(messages, {*columns, "system"}, choices=choices_of(record))
    for key in _CONVERSATIONS:
        if _structured(record, key):
            messages = read_messages(record[key], key, training)
            if not any(message["role"] == "system" for message in messages):
                messages = [*_system(record), *messages]
            completion = _completion(record, training)
            return _split_answer([*messages, *completion], key, {key, "system", "completion"}, training)
    if turns:
        return _Asked([*_system(record), _turn("user", turns[0])], {"turns", "system"})
    bare_text = training or "test_list" in record
    for key in (*QUERIES, "text") if bare_text else QUERIES:
        text = _scalar(record, key)
        if text is not None:
            return _question(record, key, text)
    if is_glaive(record.get("chat")):
        return _glaive(record, training)
    if (preferred := _preferred(record, training)) is not None:
        return preferred
    if any(str(record.get(key, "x")).strip() == "" for key in QUERIES):
        raise Malformed("the query is empty", True)
    raise Malformed(f"no query found among its keys: {', '.join(record) or 'none'}", True)


def _from_template(record: dict[str, Any], template: str, training: bool) -> str | None:
    """The question that the template makes; None for training data that lack a column of it."""
    from engine.data.template import columns_of as named
    from engine.data.template import rendered

    if training and not named(template) <= record.keys():
        return None
    return rendered(template, record)


_PARTS = {*CONTEXTS, "history"}  # columns that, like choices, stand beside a question of one text


def _question(record: dict[str, Any], key: str, text: str) -> _Asked:
    """A question of one text, under its passages and above its choices."""
    given = _scalar(record, "input") if key == "instruction" else None
    whole = f"{text}\n\n{given}" if given else text
    used = {key, "system"}
    if key == "instruction" or record.get("input") in (None, ""):
        used.add("input")
    if _PARTS.isdisjoint(record) and not stand_beside(record):
        return _Asked([*_system(record), _turn("user", whole)], used)
    choices = choices_of(record)
    if choices is not None:
        whole = choices.asked(whole)
        used |= columns_of(choices, record)
    # In `extra` too: judges compare answers with it.
    passages = [passage for column in CONTEXTS if (passage := _passage(record.get(column))).strip()]
    whole = "\n\n".join([*(passage for passage in passages if passage.strip() not in whole), whole])
    messages, columns = _under(record, whole)
    return _Asked(messages, used | columns, choices=choices)


def _under(record: Mapping[str, Any], question: str) -> tuple[Messages, set[str]]:
    """The question under the system text and the earlier exchanges, and the column of those."""
    history = _history(record)
    return [*_system(record), *history, _turn("user", question)], {"history"} if history else set()


def _passage(value: Any) -> str:
    """The text of a passage, from texts or the objects of HotpotQA, PubMedQA and MS MARCO; "" for another."""
    if isinstance(value, str):
        value = listed(value)
    if isinstance(value, dict):
        titles, parts = value.get("title"), value.get("sentences")
        if isinstance(titles, list) and isinstance(parts, list) and len(titles) == len(parts):
            value = [
                f"{title}\n{''.join(map(str, said))}"
                for title, said in zip(titles, parts, strict=True)
                if isinstance(said, list)
            ]
        else:
            value = value.get("contexts", value.get("passage_text"))
    if isinstance(value, list):
        value = [_document(item) if isinstance(item, dict) else item for item in value]
        return "\n\n".join(value) if all(isinstance(item, str) for item in value) else ""
    return value if isinstance(value, str) else ""


def _document(value: Mapping[str, Any]) -> Any:
    """The text of {"title", "text"}; None of another object."""
    text = value.get("text")
    return f"{value['title']}\n{text}" if text and isinstance(value.get("title"), str) else text


def _history(record: Mapping[str, Any]) -> Messages:
    """The earlier exchanges, from pairs or objects of question and answer, or from turns; none
    in any other form."""
    value = record.get("history")
    if isinstance(value, str):
        value = listed(value)
    if are_messages(value):
        return [turn for turn in read_messages(value, "history") if turn["role"] != "system"]
    if not isinstance(value, list):
        return []
    value = [_pair(item) if isinstance(item, dict) else item for item in value]
    if not all(_is_exchange(item) for item in value):
        return []
    if value and all(is_role(pair[0]) for pair in value):
        turns = [{"role": role, "content": text} for role, text in value]
        return [turn for turn in read_messages(turns, "history") if turn["role"] != "system"]
    return [
        _turn(role, text) for pair in value for role, text in zip(("user", "assistant"), pair, strict=True)
    ]


def _pair(item: Mapping[str, Any]) -> list[Any]:
    """Question and answer of an exchange under any names: {"question", "answer"}, {"user", "bot"}."""
    asked = [text for key, text in item.items() if key in QUERIES or is_role(key, "user")]
    said = [text for key, text in item.items() if key in REFERENCES or is_role(key, "assistant")]
    return [*asked, *said] if len(asked) == len(said) == 1 else []


def _is_exchange(item: Any) -> bool:
    return isinstance(item, list) and len(item) == 2 and all(isinstance(text, str) for text in item)


def _glaive(record: Mapping[str, Any], training: bool) -> _Asked:
    system, _ = glaive_system(_scalar(record, "system") or "")
    messages = [*([_turn("system", system)] if system else []), *glaive_messages(record["chat"])]
    return _split_answer(messages, "chat", {"chat", "system"}, training)


def _preferred(record: Mapping[str, Any], training: bool) -> _Asked | None:
    """The question that the chosen and the rejected conversation begin with; None where they are none."""
    key = next((key for key in ("chosen", "reference", "references") if record.get(key)), "chosen")
    chosen = _as_conversation(record.get(key), key, training)
    rejected = _as_conversation(record.get("rejected"), "rejected", training)
    if chosen is None or not any(turn["role"] == "user" for turn in chosen):
        return None
    shared = 0
    while shared < len(chosen) and rejected and chosen[shared : shared + 1] == rejected[shared : shared + 1]:
        shared += 1
    if not rejected or shared == len(chosen):
        shared = len(chosen) - 1
    return _split_answer(
        [*_system(record), *chosen[:shared], *chosen[-1:]], "chosen", {"chosen", "system"}, training
    )


def _as_conversation(value: Any, key: str, training: bool) -> Messages | None:
    if isinstance(value, str):
        if (spoken := hh_messages(value)) is not None:
            return spoken
        value = listed(value)
    return read_messages(value, key, training) if are_messages(value) else None


def _completion(record: Mapping[str, Any], training: bool) -> Messages:
    return (
        read_messages(record["completion"], "completion", training)
        if _structured(record, "completion")
        else []
    )


def _split_answer(messages: Messages, key: str, used: set[str], training: bool) -> _Asked:
    answer = messages.pop() if messages and messages[-1]["role"] == "assistant" else None
    if not training and messages and messages[-1]["role"] not in {"user", "tool"}:
        raise Malformed(
            f"{key}: the turn to be answered must be the user's, found the {messages[-1]['role']}'s"
        )
    return _Asked(messages, used, answer)


def _turn(role: str, content: str) -> Message:
    return {"role": role, "content": content}


def _system(record: Mapping[str, Any]) -> Messages:
    text = _scalar(record, "system")
    return [_turn("system", text)] if text else []


def _structured(record: Mapping[str, Any], key: str) -> bool:
    value = record.get(key)
    if key == "question":
        return are_messages(value)
    if isinstance(value, str) and key in {"messages", "conversations"} and value.strip():
        return True
    return isinstance(value, list) or (isinstance(value, str) and are_messages(listed(value)))


def _tools(record: Mapping[str, Any], training: bool) -> tuple[tuple[dict[str, Any], ...], set[str]]:
    """The tools and the columns that hold them; training data's may be of any form."""
    try:
        for key in _tool_columns(record):
            return read_tools(record[key], key), {key}
        if is_glaive(record.get("chat")):
            functions = glaive_system(_scalar(record, "system") or "")[1]
            return read_tools(functions, "system"), set()
    except Malformed:
        if not training:
            raise
    return (), set()


def _tool_columns(record: Mapping[str, Any]) -> list[str]:
    keys = (*TOOLS, _BFCL_TOOLS) if _bfcl_turns(record) else TOOLS
    return [key for key in keys if has_tools(record.get(key))]


def _expected_calls(record: Mapping[str, Any], answer: Message | None) -> tuple[ToolCall, ...] | None:
    """The calls that would be right: those of the answering turn, of xLAM's `answers` or BFCL's ground truth.

    () where none would be: an empty list there, or BFCL's part "irrelevance"; None where only a text may say.
    """
    if answer is not None and "tool_calls" in answer:
        return tuple(call["function"] for call in answer["tool_calls"])
    if (chosen := _chosen_turn(record)) is not None:
        return tuple(call["function"] for call in chosen["tool_calls"])
    if (named := _named_calls(record)) is not None:
        return named[1]
    return () if _bfcl_turns(record) and "irrelevance" in str(record.get("category")) else None


def _named_calls(record: Mapping[str, Any]) -> tuple[str, tuple[ToolCall, ...]] | None:
    """The column that holds the calls that would be right, and these; None without one, or without tools."""
    if not _tool_columns(record):
        return None
    for key in ("answers", *POSSIBLE):
        value = record.get(key)
        if isinstance(value, str):
            value = listed(value)
        if value == []:
            return key, ()
        if key == "answers" and _are_calls(value):
            return key, tuple(ToolCall(name=call["name"], arguments=call["arguments"]) for call in value)
        if key in POSSIBLE and _are_possible(value):
            pairs = (pair for call in value for pair in call.items())
            return key, tuple(ToolCall(name=name, allowed=allowed) for name, allowed in pairs)
    return None


def _are_possible(value: Any) -> TypeGuard[list[dict[str, dict[str, list[Any]]]]]:
    """Whether a value is BFCL's list of {function: {parameter: [values that are right]}}."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(
            isinstance(call, dict)
            and len(call) == 1
            and isinstance(allowed := next(iter(call.values())), dict)
            and all(isinstance(values, list) for values in allowed.values())
            for call in value
        )
    )


def _chosen_turn(record: Mapping[str, Any]) -> Message | None:
    """The chosen turn of preferences where it is a call and no other column holds an answer; else None."""
    value = record.get("chosen")
    if not value or isinstance(value, str) or any(record.get(key) for key in REFERENCES if key != "chosen"):
        return None
    turns = value if isinstance(value, list) else [value]
    if not are_messages(turns):
        return None
    last = read_messages(turns, "chosen", training=True)[-1]
    return last if "tool_calls" in last else None


def _are_calls(value: Any) -> TypeGuard[list[dict[str, Any]]]:
    return (
        isinstance(value, list)
        and bool(value)
        and all(
            isinstance(item, dict)
            and isinstance(item.get("name"), str)
            and isinstance(item.get("arguments"), dict)
            for item in value
        )
    )


def _references(
    record: Mapping[str, Any], turns: tuple[str, ...], asked: _Asked
) -> tuple[tuple[str, ...], set[str]]:
    """The references under the first key that has some, and the keys that say nothing more.

    With choices, the letter and the text of the right one.
    """
    if asked.choices is not None:
        right, key = asked.choices.right(record)
        if right:
            return tuple(dict.fromkeys(right)), {key} & set(REFERENCES)
    used: set[str] = set()
    for key in REFERENCES:
        if key not in record:
            continue
        if key == "chosen" and (asked.answer is not None or _chosen_turn(record) is not None):
            used.add(key)
            continue
        value = record[key]
        if (said := spoken_answer(value)) is not None:
            if key == "completion" and isinstance(value, list):
                continue
            return (said,), {*used, key}
        if key in _LISTED and isinstance(value, str):
            value = _listed(value, key)
        elif isinstance(value, str) and value.strip():
            if "answer_start" not in value or not _is_squad(listed(value)):
                return (value,), {*used, key}
            value = listed(value)
        if _is_squad(value):
            value = value["text"]
        if isinstance(value, dict) and {"value", "aliases"} <= value.keys():  # TriviaQA
            others = value["aliases"]
            value = [value["value"], *(others if isinstance(others, list) else [others] if others else [])]
        if key in POSSIBLE and not all(
            isinstance(item, str) for item in (value if isinstance(value, list) else [value])
        ):
            continue
        # MT-Bench lists one reference per turn; the query is the first turn.
        if isinstance(value, list) and len(turns) > 1:
            value = value[:1]
        if key == "answers" and _tool_columns(record) and _are_calls(value):
            used.add(key)
            continue
        items = value if isinstance(value, list) else [value]
        texts = [text for item in items if (text := _as_text(item)) and text.strip()]
        used.add(key)
        if texts:
            return tuple(dict.fromkeys(texts)), used
    return (), used


_LISTED = (
    "references",
    "answers",
    "ideal",
    "ground_truth",
    "ground_truths",
    "correct_answers",
)  # a cell under these may hold a list


def _is_squad(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("text"), list) and "answer_start" in value


def _turn_references(record: Mapping[str, Any], turns: tuple[str, ...]) -> dict[str, list[str]]:
    """The references of all turns, where a record lists one for each: `references` holds the first one's."""
    value = next((value for key in REFERENCES if (value := record.get(key)) not in (None, "", [])), None)
    if not isinstance(value, list) or not 2 <= len(value) <= len(turns):
        return {}
    return {TURN_REFERENCES: [_as_text(item) or "" for item in value]}


def _listed(cell: str, key: str) -> Any:
    """The list that a cell holds as JSON or as a Python literal, else the cell itself."""
    value = listed(cell)
    return value if isinstance(value, list) or (key == "answers" and _is_squad(value)) else cell


def _as_text(value: Any) -> str | None:
    """A text as it is, a number as written in JSON, an object or list as JSON; None stays None.

    Of SQuAD's {"text", "answer_start"} it is the text.
    """
    if isinstance(value, dict) and "answer_start" in value and isinstance(value.get("text"), str):
        return str(value["text"])
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def _scalar(record: Mapping[str, Any], key: str) -> str | None:
    value = record.get(key)
    if value is None or isinstance(value, str):
        return value or None
    if isinstance(value, list | dict):
        raise Malformed(f"{key}: found {type_name(value)}, where a text was expected")
    return _as_text(value)


def _texts(record: Mapping[str, Any], key: str) -> tuple[str, ...]:
    value = record.get(key)
    if value is None:
        return ()
    if isinstance(value, str) and value.lstrip().startswith("["):
        value = decoded(value, key)
    items = value if isinstance(value, list) else [value] if value != "" else []
    if not all(isinstance(item, str) for item in items):
        raise Malformed(f"{key}: must be a list of texts")
    return tuple(items)


def _are_inputs(tests: Any) -> bool:
    """Whether tests are inputs with the outputs that are right, which a metric reads."""
    tests = listed(tests) if isinstance(tests, str) else tests
    first = tests[0] if isinstance(tests, list) and tests else tests
    return isinstance(first, dict) and any("input" in key for key in first)


def _schema(record: Mapping[str, Any]) -> Any:
    """The schema, decoded from a cell's JSON; one that is no schema is the metric's to refuse."""
    value = record.get("schema")
    if isinstance(value, str) and value.strip():
        try:
            return decoded(value, "schema")
        except Malformed:
            return value
    return None if value == "" else value


_AS_THEY_ARE = ("label", "category", "schema", "tests", "group")
_CONVERSATIONS = {
    "messages": "OpenAI chat (messages)",
    "conversations": "ShareGPT (conversations)",
    "prompt": "prompt and completion as messages",
    "question": "BFCL (question, function)",
}
_TEXTS = {
    "query": "pairs (query, answer)",
    "question": "pairs (question, answer)",
    "instruction": "Alpaca (instruction, input, output)",
    "prompt": "prompt and completion",
    "text": "plain text",
}
NO_SHAPE = "no known shape"


def columns_used(record: dict[str, Any], fields: Mapping[str, str]) -> dict[str, str]:
    """Which column each of our fields is read from, in one record; `fields` are the columns named for it."""
    named = {name: column for name, column in fields.items() if name != TEMPLATE and column in record}
    hidden = set(named.values())
    found = dict(named) | _parts_used(_flattened(_renamed(record, fields)), fields)
    asked = _question_column(record, hidden) or _stem(record)
    if asked and not {"query", "messages", "turns"} & named.keys():
        found["query"] = asked
        parts = record[asked] if isinstance(record[asked], dict) else {}
        if isinstance(parts.get("stem"), str):
            found["query"] = f"{asked}.stem"
            found |= {name: f"{asked}.{column}" for name, column in found.items() if column in parts}
    expected = next(
        (key for key in REFERENCES if record.get(key) not in (None, "", []) and key not in hidden), None
    )
    calls = _named_calls(record)
    if calls is not None:
        found["calls"] = calls[0]
    bad = expected == "completion" and says_bad(record)
    if (
        expected
        and expected not in found.values()
        and not bad
        and not {"reference", "references"} & found.keys()
    ):
        found["references"] = expected
    for name in ("id", "question_id"):
        if record.get(name) is not None and "id" not in found:
            found["id"] = name
    return found | {name: name for name in _AS_THEY_ARE if record.get(name) is not None and name not in found}


def _parts_used(record: dict[str, Any], fields: Mapping[str, str]) -> dict[str, str]:
    """Further columns that are part of the question."""
    found = {}
    column = _question_column(record, set())
    plain = column in _TEXTS and not _is_conversation(record, column)
    if (plain and TEMPLATE not in fields) and (choices := choices_of(record)):
        found["choices"] = choices.column
        if key := choices.right(record)[1]:
            found["references"] = key
    if plain and TEMPLATE not in fields:
        passages = [key for key in CONTEXTS if _passage(record.get(key)).strip()]
        found |= {"context": ", ".join(passages)} if passages else {}
    if plain and _history(record):
        found["history"] = "history"
    for key in _tool_columns(record):
        found["tools"] = key
    if _scalar(record, "system"):
        found["system"] = "system"
    return {name: fields.get(name, column) for name, column in found.items()}


def shape_name(record: dict[str, Any], fields: Mapping[str, str]) -> str:
    """The name of a record's shape; with columns named for the question, those."""
    for name in ("query", "messages", "turns"):
        if fields.get(name) in record:
            return f"{name} from the column {fields[name]}"
    if TEMPLATE in fields:
        return "the template's question"
    record = _flattened(dict(record))
    column = _question_column(record, set(fields.values()))
    if column is None and is_glaive(record.get("chat")):
        return "glaive (system, chat)"
    if column is None:
        return "preferences (chosen, rejected)" if record.get("chosen") else NO_SHAPE
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
    return _structured(record, key)
