"""Texts that are nearly those of an index, or hold a long run of their words."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from engine.data.edits import same_but_for_typing
from engine.data.runs import RunIndex, Shared
from engine.data.words import hashed, words

SHORT = 8  # words; below it a changed word is a large change, and edit distance decides
OVERLAP = 0.7
CONTAINED = 0.6
LONG_RUN = 13
QUOTE_WORDS, QUOTE_LENGTH = 5, 20  # what is shorter stands in many texts by chance

# One word changed takes three runs of three: four of twenty words changed leave at least a third of them.
_LEAST_SHARED = 0.2
_RUN_SIZES = ((0, 1), (4, 2), (SHORT, 3))


@dataclass(frozen=True, slots=True)
class Match:
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

    def search(self, documents: Sequence[str], long_runs: bool = True) -> Iterator[Match]:
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
                    yield Match(document, text, "near", score)
                if long_runs and found == 1 and self._quoted(own, text):
                    yield Match(document, text, "ngram", 1.0)
        if long_runs:
            pairs = self._long.shared(batch)
            share = pairs.count / self._long.held[pairs.text]
            for document, text, found in _listed(pairs, share, share > 0):
                yield Match(document, text, "ngram", found)

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
