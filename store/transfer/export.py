"""All that one run holds, as plain records with names instead of ids: what leaves the store as files."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from store import records as what
from store.read.history import Connection
from store.read.query import mappings
from store.records.columns import HERE, Record, columns


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


def _of(record: type[Record], *left_out: str) -> str:
    """The record's own columns; what only its store or its machine knows is left to names, or left out."""
    kept = [
        f'x."{column.name}"'
        for column in columns(record)
        if HERE not in column.hints and column.name not in ("id", "position", *left_out)
    ]
    return ", ".join(name for name in kept if not name.endswith('_id"'))


_SELECT = "SELECT r.id AS run, r.name AS run_name"
_RUN = "JOIN run r ON r.id = x.run_id"
_MODEL = "JOIN model m ON m.id = x.model_id JOIN run r ON r.id = m.run_id"
_JUDGE = "JOIN judge j ON j.id = x.judge_id JOIN run r ON r.id = j.run_id"
_EXAMPLE = "JOIN example e ON e.id = x.example_id"
_VARIANT = "e.example, v.perturbation"
_OF_VARIANT = "JOIN variant v ON v.id = x.variant_id JOIN example e ON e.id = v.example_id"
_SIDES = "JOIN model c ON c.id = x.candidate_id JOIN model b ON b.id = x.baseline_id"
_PAIR = "c.name AS candidate, b.name AS baseline"
_GRADER = "j.name AS judge, j.prompt_hash"
_OF_RUN = "WHERE r.id = ?"
# Where a run stood while it ran.
_PASSING = (
    "name", "request", "waiting", "concurrency", "deleted", "phase", "plan_folder", "worker_host",
    "heartbeat",
)  # fmt: skip

# By the file's name: one run's records, in a stable order.
QUERIES = {
    "runs": f"{_SELECT}, {_of(what.Run, *_PASSING)} FROM run x JOIN run r ON r.id = x.id {_OF_RUN}",
    "models": f"""
        {_SELECT}, x.name AS model, {_of(what.StoredModel, "name")} FROM model x {_RUN} {_OF_RUN}
        ORDER BY x.position""",
    "examples": f"""
        {_SELECT}, p.split, {_of(what.StoredExample)} FROM runexample p JOIN example x ON x.id = p.example_id
        JOIN run r ON r.id = p.run_id {_OF_RUN} ORDER BY p.position""",
    "responses": f"""
        {_SELECT}, m.name AS model, e.example, {_of(what.StoredResponse)} FROM response x {_MODEL} {_EXAMPLE}
        {_OF_RUN} ORDER BY m.position, x.example_id""",
    "samples": f"""
        {_SELECT}, m.name AS model, e.example, {_of(what.StoredSample)} FROM sample x {_MODEL} {_EXAMPLE}
        {_OF_RUN} ORDER BY m.position, x.example_id, x.sample""",
    "variants": f"""
        {_SELECT}, e.example, {_of(what.StoredVariant)} FROM variant x {_EXAMPLE} {_RUN} {_OF_RUN}
        ORDER BY x.id""",
    "variant_answers": f"""
        {_SELECT}, m.name AS model, {_VARIANT}, {_of(what.StoredVariantAnswer)}
        FROM variantanswer x {_MODEL} {_OF_VARIANT} {_OF_RUN} ORDER BY m.position, x.variant_id, x.sample""",
    "variant_scores": f"""
        {_SELECT}, m.name AS model, {_VARIANT}, {_of(what.StoredVariantScore)}
        FROM variantscore x {_MODEL} {_OF_VARIANT} {_OF_RUN} ORDER BY m.position, x.measure, x.variant_id""",
    "scores": f"""
        {_SELECT}, m.name AS model, e.example, {_of(what.StoredScore)} FROM score x {_MODEL} {_EXAMPLE}
        {_OF_RUN} ORDER BY m.position, x.measure, x.example_id""",
    "measures": f"""
        {_SELECT}, m.name AS model, {_of(what.ModelScore)}, d.version, d.direction, d.settings
        FROM modelscore x {_MODEL} LEFT JOIN metric d ON d.run_id = r.id AND d.measure = x.measure {_OF_RUN}
        ORDER BY m.position, x.measure""",
    "judgments": f"""
        {_SELECT}, {_GRADER}, {_PAIR}, e.example, {_of(what.StoredJudgment)}
        FROM judgment x {_JUDGE} {_SIDES} {_EXAMPLE} {_OF_RUN} ORDER BY x.id""",
    "verdicts": f"""
        {_SELECT}, j.name AS judge, {_PAIR}, e.example, {_of(what.Verdict)}
        FROM verdict x {_JUDGE} {_SIDES} {_EXAMPLE} {_OF_RUN}
        ORDER BY x.judge_id, x.candidate_id, x.baseline_id, x.example_id, x.turn""",
    "ratings": f"""
        {_SELECT}, {_GRADER}, m.name AS model, e.example, {_of(what.StoredRating)}
        FROM rating x {_JUDGE} JOIN model m ON m.id = x.model_id {_EXAMPLE} {_OF_RUN} ORDER BY x.id""",
    "comparisons": f"""
        {_SELECT}, {_PAIR}, {_of(what.StoredComparison)}
        FROM comparison x {_SIDES} JOIN run r ON r.id = c.run_id {_OF_RUN}
        ORDER BY c.position, b.position, x.kind, x.measure""",
    "benchmarks": f"""
        {_SELECT}, m.name AS model, {_of(what.StoredBenchmarkScore)} FROM benchmarkscore x {_MODEL} {_OF_RUN}
        ORDER BY m.position, x.task, x.metric, x.filter""",
    "alerts": f"{_SELECT}, {_of(what.StoredAlert, 'follows')} FROM alert x {_RUN} {_OF_RUN} ORDER BY x.id",
    "annotations": f"""
        {_SELECT}, e.example, l.name AS "left", g.name AS "right", x.id AS number, {_of(what.Annotation)}
        FROM annotation x {_EXAMPLE} {_RUN} LEFT JOIN model l ON l.id = x.left_id
        LEFT JOIN model g ON g.id = x.right_id {_OF_RUN} ORDER BY x.id""",
}


def records(connection: Connection, run_id: int, kind: str) -> Iterator[dict[str, Any]]:
    """One kind of a run's records, one by one."""
    return mappings(connection, QUERIES[kind], run_id)
