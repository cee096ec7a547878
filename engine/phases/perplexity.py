"""Perplexity of the references; it needs the weights, like generation."""

from collections.abc import Iterable
from typing import Any

from engine.data.example import Example
from engine.metrics.metric import NO_REFERENCE, Score
from engine.metrics.perplexity import (
    MEASURES,
    NEEDS_WEIGHTS,
    Nll,
    missing_scores,
    scores_from_nll,
)
from engine.phases.generate import Loader
from engine.phases.score import score_row
from engine.phases.work import Meter, Work, closed_after
from engine.plan.plan import Model
from store import tables

STORED_AT_ONCE = 16  # texts: the most that a kill loses
NAMES = tuple(measure.name for measure in MEASURES)


def perplexity(work: Work, model: Model, loader: Loader) -> None:
    todo = work.unscored(model, NAMES)
    done = len(work.examples) - len(todo)
    meter = work.meter("perplexity", model.name, "texts", total=len(work.examples), done=done)
    if model.kind != "local":
        _record_missing(work, model, todo, NEEDS_WEIGHTS, meter)
        return
    bare = [example for example in todo if not example.references]
    _record_missing(work, model, bare, NO_REFERENCE, meter)
    items = [(example, example.references[0]) for example in todo if example.references]
    if items:
        _measure(work, model, loader, items, meter)


def _measure(
    work: Work, model: Model, loader: Loader, items: list[tuple[Example, str]], meter: Meter
) -> None:
    waiting: list[Nll] = []

    def store() -> None:
        _append(work, model, ((nll.example_id, scores_from_nll(nll)) for nll in waiting))
        meter.advance(len(waiting), tokens=sum(nll.tokens for nll in waiting))
        waiting.clear()

    with closed_after(loader.nll(model, items)) as measured:
        for nll in measured:
            waiting.append(nll)
            if len(waiting) == STORED_AT_ONCE:
                store()
                work.checkpoint()
    store()


def _record_missing(work: Work, model: Model, examples: list[Example], reason: str, meter: Meter) -> None:
    _append(work, model, ((example.id, missing_scores(reason)) for example in examples))
    meter.advance(len(examples))


def _append(work: Work, model: Model, scored: Iterable[tuple[str, list[Score]]]) -> None:
    model_id = work.model_ids[model.name]
    rows: list[dict[str, Any]] = [
        score_row(score, model_id, work.example_ids[example])
        for example, scores in scored
        for score in scores
    ]
    work.recorder.append(tables.Score, rows)
