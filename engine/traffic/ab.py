"""Two variants that production served at the same time: how the second differs from the first.

Events of one user are alike, so each user counts once, with the mean of their events; without users a
session does, without sessions an event. Tests and intervals are always valid (`engine.stats.sequential`):
one may look every day, and stop as soon as something is settled.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Container, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass, replace
from itertools import chain
from typing import Any, Literal

from engine.compare.ruling import BoundedComparison, Standing, rule
from engine.errors import BadInput
from engine.stats.family import LEVEL, among, holm, to_two_figures
from engine.stats.sequential import (
    FEWEST_UNITS,
    AnytimeTest,
    Moments,
    difference_at_any_time,
    mean_at_any_time,
    normal_at_any_time,
)
from engine.traffic.measures import bring_up_to_date
from engine.traffic.periods import BY_NAME, start_of
from store.read.history import Connection
from store.read.monitor import Observed, observed

WEEK = 7  # days
MISMATCH = 0.01  # the always-valid p from which on the arms' sizes are no chance
_APART = 0.02  # the distance from the expected share that is found soonest
_EDGE = 0.01  # of the events: fewer before the other variant's first one, or after its last, tell nothing
_NAMED = 12  # variants that a message names
# The measures of events, each with the one of periods that has its unit and its better end.
MEASURED: Mapping[str, str] = {
    "thumbs_up": "thumbs_up",
    "corrected": "corrected",
    "rating": "rating",
    "refused": "refused",
    "cut": "cut",
    "well_formed": "well_formed",
    "same_language": "same_language",
    "length": "length",
    "latency": "latency_median",
}
_MEANS = {"length": "length (mean)", "latency": "latency (mean)"}
_UNITS: Mapping[str, "Unit"] = {"u-": "user", "s-": "session"}  # by how their hashes begin

Unit = Literal["user", "session", "event"]
Design = Literal["between", "within"]
Means = dict[str, float]  # by unit


@dataclass(frozen=True, slots=True)
class Arm:
    """One variant while both were served; `left_out` are its events of the other times asked for."""

    name: str
    events: int
    units: int
    left_out: int


@dataclass(frozen=True, slots=True)
class SampleRatio:
    """Whether the arms are as large as they should be; else who is in which is not chance, and differences
    mean nothing. `p` is the chi-squared test's for one look, `p_any_time` holds at all looks together.
    """

    expected: float  # share of the second arm
    found: float
    counted: str  # users, sessions or events
    chi2: float
    p: float
    p_any_time: float

    @property
    def mismatched(self) -> bool:
        return self.p_any_time <= MISMATCH


@dataclass(frozen=True, slots=True)
class WeekDifference:
    """The second arm less the first in one week, over units of that week."""

    start: float
    delta: float | None
    n: tuple[int, int]


@dataclass(frozen=True, slots=True)
class ArmsCompared:
    """One measure: both arms' means over units, and the second (candidate) less the first (baseline).

    `p`, `low` and `high` are always valid and corrected over all measures (Holm 1979). About `needed` more
    units of each arm would settle it, if the difference stayed as it is. `early` is by how much the first
    week's difference exceeds that of the later ones, where this is no chance: what is new wears off.
    """

    measure: str
    title: str
    unit: str
    direction: str
    baseline_value: float | None
    candidate_value: float | None
    units: tuple[int, int]
    standing: Standing = "not tested"
    delta: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    needed: int | None = None
    early: float | None = None
    weeks: Sequence[WeekDifference] = ()
    reason: str | None = None  # why it was not tested

    @property
    def n(self) -> int:
        return min(self.units)

    @property
    def smallest_detectable(self) -> float | None:
        """None: how many units it takes is told by the always-valid test."""
        return None


@dataclass(frozen=True, slots=True)
class ABTest:
    """What the traffic of two variants says, between two times.

    `unit` is what counts once. `design` "between": a unit sees one arm, and those `in_both` were left out;
    "within": most see both, and each is compared with itself.
    """

    arms: tuple[Arm, Arm]
    since: float
    before: float
    unit: Unit
    design: Design
    in_both: int
    ratio: SampleRatio
    measures: Sequence[ArmsCompared]
    remarks: Sequence[str]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        values = asdict(self)
        values["ratio"]["mismatched"] = self.ratio.mismatched
        return values


class _Side:
    """What an arm's events come to: the sum and the number of each measure's values, by unit and week."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.left_out = 0
        self.events: Counter[str] = Counter()  # by unit
        self.sums: defaultdict[str, dict[tuple[str, float], tuple[float, int]]] = defaultdict(dict)

    def add(self, row: Observed) -> None:
        self.events[row.unit] += 1
        place = row.unit, start_of(row.time, WEEK)
        for measure, value in _values(row):
            total, count = self.sums[measure].get(place, (0.0, 0))
            self.sums[measure][place] = total + value, count + 1

    def means(self, measure: str, units: AbstractSet[str], weeks: Container[float] | None = None) -> Means:
        """The mean of each of these units over its events, or those of some weeks."""
        found: dict[str, tuple[float, int]] = {}
        for (unit, week), (total, count) in self.sums[measure].items():
            if unit in units and (weeks is None or week in weeks):
                before = found.get(unit, (0.0, 0))
                found[unit] = before[0] + total, before[1] + count
        return {unit: total / count for unit, (total, count) in found.items()}


