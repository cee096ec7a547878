"""Robustness: the examples' variants, what models answer to them, and what asking otherwise costs.

A variant is an example in another form (engine.data.perturb), linked to the plain one. No plain measure
counts it. Every figure here is over plain examples, each set against itself, so that the variants of one
example are never taken for independent.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.compare.comparison import Comparison, Scores, compare_measures, not_comparable
from engine.compare.forgetting import DROP, INVARIANCE, NONE_RIGHT, ROBUST, compared_by
from engine.compare.ruling import BoundedComparison, rule
from engine.compare.slices import (
    MeasureColumn,
    Slice,
    SliceValue,
    column,
    compare_slices,
    is_checked,
    places,
    slice_values,
)
from engine.data.example import Example, normalise
from engine.data.perturb import (
    PARAPHRASE,
    PERTURBATIONS,
    REQUEST,
    VERSION,
    PerturbedExample,
    paraphrased,
    perturbed,
)
from engine.data.split import sample
from engine.errors import BadInput
from engine.gates.measures import allowed_of_forms
from engine.metrics.metric import Measure, Score, mean, score_pairs
from engine.models.model import Response, without_reasoning
from engine.phases.generate import Loader, answered, settings_of
from engine.phases.score import CHUNK, SLOW_CHUNK, by_example, measures, text_metrics
from engine.phases.work import Piece, Variant, Work, closed_after, score_row
from engine.plan.plan import Model, Plan
from engine.stats.intervals import Interval, bootstrap_interval
from store import records
from store.read.query import by_key
from store.read.slices import AVERAGE, PERTURBED, WORST

if TYPE_CHECKING:  # a check of a plan writes nothing, and needs no SQLAlchemy
    from store.write import Transaction

CANNOT_ASK = "its answers were recorded: it cannot be asked again"
_UNANSWERED = "a variant has no value"
_SOURCE = "HELM (Liang et al. 2022); CheckList (Ribeiro et al. 2020)"
_ROW = "perturbed"  # in the data summary: how many variants of each perturbation, and why others have none

Parts = Mapping[str, tuple[float, ...]]  # additive, by the plain example's id


def leading(plan: Plan, known: Sequence[Measure]) -> Measure:
    """The measure that robustness is told by. Raises BadInput where the plan has none that can."""
    assert plan.robustness is not None
    named = plan.robustness.measure
    # Likelihoods are measured of the plain form alone.
    fit = [item for item in known if is_checked(item) and item.independent and "weights" not in item.needs]
    found = [item for item in fit if item.name == named]
    if not named:
        found = sorted(fit, key=lambda item: not item.verdict)
    if not found:
        what = f'"{named}"' if named else "none of the plan's measures"
        raise BadInput(
            f"{plan.file}: robustness.measure: {what} is from 0 to 1, with higher better, for each answer",
            f"use {', '.join(item.name for item in fit)}" if fit else 'add "exact_match" to [metrics]',
        )
    return found[0]


def made_variants(
    plan: Plan, examples: Sequence[Example]
) -> tuple[list[PerturbedExample], dict[str, Counter[str]]]:
    """The variants of the plan's sample of the examples, and by perturbation why other examples have none.

    Raises BadInput where no example has any.
    """
    asked = plan.robustness
    if asked is None:
        return [], {}
    chosen = sampled(plan, examples)
    found: list[PerturbedExample] = []
    none: dict[str, Counter[str]] = {}
    for name in asked.perturbations:
        made = [perturbed(example, name, asked.seed, asked.rate) for example in chosen]
        found += [each for each in made if not isinstance(each, str)]
        none[name] = Counter(each for each in made if isinstance(each, str))
    if not found and examples:
        reasons = "; ".join(f"{name}: {told.most_common(1)[0][0]}" for name, told in none.items() if told)
        raise BadInput(
            f"{plan.file}: robustness.perturbations: no example has a variant ({reasons})",
            f"name others of {', '.join(PERTURBATIONS)}, or leave [robustness] out",
        )
    return found, none


def sampled(plan: Plan, examples: Sequence[Example]) -> Sequence[Example]:
    """The examples that get variants."""
    asked = plan.robustness
    if asked is None or asked.sample is None:
        return examples
    return sample(examples, asked.sample, asked.seed)


def prepare_variants(work: Work) -> None:
    """Makes and records the run's variants once; a resumed run asks the same ones."""
    plan, recorder = work.plan, work.recorder
    if plan.robustness is None:
        return
    leading(plan, measures(plan))
    if _ROW not in (recorder.run().data_summary or {}):
        _record(work)
    _load(work)


