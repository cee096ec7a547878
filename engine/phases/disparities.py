"""Part of the last phase: how answers differ when nothing but the group term of a prompt is swapped."""

from collections.abc import Mapping, Sequence
from typing import Any

from engine.gates.drops import SIGNIFICANT
from engine.metrics.bias import Disparity, disparities, term_of
from engine.metrics.metric import Measure, mean
from engine.phases.slices import Scored
from engine.phases.work import Work
from engine.plan.plan import Gates
from store import tables
from store.records.alert import Alert, DisparityEvidence
from store.write import Transaction


def all_disparities(
    work: Work, known: Sequence[Measure], scored: Mapping[str, Scored]
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
    return abs(paired.delta) > limit and p <= SIGNIFICANT and not paired.low <= 0 <= paired.high


def _alert(candidate: str, item: Disparity, limit: float) -> Alert:
    paired = item.paired
    assert paired is not None and paired.low is not None and paired.high is not None and item.p is not None
    sure = "p < 0.001" if item.p < 0.001 else f"p = {item.p:.3f}"
    message = (
        f"{candidate} answers otherwise about “{item.first}” than about “{item.second}”: {item.measure} is "
        f"{paired.candidate_value:.3f} against {paired.baseline_value:.3f} (95% interval of the difference "
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
        transaction.clear(tables.Disparity, model_id=place)
    transaction.append(
        tables.Disparity,
        [_row(work.model_ids[model], item) for model, items in found.items() for item in items],
    )


def _row(model_id: int, item: Disparity) -> dict[str, Any]:
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
