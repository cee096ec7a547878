"""Which indexed texts share distinctive runs of words with other texts: candidates, found exactly.

An inverted index over the small side, where MinHash-LSH would hash every text of the large side: a text of
the large side costs one table look-up for each of its words, and no candidate is lost to chance.
"""

from dataclasses import dataclass
from math import ceil, log2

import numpy as np
from numpy.typing import NDArray

from engine.data.words import Batch, run_hashes

RAREST = 8  # runs that stand for a text even when all of its runs are common
_Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Shared:
    """Pairs of a text of the batch and an indexed text, with the number of distinct indexed runs in both."""

    document: _Integers
    text: _Integers
    count: _Integers


class RunIndex:
    """The distinctive runs of `size` words of some of a batch's texts.

    A run in more than `common` texts is a template's and tells nothing; a text that has fewer than `rarest`
    others is known by its `rarest` rarest runs. `held` is the number of runs that stand for each text, 0 for
    a text that is not indexed.
    """

    def __init__(
        self,
        batch: Batch,
        chosen: NDArray[np.bool_],
        size: int,
        common: int,
        rarest: int = RAREST,
    ) -> None:
        self._size, self._texts = size, len(chosen)
        hashes, text = _runs(batch, size)
        kept = chosen[text]
        self._keys, entry = np.unique(hashes[kept], return_inverse=True)
        entry, text = _distinct(entry, text[kept])
        entry, text = _distinctive(entry, text, common, rarest)
        self.held = np.bincount(text, minlength=len(chosen))
        order = np.argsort(entry, kind="stable")
        self._postings = text[order]
        self._starts = np.searchsorted(entry[order], np.arange(len(self._keys) + 1))
        bits = min(max(ceil(log2(len(self._keys) + 1)) + 5, 12), 26)
        self._shift = np.uint64(64 - bits)
        self._known = np.zeros(2**bits, np.bool_)
        self._known[self._keys >> self._shift] = True

    def shared(self, batch: Batch) -> Shared:
        """Every pair of a text of the batch and an indexed text that have a distinctive run in common."""
        hashes = run_hashes(batch.values, self._size)
        places = np.flatnonzero(self._known[hashes >> self._shift])
        document = np.searchsorted(batch.starts, places, "right") - 1
        inside = places + self._size <= batch.starts[document + 1]
        places, document = places[inside], document[inside]
        entry = np.searchsorted(self._keys, hashes[places])
        found = self._keys[np.minimum(entry, len(self._keys) - 1)] == hashes[places]
        entry, document = _distinct(entry[found], document[found])
        many = self._starts[entry + 1] - self._starts[entry]
        document = np.repeat(document, many)
        before = np.repeat(np.cumsum(many) - many, many)
        posting = np.repeat(self._starts[entry], many) + np.arange(len(document)) - before
        pairs, count = np.unique(document * self._texts + self._postings[posting], return_counts=True)
        return Shared(pairs // self._texts, pairs % self._texts, count)


def _runs(batch: Batch, size: int) -> tuple[NDArray[np.uint64], _Integers]:
    """The hash of every run that lies within one text, and that text's number."""
    hashes = run_hashes(batch.values, size)
    text = np.repeat(np.arange(len(batch.lengths)), batch.lengths)[: len(hashes)]
    inside = np.arange(len(hashes)) + size <= batch.starts[text + 1]
    return hashes[inside], text[inside]


def _distinct(entry: _Integers, text: _Integers) -> tuple[_Integers, _Integers]:
    """The distinct pairs, ordered by text."""
    width = int(entry.max(initial=0)) + 1
    pairs = np.unique(text * width + entry)
    return pairs % width, pairs // width


def _distinctive(entry: _Integers, text: _Integers, common: int, rarest: int) -> tuple[_Integers, _Integers]:
    frequency = np.bincount(entry)[entry]
    order = np.lexsort((entry, frequency, text))
    entry, text, frequency = entry[order], text[order], frequency[order]
    rank = np.arange(len(text)) - np.searchsorted(text, text)
    kept = (frequency <= common) | (rank < rarest)
    return entry[kept], text[kept]
