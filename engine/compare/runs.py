"""Models of two runs compared, pair by pair.

Paired on the examples that both runs evaluated in the same words. What cannot be compared is listed with its
reason: another metric version, another judge or prompt, another tokenizer, a model that only one run has.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from engine.benchmarks.results import asked_as
from engine.compare.benchmarks import (
    BenchmarkQuestion,
    Key,
    Measured,
    compare_scores,
    group_samples,
    measure_name,
)
from engine.compare.comparable import (
    OF_FORECASTS,
    Incomparable,
    Keys,
    Pair,
    Parts,
    Side,
    Sides,
    settings_apart,
    shared_examples,
    shared_measures,
)
from engine.compare.comparison import (
    Comparison,
    Scores,
    compare_forecasts,
    compare_measures,
    compare_parts,
    not_comparable,
)
from engine.compare.forgetting import NONE_RIGHT, compared_by
from engine.data.example import is_synthetic
from engine.data.versions import example_of
from engine.metrics.calibration import AnswerCalibration, Forecast
from engine.metrics.metric import Direction, Measure
from engine.metrics.perplexity import DIFFERENT_TOKENIZERS, is_per_token, same_tokenizer
from store.read import evidence, history
from store.read.rows import GROUPS, ModelRow

_WORTH = {"win": 1.0, "tie": 0.5, "loss": 0.0}


@dataclass(frozen=True, slots=True)
class PairsComparison:
    """Models of a newer run against models of an older one, on the examples and measures that both share."""

    shared: int
    measures: dict[str, Measure]
    metrics: list[Comparison]
    rates: list[Comparison]
    benchmarks: list[Comparison]
    incomparable: list[Incomparable]
    settings: list[str]  # a sentence for each pair whose models had different settings


def compare_pairs(sides: Sides, pairs: Sequence[Pair]) -> PairsComparison:
    """Compares each pair of (older, newer) models of two runs, on all that both runs have."""
    keys, incomparable = shared_examples(*sides)
    measures, differing = shared_measures(*sides)
    incomparable += differing
    metrics: list[Comparison] = []
    rates: list[Comparison] = []
    benchmarks: list[Comparison] = []
    for pair in pairs:
        metrics += _metrics(sides, pair, measures, keys)
        rates += _win_rates(sides, pair, keys, incomparable)
        benchmarks += _benchmarks(sides, pair, incomparable)
    incomparable += [
        Incomparable(f"{item.measure}, {item.candidate}", item.reason)
        for item in (*metrics, *rates, *benchmarks)
        if item.delta is None and item.reason
    ]
    settings = settings_apart(sides, pairs)
    return PairsComparison(len(keys[0]), measures, metrics, rates, benchmarks, incomparable, settings)


def compare_without_synthetic(
    sides: Sides, pairs: Sequence[Pair], measures: Mapping[str, Measure]
) -> tuple[int, list[Comparison]]:
    """How many of the shared examples a model wrote, and the pairs compared on the others; none without any.

    What cannot be compared at all is told by `compare_pairs`.
    """
    if not any((side.run.data_summary or {}).get("synthetic") for side in sides):
        return 0, []
    keys, _ = shared_examples(*sides)
    rows = evidence.contents(sides[1].connection, keys[1])
    written = {name for row, name in keys[1].items() if is_synthetic(example_of(rows[row]))}
    if not written:
        return 0, []
    older, newer = ({row: name for row, name in own.items() if name not in written} for own in keys)
    found: list[Comparison] = []
    for pair in pairs if newer else ():
        found += _metrics(sides, pair, measures, (older, newer))
        found += _win_rates(sides, pair, (older, newer), [])
    return len(written), found


def _metrics(sides: Sides, pair: Pair, measures: Mapping[str, Measure], keys: Keys) -> list[Comparison]:
    older, newer = (side.parts(model, own) for side, model, own in zip(sides, pair, keys, strict=True))
    before, after = (side.label(model) for side, model in zip(sides, pair, strict=True))
    found = compare_measures(
        after,
        before,
        [
            Scores(item, compared_by(name, newer), compared_by(name, older))
            for name, item in measures.items()
            if name not in OF_FORECASTS
        ],
    )
    found += [
        compare_forecasts(after, before, item, _forecasts(newer), _forecasts(older))
        for name, item in measures.items()
        if name in OF_FORECASTS
    ]
    nothing = {name for name in measures if older.get(name) and not compared_by(name, older)}
    found = [
        not_comparable(
            after, before, item.measure, item.direction, "metric", NONE_RIGHT, item.candidate_value
        )
        if item.measure in nothing
        else item
        for item in found
    ]
    if same_tokenizer(*(model.details for model in pair)):
        return found
    return [
        not_comparable(after, before, item.measure, item.direction, "metric", DIFFERENT_TOKENIZERS)
        if is_per_token(item.measure)
        else item
        for item in found
    ]


def _forecasts(parts: Mapping[str, Parts]) -> dict[str, Forecast]:
    """What a model's probabilities come to on each example, from their stored measures."""
    briers, sure, right = (parts.get(measure.name, {}) for measure in AnswerCalibration.measures)
    return {
        name: Forecast(brier[0], sure[name][0], right[name][0])
        for name, brier in briers.items()
        if name in sure and name in right
    }


