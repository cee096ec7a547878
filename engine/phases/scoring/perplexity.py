"""The perplexity phase: how well each model predicts the references and corpora. It needs the weights."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from engine.compare.comparison import Comparison, Kind, compare_parts, not_comparable
from engine.data.example import Example, references_by_turn
from engine.data.split import order_of
from engine.errors import CannotRun
from engine.metrics.metric import NO_REFERENCE, Measure, Score
from engine.metrics.perplexity import (
    DIFFERENT_TOKENIZERS,
    MEASURES,
    NEEDS_LOGPROBS,
    NEEDS_WEIGHTS,
    NO_END,
    VALIDATION,
    VALIDATION_LOSS,
    Nll,
    corpus_hash,
    corpus_measures,
    is_per_token,
    missing_scores,
    parts,
    read_corpus,
    same_tokenizer,
    scores_from_nll,
)
from engine.models.holder import answering
from engine.phases.generate import Loader
from engine.phases.work import Meter, Piece, Work, closed_after, score_row
from engine.plan.plan import Model, Plan
from engine.stats.intervals import Interval, bootstrap_interval
from store import records
from store.read.query import by_key

LATER = "its reference is for a later turn, which follows the model's own answers"
STORED_AT_ONCE = 16  # texts: the most that a kill loses


@dataclass(frozen=True, slots=True)
class Surprise:
    """The corpora's records."""

    scores: list[dict[str, Any]]
    comparisons: list[Comparison]


def why_unmeasured(plan: Plan, model: Model) -> str | None:
    """Why no likelihood of a text is known under a model; None where it is."""
    if model.kind != "local":
        return NEEDS_WEIGHTS
    engine = answering(plan, model)
    return None if engine is None or engine.reads else NEEDS_LOGPROBS


def item_of(model: Model, corpus: str) -> str:
    """The progress label of a model's work on a corpus."""
    return f"{model.name}, corpus {corpus}"


def measures_of_corpora(work: Work) -> list[tuple[Measure, dict[str, Any]]]:
    """Two measures of each corpus, with the settings that are kept with the run; and the validation loss."""
    found: list[tuple[Measure, dict[str, Any]]] = []
    if work.validation:
        found.append((VALIDATION_LOSS, {"examples": len(work.validation)}))
    for corpus, path in work.plan.metrics.corpora.items():
        texts = read_corpus(path)
        settings = {"corpus": str(path), "texts": len(texts), "content": corpus_hash(texts)}
        found += [(measure, settings) for measure in corpus_measures(corpus)]
    return found


def corpora_pieces(plan: Plan, models: Iterable[Model]) -> Iterator[Piece]:
    """The work of measuring the corpora: their texts under each model that can be measured."""
    for model in models:
        if why_unmeasured(plan, model) is None:
            for corpus, path in plan.metrics.corpora.items():
                yield Piece("perplexity", item_of(model, corpus), "texts", len(read_corpus(path)))


def corpora(
    work: Work, model: Model, loader: Loader, only: str | None = None, most: int | None = None
) -> None:
    """Measures every text of every corpus that has no score yet; models that cannot be measured have none.

    `only` one corpus, and `most` so many of its texts, those that the seed chooses.
    """
    if why_unmeasured(work.plan, model):
        return
    for corpus, path in work.plan.metrics.corpora.items():
        if only not in (None, corpus):
            continue
        texts = read_corpus(path)
        chosen = list(range(len(texts)))
        if most is not None and most < len(texts):
            chosen = sorted(chosen, key=lambda place: order_of(texts[place], work.plan.data.seed))[:most]
        _hold_to_content(work, corpus, texts)
        _copy_from_twin(work, model, corpus)
        done = work.recorder.column(
            records.CorpusScore, "text", model_id=work.model_ids[model.name], corpus=corpus
        )
        todo = [(place, texts[place]) for place in sorted(chosen) if place not in done]
        known = len(chosen) - len(todo)
        meter = work.meter("perplexity", item_of(model, corpus), "texts", total=len(chosen), done=known)
        if not todo:
            continue
        with closed_after(loader.corpus(model, todo)) as measured:
            waiting: list[dict[str, Any]] = []
            for nll in measured:
                waiting.append({"model_id": work.model_ids[model.name], "corpus": corpus, **asdict(nll)})
                if len(waiting) == STORED_AT_ONCE:
                    _store(work, waiting, meter)
                    work.checkpoint()
            _store(work, waiting, meter)


