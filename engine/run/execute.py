"""Executes the phases of one run in order. A phase skips finished work: this is how a run resumes."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from engine.phases import data
from engine.phases.benchmarks import benchmark
from engine.phases.benchmarks import pieces as benchmark_pieces
from engine.phases.compare import compare, measured_use
from engine.phases.generate import Each, Loader, Step, generate, grouped
from engine.phases.judge import asked_judges, judge_all, judge_pieces
from engine.phases.judging.shared import open_purse
from engine.phases.perplexity import corpora, corpora_pieces, perplexity, validation_loss, validation_piece
from engine.phases.score import declare, measures, score, text_metrics
from engine.phases.sweep import drop_cut, funnel, is_open
from engine.phases.sweep import pieces as sweep_pieces
from engine.phases.work import CHECKPOINT, FOLLOW, Piece, Stopped, Work, plan_of
from engine.plan.plan import Model
from engine.plan.sweep import step_of
from engine.plan.training_config import read_training_config
from engine.run.environment import hold_to_hardware
from engine.run.follow import follow
from store import records
from store.write import Recorder


@contextmanager
def computing(work: Work) -> Iterator[Each]:
    """The plan's engine, ready to work; the weights that it has loaded are kept until the end.

    Raises CannotRun when the cluster of the plan cannot be had.
    """
    if work.plan.compute.engine == "ray":
        from engine.cluster import connect

        connect(work.plan.compute.address)
        from engine.phases.fleet import Fleet

        with Fleet(work) as fleet:
            yield fleet.each
        return
    loader = Loader(work)

    def each(models: Sequence[Model], step: Step) -> None:
        for model in models:
            step(work, model, loader)

    try:
        yield each
    finally:
        loader.close()


def execute(
    recorder: Recorder,
    store: Path,
    request: Callable[[], str | None],
    ends_with_phase: Callable[[], bool] = lambda: False,
) -> None:
    """Takes a claimed run from its current state to its end.

    Raises Stopped between two stored pieces of work when `request` says so, or at the end of a phase when
    `ends_with_phase` does, and AssayError or StoreError when the run cannot go on; finished work is saved
    in either case.
    """
    row = recorder.run()
    recorder.set_run(started=row.started or time.time())
    if FOLLOW in (row.options or {}):
        follow(recorder, store, request, _evaluate, ends_with_phase)
    else:
        work = Work(plan_of(row), recorder, store, dict(row.options or {}), request)
        _evaluate(work, ends_with_phase)


def _evaluate(work: Work, ends_with_phase: Callable[[], bool] = lambda: False) -> None:
    """All phases of the work's plan; one that waits for its first candidate is not compared."""
    recorder = work.recorder
    if FOLLOW not in work.options or any(model.kind == "local" for model in work.plan.models):
        recorder.set_run(environment=hold_to_hardware(work))
    open_purse(work)
    _declare_models(work)
    only = work.options.get("only")
    for phases, step in _STEPS if work.plan.candidates else _STEPS[:2]:
        if only is None or only in phases or "data" in phases:
            recorder.set_run(phase=phases[0])
            step(work)
            work.checkpoint()
            if ends_with_phase() and step is not compare:
                raise Stopped("pause")
    if only:
        recorder.set_run(options={**work.options, "only": None})
        recorder.event("info", only, f"only {only} was requested; resuming does the rest")
        raise Stopped("pause")


def _declare_models(work: Work) -> None:
    known = {row.name: row.id for row in work.recorder.rows(records.StoredModel, run_id=work.recorder.run_id)}
    with work.recorder.transaction() as transaction:
        for model in work.plan.models:
            if model.name not in known:
                known[model.name] = transaction.insert(
                    records.StoredModel(
                        run_id=work.recorder.run_id,
                        name=model.name,
                        role=model.role,
                        kind=model.kind,
                        position=len(known),
                        details=_facts(model),
                    )
                )
    work.model_ids = known


def _facts(model: Model) -> dict[str, Any] | None:
    """A model's training config, read before anything runs, so that later edits do not count; and the
    training step of a checkpoint.
    """
    found: dict[str, Any] = {}
    if model.training_config is not None:
        found["training"] = read_training_config(model.training_config).as_details()
    folder = Path(str(model.adapter or model.path))
    if model.sweep is not None and (step := step_of(folder)) is not None:
        found[CHECKPOINT] = {"step": step, "folder": folder.name}
    return found or None


def _prepare(work: Work) -> None:
    data.prepare(work)
    declare(work)
    if not is_open(work):
        drop_cut(work)
    work.announce(list(_pieces(work)))


def _pieces(work: Work) -> Iterator[Piece]:
    """Everything the run will do, in the order of the phases; until a sweep is cut, no more than that."""
    plan, count = work.plan, len(work.examples)
    answers = count * plan.generation.samples
    yield Piece("data", plan.data.examples.name, "examples", count)
    if is_open(work):
        yield from sweep_pieces(work)
        return
    for model in grouped(plan.models):
        yield Piece("generate", model.name, "responses", answers)
    if "perplexity" in plan.metrics.use:
        for model in grouped(plan.models):
            yield Piece("perplexity", model.name, "texts", count)
    if work.validation:
        yield from (validation_piece(work, model) for model in grouped(plan.models) if model.kind == "local")
    yield from corpora_pieces(grouped(plan.models), plan.metrics.corpora)
    yield from benchmark_pieces(work, grouped(plan.models))
    for name in text_metrics(plan):
        yield Piece("score", name, "responses", answers * len(plan.models))
    for judge_plan in asked_judges(work):
        yield from judge_pieces(work, judge_plan)
    yield Piece("compare", "all models", "measures", len(measures(plan)) + 1)


def _weights(work: Work) -> None:
    """Generation, perplexity and benchmarks, base by base, so that each base is loaded once."""
    with computing(work) as each:
        if is_open(work):
            funnel(work, each)
            work.announce(list(_pieces(work)))
        each(grouped(work.plan.models), _weights_of)


def _weights_of(work: Work, model: Model, loader: Loader) -> None:
    only = work.options.get("only")
    if only in (None, "generate"):
        work.recorder.set_run(phase="generate")
        with measured_use(work, model):
            generate(work, model, loader)
    if only in (None, "perplexity") and "perplexity" in work.plan.metrics.use:
        work.recorder.set_run(phase="perplexity")
        perplexity(work, model, loader)
    if work.validation:
        work.recorder.set_run(phase="perplexity")
        validation_loss(work, model, loader)
    if only in (None, "perplexity") and work.plan.metrics.corpora:
        work.recorder.set_run(phase="perplexity")
        corpora(work, model, loader)
    if only in (None, "benchmarks") and work.plan.benchmarks is not None:
        work.recorder.set_run(phase="benchmarks")
        benchmark(work, model, loader)
    work.checkpoint()


_STEPS: tuple[tuple[tuple[str, ...], Callable[[Work], None]], ...] = (
    (("data",), _prepare),
    (("generate", "perplexity", "benchmarks"), _weights),
    (("score",), score),
    (("judge",), judge_all),
    (("compare",), compare),
)
