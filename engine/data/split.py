"""Train, validation and test membership, and sampling, decided by what an example is, not where it stands."""

import hashlib
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Literal

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
    return _split(_identity(example), ratios, seed)


def splits(examples: Sequence[Example], ratios: Ratios = RATIOS, seed: int = 0) -> list[Split]:
    """The split of each of several examples, with all copies of a question in one.

    Copies under different ids or groups may hash apart: then they and their groups take the earliest of their
    splits (train before validation before test), so that no question that may be trained on is tested on.
    """
    components = _Components()
    for example in examples:
        components.join(_identity(example), f"query:{normalise(example.query)}")
    earliest: dict[str, int] = {}
    for example in examples:
        root = components.root(_identity(example))
        own = SPLITS.index(split_of(example, ratios, seed))
        earliest[root] = min(own, earliest.get(root, own))
    return [SPLITS[earliest[components.root(_identity(example))]] for example in examples]


def sample(examples: Sequence[Example], count: int, seed: int = 0) -> list[Example]:
    """`count` examples (all, when there are fewer) in their given order, chosen by a hash of their ids.

    Neither the order nor metadata decide who is chosen, and a grown file keeps most of its sample.
    """
    chosen = sorted(examples, key=lambda example: (_hash(f"sample:{example.id}", seed), example.id))[:count]
    ids = {example.id for example in chosen}
    return [example for example in examples if example.id in ids]


def _identity(example: Example) -> str:
    if example.group is not None:
        return f"group:{example.group}"
    return f"id:{example.id}" if has_own_id(example) else f"query:{normalise(example.query)}"


def _hash(identity: str, seed: int) -> int:
    return int.from_bytes(hashlib.blake2b(f"{seed}:{identity}".encode(), digest_size=8).digest(), "big")


def _split(identity: str, ratios: Ratios, seed: int) -> Split:
    position = _hash(identity, seed)
    first, second = _bounds(ratios)
    return "train" if position < first else "validation" if position < second else "test"


@lru_cache
def _bounds(ratios: Ratios) -> tuple[Fraction, Fraction]:
    # Decimal values: in binary, 0.7 + 0.2 + 0.1 is not 1, and a split of ratio 0 could get an example.
    train, validation, test = (Fraction(str(ratio)) for ratio in ratios)
    total = train + validation + test
    return train / total * _RANGE, (train + validation) / total * _RANGE


class _Components:
    """Which keys are connected (union–find with path halving)."""

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}

    def root(self, key: str) -> str:
        parent = self._parent
        parent.setdefault(key, key)
        while parent[key] != key:
            parent[key] = parent[parent[key]]
            key = parent[key]
        return key

    def join(self, one: str, other: str) -> None:
        self._parent[self.root(one)] = self.root(other)
