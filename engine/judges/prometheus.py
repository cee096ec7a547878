"""Prometheus 2 (Kim et al. 2024): feedback and a result, by one criterion with a description of each grade.

Sections, their order and the answer's form are those that its models were trained on; the wording between
them is Assay's own.
"""

from typing import Any

from engine.data.example import Example
from engine.errors import BadInput
from engine.judges.answers import Parsed, ParseFailure, Scored
from engine.judges.asking import Messages
from engine.judges.judge import Call, RatingCall
from engine.judges.published import Graded, asked_again, inert, instruction_of, parse_prometheus, reference_of
from engine.judges.questions import digest
from engine.plan.rubric import Better, Criterion, Rubric

SYSTEM = (
    "You are a fair judge assistant. You give clear and objective feedback by the criteria you are handed, "
    "so that every grade reflects one and the same standard."
)
_DEFAULT = Criterion(
    name="helpfulness",
    description="Does the response do what was asked, correctly and completely?",
    min=1,
    max=5,
    levels={
        1: "Does not do what was asked, or is wrong throughout.",
        2: "Does a small part of it, or has serious faults.",
        3: "Does the main part of it, with gaps or faults that matter.",
        4: "Does what was asked, with small faults.",
        5: "Does what was asked, correctly and completely.",
    },
)
_ABSOLUTE = """###Task Description:
You are given an instruction (which may hold an input), a response to evaluate{reference}, and a score rubric.
1. Write detailed feedback on the quality of the response, strictly by the score rubric and nothing else.
2. After the feedback, write a score: a whole number from 1 to 5, as the rubric describes it.
3. The form of your output is: "Feedback: (your feedback) [RESULT] (a whole number from 1 to 5)"
4. Write nothing before and nothing after it."""
_RELATIVE = """###Task Description:
You are given an instruction (which may hold an input), two responses to evaluate{reference}, and a
score rubric.
1. Write detailed feedback that compares both responses, strictly by the score rubric and nothing else.
2. After the feedback, name the better response: A or B, as the rubric describes it.
3. The form of your output is: "Feedback: (your feedback) [RESULT] (A or B)"
4. Write nothing before and nothing after it."""


class _Grading:
    response_format: dict[str, Any] | None = None

    def __init__(self, kind: str, task: str, rubric: Rubric | None, use_references: bool) -> None:
        self._task = task
        self._criterion = _criterion(rubric)
        self._needs = rubric.needs if rubric else None
        self._use_references = use_references
        self.hash = digest(["prometheus", kind, SYSTEM, task, self._criterion.model_dump(), use_references])

    def _reference(self, example: Example, turn: int, turns: int) -> str | None:
        return reference_of(example, turn, turns) if self._use_references else None

    def _missing(self, reference: str | None) -> str | None:
        if self._needs == "source":
            return "this format cannot show the source that the rubric needs"
        if self._needs == "reference" and not reference:
            return "the example has no reference, which the rubric needs"
        return None

    def _messages(self, sections: list[tuple[str, str | None]]) -> Messages:
        has_reference = any(title.startswith("Reference") and text for title, text in sections)
        task = self._task.format(reference=", a reference answer that earns a 5" if has_reference else "")
        shown = [f"###{title}:\n{text}" for title, text in sections if text is not None]
        return [
            {"role": "system", "content": SYSTEM},
            {"role": "user", "content": "\n\n".join([task, *shown, "###Feedback: "])},
        ]

    def _rubric(self) -> str:
        levels = [f"Score {grade}: {self._criterion.levels.get(grade, '')}".rstrip() for grade in range(1, 6)]
        return "\n".join([f"[{self._criterion.description}]", *levels])


class AbsoluteGrading(_Grading):
    """One response, 1 to 5. See `engine.judges.chat.Form`."""

    choices: tuple[str, ...] = ("1", "2", "3", "4", "5")
    scale = (1, 5)
    nudge = 'Write one sentence of feedback, then "[RESULT]" and a whole number from 1 to 5.'

    def __init__(self, rubric: Rubric | None, use_references: bool) -> None:
        super().__init__("absolute", _ABSOLUTE, rubric, use_references)
        self.criteria: dict[str, tuple[int, int]] = {}
        better = self._criterion.better
        self.directions: dict[str, Better] = {} if better == "higher" else {"": better}

    def lacks(self, call: RatingCall) -> str | None:
        return self._missing(self._reference(call.item.example, call.turn, len(call.conversation)))

    def messages(self, call: RatingCall) -> Messages:
        example, answers = call.item.example, call.conversation
        reference = self._reference(example, call.turn, len(answers))
        return self._messages(
            [
                ("The instruction to evaluate", instruction_of(example, answers)),
                ("Response to evaluate", inert(call.text)),
                ("Reference Answer (Score 5)", reference),
                ("Score Rubrics", self._rubric()),
            ]
        )

    def read(self, text: str) -> Scored | ParseFailure:
        said = parse_prometheus(text, "12345")
        return Scored(float(said.result), {}, said.feedback) if isinstance(said, Graded) else said

    def repair(self, messages: Messages, answer: str, problem: str) -> Messages:
        form = 'Write it again as "Feedback: (your feedback) [RESULT] (a whole number from 1 to 5)".'
        return asked_again(messages, answer, f"Your answer could not be read: {problem}. {form}")


class RelativeGrading(_Grading):
    """Two responses, A or B: this format has no tie. See `engine.judges.chat.Form`."""

    choices: tuple[str, ...] = ("A", "B")
    nudge = 'Write one sentence of feedback, then "[RESULT]" and the letter A or B.'

    def __init__(self, rubric: Rubric | None, use_references: bool) -> None:
        super().__init__("relative", _RELATIVE, rubric, use_references)

    def lacks(self, call: Call) -> str | None:
        return self._missing(self._reference(call.pair.example, call.turn, len(call.conversations[0])))

    def messages(self, call: Call) -> Messages:
        example, answers = call.pair.example, call.conversations
        reference = self._reference(example, call.turn, len(answers[0]))
        a, b = call.texts
        if len(answers[0]) > 1:
            # The two conversations differ from the first answer on: each is shown whole, under its letter.
            instruction = inert("\n\n".join(example.turns[: len(answers[0])]))
            a, b = ("\n\n".join(conversation) for conversation in answers)
        else:
            instruction = instruction_of(example, answers[0])
        return self._messages(
            [
                ("Instruction", instruction),
                ("Response A", inert(a)),
                ("Response B", inert(b)),
                ("Reference Answer", reference),
                ("Score Rubric", self._rubric()),
            ]
        )

    def read(self, text: str) -> Parsed | ParseFailure:
        said = parse_prometheus(text, "AB")
        if isinstance(said, ParseFailure):
            return said
        return Parsed("A" if said.result == "A" else "B", said.feedback, None, ())

    def repair(self, messages: Messages, answer: str, problem: str) -> Messages:
        form = 'Write it again as "Feedback: (your feedback) [RESULT] (A or B)".'
        return asked_again(messages, answer, f"Your answer could not be read: {problem}. {form}")


def _criterion(rubric: Rubric | None) -> Criterion:
    """The rubric's one criterion. Raises BadInput for rubrics that this format cannot hold."""
    if rubric is None:
        return _DEFAULT
    if len(rubric.criteria) != 1 or rubric.criteria[0].scale != (1, 5):
        raise BadInput(
            "Prometheus grades one criterion from 1 to 5; the rubric has another form",
            "use one judge per criterion, with min = 1 and max = 5",
        )
    return rubric.criteria[0]