def _values(row: Observed) -> Iterator[tuple[str, float]]:
    """What is known of one event."""
    known = {
        "thumbs_up": None if row.thumbs is None else row.thumbs > 0,
        "corrected": row.corrected if row.answered or row.corrected else None,
        "rating": row.rating,
        "refused": row.refused,
        "cut": row.cut,
        "well_formed": row.well_formed,
        "same_language": row.same_language,
        "length": row.characters,
        "latency": row.latency_s,
    }
    return ((name, float(value)) for name, value in known.items() if value is not None)


def compare(
    connection: Connection,
    first: str,
    second: str,
    *,
    since: float | None = None,
    before: float | None = None,
    expected: float = 0.5,
    progress: Callable[[int], None] | None = None,
) -> ABTest:
    """Compares two variants, or two models where no event names these variants, while both were served.

    `expected` is the second one's share by the assignment. Raises BadInput for one that has no events, and
    for two that never ran at the same time. Events that were not measured yet are (`progress`).
    """
    if first == second:
        raise BadInput(f"{first} is compared with itself", "name two variants: assay traffic ab A B")
    if not 0 < expected < 1:
        raise BadInput(f"an expected share of {expected:g}", "a share lies between 0 and 1")
    column = _column(connection, (first, second))
    bring_up_to_date(connection, progress)
    times = [_times(connection, column, name, since, before) for name in (first, second)]
    start, end = max(low for low, _ in times), min(high for _, high in times)
    if start > end:
        raise BadInput(
            f"{first} and {second} were never served at the same time: what differs may be the time",
            "`assay monitor` holds one time against another",
        )
    sides = _Side(first), _Side(second)
    for row in _rows(connection, column, (first, second)):
        side = sides[getattr(row, column) == second]
        if start <= row.time <= end:
            side.add(row)
        elif (since is None or row.time >= since) and (before is None or row.time < before):
            side.left_out += 1
    both = sides[0].events.keys() & sides[1].events.keys()
    within = len(both) * 2 > min(len(side.events) for side in sides)
    alone = (sides[0].events.keys() | sides[1].events.keys()) - both
    design: Design = "within" if within else "between"
    ratio = _ratio(sides, both, design, expected)
    compared = _compared(sides, both if within else alone, design, ratio)
    one, other = (Arm(side.name, side.events.total(), len(side.events), side.left_out) for side in sides)
    remarks = tuple(_remarks(sides, both, design, ratio, compared))
    return ABTest((one, other), start, end, _unit(sides), design, len(both), ratio, compared, remarks)


def _column(connection: Connection, names: Sequence[str]) -> Literal["variant", "model"]:
    """Where the two are named: as variants, else as models."""
    known: dict[str, set[str]] = {}
    columns: tuple[Literal["variant", "model"], ...] = ("variant", "model")
    for column in columns:
        found = connection.execute(f"SELECT DISTINCT {column} FROM trafficevent WHERE NOT shadow")
        known[column] = {row[0] for row in found if row[0]}
        if known[column].issuperset(names):
            return column
    kind = "variant" if known["variant"] else "model"
    missing = next(name for name in names if name not in known[kind])
    told = ", ".join(sorted(known[kind])[:_NAMED]) or "none"
    raise BadInput(f"people saw no answer of {kind} {missing}", f"{kind}s of the traffic: {told}")


