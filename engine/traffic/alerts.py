"""When a period's traffic has left its reference, and what the cause is likely to be.

Each look holds the newest period, and the last few together, against the reference: one p-value for each
measure, the smallest of WINDOWS times how many there are. Holm's step corrects for looking at all measures;
what is left is held to FALSE_ALARMS divided by the looks of a year. So in a year in which nothing changes a
variant has a false alarm with a probability of at most FALSE_ALARMS, however its measures hang together (a
union bound; `python -m bench.alarms` counts them). An alarm of several periods together needs the newest to
have moved the same way by itself, so that it ends when the trouble does.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from engine.stats.family import LEVEL, holm
from engine.traffic.periods import BY_NAME, DAY, FEWEST, OF_SAMPLE, QUESTIONS, QuestionShift
from engine.traffic.samples import (
    NO_MODEL,
    TESTED,
    Difference,
    Sample,
    difference,
    figure,
    joined,
    same_within,
    shifts,
)
from store.records import TrafficAlert

FALSE_ALARMS = 0.05  # a year and variant, in which nothing changes
WINDOWS = (1, 4, 13)  # periods that are looked at together: few for what is sudden, more for what is small
_NEW_MODEL = 0.05  # of a period's events: fewer by an unknown model are a trial
_FEEDBACK = ("thumbs_up", "corrected", "rating", *OF_SAMPLE)


def looks(days: int) -> int:
    """How many periods a year has."""
    return max(1, round(365 / days))


@dataclass(frozen=True, slots=True)
class Alarm:
    """One measure that has left its reference in one period."""

    start: float
    measure: str
    cause: str | None
    evidence: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Tested:
    """A measure's p-values: of the period alone, and the corrected one of all windows."""

    alone: float
    p: float
    delta: float
    over: int  # periods in the window with the smaller p


def look(
    start: float, days: int, reference: Sample, recent: Sequence[Sample]
) -> tuple[list[Alarm], list[QuestionShift]]:
    """The alarms of the newest of the `recent` periods, and how its questions differ."""
    newest = recent[-1]
    moved = shifts(reference, newest)
    found: dict[str, list[tuple[int, Difference]]] = {}
    for length in dict.fromkeys(min(window, len(recent)) for window in WINDOWS):
        together = joined(recent[-length:])
        for name in TESTED:
            if one := difference(reference.known(name), together.known(name), name):
                found.setdefault(name, []).append((length, one))
        p = _smallest(moved if length == 1 else shifts(reference, together))
        if p is not None:
            found.setdefault(QUESTIONS, []).append((length, Difference(0.0, p)))
    tests = {name: _tested(windows) for name, windows in found.items() if windows[0][0] == 1}
    corrected = dict(zip(tests, holm([test.p for test in tests.values()]), strict=True))
    level = FALSE_ALARMS / looks(days)
    alarmed = [name for name, test in tests.items() if corrected[name] <= level and test.alone <= LEVEL]
    return [
        _alarm(start, days, name, tests[name], corrected[name], reference, newest, moved, alarmed)
        for name in alarmed
    ], moved


def _tested(windows: Sequence[tuple[int, Difference]]) -> _Tested:
    """The first window is the newest period alone; others count where they have moved the same way."""
    alone = windows[0][1]
    over, least = min(
        ((length, one) for length, one in windows if one.delta * alone.delta >= 0), key=lambda each: each[1].p
    )
    return _Tested(alone.p, min(1.0, len(windows) * least.p), alone.delta, over)


def _smallest(moved: Iterable[QuestionShift]) -> float | None:
    """The smallest p-value, corrected for there being several."""
    known = [shift.p for shift in moved if shift.p is not None]
    return min(1.0, len(known) * min(known)) if known else None


def _alarm(
    start: float,
    days: int,
    name: str,
    test: _Tested,
    corrected: float,
    reference: Sample,
    newest: Sample,
    moved: Sequence[QuestionShift],
    alarmed: Sequence[str],
) -> Alarm:
    evidence: dict[str, Any] = {
        "p": corrected,
        "level": FALSE_ALARMS / looks(days),
        "periods": test.over,
        "until": start + days * DAY,
        "models": new_models(reference, newest),
        "shifts": [asdict(shift) for shift in sorted(_told(moved), key=lambda one: one.p or 0.0)][:3],
    }
    if name in BY_NAME:
        now, before = figure(newest.known(name), name), figure(reference.known(name), name)
        evidence |= {"value": now.value, "low": now.low, "high": now.high, "n": now.n}
        evidence |= {"reference": before.value, "reference_n": before.n, "is_higher": test.delta > 0}
    cause, within = _cause(name, reference, newest, moved, alarmed)
    return Alarm(start, name, cause, evidence | {"same_question_p": within})


