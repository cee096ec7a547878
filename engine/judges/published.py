"""Judges trained on their own formats: Prometheus 2 and JudgeLM. Plain sections, no fences.

Parsing is more tolerant than in those tools. An unparsable answer is a failure, never a tie or a score.
"""

import re
from dataclasses import dataclass
from typing import Any, Literal

from engine.data.example import Example
from engine.errors import BadInput
from engine.judges.answers import Parsed, ParseFailure
from engine.judges.asking import Messages
from engine.judges.judge import Call
from engine.judges.questions import context_of, digest, references_of, sendable, steps
from engine.plan.rubric import Rubric

# A heading of these formats at the start of a line; in material it would pass for one of the prompt's own.
_HEADING = re.compile(r"^(?=###|\[(?:Question|System|The (?:Start|End))\b)", re.MULTILINE)


def inert(text: str) -> str:
    """A text escaped for a section: one space before anything that looks like a heading."""
    return _HEADING.sub(" ", sendable(text))


def instruction_of(example: Example, answers: tuple[str, ...]) -> str:
    """The request, with the messages and turns before it, each with its role."""
    said = [f"{message['role']}: {message['content']}" for message in context_of(example)]
    if not answers:
        return inert("\n\n".join([*said, example.query] if said else [example.query]))
    conversation = steps(example, answers)
    for step in conversation[:-1]:
        said += [f"user: {step['request']}", f"assistant: {step['response']}"]
    return inert("\n\n".join([*said, f"user: {conversation[-1]['request']}"]))


def reference_of(example: Example, turn: int, turns: int) -> str | None:
    """The reference for a turn, or for the last one of the whole; None without any."""
    references = references_of(example, turns)
    fitting = [each.text for each in references if each.turn == (turn or turns)]
    return inert(fitting[0]) if fitting else None


def asked_again(messages: Messages, answer: str, request: str) -> Messages:
    """The conversation that asks once more for the form alone."""
    if not answer.strip():
        return messages
    return [
        *messages,
        {"role": "assistant", "content": sendable(answer)},
        {"role": "user", "content": request},
    ]


PairWinner = Literal["A", "B", "tie"]

# As these models vary it: "[RESULT] 5.", "[RESULT]: (5)", "**[RESULT]** 4", "[RESULT] 5</s>".
_RESULT = re.compile(
    r"\[\s*RESULT\s*\][\s:*()\[\]]*(?:score\s*:?\s*)?([1-5]|[AB])(?![\w.]*\d)(?!\W{0,3}(?:or|and|to)\s+\W?[1-5AB]\b)"
    r"(?=[\s.,;:!*)\]<]|$)",
    re.IGNORECASE,
)
_RESULT_WORD = re.compile(r"\[\s*RESULT\s*\]", re.IGNORECASE)
_TWO_SCORES = re.compile(r"^\s*(\d{1,2}(?:\.\d+)?)\s*(?:,|\s|/)\s*(\d{1,2}(?:\.\d+)?)\s*[.,]?\s*$")


@dataclass(frozen=True, slots=True)
class Graded:
    """A Prometheus answer: its feedback, and its result, 1 to 5 or "A" or "B"."""

    result: str
    feedback: str


@dataclass(frozen=True, slots=True)
class TwoScores:
    """A JudgeLM answer: the scores of the first and the second response, 1 to 10, and its explanation."""

    first: float
    second: float
    explanation: str

    @property
    def winner(self) -> PairWinner:
        return "A" if self.first > self.second else "B" if self.second > self.first else "tie"


def parse_prometheus(text: str, allowed: str) -> Graded | ParseFailure:
    """Reads `<feedback> [RESULT] <result>` (Kim et al. 2024); `allowed` are the valid results.

    Of several equal results the last counts. Different results are a failure.
    """
    if not text.strip():
        return ParseFailure("the answer is empty")
    found = [match for match in _RESULT.finditer(text) if match[1].upper() in allowed]
    if not found:
        seen = _RESULT_WORD.search(text) is not None
        return ParseFailure(
            f"[RESULT] is followed by none of {', '.join(allowed)}" if seen else "no [RESULT]"
        )
    results = {match[1].upper() for match in found}
    if len(results) > 1:
        return ParseFailure(f"different results: {', '.join(sorted(results))}")
    feedback = text[: found[0].start()].strip().removeprefix("Feedback:").strip()
    return Graded(results.pop(), feedback)


def parse_judgelm(text: str) -> TwoScores | ParseFailure:
    """Reads two scores on the first line with text, and the explanation after it (Zhu et al. 2023)."""
    lines = text.strip().splitlines()
    if not lines:
        return ParseFailure("the answer is empty")
    scores = _TWO_SCORES.match(lines[0])
    if scores is None:
        return ParseFailure("the first line does not hold two scores")
    first, second = float(scores[1]), float(scores[2])
    if not (1 <= first <= 10 and 1 <= second <= 10):
        return ParseFailure(f"scores {scores[1]} and {scores[2]}; allowed: 1 to 10")
    return TwoScores(first, second, "\n".join(lines[1:]).strip())


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
