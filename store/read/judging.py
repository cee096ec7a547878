"""What is known of a run's judges: what they are, what they cost, what they lean to, how they rank."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from store.read import history
from store.read.history import Connection
from store.read.query import select
from store.read.rows import WinRateRow
from store.records.results import MeanValue


@dataclass(frozen=True, slots=True)
class JudgeUse:
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
    unpriced: int  # answered calls of which the cost is not known
    seconds: float | None  # mean time of an answered call
    reported_models: str | None  # what the server called itself, joined by ", "

    @property
    def parts(self) -> tuple[str, ...]:
        """The judges that a panel or a cascade is made of; none for one that grades by itself."""
        return tuple((self.details or {}).get("parts") or ())


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
    details: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class RatingCount:
    """So many of a model's scores by a judge: with a value where `reason` is None."""

    judge: str
    model: str
    n: int
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanRow(MeanValue):
    """One model's mean score by one judge of single responses, on the judge's own scale."""

    judge: str
    model: str


@dataclass(frozen=True, slots=True)
class JudgeFailure:
    """How many of a judge's calls failed for one reason."""

    judge: str
    failure: str
    calls: int


@dataclass(frozen=True, slots=True)
class SharedRow:
    """What two judges of pairs have in common: the verdicts that both gave, and how many are alike."""

    one: str
    other: str
    alike: int
    n: int


@dataclass(frozen=True, slots=True)
class DisputeRow:
    """One pair, or one response (`baseline` is None), that two judges see differently.

    What they said is an outcome for the candidate or a score; `gap` is a share of the whole scale.
    """

    one: str
    other: str
    candidate: str
    baseline: str | None
    example_id: int
    example: str
    query: str
    turn: int
    said: str
    other_said: str
    gap: float


@dataclass(frozen=True, slots=True)
class RankingRow:
    judge: str
    model: str
    strength: float | None
    low: float | None
    high: float | None
    n: int
    reason: str | None


@dataclass(frozen=True, slots=True)
class JudgingResults:
    """All that a run's judges come to."""

    judges: list[JudgeUse]
    win_rates: list[WinRateRow]  # over whole answers first, then turn by turn
    means: list[MeanRow]
    audits: list[AuditRow]
    rankings: list[RankingRow]
    failures: list[JudgeFailure]
    shared: list[SharedRow]


_CALLS = (
    "SELECT judge_id, failure, cached, tokens_in, tokens_out, cost, latency_s, reported_model, is_call FROM "
    "(SELECT judge_id, failure, cached, tokens_in, tokens_out, cost, latency_s, reported_model, 1 AS is_call "
    "FROM judgment UNION ALL SELECT judge_id, failure, cached, tokens_in, tokens_out, cost, latency_s, "
    "reported_model, 1 FROM rating)"
)


def judging(connection: Connection, run_id: int) -> JudgingResults:
    """Everything about the judges of one run."""
    known = judges(connection, run_id)
    return JudgingResults(
        known,
        history.win_rates(connection, run_id, turns=True),
        means(connection, run_id),
        audits(connection, run_id),
        rankings(connection, run_id),
        failures(connection, run_id),
        shared(connection, known),
    )


def judges(connection: Connection, run_id: int) -> list[JudgeUse]:
    """The judges of a run, panels and cascades last."""
    return select(
        connection,
        JudgeUse,
        f"""
        SELECT j.id, j.name, j.kind, j.is_language_model, j.prompt_hash, j.details,
            count(c.is_call) AS calls, coalesce(sum(c.failure IS NOT NULL), 0) AS failed,
            coalesce(sum(c.cached), 0) AS from_cache, sum(c.tokens_in) AS tokens_in,
            sum(c.tokens_out) AS tokens_out, sum(CASE WHEN c.cached THEN 0 ELSE c.cost END) AS cost,
            coalesce(sum(NOT c.cached AND c.cost IS NULL AND c.failure IS NULL), 0) AS unpriced,
            avg(CASE WHEN c.cached THEN NULL ELSE c.latency_s END) AS seconds,
            group_concat(DISTINCT c.reported_model) AS reported_models
        FROM judge j LEFT JOIN ({_CALLS}) c ON c.judge_id = j.id
        WHERE j.run_id = ? GROUP BY j.id ORDER BY j.id
        """,
        run_id,
    )


def audits(connection: Connection, run_id: int) -> list[AuditRow]:
    """Everything known about the run's judges themselves."""
    return select(
        connection,
        AuditRow,
        "SELECT j.name AS judge, a.measure, a.subject, a.value, a.low, a.high, a.n, a.reason, a.details "
        "FROM audit a JOIN judge j ON j.id = a.judge_id WHERE j.run_id = ? "
        "ORDER BY j.id, a.subject, a.measure",
        run_id,
    )


def rankings(connection: Connection, run_id: int) -> list[RankingRow]:
    """How each judge of pairs ranks the models, the strongest first."""
    return select(
        connection,
        RankingRow,
        "SELECT j.name AS judge, m.name AS model, r.strength, r.low, r.high, r.n, r.reason "
        "FROM ranking r JOIN judge j ON j.id = r.judge_id JOIN model m ON m.id = r.model_id "
        "WHERE j.run_id = ? AND r.turn = 0 ORDER BY j.id, r.strength IS NULL, r.strength DESC",
        run_id,
    )


def means(connection: Connection, run_id: int) -> list[MeanRow]:
    """The mean scores that judges of single responses gave."""
    return select(
        connection,
        MeanRow,
        """
        SELECT j.name AS judge, m.name AS model, s.value, s.low, s.high, s.n, s.missing, s.reason
        FROM judge j JOIN model m ON m.run_id = j.run_id
        JOIN modelscore s ON s.model_id = m.id AND s.measure = 'judge:' || j.name
        WHERE j.run_id = ? AND j.kind = 'pointwise' ORDER BY j.id, m.position
        """,
        run_id,
    )


