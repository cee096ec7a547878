"""Fourth phase: lm-eval tasks on every set of weights, each finished task stored at once."""

from collections.abc import Iterable
from typing import Any

from engine.benchmarks.harness import TaskResult
from engine.phases.generate import Loader
from engine.phases.work import Work, closed_after
from engine.plan import Model
from store import tables


def weights(model: Model) -> tuple[object, ...]:
    """What a benchmark depends on: the system prompt, which tasks do not get, is not part of it."""
    return (model.path, model.adapter, model.dtype)


def first_with_weights(work: Work, model: Model) -> Model:
    """The model that is benchmarked for all that have its weights."""
    return next(other for other in work.plan.models if weights(other) == weights(model))


def is_benchmarked(work: Work, model: Model) -> bool:
    """Whether tasks run on this model: it has weights here, and no model before it has the same."""
    return model.kind == "local" and first_with_weights(work, model) is model


def benchmark(work: Work, model: Model, loader: Loader) -> None:
    settings = work.plan.benchmarks
    assert settings is not None
    if not is_benchmarked(work, model):
        return
    model_id = work.model_ids[model.name]
    done = work.recorder.column(tables.BenchmarkScore, "task", model_id=model_id)
    todo = [task for task in settings.tasks if task not in done]
    if not todo:
        return
    meter = work.meter("benchmarks", model.name, "questions", total=0, done=0)

    def report(answered: int, total: int) -> None:
        meter.reach(answered, total=total)

    with closed_after(loader.tasks(model, settings, todo, report)) as results:
        for result in results:
            _store(work, model_id, result)
            work.checkpoint()


def _store(work: Work, model_id: int, result: TaskResult) -> None:
    with work.recorder.transaction() as transaction:
        transaction.append(tables.BenchmarkScore, list(_scores(model_id, result)))
        transaction.append(tables.BenchmarkSample, list(_samples(model_id, result)))


def _scores(model_id: int, result: TaskResult) -> Iterable[dict[str, Any]]:
    for score in result.scores:
        yield {
            "model_id": model_id,
            "task": score.task,
            "metric": score.metric,
            "filter": score.filter,
            "value": score.value,
            "stderr": score.stderr,
            "n": score.n,
            "version": score.version,
            "shots": score.shots,
            "higher_is_better": score.higher_is_better,
            "task_hash": result.task_hash,
        }


def _samples(model_id: int, result: TaskResult) -> Iterable[dict[str, Any]]:
    for sample in result.samples:
        yield {
            "model_id": model_id,
            "task": sample.task,
            "metric": sample.metric,
            "filter": sample.filter,
            "doc_id": sample.doc_id,
            "doc_hash": sample.doc_hash,
            "prompt_hash": sample.prompt_hash,
            "target_hash": sample.target_hash,
            "value": sample.value,
            "question": sample.question,
            "target": sample.target,
            "answer": sample.answer,
        }
