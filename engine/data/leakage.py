"""Evaluation examples that stand in the training data, in four tiers from identical to the same meaning."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from engine.data.identical import Identical
from engine.data.leak import DISTINCTIVE_LENGTH, EXCERPT_LENGTH, TIERS, Leak, Search, Tier
from engine.data.lexical import Lexical, rank
from engine.data.rows import data_rows
from engine.example import Example, query_id

__all__ = [
    "DISTINCTIVE_LENGTH", "EXCERPT_LENGTH", "Leak", "exact_leaks", "find_leaks", "leak_report",
    "read_training", "totals",
]  # fmt: skip

CHUNK_ROWS, CHUNK_CHARACTERS = 2048, 4_000_000


def read_training(path: Path, fields: Mapping[str, str] | None = None) -> Iterator[Example]:
    """The examples of a training file, one at a time, so that memory stays flat however long the file is.

    Ids may repeat or be missing, references may be missing, and mapped columns apply where they are there.
    Raises BadInput naming file and line for a record that cannot be read.
    """
    for row in data_rows(path, fields):
        yield row if row.id else replace(row, id=query_id(row.query))


def exact_leaks(train: Iterable[Example], evaluation: Sequence[Example]) -> list[Leak]:
    """One Leak per example that stands in the training data, in the examples' order.

    A question matches any user turn, a conversation the same user turns in a row. A reference matches any
    of the assistant's turns; without its question it counts only when it is distinctive: DISTINCTIVE_LENGTH
    characters or more, and in neither set the answer to several different questions. Where an example is
    found more than once, "both" goes before "query" before "reference", then the first line. Memory grows
    with the evaluation set only.
    """
    return _found(_chunks(train, 64), [Identical(evaluation)], None)


def find_leaks(
    train: Iterable[Example],
    evaluation: Sequence[Example],
    meaning: Search | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[Leak]:
    """At most one Leak per example, the gravest (see `lexical.rank`), in the examples' order.

    Identical and lexical tiers, and that of meaning when `engine.data.meaning` gave the search for it. The
    training rows are read once, as a stream: time grows with them, memory with the evaluation set only.
    `progress` is called with the number of rows read so far.
    """
    searches: list[Search] = [Identical(evaluation), Lexical(evaluation)]
    return _found(_chunks(train, CHUNK_ROWS), [*searches, meaning] if meaning else searches, progress)


def _found(
    chunks: Iterable[list[Example]], searches: Sequence[Search], progress: Callable[[int], None] | None
) -> list[Leak]:
    rows = 0
    for chunk in chunks:
        for search in searches:
            search.look_up(chunk)
        rows += len(chunk)
        if progress:
            progress(rows)
    found: dict[int, list[Leak]] = {}
    for search in searches:
        for number, leak in search.leaks():
            found.setdefault(number, []).append(leak)
    return [_gravest(found[number]) for number in sorted(found)]


def _gravest(leaks: Sequence[Leak]) -> Leak:
    """The first by rank; an identical question whose answer nearly stands beside it is found in both."""
    first = min(leaks, key=rank)
    if any(leak.field == "both" and leak.train_line == first.train_line for leak in leaks):
        return replace(first, field="both")
    return first


def _chunks(rows: Iterable[Example], most: int) -> Iterator[list[Example]]:
    chunk: list[Example] = []
    characters = 0
    for row in rows:
        chunk.append(row)
        characters += sum(len(turn["content"]) for turn in row.messages) + sum(map(len, row.references))
        if len(chunk) == most or characters >= CHUNK_CHARACTERS:
            yield chunk
            chunk, characters = [], 0
    if chunk:
        yield chunk


def totals(leaks: Sequence[Leak], examples: int) -> dict[str, Any]:
    """For JSON: how many examples leaked, by tier and by field; every tier is named, found or not."""
    tiers: Counter[Tier] = Counter(leak.tier for leak in leaks)
    fields = Counter(leak.field for leak in leaks)
    return {
        "examples": examples,
        "leaked": len(leaks),
        "tiers": {tier: tiers[tier] for tier in TIERS},
        "fields": dict(fields),
    }


def leak_report(leaks: Sequence[Leak], examples: int) -> dict[str, Any]:
    """For JSON: {"leaks": [{id, tier, score, train_line, field, excerpt}], "totals": …}."""
    rows = [asdict(leak) for leak in leaks]
    return {
        "leaks": [{"id": row.pop("example_id"), **row} for row in rows],
        "totals": totals(leaks, examples),
    }