def wants_paraphrases(work: Work) -> bool:
    """Whether a model is to ask in other words, and has not yet."""
    asked = work.plan.robustness
    if asked is None or asked.paraphrase is None:
        return False
    return PARAPHRASE not in (work.recorder.run().data_summary or {})[_ROW]


def paraphrase(work: Work, model: Model, loader: Loader) -> None:
    """Has the model ask the plan's sample of the examples in other words, and records what can be used."""
    assert work.plan.robustness is not None
    chosen = {example.id: example for example in sampled(work.plan, work.examples)}
    meter = work.meter("generate", f"{model.name} · paraphrases", "responses", total=len(chosen), done=0)
    settings = replace(settings_of(work.plan.generation), temperature=0.0)
    asked = [
        Example(name, REQUEST + example.query, ({"role": "user", "content": REQUEST + example.query},))
        for name, example in chosen.items()
    ]
    made: list[PerturbedExample | str] = []
    generator = loader.open(model)
    with closed_after(generator.generate(asked, settings)) as batches:
        for batch in batches:
            for response in batch:
                said = without_reasoning(response, False, work.plan.generation.reasoning_delimiters)
                made.append(paraphrased(chosen[response.example_id], said.text))
            meter.advance(len(batch))
            work.checkpoint()
    _keep(
        work,
        [each for each in made if not isinstance(each, str)],
        {PARAPHRASE: Counter(each for each in made if isinstance(each, str))},
    )
    _load(work)


def _load(work: Work) -> None:
    recorder = work.recorder
    work.variants.clear()
    plain = {place: example for example in work.examples for place in [work.example_ids[example.id]]}
    taken = set(work.example_ids)
    for row in recorder.rows(records.StoredVariant, run_id=recorder.run_id):
        example = plain[row.example_id]
        name = f"{example.id}~{row.perturbation}"
        while name in taken:
            name += "~"
        taken.add(name)
        asked = replace(
            example,
            id=name,
            query=row.query,
            messages=tuple(row.messages),
            references=tuple(row.references),
            label=row.label,
        )
        work.variants.append(Variant(row.id, example.id, row.perturbation, asked, row.letters or {}))


def _record(work: Work) -> None:
    _keep(work, *made_variants(work.plan, work.examples))


def _keep(work: Work, found: Sequence[PerturbedExample], none: Mapping[str, Counter[str]]) -> None:
    """Records variants, and how many examples have none and why."""
    recorder = work.recorder
    counts = Counter(each.perturbation for each in found)
    rows = [
        records.StoredVariant(
            run_id=recorder.run_id,
            example_id=work.example_ids[each.example.id],
            perturbation=each.perturbation,
            query=each.example.query,
            messages=list(each.example.messages),
            references=list(each.example.references),
            label=each.example.label,
            letters=dict(each.letters) or None,
        )
        for each in found
    ]
    summary = {name: {"variants": counts[name], "none": dict(told)} for name, told in none.items()}
    with recorder.transaction() as transaction:
        transaction.append(rows)
        run = recorder.run()
        known = run.data_summary or {}
        summary = {**known, _ROW: {**known.get(_ROW, {}), **summary}}
        transaction.update(records.Run, recorder.run_id, data_summary=summary)
    for name, told in none.items():
        why = ", ".join(f"{count} ({reason})" for reason, count in told.most_common())
        left = f"; none for {why}" if told else ""
        level = "info" if counts[name] else "warning"
        recorder.event(level, "data", f"{name}: {counts[name]} variants{left}")


def _made(work: Work) -> list[str]:
    """The perturbations under which some example has a variant, and paraphrases that are still to come."""
    made = dict.fromkeys(variant.perturbation for variant in work.variants)
    return [*made, *([PARAPHRASE] if PARAPHRASE not in made and wants_paraphrases(work) else [])]


