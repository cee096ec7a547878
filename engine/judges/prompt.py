"""What a judging chat model is asked, and the form of its answer: a JSON object."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.data.example import Example
from engine.judges.answers import ParseFailure
from engine.judges.asking import Messages
from engine.judges.judge import Call, RatingCall
from engine.judges.material import context_of, digest, fencing, references_of, sendable, source_of, steps
from engine.judges.scores import Scale, Scored, parse_rubric_scores, parse_score
from engine.judges.templates import Kind, Templates
from engine.judges.verdicts import Parsed, parse_pairwise
from engine.plan.rubric import Rubric

_SCORE = {"type": "integer", "minimum": 1, "maximum": 10}


class _Prompt:
    """What both kinds share: an example's material between fences, in templates."""

    response_format: dict[str, Any] | None
    choices: tuple[str, ...]

    def __init__(
        self, kind: Kind, rubric: Rubric | None, seed: int, own: Path | None, use_references: bool
    ) -> None:
        self._rubric = rubric
        self._seed = seed
        self._use_references = use_references
        self._templates = Templates(kind, own)

    def _hash(self, *more: Any) -> str:
        rubric = self._rubric.model_dump() if self._rubric else None
        return digest([self._templates.sources, rubric, self._use_references, self.response_format, *more])

    def _missing(self, example: Example) -> str | None:
        needs = self._rubric.needs if self._rubric else None
        if needs == "source" and not source_of(example):
            return "the example has no source, which the rubric needs"
        if needs == "reference" and not (self._use_references and example.references):
            return "the example has no reference, which the rubric needs"
        return None

    def _messages(
        self, example: Example, turn: int, turns: int, shown: Mapping[str, Any], fenced_in: Any
    ) -> Messages:
        material = {
            "context": context_of(example),
            "query": sendable(example.query),
            "source": source_of(example),
        }
        references = references_of(example, turns) if self._use_references else []
        # From the content, so that no response can know it and a rerun renders the same text.
        fence = digest([self._seed, turn, material, [each.text for each in references], fenced_in])
        variables = {
            **material,
            **shown,
            "references": references,
            "turn": turn,
            "rubric": self._rubric,
            "fence": fence,
            "fenced": fencing(fence),
        }
        return [
            {"role": part, "content": self._templates.render(part, variables)} for part in ("system", "user")
        ]

    def _repair(self, messages: Messages, answer: str, problem: str, shown: Mapping[str, Any]) -> Messages:
        if not answer.strip():
            return messages
        again = self._templates.render("repair", {**shown, "rubric": self._rubric, "problem": problem})
        return [
            *messages,
            {"role": "assistant", "content": sendable(answer)},
            {"role": "user", "content": again},
        ]


class PairwisePrompt(_Prompt):
    """Asks which of two responses is better. See `engine.judges.interview.Form`."""

    choices: tuple[str, ...] = ("A", "B", "tie")

    def __init__(
        self,
        rubric: Rubric | None = None,
        seed: int = 0,
        own: Path | None = None,
        use_references: bool = True,
    ) -> None:
        super().__init__("pairwise", rubric, seed, own, use_references)
        properties = {
            "reasoning": {"type": "string"},
            "winner": {"type": "string", "enum": ["A", "B", "tie"]},
            "scores": _object({"A": _SCORE, "B": _SCORE}),
        }
        self.response_format = _answer("verdict", properties)
        self.hash = self._hash()

    def lacks(self, call: Call) -> str | None:
        return self._missing(call.pair.example)

    def messages(self, call: Call) -> Messages:
        """The system and user message for one call."""
        example = call.pair.example
        a, b = map(sendable, call.texts)
        conversations = [steps(example, answers) for answers in call.conversations]
        shown = {"a": a, "b": b, "conversation_a": conversations[0], "conversation_b": conversations[1]}
        # Both responses in one order, so that the two calls of a pair differ in nothing but the places.
        texts = sorted([[a, conversations[0]], [b, conversations[1]]], key=str)
        return self._messages(example, call.turn, len(conversations[0]), shown, texts)

    def read(self, text: str) -> Parsed | ParseFailure:
        return parse_pairwise(text)

    def repair(self, messages: Messages, answer: str, problem: str) -> Messages:
        """The conversation that asks once more after an answer that could not be read."""
        return self._repair(messages, answer, problem, {})


class PointwisePrompt(_Prompt):
    """Asks for one response's score: on a scale, or by a rubric. See `engine.judges.interview.Form`."""

    def __init__(
        self,
        rubric: Rubric | None = None,
        seed: int = 0,
        own: Path | None = None,
        use_references: bool = True,
        scale: Scale = (1, 10),
    ) -> None:
        super().__init__("pointwise", rubric, seed, own, use_references)
        self.scale = rubric.scale if rubric else scale
        low, high = self.scale
        # A rubric's grades are several, so no single token decides.
        self.choices = () if rubric else tuple(map(str, range(low, high + 1)))
        self.criteria = {each.name: each.scale for each in rubric.criteria} if rubric else {}
        properties: dict[str, Any] = {"reasoning": {"type": "string"}}
        if rubric:
            grades = {each.name: _integer(*each.scale) for each in rubric.criteria}
            properties |= {"scores": _object(grades), "score": {"type": "number"}}
        else:
            properties |= {"score": _integer(low, high)}
        self.response_format = _answer("rating", properties)
        self.hash = self._hash(self.scale)

    def lacks(self, call: RatingCall) -> str | None:
        return self._missing(call.item.example)

    def messages(self, call: RatingCall) -> Messages:
        """The system and user message for one call."""
        example = call.item.example
        response = sendable(call.text)
        conversation = steps(example, call.conversation)
        shown = {"response": response, "conversation": conversation, "scale": self.scale}
        return self._messages(example, call.turn, len(conversation), shown, [response, conversation])

    def read(self, text: str) -> Scored | ParseFailure:
        return parse_rubric_scores(text, self._rubric) if self._rubric else parse_score(text, self.scale)

    def repair(self, messages: Messages, answer: str, problem: str) -> Messages:
        """The conversation that asks once more after an answer that could not be read."""
        return self._repair(messages, answer, problem, {"scale": self.scale})


def _integer(low: int, high: int) -> dict[str, Any]:
    return {"type": "integer", "minimum": low, "maximum": high}


def _object(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _answer(name: str, properties: Mapping[str, Any]) -> dict[str, Any]:
    """A `response_format`. Reasoning comes first: a model that follows the order thinks before it decides."""
    return {
        "type": "json_schema",
        "json_schema": {"name": name, "strict": True, "schema": _object(properties)},
    }
