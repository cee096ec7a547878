"""Part of the last phase: what leaked and what looks like it, put to the gates."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from engine.compare.comparison import Comparison
from engine.data.leak import TIERS
from engine.data.suspicion import Suspicion, all_jump, near_ceiling, prefers_original
from engine.gates.data import Leaked, leakage_alerts, suspicion_alerts
from engine.metrics.metric import Measure
from engine.phases.leaks import NOT_LEAKED, leaked_tiers
from engine.phases.work import Work
from engine.plan.plan import Model
from store import tables
from store.records.alert import Alert, LeakDifference

ALTERED = "-altered"  # after the name of a corpus: the same texts, reworded or with their options shuffled
FEWEST = 20  # values behind a score that is called near the ceiling

Summaries = Sequence[Mapping[str, Any]]


def data_alerts(
    work: Work,
    measures: Mapping[str, Measure],
    summaries: Summaries,
    slices: Summaries,
    benchmarks: Sequence[Comparison],
) -> list[Alert]:
    """Leakage for each candidate, and hints that models have seen what they are measured on."""
    tiers = leaked_tiers(work)
    counted = Counter(tiers.values())
    leaked = Leaked(
        tuple(sorted(tiers)), {tier: counted[tier] for tier in TIERS if counted[tier]}, len(work.examples)
    )
    differences = {
        model.name: _differences(work, model, measures, summaries, slices) for model in work.plan.candidates
    }
    return [
        *leakage_alerts(leaked, differences, work.plan.gates),
        *suspicion_alerts(_suspicions(work, measures, summaries, benchmarks)),
    ]


def _differences(
    work: Work, model: Model, measures: Mapping[str, Measure], summaries: Summaries, slices: Summaries
) -> list[LeakDifference]:
    """On measures from 0 to 1 where higher is better."""
    place = work.model_ids[model.name]
    without = {
        row["measure"]: row["value"]
        for row in slices
        if row["model_id"] == place and row["slice"] == NOT_LEAKED and row["value"] is not None
    }
    return [
        LeakDifference(
            row["measure"],
            row["value"],
            without[row["measure"]],
            row["value"] - without[row["measure"]],
        )
        for row in summaries
        if row["model_id"] == place
        and row["value"] is not None
        and row["measure"] in without
        and _is_share(measures[row["measure"]])
    ]


def _is_share(measure: Measure) -> bool:
    return (measure.direction, measure.low, measure.high) == ("higher", 0.0, 1.0)


def _suspicions(
    work: Work, measures: Mapping[str, Measure], summaries: Summaries, benchmarks: Sequence[Comparison]
) -> Iterator[tuple[str, str | None, Suspicion]]:
    for model in work.plan.baselines:
        for found in near_ceiling(model.name, _scores(work, model, measures, summaries)):
            yield model.name, None, found
    for candidate in work.plan.candidates:
        for baseline in work.plan.baselines:
            for found in all_jump(candidate.name, _rises(candidate, baseline, benchmarks)):
                yield candidate.name, baseline.name, found
    for model in work.plan.models:
        for found in _originals(work, model):
            yield model.name, None, found


def _scores(
    work: Work, model: Model, measures: Mapping[str, Measure], summaries: Summaries
) -> dict[str, float]:
    """What a model gets right, as shares: of the references, and of its benchmarks."""
    place = work.model_ids[model.name]
    found = {
        row["measure"]: row["value"]
        for row in summaries
        if row["model_id"] == place
        and row["value"] is not None
        and row["n"] >= FEWEST
        and _is_share(measures[row["measure"]])
        and "references" in measures[row["measure"]].needs
    }
    for row in work.recorder.rows(tables.BenchmarkScore, model_id=place):
        value = row["value"]
        if value is not None and row["higher_is_better"] and 0 <= value <= 1 and row["n"] >= FEWEST:
            found[row["task"]] = min(value, found.get(row["task"], value))
    return found


def _rises(candidate: Model, baseline: Model, benchmarks: Sequence[Comparison]) -> dict[str, float]:
    """By how much each benchmark of fractions got better, by that of its metrics which rose the least."""
    rises: dict[str, float] = {}
    for item in benchmarks:
        values = (item.candidate_value, item.baseline_value)
        if (item.candidate, item.baseline) == (candidate.name, baseline.name) and all(
            value is not None and 0 <= value <= 1 for value in values
        ):
            task, rise = item.measure.partition(" · ")[0], -(item.worsening or 0.0)
            rises[task] = min(rise, rises.get(task, rise))
    return rises


def _originals(work: Work, model: Model) -> Iterator[Suspicion]:
    """Corpora that stand in the plan a second time, reworded: bits per byte, text by text."""
    corpora = work.plan.metrics.corpora
    for name in corpora:
        if f"{name}{ALTERED}" in corpora:
            ours, theirs = (_bits(work, model, corpus) for corpus in (name, f"{name}{ALTERED}"))
            both = sorted(ours.keys() & theirs.keys())
            found = prefers_original(
                model.name, [ours[text] for text in both], [theirs[text] for text in both]
            )
            yield from found


def _bits(work: Work, model: Model, corpus: str) -> dict[int, float]:
    rows = work.recorder.rows(tables.CorpusScore, model_id=work.model_ids[model.name], corpus=corpus)
    return {
        row["text"]: row["nll"] / math.log(2) / row["bytes"]
        for row in rows
        if row["nll"] is not None and row["bytes"]
    }
