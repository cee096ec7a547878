"""Longest common subsequences, bit-parallel: exact, quick, and small in memory.

rouge-score fills a table of len(first) x len(second) Python integers; one runaway response against a long
reference would take gigabytes there. Here a row of that table is one integer (Hyyrö 2004).
"""

from collections import Counter, deque
from collections.abc import Iterator, Sequence


def lcs_length(first: Sequence[str], second: Sequence[str]) -> int:
    """Length of the longest common subsequence."""
    last = deque(_rows(first, second), maxlen=1)
    return len(first) - last[0].bit_count() if last else 0


def lcs_places(first: Sequence[str], second: Sequence[str]) -> set[int]:
    """Places in `first` of one longest common subsequence: the one that rouge-score's walk back finds."""
    rows = list(_rows(first, second))
    places: set[int] = set()
    row, column = len(first), len(second)
    while row and column:
        if first[row - 1] == second[column - 1]:
            places.add(row - 1)
            row, column = row - 1, column - 1
        # A zero bit says that the subsequence of this column grows with this token of `first`.
        elif rows[column - 1] >> (row - 1) & 1:
            row -= 1
        else:
            column -= 1
    return places


def union_hits(target: Sequence[Sequence[str]], prediction: Sequence[Sequence[str]]) -> int:
    """Tokens of the target's sentences that the union of their LCS with all predicted sentences holds.

    No token counts more often than it occurs on either side: the rule of ROUGE 1.5.5 and of rouge-score.
    """
    if len(target) == 1 and len(prediction) == 1:
        return lcs_length(target[0], prediction[0])
    wanted = Counter(token for sentence in target for token in sentence)
    given = Counter(token for sentence in prediction for token in sentence)
    hits = 0
    for sentence in target:
        places: set[int] = set()
        for other in prediction:
            places |= lcs_places(sentence, other)
        for token in (sentence[place] for place in sorted(places)):
            if wanted[token] > 0 and given[token] > 0:
                hits += 1
                wanted[token] -= 1
                given[token] -= 1
    return hits


def _rows(first: Sequence[str], second: Sequence[str]) -> Iterator[int]:
    """After each token of `second`, a row whose zero bits are the places where the LCS grows by one."""
    places: dict[str, int] = {}
    for place, token in enumerate(first):
        places[token] = places.get(token, 0) | 1 << place
    everywhere = (1 << len(first)) - 1
    row = everywhere
    for token in second:
        matched = row & places.get(token, 0)
        row = ((row + matched) | (row - matched)) & everywhere
        yield row
