"""What a leak is, and which texts of an example are compared."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from engine.example import Example, normalise

Field = Literal["query", "reference", "both"]
Tier = Literal["identical", "near", "ngram", "meaning"]
TIERS: tuple[Tier, ...] = ("identical", "near", "ngram", "meaning")

EXCERPT_LENGTH = 160
# "42", "yes" or a category name is the answer to many questions; alone it gives none of them away.
DISTINCTIVE_LENGTH = 20


@dataclass(frozen=True, slots=True)
class Leak:
    """An example found in the training data: where, by what, and the training text that matched.

    `score` is 1.0 for identical texts, and what the tier measures for the others; `train_line` is the line
    (row) in the training file; the excerpt has at most EXCERPT_LENGTH characters.
    """

    example_id: str
    tier: Tier
    score: float
    train_line: int
    field: Field
    excerpt: str


class Search(Protocol):
    """One way of finding an evaluation set's examples in training rows."""

    def look_up(self, rows: Sequence[Example]) -> None:
        """Compares some training rows, which are forgotten but for what was found."""

    def leaks(self) -> Iterator[tuple[int, Leak]]:
        """What was found, with the example's place in the evaluation set."""


def turns_of(example: Example, role: str) -> list[str]:
    return [turn["content"] for turn in example.messages if turn["role"] == role]


def questions(row: Example) -> list[str]:
    """Each of the user's turns, and all of them as one text when there are several."""
    turns = turns_of(row, "user")
    return [*turns, "\n".join(turns)] if len(turns) > 1 else turns


def answers(row: Example) -> list[str]:
    """The assistant's turns and the references."""
    return [*turns_of(row, "assistant"), *row.references]


def question_key(example: Example) -> str:
    """The user's turns as one key; for a single question, the question."""
    return "\0".join(normalise(text) for text in turns_of(example, "user"))