def _told(moved: Iterable[QuestionShift]) -> list[QuestionShift]:
    """The respects in which questions differ, corrected for there being several."""
    known = [shift for shift in moved if shift.p is not None]
    return [shift for shift in known if len(known) * (shift.p or 0.0) <= LEVEL]


def new_models(reference: Sample, newest: Sample) -> dict[str, int]:
    """Events by the models and versions that answered now and not in the reference."""
    if np.all(reference.models == NO_MODEL):
        return {}
    known, least = reference.counted_models(), max(1.0, _NEW_MODEL * len(newest))
    return {
        name: count
        for name, count in newest.counted_models().items()
        if name not in known and (count >= FEWEST or count >= least)
    }


def _cause(
    name: str, reference: Sample, newest: Sample, moved: Sequence[QuestionShift], alarmed: Sequence[str]
) -> tuple[str | None, float | None]:
    """The cause that can be told apart, and the p-value of no change within the same kind of question.

    Other questions are the cause where within the same kind nothing has changed; a model is, unless those
    that answered before do no better than they do together.
    """
    if name in (QUESTIONS, "distance"):
        return "input", None
    within = None if name in OF_SAMPLE else same_within(reference, newest, name)
    changed = new_models(reference, newest)
    if _told(moved) and (within > LEVEL if within is not None else not changed):
        return "input", within
    if changed and not _old_ones_too(name, reference, newest, changed):
        return "model", within
    if name.startswith("latency") or name == "well_formed":
        return "latency" if name != "well_formed" else "format", within
    if "well_formed" in alarmed:
        return "format", within
    if name in _FEEDBACK and any(other.startswith("latency") for other in alarmed):
        return "latency", within
    return None, within


def _old_ones_too(name: str, reference: Sample, newest: Sample, changed: Mapping[str, int]) -> bool:
    """Whether the models that answered before have left the reference as well."""
    if name in OF_SAMPLE:
        return False
    old = newest.where(~np.isin(newest.models, list(changed)))
    apart = difference(reference.known(name), old.known(name), name)
    return apart is not None and apart.p <= LEVEL


def _is_same(earlier: Alarm, later: Alarm) -> bool:
    """Whether two alarms of a measure may be of one trouble: the same way, and of no two causes."""
    causes = {earlier.cause, later.cause} - {None}
    return len(causes) < 2 and earlier.evidence.get("is_higher") == later.evidence.get("is_higher")


def episodes(
    alarms: Sequence[Alarm],
    looked: Sequence[float],
    variant: str,
    days: int,
    reference: str,
    known: Sequence[TrafficAlert],
) -> list[TrafficAlert]:
    """One alert for each run of periods in which a measure alarmed, the same way, at the first of them.

    `looked` are the periods that were tested, in order. One that stands already keeps its place, though later
    events may have moved the start.
    """
    order = {start: place for place, start in enumerate(looked)}
    found: list[TrafficAlert] = []
    for name in dict.fromkeys(alarm.measure for alarm in alarms):
        runs: list[list[Alarm]] = []
        for alarm in (one for one in alarms if one.measure == name):
            if runs and order[alarm.start] == order[runs[-1][-1].start] + 1 and _is_same(runs[-1][-1], alarm):
                runs[-1].append(alarm)
            else:
                runs.append([alarm])
        for run in runs:
            standing = next(
                (
                    alert.start
                    for alert in reversed(known)  # the oldest
                    if (alert.variant, alert.measure) == (variant, name)
                    and run[0].start <= alert.start <= run[-1].start
                ),
                run[0].start,
            )
            evidence = run[0].evidence | {"until": run[-1].evidence["until"], "alarms": len(run)}
            found.append(
                TrafficAlert(
                    start=standing,
                    days=days,
                    variant=variant,
                    measure=name,
                    reference=reference,
                    cause=run[0].cause,
                    evidence=evidence,
                    created=time.time(),
                )
            )
    return found
