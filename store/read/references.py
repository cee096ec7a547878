"""Earlier runs that a run may be held against. Standard library only, like `store.read.history`."""

from dataclasses import dataclass
from typing import Annotated

from store.read.history import Connection
from store.read.query import select
from store.records.alert import Evidence, read_evidence
from store.records.columns import PARSED

ACCEPTED, BEST = REFERENCES = ("accepted", "best")  # what a run can be held against, beside another run


@dataclass(frozen=True, slots=True)
class Best:
    """The candidate of an earlier run that stands highest on a measure."""

    run_id: int
    candidate: str
    value: float


def best(connection: Connection, run_id: int, measure: str, *, lower: bool = False) -> Best | None:
    """The best candidate that passed in an earlier run of the same name, measured in the same way.

    The same version and settings of the measure, on the same version of the eval set; `lower`: less is
    better. Of equals the newest.
    """
    found = select(
        connection,
        Best,
        f"""
        SELECT r.id AS run_id, m.name AS candidate, s.value FROM run me
        JOIN run r ON r.name = me.name AND r.id < me.id AND r.eval_set = me.eval_set
          AND r.deleted IS NULL
        JOIN metric mine ON mine.run_id = me.id AND mine.measure = ?2
        JOIN metric d ON d.run_id = r.id AND d.measure = ?2 AND d.version = mine.version
          AND d.settings IS mine.settings
        JOIN model m ON m.run_id = r.id AND m.role = 'candidate' AND m.passed
        JOIN modelscore s ON s.model_id = m.id AND s.measure = ?2 AND s.value IS NOT NULL
        WHERE me.id = ?1 ORDER BY s.value {"ASC" if lower else "DESC"}, r.id DESC LIMIT 1
        """,
        run_id,
        measure,
    )
    return found[0] if found else None


@dataclass(frozen=True, slots=True)
class Seen:
    """An alert of an earlier run that somebody acknowledged."""

    id: int
    run_id: int
    severity: str
    kind: str
    candidate: str
    baseline: str | None
    measure: str
    evidence: Annotated[Evidence, PARSED]  # of the type that its kind has
    acknowledged: float
    acknowledged_by: str
    note: str | None

    def __post_init__(self) -> None:
        if not isinstance(self.evidence, Evidence):
            object.__setattr__(self, "evidence", read_evidence(self.kind, self.evidence))


def acknowledged(connection: Connection, run_id: int) -> list[Seen]:
    """Acknowledged alerts of the earlier runs of the same name, the newest first."""
    return select(
        connection,
        Seen,
        """
        SELECT a.* FROM run me JOIN run r ON r.name = me.name AND r.id < me.id AND r.deleted IS NULL
        JOIN alert a ON a.run_id = r.id AND a.acknowledged IS NOT NULL
        WHERE me.id = ? ORDER BY a.run_id DESC, a.id DESC
        """,
        run_id,
    )