def _win_rates(sides: Sides, pair: Pair, keys: Keys, incomparable: list[Incomparable]) -> list[Comparison]:
    """How much more often the newer candidate beats the same baseline, under the same judge."""
    judges = [{judge.name: judge for judge in history.judges(side.connection, side.run.id)} for side in sides]
    found = []
    for name in judges[0].keys() & judges[1].keys():
        before, after = judges[0][name], judges[1][name]
        if before.kind == after.kind == "pointwise":
            continue  # its scores are measures
        if (before.kind, before.prompt_hash, before.details) != (
            after.kind,
            after.prompt_hash,
            after.details,
        ):
            incomparable.append(Incomparable(f"judge {name}", "its model, prompt or settings have changed"))
            continue
        for baseline in sides[1].models.values():
            other = sides[0].models.get(baseline.name)
            if baseline.role != "baseline" or other is None or other.role != "baseline":
                continue
            if other.fingerprint != baseline.fingerprint:
                reason = "the baseline is not the same model in both runs"
                incomparable.append(Incomparable(f"win rate over {baseline.name}", reason))
                continue
            worth = [
                _worth(evidence.outcomes(side.connection, judge, model.id, base), own)
                for side, judge, model, base, own in zip(
                    sides, (before.id, after.id), pair, (other.id, baseline.id), keys, strict=True
                )
            ]
            measure = _rate(f"win rate over {baseline.name} ({name})", "higher", after.prompt_hash)
            labels = sides[1].label(pair[1]), sides[0].label(pair[0])
            found.append(compare_parts(*labels, measure, worth[1], worth[0]))
    return found


def _worth(rows: Sequence[evidence.OutcomeRow], keys: Mapping[int, str]) -> Parts:
    return {
        keys[row.example_id]: (_WORTH[row.outcome], 1.0)
        for row in rows
        if row.outcome in _WORTH and row.example_id in keys
    }


def _rate(name: str, direction: Direction, version: str) -> Measure:
    return Measure(name, direction, 0.0, 1.0, "share", frozenset(), version, "", name)


def _benchmarks(sides: Sides, pair: Pair, incomparable: list[Incomparable]) -> list[Comparison]:
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
    samples: dict[Key, dict[BenchmarkQuestion, float]] = defaultdict(dict)
    for row in evidence.benchmark_values(side.connection, model.id):
        if row.value is not None:
            question = BenchmarkQuestion(row.task, row.doc_id, row.prompt_hash, row.target_hash)
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
                asked=asked_as(model.details),
                cut=score.value is not None and score.reason is not None,
            )
    return found
