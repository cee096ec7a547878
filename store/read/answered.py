"""How many answers each model of a run gave, and where they came from."""

from dataclasses import dataclass

from store.read.history import Connection
from store.read.query import select


@dataclass(frozen=True, slots=True)
class AnswerCount:
    """One model's answers: all that have a text, those from the cache, and those whose prompt was cut."""

    model: str
    answers: int
    from_cache: int
    cut: int


def answered(connection: Connection, run_id: int) -> list[AnswerCount]:
    """The models of a run in their order; one that answered nothing yet has zeros."""
    return select(
        connection,
        AnswerCount,
        """
        SELECT m.name AS model, count(r.text) AS answers,
          count(CASE WHEN r.cached AND r.text IS NOT NULL THEN 1 END) AS from_cache,
          count(CASE WHEN r.text IS NOT NULL AND r.reason LIKE 'prompt of % cut to %' THEN 1 END) AS cut
        FROM model m LEFT JOIN response r ON r.model_id = m.id
        WHERE m.run_id = ? GROUP BY m.id ORDER BY m.position
        """,
        run_id,
    )
