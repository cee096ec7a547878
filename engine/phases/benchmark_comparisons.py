"""Benchmarks of candidates against those of baselines, question by question."""

from collections import defaultdict

from engine.benchmarks.results import GROUPS
from engine.compare.benchmarks import Key, Measured, Question, compare_scores, group_samples
from engine.compare.comparison import Comparison
from engine.phases.benchmarks import first_with_weights
from engine.phases.work import Work
from engine.plan.plan import Model
from store import tables


def benchmark_comparisons(work: Work) -> list[Comparison]:
    """Every benchmark metric of every candidate against each set of baseline weights."""
    if work.plan.benchmarks is None:
        return []
    baselines = [model for model in work.plan.baselines if first_with_weights(work, model) is model]
    scores = {model.name: _measured(work, model) for model in work.plan.models}
    return [
        compare_scores(
            candidate.name, baseline.name, key, ours, scores[baseline.name][key], work.plan.data.seed
        )
        for candidate in work.plan.candidates
        for baseline in baselines
        for key, ours in scores[candidate.name].items()
        if key in scores[baseline.name]
    ]


def _measured(work: Work, model: Model) -> dict[Key, Measured]:
    benchmarked = first_with_weights(work, model) if model.kind == "local" else model
    model_id = work.model_ids[benchmarked.name]
    samples: dict[Key, dict[Question, float]] = defaultdict(dict)
    for row in work.recorder.rows(tables.BenchmarkSample, model_id=model_id):
        if row["value"] is not None:
            question = Question(row["task"], row["doc_id"], row["prompt_hash"], row["target_hash"])
            samples[Key(row["task"], row["metric"], row["filter"])][question] = row["value"]
    details = work.recorder.rows(tables.Model, id=model_id)[0]["details"] or {}
    found = {}
    for row in work.recorder.rows(tables.BenchmarkScore, model_id=model_id):
        key = Key(row["task"], row["metric"], row["filter"])
        found[key] = Measured(
            value=row["value"],
            stderr=row["stderr"],
            n=row["n"],
            version=row["version"],
            shots=row["shots"],
            higher_is_better=row["higher_is_better"],
            task_hash=row["task_hash"],
            samples=group_samples(key, row["value"], samples, details.get(GROUPS) or {}),
        )
    return found