def measures_of_robustness(work: Work) -> list[tuple[Measure, dict[str, Any]]]:
    """Over plain examples: what each perturbation costs and leaves, and how often an answer stays."""
    asked = work.plan.robustness
    if asked is None or not work.variants:
        return []
    main = leading(work.plan, measures(work.plan))
    words = {"paraphrase": asked.paraphrase}  # another model's words are other questions
    found = []
    for name in _made(work):
        said = PERTURBATIONS[name].said if name in PERTURBATIONS else name
        settings = {"measure": main.name, "version": main.version, "rate": asked.rate, "seed": asked.seed}
        settings |= words if name == PARAPHRASE else {}
        drop = Measure(
            f"{DROP}{name}", "lower", -1.0, 1.0, "share", main.needs, VERSION, _SOURCE,
            f"{main.name} of the plain form less that of the same examples under another form: {said}",
        )  # fmt: skip
        kept = Measure(
            f"{ROBUST}{name}", "higher", 0.0, 1.0, "share", main.needs, VERSION, _SOURCE,
            f"share of {main.name} in the plain form that holds under another form: {said}",
        )  # fmt: skip
        found += [(drop, settings), (kept, settings)]
    same = Measure(
        INVARIANCE, "higher", 0.0, 1.0, "share", frozenset(), VERSION, "CheckList (Ribeiro et al. 2020)",
        "share of an example's other forms that are answered like the plain one",
    )  # fmt: skip
    settings = {"perturbations": ", ".join(_made(work)), "rate": asked.rate, "seed": asked.seed}
    settings |= words if PARAPHRASE in _made(work) else {}
    return [*found, (same, settings)]


def variant_pieces(work: Work) -> Iterator[Piece]:
    if work.variants:
        yield Piece("score", _PIECE, "responses", _to_score(work))


_PIECE = "variants"


def _to_score(work: Work) -> int:
    asked = sum(len(work.variants_of(model)) for model in work.plan.models)
    return asked * work.plan.generation.samples * len(text_metrics(work.plan))


def score_variants(work: Work) -> None:
    """Every metric of the texts on the answers to variants."""
    if not work.variants:
        return
    metrics = text_metrics(work.plan)
    answers = {model.name: _answers(work, model) for model in work.plan.models}
    todo = {
        (model.name, name): _unscored(work, model, metric.measures[0].name, answers[model.name])
        for model in work.plan.models
        for name, metric in metrics.items()
    }
    samples, total = work.plan.generation.samples, _to_score(work)
    left = samples * sum(map(len, todo.values()))
    meter = work.meter("score", _PIECE, "responses", total=total, done=total - left)
    ids = {variant.example.id: variant.id for variant in work.variants}
    for (model, name), rest in todo.items():
        metric = metrics[name]
        size = SLOW_CHUNK if hasattr(metric, "score_many") else CHUNK
        for start in range(0, len(rest), size):
            pairs = [pair for variant in rest[start : start + size] for pair in answers[model][variant.id]]
            scored = by_example(work.plan, metric, zip(pairs, score_pairs(metric, pairs), strict=True))
            rows = [
                _score_row(value, work.model_ids[model], ids[example])
                for example, scores in scored.items()
                for value in scores
            ]
            work.recorder.append([records.StoredVariantScore(**row) for row in rows])
            meter.advance(len(pairs))
            work.checkpoint()


def _score_row(score: Score, model_id: int, variant_id: int) -> dict[str, Any]:
    row = score_row(score, model_id, variant_id)
    del row["samples"]
    row["variant_id"] = row.pop("example_id")
    return row


def _answers(work: Work, model: Model) -> dict[int, list[tuple[Example, Response]]]:
    """A model's answers by variant: those of which every sample is there."""
    rows = work.recorder.rows(records.StoredVariantAnswer, model_id=work.model_ids[model.name])
    found = by_key((row.variant_id, row) for row in sorted(rows, key=lambda row: row.sample))
    return {
        variant.id: [(variant.example, answered(row, variant.example, row.sample)) for row in own]
        for variant in work.variants_of(model)
        if len(own := found.get(variant.id, [])) == work.plan.generation.samples
    }


def _unscored(
    work: Work, model: Model, measure: str, answers: Mapping[int, Sequence[object]]
) -> list[Variant]:
    done = work.recorder.column(
        records.StoredVariantScore, "variant_id", model_id=work.model_ids[model.name], measure=measure
    )
    return [one for one in work.variants_of(model) if one.id in answers and one.id not in done]


