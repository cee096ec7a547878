"""All that a run holds about answers and judging, for those who write it out in another tool's form."""

from dataclasses import dataclass
from typing import Any

from store.read.history import Connection
from store.read.query import mappings


@dataclass(frozen=True, slots=True)
class RunContent:
    """Rows as the store has them, with names instead of ids where another row is meant."""

    name: str
    models: list[dict[str, Any]]
    examples: list[dict[str, Any]]
    responses: list[dict[str, Any]]
    judges: list[dict[str, Any]]
    judgments: list[dict[str, Any]]
    ratings: list[dict[str, Any]]
    verdicts: list[dict[str, Any]]


def run_content(connection: Connection, run_id: int) -> RunContent:
    """Everything in one run, in the order of its examples."""

    def rows(query: str) -> list[dict[str, Any]]:
        return list(mappings(connection, query, run_id))

    pair = (
        "JOIN judge j ON j.id = x.judge_id JOIN model c ON c.id = x.candidate_id "
        "JOIN model b ON b.id = x.baseline_id JOIN example e ON e.id = x.example_id "
        "JOIN runexample p ON p.run_id = j.run_id AND p.example_id = x.example_id WHERE j.run_id = ? "
        "ORDER BY j.id, c.position, b.position, p.position, x.turn"
    )
    sides = "j.name AS judge, c.name AS candidate, b.name AS baseline, e.example AS example"
    return RunContent(
        name=str(connection.execute("SELECT name FROM run WHERE id = ?", (run_id,)).fetchone()["name"]),
        models=rows("SELECT * FROM model WHERE run_id = ? ORDER BY position"),
        examples=rows(
            "SELECT e.* FROM runexample p JOIN example e ON e.id = p.example_id WHERE p.run_id = ? "
            "ORDER BY p.position"
        ),
        responses=rows(
            "SELECT r.*, m.name AS model, e.example AS example FROM response r "
            "JOIN model m ON m.id = r.model_id JOIN example e ON e.id = r.example_id "
            "JOIN runexample p ON p.run_id = m.run_id AND p.example_id = r.example_id "
            "WHERE m.run_id = ? ORDER BY m.position, p.position"
        ),
        judges=rows("SELECT * FROM judge WHERE run_id = ? ORDER BY id"),
        judgments=rows(f"SELECT x.*, {sides} FROM judgment x {pair}, x.id"),
        ratings=rows(
            "SELECT x.*, j.name AS judge, m.name AS model, e.example AS example FROM rating x "
            "JOIN judge j ON j.id = x.judge_id JOIN model m ON m.id = x.model_id "
            "JOIN example e ON e.id = x.example_id "
            "JOIN runexample p ON p.run_id = j.run_id AND p.example_id = x.example_id "
            "WHERE j.run_id = ? ORDER BY j.id, m.position, p.position, x.turn"
        ),
        verdicts=rows(f"SELECT x.*, {sides} FROM verdict x {pair}"),
    )
