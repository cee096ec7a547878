"""Copies inside one set: groups of nearly the same question, and contradictions."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.data.example import Example, normalise
from engine.data.final import final_number
from engine.data.leak import question_key, same_answer, turns_of
from engine.data.near import NearIndex
from engine.data.words import words
from store.read.query import by_key

_ROWS, _CHARACTERS = 128, 1_000_000  # searched between two checks for a request to stop


@dataclass(frozen=True, slots=True)
class DuplicateGroup:
    """Near-duplicate examples, by their positions in the set.

    `score` is the least of the scores that join them, 1.0 for equal words.
    """

    places: tuple[int, ...]
    score: float


def duplicates(examples: Sequence[Example]) -> list[DuplicateGroup]:
    """Every group of near-duplicate questions, in the examples' order. Time and memory grow with the set.

    A family of many questions of one template is one group.
    """
    return _Search(examples, by_answer=False).groups(None)


def copies(examples: Sequence[Example], checkpoint: Callable[[], None] | None = None) -> list[DuplicateGroup]:
    """The groups that are one example several times: the same question, or nearly so with the same answer.

    Nearly the same question with another answer is a template, as in `engine.data.leak`; where either has no
    answer there is nothing to tell them apart by. `checkpoint` is called many times a second and may raise,
    to stop the search.
    """
    return _Search(examples, by_answer=True).groups(checkpoint)


def conflicts(examples: Sequence[Example]) -> Iterator[tuple[Example, Example]]:
    """Pairs that ask the very same and expect different answers; the first is the earliest such example."""
    first: dict[str, Example] = {}
    for example in examples:
        earlier = first.setdefault(question_key(example), example)
        expected = [{normalise(text) for text in one.references} for one in (earlier, example)]
        if all(expected) and not expected[0] & expected[1]:
            yield earlier, example


class _Search:
    """Joins near-duplicate examples by union–find; a pair that is already joined is not compared."""

    def __init__(self, examples: Sequence[Example], *, by_answer: bool) -> None:
        self._examples, self._by_answer = examples, by_answer
        self._texts = ["\n".join(turns_of(example, "user")) for example in examples]
        self._parent = list(range(len(examples)))
        self._scores = [1.0] * len(examples)  # by root
        self._numbers = _final_numbers(examples)
        self._start = 0

    def groups(self, checkpoint: Callable[[], None] | None) -> list[DuplicateGroup]:
        self._join_equal()
        index = NearIndex(self._texts)
        for start, end in _stretches(self._texts):
            if checkpoint:
                checkpoint()
            self._start = start
            for match in index.search(self._texts[start:end], long_runs=False, wanted=self._wanted):
                one, other = start + match.document, match.text
                if self._root(one) != self._root(other) and self._same(one, other):
                    self._join(one, other, match.score)
        members = by_key((self._root(place), place) for place in range(len(self._texts)))
        found = [(tuple(group), self._scores[root]) for root, group in members.items() if len(group) > 1]
        return [DuplicateGroup(places, round(score, 4)) for places, score in sorted(found)]

    def _join_equal(self) -> None:
        first: dict[str, int] = {}
        for place, example in enumerate(self._examples):
            if words(self._texts[place]):
                self._join(first.setdefault(question_key(example), place), place, 1.0)

    def _wanted(self, document: NDArray[np.int64], text: NDArray[np.int64]) -> NDArray[np.bool_]:
        place = document + self._start
        roots = [self._roots(places) for places in (place, text)]
        wanted: NDArray[np.bool_] = roots[0] != roots[1]
        if self._by_answer:
            own, other = self._numbers[place], self._numbers[text]
            wanted &= (own < 0) | (other < 0) | (own == other)
        return wanted

    def _same(self, one: int, other: int) -> bool:
        return not self._by_answer or same_answer(self._examples[one], self._examples[other]) is not False

    def _roots(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        different, which = np.unique(places, return_inverse=True)
        return np.fromiter(map(self._root, different.tolist()), np.int64, len(different))[which]

    def _root(self, place: int) -> int:
        parent = self._parent
        while parent[place] != place:
            parent[place] = parent[parent[place]]
            place = parent[place]
        return place

    def _join(self, one: int, other: int, score: float) -> None:
        one, other = self._root(one), self._root(other)
        if one != other:
            self._parent[max(one, other)] = min(one, other)
            self._scores[min(one, other)] = min(score, self._scores[one], self._scores[other])


def _final_numbers(examples: Sequence[Example]) -> NDArray[np.int64]:
    """The same number for the same final number; -1 where the only reference has none, or there are more."""
    numbers: dict[object, int] = {}
    found = np.full(len(examples), -1)
    for place, example in enumerate(examples):
        given = {text for text in example.references if text.strip()}
        value = final_number(given.pop()) if len(given) == 1 else None
        if value is not None and not any(turn["role"] == "assistant" for turn in example.messages):
            found[place] = numbers.setdefault(value, len(numbers))
    return found


def _stretches(texts: Sequence[str]) -> Iterator[tuple[int, int]]:
    start = characters = 0
    for place, text in enumerate(texts):
        characters += len(text)
        if place + 1 - start == _ROWS or characters >= _CHARACTERS:
            yield start, place + 1
            start, characters = place + 1, 0
    if start < len(texts):
        yield start, len(texts)
