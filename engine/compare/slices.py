"""Many measures on many slices: values, differences and their intervals.

All measures and models of a slice share their resamples, so 40 measures of 5 models on 20
slices of 10,000 examples take seconds.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, product
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from engine.compare.comparison import Comparison, from_paired, reach
from engine.compare.ruling import BoundedComparison, rule
from engine.metrics.metric import Measure, mean
from engine.stats.family import DETECTABLE, LEVEL, holm
from engine.stats.intervals import (
    FEW,
    MANY,
    OPEN,
    ROUNDING,
    Array,
    Interval,
    bootstrap_sums,
    expanded,
    finite,
    of_equal,
    of_few,
    of_mean,
    percentiles,
    share_of,
    swapped_sums,
    within,
)
from engine.stats.paired import Paired, is_few_changed, mcnemar, of_difference, paired_shares, undivided
from store.read.query import by_key
from store.read.slices import OF_THE_SET, SIMILAR, UNLIKE

SMALLEST = 5  # examples with a value, for a slice to be compared or tested
RESAMPLES = 1000
_PER_TEST = 40  # resamples for each slice tested: the smallest p-value must survive the correction
_WORST = 20

Members = Mapping[str, NDArray[np.intp]]


@dataclass(frozen=True, slots=True)
class MeasureColumn:
    """One model's additive parts of one measure, [n, k] in the examples' order; zeros where it has none."""

    model: str
    measure: Measure
    ids: Sequence[str]
    parts: Array
    present: NDArray[np.bool_]
    kind: Literal["share", "mean", "other"]  # of right and wrong answers, of numbers, or combined otherwise

    def within(self, mask: NDArray[np.bool_]) -> "MeasureColumn":
        """The column with the values of these examples alone."""
        parts = np.where(mask[:, None], self.parts, 0.0)
        return replace(self, parts=parts, present=self.present & mask)


@dataclass(frozen=True, slots=True)
class SliceValue:
    """One model's value on one slice; `p`: could the slice be a random part of all examples (Holm)."""

    column: MeasureColumn
    name: str
    interval: Interval
    p: float | None


@dataclass(frozen=True, slots=True)
class Slice:
    """Candidate against baseline on one slice, ruled on with the candidate's other slices."""

    name: str
    comparison: Comparison


def column(
    model: str, measure: Measure, parts: Mapping[str, Sequence[float]], ids: Sequence[str]
) -> MeasureColumn:
    """The parts of `Score.additive` by example id, put in the order of the ids."""
    width = len(next(iter(parts.values()), (0.0, 0.0)))
    nothing = (0.0,) * width
    table = np.array([parts.get(key, nothing) for key in ids], dtype=np.float64).reshape(len(ids), width)
    present = np.array([key in parts for key in ids], dtype=bool)
    return MeasureColumn(model, measure, ids, table, present, _kind(measure, table[present]))


def _kind(measure: Measure, parts: Array) -> Literal["share", "mean", "other"]:
    if measure.combine is not mean or parts.shape[1] != 2 or np.any(parts[:, 1] != 1.0):
        return "other"
    return "share" if np.isin(parts[:, 0], (0.0, 1.0)).all() else "mean"


def places(members: Mapping[str, Sequence[str]], ids: Sequence[str]) -> dict[str, NDArray[np.intp]]:
    """The examples of each slice as places in `ids`."""
    order = {key: place for place, key in enumerate(ids)}
    return {name: np.array([order[key] for key in keys], dtype=np.intp) for name, keys in members.items()}


def slice_values(columns: Sequence[MeasureColumn], members: Members, seed: int = 0) -> list[SliceValue]:
    """Every column on every slice, with its 95 % interval and n.

    The interval is by the rules of `bootstrap_interval`. The p-value compares the slice with the rest of the
    examples, both of at least SMALLEST: Fisher's exact test for shares, Welch's for other means; other
    values, and those whose examples hang together, have none. All columns and slices that are shown together
    are corrected together.
    """
    intervals: dict[int, list[Interval]] = defaultdict(list)
    for rows in members.values():
        resampled = _resampled([item.parts for item in columns], rows, seed)
        for place, (item, sums) in enumerate(zip(columns, resampled, strict=True)):
            intervals[place].append(_interval(item, rows, sums, seed))
    tested = [p for item in columns for p in _p_values(item, members)]
    corrected = list(tested)
    families: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for place, (item, name) in enumerate(product(columns, members)):
        # What the set's own slices tell, such as those like training questions, is asked of each model.
        families[(name, item.model) if name in OF_THE_SET else ()].append(place)
    for asked in families.values():
        for place, p in zip(asked, _corrected([tested[place] for place in asked]), strict=True):
            corrected[place] = p
    found = iter(corrected)
    return [
        SliceValue(item, name, interval, next(found))
        for place, item in enumerate(columns)
        for name, interval in zip(members, intervals[place], strict=True)
    ]


