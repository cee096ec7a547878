"""The benchmarks of two runs against each other: on the questions that both were asked in the same words."""

from collections import defaultdict

from engine.benchmarks.comparing import Key, Measured, Question, compare_scores, group_samples, measure_name
from engine.benchmarks.results import GROUPS
from engine.compare.comparable import Incomparable, Pair, Side, Sides
from engine.compare.comparison import Comparison
from store.read import evidence, history
from store.read.rows import ModelRow


def compare_benchmarks(sides: Sides, pair: Pair, incomparable: list[Incomparable]) -> list[Comparison]:
    """Every score of both models; `incomparable` is told of what only one run measured."""
    older, newer = (_measured(side, model) for side, model in zip(sides, pair, strict=True))
    before, after = (side.label(model) for side, model in zip(sides, pair, strict=True))
    found = []
    for key in dict.fromkeys((*older, *newer)):
        if key in older and key in newer:
            found.append(compare_scores(after, before, key, newer[key], older[key]))
        else:
            run = sides[0 if key in older else 1].run.id
            what = f"{measure_name(key)}, {pair[1].name}"
            incomparable.append(Incomparable(what, f"only run {run} measured it"))
    return found


def _measured(side: Side, model: ModelRow) -> dict[Key, Measured]:
    samples: dict[Key, dict[Question, float]] = defaultdict(dict)
    for row in evidence.benchmark_values(side.connection, model.id):
        if row.value is not None:
            question = Question(row.task, row.doc_id, row.prompt_hash, row.target_hash)
            samples[Key(row.task, row.metric, row.filter)][question] = row.value
    groups = (model.details or {}).get(GROUPS) or {}
    found = {}
    for score in history.benchmarks(side.connection, side.run.id):
        if score.model == model.name:
            key = Key(score.task, score.metric, score.filter)
            found[key] = Measured(
                value=score.value,
                stderr=score.stderr,
                n=score.n,
                version=score.version,
                shots=score.shots,
                higher_is_better=bool(score.higher_is_better),
                task_hash=score.task_hash,
                samples=group_samples(key, score.value, samples, groups),
            )
    return found
