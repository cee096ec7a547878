"""The rows behind a model's numbers, example by example: what comparing two runs rests on."""

import json
from collections.abc import Iterable
from dataclasses import dataclass

from store.history import Connection
from store.rows import ExampleRow, fetch


@dataclass(frozen=True, slots=True)
class ScorePartsRow:
    example_id: int
    measure: str
    value: float | None
    parts: list[float] | None  # None stands for (value, 1)


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
    return fetch(
        connection,
        ExampleRow,
        "SELECT e.*, x.split FROM runexample x JOIN example e ON e.id = x.example_id "
        "WHERE x.run_id = ? ORDER BY x.position",
        run_id,
    )


def score_parts(connection: Connection, model_id: int) -> list[ScorePartsRow]:
    """Every score of one model, missing ones included."""
    return fetch(connection, ScorePartsRow, "SELECT * FROM score WHERE model_id = ?", model_id)


def benchmark_values(connection: Connection, model_id: int) -> list[BenchmarkValueRow]:
    """Every benchmark question of one model, with the hashes that say which may be paired."""
    return fetch(connection, BenchmarkValueRow, "SELECT * FROM benchmarksample WHERE model_id = ?", model_id)


def outcomes(connection: Connection, judge_id: int, candidate_id: int, baseline_id: int) -> list[OutcomeRow]:
    """One judge's verdicts on one pair of models."""
    return fetch(
        connection,
        OutcomeRow,
        "SELECT * FROM verdict WHERE judge_id = ? AND candidate_id = ? AND baseline_id = ? AND turn = 0",
        judge_id,
        candidate_id,
        baseline_id,
    )


def example_names(connection: Connection, ids: Iterable[int]) -> dict[int, str]:
    """The examples' own ids, by their ids in the store."""
    wanted = json.dumps(list(ids))
    rows = connection.execute(
        "SELECT id, example FROM example WHERE id IN (SELECT value FROM json_each(?))", (wanted,)
    )
    return {int(row[0]): str(row[1]) for row in rows}
