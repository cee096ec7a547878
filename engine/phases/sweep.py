"""A sweep: a cheap measure on every checkpoint, then only the best continue.

The cut is part of the run's record: each checkpoint's details hold its value, its rank and whether it went
on. The later phases see the plan without the checkpoints that were cut.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from engine.benchmarks.results import TaskResult
from engine.compare.sweep import Parts, Place, cheap_measure, general_measure, hold_to_general, rank
from engine.data.split import sample
from engine.errors import CannotRun
from engine.metrics.calibration import AnswerCalibration
from engine.metrics.load import load_metrics
from engine.metrics.metric import Measure, Score, score_pairs
from engine.metrics.perplexity import (
    BITS_PER_BYTE,
    MEASURES,
    PERPLEXITY,
    is_per_token,
    parts,
    read_corpus,
    same_tokenizer,
)
from engine.phases.generate import Each, Loader, generate, grouped, stored_responses
from engine.phases.score import by_example
from engine.phases.scoring import calibration
from engine.phases.scoring.perplexity import corpora, item_of, perplexity
from engine.phases.work import FOLLOW, Piece, Work, closed_after
from engine.plan.plan import Model, Plan
from store import records

LIKELIHOODS = tuple(measure.name for measure in MEASURES)
PROBABILITIES = tuple(measure.name for measure in AnswerCalibration.measures)
_TASK = "sweep_task"  # in a model's details until the cut: what a benchmark's documents gave


def swept(work: Work) -> list[Model]:
    """The plan's checkpoints that a sweep found, those of one base side by side.

    A run that follows a training chooses among none: it evaluates each as it is saved.
    """
    if FOLLOW in work.options:
        return []
    return [model for model in grouped(work.plan.models) if model.sweep is not None]


def is_open(work: Work) -> bool:
    """Whether the plan has a sweep that has not been cut yet."""
    return any("sweep" not in _details(work, model) for model in swept(work))


def pieces(work: Work) -> list[Piece]:
    """The work that an open sweep begins with."""
    size, found = len(_sample(work)), []
    for measure in _asked(work.plan):
        corpus, task = _corpus(measure), _task(work.plan, measure)
        for model in swept(work):
            if task:
                found.append(Piece("benchmarks", f"{model.name} · {task}", "questions", 0))
            elif corpus:
                texts = min(size, len(read_corpus(work.plan.metrics.corpora[corpus])))
                found.append(Piece("perplexity", item_of(model, corpus), "texts", texts))
            elif measure.name in LIKELIHOODS:
                found.append(Piece("perplexity", model.name, "texts", size))
            elif measure.name in PROBABILITIES:
                found.append(replace(calibration.piece(work, model), total=size))
            else:
                answers = size * work.plan.generation.samples
                found.append(Piece("generate", model.name, "responses", answers))
    return found


def _asked(plan: Plan) -> list[Measure]:
    """The measure of gain, or the one asked for; then the general one that the default holds it to."""
    general = general_measure(plan)
    return [cheap_measure(plan), *([general] if general else [])]


def _corpus(measure: Measure) -> str:
    """Whose perplexity it is, where not that of the references."""
    name, _, corpus = measure.name.partition(":")
    return corpus if name in LIKELIHOODS else ""


def _is_general(plan: Plan, measure: Measure) -> bool:
    """Whether it is measured on other texts than the examples."""
    return bool(_corpus(measure) or _task(plan, measure))


def _task(plan: Plan, measure: Measure) -> str:
    return measure.name if plan.benchmarks and measure.name in plan.benchmarks.tasks else ""


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
            _record(work, places, None)
    drop_cut(work)


def drop_cut(work: Work) -> None:
    """Leaves the plan with what is evaluated in full; nothing changes before the cut."""
    kept = tuple(
        model for model in work.plan.models if _details(work, model).get("sweep", {"kept": True})["kept"]
    )
    work.plan = work.plan.model_copy(update={"models": kept})


def _cut(work: Work, each: Each, candidates: list[Model]) -> None:
    narrow = replace(work, examples=_sample(work))

    def step(at: Work, model: Model, loader: Loader) -> None:
        at = replace(at, examples=narrow.examples)
        for measure in _asked(at.plan):
            if task := _task(at.plan, measure):
                _ask_task(at, model, loader, task)
            elif corpus := _corpus(measure):
                corpora(at, model, loader, corpus, at.plan.sweep.sample)
            elif measure.name in LIKELIHOODS:
                perplexity(at, model, loader)
            elif measure.name in PROBABILITIES:
                calibration.calibrate(at, model, loader)
            else:
                generate(at, model, loader)
        at.checkpoint()

    each(candidates, step)
    (measure, places), *general = [_ranked(narrow, candidates, measure) for measure in _asked(work.plan)]
    for guard, held in general:
        places = hold_to_general(places, held, work.plan.sweep.keep, guard.name)
    _record(work, places, measure, *(guard.name for guard, _ in general))


def _ranked(work: Work, candidates: list[Model], measure: Measure) -> tuple[Measure, list[Place]]:
    """The checkpoints by one measure, of which its direction is known now."""
    _refuse_several_tokenizers(work, candidates, measure)
    scored: dict[str, dict[str, Parts]] = {}
    reasons: dict[str, str] = {}
    if _is_general(work.plan, measure):
        found = {model.name: _general_parts(work, model, measure) for model in candidates}
        for name, (scored[name], lower, reason) in found.items():
            measure = replace(measure, direction="lower") if lower else measure
            if reason:
                reasons[name] = reason
        ids = list(dict.fromkeys(key for parts in scored.values() for key in parts))
    else:
        ids = [example.id for example in work.examples]
        for model in candidates:
            scored[model.name] = {}
            for example, score in _scores(work, model, measure).items():
                known = score.additive()
                if known is None:
                    reasons.setdefault(model.name, score.reason or "no reason recorded")
                else:
                    scored[model.name][example] = known
    return measure, rank(scored, reasons, measure, ids, work.plan.sweep.keep, work.plan.data.seed)


def _general_parts(work: Work, model: Model, measure: Measure) -> tuple[dict[str, Parts], bool, str]:
    """The parts by text or document, whether less is better, and why some are missing."""
    if _task(work.plan, measure):
        found = _details(work, model).get(_TASK) or {}
        values: dict[str, Parts] = {key: (value, 1.0) for key, value in found.get("values", {}).items()}
        return values, not found.get("higher", True), "" if values else "the task gave no values"
    rows = work.recorder.rows(
        records.CorpusScore, model_id=work.model_ids[model.name], corpus=_corpus(measure)
    )
    place = 0 if measure.name.startswith(PERPLEXITY.name) else 1
    known: dict[str, Parts] = {
        str(row.text): parts(row.nll, row.tokens, row.bytes)[place] for row in rows if row.nll is not None
    }
    return known, True, next((row.reason or "" for row in rows if row.nll is None), "")


def _ask_task(work: Work, model: Model, loader: Loader, task: str) -> None:
    """Asks a benchmark's first documents, as many as the sample has; kept until the cut, and no score."""
    if _TASK in _details(work, model):
        return
    assert work.plan.benchmarks is not None
    limit = min(work.plan.sweep.sample, work.plan.benchmarks.limit or work.plan.sweep.sample)
    settings = work.plan.benchmarks.model_copy(update={"limit": limit, "tasks": (task,)})
    meter = work.meter("benchmarks", f"{model.name} · {task}", "questions", total=limit, done=0)

    def report(_: str, answered: int, total: int) -> None:
        meter.reach(answered, total=total)

    with closed_after(loader.tasks(model, settings, [task], report, frozenset())) as results:
        for result in results:
            assert isinstance(result, TaskResult)
            first = next(iter(result.samples), None)
            same = [
                sample for sample in result.samples
                if first and (sample.metric, sample.filter) == (first.metric, first.filter)
            ]  # fmt: skip
            higher = {(score.metric, score.filter): score.higher_is_better for score in result.scores}
            found = {
                "values": {f"{sample.task} {sample.doc_id}": sample.value for sample in same},
                "higher": first is None or higher.get((first.metric, first.filter), True),
            }
            details = {**_details(work, model), _TASK: found}
            work.recorder.set_model(work.model_ids[model.name], details=details)


