"""Which of an eval set's examples a plan asks for."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from engine.data.example import Example
from engine.data.examples import read_examples
from engine.data.split import folds_of, splits
from engine.errors import BadInput

if TYPE_CHECKING:
    from engine.plan.plan import Data


def whole_set(data: "Data", skipped: list[BadInput] | None = None) -> list[Example]:
    """All examples of the plan's data; those that cannot be read are put into `skipped`.

    Raises BadInput for the first of them unless the plan says `skip_bad`.
    """
    left_out: list[BadInput] = [] if skipped is None else skipped
    return read_examples(data.examples, data.fields, left_out.append if data.skip_bad else None)


def in_part(examples: Sequence[Example], data: "Data") -> list[Example]:
    """The examples of the fold or the split that the plan's data name, before any sampling."""
    if data.folds is not None:
        folds = folds_of(examples, data.folds, data.seed)
        return [example for example, fold in zip(examples, folds, strict=True) if fold == data.fold]
    if data.split == "all":
        return list(examples)
    placed = splits(examples, data.ratios, data.seed)
    return [example for example, split in zip(examples, placed, strict=True) if split == data.split]


def part_name(data: "Data") -> str:
    """What `in_part` takes, in words: "the test split", "fold 2 of 5"."""
    return f"fold {data.fold} of {data.folds}" if data.folds is not None else f"the {data.split} split"
