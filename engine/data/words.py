"""Words of texts, hashes of words and of runs of words, and the edit distance of short texts."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import lru_cache

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
class WordBatch:
    """Several texts as hashes of their words: text i is `values[starts[i]:starts[i + 1]]`."""

    values: NDArray[np.uint64]
    starts: NDArray[np.int64]

    @property
    def lengths(self) -> NDArray[np.int64]:
        return np.diff(self.starts)


def hashed(texts: Iterable[str]) -> WordBatch:
    """The words of several texts, as `words` splits them, as 64-bit hashes.

    All texts are split and hashed at once, on the bytes: a loop over words would take most of the time of a
    search. A word's hash is a polynomial over its bytes, read off the running sums of all bytes.
    """
    parts = [b"", *(_ascii_or_split(text) for text in texts), b""]
    data = np.frombuffer(b"\n".join(parts), np.uint8)
    digits = _DIGITS[data]
    in_word = digits != 0
    edges = np.flatnonzero(in_word[1:] != in_word[:-1]) + 1
    begin, end = edges[0::2], edges[1::2]
    powers, inverses = _powers(len(data))
    digits *= powers
    sums = np.cumsum(digits, out=digits)
    values = (sums[end - 1] - sums[begin - 1]) * inverses[begin]
    values ^= values >> np.uint64(32)
    values *= np.uint64(_FACTOR)
    text_starts = np.cumsum([len(part) + 1 for part in parts[:-1]])
    return WordBatch(values, np.searchsorted(begin, text_starts))


def _ascii_or_split(text: str) -> bytes:
    return text.encode() if text.isascii() else " ".join(words(text)).encode("utf-8", "surrogatepass")


def _digit_table() -> NDArray[np.uint64]:
    """A number for each byte of a word, the same for upper and lower case, and 0 for what separates words."""
    table = np.random.default_rng(0).integers(1, 2**64, 256, dtype=np.uint64)
    table[list(_NO_WORD)] = 0
    table[ord("A") : ord("Z") + 1] = table[ord("a") : ord("z") + 1]
    return table


_DIGITS = _digit_table()


@lru_cache(maxsize=1)
def _power_table(size: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """The powers of _FACTOR modulo 2**64, and of its inverse."""
    bases = _FACTOR, pow(_FACTOR, -1, 2**64)
    powers = [np.full(size, base, np.uint64) for base in bases]
    for power in powers:
        power[0] = 1
        np.cumprod(power, out=power)
    return powers[0], powers[1]


def _powers(size: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    # Sizes in powers of two, so that one table serves most batches.
    powers, inverses = _power_table(1 << max(size - 1, 2**16).bit_length())
    return powers[:size], inverses[:size]


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


SAME_TEXT = 0.85
SAME_WORDS = 0.6  # "order" for "oder", but not "Greece" for "France"
_TYPED = 4000  # characters: edit distance takes time with the square of the length


def edit_distance(one: str, other: str) -> int:
    """The Levenshtein distance in characters.

    Bit-parallel over the whole of `one` as one integer: Myers 1999, in the form of Hyyrö 2003.
    """
    if not one:
        return len(other)
    positions: dict[str, int] = {}
    for place, character in enumerate(one):
        positions[character] = positions.get(character, 0) | 1 << place
    mask, last = (1 << len(one)) - 1, 1 << len(one) - 1
    up, down, distance = mask, 0, len(one)
    for character in other:
        match = positions.get(character, 0)
        diagonal = (((match & up) + up) ^ up) | match | down
        right, left = down | ~(diagonal | up) & mask, diagonal & up
        distance += bool(right & last) - bool(left & last)
        right, left = (right << 1 | 1) & mask, (left << 1) & mask
        up, down = left | ~(diagonal | right) & mask, right & diagonal
    return distance


def similarity(one: str, other: str) -> float:
    """1 for equal texts, 0 for texts without a character in place: 1 - distance / longer length."""
    longer = max(len(one), len(other))
    return 1 - edit_distance(one, other) / longer if longer else 1.0


def same_but_for_typing(one: Sequence[str], other: Sequence[str]) -> float | None:
    """The similarity of two texts, given as words, when they differ as typing differs; else None.

    At least SAME_TEXT alike, with the same numbers, and words that stand for other words at least SAME_WORDS
    alike: a template with another word filled in is another question. Texts longer than people type are the
    same only when all of their words are.
    """
    texts = " ".join(one), " ".join(other)
    if max(map(len, texts)) > _TYPED:
        return 1.0 if texts[0] == texts[1] else None
    longer, shorter = max(map(len, texts)), min(map(len, texts))
    if shorter < SAME_TEXT * longer or _numbers(one) != _numbers(other):
        return None
    alike = similarity(*texts)
    if alike < SAME_TEXT:
        return None
    for kind, start, end, other_start, other_end in SequenceMatcher(None, one, other, False).get_opcodes():
        if kind == "replace" and not _typed(one[start:end], other[other_start:other_end]):
            return None
    return alike


def _typed(one: Sequence[str], other: Sequence[str]) -> bool:
    texts = " ".join(one), " ".join(other)
    return edit_distance(*texts) <= 1 or similarity(*texts) >= SAME_WORDS


def _numbers(text: Sequence[str]) -> list[str]:
    return [word for word in text if any(character.isdigit() for character in word)]
