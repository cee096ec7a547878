"""Judging as in MT-Bench (Zheng et al. 2023): the structure and choice of its prompts, and its answers.

Math, reasoning and coding are judged with a reference, and the second turn together with the first.
The wording is Assay's own unless a plan names FastChat's `judge_prompts.jsonl`, whose templates are then used
as they stand.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from engine.data.example import Example
from engine.data.reading import read_records
from engine.errors import BadInput
from engine.judges.answers import Parsed, ParseFailure, Scored, parse_pairwise, parse_score
from engine.judges.asking import Messages
from engine.judges.judge import Call, RatingCall
from engine.judges.published import asked_again
from engine.judges.questions import digest, references_of, sendable
from engine.plan.rubric import Better, Rubric

BY_REFERENCE = ("math", "reasoning", "coding", "arena-hard-200")
TURNS = 2
_FILE = Path(__file__).parent / "prompts" / "mt_bench.jsonl"
_NAMES = {"single": ("single-v1", "single-math-v1"), "pairwise": ("pair-v2", "pair-math-v1")}
_FIELD = re.compile(r"\{(\w+)\}")


class _Prompts:
    """The prompts of one kind by name, and the values that fill them."""

    response_format: dict[str, Any] | None = None

    def __init__(
        self, kind: Literal["single", "pairwise"], rubric: Rubric | None, own: Path | None, references: bool
    ) -> None:
        if rubric is not None:
            raise BadInput("MT-Bench's prompts take no rubric", "remove it, or use another format")
        self._kind = kind
        self._references = references
        self._prompts = _read(own or _FILE, kind)
        self.hash = digest(["mt-bench", kind, self._prompts, references])

    def _lacks(self, example: Example, answered: int) -> str | None:
        if answered > TURNS:
            return f"MT-Bench judges {TURNS} turns, the example has {answered}"
        known = {each.turn or 1 for each in references_of(example, answered)}
        lacking = next((turn for turn in range(1, max(1, answered) + 1) if turn not in known), None)
        if self._by_reference(example) and lacking:
            place = f" for turn {lacking}" if known else ""
            return f"the example has no reference{place}, which its category {example.category} needs"
        return None

    def _by_reference(self, example: Example) -> bool:
        return self._references and example.category in BY_REFERENCE

    def _messages(self, example: Example, answered: int, answers: Mapping[str, str]) -> Messages:
        """`answers` by their name in the template; `answered` turns, 0 for an example that has one."""
        several = answered > 1
        name = _NAMES[self._kind][self._by_reference(example)] + ("-multi-turn" if several else "")
        questions = [sendable(turn) for turn in example.turns] or [sendable(example.query)]
        values = {"question": questions[0]}
        values |= {f"question_{place}": text for place, text in enumerate(questions, 1)}
        for reference in references_of(example, answered):
            values[f"ref_answer_{reference.turn or 1}"] = reference.text
        prompt = self._prompts[name]
        return [
            {"role": "system", "content": prompt["system_prompt"]},
            {"role": "user", "content": _filled(prompt["prompt_template"], values | dict(answers))},
        ]


class SinglePrompt(_Prompts):
    """One response, 1 to 10. See `engine.judges.chat.Form`."""

    choices: tuple[str, ...] = tuple(map(str, range(1, 11)))
    scale = (1, 10)
    nudge = 'Write nothing but your rating, a number from 1 to 10 in double brackets, such as "[[5]]".'

    def __init__(self, rubric: Rubric | None, use_references: bool, own: Path | None = None) -> None:
        super().__init__("single", rubric, own, use_references)
        self.criteria: dict[str, tuple[int, int]] = {}
        self.directions: dict[str, Better] = {}

    def lacks(self, call: RatingCall) -> str | None:
        return self._lacks(call.item.example, len(call.conversation))

    def messages(self, call: RatingCall) -> Messages:
        answers = {"answer": sendable(call.text)}
        answers |= {f"answer_{place}": sendable(text) for place, text in enumerate(call.conversation, 1)}
        return self._messages(call.item.example, len(call.conversation), answers)

    def read(self, text: str) -> Scored | ParseFailure:
        return parse_score(text, self.scale)

    def repair(self, messages: Messages, answer: str, problem: str) -> Messages:
        form = 'Give your rating once more, strictly in this form: "Rating: [[5]]".'
        return asked_again(messages, answer, f"Your answer could not be read: {problem}. {form}")


class PairPrompt(_Prompts):
    """Two responses: A, B or C for a tie. See `engine.judges.chat.Form`."""

    choices: tuple[str, ...] = ()
    nudge = 'Write nothing but your verdict: "[[A]]", "[[B]]", or "[[C]]" for a tie.'

    def __init__(self, rubric: Rubric | None, use_references: bool, own: Path | None = None) -> None:
        super().__init__("pairwise", rubric, own, use_references)

    def lacks(self, call: Call) -> str | None:
        return self._lacks(call.pair.example, len(call.conversations[0]))

    def messages(self, call: Call) -> Messages:
        answers: dict[str, str] = {}
        for side, text, turns in zip("ab", call.texts, call.conversations, strict=True):
            answers[f"answer_{side}"] = sendable(text)
            answers |= {f"answer_{side}_{place}": sendable(turn) for place, turn in enumerate(turns, 1)}
        return self._messages(call.pair.example, len(call.conversations[0]), answers)

    def read(self, text: str) -> Parsed | ParseFailure:
        return parse_pairwise(text)

    def repair(self, messages: Messages, answer: str, problem: str) -> Messages:
        form = 'Give your verdict once more, strictly in this form: "[[A]]", "[[B]]", or "[[C]]" for a tie.'
        return asked_again(messages, answer, f"Your answer could not be read: {problem}. {form}")


def _read(path: Path, kind: str) -> dict[str, dict[str, str]]:
    """The four prompts of one kind. Raises BadInput when one is missing, or a template shows no answer."""
    found: dict[str, dict[str, str]] = {}
    for line, record in read_records(path):
        name, template = record.get("name"), record.get("prompt_template")
        if not isinstance(name, str) or not isinstance(template, str):
            raise BadInput(f"{path}:{line}: is not a judge prompt: it needs name and prompt_template")
        system = record.get("system_prompt")
        found[name] = {
            "system_prompt": system if isinstance(system, str) else "",
            "prompt_template": template,
        }
    wanted = [name + end for name in _NAMES[kind] for end in ("", "-multi-turn")]
    if missing := [name for name in wanted if name not in found]:
        raise BadInput(f"{path}: has no prompt named {missing[0]}", f"needed: {', '.join(wanted)}")
    for name in wanted:
        shown = set(_FIELD.findall(found[name]["prompt_template"]))
        if not any(field.startswith("answer") for field in shown):
            raise BadInput(f"{path}: the template of {name} shows no answer")
    return {name: found[name] for name in wanted}


def _filled(template: str, values: Mapping[str, str]) -> str:
    """The template with its fields replaced in one pass, so that braces in a value are only text."""
    return _FIELD.sub(lambda field: values.get(field[1], field[0]), template)
