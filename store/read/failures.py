"""The failure log: people's own list of failure tags, and which answers of which runs carry them.

A tag has a letter, so that one key sets it. Merging keeps what was said: the merged tag stands for the other
from then on, wherever it was given.
"""

import sqlite3
from dataclasses import dataclass

from store.read.query import select


@dataclass(frozen=True, slots=True)
class TagRow:
    """A failure tag as it is offered: with how many answers of how many runs carry it."""

    name: str
    letter: str | None
    answers: int
    runs: int
    last_run: int | None


@dataclass(frozen=True, slots=True)
class RunTags:
    """How many answers of one run carry each tag; a tag that is not there was given to none."""

    run_id: int
    run_name: str
    answers: dict[str, int]


@dataclass(frozen=True, slots=True)
class TaggedRow:
    """One tagged answer."""

    tag: str
    run_id: int
    run_name: str
    example_id: int
    example: str
    category: str | None
    query: str
    model: str
    annotator: str
    created: float


# What a tag is called now, following merges; `merges` is a chain of at most a few links.
CURRENT = """
    WITH RECURSIVE current(name, now) AS (
      SELECT name, name FROM failuretag WHERE merged_into IS NULL
      UNION ALL SELECT t.name, c.now FROM failuretag t JOIN current c ON t.merged_into = c.name)
"""
_STANDING = "NOT EXISTS (SELECT 1 FROM annotation u WHERE u.undoes = n.id)"


def tags(connection: sqlite3.Connection) -> list[TagRow]:
    """The tags on offer, the most used first."""
    return select(
        connection,
        TagRow,
        f"""
        {CURRENT}
        SELECT t.name, t.letter, count(n.id) AS answers, count(DISTINCT n.run_id) AS runs,
          max(n.run_id) AS last_run
        FROM failuretag t LEFT JOIN current c ON c.now = t.name
        LEFT JOIN annotation n ON n.kind = 'tag' AND n.value = c.name AND {_STANDING}
        WHERE t.merged_into IS NULL GROUP BY t.name ORDER BY answers DESC, t.created, t.name
        """,
    )


def failures(
    connection: sqlite3.Connection, *, tag: str | None = None, limit: int = 10_000
) -> list[TaggedRow]:
    """The answers that carry a tag, or any tag, newest first; deleted runs left out."""
    return select(
        connection,
        TaggedRow,
        f"""
        {CURRENT}
        SELECT coalesce(c.now, n.value) AS tag, n.run_id, r.name AS run_name, n.example_id, e.example,
          e.category, e.query, m.name AS model, n.annotator, n.created
        FROM annotation n JOIN run r ON r.id = n.run_id AND r.deleted IS NULL
        JOIN example e ON e.id = n.example_id
        LEFT JOIN current c ON c.name = n.value
        JOIN model m ON m.id = coalesce((SELECT x.id FROM model x
          WHERE x.id IN (n.left_id, n.right_id) AND x.role = 'candidate'), n.left_id)
        WHERE n.kind = 'tag' AND {_STANDING} AND (?1 IS NULL OR coalesce(c.now, n.value) = ?1)
        ORDER BY n.id DESC LIMIT ?2
        """,
        tag,
        limit,
    )


def by_run(connection: sqlite3.Connection, *, limit: int = 12) -> list[RunTags]:
    """The newest runs in which anybody tagged anything, oldest first.

    A run without any tag is left out: nobody looked there, which is not the same as no failures.
    """
    rows = connection.execute(
        f"""
        {CURRENT}
        SELECT n.run_id, r.name, coalesce(c.now, n.value) AS tag,
          count(DISTINCT n.example_id || ' ' || coalesce(n.right_id, n.left_id)) AS answers
        FROM annotation n JOIN run r ON r.id = n.run_id AND r.deleted IS NULL
        LEFT JOIN current c ON c.name = n.value
        WHERE n.kind = 'tag' AND {_STANDING} GROUP BY n.run_id, tag ORDER BY n.run_id DESC
        """
    )
    found: dict[int, RunTags] = {}
    for run_id, name, tag, answers in rows:
        if run_id not in found and len(found) == limit:
            break
        found.setdefault(run_id, RunTags(run_id, name, {})).answers[tag] = answers
    return list(reversed(found.values()))
