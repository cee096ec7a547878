"""Texts that are nearly the same as those of an index, or share a long run of words with them.

An inverted index over the small side, where MinHash-LSH would hash every text of the large side: a text of
the large side costs one look-up for each of its words, and no candidate is lost to chance.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil, log2
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from engine.data.words import WordBatch, hashed, run_hashes, same_but_for_typing, words

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
        entry, text = _distinctive(entry, text, common, rarest)
        self.held = np.bincount(text, minlength=len(chosen))
        order = np.argsort(entry, kind="stable")
        self._postings = text[order]
        self._starts = np.searchsorted(entry[order], np.arange(len(self._keys) + 1))
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
        many = self._starts[entry + 1] - self._starts[entry]
        document = np.repeat(document, many)
        before = np.repeat(np.cumsum(many) - many, many)
        posting = np.repeat(self._starts[entry], many) + np.arange(len(document)) - before
        pairs, count = np.unique(document * self._texts + self._postings[posting], return_counts=True)
        return Shared(pairs // self._texts, pairs % self._texts, count)


def _runs(batch: WordBatch, size: int) -> tuple[NDArray[np.uint64], _Integers]:
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


SHORT = 8  # words; below it a changed word is a large change, and edit distance decides
OVERLAP = 0.7
CONTAINED = 0.6
LONG_RUN = 13
QUOTE_WORDS, QUOTE_LENGTH = 5, 20  # what is shorter stands in many texts by chance

# One word changed takes three runs of three: four of twenty words changed leave at least a third of them.
_LEAST_SHARED = 0.2
_RUN_SIZES = ((0, 1), (4, 2), (SHORT, 3))


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
        self._words = [words(text) for text in texts]
        self._lines = [f" {' '.join(text)} " for text in self._words]
        batch = hashed(texts)
        common = max(10, len(texts) // 100)
        lengths, sizes = batch.lengths, [size for _, size in _RUN_SIZES]
        size_of = np.array(sizes)[np.searchsorted([least for least, _ in _RUN_SIZES], lengths, "right") - 1]
        self._indexes = [(size, RunIndex(batch, size_of == size, size, common)) for size in sizes]
        self._long = RunIndex(batch, lengths >= LONG_RUN, LONG_RUN, common, rarest=0)

    def search(self, documents: Sequence[str], long_runs: bool = True) -> Iterator[NearMatch]:
        """Every match of any of the documents, near ones before long runs."""
        batch = hashed(documents)
        for size, index in self._indexes:
            pairs = index.shared(batch)
            share = pairs.count / index.held[pairs.text]
            if size == 3:
                likely = share >= _LEAST_SHARED
            else:
                likely = (batch.lengths[pairs.document] <= 2 * SHORT) | (share == 1)
            for document, text, found in _listed(pairs, share, likely):
                own = words(documents[document])
                score = self._near(own, text, found)
                if score is not None:
                    yield NearMatch(document, text, "near", score)
                if long_runs and found == 1 and self._quoted(own, text):
                    yield NearMatch(document, text, "ngram", 1.0)
        if long_runs:
            pairs = self._long.shared(batch)
            share = pairs.count / self._long.held[pairs.text]
            for document, text, found in _listed(pairs, share, share > 0):
                yield NearMatch(document, text, "ngram", found)

    def _near(self, document: Sequence[str], text: int, share: float) -> float | None:
        own = self._words[text]
        if len(own) < SHORT:
            return same_but_for_typing(document, own)
        in_common = (Counter(document) & Counter(own)).total() / max(len(document), len(own))
        if in_common < OVERLAP and share < CONTAINED:
            return None
        return max(in_common, share)

    def _quoted(self, document: Sequence[str], text: int) -> bool:
        own = self._lines[text]
        if not QUOTE_WORDS <= len(self._words[text]) < LONG_RUN or len(own) - 2 < QUOTE_LENGTH:
            return False
        return own in f" {' '.join(document)} "


def _listed(
    pairs: Shared, share: NDArray[np.float64], likely: NDArray[np.bool_]
) -> Iterator[tuple[int, int, float]]:
    chosen = pairs.document[likely], pairs.text[likely], share[likely]
    return zip(*(column.tolist() for column in chosen), strict=True)
