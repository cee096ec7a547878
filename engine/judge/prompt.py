"""What a pairwise judge is asked: templates, the answer's schema, and the fences around what it judges."""

import hashlib
import json
from pathlib import Path
from typing import Any

from jinja2 import FileSystemLoader, StrictUndefined
from jinja2.sandbox import SandboxedEnvironment

from engine.judge.judge import Call
from engine.judge.rubric import Rubric

_FOLDER = Path(__file__).parent / "prompts"
_TEMPLATES = ("pairwise.system.jinja", "pairwise.user.jinja", "repair.user.jinja")
_SCORE = {"type": "integer", "minimum": 1, "maximum": 10}

# Reasoning comes first: a server that follows the schema's order then lets the judge think before it decides.
RESPONSE_FORMAT: dict[str, Any] = {
    "type": "json_schema",
    "json_schema": {
        "name": "verdict",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {
                "reasoning": {"type": "string"},
                "winner": {"type": "string", "enum": ["A", "B", "tie"]},
                "scores": {
                    "type": "object",
                    "properties": {"A": _SCORE, "B": _SCORE},
                    "required": ["A", "B"],
                    "additionalProperties": False,
                },
            },
            "required": ["reasoning", "winner", "scores"],
            "additionalProperties": False,
        },
    },
}

Messages = list[dict[str, str]]


class PairwisePrompt:
    """Renders calls into chat messages: the same call always into the same text.

    `hash` (16 hex digits) identifies templates, rubric and answer format: judgments under different
    hashes do not compare.
    """

    def __init__(self, rubric: Rubric | None, seed: int) -> None:
        environment = SandboxedEnvironment(
            loader=FileSystemLoader(_FOLDER),
            autoescape=False,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._system, self._user, self._repair = map(environment.get_template, _TEMPLATES)
        self._rubric = rubric
        self._seed = seed
        sources = [(_FOLDER / name).read_text(encoding="utf-8") for name in _TEMPLATES]
        self.hash = _digest([sources, rubric.model_dump() if rubric else None, RESPONSE_FORMAT])

    def messages(self, call: Call) -> Messages:
        """The system and user message for one call."""
        example = call.pair.example
        a, b = map(_sendable, call.texts)
        last = max(index for index, message in enumerate(example.messages) if message["role"] == "user")
        context = [
            {"role": message["role"], "content": _sendable(message["content"])}
            for index, message in enumerate(example.messages)
            if index != last
        ]
        query = _sendable(example.query)
        references = [_sendable(reference) for reference in example.references]
        # From the content, so that no response can know it and a rerun renders the same text; from both
        # responses in one order, so that the two calls of a pair differ in nothing but the places.
        fence = _digest([self._seed, context, query, references, sorted((a, b))])
        return [
            {
                "role": "system",
                "content": self._system.render(
                    rubric=self._rubric, fence=fence, has_reference=bool(references)
                ),
            },
            {
                "role": "user",
                "content": self._user.render(
                    fence=fence, context=context, query=query, references=references, a=a, b=b
                ),
            },
        ]

    def repair(self, messages: Messages, answer: str, problem: str) -> Messages:
        """The conversation that asks once more after an answer that could not be read."""
        if not answer.strip():
            return messages
        return [
            *messages,
            {"role": "assistant", "content": _sendable(answer)},
            {"role": "user", "content": self._repair.render(problem=problem)},
        ]


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def _sendable(text: str) -> str:
    """The text with lone surrogates, which UTF-8 cannot carry, replaced by "?"."""
    return text.encode("utf-8", "replace").decode("utf-8")
