"""Watching production traffic: measures what is new, then makes a row of each variant's periods in one pass.

Memory holds one period's events, those of the reference, and the few periods that are looked at together.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

import numpy as np

from engine.data.example import Example
from engine.data.meaning import Embedder
from engine.traffic import alerts, drift, measures
from engine.traffic.periods import DAY, FEWEST, MEASURES, PeriodRow, TrafficFigure, TrafficWatch, start_of
from engine.traffic.reference import of_run
from engine.traffic.samples import Sample, figure, joined, sample_of, shifts
from store import monitor as writing
from store.read import monitor
from store.read.history import Connection
from store.read.monitor import Observed
from store.records import TrafficAlert

WEEK = 7  # days
REFERENCE = 4  # periods
NEWEST = 4  # periods whose questions are looked through for what the eval set lacks
YEAR = 366 * DAY  # for which a variant may be away; one event with a wrong clock makes no thousand rows
_PORTION = 20_000  # events that are made arrays of at a time
NO_EVENTS = "there is no production traffic in the store: `assay traffic import FILE` reads logs"


@dataclass(slots=True)
class _Series:
    """One variant's periods so far."""

    rows: list[PeriodRow] = field(default_factory=list)
    first: list[Sample] = field(default_factory=list)  # until they are enough for a reference
    reference: Sample | None = None
    recent: deque[Sample] = field(default_factory=lambda: deque(maxlen=max(alerts.WINDOWS)))
    looked: list[float] = field(default_factory=list)
    alarms: list[alerts.Alarm] = field(default_factory=list)


def watch(
    connection: Connection,
    *,
    days: int = 7,
    variant: str | None = None,
    evaluation: tuple[str, Sequence[Example]] | None = None,
    reference: int | str = REFERENCE,
    embedder: tuple[str, Embedder] | None = None,
    now: float | None = None,
    progress: Callable[[int], None] | None = None,
) -> TrafficWatch:
    """What production traffic tells; measures that are new and alerts are stored.

    `variant` is one of them, "" for events without one; `evaluation` an eval set with its name; `reference`
    what periods are held against: the number of each variant's first ones, or a run; `now` in seconds since
    1970. Raises BadInput for a run that has not one candidate, StoreError where there is no such run.
    """
    now = time.time() if now is None else now
    measured = measures.bring_up_to_date(connection, progress)
    starts = monitor.first_times(connection, days * DAY, start_of(0.0, days))
    if not starts:
        known = _known(connection, days, None, variant)
        return TrafficWatch(days, (), {}, "none yet", known, (), None, 0, (NO_EVENTS,))
    file, examples = evaluation or (None, ())
    periods = reference if isinstance(reference, int) else REFERENCE
    places = drift.places(connection, *_learning(starts, days, periods), examples, embedder)
    against: Sample | None = None
    if places:
        drift.place_questions(connection, places, progress)
        against = drift.sample_of_set(examples, places) if examples else None
    if isinstance(reference, str):
        fixed, said = of_run(connection, reference, places)
    else:
        fixed, said = None, _said(reference, days)
    sampled = _sampled(connection, days)
    every: dict[str, _Series] = {}
    for (start, name), sample in _periods(connection, days, variant):
        sample = replace(
            sample,
            sampled={
                measure: np.array(values, dtype=np.float64)
                for (begun, whose, measure), values in sampled.items()
                if (begun, whose) == (start, name)
            },
        )
        series = every.setdefault(name, _Series(reference=fixed))
        _add(series, name, start, days, sample, periods, now, against)
    known = _known(connection, days, said, variant)
    standing = {(alert.start, alert.variant, alert.measure): (alert.cause, alert.evidence) for alert in known}
    for name, series in every.items():
        for alert in alerts.episodes(series.alarms, series.looked, name, days, said, known):
            told = (alert.cause, alert.evidence)
            if standing.get((alert.start, name, alert.measure)) != told:
                writing.raise_alert(connection, alert)
    newest = starts[-1][0]
    return TrafficWatch(
        days=days,
        rows=[row for name in sorted(every) for row in every[name].rows],
        references={
            name: _row(series.reference, name, series.rows[0].start, days, is_reference=True)
            for name, series in every.items()
            if series.reference is not None
        },
        reference=said,
        alerts=_known(connection, days, said, variant),
        uncovered=drift.uncovered(
            connection, newest - (NEWEST - 1) * days * DAY, newest + days * DAY, examples
        )
        if examples
        else (),
        eval_set=file,
        measured=measured,
        remarks=list(_remarks(every, periods)),
    )