def rating_counts(connection: Connection, run_id: int) -> list[RatingCount]:
    """Candidates' scores by judges of single responses, counted by why they are missing."""
    return select(
        connection,
        RatingCount,
        """
        SELECT j.name AS judge, m.name AS model, count(*) AS n,
          CASE WHEN s.value IS NULL THEN coalesce(s.reason, '') END AS reason
        FROM judge j JOIN model m ON m.run_id = j.run_id
        JOIN score s ON s.model_id = m.id AND s.measure = 'judge:' || j.name
        WHERE j.run_id = ? AND j.kind = 'pointwise' AND m.role = 'candidate'
        GROUP BY j.id, m.id, 4 ORDER BY j.id, m.position, min(s.example_id)
        """,
        run_id,
    )


def failures(connection: Connection, run_id: int) -> list[JudgeFailure]:
    """Why calls failed, the most frequent reason of each judge first."""
    return select(
        connection,
        JudgeFailure,
        """
        SELECT j.name AS judge, f.failure, count(*) AS calls FROM judge j JOIN (
          SELECT judge_id, failure FROM judgment WHERE failure IS NOT NULL
          UNION ALL SELECT judge_id, failure FROM rating WHERE failure IS NOT NULL) f ON f.judge_id = j.id
        WHERE j.run_id = ? GROUP BY j.id, f.failure ORDER BY j.id, calls DESC, f.failure
        """,
        run_id,
    )


def shared(connection: Connection, known: Sequence[JudgeUse]) -> list[SharedRow]:
    """For every two judges of pairs that grade by themselves: on how many verdicts they agree."""
    found = []
    for one, other in _couples(known, "pairwise"):
        alike, n = connection.execute(
            f"SELECT coalesce(sum(v.outcome = w.outcome), 0), count(*) {_BOTH_DECIDED}", (one.id, other.id)
        ).fetchone()
        found.append(SharedRow(one.name, other.name, int(alike), int(n)))
    return found


def disputes(connection: Connection, known: Sequence[JudgeUse], *, limit: int = 20) -> list[DisputeRow]:
    """What every two judges of one kind see most differently, the widest gaps first; `limit` for each two."""
    found = []
    for kind, query in (("pairwise", _DISPUTED_PAIRS), ("pointwise", _DISPUTED_SCORES)):
        for one, other in _couples(known, kind):
            values = (one.id, other.id, one.name, other.name, limit)
            scales = (*_scale(one), *_scale(other)) if kind == "pointwise" else ()
            found += select(connection, DisputeRow, query, *values, *scales)
    return sorted(found, key=lambda row: -row.gap)


def _couples(known: Sequence[JudgeUse], kind: str) -> Iterator[tuple[JudgeUse, JudgeUse]]:
    return combinations([judge for judge in known if judge.kind == kind and not judge.parts], 2)


def _scale(judge: JudgeUse) -> tuple[float, float]:
    """The ends of a judge's scale, which is stored as "1-10" or as both."""
    scale = (judge.details or {}).get("scale") or (1, 10)
    low, high = scale.split("-") if isinstance(scale, str) else scale
    return float(low), float(high)


_BOTH_DECIDED = (
    "FROM verdict v JOIN verdict w ON w.judge_id = ?2 AND w.candidate_id = v.candidate_id "
    "AND w.baseline_id = v.baseline_id AND w.example_id = v.example_id AND w.turn = v.turn "
    "WHERE v.judge_id = ?1 AND v.outcome <> 'failed' AND w.outcome <> 'failed'"
)
_POINTS = "CASE {}.outcome WHEN 'win' THEN 1.0 WHEN 'tie' THEN 0.5 ELSE 0.0 END"
_DISPUTED_PAIRS = f"""
    SELECT ?3 AS one, ?4 AS other, a.name AS candidate, b.name AS baseline, e.id AS example_id, e.example,
      substr(e.query, 1, 200) AS query, d.turn, d.said, d.other_said, d.gap
    FROM (SELECT v.candidate_id, v.baseline_id, v.example_id, v.turn, v.outcome AS said,
            w.outcome AS other_said, abs({_POINTS.format("v")} - {_POINTS.format("w")}) AS gap
          {_BOTH_DECIDED} AND v.outcome <> w.outcome ORDER BY gap DESC, v.turn, v.example_id LIMIT ?5) d
    JOIN model a ON a.id = d.candidate_id JOIN model b ON b.id = d.baseline_id
    JOIN example e ON e.id = d.example_id
"""
_DISPUTED_SCORES = """
    SELECT ?3 AS one, ?4 AS other, m.name AS candidate, NULL AS baseline, e.id AS example_id, e.example,
      substr(e.query, 1, 200) AS query, d.turn, d.said, d.other_said, d.gap
    FROM (SELECT v.model_id, v.example_id, v.turn, printf('%g', v.score) AS said,
            printf('%g', w.score) AS other_said,
            abs((v.score - ?6) / (?7 - ?6) - (w.score - ?8) / (?9 - ?8)) AS gap
          FROM rating v JOIN rating w ON w.judge_id = ?2 AND w.model_id = v.model_id
            AND w.example_id = v.example_id AND w.turn = v.turn
          WHERE v.judge_id = ?1 AND v.score IS NOT NULL AND w.score IS NOT NULL AND gap > 0
          ORDER BY gap DESC, v.turn, v.example_id LIMIT ?5) d
    JOIN model m ON m.id = d.model_id JOIN example e ON e.id = d.example_id
"""
