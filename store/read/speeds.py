"""How fast models answered in earlier runs."""

from dataclasses import dataclass
from typing import Any

from store.read.history import Connection
from store.read.query import select


@dataclass(frozen=True, slots=True)
class SpeedRow:
    """One model's answers in one run: how many were made anew, in how many seconds, and on what."""

    run_id: int
    answers: int
    seconds: float
    details: dict[str, Any] | None
    environment: dict[str, Any] | None


def speeds(connection: Connection, *, limit: int = 500) -> list[SpeedRow]:
    """The newest first; models whose answers were all remembered are left out."""
    return select(
        connection,
        SpeedRow,
        """
        SELECT p.run_id, p.done - p.resumed_from AS answers, p.seconds, m.details, r.environment
        FROM progress p JOIN model m ON m.run_id = p.run_id AND m.name = p.item JOIN run r ON r.id = p.run_id
        WHERE p.phase = 'generate' AND p.done > p.resumed_from AND p.seconds > 0
        ORDER BY p.run_id DESC LIMIT ?
        """,
        limit,
    )
