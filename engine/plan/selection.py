"""Selects the examples of a plan from its eval set, without those that people excluded."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from engine.data.example import Example, query_id
from engine.data.examples import read_examples
from engine.data.split import folds_of, order_of, sample, splits
from engine.data.suites import suite_of, suite_questions
from engine.errors import BadInput
from engine.plan.plan import Data
from store.read.query import by_key

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


@dataclass(frozen=True, slots=True)
class AskedOfSuites:
    """The questions of a plan's suites that a run asks, and how many are left out."""

    questions: list[Example]
    torn: int  # suites label them both ways
    excluded: int  # by people


def asked_of_suites(
    data: Data,
    store: Path,
    out: Mapping[tuple[str, str], object],
    own: Collection[str] = (),
    limit: int | None = None,
) -> AskedOfSuites:
    """The questions that a run asks beside its own examples; `out` as in `without_excluded`.

    Raises BadInput like `suite_questions`.
    """
    if not data.suites:
        return AskedOfSuites([], 0, 0)
    whole, torn = suite_questions(data.suites, store, own)
    kept, left_out = without_excluded(whole, out)
    return AskedOfSuites(_spread(kept, limit, data.seed), torn, len(left_out))


def _spread(questions: list[Example], limit: int | None, seed: int) -> list[Example]:
    """At most `limit`: as many of each suite, and in each as its categories are sized, by a hash of the ids.

    The first of a file would be of one category.
    """
    if limit is None or len(questions) <= limit:
        return questions
    chosen: set[str] = set()
    by_suite = sorted(by_key((suite_of(each), each) for each in questions).values(), key=len)
    for place, own in enumerate(by_suite):  # what a small suite lacks, the larger ones have
        share = min(len(own), (limit - len(chosen)) // (len(by_suite) - place))
        own = sorted(own, key=lambda each: (each.category or "", order_of(each.id, seed), each.id))
        chosen |= {own[(2 * step + 1) * len(own) // (2 * share)].id for step in range(share)}
    return [each for each in questions if each.id in chosen]


def part_name(data: Data) -> str:
    """The selection of `in_part`, in words: "the test split", "fold 2 of 5"."""
    return f"fold {data.fold} of {data.folds}" if data.folds is not None else f"the {data.split} split"
