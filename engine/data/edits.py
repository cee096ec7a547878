"""Short texts that are the same but for typing: by edit distance."""

from collections.abc import Sequence
from difflib import SequenceMatcher

SAME_TEXT = 0.85
SAME_WORDS = 0.6  # "order" for "oder", but not "Greece" for "France"


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
    alike: a template with another word filled in is another question.
    """
    texts = " ".join(one), " ".join(other)
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