def _times(
    connection: Connection, column: str, name: str, since: float | None, before: float | None
) -> tuple[float, float]:
    low, high = connection.execute(
        f"SELECT min(time), max(time) FROM trafficevent WHERE {column} = ?1 AND NOT shadow "
        "AND (?2 IS NULL OR time >= ?2) AND (?3 IS NULL OR time < ?3)",
        (name, since, before),
    ).fetchone()
    if low is None:
        raise BadInput(f"{name} has no event in that time", "choose other times with --since and --before")
    return low, high


def _rows(connection: Connection, column: str, names: Sequence[str]) -> Iterator[Observed]:
    if column == "variant":
        return chain.from_iterable(observed(connection, name) for name in names)
    return (row for row in observed(connection) if row.model in names)


def _unit(sides: Sequence[_Side]) -> Unit:
    """What most units are."""
    kinds = Counter(_UNITS.get(unit[:2], "event") for side in sides for unit in side.events)
    return kinds.most_common(1)[0][0]


def _ratio(sides: Sequence[_Side], both: Collection[str], design: Design, expected: float) -> SampleRatio:
    """Of units that saw one arm; where most saw both, of events."""
    within = design == "within"
    sizes = [side.events.total() if within else len(side.events) - len(both) for side in sides]
    n, variance = sum(sizes), expected * (1 - expected)
    share = sizes[1] / n
    chi2 = n * (share - expected) ** 2 / variance
    test = normal_at_any_time(share - expected, math.sqrt(variance / n), _APART**2 * n / variance)
    counted = "events" if within else f"{_unit(sides)}s"
    return SampleRatio(expected, share, counted, chi2, math.erfc(math.sqrt(chi2 / 2)), test.p)


def _pair(
    sides: Sequence[_Side],
    name: str,
    units: AbstractSet[str],
    design: Design,
    weeks: Container[float] | None = None,
) -> tuple[Means, Means]:
    """Both arms' means of the units that count; within units, of those that both have a value of."""
    first, second = (side.means(name, units, weeks) for side in sides)
    if design == "between":
        return first, second
    shared = sorted(first.keys() & second.keys())
    return {unit: first[unit] for unit in shared}, {unit: second[unit] for unit in shared}


def _test(pair: tuple[Means, Means], design: Design, alpha: float = LEVEL) -> AnytimeTest | None:
    """The second arm less the first; None where too few units tell, or all are alike."""
    first, second = (list(own.values()) for own in pair)
    if not first or not second:
        return None
    if design == "within":
        apart = [other - one for one, other in zip(first, second, strict=True)]
        return mean_at_any_time(Moments.of(apart), 0.0, alpha)
    return difference_at_any_time(Moments.of(second), Moments.of(first), alpha)


def _compared(
    sides: Sequence[_Side], units: AbstractSet[str], design: Design, ratio: SampleRatio
) -> list[ArmsCompared]:
    """All measures that anything is known of; those that are tested are one family."""
    pairs = {name: _pair(sides, name, units, design) for name in MEASURED}
    known = {name: pair for name, pair in pairs.items() if _is_known(name, pair)}
    tests = {name: test for name, pair in known.items() if (test := _test(pair, design)) is not None}
    p = [test.p for test in tests.values()]
    looks = dict(zip(tests, zip(holm(p), among(p), strict=True), strict=True))
    early = _early(sides, units, design, tests)
    found = []
    for name, pair in known.items():
        row = _row(name, pair, early.get(name), _weeks(sides, units, name, design))
        if name not in tests:
            found.append(replace(row, reason=_why_not(pair, design)))
            continue
        corrected, count = looks[name]
        test = _test(pair, design, LEVEL / count)
        assert test is not None
        if ratio.mismatched:
            found.append(replace(row, delta=test.value, reason="the sample ratio does not match"))
            continue
        row = replace(row, delta=test.value, low=test.low, high=test.high, p=corrected)
        # At Holm's step already: a family of one widens and corrects nothing.
        (ruling,) = rule("traffic", [BoundedComparison(row)])
        more = None if test.times is None else to_two_figures((test.times - 1) * row.n)
        found.append(replace(row, standing=ruling.standing, needed=None if ruling.is_decided else more))
    return found


