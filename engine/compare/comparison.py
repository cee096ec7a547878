"""A candidate against a baseline on one measure: what screens show and gates check."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from engine.compare.ruling import Ruling
from engine.metrics.calibration import ERROR, FEW, Forecast, forecast_parts, is_kind, pairs_of
from engine.metrics.metric import Direction, Measure
from engine.stats.calibration import FEWEST, compare_calibration
from engine.stats.intervals import finite
from engine.stats.paired import Paired, Sides, compare_all

Kind = Literal["metric", "benchmark", "corpus"]

_WORST = 20
DEPENDENT = "no interval: answers of one batch share its time, so their values are not independent"


@dataclass(frozen=True, slots=True)
class Comparison:
    """Both values, their difference (candidate minus baseline) and how sure it is.

    `reason` says why there is no delta, or no comparison; `worst` are the ids of the examples (documents, for
    a benchmark) on which the candidate fell furthest behind, the furthest first. Until the comparison is
    ruled on with its family `ruling` is None, and so is what its gate allows: `allowed`, the largest
    worsening, which stays None without a gate.
    """

    candidate: str
    baseline: str
    measure: str
    direction: Direction
    kind: Kind
    candidate_value: float | None
    baseline_value: float | None
    delta: float | None
    low: float | None
    high: float | None
    p: float | None
    n: int
    smallest_detectable: float | None
    reason: str | None = None
    worst: tuple[str, ...] = ()
    ruling: Ruling | None = None
    allowed: float | None = None

    @property
    def worsening(self) -> float | None:
        """How much worse the candidate is, in the measure's unit (negative: better); None where unknown."""
        if self.delta is None or self.direction == "none":
            return None
        return -self.delta if self.direction == "higher" else self.delta


def stored(comparison: Comparison) -> dict[str, Any]:
    """A comparison that is ruled on, by the names under which the store keeps it."""
    row = asdict(comparison)
    del row["worst"], row["ruling"]
    assert comparison.ruling is not None, f"no ruling on {comparison.measure}"
    return row | comparison.ruling.stored()


def reach(measure: Measure) -> float | None:
    """The largest difference that the two ends of a measure's range allow; None: one end is open."""
    return None if measure.low is None or measure.high is None else measure.high - measure.low


def from_paired(
    candidate: str,
    baseline: str,
    measure: str,
    direction: Direction,
    kind: Kind,
    paired: Paired,
    reason: str | None = None,
    worst: tuple[str, ...] = (),
) -> Comparison:
    """A comparison of two named models from what the statistics gave."""
    return Comparison(
        candidate=candidate,
        baseline=baseline,
        measure=measure,
        direction=direction,
        kind=kind,
        candidate_value=paired.candidate_value,
        baseline_value=paired.baseline_value,
        delta=paired.delta,
        low=paired.low,
        high=paired.high,
        p=paired.p,
        n=paired.n,
        smallest_detectable=paired.smallest_detectable,
        reason=reason,
        worst=worst,
    )


def not_comparable(
    candidate: str,
    baseline: str,
    measure: str,
    direction: Direction,
    kind: Kind,
    reason: str,
    candidate_value: float | None = None,
    baseline_value: float | None = None,
) -> Comparison:
    """Two values that must not be compared, or one of which is missing, and why.

    Perplexities of models with different tokenizers are one case (bits_per_byte compares them), benchmark
    scores of different task versions, shots or prompts another.
    """
    nothing = Paired(candidate_value, baseline_value, None, None, None, None, 0, None)
    return from_paired(candidate, baseline, measure, direction, kind, nothing, reason)


def compare_parts(
    candidate: str,
    baseline: str,
    measure: Measure,
    candidate_parts: Mapping[str, Sequence[float]],
    baseline_parts: Mapping[str, Sequence[float]],
    kind: Kind = "metric",
    seed: int = 0,
) -> Comparison:
    """Compare two models on the examples that both have, by one measure.

    The parts are those of `Score.additive`, by example id (for a benchmark: (value, 1) by document hash);
    missing scores are left out of them.
    """
    [found] = compare_measures(
        candidate, baseline, [Scores(measure, candidate_parts, baseline_parts)], kind, seed
    )
    return found


def compare_forecasts(
    candidate: str,
    baseline: str,
    measure: Measure,
    candidate_forecasts: Mapping[str, Forecast],
    baseline_forecasts: Mapping[str, Forecast],
    seed: int = 0,
) -> Comparison:
    """Compare what two models' probabilities are worth, on what both have probabilities of."""
    shared = sorted(candidate_forecasts.keys() & baseline_forecasts.keys())
    first, second = (
        {key: known[key] for key in shared} for known in (candidate_forecasts, baseline_forecasts)
    )
    if not is_kind(measure, ERROR):
        parts = forecast_parts(measure, first), forecast_parts(measure, second)
        return compare_parts(candidate, baseline, measure, *parts, seed=seed)
    if len(shared) < FEWEST:
        reason = f"{FEW}; both models have probabilities of {len(shared)}"
        return not_comparable(candidate, baseline, measure.name, measure.direction, "metric", reason)
    paired = compare_calibration(pairs_of(first), pairs_of(second), seed)
    return from_paired(candidate, baseline, measure.name, measure.direction, "metric", paired)


