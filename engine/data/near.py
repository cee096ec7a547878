"""Texts that are nearly the same as those of an index, or share a long run of words with them.

An inverted index over the small side, where MinHash-LSH would hash every text of the large side: a text of
the large side costs one look-up for each of its words. Each text is compared with a bounded number of others,
those that share most with it, so that time grows with the texts and not with their pairs.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from math import ceil, log2
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from engine.data.words import WordBatch, hashed, run_hashes, same_but_for_typing, words

RAREST = 8  # runs that stand for a text even when all of its runs are common
_PAIRS, _LEAST_LIMIT = 2**17, 16
_MET = 16  # times as many are met by a run as are compared: those that share most are found among them
_KEPT = 2**14  # texts whose words are kept


def candidates(texts: int) -> int:
    """How many of so many indexed texts one text is compared with: all of a small set, few of a large one."""
    return max(_PAIRS // max(texts, 1), _LEAST_LIMIT)


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

    A document meets at most _MET times `candidates` of the texts with a given run. The texts that also share
    the run that comes next in rarity go first: copies share both, two questions of a template only one.
    """

    def __init__(
        self,
        batch: WordBatch,
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
        self._frequency = np.bincount(entry, minlength=len(self._keys))
        entry, text, rank, following = self._by_rarity(entry, text)
        standing = (self._frequency[entry] <= common) | (rank < rarest)
        entry, text, following = entry[standing], text[standing], following[standing]
        self.held = np.bincount(text, minlength=len(chosen))
        order = np.lexsort((text, following, entry))
        self._postings = text[order]
        self._starts = np.searchsorted(entry[order], np.arange(len(self._keys) + 1))
        self._order = entry[order] * (len(self._keys) + 1) + following[order]
        self._limit = _MET * candidates(int((self.held > 0).sum()))
        bits = min(max(ceil(log2(len(self._keys) + 1)) + 5, 12), 26)
        self._shift = np.uint64(64 - bits)
        self._known = np.zeros(2**bits, np.bool_)
        self._known[self._keys >> self._shift] = True

    def shared(self, batch: WordBatch) -> Shared:
        """Every pair of a text of the batch and an indexed text that have a distinctive run in common."""
        hashes = run_hashes(batch.values, self._size)
        places = np.flatnonzero(self._known[hashes >> self._shift])
        document = np.searchsorted(batch.starts, places, "right") - 1
        inside = places + self._size <= batch.starts[document + 1]
        places, document = places[inside], document[inside]
        entry = np.searchsorted(self._keys, hashes[places])
        found = self._keys[np.minimum(entry, len(self._keys) - 1)] == hashes[places]
        entry, document = _distinct(entry[found], document[found])
        entry, document, _, following = self._by_rarity(entry, document)
        start, many = self._met(entry, following, document)
        document = np.repeat(document, many)
        before = np.repeat(np.cumsum(many) - many, many)
        posting = np.repeat(start, many) + np.arange(len(document)) - before
        pairs, count = _counted(document * self._texts + self._postings[posting])
        return Shared(pairs // self._texts, pairs % self._texts, count)

    def _by_rarity(
        self, entry: _Integers, text: _Integers
    ) -> tuple[_Integers, _Integers, _Integers, _Integers]:
        """Distinct runs of texts, each text's rarest first, with their rank and the run that follows.

        The last run of a text is followed by one past all entries.
        """
        order = np.lexsort((entry, self._frequency[entry], text))
        entry, text = entry[order], text[order]
        rank = np.arange(len(text)) - np.searchsorted(text, text)
        following = np.full(len(entry), len(self._keys))
        same = text[1:] == text[:-1]
        following[:-1][same] = entry[1:][same]
        return entry, text, rank, following

    def _met(
        self, entry: _Integers, following: _Integers, document: _Integers
    ) -> tuple[_Integers, _Integers]:
        """Where in the postings of a run a document's candidates begin, and how many they are."""
        start, end = self._starts[entry], self._starts[entry + 1]
        many = np.minimum(end - start, self._limit)
        own = entry * (len(self._keys) + 1) + following
        first, last = np.searchsorted(self._order, own), np.searchsorted(self._order, own, "right")
        # Documents of one template meet different ones of its texts.
        spare = np.maximum(last - first - many, 0)
        first = first + document * 7919 % (spare + 1)
        return np.clip(first, start, end - many), many


def _runs(batch: WordBatch, size: int) -> tuple[NDArray[np.uint64], _Integers]:
    """The hash of every run that lies within one text, and that text's number."""
    hashes = run_hashes(batch.values, size)
    text = np.repeat(np.arange(len(batch.lengths)), batch.lengths)[: len(hashes)]
    inside = np.arange(len(hashes)) + size <= batch.starts[text + 1]
    return hashes[inside], text[inside]


def _distinct(entry: _Integers, text: _Integers) -> tuple[_Integers, _Integers]:
    """The distinct pairs, ordered by text."""
    width = int(entry.max(initial=0)) + 1
    pairs, _ = _counted(text * width + entry)
    return pairs % width, pairs // width


def _counted(values: _Integers) -> tuple[_Integers, _Integers]:
    """The distinct values in order, with how often each is there; sorting, NumPy's hashing is slower here."""
    ordered = np.sort(values)
    first = np.flatnonzero(np.diff(ordered, prepend=ordered[:1] - 1))
    return ordered[first], np.diff(first, append=len(ordered))


SHORT = 8  # words; below it a changed word is a large change, and edit distance decides
OVERLAP = 0.7
CONTAINED = 0.6
LONG_RUN = 13
QUOTE_WORDS, QUOTE_LENGTH = 5, 20  # what is shorter stands in many texts by chance

# One word changed takes three runs of three: four of twenty words changed leave at least a third of them.
_LEAST_SHARED = 0.2
_RUN_SIZES = ((0, 1), (4, 2), (SHORT, 3))


Wanted = Callable[[_Integers, _Integers], NDArray[np.bool_]]


@dataclass(frozen=True, slots=True)
class NearMatch:
    """Document `document` of a search matches text `text` of the index.

    near: almost the same text. `score` is the share of words in common of the longer one, or the share of the
    text's distinctive three-word runs that the document holds, whichever is greater; for short texts their
    similarity by edit distance.
    ngram: the document holds a run of LONG_RUN of the text's words (`score` is the share of the text's
    distinctive runs of that length) or, for a shorter text of QUOTE_WORDS words or more, all of it (1.0).
    """

    document: int
    text: int
    tier: Literal["near", "ngram"]
    score: float


class NearIndex:
    """An index over texts; memory and time to build grow with them, searching does not copy documents."""

    def __init__(self, texts: Sequence[str]) -> None:
        # Most texts of a large set are compared with none: their words are split when they are needed.
        self._words = lru_cache(_KEPT)(lambda place: words(texts[place]))
        batch = hashed(texts)
        common = max(10, len(texts) // 100)
        self._limit = candidates(len(texts))
        lengths, sizes = batch.lengths, [size for _, size in _RUN_SIZES]
        size_of = np.array(sizes)[np.searchsorted([least for least, _ in _RUN_SIZES], lengths, "right") - 1]
        self._indexes = [(size, RunIndex(batch, size_of == size, size, common)) for size in sizes]
        self._long = RunIndex(batch, lengths >= LONG_RUN, LONG_RUN, common, rarest=0)

    def search(
        self, documents: Sequence[str], long_runs: bool = True, wanted: Wanted | None = None
    ) -> Iterator[NearMatch]:
        """Every match of any of the documents, near ones before long runs.

        `wanted` says of pairs of a document and a text which are worth comparing; it is asked before a pair
        is compared exactly.
        """
        batch = hashed(documents)
        for size, index in self._indexes:
            pairs = index.shared(batch)
            share = pairs.count / index.held[pairs.text]
            if size == 3:
                likely = share >= _LEAST_SHARED
            else:
                likely = (batch.lengths[pairs.document] <= 2 * SHORT) | (share == 1)
            if wanted is not None:
                likely &= wanted(pairs.document, pairs.text)
            yield from self._compared(documents, _closest(pairs, share, likely, self._limit), long_runs)
        if long_runs:
            pairs = self._long.shared(batch)
            share = pairs.count / self._long.held[pairs.text]
            for document, text, found in _closest(pairs, share, share > 0, self._limit):
                yield NearMatch(document, text, "ngram", found)

    def _compared(
        self, documents: Sequence[str], pairs: Iterable[tuple[int, int, float]], long_runs: bool
    ) -> Iterator[NearMatch]:
        for document, group in groupby(pairs, lambda pair: pair[0]):
            own = words(documents[document])
            counted = Counter(own)
            for _, text, found in group:
                score = self._near(own, counted, text, found)
                if score is not None:
                    yield NearMatch(document, text, "near", score)
                if long_runs and found == 1 and self._quoted(own, text):
                    yield NearMatch(document, text, "ngram", 1.0)

    def _near(self, document: Sequence[str], counted: Counter[str], text: int, share: float) -> float | None:
        own = self._words(text)
        if len(own) < SHORT:
            return same_but_for_typing(document, own)
        shared = sum(min(count, counted[word]) for word, count in Counter(own).items())
        in_common = shared / max(len(document), len(own))
        if in_common < OVERLAP and share < CONTAINED:
            return None
        return max(in_common, share)

    def _quoted(self, document: Sequence[str], text: int) -> bool:
        own = self._words(text)
        line = f" {' '.join(own)} "
        if not QUOTE_WORDS <= len(own) < LONG_RUN or len(line) - 2 < QUOTE_LENGTH:
            return False
        return line in f" {' '.join(document)} "


def _closest(
    pairs: Shared, share: NDArray[np.float64], likely: NDArray[np.bool_], limit: int
) -> Iterator[tuple[int, int, float]]:
    """The likely pairs, of each document at most `limit`, those with the greatest shares."""
    document, text, share = pairs.document[likely], pairs.text[likely], share[likely]
    order = np.lexsort((text, -share, document))
    kept = np.sort(order[np.arange(len(order)) - np.searchsorted(document, document) < limit])
    return zip(document[kept].tolist(), text[kept].tolist(), share[kept].tolist(), strict=True)
