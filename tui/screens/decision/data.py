"""What the Decision screen reads: the verdicts, and where the evidence behind each of them is."""

from dataclasses import dataclass

from engine.decision.changes import read_before
from engine.decision.decision import Verdict, verdicts
from engine.decision.facts import Case, cases, read
from store.read.history import Connection
from store.records.alert import kind_of


@dataclass(frozen=True, slots=True)
class Lead:
    """Where to look for one candidate; `task` is the benchmark that it lost most of, with the baseline."""

    candidate: str
    base: str | None
    prompted: str | None
    measure: str | None  # by which its answers are worst
    against: str | None  # the baseline that they are worst against
    task: tuple[str, str] | None


@dataclass(frozen=True, slots=True)
class Page:
    verdicts: list[Verdict]
    leads: list[Lead]
    before: int | None  # the run that changes are told against


def read_page(connection: Connection, run_id: int) -> Page:
    found, before = cases(read(connection, run_id)), read_before(connection, run_id)
    return Page(verdicts(found, before), list(map(_lead, found)), before.run.id if before else None)


def _lead(case: Case) -> Lead:
    base = case.base.name if case.base else None
    measures = [row.measure for row in case.changes(case.base) if row.kind == "metric"] if case.base else []
    critical = [alert for alert in case.alerts("critical") if alert.acknowledged is None]
    fallen = next((alert for alert in critical if kind_of(alert.kind).opens == "worst answers"), None)
    forgot = [
        alert for alert in critical if kind_of(alert.kind).opens == "benchmark questions" and alert.baseline
    ]
    worst = min(forgot, key=lambda alert: getattr(alert.evidence, "delta", None) or 0.0, default=None)
    return Lead(
        case.name,
        base,
        case.prompted[0].name if case.prompted else None,
        fallen.measure if fallen else next(iter(measures), None),
        (fallen.baseline if fallen else None) or base,
        # A benchmark's measure is named "task · metric".
        (worst.measure.partition(" · ")[0], worst.baseline or "") if worst else None,
    )
