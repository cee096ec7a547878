"""A question and its answer as the interfaces of models write them: what was sent, and what came back.

OpenAI's chat, text and Responses interfaces, Anthropic's, LangChain's messages, and OpenTelemetry's parts, as
values or as JSON in a text. The result has keys of `engine.traffic.events`.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from engine.data.cells import Malformed, listed
from engine.data.messages import is_role
from engine.data.reading import type_name

Raw = dict[str, Any]
_TEXTS = ("text", "response", "answer", "completion", "output_text", "output", "result", "content", "value")
_QUESTIONS = (
    "question",
    "query",
    "user_input",
    "user_message",
    "message",
    "text",
    "input",
    "inputs",
    "request",
)
_WRAPPED = ("kwargs", "data")  # LangChain's objects, and its own dictionaries of messages
_FINISH = ("finish_reason", "stop_reason", "finishReason", "done_reason")
_IN = ("input_tokens", "prompt_tokens", "input", "inputTokens", "promptTokens", "prompt_eval_count")
_OUT = ("output_tokens", "completion_tokens", "output", "outputTokens", "completionTokens", "eval_count")


def exchange(given: Any, got: Any = None) -> Raw:
    """What was asked and answered. Where nothing came back, the assistant's last turn is the answer.

    Raises Malformed where nothing was asked.
    """
    asked = question(given)
    said = answer(got)
    turns = asked.get("messages")
    if turns and not said and len(turns) > 1 and is_role(str(turns[-1].get("role")), "assistant"):
        said = _spoken(turns[-1])
        asked["messages"] = turns[:-1]
    return asked | said


def question(value: Any) -> Raw:
    """The messages or the prompt that were sent, with the model, user and variant that were named beside."""
    value = listed(value) if isinstance(value, str) else value
    if isinstance(value, str):
        return {"prompt": value}
    if isinstance(value, list):
        while len(value) == 1 and isinstance(value[0], list):  # LangChain's batch of one
            (value,) = value
        if value and all(isinstance(item, dict) for item in value):
            return {"messages": turns_of(value)}
        if len(value) == 1 and isinstance(value[0], str):
            return {"prompt": value[0]}
    if isinstance(value, dict):
        return _of_object(value)
    raise Malformed(f"the question: found {type_name(value)}, where messages or a prompt were expected")


def _of_object(value: Mapping[str, Any]) -> Raw:
    beside = {key: value[key] for key in ("model", "user") if isinstance(value.get(key), str)}
    for key in ("messages", "input", "contents", "prompt", "prompts"):
        inner = value.get(key)
        if isinstance(inner, str | list) and inner:
            asked = question(inner)
            first = value.get("instructions", value.get("system"))
            if first and "prompt" in asked:
                asked = {"messages": [{"role": "user", "content": asked["prompt"]}]}
            if first:
                asked["messages"] = [{"role": "system", "content": first}, *asked["messages"]]
            return beside | asked
    if "role" in value or "lc" in value:
        return {"messages": turns_of([value])}
    for key in (*_QUESTIONS, *_WRAPPED, "body"):
        inner = value.get(key)
        if isinstance(inner, str) and inner:
            return beside | {"prompt": inner}
        if isinstance(inner, dict | list) and inner:
            return beside | question(inner)
    texts = [item for item in value.values() if isinstance(item, str) and item]
    if len(texts) == 1:
        return {"prompt": texts[0]}
    raise Malformed("the question: neither messages nor a prompt are in it")


def turns_of(values: Sequence[Any]) -> list[Raw]:
    """Turns {"role", "content", "tool_calls"} of messages in the forms of several interfaces."""
    return [turn for value in values for turn in _turns(value)]


def _turns(value: Any) -> list[Raw]:
    if not isinstance(value, dict):
        raise Malformed(f"messages: found {type_name(value)}, where a message was expected")
    for key in _WRAPPED:
        inner = value.get(key)
        if isinstance(inner, dict) and "content" in inner and "content" not in value:
            kind = value.get("type") if key == "data" else None
            named = {"type": kind or inner.get("type") or _class_role(value)}
            return _turns({**inner, **named})
    kind = value.get("type")
    if kind == "function_call":
        call = {key: value.get(key) for key in ("name", "arguments")}
        return [{"role": "assistant", "content": "", "tool_calls": [{"id": value.get("call_id"), **call}]}]
    if kind == "function_call_output":
        return [
            {"role": "tool", "content": _words(value.get("output")), "tool_call_id": value.get("call_id")}
        ]
    if kind == "reasoning":
        return []
    if "role" not in value and isinstance(kind, str):
        value = {**value, "role": "assistant" if kind == "AIMessageChunk" else kind}
    if isinstance(parts := value.get("parts"), list) and "content" not in value:
        return _of_parts(value, parts)
    if isinstance(content := value.get("content"), list):
        return _of_parts(value, content)
    return [_with_calls(value)]


def _class_role(value: Mapping[str, Any]) -> str:
    path = value.get("id")
    name = str(path[-1]) if isinstance(path, list) and path else ""
    return name.removesuffix("Chunk").removesuffix("Message").lower()


def _with_calls(value: Mapping[str, Any]) -> Raw:
    """A turn with LangChain's calls {"name", "args", "id"}, or those beside it, in OpenAI's form."""
    more = value.get("additional_kwargs")
    calls = value.get("tool_calls") or (more.get("tool_calls") if isinstance(more, dict) else None)
    if not isinstance(calls, list) or not calls:
        return dict(value)
    return {**value, "tool_calls": [_call(call) for call in calls]}


def _call(call: Any) -> Any:
    if isinstance(call, dict) and "function" not in call:
        for key in ("args", "input"):
            if key in call:
                return {"id": call.get("id"), "name": call.get("name"), "arguments": call[key]}
    return call


def _of_parts(value: Mapping[str, Any], parts: Sequence[Any]) -> list[Raw]:
    """A turn of OpenTelemetry's or Anthropic's parts; results of tools among them are turns of their own."""
    kept: list[Any] = []
    calls, results = [], []
    for part in parts:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind in ("tool_call", "tool_use"):
            calls.append({key: part.get(key) for key in ("id", "name")} | {"arguments": _arguments(part)})
        elif kind in ("tool_call_response", "tool_result"):
            said = next((part[key] for key in ("response", "result", "content") if key in part), None)
            own = part.get("id", part.get("tool_use_id"))
            results.append({"role": "tool", "content": _words(said), "tool_call_id": own})
        elif kind in ("text", "refusal") and "text" not in part:
            kept.append({"type": "text", "text": _words(part.get("content", part.get(str(kind))))})
        elif isinstance(part, str):
            kept.append({"type": "text", "text": part})
        elif kind is None and isinstance(part, dict) and isinstance(part.get("text"), str):
            kept.append({"type": "text", "text": part["text"]})
        elif kind not in ("reasoning", "thinking", "redacted_thinking"):
            kept.append(part if kind else {"type": "part", **(part if isinstance(part, dict) else {})})
    turn = {key: item for key, item in value.items() if key not in ("parts", "content")}
    own_calls = _with_calls(turn).get("tool_calls") or []
    turn |= {"content": kept}
    if calls or own_calls:
        turn["tool_calls"] = [*own_calls, *calls]
    return results if results and not kept and not calls else [*results, turn]


def _arguments(part: Mapping[str, Any]) -> Any:
    return next((part[key] for key in ("arguments", "input", "args") if key in part), None)


def _words(value: Any) -> str:
    """A value as text: JSON of what is no text; of a list of parts their texts."""
    if isinstance(value, list) and value and all(isinstance(part, dict) and "text" in part for part in value):
        return "".join(str(part["text"]) for part in value)
    return value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False)


def answer(value: Any) -> Raw:
    """What came back: `response` or `choices`, `calls`, and what stands beside it of tokens, model and time.

    {} where nothing did. A structured answer that is none of the known forms is its JSON.
    """
    if isinstance(value, str):
        inner = listed(value)
        known = (isinstance(inner, dict) and _is_answer(inner)) or _are_turns(inner)
        return answer(inner) if known else {"response": value} if value else {}
    if not value:
        return {}
    if isinstance(value, list):
        while len(value) == 1 and isinstance(value[0], list):
            (value,) = value
        if not value:
            return {}
        if _are_turns(value):
            spoken = [turn for turn in turns_of(value) if is_role(str(turn.get("role")), "assistant")]
            return _spoken(spoken[-1]) if spoken else {}
        if isinstance(value[0], dict) and str(value[0].get("type")).endswith("Generation"):
            return answer(value[0])
        if all(isinstance(part, dict) and "type" in part for part in value):
            return _spoken({"role": "assistant", "content": value})
        if len(value) == 1:
            return answer(value[0])
    if not isinstance(value, dict):
        return {"response": _words(value)}
    beside = _beside(value)
    if isinstance(value.get("choices"), list):
        return beside | ({"choices": value["choices"]} if value["choices"] else {})
    if isinstance(inner := value.get("generations"), list) and inner:
        return beside | answer(inner)
    if isinstance(inner := value.get("message"), dict):
        return beside | answer(inner)
    if isinstance(inner := value.get("kwargs"), dict) and "content" in inner:
        return beside | answer(inner)
    if isinstance(inner := value.get("messages"), list) and _are_turns(inner):
        return beside | answer(inner)
    if isinstance(inner := value.get("output"), list | dict) and inner:
        return beside | answer(inner)
    if "content" in value or value.get("tool_calls") or isinstance(value.get("parts"), list):
        return beside | _spoken(_turns({"role": "assistant", **value})[-1])
    for key in _TEXTS:
        if isinstance(value.get(key), str):
            return beside | {"response": value[key]}
    if error := value.get("error"):
        return beside | {"reason": _words(error.get("message") if isinstance(error, dict) else error)}
    return beside | {"response": _words(value)}


def _is_answer(value: Mapping[str, Any]) -> bool:
    """Whether a JSON text is a message of an interface rather than what a model was asked to write."""
    return (
        isinstance(value.get("choices"), list)
        or isinstance(value.get("generations"), list)
        or ("role" in value and ("content" in value or "parts" in value or "tool_calls" in value))
        or value.get("object") in ("response", "chat.completion", "text_completion")
        or (isinstance(value.get("kwargs"), dict) and "lc" in value)
        or _are_turns(value.get("messages"))
    )


def _are_turns(value: Any) -> bool:
    if not isinstance(value, list) or not value or not all(isinstance(item, dict) for item in value):
        return False
    roles = ("message", "function_call", "function_call_output", "reasoning", "ai", "human")
    return all("role" in item or item.get("type") in roles or "lc" in item for item in value)


def _spoken(turn: Mapping[str, Any]) -> Raw:
    """An assistant's turn as an answer."""
    content = turn.get("content")
    said: Raw = {} if content is None or content == [] else {"response": content}
    if calls := turn.get("tool_calls") or turn.get("function_call"):
        said["calls"] = calls if isinstance(calls, list) else [calls]
    if isinstance(turn.get("refusal"), str) and not content:
        said["response"] = turn["refusal"]
    return said | _beside(turn)


def _beside(value: Mapping[str, Any]) -> Raw:
    """What stands beside an answer: why it ended, tokens, which model's it is and when it was made."""
    found: Raw = {}
    for key in _FINISH:
        if isinstance(value.get(key), str):
            found["finish_reason"] = value[key]
    found |= usage(value.get("usage") or value.get("usage_metadata") or value.get("usageMetadata"))
    if isinstance(value.get("model"), str):
        found["answered_by"] = value["model"]
    if isinstance(value.get("created"), int | float):
        found["created"] = value["created"]
    return found


def usage(value: Any) -> Raw:
    """The tokens that an object counts, in whatever names."""
    if not isinstance(value, dict):
        return {}
    found: Raw = {}
    for name, keys in (("tokens_in", _IN), ("tokens_out", _OUT)):
        counts = (value[key] for key in keys if isinstance(value.get(key), int | float))
        if (count := next(counts, None)) is not None:
            found[name] = count
    return found
