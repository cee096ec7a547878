"""Copies inside one set: pairs of nearly the same question, and contradictions."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from engine.data.example import Example, normalise
from engine.data.leak import question_key, same_answer, turns_of
from engine.data.near import NearIndex

_CHUNK = 4096


@dataclass(frozen=True, slots=True)
class Duplicate:
    """Two examples, by their places in the set, that ask nearly the same; `score` is 1.0 for equal words."""

    first: int
    second: int
    score: float


def duplicates(examples: Sequence[Example]) -> list[Duplicate]:
    """Every pair of near-duplicate questions, in the examples' order. Memory grows with the set."""
    texts = ["\n".join(turns_of(example, "user")) for example in examples]
    index = NearIndex(texts)
    best: dict[tuple[int, int], float] = {}
    for start in range(0, len(texts), _CHUNK):
        for match in index.search(texts[start : start + _CHUNK], long_runs=False):
            pair = sorted((start + match.document, match.text))
            if pair[0] != pair[1]:
                key = pair[0], pair[1]
                best[key] = max(best.get(key, 0.0), match.score)
    return [Duplicate(first, second, round(score, 4)) for (first, second), score in sorted(best.items())]


def conflicts(examples: Sequence[Example]) -> Iterator[tuple[Example, Example]]:
    """Pairs that ask the very same and expect different answers; the first is the earliest such example."""
    first: dict[str, Example] = {}
    for example in examples:
        earlier = first.setdefault(question_key(example), example)
        expected = [{normalise(text) for text in one.references} for one in (earlier, example)]
        if all(expected) and not expected[0] & expected[1]:
            yield earlier, example


def copies(examples: Sequence[Example]) -> list[Duplicate]:
    """The pairs that are one example twice: the same question, or nearly so with the same answer.

    Nearly the same question with another answer is a template, as in `engine.data.leak`; where either has no
    answer there is nothing to tell them apart by.
    """
    return [
        pair
        for pair in duplicates(examples)
        if question_key(examples[pair.first]) == question_key(examples[pair.second])
        or same_answer(examples[pair.first], examples[pair.second]) is not False
    ]