def _store(work: Work, waiting: list[dict[str, Any]], meter: Meter) -> None:
    fresh = [row for row in waiting if not row.pop("cached")]
    work.recorder.append([records.CorpusScore(**row) for row in waiting])
    tokens = sum(row["tokens"] for row in fresh)
    meter.advance(len(waiting), tokens=tokens, remembered=len(waiting) - len(fresh))
    waiting.clear()


def _hold_to_content(work: Work, corpus: str, texts: list[str]) -> None:
    """Refuses a corpus that changed since the run began: its texts would be paired with others."""
    name = corpus_measures(corpus)[0].name
    (row,) = work.recorder.rows(records.StoredMetric, run_id=work.recorder.run_id, measure=name)
    if (row.settings or {}).get("content") != corpus_hash(texts):
        raise CannotRun(
            f"the corpus {corpus!r} has changed since this run began",
            "start a new run with `assay run`, so that its texts are the same for every model",
        )


def _copy_from_twin(work: Work, model: Model, corpus: str) -> None:
    """Takes over what an earlier model with the same weights has: a system prompt changes none of it."""
    place = work.model_ids[model.name]
    for other in work.plan.models:
        if other.name == model.name:
            return
        if other.weights != model.weights:
            continue
        rows = work.recorder.rows(records.CorpusScore, model_id=work.model_ids[other.name], corpus=corpus)
        with work.recorder.transaction() as transaction:
            transaction.ensure([replace(row, model_id=place) for row in rows])
        return


def validation_piece(work: Work, model: Model) -> Piece:
    return Piece("perplexity", item_of(model, VALIDATION), "texts", len(work.validation))


def validation_loss(work: Work, model: Model, loader: Loader) -> None:
    """Measures the references of the validation split that have no score yet, kept as the texts of a corpus:
    most of these examples are answered by no model, so they are none of the run's.
    """
    model_id = work.model_ids[model.name]
    if why_unmeasured(work.plan, model):
        return
    done = work.recorder.column(records.CorpusScore, "text", model_id=model_id, corpus=VALIDATION)
    todo = [place for place in range(len(work.validation)) if place not in done]
    piece = validation_piece(work, model)
    meter = work.meter(piece.phase, piece.item, piece.unit, total=piece.total, done=piece.total - len(todo))
    shared = {"model_id": model_id, "corpus": VALIDATION}
    examples = [(place, work.validation[place]) for place in todo]
    places = {example.id: place for place, example in examples}
    items = [(example, text) for _, example in examples if (text := _first(example)) is not None]
    waiting: list[dict[str, Any]] = [
        {**shared, "text": place, **_no_loss(_absent(example)), "cached": False}
        for place, example in examples
        if _first(example) is None
    ]
    if items:
        with closed_after(loader.nll(model, items)) as measured:
            for nll in measured:
                waiting.append({**shared, "text": places[nll.example_id], **_loss(nll), "cached": nll.cached})
                if len(waiting) >= STORED_AT_ONCE:
                    _store(work, waiting, meter)
                    work.checkpoint()
    if waiting:
        _store(work, waiting, meter)


def _loss(nll: Nll) -> dict[str, Any]:
    if nll.nll is None:
        return _no_loss(nll.reason or "the likelihood could not be computed")
    if nll.end is None:
        return _no_loss(NO_END)
    return {"nll": nll.nll + nll.end, "tokens": nll.tokens + 1, "bytes": nll.bytes, "reason": None}


def _no_loss(reason: str) -> dict[str, Any]:
    return {"nll": None, "tokens": 0, "bytes": 0, "reason": reason}


def _measured(work: Work) -> Iterator[tuple[str, tuple[Measure, ...]]]:
    """The corpora, the validation split among them, with their measures in the order of `parts`."""
    if work.validation:
        yield VALIDATION, (VALIDATION_LOSS,)
    for corpus in work.plan.metrics.corpora:
        yield corpus, corpus_measures(corpus)


def surprise(work: Work) -> Surprise:
    """Values of every model and comparisons of every pair on every corpus, with intervals over its texts."""
    scores: list[dict[str, Any]] = []
    comparisons: list[Comparison] = []
    for corpus, taken in _measured(work):
        rows = {
            model.name: work.recorder.rows(
                records.CorpusScore, model_id=work.model_ids[model.name], corpus=corpus
            )
            for model in work.plan.models
        }
        for place, measure in enumerate(taken):
            by_model = {
                name: {
                    str(row.text): parts(row.nll, row.tokens, row.bytes)[place]
                    for row in found
                    if row.nll is not None
                }
                for name, found in rows.items()
            }
            scores += [_score(work, model, measure, by_model[model.name], rows) for model in work.plan.models]
            comparisons += _comparisons(work, measure, by_model)
    return Surprise(scores, comparisons)


