"""The single answers behind an alert: what was asked, what was expected, and what both models said."""

from collections.abc import Sequence
from dataclasses import dataclass

from store.read.history import Connection
from store.read.query import select


@dataclass(frozen=True, slots=True)
class AnswerCaseRow:
    """One example with two models' answers; an answer of None is missing for its reason."""

    example: str
    query: str
    references: list[str] | None
    label: str | None
    candidate_answer: str | None
    candidate_reason: str | None
    baseline_answer: str | None
    baseline_reason: str | None
    candidate_value: float | None  # on the measure in question
    baseline_value: float | None


@dataclass(frozen=True, slots=True)
class BenchmarkCaseRow:
    doc_id: int
    question: str
    target: str
    candidate_answer: str
    candidate_value: float | None
    baseline_answer: str
    baseline_value: float | None


@dataclass(frozen=True, slots=True)
class LeakCaseRow:
    example: str
    query: str
    references: list[str] | None
    tier: str
    train_line: int
    field: str
    excerpt: str
    train_text: str | None


_ANSWERS = """
    SELECT e.example, e.query, e."references", e.label,
      rc.text AS candidate_answer, rc.reason AS candidate_reason,
      rb.text AS baseline_answer, rb.reason AS baseline_reason,
      sc.value AS candidate_value, sb.value AS baseline_value
    FROM runexample x JOIN example e ON e.id = x.example_id
    LEFT JOIN model mc ON mc.run_id = x.run_id AND mc.name = ?2
    LEFT JOIN model mb ON mb.run_id = x.run_id AND mb.name = ?3
    LEFT JOIN response rc ON rc.model_id = mc.id AND rc.example_id = e.id
    LEFT JOIN response rb ON rb.model_id = mb.id AND rb.example_id = e.id
    LEFT JOIN score sc ON sc.model_id = mc.id AND sc.measure = ?4 AND sc.example_id = e.id
    LEFT JOIN score sb ON sb.model_id = mb.id AND sb.measure = ?4 AND sb.example_id = e.id
"""


def answer_cases(
    connection: Connection,
    run_id: int,
    candidate: str,
    baseline: str | None,
    measure: str,
    examples: Sequence[str],
) -> list[AnswerCaseRow]:
    """These examples of a run, in the order given; one that is not among the run's is left out."""
    places = ", ".join(f"?{number}" for number in range(5, 5 + len(examples)))
    rows = select(
        connection,
        AnswerCaseRow,
        f"{_ANSWERS} WHERE x.run_id = ?1 AND e.example IN ({places})",
        *(run_id, candidate, baseline, measure, *examples),
    )
    return sorted(rows, key=lambda row: examples.index(row.example))


def lost_cases(
    connection: Connection, run_id: int, candidate: str, baseline: str, judge: str, outcome: str, limit: int
) -> list[AnswerCaseRow]:
    """The first examples on which a judge gave this outcome: win, loss, tie or failed."""
    return select(
        connection,
        AnswerCaseRow,
        f"""{_ANSWERS}
        JOIN judge j ON j.run_id = x.run_id AND j.name = ?5
        JOIN verdict v ON v.judge_id = j.id AND v.candidate_id = mc.id AND v.baseline_id = mb.id
          AND v.example_id = e.id AND v.turn = 0 AND v.outcome = ?6
        WHERE x.run_id = ?1 ORDER BY x.position LIMIT ?7
        """,
        *(run_id, candidate, baseline, "", judge, outcome, limit),
    )


def benchmark_cases(
    connection: Connection, run_id: int, candidate: str, baseline: str, key: tuple[str, str, str], limit: int
) -> list[BenchmarkCaseRow]:
    """The questions of one task, metric and filter that the candidate lost most on."""
    return select(
        connection,
        BenchmarkCaseRow,
        """
        SELECT c.doc_id, c.question, c.target, c.answer AS candidate_answer, c.value AS candidate_value,
          b.answer AS baseline_answer, b.value AS baseline_value
        FROM model mc JOIN benchmarksample c ON c.model_id = mc.id
        JOIN model mb ON mb.run_id = ?1 AND mb.name = ?3
        JOIN benchmarksample b ON b.model_id = mb.id AND b.task = c.task AND b.metric = c.metric
          AND b.filter = c.filter AND b.doc_id = c.doc_id AND b.prompt_hash = c.prompt_hash
        WHERE mc.run_id = ?1 AND mc.name = ?2 AND c.task = ?4 AND c.metric = ?5 AND c.filter = ?6
          AND c.value <> b.value
        ORDER BY c.value - b.value, c.doc_id LIMIT ?7
        """,
        *(run_id, candidate, baseline, *key, limit),
    )


def leak_cases(connection: Connection, run_id: int, limit: int) -> list[LeakCaseRow]:
    """The surest leaks of a run."""
    return select(
        connection,
        LeakCaseRow,
        """
        SELECT e.example, e.query, e."references", l.* FROM leak l JOIN example e ON e.id = l.example_id
        WHERE l.run_id = ? ORDER BY l.score DESC, l.id LIMIT ?
        """,
        run_id,
        limit,
    )
