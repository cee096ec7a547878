"""Edit distance, bit-parallel: exact, quick, and without a table."""

# Characters x characters: some seconds at worst.
LIMIT = 10_000_000_000


def levenshtein(first: str, second: str) -> int:
    """Fewest insertions, deletions and replacements of characters that turn one text into the other.

    Myers 1999 in Hyyrö's form (2001), with Python's integers as bit vectors of any length: len(longer) steps.
    """
    pattern, text = sorted((first, second), key=len)
    pattern, text = _trimmed(pattern, text)
    if not pattern:
        return len(text)
    places: dict[str, int] = {}
    for place, char in enumerate(pattern):
        places[char] = places.get(char, 0) | 1 << place
    everywhere = (1 << len(pattern)) - 1
    last = len(pattern) - 1
    rising, falling, distance = everywhere, 0, len(pattern)
    for char in text:
        same = places.get(char, 0)
        diagonal = (((same & rising) + rising) ^ rising) | same | falling
        right_up = falling | (everywhere & ~(diagonal | rising))
        right_down = rising & diagonal
        distance += (right_up >> last & 1) - (right_down >> last & 1)
        right_up = (right_up << 1 | 1) & everywhere
        right_down = (right_down << 1) & everywhere
        rising = right_down | (everywhere & ~(diagonal | right_up))
        falling = right_up & diagonal
    return distance


def edit_similarity(first: str, second: str) -> float | None:
    """1 for equal texts, 0 where no character stays: 1 - distance / length of the longer (two empty: 1).

    None where the texts are so long that it would take minutes.
    """
    longer = max(len(first), len(second))
    if first == second:
        return 1.0
    if len(first) * len(second) > LIMIT:
        return None
    return 1.0 - levenshtein(first, second) / longer


def _trimmed(shorter: str, longer: str) -> tuple[str, str]:
    """Both texts without the start and the end that they share: those cost nothing."""
    start = 0
    while start < len(shorter) and shorter[start] == longer[start]:
        start += 1
    shorter, longer = shorter[start:], longer[start:]
    end = 0
    while end < len(shorter) and shorter[-1 - end] == longer[-1 - end]:
        end += 1
    return shorter[: len(shorter) - end], longer[: len(longer) - end]