def compare_slices(
    pairs: Sequence[tuple[MeasureColumn, MeasureColumn]], members: Members, seed: int = 0
) -> list[Slice]:
    """Each (candidate, baseline) of one measure on every slice where both have SMALLEST examples or more.

    Intervals by paired bootstrap, p-values by McNemar's exact test for shares and else by a paired
    randomisation test. The slices of one candidate are a family over all baselines and the measures that a
    gate checks, and another over its other measures. Measures whose examples hang together have values and a
    difference alone.
    """
    pairs = [_aligned(*pair) for pair in pairs]
    resamples = max(RESAMPLES, _PER_TEST * len(members))
    compared: dict[int, list[tuple[str, Comparison]]] = defaultdict(list)
    for name, rows in members.items():
        there = [
            place for place, (ours, _) in enumerate(pairs) if np.count_nonzero(ours.present[rows]) >= SMALLEST
        ]
        if there:
            found = _compared([pairs[place] for place in there], rows, seed, resamples)
            for place, comparison in zip(there, found, strict=True):
                compared[place].append((name, comparison))
    return _ruled([(item, pairs[place][0].measure) for place, items in compared.items() for item in items])


def is_checked(measure: Measure) -> bool:
    """Whether the gate on slices checks the measure: from 0 to 1, and higher is better."""
    return (measure.direction, measure.low, measure.high) == ("higher", 0.0, 1.0)


def _ruled(found: Sequence[tuple[tuple[str, Comparison], Measure]]) -> list[Slice]:
    families = by_key(
        ((comparison.candidate, name in OF_THE_SET, is_checked(measure)), place)
        for place, ((name, comparison), measure) in enumerate(found)
    )
    ruled: dict[int, Slice] = {}
    for places_ in families.values():
        asked = [
            BoundedComparison(found[place][0][1], (found[place][1].low, found[place][1].high))
            for place in places_
        ]
        for place, ruling in zip(places_, rule("slices", asked), strict=True):
            name, comparison = found[place][0]
            worst = comparison.worst if ruling.is_decided else ()
            ruled[place] = Slice(name, replace(comparison, worst=worst, ruling=ruling))
    return [ruled[place] for place in range(len(found))]


def _resampled(parts: Sequence[Array], rows: NDArray[np.intp], seed: int) -> list[Array]:
    """The sums of each array's rows over the same draws: [RESAMPLES, k] for each."""
    if not parts or not len(rows):
        return [np.zeros((RESAMPLES, one.shape[1])) for one in parts]
    sums = bootstrap_sums(np.hstack([one[rows] for one in parts]), seed, RESAMPLES)
    return _split(sums, parts)


def _split(sums: Array, parts: Sequence[Array]) -> list[Array]:
    return np.split(sums, list(accumulate(one.shape[1] for one in parts))[:-1], axis=1)


def _interval(item: MeasureColumn, rows: NDArray[np.intp], sums: Array, seed: int) -> Interval:
    present = item.present[rows]
    n = int(np.count_nonzero(present))
    if n == 0:
        return Interval(None, None, None, 0)
    parts = item.parts[rows][present]
    value = finite(item.measure.combine(parts.sum(axis=0)))
    if value is None or n < 2 or not item.measure.independent:
        return Interval(value, None, None, n)
    if item.kind == "share":
        return share_of(float(parts[:, 0].sum()), n)
    ends = (item.measure.low, item.measure.high)
    if np.all(parts == parts[0]):
        return Interval(value, *of_equal(value, n, ends), n)
    is_small = item.kind == "mean" and n < MANY
    found = of_mean(parts[:, 0], ends, seed, RESAMPLES) if is_small else None
    if found is None:
        values = item.measure.combine(sums)
        found = of_few(value, values, n) if n < FEW else percentiles(values, expanded(n))
    return Interval(value, *within(*found, ends), n)


