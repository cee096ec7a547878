"""Evaluation examples that stand in the training data, in four tiers from identical to the same meaning."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from engine.data.example import Example, query_id
from engine.data.identical import Identical
from engine.data.leak import DISTINCTIVE_LENGTH, EXCERPT_LENGTH, TIERS, Leak, Search
from engine.data.lexical import Lexical, rank
from engine.data.rows import data_rows

__all__ = [
    "DISTINCTIVE_LENGTH", "EXCERPT_LENGTH", "Leak", "find_leaks", "leak_report", "read_training", "totals",
]  # fmt: skip

CHUNK_ROWS, CHUNK_CHARACTERS = 2048, 4_000_000


def read_training(path: Path, fields: Mapping[str, str] | None = None) -> Iterator[Example]:
    """The examples of a training file, one at a time, so that memory stays flat however long the file is.

    Ids may repeat or be missing, references may be missing, and mapped columns apply where they are there.
    Raises BadInput naming file and line for a record that cannot be read.
    """
    for row in data_rows(path, fields):
        yield row if row.id else replace(row, id=query_id(row.query))


def find_leaks(
    train: Iterable[Example],
    evaluation: Sequence[Example],
    meaning: Search | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[Leak]:
    """At most one Leak per example, the gravest (see `lexical.rank`), in the examples' order.

    Which of them count, and which are only similar or an answer seen, each says itself (`engine.data.leak`).
    A question matches any user turn, a conversation the same user turns in a row; an answer alone is told of
    only when it is distinctive, and in neither set the answer to several different questions. The tier of
    meaning is searched when `engine.data.meaning` gave the search for it. The training rows are read once, as
    a stream: time grows with them, memory with the evaluation set only.
    `progress` is called with the number of rows read so far.
    """
    searches: list[Search] = [Identical(evaluation), Lexical(evaluation), *([meaning] if meaning else [])]
    rows = 0
    for chunk in _chunks(train):
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


def _chunks(rows: Iterable[Example]) -> Iterator[list[Example]]:
    chunk: list[Example] = []
    characters = 0
    for row in rows:
        chunk.append(row)
        characters += sum(len(turn["content"]) for turn in row.messages) + sum(map(len, row.references))
        if len(chunk) == CHUNK_ROWS or characters >= CHUNK_CHARACTERS:
            yield chunk
            chunk, characters = [], 0
    if chunk:
        yield chunk


def totals(leaks: Sequence[Leak], examples: int) -> dict[str, Any]:
    """For JSON: how many of so many examples leaked, by tier and by field; every tier is named.

    `answers_seen` have a whole answer that stands under another question, `similar` nearly their question
    under another answer: neither counts as leaked.
    """
    counted = [leak for leak in leaks if leak.counts]
    tiers = Counter(leak.tier for leak in counted)
    similar = sum(leak.similar for leak in leaks)
    return {
        "examples": examples,
        "leaked": len(counted),
        "answers_seen": len(leaks) - len(counted) - similar,
        "similar": similar,
        "tiers": {tier: tiers[tier] for tier in TIERS},
        "fields": dict(Counter(leak.field for leak in counted)),
    }


def leak_report(leaks: Sequence[Leak], examples: int) -> dict[str, Any]:
    """For JSON: {"leaks": [{id, tier, score, train_line, field, excerpt, train_text, counts}], …}.

    `totals` counts them, `similar` lists what is alike and no leak, in the same shape; `counts` is false for
    an answer alone.
    """
    return {
        "leaks": [_values(leak) for leak in leaks if not leak.similar],
        "similar": [_values(leak) for leak in leaks if leak.similar],
        "totals": totals(leaks, examples),
    }


def _values(leak: Leak) -> dict[str, Any]:
    values = asdict(leak)
    del values["similar"]
    return {"id": values.pop("example_id"), **values, "counts": leak.counts}
