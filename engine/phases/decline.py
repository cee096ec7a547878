"""Part of the last phase: this run at the end of the history of its name, looked at for slow degradation."""

from collections.abc import Iterator, Mapping, Sequence

from engine.compare.comparison import Comparison
from engine.gates.downtrend import SHORTEST, MeasureSeries, downtrend_alerts
from engine.metrics.metric import Measure
from engine.phases.work import Work
from engine.plan.plan import Gates
from store.read import runs, trends
from store.read.history import Connection
from store.read.runs import Words
from store.records.alert import Alert
from store.session import opened

_WINDOW = 60  # newest runs of the name that are looked at


def decline_alerts(
    work: Work, measures: Mapping[str, Measure], comparisons: Sequence[Comparison]
) -> list[Alert]:
    """Alerts on measures that got worse over many runs of this name that were measured in the same way."""
    named = (("name", work.recorder.run()["name"]),)
    with opened(work.store) as connection:
        if runs.count(connection, named) < SHORTEST:
            return []
        return downtrend_alerts(list(_series(work, connection, named, measures, comparisons)))


def _series(
    work: Work,
    connection: Connection,
    named: Words,
    measures: Mapping[str, Measure],
    comparisons: Sequence[Comparison],
) -> Iterator[MeasureSeries]:
    directions = {(item.candidate, item.measure): item for item in comparisons if item.delta is not None}
    first = work.plan.candidates[0].name
    for (candidate, name), item in directions.items():
        if item.direction == "none":
            continue
        points = _points(connection, work, named, name, candidate, is_first=candidate == first)
        values = tuple(value for value, _ in points)
        limit = _limit(item, measures.get(name), values[0], work.plan.gates) if values else None
        if limit is not None:
            ids = tuple(run_id for _, run_id in points)
            yield MeasureSeries(candidate, name, item.direction == "lower", limit, values, ids)


def _points(
    connection: Connection, work: Work, named: Words, measure: str, candidate: str, *, is_first: bool
) -> list[tuple[float, int]]:
    """Values and runs, oldest first, up to this run: of the candidate of that name, or of each run's first.

    Names often change from run to run ("lora-v3", "lora-v4"); then the first candidate stands for its run.
    """
    for only in (candidate, None) if is_first else (candidate,):
        found = trends.trend(connection, measure, named, candidate=only, limit=_WINDOW)
        found = [point for point in found if point.run_id <= work.recorder.run_id]
        if len(found) > 1 and found[-1].run_id == work.recorder.run_id:
            alike = [point for point in found if point.conditions == found[-1].conditions]
            return [(point.value, point.run_id) for point in alike if point.value is not None]
    return []


def _limit(item: Comparison, measure: Measure | None, at: float, gates: Gates) -> float | None:
    """The fall that the plan allows at once, in the measure's unit; None where no gate is about it."""
    if item.measure in gates.metrics:
        return gates.metrics[item.measure].max * abs(at)
    if item.measure.partition(":")[0] in ("perplexity", "bits_per_byte"):
        return gates.max_perplexity_rise * abs(at)
    if item.kind == "benchmark":
        return gates.max_benchmark_drop * (1.0 if 0 <= at <= 1 else abs(at))
    if measure is None or measure.low is None or measure.high is None:
        return None
    return gates.max_metric_drop * (measure.high - measure.low)
