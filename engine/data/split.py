"""Train, validation and test membership, sampling, and how many examples each part and category holds.

An example's identity decides, not its position in the file. Every category has equal shares in every split.
"""

import hashlib
import heapq
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from functools import lru_cache
from math import ceil
from typing import Any, Literal, NamedTuple, Protocol

from engine.data.example import Example, has_own_id
from engine.data.leak import question_key
from store.read.query import by_key


class _Row(Protocol):
    @property
    def identity(self) -> int: ...
    @property
    def category(self) -> str | None: ...


def fill(
    units: Sequence[int], rows: Sequence[_Row], ratios: Sequence[float], kept: Mapping[int, int]
) -> dict[int, int]:
    """The split of each unit: `kept` ones stay, the others fill up what their category still lacks.

    A unit counts under its commonest category. Units go in the order of their lowest hash to the split that
    is furthest below its share, so that neither the file's order nor chance decides.
    """
    sizes: Counter[int] = Counter(units)
    names: dict[int, list[str]] = {}  # the categories of each unit's rows
    lowest: dict[int, int] = {}
    for unit, row in zip(units, rows, strict=True):
        if unit in names:
            names[unit].append(row.category or "")
            lowest[unit] = min(row.identity, lowest[unit])
        else:
            names[unit] = [row.category or ""]
            lowest[unit] = row.identity
    strata = by_key((_commonest(names[unit]), unit) for unit in sorted(lowest, key=lowest.__getitem__))
    placed = dict(kept)
    for stratum in strata.values():
        _fill_one(stratum, sizes, ratios, placed)
    return placed


def _commonest(names: list[str]) -> str:
    """The most frequent name; of equals, the first in the alphabet."""
    return names[0] if len(names) == 1 else max(sorted(set(names)), key=names.count)


def _fill_one(
    stratum: Sequence[int], sizes: Mapping[int, int], ratios: Sequence[float], placed: dict[int, int]
) -> None:
    total = sum(sizes[unit] for unit in stratum)
    lacking = [ratio / sum(ratios) * total for ratio in ratios]
    for unit in stratum:
        if unit in placed:
            lacking[placed[unit]] -= sizes[unit]
    open_splits = [place for place, ratio in enumerate(ratios) if ratio > 0]
    for unit in stratum:
        if unit not in placed:
            chosen = max(open_splits, key=lacking.__getitem__)
            placed[unit] = chosen
            lacking[chosen] -= sizes[unit]


Split = Literal["train", "validation", "test"]
Ratios = tuple[float, float, float]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
RATIOS: Ratios = (0.8, 0.1, 0.1)
_RANGE = 2**64


def split_of(example: Example, ratios: Ratios = RATIOS, seed: int = 0) -> Split:
    """The split of one example, decided by its group, else the id it came with, else its normalised query.

    A 64-bit BLAKE2b hash over the whole range is compared with the ratios' exact decimal values, so neither
    order, other rows nor other columns move an example. Where a file may hold one question under several ids,
    use `splits`.
    """
    return SPLITS[bisect_right(_bounds(ratios), _hash(_identity(example), seed))]


def splits(examples: Sequence[Example], ratios: Ratios = RATIOS, seed: int = 0) -> list[Split]:
    """The split of each of several examples, with all copies of a question and all of a conversation in one.

    Copies under different ids or groups may hash apart: then they and their groups take the earliest of their
    splits (train before validation before test), so that no question that may be trained on is tested on.
    """
    placed = assign([member(example, seed) for example in examples], ratios)
    return [SPLITS[place] for place in placed]


class Member(NamedTuple):
    """What decides where a row goes, as 64-bit hashes: its identity, its question, and its conversation.

    The identity's is the same in every process; the others only tell rows of one process apart.
    `conversation` is None for a row of which no other row can be a later turn.
    """

    identity: int
    question: int
    category: str | None = None
    conversation: int | None = None

    @property
    def keys(self) -> tuple[int, ...]:
        """The keys that it shares with the rows of its unit."""
        own = self.identity, self.question
        return own if self.conversation is None else (*own, self.conversation)


def member(example: Example, seed: int = 0) -> Member:
    """The hashes of an example; its identity's differs from seed to seed."""
    question = f"query:{question_key(example)}"
    opening = _opening(example)
    return Member(
        _hash(_own_identity(example) or question, seed),
        hash(question),
        example.category,
        None if opening is None else hash(opening),
    )


def _opening(example: Example) -> str | None:
    """The first question with the first answer: what all turns of one conversation begin with."""
    asked = answer = None
    for turn in example.messages:
        if asked is None:
            asked = turn["content"] if turn["role"] == "user" else None
        elif turn["role"] == "assistant":
            answer = turn["content"]
            break
    if answer is None:
        answer = next(iter(example.references), None)
    return None if asked is None or answer is None else f"opening:{asked.strip()}\0{answer.strip()}"


