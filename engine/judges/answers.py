"""What judging models' answers have in common, whatever they say: thoughts, fences, JSON in prose."""

import json
import re
from dataclasses import dataclass
from typing import Any

from engine.servers.reasoning import split_reasoning

_LONGEST = 100_000  # characters, from the end
_TRIES = 200  # places where an object could start
_OBJECT = re.compile(r'\{\s*"')
_TRAILING_COMMA = re.compile(r",(\s*[}\]])")
_DECODER = json.JSONDecoder(strict=False)

_ADDRESS = re.compile(
    r"""\[\[\s*(?:A|B|C|tie|rating|\d+)\s*\]\]
    | "winner"\s*:
    | \b(?:as|dear|attention|note\ to|message\ to)\s+(?:the\s+|an?\s+)?(?:impartial\s+)?
      (?:judge|evaluator|grader)\b
    | \b(?:choose|pick|select|prefer|vote\ for)\s+(?:response|answer|assistant|option|model)\s+[AB]\b
    | \b(?:response|answer|assistant)\s+[AB]\s+(?:is|should\ be)\s+
      (?:the\s+)?(?:better|best|winner|preferred)\b
    | \b(?:ignore|disregard|forget)\s+(?:all\s+)?(?:the\s+|your\s+|any\s+)?
      (?:previous|prior|above|earlier)\s+instructions?\b
    """,
    re.IGNORECASE | re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class ParseFailure:
    """Why an answer cannot be read, for people and for the judge that is asked again."""

    reason: str


def said(answer: str) -> str:
    """What a model says after it has thought; nothing when it never came to that."""
    return split_reasoning(answer[-_LONGEST:]).answer


def objects_with(key: str, text: str) -> list[dict[str, Any]]:
    """The outermost JSON objects in a text that have the key, their keys in lower case.

    Commas before a closing bracket are forgiven.
    """
    return _objects(key, text) or _objects(key, _TRAILING_COMMA.sub(r"\1", text))


def _objects(key: str, text: str) -> list[dict[str, Any]]:
    found = []
    start = 0
    for _ in range(_TRIES):
        match = _OBJECT.search(text, start)
        if match is None:
            break
        try:
            value, start = _DECODER.raw_decode(text, match.start())
        except (ValueError, RecursionError):
            start = match.end()
            continue
        answer = {name.strip().lower(): item for name, item in value.items()}
        if key in answer:
            found.append(answer)
    return found


def number(value: object) -> float | None:
    """A JSON number, or one in a string; None for anything else, truth values included."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def reasoning_of(answer: dict[str, Any]) -> str:
    """The reasons that come with an answer, empty where there are none."""
    reasoning = answer.get("reasoning")
    return reasoning if isinstance(reasoning, str) else ""


def addresses_judge(text: str) -> bool:
    """Whether a response speaks to whoever grades it: a forged verdict, an appeal, an override."""
    return _ADDRESS.search(text) is not None
