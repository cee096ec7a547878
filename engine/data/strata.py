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
    categories: defaultdict[int, Counter[str]] = defaultdict(Counter)
    lowest: dict[int, int] = {}
    for unit, row in zip(units, rows, strict=True):
        categories[unit][row.category or ""] += 1
        lowest[unit] = min(row.identity, lowest.get(unit, row.identity))
    strata: defaultdict[str, list[int]] = defaultdict(list)
    for unit in sorted(lowest, key=lowest.__getitem__):
        strata[max(sorted(categories[unit]), key=categories[unit].__getitem__)].append(unit)
    placed = dict(kept)
    for stratum in strata.values():
        _fill_one(stratum, sizes, ratios, placed)
    return placed


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
            chosen = max(open_splits, key=lambda place: lacking[place])
            placed[unit] = chosen
            lacking[chosen] -= sizes[unit]
