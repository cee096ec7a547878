"""Equal shares of every category in every split."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Protocol


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
    strata: defaultdict[str, list[int]] = defaultdict(list)
    for unit in sorted(lowest, key=lowest.__getitem__):
        strata[_commonest(names[unit])].append(unit)
    placed = dict(kept)
    for stratum in strata.values():
        _fill_one(stratum, sizes, ratios, placed)
    return placed


def _commonest(names: list[str]) -> str:
    """The name that stands there most often; of several the first in the alphabet."""
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
