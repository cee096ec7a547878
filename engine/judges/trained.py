"""What the forms of judges trained to one format share: plain sections, no fences, no JSON."""

import re

from engine.data.example import Example
from engine.judges.asking import Messages
from engine.judges.material import context_of, references_of, sendable, steps

# A heading of these formats at the start of a line; in material it would pass for one of the prompt's own.
_HEADING = re.compile(r"^(?=###|\[(?:Question|System|The (?:Start|End))\b)", re.MULTILINE)


def inert(text: str) -> str:
    """A text as it may stand in a section: one space before whatever looks like a heading."""
    return _HEADING.sub(" ", sendable(text))


def instruction_of(example: Example, answers: tuple[str, ...]) -> str:
    """What was asked, with the messages and turns before it, each by its role."""
    said = [f"{message['role']}: {message['content']}" for message in context_of(example)]
    if not answers:
        return inert("\n\n".join([*said, example.query] if said else [example.query]))
    conversation = steps(example, answers)
    for step in conversation[:-1]:
        said += [f"user: {step['request']}", f"assistant: {step['response']}"]
    return inert("\n\n".join([*said, f"user: {conversation[-1]['request']}"]))


def reference_of(example: Example, turn: int, turns: int) -> str | None:
    """The reference for a turn, or the first one for the whole; None without any."""
    references = references_of(example, turns)
    fitting = [each.text for each in references if not turn or each.turn == turn]
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
