"""The rows behind a model's numbers, example by example: what comparing two runs rests on."""

import gc
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from store.read.history import Connection
from store.read.query import select
from store.read.rows import ExampleRow
from store.records.results import AnswerContent, StoredResponse, StoredSample

ScoreParts = tuple[int, float] | tuple[int, float, str | None]
"""An example's row id, its value, and its additive parts as JSON; none stand for (value, 1)."""


@dataclass(frozen=True, slots=True)
class BenchmarkValueRow:
    task: str
    metric: str
    filter: str
    doc_id: int
    prompt_hash: str
    target_hash: str
    value: float | None


@dataclass(frozen=True, slots=True)
class OutcomeRow:
    example_id: int
    outcome: str  # win loss tie failed


def run_examples(connection: Connection, run_id: int) -> list[ExampleRow]:
    """The examples that a run evaluates, in its order."""
    return select(
        connection,
        ExampleRow,
        "SELECT e.*, x.split FROM runexample x JOIN example e ON e.id = x.example_id "
        "WHERE x.run_id = ? ORDER BY x.position",
        run_id,
    )


def examples_by_name(connection: Connection, run_id: int) -> dict[str, int]:
    """The row ids of the examples that a run evaluates, by the examples' own ids, in the run's order."""
    rows = _bare(
        connection,
        "SELECT e.example, e.id FROM runexample x JOIN example e ON e.id = x.example_id "
        "WHERE x.run_id = ? ORDER BY x.position",
        run_id,
    )
    return dict(rows)


def in_split(connection: Connection, run_id: int, split: str) -> set[str]:
    """The ids of the examples of a run that are in one of its splits."""
    rows = _bare(
        connection,
        "SELECT e.example FROM runexample x JOIN example e ON e.id = x.example_id "
        "WHERE x.run_id = ? AND x.split = ?",
        run_id,
        split,
    )
    return {name for (name,) in rows}


def contents(connection: Connection, ids: Iterable[int]) -> dict[int, ExampleRow]:
    """What those examples say, by row id."""
    chosen = json.dumps(list(ids))
    rows = select(
        connection,
        ExampleRow,
        "SELECT e.*, NULL AS split FROM example e WHERE e.id IN (SELECT value FROM json_each(?))",
        chosen,
    )
    return {row.id: row for row in rows}


def answers(connection: Connection, model_id: int) -> dict[int, list[AnswerContent]]:
    """All that a model answered, by example: the first sample, then the further ones."""
    found: dict[int, list[AnswerContent]] = {}
    for row in (
        *select(connection, StoredResponse, "SELECT * FROM response WHERE model_id = ?", model_id),
        *select(
            connection, StoredSample, "SELECT * FROM sample WHERE model_id = ? ORDER BY sample", model_id
        ),
    ):
        found.setdefault(row.example_id, []).append(row)
    return found


def scores(connection: Connection, model_id: int) -> Iterator[tuple[str, list[ScoreParts]]]:
    """The scores of one model that have a value, measure by measure, in the order of the examples' rows."""
    # Asking for each measure by its name is half the cost of reading the name with every row.
    measures = _bare(
        connection,
        """
        WITH RECURSIVE found(name) AS (
          SELECT min(measure) FROM score WHERE model_id = ?1
          UNION ALL
          SELECT (SELECT min(measure) FROM score WHERE model_id = ?1 AND measure > name)
          FROM found WHERE name IS NOT NULL)
        SELECT name FROM found WHERE name IS NOT NULL
        """,
        model_id,
    )
    of_parts = "SELECT DISTINCT measure FROM score WHERE model_id = ? AND parts IS NOT NULL"
    with_parts = {measure for (measure,) in _bare(connection, of_parts, model_id)}
    for (measure,) in measures:
        columns = "example_id, value" + (", parts" if measure in with_parts else "")
        sql = f"SELECT {columns} FROM score WHERE model_id = ? AND measure = ? AND value IS NOT NULL"
        yield measure, _bare(connection, sql, model_id, measure)


def measure_values(connection: Connection, model_id: int, measure: str) -> list[float]:
    """One model's values of one measure that there are, in the order of the examples' rows."""
    sql = "SELECT value FROM score WHERE model_id = ? AND measure = ? AND value IS NOT NULL"
    return [row[0] for row in _bare(connection, sql, model_id, measure)]


def _bare(connection: Connection, sql: str, *values: Any) -> list[Any]:
    """Rows as plain tuples: hundreds of thousands of them stand behind one comparison.

    Meanwhile nothing is looked through for cycles, which tuples of numbers cannot form: a third of the time.
    """
    cursor = connection.cursor()
    cursor.row_factory = None
    collecting = gc.isenabled()
    gc.disable()
    try:
        return cursor.execute(sql, values).fetchall()
    finally:
        if collecting:
            gc.enable()


def benchmark_values(connection: Connection, model_id: int) -> list[BenchmarkValueRow]:
    """Every benchmark question of one model, with the hashes that say which may be paired."""
    return select(connection, BenchmarkValueRow, "SELECT * FROM benchmarksample WHERE model_id = ?", model_id)


def outcomes(connection: Connection, judge_id: int, candidate_id: int, baseline_id: int) -> list[OutcomeRow]:
    """One judge's verdicts on one pair of models."""
    return select(
        connection,
        OutcomeRow,
        "SELECT * FROM verdict WHERE judge_id = ? AND candidate_id = ? AND baseline_id = ? AND turn = 0",
        judge_id,
        candidate_id,
        baseline_id,
    )
