"""The phases of one run, in order. What a phase finds done it skips: that is how a run resumes."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from engine.environment import describe
from engine.phases import data
from engine.phases.benchmarks import benchmark, is_benchmarked
from engine.phases.compare import compare
from engine.phases.generate import Loader, generate, grouped
from engine.phases.judge import judge, match_item, matches
from engine.phases.perplexity import perplexity
from engine.phases.score import declare, measures, score, text_metrics
from engine.phases.work import Piece, Stopped, Work
from engine.plan import parse_plan
from store import tables
from store.record import Recorder


def execute(recorder: Recorder, store: Path, request: Callable[[], str | None]) -> None:
    """Takes a claimed run from wherever it stands to its end.

    Raises Stopped between two stored pieces of work when `request` says so, and AssayError or StoreError
    when the run cannot go on; what was finished is kept in either case.
    """
    row = recorder.run()
    plan = parse_plan(row["plan"], Path(row["plan_folder"]), row["plan_file"])
    work = Work(plan, recorder, store, dict(row["options"] or {}), request)
    recorder.set_run(started=row["started"] or time.time(), environment=row["environment"] or describe(plan))
    _declare_models(work)
    only = work.options.get("only")
    for phases, step in _STEPS:
        if only is None or only in phases or "data" in phases:
            recorder.set_run(phase=phases[0])
            step(work)
            work.checkpoint()
    if only:
        recorder.set_run(options={**work.options, "only": None})
        recorder.event("info", only, f"only {only} was asked for; resuming does the rest")
        raise Stopped("pause")


def _declare_models(work: Work) -> None:
    known = {row["name"]: row["id"] for row in work.recorder.rows(tables.Model, run_id=work.recorder.run_id)}
    with work.recorder.transaction() as transaction:
        for place, model in enumerate(work.plan.models):
            if model.name not in known:
                known[model.name] = transaction.insert(
                    tables.Model,
                    {
                        "run_id": work.recorder.run_id,
                        "name": model.name,
                        "role": model.role,
                        "kind": model.kind,
                        "position": place,
                    },
                )
    work.model_ids = known


def _prepare(work: Work) -> None:
    data.prepare(work)
    declare(work)
    work.announce(list(_pieces(work)))


def _pieces(work: Work) -> Iterator[Piece]:
    """Everything the run will do, in the order of the phases."""
    plan, count = work.plan, len(work.examples)
    yield Piece("data", plan.data.examples.name, "examples", count)
    for model in grouped(plan.models):
        yield Piece("generate", model.name, "responses", count)
    if "perplexity" in plan.metrics.use:
        for model in grouped(plan.models):
            yield Piece("perplexity", model.name, "texts", count)
    if plan.benchmarks is not None:
        for model in grouped(plan.models):
            if is_benchmarked(work, model):
                yield Piece("benchmarks", model.name, "questions", 0)
    for name in text_metrics(plan):
        yield Piece("score", name, "responses", count * len(plan.models))
    for judge_plan in plan.judges:
        for candidate, baseline in matches(work):
            yield Piece("judge", match_item(judge_plan.name, candidate, baseline), "judgments", 2 * count)
    yield Piece("compare", "all models", "measures", len(measures(plan)) + 1)


def _weights(work: Work) -> None:
    """Generation, perplexity and benchmarks, base by base, so that each base is loaded once."""
    loader = Loader(work)
    only = work.options.get("only")
    try:
        for model in grouped(work.plan.models):
            if only in (None, "generate"):
                work.recorder.set_run(phase="generate")
                generate(work, model, loader)
            if only in (None, "perplexity") and "perplexity" in work.plan.metrics.use:
                work.recorder.set_run(phase="perplexity")
                perplexity(work, model, loader)
            if only in (None, "benchmarks") and work.plan.benchmarks is not None:
                work.recorder.set_run(phase="benchmarks")
                benchmark(work, model, loader)
            work.checkpoint()
    finally:
        loader.close()


def _judge(work: Work) -> None:
    for settings in work.plan.judges:
        judge(work, settings)


_STEPS: tuple[tuple[tuple[str, ...], Callable[[Work], None]], ...] = (
    (("data",), _prepare),
    (("generate", "perplexity", "benchmarks"), _weights),
    (("score",), score),
    (("judge",), _judge),
    (("compare",), compare),
)