def _score(
    work: Work,
    model: Model,
    measure: Measure,
    known: Mapping[str, tuple[float, float]],
    rows: Mapping[str, list[records.CorpusScore]],
) -> dict[str, Any]:
    interval = Interval(None, None, None, 0)
    if known:
        values, ends = np.array(list(known.values())), (measure.low, measure.high)
        interval = bootstrap_interval(values, measure.combine, work.plan.data.seed, ends=ends)
    texts = max(len(found) for found in rows.values())
    reasons = Counter(row.reason for row in rows[model.name] if row.nll is None)
    absent = why_unmeasured(work.plan, model) or "it was not measured"
    reason = reasons.most_common(1)[0][0] if reasons else None if known else absent
    return {
        "model_id": work.model_ids[model.name],
        "measure": measure.name,
        **asdict(interval),
        "missing": texts - interval.n,
        "reason": reason,
    }


def _comparisons(
    work: Work, measure: Measure, by_model: Mapping[str, Mapping[str, tuple[float, float]]]
) -> list[Comparison]:
    found = []
    for candidate in work.plan.candidates:
        for baseline in work.plan.baselines:
            names = (candidate.name, baseline.name)
            ours, theirs = (by_model[name] for name in names)
            # What is lost on the validation split is not forgotten, as the texts of a corpus may be.
            kind: Kind = "metric" if measure is VALIDATION_LOSS else "corpus"
            if is_per_token(measure.name) and differ_in_tokenizer(work, candidate, baseline):
                found.append(
                    not_comparable(*names, measure.name, measure.direction, kind, DIFFERENT_TOKENIZERS)
                )
                continue
            seed = work.plan.data.seed
            compared = compare_parts(*names, measure, ours, theirs, kind=kind, seed=seed)
            # Places in a corpus are no ids of examples, as which alerts would offer them.
            found.append(replace(compared, worst=()))
    return found


def differ_in_tokenizer(work: Work, candidate: Model, baseline: Model) -> bool:
    """Whether two models cut texts into other tokens, so that their perplexities do not compare."""
    rows = [
        work.recorder.rows(records.StoredModel, id=work.model_ids[model.name])[0]
        for model in (candidate, baseline)
    ]
    # Without weights there are no values at all, which is the reason then.
    here = "local" in (candidate.kind, baseline.kind)
    return here and not same_tokenizer(*(row.details for row in rows))


# texts: the most that a kill loses
NAMES = tuple(measure.name for measure in MEASURES)


def perplexity(work: Work, model: Model, loader: Loader) -> None:
    todo = work.unscored(model, NAMES)
    done = len(work.examples) - len(todo)
    meter = work.meter("perplexity", model.name, "texts", total=len(work.examples), done=done)
    if why := why_unmeasured(work.plan, model):
        _record_missing(work, model, todo, why, meter)
        return
    bare = by_key((_absent(example), example) for example in todo if _first(example) is None)
    for reason, examples in bare.items():
        _record_missing(work, model, examples, reason, meter)
    items = [(example, text) for example in todo if (text := _first(example)) is not None]
    if items:
        _measure(work, model, loader, items, meter)


def _first(example: Example) -> str | None:
    """The reference of the first turn, which follows no answer of the model's own."""
    return next((text for turn, text in references_by_turn(example) if turn == 1), None)


def _absent(example: Example) -> str:
    return LATER if example.references else NO_REFERENCE


def _measure(
    work: Work, model: Model, loader: Loader, items: list[tuple[Example, str]], meter: Meter
) -> None:
    waiting: list[Nll] = []

    def store() -> None:
        _append(work, model, ((nll.example_id, scores_from_nll(nll)) for nll in waiting))
        fresh = [nll for nll in waiting if not nll.cached]
        tokens = sum(nll.tokens for nll in fresh)
        meter.advance(len(waiting), tokens=tokens, remembered=len(waiting) - len(fresh))
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
    with work.recorder.transaction() as transaction:
        # A run that an older Assay began has some of the measures already.
        transaction.ensure([records.StoredScore(**row) for row in rows])
