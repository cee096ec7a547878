"""Every measure on every slice of the examples, and disparities between groups of prompts."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from engine.compare.comparison import Comparison
from engine.compare.slices import (
    MeasureColumn,
    Slice,
    SliceValue,
    column,
    compare_slices,
    places,
    slice_values,
)
from engine.metrics.metric import Measure, mean
from engine.metrics.slices import Disparity, disparities, largest, slice_ids, term_of
from engine.phases.data import leak_slices
from engine.phases.work import Work
from engine.plan.plan import Gates
from engine.stats.family import LEVEL
from store import records
from store.records.alert import Alert, DisparityEvidence
from store.write import Transaction


class SliceScores(Protocol):
    """One model's scores, by measure and example: additive parts, and why others are missing."""

    @property
    def parts(self) -> Mapping[str, Mapping[str, tuple[float, ...]]]: ...

    @property
    def missing(self) -> Mapping[str, Mapping[str, str]]: ...


@dataclass(frozen=True, slots=True)
class Sliced:
    """The slices' records."""

    scores: list[dict[str, Any]]
    comparisons: list[Slice]


def slices(
    work: Work, known: Sequence[Measure], scored: Mapping[str, SliceScores], comparisons: Sequence[Comparison]
) -> Sliced:
    """Every measure on each of the largest slices, and on the examples that leaked and those that did not.

    Pairs that do not compare on the whole are left out.
    """
    ids = [example.id for example in work.examples]
    every = slice_ids(work.examples)
    members = largest(every)
    if len(members) < len(every):
        left = len(every) - len(members)
        work.recorder.event(
            "info", "compare", f"the {len(members)} largest slices are compared, {left} smaller ones are not"
        )
    members = {**members, **leak_slices(work)}
    columns = {
        (name, measure.name): column(name, measure, model.parts[measure.name], ids)
        for measure in known
        for name, model in scored.items()
    }
    rows = places(members, ids)
    values = slice_values(list(columns.values()), rows, work.plan.data.seed)
    pairs: list[tuple[MeasureColumn, MeasureColumn]] = [
        (columns[item.candidate, item.measure], columns[item.baseline, item.measure])
        for item in comparisons
        if item.kind == "metric" and item.delta is not None
    ]
    return Sliced(
        [_row(work, value, members[value.name], scored[value.column.model]) for value in values],
        compare_slices(pairs, rows, work.plan.data.seed),
    )


def _row(work: Work, value: SliceValue, ids: Sequence[str], scored: SliceScores) -> dict[str, Any]:
    measure, interval = value.column.measure.name, value.interval
    reasons = scored.missing[measure]
    counted = Counter(reasons[key] for key in ids if key in reasons)
    return {
        "model_id": work.model_ids[value.column.model],
        "measure": measure,
        "slice": value.name,
        "value": interval.value,
        "low": interval.low,
        "high": interval.high,
        "n": interval.n,
        "missing": len(ids) - interval.n,
        "p": value.p,
        "reason": counted.most_common(1)[0][0] if counted else None,
    }


def write_slices(work: Work, transaction: Transaction, sliced: Sliced) -> None:
    for place in work.model_ids.values():
        transaction.clear(records.SliceScore, model_id=place)
        transaction.clear(records.SliceComparison, candidate_id=place)
    transaction.append([records.SliceScore(**row) for row in sliced.scores])
    transaction.append(
        [records.SliceComparison(**_comparison_row(work, item)) for item in sliced.comparisons]
    )


def _ruling(comparison: Comparison) -> dict[str, Any]:
    """The ruling as the store keeps it, where a slice has one p-value, the corrected one."""
    assert comparison.ruling is not None
    row = comparison.ruling.stored()
    row["p"] = row.pop("p_corrected")
    return row


def _comparison_row(work: Work, item: Slice) -> dict[str, Any]:
    comparison = item.comparison
    return {
        "candidate_id": work.model_ids[comparison.candidate],
        "baseline_id": work.model_ids[comparison.baseline],
        "measure": comparison.measure,
        "slice": item.name,
        "direction": comparison.direction,
        "candidate_value": comparison.candidate_value,
        "baseline_value": comparison.baseline_value,
        "delta": comparison.delta,
        "low": comparison.low,
        "high": comparison.high,
        "n": comparison.n,
        "reason": comparison.reason,
        **_ruling(comparison),
    }


def all_disparities(
    work: Work, known: Sequence[Measure], scored: Mapping[str, SliceScores]
) -> dict[str, list[Disparity]]:
    """Each model's disparities, over every measure that is a number for each answer; none without terms."""
    if not any(term_of(example) for example in work.examples):
        return {}
    names = [measure.name for measure in known if measure.combine is mean and measure.independent]
    return {
        model: disparities(
            work.examples,
            {
                name: {key: parts[0] / parts[1] for key, parts in scores.parts[name].items() if parts[1]}
                for name in names
            },
            work.plan.data.seed,
        )
        for model, scores in scored.items()
    }


def disparity_alerts(
    found: Mapping[str, Sequence[Disparity]],
    candidates: Sequence[str],
    gates: Gates,
    measures: Mapping[str, Measure],
) -> list[Alert]:
    """A warning for each settled disparity of a candidate beyond the limit, on measures from 0 to 1."""
    limit = gates.max_disparity
    if limit is None:
        return []
    return [
        _alert(candidate, item, limit)
        for candidate in candidates
        for item in found.get(candidate, ())
        if (measures[item.measure].low, measures[item.measure].high) == (0.0, 1.0) and _beyond(item, limit)
    ]


def _beyond(item: Disparity, limit: float) -> bool:
    paired, p = item.paired, item.p
    if paired is None or paired.delta is None or paired.low is None or paired.high is None or p is None:
        return False
    return abs(paired.delta) > limit and p <= LEVEL and not paired.low <= 0 <= paired.high


def _alert(candidate: str, item: Disparity, limit: float) -> Alert:
    paired = item.paired
    assert paired is not None and paired.low is not None and paired.high is not None and item.p is not None
    sure = "p < 0.001" if item.p < 0.001 else f"p = {item.p:.3f}"
    message = (
        f"{candidate} answers differently about “{item.first}” than about “{item.second}”: {item.measure} is "
        f"{paired.candidate_value:.3f} against {paired.baseline_value:.3f} (95% CI of the difference "
        f"{paired.low:+.3f} to {paired.high:+.3f}, n = {paired.n} prompts, {sure} after correction). "
        f"The plan allows at most {limit:.3g}."
    )
    evidence = DisparityEvidence(
        first=item.first,
        second=item.second,
        delta=paired.delta,
        low=paired.low,
        high=paired.high,
        p=paired.p,
        p_corrected=item.p,
        n=paired.n,
    )
    return Alert("warning", "disparity", candidate, None, item.measure, message, evidence)


def write_disparities(work: Work, transaction: Transaction, found: Mapping[str, Sequence[Disparity]]) -> None:
    for place in work.model_ids.values():
        transaction.clear(records.StoredDisparity, model_id=place)
    transaction.append(
        [
            records.StoredDisparity(**_disparity_row(work.model_ids[model], item))
            for model, items in found.items()
            for item in items
        ]
    )


def _disparity_row(model_id: int, item: Disparity) -> dict[str, Any]:
    paired = item.paired
    return {
        "model_id": model_id,
        "measure": item.measure,
        "first": item.first,
        "second": item.second,
        "delta": paired.delta if paired else None,
        "low": paired.low if paired else None,
        "high": paired.high if paired else None,
        "p": item.p,
        "n": paired.n if paired else 0,
        "reason": item.reason,
    }
