"""Examples like those that carry a failure tag: the same words, the same category, and nobody tagged them.

Words alone, so that it costs a pass over the run's queries and no model: a place to look, not a finding.
"""

import math
import re
import sqlite3
from collections import Counter
from dataclasses import dataclass

from store.read.failures import CURRENT

_WORD = re.compile(r"\w{2,}")
_READ = 2_000  # characters of a query
_SAME_CATEGORY = 1.5  # how much more an example of a tagged one's category counts
_REASONS = 3  # words that are named


@dataclass(frozen=True, slots=True)
class AlikeRow:
    """One example that looks like tagged ones, with the words that make it so, the rarest first."""

    example_id: int
    example: str
    category: str | None
    query: str
    words: tuple[str, ...]
    same_category: bool


def alike(connection: sqlite3.Connection, run_id: int, tag: str, *, limit: int = 50) -> list[AlikeRow]:
    """A run's examples that are most like those tagged in any run, the most alike first.

    A word counts by how many tagged examples have it and how few of the run's; one that is in half of the
    run's examples or more says nothing.
    """
    tagged = connection.execute(
        f"""
        {CURRENT}
        SELECT DISTINCT e.id, e.category, substr(e.query, 1, {_READ}) AS query
        FROM annotation n JOIN example e ON e.id = n.example_id LEFT JOIN current c ON c.name = n.value
        WHERE n.kind = 'tag' AND coalesce(c.now, n.value) = ?
          AND NOT EXISTS (SELECT 1 FROM annotation u WHERE u.undoes = n.id)
        """,
        (tag,),
    ).fetchall()
    found = connection.execute(
        f"SELECT e.id, e.example, e.category, substr(e.query, 1, {_READ}) AS query "
        "FROM runexample x JOIN example e ON e.id = x.example_id WHERE x.run_id = ? ORDER BY x.position",
        (run_id,),
    ).fetchall()
    words = {row["id"]: _words(row["query"]) for row in found}
    in_run = Counter(word for each in words.values() for word in each)
    in_tagged = Counter(word for row in tagged for word in _words(row["query"]))
    weights = {
        word: count * math.log(len(found) / in_run[word])
        for word, count in in_tagged.items()
        if 0 < in_run[word] < len(found) / 2
    }
    categories = {row["category"] for row in tagged if row["category"] is not None}
    seen = {row["id"] for row in tagged} | {row["query"] for row in tagged}
    scored = []
    for row in found:
        shared = sorted(words[row["id"]] & weights.keys(), key=lambda word: (-weights[word], word))
        if not shared or row["id"] in seen or row["query"] in seen:
            continue
        same = row["category"] in categories
        score = sum(weights[word] for word in shared) / math.sqrt(len(words[row["id"]]))
        names = tuple(shared[:_REASONS])
        alike = AlikeRow(row["id"], row["example"], row["category"], row["query"], names, same)
        scored.append((score * (_SAME_CATEGORY if same else 1.0), alike))
    scored.sort(key=lambda item: -item[0])
    return [row for _, row in scored[:limit]]


def _words(text: str) -> set[str]:
    return {word.lower() for word in _WORD.findall(text)}
