"""JudgeLM (Zhu et al. 2023): two scores from 1 to 10 on the first line, then the reasons.

The sections and the answer's form are those that its models were trained on; the wording between them is
Assay's own.
"""

from typing import Any

from engine.errors import BadInput
from engine.judges.answers import Parsed, ParseFailure
from engine.judges.asking import Messages
from engine.judges.judge import Call
from engine.judges.published import TwoScores, asked_again, inert, instruction_of, parse_judgelm, reference_of
from engine.judges.questions import digest
from engine.plan.rubric import Rubric

SYSTEM = "You are a helpful and careful assistant who checks the quality of answers."
_TASK = (
    "Compare the two assistants' answers to the question above{reference}. Rate how helpful, relevant, "
    "accurate and detailed each is, with a score from 1 to 10, where more is better.\n"
    "On the first line write the two scores alone, Assistant 1's and then Assistant 2's, with a space "
    "between. From the second line on explain them, without leaning to either for its place."
)


class PairGrading:
    """Two responses, each with a score. See `engine.judges.chat.Form`."""

    response_format: dict[str, Any] | None = None
    choices: tuple[str, ...] = ()
    nudge = "Write nothing but the two scores, each from 1 to 10, on one line with a space between."

    def __init__(self, rubric: Rubric | None, use_references: bool) -> None:
        if rubric is not None:
            raise BadInput("JudgeLM's format takes no rubric", "remove it, or use another format")
        self._use_references = use_references
        self.hash = digest(["judgelm", SYSTEM, _TASK, use_references])

    def lacks(self, call: Call) -> str | None:
        return None

    def messages(self, call: Call) -> Messages:
        example, answers = call.pair.example, call.conversations
        reference = reference_of(example, call.turn, len(answers[0])) if self._use_references else None
        texts = call.texts
        if len(answers[0]) > 1:
            question = inert("\n\n".join(example.turns[: len(answers[0])]))
            texts = ("\n\n".join(answers[0]), "\n\n".join(answers[1]))
        else:
            question = instruction_of(example, answers[0])
        parts = [f"[Question]\n{question}"]
        if reference is not None:
            parts.append(_section("Reference Answer", reference))
        parts += [_section(f"Assistant {place}'s Answer", inert(text)) for place, text in enumerate(texts, 1)]
        task = _TASK.format(reference=", with the reference answer as what is right" if reference else "")
        parts += [f"[System]\n{task}", "### Response:"]
        return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": "\n\n".join(parts)}]

    def read(self, text: str) -> Parsed | ParseFailure:
        said = parse_judgelm(text)
        if isinstance(said, TwoScores):
            return Parsed(said.winner, said.explanation, (said.first, said.second), ())
        return said

    def repair(self, messages: Messages, answer: str, problem: str) -> Messages:
        form = "Begin with one line that holds the two scores alone, from 1 to 10, with a space between."
        return asked_again(messages, answer, f"Your answer could not be read: {problem}. {form}")


def _section(title: str, text: str) -> str:
    return f"[The Start of {title}]\n{text}\n\n[The End of {title}]"
