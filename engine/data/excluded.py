"""Examples that people took out of their eval sets, left out of what is read from the file."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

from engine.data.example import Example, query_id

T = TypeVar("T")


def without_excluded(
    examples: Sequence[Example], out: Mapping[tuple[str, str], T]
) -> tuple[list[Example], list[tuple[Example, T]]]:
    """The examples that remain, and those that are out with the word that took each of them.

    `out` is by id and `query_id` of the question: an example whose question was edited since is a new one.
    """
    kept: list[Example] = []
    left_out: list[tuple[Example, T]] = []
    for example in examples:
        word = out.get((example.id, query_id(example.query)))
        if word is None:
            kept.append(example)
        else:
            left_out.append((example, word))
    return kept, left_out