class _Variants:
    """One model's scores of the variants, read once: additive parts by measure and perturbation."""

    def __init__(self, work: Work, model: Model) -> None:
        known = {variant.id: variant for variant in work.variants_of(model)}
        self.parts: dict[str, dict[str, dict[str, tuple[float, ...]]]] = {}
        self.missing: dict[str, dict[str, dict[str, str]]] = {}
        for row in work.recorder.rows(records.StoredVariantScore, model_id=work.model_ids[model.name]):
            variant = known[row.variant_id]
            additive = Score(
                row.measure, row.value, row.reason, tuple(row.parts) if row.parts else None
            ).additive()
            if additive is None:
                reasons = self.missing.setdefault(row.measure, {}).setdefault(variant.perturbation, {})
                reasons[variant.plain] = row.reason or _UNANSWERED
            else:
                own = self.parts.setdefault(row.measure, {}).setdefault(variant.perturbation, {})
                own[variant.plain] = additive

    def have(self, measure: str) -> bool:
        return measure in self.parts or measure in self.missing

    def under(self, measure: str, perturbation: str) -> Parts:
        return self.parts.get(measure, {}).get(perturbation, {})


@dataclass(frozen=True, slots=True)
class PerturbedScores:
    """What is stored: values over plain examples, each example's, comparisons, and every measure by form."""

    scores: list[dict[str, Any]]
    examples: list[records.StoredScore]
    comparisons: list[Comparison]
    slice_scores: list[dict[str, Any]]
    slices: list[Slice]


def robustness(
    work: Work, known: Sequence[Measure], plain: Mapping[str, Mapping[str, Parts]]
) -> PerturbedScores:
    """Every measure under each perturbation, on average and at worst; and what the leading one loses.

    `plain` are the parts of the plain answers, by model and measure.
    """
    if not work.variants:
        return PerturbedScores([], [], [], [], [])
    models = {model.name: _Variants(work, model) for model in work.plan.models}
    asked = {name: by_key((one.perturbation, one.plain) for one in work.variants) for name in models}
    slice_scores, slices = _sliced(work, known, plain, models)
    pairs = {name: _pairs(work, plain[name], variants) for name, variants in models.items()}
    values = {model.name: _values(work, model, pairs[model.name]) for model in work.plan.models}
    own = {name: _against_plain(work, name, forms) for name, forms in pairs.items()}
    declared = [measure for measure, _ in measures_of_robustness(work)]
    scores = [
        _summary(work, model, measure, values[model.name], asked[model.name])
        | own[model.name].get(measure.name, {})
        for model in work.plan.models
        for measure in declared
    ]
    examples = [
        records.StoredScore(
            model_id=work.model_ids[name],
            measure=measure,
            example_id=work.example_ids[example],
            value=parts[0] / parts[1],
        )
        for name, own in values.items()
        for measure, each in own.items()
        for example, parts in each.items()
    ]
    return PerturbedScores(scores, examples, _compared(work, declared, values), slice_scores, slices)


Pairs = Mapping[str, tuple[float, float]]  # the leading measure in the plain form and in another, by example


def _pairs(work: Work, plain: Mapping[str, Parts], variants: _Variants) -> dict[str, Pairs]:
    """By perturbation the plain examples that have a value in both forms."""
    main = leading(work.plan, measures(work.plan))
    whole = _numbers(main, plain.get(main.name, {}))
    return {
        name: {
            example: (whole[example], here)
            for example, here in _numbers(main, variants.under(main.name, name)).items()
            if example in whole
        }
        for name in _made(work)
    }


def _values(work: Work, model: Model, pairs: Mapping[str, Pairs]) -> dict[str, Parts]:
    """By measure of robustness, each plain example's value as parts."""
    found: dict[str, Parts] = {}
    for name, own in pairs.items():
        found[f"{DROP}{name}"] = {example: (whole - here, 1.0) for example, (whole, here) in own.items()}
        found[f"{ROBUST}{name}"] = {
            example: (min(whole, here) / whole, 1.0) for example, (whole, here) in own.items() if whole > 0
        }
    found[INVARIANCE] = _invariance(work, model)
    return found