def _p_values(item: MeasureColumn, members: Members) -> list[float | None]:
    found = dict(zip(members, _against_rest(item, members), strict=True))
    halves = {name: members[name] for name in (SIMILAR, UNLIKE) if name in members}
    if halves:
        # Those that leaked are neither like a training question nor unlike all.
        either = np.isin(np.arange(len(item.ids)), np.concatenate(list(halves.values())))
        found |= dict(zip(halves, _against_rest(item.within(either), halves), strict=True))
    return list(found.values())


def _against_rest(item: MeasureColumn, members: Members) -> list[float | None]:
    if not item.measure.independent or item.kind == "other":
        return [None] * len(members)
    values = np.where(item.present, item.parts[:, 0], 0.0)
    n = np.array([np.count_nonzero(item.present[rows]) for rows in members.values()], dtype=np.float64)
    total = np.array([values[rows].sum() for rows in members.values()])
    squares = np.array([(values[rows] ** 2).sum() for rows in members.values()])
    whole = float(np.count_nonzero(item.present))
    testable = (n >= SMALLEST) & (whole - n >= SMALLEST)
    if not testable.any():
        return [None] * len(members)
    if item.kind == "share":
        p = _fisher(total, n, float(values.sum()), whole)
    else:
        rest = values.sum() - total, (values**2).sum() - squares, whole - n
        p = _welch((total, squares, n), rest)
    usable = testable & np.isfinite(p)
    return [float(one) if use else None for one, use in zip(p, usable, strict=True)]


def _fisher(right: Array, n: Array, all_right: float, whole: float) -> Array:
    """Fisher's exact test, two-sided by doubling the smaller tail."""
    from scipy.stats import hypergeom

    fewer = hypergeom.cdf(right, whole, all_right, n)
    more = hypergeom.sf(right - 1, whole, all_right, n)
    p: Array = np.minimum(1.0, 2 * np.minimum(fewer, more))
    return p


def _welch(first: tuple[Array, Array, Array], second: tuple[Array, Array, Array]) -> Array:
    """Welch's t-test from (sum, sum of squares, n) of both sides; no number where neither varies."""
    from scipy.stats import t

    with np.errstate(divide="ignore", invalid="ignore"):
        means, errors, freedom = [], [], []
        for total, squares, n in (first, second):
            variance = np.maximum(0.0, squares - total**2 / n) / (n - 1)
            means.append(total / n)
            errors.append(variance / n)
            freedom.append((variance / n) ** 2 / (n - 1))
        error = errors[0] + errors[1]
        error = np.where(error > ROUNDING * (means[0] ** 2 + means[1] ** 2), error, np.nan)
        statistic = np.abs(means[0] - means[1]) / np.sqrt(error)
        p: Array = 2 * t.sf(statistic, error**2 / (freedom[0] + freedom[1]))
    return p


def _corrected(p: Sequence[float | None]) -> list[float | None]:
    known = iter(holm([one for one in p if one is not None]))
    return [None if one is None else next(known) for one in p]


def _aligned(ours: MeasureColumn, theirs: MeasureColumn) -> tuple[MeasureColumn, MeasureColumn]:
    """Both columns on the examples that both have a value for."""
    if np.array_equal(ours.present, theirs.present):
        return ours, theirs
    shared = ours.present & theirs.present
    return ours.within(shared), theirs.within(shared)


def _compared(
    pairs: Sequence[tuple[MeasureColumn, MeasureColumn]], rows: NDArray[np.intp], seed: int, resamples: int
) -> list[Comparison]:
    sides = {id(side): side.parts for pair in pairs for side in pair}
    resampled = dict(zip(sides, _resampled(list(sides.values()), rows, seed), strict=True))
    ours, theirs = (np.hstack([pair[side].parts[rows] for pair in pairs]) for side in (0, 1))
    swapped = swapped_sums(ours, theirs, seed, resamples)
    widths = [pair[0].parts for pair in pairs]
    return [
        _comparison(pair, rows, (resampled[id(pair[0])], resampled[id(pair[1])]), (first, second), seed)
        for pair, first, second in zip(
            pairs, _split(swapped[0], widths), _split(swapped[1], widths), strict=True
        )
    ]


