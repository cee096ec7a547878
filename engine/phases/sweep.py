"""A sweep: a cheap measure on every checkpoint, then only the best continue.

The cut is part of the run's record: each checkpoint's details hold its value, its rank and whether it went
on. The later phases see the plan without the checkpoints that were cut.
"""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from engine.compare.sweep import Parts, Place, cheap_measure, rank
from engine.data.split import sample
from engine.errors import CannotRun
from engine.metrics.load import load_metrics
from engine.metrics.metric import Measure, Score, score_pairs
from engine.metrics.perplexity import MEASURES, PERPLEXITY
from engine.phases.generate import Each, Loader, generate, grouped, stored_responses
from engine.phases.perplexity import perplexity
from engine.phases.score import by_example
from engine.phases.work import Piece, Work
from engine.plan.plan import Model
from store import records

LIKELIHOODS = tuple(measure.name for measure in MEASURES)


def swept(work: Work) -> list[Model]:
    """The plan's checkpoints that a sweep found, those of one base side by side."""
    return [model for model in grouped(work.plan.models) if model.sweep is not None]


def is_open(work: Work) -> bool:
    """Whether the plan has a sweep that has not been cut yet."""
    return any("sweep" not in _details(work, model) for model in swept(work))


def pieces(work: Work) -> list[Piece]:
    """The work that an open sweep begins with."""
    by_likelihood = work.plan.sweep.by in LIKELIHOODS
    phase, unit = ("perplexity", "texts") if by_likelihood else ("generate", "responses")
    count = len(_sample(work)) * (1 if by_likelihood else work.plan.generation.samples)
    return [Piece(phase, model.name, unit, count) for model in swept(work)]


def funnel(work: Work, each: Each) -> None:
    """Measures what is not measured yet, cuts once, and leaves the plan with those that are kept.

    Raises CannotRun when no checkpoint can be measured, BadInput when the plan has no such measure.
    """
    if is_open(work):
        candidates = swept(work)
        if len(candidates) > work.plan.sweep.keep:
            _cut(work, each, candidates)
        else:
            reason = "the sweep has no more checkpoints than `keep`"
            places = [Place(model.name, None, None, None, 0, None, True, reason) for model in candidates]
            _record(work, places, "")
    drop_cut(work)


def drop_cut(work: Work) -> None:
    """Leaves the plan with what is evaluated in full; nothing changes before the cut."""
    kept = tuple(
        model for model in work.plan.models if _details(work, model).get("sweep", {"kept": True})["kept"]
    )
    work.plan = work.plan.model_copy(update={"models": kept})


def _cut(work: Work, each: Each, candidates: list[Model]) -> None:
    sweep, measure = work.plan.sweep, cheap_measure(work.plan)
    narrow = replace(work, examples=_sample(work))

    def step(at: Work, model: Model, loader: Loader) -> None:
        at = replace(at, examples=narrow.examples)
        if measure.name in LIKELIHOODS:
            perplexity(at, model, loader)
        else:
            generate(at, model, loader)
        at.checkpoint()

    each(candidates, step)
    _refuse_several_tokenizers(work, candidates, measure)
    scored: dict[str, dict[str, Parts]] = {}
    reasons: dict[str, str] = {}
    for model in candidates:
        scored[model.name] = {}
        for example, score in _scores(narrow, model, measure).items():
            parts = score.additive()
            if parts is None:
                reasons.setdefault(model.name, score.reason or "no reason recorded")
            else:
                scored[model.name][example] = parts
    ids = [example.id for example in narrow.examples]
    _record(work, rank(scored, reasons, measure, ids, sweep.keep, work.plan.data.seed), measure.direction)


def _sample(work: Work) -> list[Any]:
    return sample(work.examples, work.plan.sweep.sample, work.plan.data.seed)


def _scores(work: Work, model: Model, measure: Measure) -> dict[str, Score]:
    """The measure's score for each example of the sample."""
    if measure.name in LIKELIHOODS:
        names = {work.example_ids[example.id]: example.id for example in work.examples}
        rows = work.recorder.rows(
            records.StoredScore, model_id=work.model_ids[model.name], measure=measure.name
        )
        return {
            names[row.example_id]: Score(
                measure.name, row.value, row.reason, tuple(row.parts) if row.parts else None
            )
            for row in rows
            if row.example_id in names
        }
    metrics = load_metrics(work.plan.metrics.use, work.plan.metrics.settings)
    metric = next(metric for metric in metrics.values() if measure in metric.measures)
    pairs = stored_responses(work, model)
    scored = by_example(work.plan, metric, zip(pairs, score_pairs(metric, pairs), strict=True))
    return {
        example: next(score for score in scores if score.measure == measure.name)
        for example, scores in scored.items()
    }


def _refuse_several_tokenizers(work: Work, candidates: list[Model], measure: Measure) -> None:
    tokenizers = {_details(work, model).get("tokenizer") for model in candidates}
    if measure.name == PERPLEXITY.name and len(tokenizers) > 1:
        raise CannotRun(
            "the sweep cannot be cut: its checkpoints have different tokenizers, so their perplexities do "
            "not compare",
            'Write by = "bits_per_byte" under [sweep].',
        )


def _record(work: Work, places: list[Place], direction: str) -> None:
    """Writes the cut down as one: a run that is killed here has cut either all or none."""
    sweep = work.plan.sweep
    asked = {
        "measure": sweep.by,
        "direction": direction,
        "of": len(places),
        "keep": sweep.keep,
        "sample": len(_sample(work)),
        "seed": work.plan.data.seed,
    }
    with work.recorder.transaction() as transaction:
        for place in places:
            model_id = work.model_ids[place.model]
            known = work.recorder.rows(records.StoredModel, id=model_id)[0].details or {}
            fared = {key: value for key, value in asdict(place).items() if key != "model"}
            transaction.update(records.StoredModel, model_id, details=known | {"sweep": asked | fared})
    kept = ", ".join(place.model for place in places if place.kept)
    work.recorder.event("info", "sweep", f"{len(places)} checkpoints, evaluated in full: {kept}")
    if cut := [_cut_as_text(place) for place in places if not place.kept]:
        after = f"after {sweep.by} on {asked['sample']} examples"
        work.recorder.event("info", "sweep", f"{len(cut)} checkpoints cut {after}: {', '.join(cut)}")


def _cut_as_text(place: Place) -> str:
    if place.value is None:
        return f"{place.model} (not measured: {place.reason})"
    return f"{place.model} (rank {place.rank}, {place.value:.4g})"


def _details(work: Work, model: Model) -> Mapping[str, Any]:
    found = work.recorder.rows(records.StoredModel, id=work.model_ids[model.name])[0].details
    return found if isinstance(found, dict) else {}
