"""Answers as people look at them: of all models, of a pair, behind an alert, and like those with a tag."""

import math
import re
import sqlite3
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from store.read.history import Connection, data_version
from store.read.labels import CURRENT
from store.read.query import ANSWERS, select
from store.read.rows import (
    BenchmarkSampleRow,
    ExampleRow,
    JudgmentRow,
    LeakTexts,
    RatingRow,
    ResponseRow,
    ScoreRow,
    VerdictRow,
)
from store.records import Annotation
from store.records.run import OF_SUITES


@dataclass(frozen=True, slots=True)
class ModelAnswer:
    """One model's answer; the score is of the run's first measure that has a better end, None without one.

    `sample` is its number from 1 where the model was asked several times; missing ones are then listed too.
    """

    role: str
    response: ResponseRow
    score: ScoreRow | None
    sample: int | None = None

    @property
    def value(self) -> float | None:
        """The answer's own score: that of its sample."""
        if self.score is None:
            return None
        samples = self.score.samples
        return samples[self.sample - 1] if self.sample and samples else self.score.value


def answered(connection: Connection, run_id: int, example_id: int) -> tuple[ModelAnswer, ...]:
    """The models of the run that answered this example, in the run's order, each with all its samples."""

    answers: dict[str, list[ResponseRow]] = {}
    for table, order in (("response", "m.position"), ("sample", "r.sample")):
        sql = (
            f"SELECT r.*, m.name AS model FROM model m JOIN {table} r ON r.model_id = m.id "
            f"AND r.example_id = ?2 WHERE m.run_id = ?1 ORDER BY {order}"
        )
        for row in select(connection, ResponseRow, sql, run_id, example_id):
            answers.setdefault(row.model, []).append(row)
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
        ModelAnswer(roles[name], row, by_model.get(name), place if len(rows) > 1 else None)
        for name, rows in answers.items()
        for place, row in enumerate(rows, 1)
        if row.text is not None or len(rows) > 1
    )


@dataclass(frozen=True, slots=True)
class AnswerCount:
    """One model's answers to the run's own examples: those with a text, from the cache, whose prompt was cut.

    Of the `ended`, whose end is known, `ended_by_length` had no room for more, those without a text too.
    `thoughts` are responses with a reasoning trace, and `thinking_tokens` those of the `thoughts_counted`;
    `answer_tokens` are the other tokens, of responses whose trace was counted or that have none. Those
    `with_calls` called tools.
    """

    model: str
    answers: int
    from_cache: int
    cut: int
    ended: int
    ended_by_length: int
    thoughts: int
    thoughts_counted: int
    thinking_tokens: int | None
    answer_tokens: int | None
    with_calls: int = 0

    @property
    def cut_share(self) -> float | None:
        """The share of the responses that had no room for more; None where no end is known."""
        return self.ended_by_length / self.ended if self.ended else None


_OWN = f"""
    r.example_id NOT IN (SELECT example_id FROM runexample WHERE run_id = ?1 AND split = '{OF_SUITES}')
"""
_COUNTS = """
    SELECT r.model_id, count(r.text) AS answers,
      count(CASE WHEN r.cached AND r.text IS NOT NULL THEN 1 END) AS from_cache,
      count(CASE WHEN r.text IS NOT NULL AND r.reason LIKE 'prompt of % cut to %' THEN 1 END) AS cut,
      count(r.finish_reason) AS ended,
      count(CASE WHEN r.finish_reason = 'length' THEN 1 END) AS ended_by_length,
      count(coalesce(r.thinking, r.thinking_tokens)) AS thoughts,
      count(r.thinking_tokens) AS thoughts_counted,
      sum(r.thinking_tokens) AS thinking_tokens,
      sum(CASE WHEN r.thinking IS NULL OR r.thinking_tokens IS NOT NULL
        THEN max(r.tokens_out - coalesce(r.thinking_tokens, 0), 0) END) AS answer_tokens,
      count(nullif(r.calls, '[]')) AS with_calls
    FROM model m JOIN {table} r ON r.model_id = m.id WHERE m.run_id = ?1 AND {own} GROUP BY m.id
"""
_SUMMED = (
    "answers", "from_cache", "cut", "ended", "ended_by_length", "thoughts", "thoughts_counted", "with_calls",
)  # fmt: skip


class _Counted(NamedTuple):
    """What was counted over one connection while nobody wrote to its store."""

    connection: Connection
    state: tuple[int, int]  # tells of every write, by others and over this connection
    runs: dict[int, list[AnswerCount]]


_counted: _Counted | None = None  # of the connection that counted last


def answer_counts(connection: Connection, run_id: int) -> list[AnswerCount]:
    """The models of a run in their order, with every sample; one that answered nothing yet has zeros.

    Hundreds of thousands of answers are counted once until something is written: screen after screen asks.
    """
    global _counted
    state = data_version(connection), connection.total_changes
    if _counted is None or _counted.connection is not connection or _counted.state != state:
        _counted = _Counted(connection, state, {})
    known = _counted.runs
    if run_id not in known:
        known[run_id] = _count_answers(connection, run_id)
    return list(known[run_id])


def _count_answers(connection: Connection, run_id: int) -> list[AnswerCount]:
    # Counted table by table: SQLite would first write out all answers of both, with their texts.
    counts = " UNION ALL ".join(_COUNTS.format(table=table, own=_OWN) for table in ("response", "sample"))
    return select(
        connection,
        AnswerCount,
        f"""
        SELECT m.name AS model, sum(r.thinking_tokens) AS thinking_tokens,
          sum(r.answer_tokens) AS answer_tokens,
          {", ".join(f"coalesce(sum(r.{name}), 0) AS {name}" for name in _SUMMED)}
        FROM model m LEFT JOIN ({counts}) r ON r.model_id = m.id
        WHERE m.run_id = ?1 GROUP BY m.id ORDER BY m.position
        """,
        run_id,
    )