def _against_plain(work: Work, model: str, pairs: Mapping[str, Pairs]) -> dict[str, dict[str, Any]]:
    """By drop its interval and the ruling: the model in another form against itself in the plain one.

    Paired, as candidates are with baselines; what a model's perturbations cost it is one family.
    """
    main = leading(work.plan, measures(work.plan))
    each = replace(main, combine=mean)  # of the examples' own values
    compared = compare_measures(
        model,
        model,
        [
            Scores(
                each,
                {example: (here, 1.0) for example, (_, here) in own.items()},
                {example: (whole, 1.0) for example, (whole, _) in own.items()},
            )
            for own in pairs.values()
        ],
        seed=work.plan.data.seed,
    )
    allowed, ends = allowed_of_forms(work.plan.gates), (main.low, main.high)
    rulings = rule("own form", [BoundedComparison(item, ends, allowed) for item in compared])
    return {
        f"{DROP}{name}": {
            "low": None if item.high is None else -item.high,
            "high": None if item.low is None else -item.low,
            "p": ruling.p,
            "standing": ruling.standing,
        }
        for name, item, ruling in zip(pairs, compared, rulings, strict=True)
    }


def _numbers(measure: Measure, parts: Parts) -> dict[str, float]:
    return {example: float(measure.combine(np.array(each))) for example, each in parts.items()}


def _invariance(work: Work, model: Model) -> dict[str, tuple[float, ...]]:
    """By plain example the share of its variants with the same answer; where choices moved, the same one."""
    texts = work.texts(model)
    rows = work.recorder.rows(records.StoredVariantAnswer, model_id=work.model_ids[model.name], sample=0)
    given = {row.variant_id: row.text for row in rows}
    same: dict[str, list[bool]] = {}
    for variant in work.variants_of(model):
        before, now = texts.get(work.example_ids[variant.plain]), given.get(variant.id)
        if before is not None and now is not None:
            same.setdefault(variant.plain, []).append(_is_same(before, now, variant.letters))
    return {example: (sum(each) / len(each), 1.0) for example, each in same.items()}


def _is_same(before: str, now: str, letters: Mapping[str, str]) -> bool:
    """Whether two answers are one text, where a choice's letter that moved is named by its new one."""
    first, second = _CHOSEN.match(before), _CHOSEN.match(now)
    if first and second and first[1].upper() in letters:
        return second[1].upper() == letters[first[1].upper()]
    moved = _NAMED.sub(lambda found: letters.get(found[0], found[0]), before)
    return normalise(moved) == normalise(now)


_CHOSEN = re.compile(r"\W*([A-Za-z])(?![\w'’]|\s+[a-z])")  # an answer that begins with a letter, no article
_NAMED = re.compile(r"(?<![\w'’])(?:A(?!\s+[a-z])|[B-Z])(?![\w'’])")  # letters in an answer's words


def _summary(
    work: Work,
    model: Model,
    measure: Measure,
    values: Mapping[str, Parts],
    asked: Mapping[str, Sequence[str]],
) -> dict[str, Any]:
    parts = values[measure.name]
    name = measure.name.partition(":")[2]
    count = len(asked.get(name, ())) if name else len({one for each in asked.values() for one in each})
    interval = Interval(None, None, None, 0)
    if parts:
        ends = (measure.low, measure.high)
        interval = bootstrap_interval(np.array(list(parts.values())), mean, work.plan.data.seed, ends=ends)
    reason = CANNOT_ASK if model.kind == "recorded" else _why_missing(measure)
    missing = count - interval.n
    return {
        "model_id": work.model_ids[model.name],
        "measure": measure.name,
        **asdict(interval),
        "missing": missing,
        "reason": reason if missing else None,
    }


def _why_missing(measure: Measure) -> str:
    return NONE_RIGHT if measure.name.startswith(ROBUST) else _UNANSWERED


def _compared(
    work: Work, declared: Sequence[Measure], values: Mapping[str, Mapping[str, Parts]]
) -> list[Comparison]:
    """Each candidate against each baseline: how much more it loses, and what of its right answers holds.

    Both are over the examples that both get right in the plain form.
    """
    found: list[Comparison] = []
    for candidate in work.plan.candidates:
        for baseline in work.plan.baselines:
            sides = (candidate.name, baseline.name)
            lacking = next((one for one in (candidate, baseline) if one.kind == "recorded"), None)
            fair = []
            for measure in declared:
                ours, theirs = (compared_by(measure.name, values[name]) for name in sides)
                if lacking is None and (theirs or measure.name == INVARIANCE):
                    fair.append(Scores(measure, ours, theirs))
                    continue
                reason = f"{lacking.name}: {CANNOT_ASK}" if lacking else NONE_RIGHT
                means = (_mean(ours), _mean(theirs))
                found.append(
                    not_comparable(*sides, measure.name, measure.direction, "metric", reason, *means)
                )
            found += compare_measures(*sides, fair, seed=work.plan.data.seed)
            work.checkpoint()
    return found


