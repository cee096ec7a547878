"""Every measure on every slice of the examples, and disparities between groups of prompts."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from engine.compare.comparison import Comparison, from_paired, not_comparable
from engine.compare.ruling import BoundedComparison, Ruling, rule
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
from engine.metrics.slices import Disparity, disparities, equal_opportunities, largest, slice_ids, terms_of
from engine.phases.data import slices_of_set
from engine.phases.work import Work
from engine.plan.plan import Gates
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
    members: Mapping[str, Sequence[str]] = largest(every)
    if len(members) < len(every):
        left = len(every) - len(members)
        work.recorder.event(
            "info", "compare", f"the {len(members)} largest slices are compared, {left} smaller ones are not"
        )
    # What all examples have says nothing that the whole does not.
    members = {name: own for name, own in members.items() if len(own) < len(ids)} | slices_of_set(work)
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
        if item.kind == "metric" and item.delta is not None and (item.candidate, item.measure) in columns
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
    for place in (work.model_ids[model.name] for model in work.plan.models):
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


@dataclass(frozen=True, slots=True)
class RuledDisparity:
    """A disparity of a model, ruled on with its others; a comparison of one group with the other."""

    found: Disparity
    comparison: Comparison
    is_checked: bool  # by the gate: a measure from 0 to 1

    @property
    def ruling(self) -> Ruling:
        assert self.comparison.ruling is not None
        return self.comparison.ruling


def all_disparities(
    work: Work, known: Sequence[Measure], scored: Mapping[str, SliceScores]
) -> dict[str, list[RuledDisparity]]:
    """Each model's disparities, over every measure that is a number for each answer; none without terms."""
    if not any(terms_of(example) for example in work.examples):
        return {}
    names = [measure.name for measure in known if measure.combine is mean and measure.independent]
    checked = {measure.name for measure in known if _is_checked(measure)}
    labels = equal_opportunities(work.examples)
    checked |= labels.keys()
    return {
        model: _ruled_disparities(
            model,
            checked,
            disparities(
                work.examples,
                _values(names, scores) | _values(["accuracy"], scores, labels),
                work.plan.data.seed,
            ),
        )
        for model, scores in scored.items()
    }


def _values(
    names: Sequence[str], scores: SliceScores, of: Mapping[str, Collection[str]] | None = None
) -> dict[str, dict[str, float]]:
    """A number for each measure and example, or for each of the sets `of` examples by its name."""
    known = {
        name: {key: parts[0] / parts[1] for key, parts in scores.parts.get(name, {}).items() if parts[1]}
        for name in names
    }
    if of is None:
        return known
    whole = known[names[0]]
    return {name: {key: whole[key] for key in ids if key in whole} for name, ids in of.items() if whole}


def _is_checked(measure: Measure) -> bool:
    """Whether the gate on disparities checks the measure: from 0 to 1."""
    return (measure.low, measure.high) == (0.0, 1.0)


def _ruled_disparities(
    model: str, checked: Collection[str], found: Sequence[Disparity]
) -> list[RuledDisparity]:
    """Between two groups no direction is the better one. What the gate checks is a family of its own."""
    compared = [
        from_paired(model, model, item.measure, "none", "metric", item.paired, item.reason)
        if item.paired
        else not_comparable(model, model, item.measure, "none", "metric", item.reason or "")
        for item in found
    ]
    rulings: dict[int, Ruling] = {}
    for asked in (True, False):
        family = [place for place, item in enumerate(found) if (item.measure in checked) == asked]
        ruled = rule("disparities", [BoundedComparison(compared[place]) for place in family])
        rulings |= dict(zip(family, ruled, strict=True))
    return [
        RuledDisparity(item, replace(compared[place], ruling=rulings[place]), item.measure in checked)
        for place, item in enumerate(found)
    ]


def disparity_alerts(
    found: Mapping[str, Sequence[RuledDisparity]],
    candidates: Sequence[str],
    gates: Gates,
) -> list[Alert]:
    """A warning for each settled disparity of a candidate beyond the limit, on measures from 0 to 1."""
    limit = gates.max_disparity
    if limit is None:
        return []
    return [
        _alert(candidate, item, limit)
        for candidate in candidates
        for item in found.get(candidate, ())
        if item.is_checked and item.ruling.is_decided and abs(item.comparison.delta or 0.0) > limit
    ]


def _alert(candidate: str, item: RuledDisparity, limit: float) -> Alert:
    found, compared, ruling = item.found, item.comparison, item.ruling
    p = ruling.p or 0.0
    sure = "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
    message = (
        f"{candidate} answers differently about “{found.first}” than about “{found.second}”: "
        f"{found.measure} is {compared.candidate_value:.3f} against {compared.baseline_value:.3f} (95% CI of "
        f"the difference {ruling.low or 0.0:+.3f} to {ruling.high or 0.0:+.3f}, n = {compared.n} prompts, "
        f"{sure}, both corrected for {ruling.size} comparisons). The plan allows at most {limit:.3g}."
    )
    evidence = DisparityEvidence(
        first=found.first,
        second=found.second,
        delta=compared.delta,
        low=compared.low,
        high=compared.high,
        p=compared.p,
        p_corrected=ruling.p,
        n=compared.n,
    )
    return Alert("warning", "disparity", candidate, None, found.measure, message, evidence)


def write_disparities(
    work: Work, transaction: Transaction, found: Mapping[str, Sequence[RuledDisparity]]
) -> None:
    for place in (work.model_ids[model.name] for model in work.plan.models):
        transaction.clear(records.StoredDisparity, model_id=place)
    transaction.append(
        [
            records.StoredDisparity(
                model_id=work.model_ids[model],
                measure=item.found.measure,
                first=item.found.first,
                second=item.found.second,
                delta=item.comparison.delta,
                low=item.comparison.low,
                high=item.comparison.high,
                p=item.ruling.p,
                n=item.comparison.n,
                reason=item.found.reason,
                standing=item.ruling.standing,
            )
            for model, items in found.items()
            for item in items
        ]
    )
