"""What is known of a run's judges: what they are, what they cost, what they lean to, how they rank."""

from dataclasses import dataclass
from typing import Any

from store.history import Connection
from store.rows import fetch


@dataclass(frozen=True, slots=True)
class JudgeRow:
    """One judge with what it did; `cost` in US dollars of the calls made in this run, None where unknown."""

    id: int
    name: str
    kind: str
    is_language_model: bool
    prompt_hash: str
    details: dict[str, Any] | None  # the facts that decide its judgments
    calls: int
    failed: int
    from_cache: int
    tokens_in: int | None
    tokens_out: int | None
    cost: float | None
    unpriced: int  # calls of which the cost is not known
    seconds: float | None  # mean time of an answered call
    reported_models: str | None  # what the server called itself, joined by ", "


@dataclass(frozen=True, slots=True)
class AuditRow:
    judge: str
    measure: str
    subject: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    reason: str | None


@dataclass(frozen=True, slots=True)
class RankingRow:
    judge: str
    model: str
    strength: float | None
    low: float | None
    high: float | None
    n: int
    reason: str | None


_CALLS = (
    "SELECT judge_id, failure, cached, tokens_in, tokens_out, cost, latency_s, reported_model, is_call FROM "
    "(SELECT judge_id, failure, cached, tokens_in, tokens_out, cost, latency_s, reported_model, 1 AS is_call "
    "FROM judgment UNION ALL SELECT judge_id, failure, cached, tokens_in, tokens_out, cost, latency_s, "
    "reported_model, 1 FROM rating)"
)


def judges(connection: Connection, run_id: int) -> list[JudgeRow]:
    """The judges of a run, panels and cascades last."""
    return fetch(
        connection,
        JudgeRow,
        f"""
        SELECT j.id, j.name, j.kind, j.is_language_model, j.prompt_hash, j.details,
            count(c.is_call) AS calls, coalesce(sum(c.failure IS NOT NULL), 0) AS failed,
            coalesce(sum(c.cached), 0) AS from_cache, sum(c.tokens_in) AS tokens_in,
            sum(c.tokens_out) AS tokens_out, sum(CASE WHEN c.cached THEN 0 ELSE c.cost END) AS cost,
            coalesce(sum(c.is_call AND NOT c.cached AND c.cost IS NULL), 0) AS unpriced,
            avg(CASE WHEN c.cached THEN NULL ELSE c.latency_s END) AS seconds,
            group_concat(DISTINCT c.reported_model) AS reported_models
        FROM judge j LEFT JOIN ({_CALLS}) c ON c.judge_id = j.id
        WHERE j.run_id = ? GROUP BY j.id ORDER BY j.id
        """,
        run_id,
    )


def audits(connection: Connection, run_id: int) -> list[AuditRow]:
    """Everything known about the run's judges themselves."""
    return fetch(
        connection,
        AuditRow,
        "SELECT j.name AS judge, a.measure, a.subject, a.value, a.low, a.high, a.n, a.reason "
        "FROM audit a JOIN judge j ON j.id = a.judge_id WHERE j.run_id = ? "
        "ORDER BY j.id, a.subject, a.measure",
        run_id,
    )


def rankings(connection: Connection, run_id: int) -> list[RankingRow]:
    """How each judge of pairs ranks the models, the strongest first."""
    return fetch(
        connection,
        RankingRow,
        "SELECT j.name AS judge, m.name AS model, r.strength, r.low, r.high, r.n, r.reason "
        "FROM ranking r JOIN judge j ON j.id = r.judge_id JOIN model m ON m.id = r.model_id "
        "WHERE j.run_id = ? AND r.turn = 0 ORDER BY j.id, r.strength IS NULL, r.strength DESC",
        run_id,
    )
