"""The events of a period as arrays: their figures with intervals, and how two samples of them differ.

Events of one user (else of one session) are alike, so that they tell less than as many of different ones.
Counts are therefore divided by the design effect (Rao & Scott 1992, "A simple method for the analysis of
clustered binary data"): how much more their share varies than that of independent events. It is 1 where each
event is somebody else's, and the tests are then exact: all measures are compared as shares, a quantile by the
share of events beyond the one of both samples together (Mood 1950).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.data.coverage import psi
from engine.stats.intervals import ENOUGH, Interval, bootstrap_interval, share_of, students
from engine.traffic.periods import BY_NAME, FEWEST, OF_SAMPLE, QuestionShift, TrafficFigure
from store.read.monitor import Observed

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]
Known = tuple[Floats, Ints]  # values, and whose they are
LEARNED_SHARE = 3  # one user in so many has questions that the clusters are learned from
NO_MODEL = ""  # of events of which it is not known which model answered
NOWHERE = -2  # the cluster of a question without a place
QUANTILES = {"length": 0.5, "latency_median": 0.5, "latency_p95": 0.95}
SHARES = ("cut", "refused", "well_formed", "same_language", "thumbs_up", "corrected", "reviewed")
TESTED = (*SHARES, *QUANTILES, "rating", "judge", "distance")
_ROUNDING = 1e-12
_BUCKET = "prompt of "  # with which the trait of a question's length begins
_LEAST_EXPECTED = 5.0  # events of a class in the smaller sample, below which it joins another
_FEW_UNITS = f"its events are of fewer than {FEWEST} users or sessions"


@dataclass(frozen=True, slots=True)
class Sample:
    """Events in arrays, a place for each; NaN where a value is not known."""

    times: Floats
    units: Ints
    values: Mapping[str, Floats]
    clusters: Ints
    traits: Mapping[str, Flags]
    models: NDArray[np.object_]
    sampled: Mapping[str, Floats] = field(default_factory=dict)  # measures of a few events, in no order

    def __len__(self) -> int:
        return len(self.units)

    def where(self, chosen: Flags) -> "Sample":
        return Sample(
            self.times[chosen],
            self.units[chosen],
            {name: value[chosen] for name, value in self.values.items()},
            self.clusters[chosen],
            {name: flags[chosen] for name, flags in self.traits.items()},
            self.models[chosen],
            self.sampled,
        )

    def counted_models(self) -> dict[str, int]:
        """Events by model and version, the most frequent first."""
        names, counts = np.unique(self.models, return_counts=True)
        order = np.argsort(-counts, kind="stable")
        return {str(names[place]): int(counts[place]) for place in order}

    @property
    def held_out(self) -> Flags:
        """Which events are of users whose questions no clusters are learned from."""
        return np.asarray(self.units % LEARNED_SHARE != 0)

    def known(self, name: str) -> Known:
        """A measure's known values, and whose they are."""
        if name in OF_SAMPLE:
            values = self.sampled.get(name, np.empty(0))
            return values, np.arange(len(values))
        values = self.values[name]
        there = np.isfinite(values)
        return values[there], self.units[there]


def sample_of(rows: Sequence[Observed], corrections: bool) -> Sample:
    """Events as a sample. `corrections`: people could correct answers, so that none says something."""

    def column(name: str) -> Floats:
        return np.array([getattr(row, name) for row in rows], dtype=np.float64)

    latency, thumbs, corrected = column("latency_s"), column("thumbs"), column("corrected")
    if corrections:
        corrected[(column("answered") == 0) & (corrected == 0)] = np.nan
    else:
        corrected[:] = np.nan
    told = [_traits(row.traits) for row in rows]
    return Sample(
        column("time"),
        np.array([unit_number(row.unit) for row in rows], dtype=np.int64),
        {
            **{name: column(name) for name in ("cut", "refused", "well_formed", "same_language")},
            "thumbs_up": np.where(np.isnan(thumbs), np.nan, thumbs > 0),
            "corrected": corrected,
            "length": column("characters"),
            "latency_median": latency,
            "latency_p95": latency,
            "distance": column("distance"),
            "rating": column("rating"),
        },
        np.array([NOWHERE if row.cluster is None else row.cluster for row in rows], dtype=np.int64),
        {name: np.array([name in own for own in told]) for name in sorted(set().union(*told))},
        np.array([_model(row.model, row.version) for row in rows], dtype=object),
    )


