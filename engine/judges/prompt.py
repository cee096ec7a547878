"""The prompts of a judging chat model, from Assay's templates or the plan's, and the form of its answer."""

import random
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from jinja2 import DictLoader, StrictUndefined, Template, TemplateError, meta
from jinja2.sandbox import SandboxedEnvironment

from engine.data.example import Example
from engine.data.textfile import read_text
from engine.errors import BadInput
from engine.judges.answers import (
    Parsed,
    ParseFailure,
    Scale,
    Scored,
    parse_pairwise,
    parse_rubric_scores,
    parse_score,
)
from engine.judges.asking import Messages
from engine.judges.judge import Call, RatingCall
from engine.judges.questions import (
    NO_TRAP,
    NOT_HARMFUL,
    context_of,
    digest,
    fencing,
    incorrect_of,
    references_of,
    sendable,
    source_of,
    steps,
)
from engine.metrics.refusals import is_harmful
from engine.plan.errors import listed, nearest
from engine.plan.rubric import Rubric

Kind = Literal["pairwise", "pointwise"]
PARTS = ("system", "user", "repair", "answer")  # "answer" is what the others include: the form of it

_FOLDER = Path(__file__).parent / "prompts"
_SHARED = {
    "fence": "16 hex digits that no response can guess; the text between them is data, not instructions",
    "fenced": "fenced(name, text): the text between two lines with its name and the fence",
    "rubric": "the rubric, whose `criteria` have name, description, min, max, weight and levels; or none",
    "context": "the messages before the request, each with role and content",
    "query": "the request; of an example with turns the first",
    "references": "right answers, each with text and turn (0: for the whole); empty without any",
    "incorrect": "answers that are known to be wrong; empty without any",
    "source": "the text that a response must be true to, empty without one",
    "turn": "the judged turn, 0 for the whole",
}
VARIABLES: Mapping[Kind, Mapping[str, str]] = {
    "pairwise": {
        **_SHARED,
        "a": "response A (of the judged turn, or the last one)",
        "b": "response B",
        "conversation_a": "A's steps up to the judged turn, each request and response; empty without turns",
        "conversation_b": "the same of B",
    },
    "pointwise": {
        **_SHARED,
        "response": "the response (of the judged turn, or the last one)",
        "conversation": "the steps up to the judged turn, each request and response; empty without turns",
        "scale": "the lowest and the highest score",
    },
}
_REPAIR = ("problem", "rubric", "scale")
_SHOWN: Mapping[Kind, frozenset[str]] = {
    "pairwise": frozenset({"a", "b"}),
    "pointwise": frozenset({"response"}),
}


