"""Benchmarks of candidates against those of baselines, question by question."""

from typing import Any

from engine.comparison import Comparison, compare_parts, not_comparable
from engine.metrics.metric import Measure
from engine.phases.benchmarks import first_with_weights
from engine.phases.work import Work
from engine.plan import Model
from store import tables

Key = tuple[str, str, str]  # task, metric, filter


def benchmark_comparisons(work: Work) -> list[Comparison]:
    """Every benchmark metric of every candidate against each set of baseline weights."""
    if work.plan.benchmarks is None:
        return []
    baselines = [model for model in work.plan.baselines if first_with_weights(work, model) is model]
    scores = {model.name: _scores(work, model) for model in work.plan.models}
    found = []
    for candidate in work.plan.candidates:
        for baseline in baselines:
            for key, ours in scores[candidate.name].items():
                theirs = scores[baseline.name].get(key)
                if theirs is not None:
                    found.append(_compare(work, key, (candidate, ours), (baseline, theirs)))
    return found


def measure_name(key: Key) -> str:
    task, metric, filter_ = key
    return f"{task} · {metric}" if filter_ == "none" else f"{task} · {metric} ({filter_})"


def _scores(work: Work, model: Model) -> dict[Key, dict[str, Any]]:
    benchmarked = first_with_weights(work, model) if model.kind == "local" else model
    rows = work.recorder.rows(tables.BenchmarkScore, model_id=work.model_ids[benchmarked.name])
    return {(row["task"], row["metric"], row["filter"]): row for row in rows}


def _compare(
    work: Work, key: Key, ours: tuple[Model, dict[str, Any]], theirs: tuple[Model, dict[str, Any]]
) -> Comparison:
    (candidate, score), (baseline, base_score) = ours, theirs
    direction = "higher" if score["higher_is_better"] else "lower"
    name = measure_name(key)
    different = [
        label
        for label, column in (("task version", "version"), ("shots", "shots"), ("task content", "task_hash"))
        if score[column] != base_score[column]
    ]
    if different:
        return not_comparable(
            candidate.name,
            baseline.name,
            name,
            direction,  # type: ignore[arg-type]  # one of the two literals
            "benchmark",
            f"different {', '.join(different)}",
            score["value"],
            base_score["value"],
        )
    measure = Measure(
        name=name,
        direction=direction,  # type: ignore[arg-type]
        low=None,
        high=None,
        unit="",
        needs=frozenset(),
        version=score["version"],
        source="lm-evaluation-harness",
        meaning=name,
    )
    return compare_parts(
        candidate.name,
        baseline.name,
        measure,
        _parts(work, score, key),
        _parts(work, base_score, key),
        kind="benchmark",
        seed=work.plan.data.seed,
    )


def _parts(work: Work, score: dict[str, Any], key: Key) -> dict[str, tuple[float, float]]:
    """A question counts as the same only where its text, its prompt and its target are."""
    task, metric, filter_ = key
    rows = work.recorder.rows(
        tables.BenchmarkSample, model_id=score["model_id"], task=task, metric=metric, filter=filter_
    )
    return {
        f"{row['doc_id']} {row['prompt_hash']} {row['target_hash']}": (row["value"], 1.0)
        for row in rows
        if row["value"] is not None
    }