def cut_answers(connection: Connection, run_id: int) -> dict[str, dict[str, tuple[int, int]]]:
    """By model and the run's own examples: the answers that had no room, and all whose end is known."""
    rows = connection.execute(
        f"""
        SELECT m.name, e.example, count(CASE WHEN r.finish_reason = 'length' THEN 1 END), count(*)
        FROM model m JOIN {ANSWERS} r ON r.model_id = m.id JOIN example e ON e.id = r.example_id
        WHERE m.run_id = ?1 AND {_OWN} AND r.finish_reason IS NOT NULL GROUP BY m.id, r.example_id
        """,
        (run_id,),
    )
    found: dict[str, dict[str, tuple[int, int]]] = {}
    for model, example, cut, ended in rows:
        found.setdefault(model, {})[example] = cut, ended
    return found


@dataclass(frozen=True, slots=True)
class LongTexts:
    """How many of a model's scores are of texts beyond a text model's context, and how those were read."""

    measure: str
    model: str
    reading: str
    scores: int


def long_texts(connection: Connection, run_id: int) -> list[LongTexts]:
    """By measure and model; of BERTScore's three measures the last stands for all."""
    return select(
        connection,
        LongTexts,
        """
        SELECT s.measure, m.name AS model, s.reason AS reading, count(*) AS scores
        FROM model m JOIN score s
          ON s.model_id = m.id AND s.measure IN ('bertscore_f1', 'embedding_cosine')
        WHERE m.run_id = ? AND s.value IS NOT NULL AND s.reason IS NOT NULL
        GROUP BY s.measure, s.reason, m.id ORDER BY s.measure, m.position
        """,
        run_id,
    )


@dataclass(frozen=True, slots=True)
class AnswerCaseRow:
    """One example with two models' answers; an answer of None is missing for its reason."""

    example: str
    query: str
    references: list[str] | None
    label: str | None
    candidate_answer: str | None
    candidate_reason: str | None
    candidate_thinking: str | None
    baseline_answer: str | None
    baseline_reason: str | None
    baseline_thinking: str | None
    candidate_value: float | None  # on the measure in question
    baseline_value: float | None


_ANSWERS = """
    SELECT e.example, e.query, e."references", e.label,
      rc.text AS candidate_answer, rc.reason AS candidate_reason, rc.thinking AS candidate_thinking,
      rb.text AS baseline_answer, rb.reason AS baseline_reason, rb.thinking AS baseline_thinking,
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


_QUESTIONS = """
    SELECT c.doc_id, c.question, c.target, c.answer AS candidate_answer, c.value AS candidate_value,
      b.answer AS baseline_answer, b.value AS baseline_value
    FROM model mc JOIN benchmarksample c ON c.model_id = mc.id
    JOIN model mb ON mb.run_id = ?1 AND mb.name = ?3
    JOIN benchmarksample b ON b.model_id = mb.id AND b.task = c.task AND b.metric = c.metric
      AND b.filter = c.filter AND b.doc_id = c.doc_id AND b.prompt_hash = c.prompt_hash
    WHERE mc.run_id = ?1 AND mc.name = ?2 AND c.task = ?4
"""


def benchmark_cases(
    connection: Connection, run_id: int, candidate: str, baseline: str, key: tuple[str, str, str], limit: int
) -> list[BenchmarkSampleRow]:
    """The questions of one task, metric and filter that the candidate lost most on."""
    chosen = "AND c.metric = ?5 AND c.filter = ?6 AND c.value <> b.value"
    sql = f"{_QUESTIONS} {chosen} ORDER BY c.value - b.value, c.doc_id LIMIT ?7"
    return select(connection, BenchmarkSampleRow, sql, run_id, candidate, baseline, *key, limit)


def benchmark_samples(
    connection: Connection, run_id: int, candidate: str, baseline: str, task: str
) -> list[BenchmarkSampleRow]:
    """One task's questions with both models' answers, those that the candidate lost first."""
    sql = f"{_QUESTIONS} ORDER BY c.value - b.value, c.doc_id"
    return select(connection, BenchmarkSampleRow, sql, run_id, candidate, baseline, task)


def leak_cases(connection: Connection, run_id: int, limit: int) -> list[LeakTexts]:
    """The surest leaks of a run."""
    return select(
        connection,
        LeakTexts,
        """
        SELECT e.example, e.query, e."references", l.* FROM leak l JOIN example e ON e.id = l.example_id
        WHERE l.run_id = ? ORDER BY l.score DESC, l.id LIMIT ?
        """,
        run_id,
        limit,
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
    annotations: list[Annotation]


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


def annotations(connection: Connection, run_id: int, example_id: int | None = None) -> list[Annotation]:
    """What people said and did not take back, oldest first."""
    return select(
        connection,
        Annotation,
        """
        SELECT n.* FROM annotation n WHERE n.run_id = ?1 AND (?2 IS NULL OR n.example_id = ?2)
          AND n.kind <> 'undo' AND NOT EXISTS (SELECT 1 FROM annotation u WHERE u.undoes = n.id)
        ORDER BY n.id
        """,
        run_id,
        example_id,
    )


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

    Words alone decide, so it costs a pass over the run's queries and no model. A word counts by how many
    tagged examples have it and how few of the run's; one that is in half of the run's examples or more says
    nothing.
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