def _sample(work: Work) -> list[Any]:
    return sample(work.examples, work.plan.sweep.sample, work.plan.data.seed)


def _scores(work: Work, model: Model, measure: Measure) -> dict[str, Score]:
    """The measure's score for each example of the sample."""
    if measure.name in (*LIKELIHOODS, *PROBABILITIES):
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
    if is_per_token(measure.name) and not same_tokenizer(*(_details(work, model) for model in candidates)):
        other = re.sub("^[^:]+", BITS_PER_BYTE.name, measure.name)
        raise CannotRun(
            "the sweep cannot be cut: its checkpoints have different tokenizers, so values per token do "
            "not compare",
            f'Write by = "{other}" under [sweep].',
        )


def _record(work: Work, places: list[Place], measure: Measure | None, general: str | None = None) -> None:
    """Writes the cut down as one: a run that is killed here has cut either all or none."""
    sweep = work.plan.sweep
    by = measure.name if measure else sweep.by or PERPLEXITY.name
    asked = {
        "measure": by,
        "direction": measure.direction if measure else "",
        "held_to": general,
        "of": len(places),
        "keep": sweep.keep,
        "sample": len(_sample(work)),
        "seed": work.plan.data.seed,
        "on_examples": 0 if measure and _is_general(work.plan, measure) else len(_sample(work)),
    }
    with work.recorder.transaction() as transaction:
        for place in places:
            model_id = work.model_ids[place.model]
            known = {**(work.recorder.rows(records.StoredModel, id=model_id)[0].details or {})}
            known.pop(_TASK, None)
            fared = {key: value for key, value in asdict(place).items() if key != "model"}
            transaction.update(records.StoredModel, model_id, details=known | {"sweep": asked | fared})
    kept = ", ".join(place.model for place in places if place.kept)
    work.recorder.event("info", "sweep", f"{len(places)} checkpoints, evaluated in full: {kept}")
    if cut := [_cut_as_text(place) for place in places if not place.kept]:
        after = f"after {by} on {asked['sample']} examples" + (f", held to {general}" if general else "")
        work.recorder.event("info", "sweep", f"{len(cut)} checkpoints cut {after}: {', '.join(cut)}")


def _cut_as_text(place: Place) -> str:
    if place.value is None:
        return f"{place.model} (not measured: {place.reason})"
    return f"{place.model} (rank {place.rank}, {place.value:.4g})"


def _details(work: Work, model: Model) -> Mapping[str, Any]:
    found = work.recorder.rows(records.StoredModel, id=work.model_ids[model.name])[0].details
    return found if isinstance(found, dict) else {}