def _comparison(
    pair: tuple[MeasureColumn, MeasureColumn],
    rows: NDArray[np.intp],
    resampled: tuple[Array, Array],
    swapped: tuple[Array, Array],
    seed: int,
) -> Comparison:
    ours, theirs = pair
    measure, n = ours.measure, int(np.count_nonzero(ours.present[rows]))
    candidate, baseline = (finite(measure.combine(side.parts[rows].sum(axis=0))) for side in pair)
    delta = None if candidate is None or baseline is None else candidate - baseline
    low = high = p = detectable = None
    largest = 1.0 if ours.kind == theirs.kind == "share" else reach(measure)
    if delta is not None and measure.independent:
        if np.array_equal(ours.parts[rows], theirs.parts[rows]):
            low, high = undivided(n, largest)
            p = 1.0
        else:
            deltas = measure.combine(resampled[0]) - measure.combine(resampled[1])
            error = float(np.std(deltas[np.isfinite(deltas)], ddof=1))
            shown = rows[ours.present[rows]]
            gaps = ours.parts[shown, 0] - theirs.parts[shown, 0]
            if ours.kind == theirs.kind == "share" and (is_few_changed(gaps) or error <= ROUNDING):
                low, high = paired_shares(ours.parts[shown, 0], theirs.parts[shown, 0])
            else:
                ends = OPEN if largest is None else (-largest, largest)
                kinds = (ours.kind, theirs.kind)
                is_small = n < MANY and "other" not in kinds and kinds != ("share", "share")
                means = gaps if is_small else None
                found = of_difference(delta, error, means, deltas, n, ends, seed, RESAMPLES)
                low, high = within(*found, ends)
            detectable = DETECTABLE * error if error > ROUNDING else None
            p = _swap_p(pair, rows, swapped, delta)
    paired = Paired(candidate, baseline, delta, low, high, p, n, detectable)
    worst = _worst(pair, rows) if p is not None and p < LEVEL else ()
    return from_paired(
        ours.model, theirs.model, measure.name, measure.direction, "metric", paired, worst=worst
    )


def _swap_p(
    pair: tuple[MeasureColumn, MeasureColumn],
    rows: NDArray[np.intp],
    swapped: tuple[Array, Array],
    delta: float,
) -> float:
    """The share of swaps that part the models as far, for shares of all swaps (McNemar's exact test).

    Where none of those that were tried does, at most what Hoeffding's bound says.

    For a plain mean of differences d the chance of a sum so large is under 2 exp(-(Σd)² / 2Σd²) whatever n.
    """
    ours, theirs = pair
    combine = ours.measure.combine
    if ours.kind == theirs.kind == "share":
        gaps = (ours.parts[rows, 0] - theirs.parts[rows, 0]) * ours.present[rows]
        return mcnemar(int(np.count_nonzero(gaps < 0)), int(np.count_nonzero(gaps > 0)))
    scale = max(1.0, abs(float(combine(theirs.parts[rows].sum(axis=0)))))
    gaps = np.abs(combine(swapped[0]) - combine(swapped[1]))
    reached = int(np.count_nonzero(gaps >= abs(delta) - ROUNDING * scale))
    p = (1 + reached) / (1 + len(gaps))
    if reached or "other" in (ours.kind, theirs.kind):
        return p
    differences = ours.parts[rows, 0] - theirs.parts[rows, 0]
    return min(p, 2 * float(np.exp(-(differences.sum() ** 2) / (2 * (differences**2).sum()))))


def _worst(pair: tuple[MeasureColumn, MeasureColumn], rows: NDArray[np.intp]) -> tuple[str, ...]:
    """The examples on which the candidate is furthest behind, the furthest first."""
    ours, theirs = pair
    rows = rows[ours.present[rows]]
    gaps = ours.measure.combine(ours.parts[rows]) - ours.measure.combine(theirs.parts[rows])
    worsening = gaps if ours.measure.direction == "lower" else -gaps
    order = np.argsort(-worsening, kind="stable")[:_WORST]
    return tuple(ours.ids[rows[place]] for place in order if worsening[place] > 0)
