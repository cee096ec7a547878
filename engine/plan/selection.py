"""Selects the examples of a plan from its eval set, without those that people excluded."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

from engine.data.example import Example, query_id
from engine.data.examples import read_examples
from engine.data.split import folds_of, sample, splits
from engine.errors import BadInput
from engine.plan.plan import Data

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


def whole_set(data: Data, skipped: list[BadInput] | None = None) -> list[Example]:
    """All examples of the plan's data; those that cannot be read are put into `skipped`.

    Raises BadInput for the first of them unless the plan says `skip_bad`.
    """
    left_out: list[BadInput] = [] if skipped is None else skipped
    return read_examples(data.examples, data.fields, left_out.append if data.skip_bad else None)


def in_part(examples: Sequence[Example], data: Data) -> list[Example]:
    """The examples of the fold or the split that the plan's data name, before any sampling."""
    if data.folds is not None:
        folds = folds_of(examples, data.folds, data.seed)
        return [example for example, fold in zip(examples, folds, strict=True) if fold == data.fold]
    if data.split == "all":
        return list(examples)
    placed = splits(examples, data.ratios, data.seed)
    return [example for example, split in zip(examples, placed, strict=True) if split == data.split]


def asked(examples: Sequence[Example], data: Data, limit: int | None = None) -> list[Example]:
    """The examples that a run is on: of its part, as many as the plan samples and the `limit` allows."""
    chosen = in_part(examples, data)
    if data.sample is not None:
        chosen = sample(chosen, data.sample, data.seed)
    return chosen[:limit]


def part_name(data: Data) -> str:
    """The selection of `in_part`, in words: "the test split", "fold 2 of 5"."""
    return f"fold {data.fold} of {data.folds}" if data.folds is not None else f"the {data.split} split"
