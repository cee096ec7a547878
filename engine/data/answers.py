"""Whether a training row answers as an evaluation example expects: what tells a leak from a template."""

from engine.data.edits import same_but_for_typing
from engine.data.example import Example, normalise
from engine.data.leak import DISTINCTIVE_LENGTH, answers
from engine.data.words import words

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