@lru_cache(32)  # every judge of a kind, in every run of a process, has the same templates
def _compiled(sources: tuple[tuple[str, str], ...]) -> SandboxedEnvironment:
    return SandboxedEnvironment(
        loader=DictLoader(dict(sources)),
        autoescape=False,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


class Templates:
    """System, user and repair message of one kind of question, in a sandbox.

    `own` is a user template, or a folder with any of system.jinja, user.jinja, repair.jinja (asks again) and
    answer.jinja (the form of the answer, for the others to include), beside what these include. `sources` is
    everything that can be rendered. Raises BadInput for own templates that cannot be read, use unknown
    variables, or show no response.
    """

    def __init__(self, kind: Kind, own: Path | None = None) -> None:
        files = {part: _FOLDER / f"{kind}.{part}.jinja" for part in PARTS}
        given = {} if own is None else _own(own)
        files |= given
        self.sources = {name: read_text(path) for name, path in files.items()}
        self._environment = _compiled(tuple(self.sources.items()))
        for part in PARTS:
            if part in given:
                self._check(kind, part, given[part])
        self._files = files
        self._parts = {part: self._environment.get_template(part) for part in PARTS}

    def render(self, part: str, variables: Mapping[str, Any]) -> str:
        """One message. Raises BadInput, naming the file, where an own template fails on a question."""
        template: Template = self._parts[part]
        try:
            return template.render(variables)
        except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
            raise BadInput(f"{self._files[part]}: cannot be rendered: {error}") from error

    def _check(self, kind: Kind, part: str, path: Path) -> None:
        known = _REPAIR if part in ("repair", "answer") else tuple(VARIABLES[kind])
        try:
            self._environment.get_template(part)
            used = meta.find_undeclared_variables(self._environment.parse(self.sources[part]))
        except TemplateError as error:
            raise BadInput(f"{path}: is not a valid template: {error}") from error
        for name in sorted(used.difference(known, self._environment.globals)):
            raise BadInput(
                f'{path}: unknown variable "{name}"{nearest(name, known)}', f"allowed: {listed(known)}"
            )
        if part == "user" and (hidden := _SHOWN[kind] - used):
            raise BadInput(
                f"{path}: does not show the judged text: it never uses {' and '.join(sorted(hidden))}"
            )


def _own(path: Path) -> dict[str, Path]:
    if path.is_file():
        return {"user": path}
    files = {file.stem if file.stem in PARTS else file.name: file for file in sorted(path.glob("*.jinja"))}
    if not set(PARTS) & files.keys():
        raise BadInput(f"{path}: has none of {', '.join(f'{part}.jinja' for part in PARTS)}")
    return files


_SCORE = {"type": "integer", "minimum": 1, "maximum": 10}


class _Prompt:
    """The part that both kinds share: an example's texts between fences, in templates."""

    response_format: dict[str, Any] | None
    choices: tuple[str, ...]

    def __init__(
        self, kind: Kind, rubric: Rubric | None, seed: int, own: Path | None, use_references: bool
    ) -> None:
        self._rubric = rubric
        self._seed = seed
        self._use_references = use_references
        if own is None and rubric is not None and rubric.needs == "answers":
            own = _FOLDER / "answers"
        self._templates = Templates(kind, own)

    def _hash(self, *more: Any) -> str:
        rubric = self._rubric.model_dump() if self._rubric else None
        return digest([self._templates.sources, rubric, self._use_references, self.response_format, *more])

    def _missing(self, example: Example, turns: int) -> str | None:
        needs = self._rubric.needs if self._rubric else None
        references = references_of(example, turns) if self._use_references else []
        if needs == "source" and not source_of(example):
            return "the example has no source, which the rubric needs"
        if needs == "reference" and not references:
            return "the example has no reference, which the rubric needs"
        if needs == "harmful" and not is_harmful(example):
            return NOT_HARMFUL
        if needs == "answers" and not (references and incorrect_of(example)):
            return NO_TRAP
        return None

    def _messages(
        self,
        example: Example,
        turn: int,
        turns: int,
        shown: Mapping[str, Any],
        fenced_in: Any,
        repeat: int = 0,
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
            "incorrect": incorrect_of(example),
            "turn": turn,
            "rubric": self._shuffled(repeat),
            "fence": fence,
            "fenced": fencing(fence),
        }
        return [
            {"role": part, "content": self._templates.render(part, variables)} for part in ("system", "user")
        ]

    def _shuffled(self, repeat: int) -> Rubric | None:
        """The rubric, its criteria in another order each time after the first."""
        if self._rubric is None or not repeat:
            return self._rubric
        criteria = list(self._rubric.criteria)
        random.Random(f"{self._seed} {repeat}").shuffle(criteria)
        return self._rubric.model_copy(update={"criteria": tuple(criteria)})

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
    """Asks which of two responses is better. See `engine.judges.chat.Form`."""

    choices: tuple[str, ...] = ("A", "B", "tie")
    nudge = 'Write no JSON, but one line and nothing else: "Winner: A", "Winner: B" or "Winner: tie".'

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
        return self._missing(call.pair.example, len(call.conversations[0]))

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
    """Asks for one response's score: on a scale, or by a rubric. See `engine.judges.chat.Form`."""

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
        self.directions = rubric.directions if rubric else {}
        wanted = (
            ", ".join(f'"{each.name}: " and {each.min} to {each.max}' for each in rubric.criteria)
            if rubric
            else (f'"Score: " and {low} to {high}')
        )
        self.nudge = f"Write no JSON, but one line for each of these and nothing else: {wanted}."
        properties: dict[str, Any] = {"reasoning": {"type": "string"}}
        if rubric:
            grades = {each.name: _integer(*each.scale) for each in rubric.criteria}
            properties |= {"scores": _object(grades), "score": {"type": "number"}}
        else:
            properties |= {"score": _integer(low, high)}
        self.response_format = _answer("rating", properties)
        if own is not None:
            # A prompt of one's own may ask for more, which is kept beside the score.
            form = self.response_format["json_schema"]
            form |= {"strict": False, "schema": {**form["schema"], "additionalProperties": True}}
        self.hash = self._hash(self.scale)

    def lacks(self, call: RatingCall) -> str | None:
        return self._missing(call.item.example, len(call.conversation))

    def messages(self, call: RatingCall) -> Messages:
        """The system and user message for one call."""
        example = call.item.example
        response = sendable(call.text)
        conversation = steps(example, call.conversation)
        shown = {"response": response, "conversation": conversation, "scale": self.scale}
        said = [response, conversation]
        return self._messages(example, call.turn, len(conversation), shown, said, call.repeat)

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
