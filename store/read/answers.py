"""All models' answers to one example, with each one's main score."""

from dataclasses import dataclass

from store.read.history import Connection
from store.read.query import select
from store.read.rows import ResponseRow, ScoreRow


@dataclass(frozen=True, slots=True)
class ModelAnswer:
    """One model's answer; the score is of the run's first measure that has a better end, None without one."""

    role: str
    response: ResponseRow
    score: ScoreRow | None


def answered(connection: Connection, run_id: int, example_id: int) -> tuple[ModelAnswer, ...]:
    """The models of the run that answered this example, in the run's order."""
    responses = select(
        connection,
        ResponseRow,
        "SELECT r.*, m.name AS model FROM model m JOIN response r ON r.model_id = m.id AND r.example_id = ?2 "
        "WHERE m.run_id = ?1 AND r.text IS NOT NULL ORDER BY m.position",
        run_id,
        example_id,
    )
    scores = select(
        connection,
        ScoreRow,
        "SELECT s.*, m.name AS model FROM model m JOIN score s ON s.model_id = m.id AND s.example_id = ?2 "
        "AND s.measure = (SELECT measure FROM metric WHERE run_id = ?1 AND direction <> 'none' "
        "ORDER BY position LIMIT 1) WHERE m.run_id = ?1",
        run_id,
        example_id,
    )
    roles = dict(connection.execute("SELECT name, role FROM model WHERE run_id = ?", (run_id,)))
    by_model = {score.model: score for score in scores}
    return tuple(
        ModelAnswer(roles[response.model], response, by_model.get(response.model)) for response in responses
    )
