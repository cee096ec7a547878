"""Train, validation and test membership, and sampling, decided by what an example is, not where it stands."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Literal

from engine.data.strata import fill
from engine.example import Example, has_own_id, normalise

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
    position = _hash(_identity(example), seed)
    first, second = _bounds(ratios)
    return "train" if position < first else "validation" if position < second else "test"


def splits(examples: Sequence[Example], ratios: Ratios = RATIOS, seed: int = 0) -> list[Split]:
    """The split of each of several examples, with all copies of a question in one.

    Copies under different ids or groups may hash apart: then they and their groups take the earliest of their
    splits (train before validation before test), so that no question that may be trained on is tested on.
    """
    placed = assign([member(example, seed) for example in examples], ratios)
    return [SPLITS[place] for place in placed]


@dataclass(frozen=True, slots=True)
class Member:
    """What decides where a row goes, as 64-bit hashes: its identity and its question."""

    identity: int
    question: int
    category: str | None = None


def member(example: Example, seed: int = 0) -> Member:
    """The hashes of an example; they differ from seed to seed."""
    identity = _identity(example)
    question = f"query:{normalise(example.query)}"
    position = _hash(identity, seed)
    return Member(position, position if identity == question else _hash(question, seed), example.category)


def assign(
    members: Sequence[Member],
    ratios: Ratios = RATIOS,
    together: Iterable[tuple[int, int]] = (),
    earlier: Mapping[int, int] | None = None,
    stratify: bool = False,
) -> list[int]:
    """The place in SPLITS of each row.

    Rows of one identity or one question, and the pairs of rows in `together` (by their places), make a unit
    that stays in one split. `earlier` gives the splits of identities and questions from before: those stay,
    and the rest of their unit joins them. With `stratify` each category's new units fill the splits up to the
    ratios; else the hash alone decides.
    """
    units = _units(members, together)
    first, second = _bounds(ratios)
    kept: dict[int, int] = {}
    for unit, row in zip(units, members, strict=True):
        for key in (row.identity, row.question):
            if earlier and key in earlier:
                kept[unit] = min(earlier[key], kept.get(unit, len(SPLITS)))
    if stratify:
        placed = fill(units, members, ratios, kept)
    else:
        placed = dict(kept)
        for unit, row in zip(units, members, strict=True):
            if unit not in kept:
                own = 0 if row.identity < first else 1 if row.identity < second else 2
                placed[unit] = min(own, placed.get(unit, own))
    # A new row may tie together what was split before: what was there stays, whatever the newcomer does.
    known = earlier or {}
    return [
        known.get(row.identity, known.get(row.question, placed[unit]))
        for unit, row in zip(units, members, strict=True)
    ]


def fold_of(members: Sequence[Member], folds: int, together: Iterable[tuple[int, int]] = ()) -> list[int]:
    """The fold of each row, from 0: equal shares of the hashes' range, units as in `assign`."""
    units = _units(members, together)
    lowest: dict[int, int] = {}
    for unit, row in zip(units, members, strict=True):
        own = row.identity * folds // _RANGE
        lowest[unit] = min(own, lowest.get(unit, own))
    return [lowest[unit] for unit in units]


def _units(members: Sequence[Member], together: Iterable[tuple[int, int]]) -> list[int]:
    components = _Components()
    for row in members:
        components.join(row.identity, row.question)
    for one, other in together:
        components.join(members[one].identity, members[other].identity)
    return [components.root(row.identity) for row in members]


def sample(examples: Sequence[Example], count: int, seed: int = 0) -> list[Example]:
    """`count` examples (all, when there are fewer) in their given order, chosen by a hash of their ids.

    Neither the order nor metadata decide who is chosen, and a grown file keeps most of its sample.
    """
    chosen = sorted(examples, key=lambda example: (_hash(f"sample:{example.id}", seed), example.id))[:count]
    ids = {example.id for example in chosen}
    return [example for example in examples if example.id in ids]


def order_of(text: str, seed: int = 0) -> int:
    """A number that puts texts in an order of chance, the same at each call."""
    return _hash(f"order:{text}", seed)


def _identity(example: Example) -> str:
    if example.group is not None:
        return f"group:{example.group}"
    return f"id:{example.id}" if example.id and has_own_id(example) else f"query:{normalise(example.query)}"


def _hash(identity: str, seed: int) -> int:
    return int.from_bytes(hashlib.blake2b(f"{seed}:{identity}".encode(), digest_size=8).digest(), "big")


@lru_cache
def _bounds(ratios: Ratios) -> tuple[Fraction, Fraction]:
    # Decimal values: in binary, 0.7 + 0.2 + 0.1 is not 1, and a split of ratio 0 could get an example.
    train, validation, test = (Fraction(str(ratio)) for ratio in ratios)
    total = train + validation + test
    return train / total * _RANGE, (train + validation) / total * _RANGE


class _Components:
    """Which keys are connected (union–find with path halving)."""

    def __init__(self) -> None:
        self._parent: dict[int, int] = {}

    def root(self, key: int) -> int:
        parent = self._parent
        above = parent.setdefault(key, key)
        while above != key:
            parent[key] = parent[above]
            key = parent[key]
            above = parent[key]
        return key

    def join(self, one: int, other: int) -> None:
        if one == other:
            self._parent.setdefault(one, one)
        else:
            self._parent[self.root(one)] = self.root(other)
