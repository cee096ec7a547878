"""Everything that a report is made of: the numbers, the decision, the examples, the past, the protocol."""

from collections.abc import Sequence
from dataclasses import dataclass

from engine.decision.decision import Verdict, decide
from engine.decision.families import family_of
from store.read import history
from store.read.history import Connection
from store.read.rows import AlertRow
from store.read.trends import Point, breaks, trend
from tui.sections.cases import Case, behind
from tui.sections.protocol import Section, protocol
from tui.sections.summary import Summary, gather

TOLD = 30  # alerts whose examples are shown
TRENDS = 8  # measures whose past is shown for each candidate
PAST = 30  # runs of a trend


@dataclass(frozen=True, slots=True)
class Trend:
    """One measure of a candidate from run to run, oldest first; `breaks` say where values do not compare."""

    candidate: str
    measure: str
    points: Sequence[Point]
    breaks: Sequence[str | None]


@dataclass(frozen=True, slots=True)
class Report:
    summary: Summary
    verdicts: Sequence[Verdict]
    cases: dict[int, list[Case]]  # by the id of the alert that they stand behind
    trends: Sequence[Trend]
    protocol: Sequence[Section]
    test_uses: int  # how often the test split of its eval set was used

    def cases_of(self, alert: AlertRow) -> list[Case]:
        return self.cases.get(alert.id, [])


def collect(connection: Connection, run_id: int) -> Report:
    """Reads one run for a report. Raises StoreError when there is no such run."""
    summary = gather(connection, run_id)
    uses = history.split_uses(connection, summary.run.eval_set) if summary.run.eval_set else []
    return Report(
        summary=summary,
        verdicts=decide(connection, run_id),
        cases={alert.id: behind(connection, alert) for alert in summary.alerts[:TOLD]},
        trends=_trends(connection, summary),
        protocol=protocol(summary, uses),
        test_uses=len(summary.test_uses),
    )


def main_measures(summary: Summary, candidate: str) -> list[str]:
    """What a short table tells of a candidate: what its alerts name, then the first of every family."""
    compared = {
        row.measure for row in summary.comparisons if row.candidate == candidate and row.delta is not None
    }
    alarmed = [alert.measure for alert in summary.alerts_of(candidate) if alert.measure in compared]
    first: dict[str, str] = {}
    for row in summary.comparisons:
        if row.candidate == candidate and row.kind == "metric" and row.delta is not None:
            first.setdefault(family_of(row.measure, summary.sources.get(row.measure, "")), row.measure)
    first.pop("efficiency", None)
    benchmarks = [
        row.measure for row in summary.comparisons if row.candidate == candidate and row.kind == "benchmark"
    ]
    return list(dict.fromkeys([*alarmed, *first.values(), *benchmarks]))


def _trends(connection: Connection, summary: Summary) -> list[Trend]:
    """The past of the main measures in runs of the same name, where there is one."""
    run = summary.run
    found = []
    for model in summary.candidates:
        names = [
            f"win rate over {row.baseline} ({row.judge})"
            for row in summary.win_rates
            if row.candidate == model.name and row.turn == 0
        ]
        for measure in [*names, *main_measures(summary, model.name)][:TRENDS]:
            points = trend(connection, measure, (("name", run.name),), candidate=model.name)
            points = [point for point in points if point.run_id <= run.id][-PAST:]
            if len(points) > 1:
                found.append(Trend(model.name, measure, points, breaks(points)))
    return found
