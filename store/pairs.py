"""What the Review screen reads: two models' answers to one example, and the queues through them."""

from dataclasses import dataclass

from store.history import Connection
from store.rows import (
    AnnotationRow,
    ExampleRow,
    JudgmentRow,
    RatingRow,
    ResponseRow,
    ScoreRow,
    VerdictRow,
    fetch,
)

# The queues: which examples of a pair of models, by an SQL condition over its verdict row `v`,
# the two response rows `rc` and `rb`, and the example `e`.
FILTERS = {
    "all": "1",
    "losses": "v.outcome = 'loss'",
    "wins": "v.outcome = 'win'",
    "ties": "v.outcome = 'tie'",
    "disagreements": "v.consistent = 0",
    "missing": "rc.text IS NULL OR rb.text IS NULL OR v.outcome = 'failed'",
    "unreviewed": "NOT EXISTS (SELECT 1 FROM annotation n WHERE n.run_id = ?1 AND n.example_id = e.id "
    "AND n.kind = 'preference' AND NOT EXISTS (SELECT 1 FROM annotation u WHERE u.undoes = n.id))",
}


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


@dataclass(frozen=True, slots=True)
class QueueItem:
    example_id: int
    example: str
    category: str | None
    query: str
    outcome: str | None
    difference: float | None  # candidate minus baseline on the chosen measure


def queue(
    connection: Connection,
    run_id: int,
    candidate_id: int,
    baseline_id: int,
    *,
    show: str = "all",
    search: str = "",
    worst_by: str | None = None,
    lower_is_better: bool = False,
) -> list[QueueItem]:
    """The examples to look at: in eval-set order, or the candidate's worst on a measure first."""
    order = "x.position"
    if worst_by is not None:
        sign = "-" if lower_is_better else ""
        order = f"difference IS NULL, {sign}difference, x.position"
    return fetch(
        connection,
        QueueItem,
        f"""
        SELECT e.id AS example_id, e.example, e.category, substr(e.query, 1, 200) AS query, v.outcome,
          sc.value - sb.value AS difference
        FROM runexample x JOIN example e ON e.id = x.example_id
        LEFT JOIN response rc ON rc.model_id = ?2 AND rc.example_id = e.id
        LEFT JOIN response rb ON rb.model_id = ?3 AND rb.example_id = e.id
        LEFT JOIN verdict v ON v.candidate_id = ?2 AND v.baseline_id = ?3 AND v.example_id = e.id
          AND v.turn = 0
          AND v.judge_id = (SELECT min(id) FROM judge WHERE run_id = ?1 AND kind = 'pairwise')
        LEFT JOIN score sc ON sc.model_id = ?2 AND sc.measure = ?4 AND sc.example_id = e.id
        LEFT JOIN score sb ON sb.model_id = ?3 AND sb.measure = ?4 AND sb.example_id = e.id
        WHERE x.run_id = ?1 AND ({FILTERS[show]})
          AND (?5 = '' OR instr(lower(e.query), lower(?5)) OR instr(lower(e.example), lower(?5))
            OR instr(lower(coalesce(e.category, '')), lower(?5))
            OR instr(lower(coalesce(rc.text, '')), lower(?5)))
        ORDER BY {order}
        """,
        run_id,
        candidate_id,
        baseline_id,
        worst_by,
        search,
    )


def pair(
    connection: Connection, run_id: int, candidate_id: int, baseline_id: int, example_id: int
) -> PairView:
    responses = fetch(
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
        example=fetch(
            connection,
            ExampleRow,
            "SELECT e.*, x.split FROM example e "
            "LEFT JOIN runexample x ON x.run_id = ? AND x.example_id = e.id WHERE e.id = ?",
            run_id,
            example_id,
        )[0],
        candidate=by_model.get(candidate_id),
        baseline=by_model.get(baseline_id),
        scores=fetch(
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
        verdicts=fetch(
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
        judgments=fetch(
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
        ratings=fetch(
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
    return fetch(
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