def unit_number(unit: str) -> int:
    """A user, session or event as a number that is the same in every process."""
    return int.from_bytes(blake2b(unit.encode(), digest_size=8).digest(), signed=True)


@lru_cache(maxsize=512)
def _traits(told: str | None) -> frozenset[str]:
    return frozenset(json.loads(told or "[]"))


@lru_cache(maxsize=512)
def _model(model: str, version: str | None) -> str:
    return f"{model} {version}" if version else model


def joined(samples: Sequence[Sample]) -> Sample:
    """Several samples as one."""
    if len(samples) == 1:
        return samples[0]
    names = {name for sample in samples for name in sample.traits}

    def one(arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
        return np.concatenate(arrays)

    return Sample(
        one([sample.times for sample in samples]),
        one([sample.units for sample in samples]),
        {name: one([sample.values[name] for sample in samples]) for name in samples[0].values},
        one([sample.clusters for sample in samples]),
        {
            name: one([sample.traits.get(name, np.zeros(len(sample), bool)) for sample in samples])
            for name in sorted(names)
        },
        one([sample.models for sample in samples]),
        {name: one([sample.known(name)[0] for sample in samples]) for name in OF_SAMPLE},
    )


def spread(values: Floats, units: Ints) -> tuple[float, float]:
    """The variance of a share's count as its units vary, and as independent events would.

    The first is that of a ratio of sums over units (Cochran 1977, chapter 6).
    """
    share = values.mean()
    apart, places = np.unique(units, return_inverse=True)
    independent = float(len(values) * share * (1 - share))
    if len(apart) == len(values):
        return independent, independent
    rest = np.bincount(places, values - share)
    return float((rest**2).sum()) * len(apart) / max(len(apart) - 1, 1), independent


def design_effect(*samples: Known) -> float:
    """How much more the shares of these samples vary than those of independent events; at least 1."""
    found = [spread(*sample) for sample in samples]
    independent = sum(expected for _, expected in found)
    return max(1.0, sum(seen for seen, _ in found) / independent) if independent > 0 else 1.0


def _are_few(units: Ints) -> bool:
    """Whether values are of fewer than FEWEST users; the first ones mostly tell."""
    return len(set(units[: 10 * FEWEST].tolist())) < FEWEST and len(np.unique(units)) < FEWEST


def figure(known: Known, name: str) -> TrafficFigure:
    """A measure's value over its known values, with its interval."""
    values, units = known
    n = len(values)
    if n < FEWEST:
        return TrafficFigure(
            None, None, None, n, f"fewer than {FEWEST} events tell it ({n})" if n else BY_NAME[name].needs
        )
    if _are_few(units):
        value = float(np.quantile(values, QUANTILES[name]) if name in QUANTILES else values.mean())
        return TrafficFigure(value, None, None, n, _FEW_UNITS)
    if name in QUANTILES:
        return _quantile(values, units, QUANTILES[name])
    if name not in SHARES and np.all(values == values[0]):
        return TrafficFigure(float(values[0]), None, None, n, "all values are equal")
    if name in SHARES:
        alike = int(n / design_effect((values, units)))
        found = share_of(float(values.mean()) * alike, alike)
    else:
        found = _mean(values, units)
    return TrafficFigure(float(values.mean()), found.low, found.high, n)


def _mean(values: Floats, units: Ints) -> Interval:
    """A mean with its interval over units: by resampling them, and of many by their spread."""
    apart, places = np.unique(units, return_inverse=True)
    if len(apart) <= ENOUGH:
        parts = np.column_stack([np.bincount(places, values), np.bincount(places)]).astype(np.float64)
        return bootstrap_interval(parts, lambda sums: sums[..., 0] / sums[..., 1])
    value = float(values.mean())
    rest = np.bincount(places, values - value)
    error = sqrt(float((rest**2).sum()) * len(apart) / (len(apart) - 1)) / len(values)
    return Interval(value, *students(value, error, len(apart)), len(values))


def _quantile(values: Floats, units: Ints, share: float) -> TrafficFigure:
    """A quantile with the interval between two order statistics (Conover 1999, section 3.2)."""
    from scipy.stats import binom

    ordered, n = np.sort(values), len(values)
    value = float(np.quantile(ordered, share))
    effect = design_effect(((values > value).astype(np.float64), units))
    alike = int(n / effect)
    below = int(binom.ppf(0.025, alike, share))
    above = int(binom.isf(0.025, alike, share)) + 1
    if below < 1 or above > alike:
        return TrafficFigure(value, None, None, n, f"too few events ({n}) for an interval of this quantile")
    places = (int(below * n / alike) - 1, min(n, -int(-above * n // alike)) - 1)
    return TrafficFigure(value, float(ordered[places[0]]), float(ordered[places[1]]), n)


@dataclass(frozen=True, slots=True)
class Difference:
    """A share in one sample less that in another, with the two-sided p-value of their being equal."""

    delta: float
    p: float


def difference(one: Known, other: Known, name: str) -> Difference | None:
    """The second values against the first; None where either are too few, or of too few users."""
    if any(len(values) < FEWEST or _are_few(units) for values, units in (one, other)):
        return None
    return shares_differ(
        (_beyond(one[0], other[0], name), one[1]), (_beyond(other[0], one[0], name), other[1])
    )


def _beyond(values: Floats, others: Floats, name: str) -> Floats:
    """Which values are beyond the quantile of both samples; a share's are themselves."""
    if name in SHARES:
        return values
    share = QUANTILES.get(name, 0.5)
    pooled = np.sort(np.concatenate([values, others]))
    limit = pooled[min(int(share * len(pooled)), len(pooled) - 1)]
    # Of heaped values, the side that leaves more nearly the wanted share; only the pooled values decide it.
    above, least = float((pooled > limit).mean()), float((pooled >= limit).mean())
    is_strict = abs(above - (1 - share)) <= abs(least - (1 - share)) + _ROUNDING and above > 0
    return np.asarray(values > limit if is_strict else values >= limit, dtype=np.float64)


def shares_differ(one: Known, other: Known) -> Difference:
    """Fisher's exact test of two shares, twice its smaller side, on counts divided by the design effect."""
    from scipy.stats import hypergeom

    effect = design_effect(one, other)
    (k0, n0), (k1, n1) = (
        (round(float(values.sum()) / effect), int(len(values) / effect)) for values, _ in (one, other)
    )
    k0, k1 = min(k0, n0), min(k1, n1)
    told = (n0 + n1, k0 + k1, n1)
    sides = float(hypergeom.cdf(k1, *told)), float(hypergeom.sf(k1 - 1, *told))
    return Difference(float(other[0].mean() - one[0].mean()), min(1.0, 2 * min(sides)))


def same_within(first: Sample, second: Sample, name: str) -> float | None:
    """The p-value of a measure being the same in both samples for the same kind of question.

    It is the Cochran-Mantel-Haenszel test over clusters of questions. None where too few are in both.
    """
    from scipy.stats import chi2

    sides = []
    for sample, against in ((first, second), (second, first)):
        values, _ = sample.known(name)
        told = np.isfinite(sample.values[name]) & (sample.clusters != NOWHERE)
        beyond = np.full(len(sample), np.nan)
        beyond[np.isfinite(sample.values[name])] = _beyond(values, against.known(name)[0], name)
        sides.append((beyond[told], sample.clusters[told], sample.units[told]))
    excess = variance = 0.0
    both = 0
    for cluster in np.intersect1d(sides[0][1], sides[1][1]):
        one, other = (values[clusters == cluster] for values, clusters, _ in sides)
        n0, n1, k = len(one), len(other), float(one.sum() + other.sum())
        n = n0 + n1
        both += n1
        excess += float(other.sum()) - n1 * k / n
        variance += n0 * n1 * k * (n - k) / (n * n * max(n - 1, 1))
    if both < FEWEST or variance <= 0:
        return None
    effect = design_effect(*((values, units) for values, _, units in sides))
    return float(chi2.sf(max(abs(excess) - 0.5, 0.0) ** 2 / variance / effect, 1))


def shift(first: Sample, second: Sample, respect: str, classes: tuple[Ints, Ints]) -> QuestionShift:
    """How far the second sample's questions differ from the first's by their class, a number for each."""
    from scipy.stats import chi2

    one, other = classes
    n = len(other)
    if min(len(one), n) < FEWEST:
        return QuestionShift(respect, None, None, None, n, f"fewer than {FEWEST} events to compare")
    table, places = _table(one, other)
    if table.shape[1] < 2:
        if len(np.union1d(one, other)) > 1:
            return QuestionShift(respect, None, None, None, n, "too few questions of one kind to compare")
        return QuestionShift(respect, 0.0, None, 1.0, n)
    total = table.sum(axis=0)
    expected = table.sum(axis=1)[:, None] * total / total.sum()
    statistic = float(((table - expected) ** 2 / expected).sum())
    shares = total / total.sum()
    effects = [
        design_effect(
            ((places[0] == place).astype(np.float64), first.units),
            ((places[1] == place).astype(np.float64), second.units),
        )
        for place in range(len(total))
    ]
    freedom = len(total) - 1
    effect = max(1.0, float(np.dot(effects, 1 - shares)) / freedom)
    chance = float(chi2.isf(0.05, freedom)) * effect * (1 / len(one) + 1 / n)
    value = psi(places[0].tolist(), places[1].tolist())
    return QuestionShift(respect, value, chance, float(chi2.sf(statistic / effect, freedom)), n)


def _table(one: Ints, other: Ints) -> tuple[Floats, tuple[Ints, Ints]]:
    """Counts of both samples by class, and each event's column; rare classes are one."""
    kinds, places = np.unique(np.concatenate([one, other]), return_inverse=True)
    counts = np.bincount(places, minlength=len(kinds))
    smaller = min(len(one), len(other)) / len(places)
    order = np.argsort(-counts, kind="stable")
    kept = int((counts * smaller >= _LEAST_EXPECTED).sum())
    # What is left together may still be too little: it then joins the rarest of the others.
    if 0 < counts[order[kept:]].sum() * smaller < _LEAST_EXPECTED:
        kept -= 1
    column = np.empty(len(kinds), np.int64)
    column[order] = np.minimum(np.arange(len(kinds)), max(kept, 0))
    placed = column[places]
    sides = placed[: len(one)], placed[len(one) :]
    width = int(placed.max()) + 1
    return np.array([np.bincount(side, minlength=width) for side in sides], dtype=np.float64), sides


def shifts(first: Sample, second: Sample) -> list[QuestionShift]:
    """How the second sample's questions differ from the first's in each respect.

    By clusters only questions count that they were not learned from, nor others of the same users.
    """
    placed, there = (each.where(each.held_out & (each.clusters != NOWHERE)) for each in (first, second))
    found = [shift(placed, there, "clusters", (placed.clusters, there.clusters))]
    names = sorted(first.traits.keys() | second.traits.keys())
    buckets = [name for name in names if name.startswith(_BUCKET)]
    found.append(shift(first, second, "prompt length", (_bucket(first, buckets), _bucket(second, buckets))))
    for name in names:
        if name not in buckets:
            one, other = (each.traits.get(name, np.zeros(len(each), bool)) for each in (first, second))
            found.append(shift(first, second, name, (one.astype(np.int64), other.astype(np.int64))))
    return found


def _bucket(sample: Sample, buckets: Sequence[str]) -> Ints:
    found = np.zeros(len(sample), np.int64)
    for place, name in enumerate(buckets):
        if name in sample.traits:
            found[sample.traits[name]] = place
    return found
