"""What of an example a judge is shown beside the responses, ready to be sent."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from engine.data.example import Example
from engine.data.messages import turn_text
from engine.data.shapes import TURN_REFERENCES

_SOURCE_FIELDS = ("source", "context")


@dataclass(frozen=True, slots=True)
class Reference:
    """A right answer: to one turn, or (turn 0) to the example as a whole."""

    text: str
    turn: int = 0


def context_of(example: Example) -> list[dict[str, str]]:
    """The messages around the request, which is the user's last one."""
    last = max(index for index, message in enumerate(example.messages) if message["role"] == "user")
    return [
        {"role": message["role"], "content": sendable(turn_text(message))}
        for index, message in enumerate(example.messages)
        if index != last
    ]


def references_of(example: Example, turns: int) -> list[Reference]:
    """The references for a conversation of so many turns (0: for its last answer alone, or a single one).

    An example with turns has one reference for each, as in MT-Bench; the first turn's may be all there is.
    """
    if len(example.turns) < 2:
        return [Reference(sendable(text)) for text in example.references]
    texts = example.extra.get(TURN_REFERENCES) or example.references
    by_turn = [Reference(sendable(text), turn) for turn, text in enumerate(texts, 1) if text.strip()]
    if not turns:
        return [Reference(each.text) for each in by_turn if each.turn == len(example.turns)]
    return [each for each in by_turn if each.turn <= turns]


def source_of(example: Example) -> str:
    """The text that a response must be true to: the example's `source`, else its `context`; "" without."""
    for name in _SOURCE_FIELDS:
        value = example.extra.get(name)
        texts = value if isinstance(value, list) else [value]
        text = "\n\n".join(text for text in texts if isinstance(text, str))
        if text.strip():
            return sendable(text)
    return ""


def steps(example: Example, answers: Sequence[str]) -> list[dict[str, str]]:
    """A conversation as far as it is answered: {"request", "response"} for each turn."""
    return [
        {"request": sendable(request), "response": sendable(response)}
        for request, response in zip(example.turns, answers, strict=False)
    ]


def digest(value: Any) -> str:
    """16 hex digits of a JSON value's hash."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def fencing(fence: str) -> Callable[[str, str], str]:
    """A function that puts a text between two lines which hold its name and the fence."""
    return lambda name, text: f"<<<{name} {fence}\n{text}\n{fence} {name}>>>"


def sendable(text: str) -> str:
    """The text with lone surrogates, which UTF-8 cannot carry, replaced by "?"."""
    return text.encode("utf-8", "replace").decode("utf-8")
