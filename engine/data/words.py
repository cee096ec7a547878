"""Texts as arrays of word numbers, many texts at a time, and hashes of their runs of words."""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, repeat

import numpy as np
from numpy.typing import NDArray

# Thai, kana, Han: written without spaces, so that each character counts as a word.
_UNSPACED = "\u0e00-\u0e7f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
# Translating and splitting is the faster way to the words of ASCII text.
_NO_WORD = {place: " " for place in range(128) if not (chr(place).isalnum() or chr(place) == "_")}
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+")
_FACTOR = 0x9E3779B97F4A7C15  # odd, so that multiplying by it loses nothing


def words(text: str) -> list[str]:
    """The words of a text, case folded and without punctuation; in scripts without spaces, its characters."""
    if text.isascii():
        return text.lower().translate(_NO_WORD).split()
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def placed_words(text: str) -> list[tuple[str, int]]:
    """The words of a text, each with the place of its first character."""
    return [
        (unicodedata.normalize("NFKC", found.group()).casefold(), found.start())
        for found in _WORD.finditer(text)
    ]


@dataclass(frozen=True, slots=True)
class Batch:
    """Several texts, one after the other: text i is `numbers[starts[i]:starts[i + 1]]`."""

    numbers: NDArray[np.int32]
    starts: NDArray[np.int64]

    @property
    def lengths(self) -> NDArray[np.int64]:
        return np.diff(self.starts)


class Vocabulary:
    """Numbers for the words of the indexed texts, from 1; every other word is 0."""

    def __init__(self, texts: Iterable[str]) -> None:
        known = dict.fromkeys(word for text in texts for word in words(text))
        self._numbers = {word: number for number, word in enumerate(known, start=1)}
        self.values = np.random.default_rng(0).integers(1, 2**64, len(known) + 1, dtype=np.uint64)

    def batch(self, texts: Sequence[str]) -> Batch:
        """The texts' words as numbers."""
        starts = [0]

        # Each text's words are let go of at once: a list of them all takes more time to keep than to make.
        def split() -> Iterator[list[str]]:
            for text in texts:
                found = words(text)
                starts.append(starts[-1] + len(found))
                yield found

        flat = map(self._numbers.get, chain.from_iterable(split()), repeat(0))
        return Batch(np.fromiter(flat, np.int32), np.array(starts, np.int64))


def run_hashes(values: NDArray[np.uint64], size: int) -> NDArray[np.uint64]:
    """A 64-bit hash of every `size` neighbouring values: shape (n - size + 1,), empty when there are fewer.

    A polynomial modulo 2**64; longer runs are put together from shorter ones, in about 2 log2(size) passes.
    """
    if len(values) < size:
        return np.empty(0, np.uint64)
    if size == 1:
        return values
    half = size // 2
    part = run_hashes(values, half)
    power = np.uint64(pow(_FACTOR, half, 2**64))
    joined = part[: len(part) - half] * power + part[half:]
    if size % 2:
        joined = joined[:-1] * np.uint64(_FACTOR) + values[size - 1 :]
    return joined