def assign(
    members: Sequence[Member],
    ratios: Sequence[float] = RATIOS,
    together: Iterable[tuple[int, int]] = (),
    earlier: Mapping[int, int] | None = None,
    stratify: bool = False,
) -> list[int]:
    """The split of each row, as a place in `ratios`.

    Rows with a key in common, and the pairs of rows in `together` (by their places), make a unit that stays
    in one split. `earlier` gives the splits of keys from before: those stay, and the rest of their unit joins
    them. With `stratify` each category's new units fill the splits up to the ratios; else the hash alone
    decides.
    """
    units = _units(members, together)
    bounds = _bounds(tuple(ratios))
    known = earlier or {}
    kept: dict[int, int] = {}
    for unit, row in zip(units, members, strict=True) if known else ():
        for key in row.keys:
            if key in known:
                kept[unit] = min(known[key], kept.get(unit, len(bounds)))
    if stratify:
        placed = fill(units, members, ratios, kept)
    else:
        placed = dict(kept)
        for unit, row in zip(units, members, strict=True):
            if unit not in kept:
                own = bisect_right(bounds, row.identity)
                placed[unit] = min(own, placed.get(unit, own))
    # A new row may connect rows that were split before: those keep their splits.
    if not known:
        return [placed[unit] for unit in units]
    return [
        next((known[key] for key in row.keys if key in known), placed[unit])
        for unit, row in zip(units, members, strict=True)
    ]


def folds_of(examples: Sequence[Example], folds: int, seed: int = 0) -> list[int]:
    """The fold of each example, from 1, with all copies of a question and all of a conversation in one."""
    return [place + 1 for place in assign([member(example, seed) for example in examples], (1.0,) * folds)]


def _units(members: Sequence[Member], together: Iterable[tuple[int, int]]) -> list[int]:
    """The unit of each row: rows that share a key, directly or by way of others, have one number."""
    units = _Units()
    rows = [units.of(row.keys) for row in members]
    for one, other in together:
        units.join(rows[one], rows[other])
    return [units.root(unit) for unit in rows]


def sample(examples: Sequence[Example], count: int, seed: int = 0) -> list[Example]:
    """`count` examples (all, when there are fewer) in their given order, chosen by a hash of their ids.

    Neither the order nor metadata decide who is chosen, and a grown file keeps most of its sample.
    """
    chosen = sorted(examples, key=lambda example: (_hash(f"sample:{example.id}", seed), example.id))[:count]
    ids = {example.id for example in chosen}
    return [example for example in examples if example.id in ids]


def order_of(text: str, seed: int = 0) -> int:
    """A number that puts texts in a random but repeatable order."""
    return _hash(f"order:{text}", seed)


def _identity(example: Example) -> str:
    return _own_identity(example) or f"query:{question_key(example)}"


def _own_identity(example: Example) -> str | None:
    if example.group is not None:
        return f"group:{example.group}"
    return f"id:{example.id}" if example.id and has_own_id(example) else None


def _hash(identity: str, seed: int) -> int:
    return int.from_bytes(hashlib.blake2b(f"{seed}:{identity}".encode(), digest_size=8).digest(), "big")


@lru_cache
def _bounds(ratios: tuple[float, ...]) -> tuple[int, ...]:
    """The first hash of each split but the first."""
    # Decimal values: in binary, 0.7 + 0.2 + 0.1 is not 1, and a split of ratio 0 could get an example.
    shares = [Fraction(str(ratio)) for ratio in ratios]
    parts = [sum(shares[:place], Fraction()) / sum(shares) for place in range(1, len(shares))]
    return tuple(ceil(part * _RANGE) for part in parts)


class _Units:
    """Which keys are connected (union–find with path halving); most rows share no key with any before."""

    def __init__(self) -> None:
        self._of: dict[int, int] = {}  # by key
        self._parent: list[int] = []  # by unit

    def of(self, keys: Sequence[int]) -> int:
        """Joins the units of these keys; returns the joined unit."""
        known = self._of
        unit: int | None = None
        for key in keys:
            before = known.get(key)
            if before is not None:
                unit = self.root(before) if unit is None else self.join(before, unit)
        if unit is None:
            unit = len(self._parent)
            self._parent.append(unit)
        for key in keys:
            known[key] = unit
        return unit

    def root(self, unit: int) -> int:
        parent = self._parent
        while parent[unit] != unit:
            parent[unit] = parent[parent[unit]]
            unit = parent[unit]
        return unit

    def join(self, one: int, other: int) -> int:
        root = self.root(other)
        self._parent[self.root(one)] = root
        return root


class Thinned:
    """At most `count` rows, chosen by a hash of the question: the same ones whatever the order."""

    def __init__(self, count: int, seed: int = 0) -> None:
        self._count, self._seed = count, seed
        self._kept: list[tuple[int, int, Example]] = []

    def through(self, rows: Iterable[Example]) -> Iterator[Example]:
        """The same rows, observed as they pass."""
        for place, row in enumerate(rows):
            item = -order_of(row.query, self._seed), -place, row
            if len(self._kept) < self._count:
                heapq.heappush(self._kept, item)
            elif item[:2] > self._kept[0][:2]:
                heapq.heapreplace(self._kept, item)
            yield row

    @property
    def rows(self) -> list[Example]:
        """What was chosen of the rows that passed, in the order of their hashes."""
        return [row for *_, row in sorted(self._kept, reverse=True, key=lambda item: item[:2])]


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
