"""What a leak is, what is alike and no leak, and which texts of an example are compared.

An example counts as leaked when the training data hold

- its question word for word, after normalisation, whatever answer stands there;
- nearly its question, or its meaning, unless it has a different final answer there: the same number, label,
  JSON value, `####` or boxed answer is the same answer however its solution is worded, and so is a reference
  of DISTINCTIVE_LENGTH or more inside the row's answer. Free text in other words may say the same, and where
  the example has no reference or the row no answer nothing tells them apart: the example counts;
- a long run of its question's or of a distinctive reference's words somewhere in a text (the n-gram tier).

Nearly the same question under a different final answer is a template filled in otherwise ("Where is order
17?"), and so is one whose answer is nearly the same text with other words filled in: it is alike, `similar`,
and no leak. A whole answer under another question (`field` "reference", but for n-grams) is
told and not counted, since two questions may rightly have one answer.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from engine.data.example import Example, normalise
from engine.data.final import same_final

NEAR_CEILING = 0.95
JUMP = 0.05
FEWEST_BENCHMARKS = 3
GAP = 0.02
_TOLD = 5  # measures that a message names

_HINT = "a hint, not proof: check the examples and the training data"


@dataclass(frozen=True, slots=True)
class Suspicion:
    """A sign of contamination: its kind, what it is about, a message that calls it a hint, and figures."""

    kind: str  # ceiling, all_jump, original_wording
    subject: str
    message: str
    figures: dict[str, float] = field(default_factory=dict)


def near_ceiling(baseline: str, scores: Mapping[str, float]) -> list[Suspicion]:
    """One for all measures from 0 to 1 on which the model before fine-tuning has NEAR_CEILING or more.

    Either the questions are too easy to tell models apart, or the base has seen them.
    """
    high = {measure: value for measure, value in scores.items() if value >= NEAR_CEILING}
    if not high:
        return []
    highest = sorted(high.items(), key=lambda item: -item[1])[:_TOLD]
    told = ", ".join(f"{value:.1%} on {measure}" for measure, value in highest)
    told += f" and as much on {len(high) - _TOLD} more" if len(high) > _TOLD else ""
    message = f"{baseline} has {told} before any fine-tuning: too easy to tell models apart, or seen before; "
    subject = next(iter(high)) if len(high) == 1 else f"{len(high)} measures"
    return [Suspicion("ceiling", subject, message + _HINT, high)]


def all_jump(candidate: str, deltas: Mapping[str, float]) -> list[Suspicion]:
    """Every one of several benchmarks up by JUMP or more: skills seldom rise all at once.

    `deltas` are candidate minus baseline, signed so that up is better. Fewer than FEWEST_BENCHMARKS
    tell nothing.
    """
    if len(deltas) < FEWEST_BENCHMARKS or min(deltas.values()) < JUMP:
        return []
    least = min(deltas.values())
    return [
        Suspicion(
            "all_jump",
            candidate,
            f"{candidate} is up by {least:.1%} or more on all {len(deltas)} benchmarks at once; {_HINT}",
            dict(deltas),
        )
    ]


def prefers_original(model: str, original: Sequence[float], altered: Sequence[float]) -> list[Suspicion]:
    """Lower bits per byte on the original wording than on shuffled options or paraphrases, pair by pair.

    The sign test of Min-K% style probes in its simplest form: a hint when the original is easier in at least
    three quarters of ten or more pairs, and by GAP (relative) on average. Raises ValueError when the two
    differ in number.
    """
    if len(original) != len(altered):
        raise ValueError(f"{len(original)} original texts, {len(altered)} altered ones")
    easier = sum(one < other for one, other in zip(original, altered, strict=True))
    if len(original) < 10 or easier < 0.75 * len(original) or sum(altered) <= 0:
        return []
    relative = 1 - sum(original) / sum(altered)
    if relative < GAP:
        return []
    return [
        Suspicion(
            "original_wording",
            model,
            f"{model} finds the original wording easier than the altered one in {easier} of {len(original)} "
            f"texts (bits per byte {relative:.1%} lower); {_HINT}",
            {"texts": len(original), "easier": easier, "lower_by": relative},
        )
    ]


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


def same_answer(example: Example, row: Example) -> bool | None:
    """Whether a training row answers as the example's references do; None where that cannot be told.

    One reference that some answer of the row gives is enough; see `engine.data.final.same_final`.
    """
    given = [text for text in answers(row) if text.strip()]
    expected = [text for text in example.references if text.strip()]
    found = {same_final(one, other) for one in expected for other in given}
    return True if True in found else False if False in found else None
