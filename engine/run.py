"""The phases of one run, in order. What a phase finds done it skips: that is how a run resumes."""

import time
from collections.abc import Callable
from pathlib import Path

from engine.environment import describe
from engine.phases import data
from engine.phases.benchmarks import benchmark
from engine.phases.compare import compare
from engine.phases.generate import Loader, generate, grouped
from engine.phases.judge import judge
from engine.phases.perplexity import perplexity
from engine.phases.score import declare, score
from engine.phases.work import PHASES, Stopped, Work
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
    for phase in PHASES:
        if only and phase not in ("data", only):
            continue
        recorder.set_run(phase=phase)
        _STEPS[phase](work)
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


_STEPS: dict[str, Callable[[Work], None]] = {
    "data": _prepare,
    "generate": _weights,
    "perplexity": _weights,
    "benchmarks": _weights,
    "score": score,
    "judge": _judge,
    "compare": compare,
}
