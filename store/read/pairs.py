"""What the Review screen reads: two models' answers to one example, with all about them."""

from dataclasses import dataclass

from store.read.history import Connection
from store.read.query import select
from store.read.rows import (
    AnnotationRow,
    ExampleRow,
    JudgmentRow,
    RatingRow,
    ResponseRow,
    ScoreRow,
    VerdictRow,
)


@dataclass(frozen=True, slots=True)
class PairView:
    """Everything about one example for one candidate and one baseline."""

    example: ExampleRow
    candidate: ResponseRow | None
    baseline: ResponseRow | None
    scores: list[ScoreRow]
    verdicts: list[VerdictRow]
    judgments: list[JudgmentRow]
    ratings: list[RatingRow]
    annotations: list[AnnotationRow]


def pair(
    connection: Connection, run_id: int, candidate_id: int, baseline_id: int, example_id: int
) -> PairView:
    responses = select(
        connection,
        ResponseRow,
        "SELECT r.*, m.name AS model FROM response r JOIN model m ON m.id = r.model_id "
        "WHERE r.model_id IN (?, ?) AND r.example_id = ?",
        candidate_id,
        baseline_id,
        example_id,
    )
    by_model = {response.model_id: response for response in responses}
    return PairView(
        example=select(
            connection,
            ExampleRow,
            "SELECT e.*, x.split FROM example e "
            "LEFT JOIN runexample x ON x.run_id = ? AND x.example_id = e.id WHERE e.id = ?",
            run_id,
            example_id,
        )[0],
        candidate=by_model.get(candidate_id),
        baseline=by_model.get(baseline_id),
        scores=select(
            connection,
            ScoreRow,
            "SELECT s.*, m.name AS model FROM metric d JOIN score s ON s.measure = d.measure "
            "AND s.model_id IN (?2, ?3) AND s.example_id = ?4 JOIN model m ON m.id = s.model_id "
            "WHERE d.run_id = ?1 ORDER BY d.position, m.position",
            run_id,
            candidate_id,
            baseline_id,
            example_id,
        ),
        verdicts=select(
            connection,
            VerdictRow,
            "SELECT v.*, j.name AS judge, j.is_language_model "
            "FROM verdict v JOIN judge j ON j.id = v.judge_id "
            "WHERE j.run_id = ? AND v.candidate_id = ? AND v.baseline_id = ? AND v.example_id = ? "
            "ORDER BY v.turn > 0, j.id, v.turn",
            run_id,
            candidate_id,
            baseline_id,
            example_id,
        ),
        judgments=select(
            connection,
            JudgmentRow,
            "SELECT g.*, j.name AS judge, j.is_language_model "
            "FROM judgment g JOIN judge j ON j.id = g.judge_id "
            "WHERE j.run_id = ? AND g.candidate_id = ? AND g.baseline_id = ? AND g.example_id = ? "
            'ORDER BY j.id, g.turn, g."order" DESC',
            run_id,
            candidate_id,
            baseline_id,
            example_id,
        ),
        ratings=select(
            connection,
            RatingRow,
            "SELECT t.*, j.name AS judge, m.name AS model FROM rating t "
            "JOIN judge j ON j.id = t.judge_id JOIN model m ON m.id = t.model_id "
            "WHERE j.run_id = ? AND t.model_id IN (?, ?) AND t.example_id = ? "
            "ORDER BY j.id, m.position, t.turn",
            run_id,
            candidate_id,
            baseline_id,
            example_id,
        ),
        annotations=annotations(connection, run_id, example_id),
    )


def annotations(connection: Connection, run_id: int, example_id: int | None = None) -> list[AnnotationRow]:
    """What people said and did not take back, oldest first."""
    return select(
        connection,
        AnnotationRow,
        """
        SELECT n.* FROM annotation n WHERE n.run_id = ?1 AND (?2 IS NULL OR n.example_id = ?2)
          AND n.kind <> 'undo' AND NOT EXISTS (SELECT 1 FROM annotation u WHERE u.undoes = n.id)
        ORDER BY n.id
        """,
        run_id,
        example_id,
    )