def _said(reference: int, days: int) -> str:
    one, several = {1: ("day", "days"), 7: ("week", "weeks")}.get(
        days, (f"period of {days} days", f"periods of {days} days")
    )
    return f"the first {reference} {several}" if reference > 1 else f"the first {one}"


def _known(
    connection: Connection, days: int, reference: str | None, variant: str | None
) -> list[TrafficAlert]:
    found = monitor.alerts(connection, days, reference)
    return [alert for alert in found if variant is None or alert.variant == variant]


def _learning(starts: Sequence[tuple[float, int]], days: int, reference: int) -> tuple[float, float]:
    """The time whose questions the clusters are learned from: the first periods with enough events."""
    enough = [start for start, events in starts if events >= FEWEST] or [starts[-1][0]]
    return starts[0][0], enough[:reference][-1] + days * DAY


def _sampled(connection: Connection, days: int) -> Mapping[tuple[float, str, str], list[float]]:
    """What was said of random samples, by week, variant and measure. A variant's judge is the one that gave
    most scores: scales differ.
    """
    found: dict[tuple[float, str, str], list[float]] = {}
    if days != WEEK:
        return found
    for review in monitor.reviews(connection):
        found.setdefault((review.start, review.variant, "reviewed"), []).append(review.good)
    ratings = monitor.ratings(connection)
    for variant, each in groupby(sorted(ratings, key=lambda one: one.variant), key=lambda one: one.variant):
        own = list(each)
        names = [rating.judge for rating in own]
        judge = max(sorted(set(names)), key=names.count)
        for rating in own:
            if rating.judge == judge:
                found.setdefault((rating.start, variant, "judge"), []).append(rating.score)
    return found


def _periods(
    connection: Connection, days: int, variant: str | None
) -> Iterator[tuple[tuple[float, str], Sample]]:
    """Each period's events of each variant, by time."""
    since = monitor.correctable_since(connection)
    for start, rows in groupby(
        monitor.observed(connection, variant), key=lambda row: start_of(row.time, days)
    ):
        corrections = since is not None and start >= start_of(since, days)
        waiting: dict[str, list[Observed]] = {}
        parts: dict[str, list[Sample]] = {}
        for row in rows:
            own = waiting.setdefault(row.variant, [])
            own.append(row)
            if len(own) == _PORTION:
                parts.setdefault(row.variant, []).append(sample_of(own, corrections))
                own.clear()
        for name in sorted(waiting):
            rest = [sample_of(waiting[name], corrections)] if waiting[name] else []
            yield (start, name), joined([*parts.get(name, ()), *rest])


def _add(
    series: _Series,
    variant: str,
    start: float,
    days: int,
    sample: Sample,
    reference: int,
    now: float,
    against: Sample | None,
) -> None:
    """The next period of a variant: a part of the reference, or looked at, or not over.

    Periods without an event before it are rows of their own, up to a year of them.
    """
    last = series.rows[-1].end if series.rows else start
    if start - last <= YEAR:
        for number in range(round((start - last) / (days * DAY))):
            series.rows.append(_row(sample_of((), False), variant, last + number * days * DAY, days))
    row = _row(sample, variant, start, days, is_over=start + days * DAY <= now)
    if against is not None:
        row = replace(row, from_eval_set=shifts(against, sample))
    if row.is_over and series.reference is not None:
        series.recent.append(sample)
        alarms, moved = alerts.look(start, days, series.reference, list(series.recent))
        series.looked.append(start)
        series.alarms += alarms
        row = replace(row, tested=True, shifts=moved)
    elif row.is_over and len(sample) >= FEWEST:
        series.first.append(sample)
        row = replace(row, is_reference=True)
        if len(series.first) == reference:
            series.reference = joined(series.first)
            series.first.clear()
    series.rows.append(row)


def _row(
    sample: Sample, variant: str, start: float, days: int, *, is_over: bool = True, is_reference: bool = False
) -> PeriodRow:
    figures = {
        measure.name: figure(sample.known(measure.name), measure.name)
        for measure in MEASURES
        if measure.name != "events"
    }
    count = TrafficFigure(float(len(sample)), None, None, len(sample), "a count has no interval")
    return PeriodRow(
        start=start,
        days=days,
        variant=variant,
        events=len(sample),
        units=len(np.unique(sample.units)),
        models=sample.counted_models(),
        figures={"events": count, **figures},
        is_over=is_over,
        is_reference=is_reference,
    )


def _remarks(every: Mapping[str, _Series], reference: int) -> Iterator[str]:
    for name, series in every.items():
        if series.reference is None:
            told = len(series.first)
            yield (
                f"{name or 'traffic without a variant'}: nothing is tested yet: {told} of the {reference} "
                f"periods of the reference have {FEWEST} events or more and are over"
            )