def _mean(parts: Parts) -> float | None:
    return float(mean(np.array(list(parts.values())).sum(axis=0))) if parts else None


Form = tuple[str, str]  # a form of the question, and the plain example's id


def _forms(work: Work, measure: Measure, plain: Parts, variants: _Variants) -> dict[Form, tuple[float, ...]]:
    """The measure by form: under each perturbation, on average over an example's variants, and at worst."""
    asked = by_key((one.plain, one.perturbation) for one in work.variants)
    found: dict[Form, tuple[float, ...]] = {}
    for example, names in asked.items():
        here = {name: variants.under(measure.name, name).get(example) for name in names}
        known = [parts for parts in here.values() if parts is not None]
        found |= {(PERTURBED + name, example): parts for name, parts in here.items() if parts is not None}
        if len(known) < len(names):
            continue
        found[AVERAGE, example] = tuple(map(float, np.mean(known, axis=0)))
        if example in plain and measure.direction != "none":
            found[WORST, example] = _worst(measure, [plain[example], *known])
    return found


def _sliced(
    work: Work,
    known: Sequence[Measure],
    plain: Mapping[str, Mapping[str, Parts]],
    models: Mapping[str, _Variants],
) -> tuple[list[dict[str, Any]], list[Slice]]:
    """The forms as slices of a set in which each example stands once in each of them.

    Of the measures that variants have: neither likelihoods nor judges are asked about them.
    """
    known = [item for item in known if any(each.have(item.name) for each in models.values())]
    asked = by_key((PERTURBED + one.perturbation, one.plain) for one in work.variants)
    every = list(dict.fromkeys(one.plain for one in work.variants))
    members = {form: [_SEPARATOR.join((form, example)) for example in own] for form, own in asked.items()}
    members |= {form: [_SEPARATOR.join((form, example)) for example in every] for form in (AVERAGE, WORST)}
    ids = [one for own in members.values() for one in own]
    columns: dict[tuple[str, str], MeasureColumn] = {}
    for measure in known:
        for name, variants in models.items():
            forms = _forms(work, measure, plain[name].get(measure.name, {}), variants)
            parts = {_SEPARATOR.join(form): each for form, each in forms.items()}
            columns[name, measure.name] = column(name, measure, parts, ids)
    rows, seed = places(members, ids), work.plan.data.seed
    values = [
        value
        for value in slice_values(list(columns.values()), rows, seed)
        if value.name != WORST or value.column.measure.direction != "none"
    ]
    compared = compare_slices(
        [
            (columns[candidate.name, measure.name], columns[baseline.name, measure.name])
            for measure in known
            for candidate in work.plan.candidates
            for baseline in work.plan.baselines
        ],
        rows,
        seed,
    )
    return [_slice_row(work, value, len(members[value.name])) for value in values], compared


_SEPARATOR = "\0"


def _slice_row(work: Work, value: SliceValue, count: int) -> dict[str, Any]:
    """Forms are no parts of the set, so that none is tested against the rest."""
    model, interval = work.plan.model(value.column.model), value.interval
    missing = count - interval.n
    return {
        "model_id": work.model_ids[model.name],
        "measure": value.column.measure.name,
        "slice": value.name,
        **asdict(interval),
        "missing": missing,
        "p": None,
        "reason": (CANNOT_ASK if model.kind == "recorded" else _UNANSWERED) if missing else None,
    }


def _worst(measure: Measure, forms: Sequence[tuple[float, ...]]) -> tuple[float, ...]:
    values = [float(measure.combine(np.array(each))) for each in forms]
    place = int(np.argmax(values) if measure.direction == "lower" else np.argmin(values))
    return forms[place]


def write_robustness(work: Work, transaction: "Transaction", found: PerturbedScores) -> None:
    """Beside the scores and slices of the run, which are cleared before."""
    for measure, _ in measures_of_robustness(work):
        for model in work.plan.models:
            transaction.clear(records.StoredScore, model_id=work.model_ids[model.name], measure=measure.name)
    transaction.append(found.examples)
