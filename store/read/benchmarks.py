"""What the store holds of benchmarks: results that may stand for a new run's, and samples as they are."""

from dataclasses import dataclass

from store.read.history import Connection
from store.read.query import select


@dataclass(frozen=True, slots=True)
class EarlierRow:
    identity: str
    model_id: int  # the newest that has the result
    run_id: int


@dataclass(frozen=True, slots=True)
class SampleRow:
    task: str
    metric: str
    filter: str
    doc_id: int
    doc_hash: str
    prompt_hash: str
    target_hash: str
    value: float | None
    question: str
    target: str
    answer: str


def earlier(connection: Connection, fingerprint: str, model_id: int) -> dict[str, EarlierRow]:
    """Results of other models with these very weights, by identity."""
    rows = select(
        connection,
        EarlierRow,
        """
        SELECT s.identity, MAX(m.id) AS model_id, m.run_id FROM model m
        JOIN benchmarkscore s ON s.model_id = m.id JOIN run r ON r.id = m.run_id
        WHERE m.fingerprint = ? AND m.id != ? AND s.identity IS NOT NULL AND r.deleted IS NULL
        GROUP BY s.identity
        """,
        fingerprint,
        model_id,
    )
    return {row.identity: row for row in rows}


def samples(connection: Connection, model_id: int) -> list[SampleRow]:
    """Every benchmark sample of one model, task by task, in the order of the documents."""
    return select(
        connection,
        SampleRow,
        "SELECT * FROM benchmarksample WHERE model_id = ? ORDER BY task, filter, doc_id, metric",
        model_id,
    )
