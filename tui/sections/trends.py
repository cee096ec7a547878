"""The main measures of a run's candidates over earlier runs of the same name."""

from collections.abc import Sequence
from dataclasses import dataclass

from store.read.history import Connection
from store.read.rows import RunDetail, WinRateRow
from store.read.trends import Point, breaks, trend
from tui.sections.measures import MeasuresSection

MOST = 8  # measures of each candidate
RUNS = 30  # of a trend


@dataclass(frozen=True, slots=True)
class MeasureTrend:
    """One measure of a candidate from run to run, oldest first; `breaks` say where values do not compare."""

    candidate: str
    measure: str
    points: Sequence[Point]
    breaks: Sequence[str | None]


def trends(
    connection: Connection, run: RunDetail, found: MeasuresSection, win_rates: Sequence[WinRateRow]
) -> tuple[MeasureTrend, ...]:
    """The win rates and main measures of each candidate; only those that an earlier run has, too."""
    drawn = []
    for candidate, main in found.main.items():
        rates = [
            f"win rate over {row.baseline} ({row.judge})"
            for row in win_rates
            if row.candidate == candidate and row.turn == 0
        ]
        for measure in [*rates, *main][:MOST]:
            points = trend(connection, measure, (("name", run.name),), candidate=candidate)
            points = [point for point in points if point.run_id <= run.id][-RUNS:]
            if len(points) > 1:
                drawn.append(MeasureTrend(candidate, measure, points, breaks(points)))
    return tuple(drawn)