@dataclass(frozen=True, slots=True)
class Scores:
    """One measure's additive parts under two models, by example id."""

    measure: Measure
    candidate: Mapping[str, Sequence[float]]
    baseline: Mapping[str, Sequence[float]]


def compare_measures(
    candidate: str, baseline: str, scores: Sequence[Scores], kind: Kind = "metric", seed: int = 0
) -> list[Comparison]:
    """Compare two models by many measures, as `compare_parts` does by one, in the order given.

    Measures of the same examples are resampled together, which costs little more than one of them.
    """
    found: dict[int, Comparison] = {}
    together: dict[tuple[str, ...], list[int]] = {}
    for place, item in enumerate(scores):
        shared = tuple(sorted(item.candidate.keys() & item.baseline.keys()))
        if shared and item.measure.independent:
            together.setdefault(shared, []).append(place)
        else:
            found[place] = _without_chance(candidate, baseline, item, kind)
    for shared, places in together.items():
        compared = _together(candidate, baseline, [scores[place] for place in places], shared, kind, seed)
        found |= dict(zip(places, compared, strict=True))
    return [found[place] for place in range(len(scores))]


def _without_chance(candidate: str, baseline: str, item: Scores, kind: Kind) -> Comparison:
    """Comparisons without an interval: nothing shared, or dependent values."""
    measure = item.measure
    if item.candidate.keys() & item.baseline.keys():
        return _without_interval(candidate, baseline, measure, kind, item.candidate, item.baseline)
    reason = _no_shared(candidate, item.candidate, baseline, item.baseline)
    values = (_value(measure, item.candidate), _value(measure, item.baseline))
    return not_comparable(candidate, baseline, measure.name, measure.direction, kind, reason, *values)


def _together(
    candidate: str, baseline: str, scores: Sequence[Scores], shared: Sequence[str], kind: Kind, seed: int
) -> list[Comparison]:
    """Measures that have values for the same examples under both models."""
    sides = [
        Sides(
            np.array([item.candidate[key] for key in shared], dtype=np.float64),
            np.array([item.baseline[key] for key in shared], dtype=np.float64),
            item.measure.combine,
            reach(item.measure),
        )
        for item in scores
    ]
    alone = "no interval from a single example" if len(shared) == 1 else None
    found = []
    for item, side, paired in zip(scores, sides, compare_all(sides, seed), strict=True):
        measure = item.measure
        gaps = measure.combine(side.candidate) - measure.combine(side.baseline)
        worst = _worst(shared, gaps if measure.direction == "lower" else -gaps)
        found.append(
            from_paired(candidate, baseline, measure.name, measure.direction, kind, paired, alone, worst)
        )
    return found


def _value(measure: Measure, parts: Mapping[str, Sequence[float]]) -> float | None:
    if not parts:
        return None
    return finite(measure.combine(np.array(list(parts.values()), dtype=np.float64).sum(axis=0)))


def _without_interval(
    candidate: str,
    baseline: str,
    measure: Measure,
    kind: Kind,
    candidate_parts: Mapping[str, Sequence[float]],
    baseline_parts: Mapping[str, Sequence[float]],
) -> Comparison:
    """Both values on the shared examples and their difference, without an interval."""
    shared = sorted(candidate_parts.keys() & baseline_parts.keys())
    values = [
        finite(measure.combine(np.array([parts[key] for key in shared], dtype=np.float64).sum(axis=0)))
        for parts in (candidate_parts, baseline_parts)
    ]
    first, second = values
    delta = None if first is None or second is None else first - second
    paired = Paired(first, second, delta, None, None, None, len(shared), None)
    return from_paired(candidate, baseline, measure.name, measure.direction, kind, paired, DEPENDENT)


def _no_shared(
    candidate: str, candidate_parts: Mapping[str, object], baseline: str, baseline_parts: Mapping[str, object]
) -> str:
    without = [
        name for name, parts in ((candidate, candidate_parts), (baseline, baseline_parts)) if not parts
    ]
    if without:
        return f"no value for {' and '.join(without)}"
    return "no example has a value for both models"


def _worst(keys: Sequence[str], worsening: NDArray[np.float64]) -> tuple[str, ...]:
    order = np.argsort(-worsening, kind="stable")[:_WORST]
    return tuple(keys[index] for index in order if worsening[index] > 0)
