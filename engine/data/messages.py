"""Conversations as people's files hold them: the turns, and the calls of tools in them."""

import json
import re
from collections.abc import Mapping
from typing import Any

from engine.data.calls import calls_of, read_call
from engine.data.cells import Malformed, decoded, listed
from engine.data.reading import type_name

Message = dict[str, Any]
Messages = list[Message]

_ROLES = {
    "user": "user", "human": "user", "assistant": "assistant", "gpt": "assistant", "chatgpt": "assistant",
    "bing": "assistant", "bard": "assistant", "model": "assistant", "ai": "assistant", "bot": "assistant",
    "chatbot": "assistant", "system": "system", "developer": "system",
    "tool": "tool", "function": "tool", "observation": "tool", "ipython": "tool", "tool_response": "tool",
    "function_response": "tool", "function_call": "call", "tool_call": "call",
}  # fmt: skip
# Nine letters and digits: Mistral's templates take no other id.
_ID = "call{:05d}"
_GLAIVE = re.compile(r"(?:^|\n)\s*(USER|ASSISTANT|FUNCTION RESPONSE):")
_GLAIVE_ROLES = {"USER": "user", "ASSISTANT": "assistant", "FUNCTION RESPONSE": "tool"}
_GLAIVE_CALL = "<functioncall>"
_UNSAID = {"reasoning", "thinking", "tool_call"}  # types of a turn's parts
_HH = re.compile(r"(?:^|\n\n)(Human|Assistant):")
_HH_START = "\n\nHuman:"
_HH_ROLES = {"Human": "user", "Assistant": "assistant"}


def read_messages(value: Any, key: str, training: bool = False) -> Messages:
    """The turns {"role", "content"} in a list or a cell that holds one, in OpenAI's or ShareGPT's names.

    An assistant's turn may have `tool_calls`, each {"id", "type", "function": {"name", "arguments"}} with
    the arguments as an object; a tool's turn after calls has the `tool_call_id` that it answers, its own or
    the next one open. Texts that are null beside calls are "". Raises Malformed naming the place; with
    `training`, calls that cannot be read stay text.
    """
    if isinstance(value, str):
        value = decoded(value, key)
    if not isinstance(value, list):
        raise Malformed(
            f'{key}: found {type_name(value)}, where a list of {{"role", "content"}} was expected'
        )
    messages = [_message(item, f"{key}[{place}]", training) for place, item in enumerate(value)]
    return _linked(messages, key, training)


def are_messages(value: Any) -> bool:
    """Whether a value is a list of turns."""
    return isinstance(value, list) and bool(value) and all(is_message(item) for item in value)


def is_message(value: Any) -> bool:
    """Whether a value is one turn."""
    if not isinstance(value, dict):
        return False
    role = value.get("role", value.get("from"))
    said = value.keys() & {"content", "value", "tool_calls", "function_call"}
    return isinstance(role, str) and _role(role) is not None and bool(said)


def is_role(name: str, role: str | None = None) -> bool:
    """Whether a text is the name of a turn's role, or of this one."""
    found = _role(name)
    return found is not None if role is None else found == role


def _role(name: str) -> str | None:
    return _ROLES.get(name.lower().replace("-", "_"))


def spoken_answer(value: Any) -> str | None:
    """What the assistant says in a turn, or last in several; None without a turn, or without words."""
    if isinstance(value, str):
        if value.startswith(_HH_START):
            value = hh_messages(value)
        else:
            value = listed(value) if value.lstrip().startswith("[{") else None
    turns = [value] if is_message(value) else value
    if not are_messages(turns):
        return None
    texts = [
        turn["content"] for turn in read_messages(turns, "", training=True) if turn["role"] == "assistant"
    ]
    return texts[-1] if texts and texts[-1].strip() else None


def glaive_messages(chat: str) -> Messages:
    """The turns of a glaive-function-calling text: USER:, ASSISTANT:, FUNCTION RESPONSE:."""
    return _linked(
        [_glaive_turn(_GLAIVE_ROLES[name], text) for name, text in _spoken(_GLAIVE, chat)],
        "chat",
        training=False,
    )


def is_glaive(chat: Any) -> bool:
    return isinstance(chat, str) and bool(_GLAIVE.match(chat))


def _glaive_turn(role: str, text: str) -> Message:
    text = text.replace("<|endoftext|>", "").strip()
    if role == "assistant" and _GLAIVE_CALL in text:
        said, _, call = text.partition(_GLAIVE_CALL)
        return {"role": role, "content": said.strip(), "tool_calls": calls_of(call.strip(), "chat")}
    return {"role": role, "content": text}


def glaive_system(text: str) -> tuple[str, list[Any]]:
    """A glaive system text without its "SYSTEM:" and functions, and the functions."""
    whole = re.sub(r"^\s*SYSTEM:\s*", "", text)
    start = whole.find("{")
    if start < 0:
        return whole.strip(), []
    found, place = [], start
    decoder = json.JSONDecoder(strict=False)
    while place < len(whole) and whole[place] == "{":
        try:
            tool, place = decoder.raw_decode(whole, place)
        except (ValueError, RecursionError) as error:
            raise Malformed(f"system: holds a function that is not JSON: {error}") from error
        found.append(tool)
        place += len(whole[place:]) - len(whole[place:].lstrip(" \t\r\n,"))
    rest = whole[place:].strip()
    said = re.sub(r"with access to the following functions\..*$", "", whole[:start], flags=re.DOTALL).strip()
    said = said.rstrip("-, ").strip()
    return "\n\n".join(
        part for part in (f"{said}." if said and said[-1] not in ".!?" else said, rest) if part
    ), found


