"""How many examples the data hold, by split and by category."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from engine.data.example import Example
from engine.data.split import RATIOS, SPLITS, Ratios, split_of, splits

NO_CATEGORY = "(none)"


@dataclass(frozen=True, slots=True)
class Sizes:
    """Counts of examples; `by_both` is {category: {split: count}}."""

    total: int
    with_references: int
    by_split: dict[str, int]
    by_category: dict[str, int]
    by_both: dict[str, dict[str, int]]


@dataclass(frozen=True, slots=True)
class DataSummary:
    """The evaluation set's sizes, and the training set's where there is one."""

    evaluation: Sizes
    training: Sizes | None

    def as_dict(self) -> dict[str, Any]:
        """For JSON: {"evaluation": …, "training": … or None}."""
        return asdict(self)


def summarise(
    examples: Sequence[Example],
    train: Iterable[Example] | None = None,
    ratios: Ratios = RATIOS,
    seed: int = 0,
) -> DataSummary:
    """Sizes of the evaluation set and of the training set, which is read once, as a stream."""
    evaluation = _sizes(zip(examples, splits(examples, ratios, seed), strict=True))
    if train is None:
        return DataSummary(evaluation, None)
    return DataSummary(evaluation, _sizes((example, split_of(example, ratios, seed)) for example in train))


def _sizes(members: Iterable[tuple[Example, str]]) -> Sizes:
    cells: Counter[tuple[str, str]] = Counter()
    with_references = 0
    for example, split in members:
        cells[example.category or NO_CATEGORY, split] += 1
        with_references += bool(example.references)
    categories = sorted({category for category, _ in cells})
    names: tuple[str, ...] = SPLITS
    both = {category: {split: cells[category, split] for split in names} for category in categories}
    return Sizes(
        total=cells.total(),
        with_references=with_references,
        by_split={split: sum(row[split] for row in both.values()) for split in SPLITS},
        by_category={category: sum(row.values()) for category, row in both.items()},
        by_both=both,
    )
