"""What a leak is, what is alike and no leak, and which texts of an example are compared.

An example counts as leaked when the training data hold

- its question word for word, after normalisation, whatever answer stands there;
- nearly its question, or its meaning, under the same answer: equal but for case, punctuation and typing, or
  with a reference of DISTINCTIVE_LENGTH or more inside it. Where the example has no reference or the training
  row no answer there is nothing to tell them apart by, and the example counts;
- a long run of its question's or of a distinctive reference's words somewhere in a text (the n-gram tier).

Nearly the same question under another answer is a template filled in otherwise ("Where is order 17?"): it is
alike, `similar`, and no leak. A whole answer under another question (`field` "reference", but for n-grams) is
told and not counted, since two questions may rightly have one answer.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from engine.data.example import Example, normalise
from engine.data.words import same_but_for_typing, words

Field = Literal["query", "reference", "both"]
Tier = Literal["identical", "near", "ngram", "meaning"]
TIERS: tuple[Tier, ...] = ("identical", "near", "ngram", "meaning")
TIER_WORDS: Mapping[str, str] = {
    "identical": "word for word",
    "near": "nearly so",
    "ngram": "by a long run of words",
    "meaning": "in other words",
}

EXCERPT_LENGTH = 160
# "42", "yes" or a category name is the answer to many questions; alone it gives none of them away.
DISTINCTIVE_LENGTH = 20
TEXT_LENGTH = 2000  # characters of a training example that are kept beside a leak


@dataclass(frozen=True, slots=True)
class Leak:
    """An example found in the training data: where, by what, and the training text that matched.

    `score` is 1.0 for identical texts, and what the tier measures for the others; `train_line` is the line
    (row) in the training file; the excerpt has at most EXCERPT_LENGTH characters, `train_text`, the training
    example's turns and answers around it, TEXT_LENGTH. `similar`: a template, no leak.
    """

    example_id: str
    tier: Tier
    score: float
    train_line: int
    field: Field
    excerpt: str
    train_text: str = ""
    similar: bool = False

    @property
    def counts(self) -> bool:
        """Whether the example counts as leaked."""
        return not self.similar and is_counted(self.tier, self.field)


def is_counted(tier: str, field: str) -> bool:
    """Whether a finding that is no template makes its example leaked: a whole answer alone does not."""
    return field != "reference" or tier == "ngram"


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


def training_text(row: Example, excerpt: str = "") -> str:
    """The turns and answers of a training example, from near the excerpt on where they are long."""
    whole = "\n\n".join(dict.fromkeys([*(turn["content"] for turn in row.messages), *row.references]))
    if len(whole) <= TEXT_LENGTH:
        return whole
    start = max(0, whole.find(excerpt) - (TEXT_LENGTH - EXCERPT_LENGTH) // 2)
    return whole[start : start + TEXT_LENGTH]


_COMPARED = 4000  # characters: edit distance takes time with the square of the length


def same_answer(example: Example, row: Example) -> bool | None:
    """Whether a training row answers as the example's references do; None where either says nothing."""
    given = [text for text in answers(row) if text.strip()]
    expected = [text for text in example.references if text.strip()]
    if not given or not expected:
        return None
    return any(_same(one, other) for one in expected for other in given)


def _same(expected: str, given: str) -> bool:
    if normalise(expected) == normalise(given):
        return True
    ours, theirs = words(expected), words(given)
    if not ours or not theirs:
        return False
    if len(expected) >= DISTINCTIVE_LENGTH and f" {' '.join(ours)} " in f" {' '.join(theirs)} ":
        return True
    if max(len(expected), len(given)) > _COMPARED:
        return ours == theirs
    return same_but_for_typing(theirs, ours) is not None