def hh_messages(text: str) -> Messages | None:
    """The turns of a text in the form of HH-RLHF ("\\n\\nHuman: …\\n\\nAssistant: …"); None for another."""
    if not text.startswith(_HH_START):
        return None
    return [{"role": _HH_ROLES[name], "content": said.strip()} for name, said in _spoken(_HH, text)]


def _spoken(names: re.Pattern[str], text: str) -> list[tuple[str, str]]:
    found = list(names.finditer(text))
    ends = [match.start() for match in found[1:]] + [len(text)]
    return [(match[1], text[match.end() : end]) for match, end in zip(found, ends, strict=True)]


def turn_text(message: Mapping[str, Any]) -> str:
    """What a turn says, its calls of tools as JSON below it."""
    calls = message.get("tool_calls") or ()
    lines = [json.dumps(call["function"], ensure_ascii=False) for call in calls]
    return "\n".join(part for part in (str(message.get("content") or ""), *lines) if part)


def _message(item: Any, where: str, training: bool) -> Message:
    if not isinstance(item, dict):
        raise Malformed(f'{where}: found {type_name(item)}, where {{"role", "content"}} was expected')
    named, content = item.get("role", item.get("from")), item.get("content", item.get("value"))
    role = _role(named) if isinstance(named, str) else None
    if role is None:
        raise Malformed(f"{where}: found role {ascii(named)[:60]}; allowed: user, assistant, system, tool")
    if role == "call":
        return _call_turn(content, where, training)
    calls = _own_calls(item, where, training) if role == "assistant" else []
    if isinstance(content, list) and not (role == "tool" and not _has_parts(content)):
        content = _text_parts(content, where)
    if role == "tool" and isinstance(content, dict | list | int | float):
        content = json.dumps(content, ensure_ascii=False)
    if content is None and calls:
        content = ""
    if not isinstance(content, str):
        raise Malformed(f"{where}: content is {type_name(content)}, where a text was expected")
    message: Message = {"role": role, "content": content}
    if calls:
        message["tool_calls"] = calls
    if role == "tool":
        message |= {key: item[key] for key in ("tool_call_id", "name") if isinstance(item.get(key), str)}
    return message


def _has_parts(content: list[Any]) -> bool:
    return bool(content) and all(isinstance(part, dict) and "type" in part for part in content)


def _text_parts(parts: list[Any], where: str) -> str:
    """The texts of a turn's parts; a part of reasoning or a call is no part of what was said."""
    parts = [part for part in parts if not (isinstance(part, dict) and part.get("type") in _UNSAID)]
    texts = [
        part.get("text", part.get("value"))
        for part in parts
        if isinstance(part, dict) and part.get("type") == "text"
    ]
    if len(texts) != len(parts) or not all(isinstance(text, str) for text in texts):
        raise Malformed(f"{where}: has non-text parts (images, audio); only text can be evaluated")
    return "".join(str(text) for text in texts)


def _own_calls(item: Mapping[str, Any], where: str, training: bool) -> list[dict[str, Any]]:
    """The calls of an assistant's turn, in OpenAI's present form or its first one, or among its parts."""
    calls, place = item.get("tool_calls"), f"{where}.tool_calls"
    content = item.get("content")
    if not calls and isinstance(content, list):
        found = [part for part in content if isinstance(part, dict) and part.get("type") == "tool_call"]
        calls, place = [part.get("value") for part in found], f"{where}.content"
    if not calls and isinstance(item.get("function_call"), dict):
        calls, place = [item["function_call"]], f"{where}.function_call"
    try:
        if isinstance(calls, str) and calls.strip():
            calls = decoded(calls, place)
        if not calls:
            return []
        if not isinstance(calls, list):
            raise Malformed(f"{place}: found {type_name(calls)}, where a list of calls was expected")
        calls = [decoded(call, place) if isinstance(call, str) else call for call in calls]
        return [read_call(call, f"{place}[{number}]") for number, call in enumerate(calls)]
    except Malformed:
        if training:
            return []
        raise


def _call_turn(content: Any, where: str, training: bool) -> Message:
    """The assistant's turn that LLaMA-Factory writes as role "function_call" with JSON as its text."""
    try:
        calls = calls_of(content, where)
    except Malformed:
        if training:
            text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
            return {"role": "assistant", "content": text}
        raise
    return {"role": "assistant", "content": "", "tool_calls": calls}


def _linked(messages: Messages, key: str, training: bool) -> Messages:
    """The messages with an id for each call, and for each tool's turn that of its call."""
    if not any("tool_calls" in message for message in messages):
        # Nothing to link to: what a conversation of texts holds stays as it is.
        return [{"role": message["role"], "content": message["content"]} for message in messages]
    known: dict[str, str] = {}
    waiting: list[str] = []
    found = []
    for place, message in enumerate(messages):
        if "tool_calls" in message:
            calls = [
                {"id": _ID.format(len(known) + n), **call} for n, call in enumerate(message["tool_calls"], 1)
            ]
            message = {**message, "tool_calls": calls}
            known |= {call["id"]: call["function"]["name"] for call in calls}
            waiting = [call["id"] for call in calls]
        elif message["role"] == "tool":
            own = message.get("tool_call_id")
            if own is not None and own not in known and not training:
                raise Malformed(f"{key}[{place}]: tool_call_id {ascii(own)[:60]} belongs to no earlier call")
            answered = own or next(iter(waiting), None)
            waiting = [call for call in waiting if call != answered]
            if answered is not None:
                message = {**message, "tool_call_id": answered}
                if answered in known:
                    message.setdefault("name", known[answered])
        found.append(message)
    return found
