"""Part of the last phase: every measure on every slice of the examples, model by model and pair by pair."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from engine.compare.comparison import Comparison
from engine.compare.slices import (
    Column,
    Slice,
    SliceValue,
    column,
    compare_slices,
    places,
    slice_values,
)
from engine.metrics.metric import Measure
from engine.metrics.slices import largest, slice_ids
from engine.phases.leaks import leak_slices
from engine.phases.work import Work
from store import tables
from store.write import Transaction


class Scored(Protocol):
    """One model's scores, by measure and example: additive parts, and why others are missing."""

    @property
    def parts(self) -> Mapping[str, Mapping[str, tuple[float, ...]]]: ...

    @property
    def missing(self) -> Mapping[str, Mapping[str, str]]: ...


@dataclass(frozen=True, slots=True)
class Sliced:
    """What there is to record of slices."""

    scores: list[dict[str, Any]]
    comparisons: list[Slice]


def slices(
    work: Work, known: Sequence[Measure], scored: Mapping[str, Scored], comparisons: Sequence[Comparison]
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
            "info", "compare", f"the {len(members)} largest slices are looked at, {left} smaller ones are not"
        )
    members = {**members, **leak_slices(work)}
    columns = {
        (name, measure.name): column(name, measure, model.parts[measure.name], ids)
        for measure in known
        for name, model in scored.items()
    }
    rows = places(members, ids)
    values = slice_values(list(columns.values()), rows, work.plan.data.seed)
    pairs: list[tuple[Column, Column]] = [
        (columns[item.candidate, item.measure], columns[item.baseline, item.measure])
        for item in comparisons
        if item.kind == "metric" and item.delta is not None
    ]
    return Sliced(
        [_row(work, value, members[value.name], scored[value.column.model]) for value in values],
        compare_slices(pairs, rows, work.plan.data.seed),
    )


def _row(work: Work, value: SliceValue, ids: Sequence[str], scored: Scored) -> dict[str, Any]:
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
        transaction.clear(tables.SliceScore, model_id=place)
        transaction.clear(tables.SliceComparison, candidate_id=place)
    transaction.append(tables.SliceScore, sliced.scores)
    transaction.append(tables.SliceComparison, [_comparison_row(work, item) for item in sliced.comparisons])


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
