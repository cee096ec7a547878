"""A few rows of a stream that may be too long to keep, chosen as it passes."""

import heapq
from collections.abc import Iterable, Iterator

from engine.data.example import Example
from engine.data.split import order_of


class Thinned:
    """At most `count` rows, chosen by a hash of the question: the same ones whatever the order."""

    def __init__(self, count: int, seed: int = 0) -> None:
        self._count, self._seed = count, seed
        self._kept: list[tuple[int, int, Example]] = []

    def through(self, rows: Iterable[Example]) -> Iterator[Example]:
        """The same rows, looked at on their way."""
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