def _is_known(name: str, pair: tuple[Means, Means]) -> bool:
    """Whether anything is known of a measure. Every event is corrected or not: that tells something once
    people correct.
    """
    values = [value for own in pair for value in own.values()]
    return any(values) if name == "corrected" else bool(values)


def _row(
    name: str, pair: tuple[Means, Means], early: float | None, weeks: Sequence[WeekDifference]
) -> ArmsCompared:
    like = BY_NAME[MEASURED[name]]
    first, second = map(_mean, pair)
    return ArmsCompared(
        measure=name,
        title=_MEANS.get(name, like.title),
        unit=like.unit,
        direction=like.better,
        baseline_value=first,
        candidate_value=second,
        units=(len(pair[0]), len(pair[1])),
        early=early,
        weeks=weeks,
    )


def _mean(means: Means) -> float | None:
    return math.fsum(means.values()) / len(means) if means else None


def _why_not(pair: tuple[Means, Means], design: Design) -> str:
    least = min(map(len, pair))
    if least < FEWEST_UNITS:
        return f"one arm has {least}, and {FEWEST_UNITS} are needed"
    return "no difference varies" if design == "within" else "all values are equal"


def _week_starts(sides: Sequence[_Side], name: str) -> list[float]:
    return sorted({week for side in sides for _, week in side.sums[name]})


def _weeks(
    sides: Sequence[_Side], units: AbstractSet[str], name: str, design: Design
) -> list[WeekDifference]:
    found = []
    for week in _week_starts(sides, name):
        pair = _pair(sides, name, units, design, {week})
        first, second = map(_mean, pair)
        delta = None if first is None or second is None else second - first
        found.append(WeekDifference(week, delta, (len(pair[0]), len(pair[1]))))
    return found


def _early(
    sides: Sequence[_Side], units: AbstractSet[str], design: Design, measures: Collection[str]
) -> dict[str, float]:
    """By how much the first week's difference exceeds that of the later weeks, where chance is ruled out."""
    apart: dict[str, AnytimeTest] = {}
    for name in measures:
        first, *later = _week_starts(sides, name)
        early, late = (
            _test(_pair(sides, name, units, design, weeks), design) for weeks in ({first}, set(later))
        )
        if early is not None and late is not None:
            # Units of both halves are alike in both, which makes the true error smaller than this.
            error = math.hypot(early.error, late.error)
            information = 1 / (1 / early.information + 1 / late.information)
            apart[name] = normal_at_any_time(early.value - late.value, error, information)
    corrected = holm([test.p for test in apart.values()])
    return {name: test.value for (name, test), p in zip(apart.items(), corrected, strict=True) if p <= LEVEL}


def _remarks(
    sides: Sequence[_Side],
    both: Collection[str],
    design: Design,
    ratio: SampleRatio,
    compared: Sequence[ArmsCompared],
) -> Iterator[str]:
    """What a reader must know before the figures, the gravest first."""
    names = f"{sides[0].name} and {sides[1].name}"
    unit = _unit(sides)
    if ratio.mismatched:
        yield (
            f"SAMPLE RATIO MISMATCH: {sides[1].name} has {ratio.found:.1%} of the {ratio.counted}, "
            f"{ratio.expected:.1%} were expected (p = {ratio.p_any_time:.2g} at all looks). Who is in which "
            "arm is not chance, so that no difference can be put down to the variant: find out what assigns, "
            "drops or logs them"
        )
    if design == "within":
        yield (
            f"{len(both):,} {unit}s saw both {names}: each is compared with itself. Answers of one variant "
            "may have changed what they said of the other"
        )
    elif both:
        yield f"{len(both):,} {unit}s saw both {names} and are left out"
    kinds = Counter(_UNITS.get(name[:2], "event") for side in sides for name in side.events)
    if unit == "event":
        yield "no event names a user or session: each event counts by itself, and intervals are too narrow"
    elif kinds["event"]:
        yield f"{kinds['event']:,} events name neither user nor session, and count by themselves"
    outside, inside = (
        sum(counts) for counts in zip(*((s.left_out, s.events.total()) for s in sides), strict=True)
    )
    if outside > _EDGE * inside:
        yield f"{outside:,} events from when one of the two was not served are left out"
    for row in compared:
        if row.early is not None:
            yield (
                f"{row.title}: the first week's difference is {row.early:+.3g} off that of the later weeks: "
                "it may wear off, or have been learned"
            )
