"""Two runs of one history against each other: the same candidate, before and after.

Paired on the examples that both runs evaluated in the same words. What may not be compared is listed with its
reason: another metric version, another judge or prompt, another tokenizer, a model that only one run has.
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from engine.alerts import Alert
from engine.comparison import Comparison, compare_parts, not_comparable
from engine.errors import BadInput
from engine.gates import benchmark_alerts, metric_alerts
from engine.metrics.metric import REGISTRY, Direction, Measure, load_metric
from engine.plan import Gates
from store import evidence, history
from store.rows import BenchmarkRow, ExampleRow, MetricRow, ModelRow

_WORTH = {"win": 1.0, "tie": 0.5, "loss": 0.0}
Parts = dict[str, tuple[float, ...]]


@dataclass(frozen=True, slots=True)
class Incomparable:
    """Something of one run that was not set against the other, and why."""

    what: str
    reason: str


@dataclass(frozen=True, slots=True)
class RunComparison:
    """The newer run's candidates (in the place of the candidate) against the older run's (the baseline)."""

    older: int
    newer: int
    shared: int  # examples that both runs evaluated in the same words
    comparisons: list[Comparison]
    benchmarks: list[Comparison]
    alerts: list[Alert]
    incomparable: list[Incomparable]


def compare_runs(connection: history.Connection, older: int, newer: int) -> RunComparison:
    """Compares candidates of the same name, or the only candidate of each run.

    Drops beyond the newer run's gates become alerts. Raises StoreError for an unknown run, and BadInput when
    one run is compared with itself.
    """
    if older == newer:
        raise BadInput(
            f"run {older} was to be compared with itself", "name two runs; `assay runs` lists them"
        )
    sides = _Side(connection, older), _Side(connection, newer)
    keys, skipped = _shared(*sides)
    pairs, unpaired = _pairs(*sides)
    incomparable = [*skipped, *unpaired]
    measures, differing = _measures(*sides)
    incomparable += differing
    comparisons: list[Comparison] = []
    rates: list[Comparison] = []
    benchmarks: list[Comparison] = []
    for before, after in pairs:
        comparisons += _metrics(sides, (before, after), measures, keys)
        rates += _win_rates(sides, (before, after), keys, incomparable)
        benchmarks += _benchmarks(sides, (before, after), incomparable)
    incomparable += [
        Incomparable(f"{item.measure}, {item.candidate}", item.reason)
        for item in (*comparisons, *rates, *benchmarks)
        if item.delta is None and item.reason
    ]
    gates = _gates(sides[1])
    alerts = [*metric_alerts(comparisons, gates, measures), *benchmark_alerts(benchmarks, gates)]
    return RunComparison(older, newer, len(keys[0]), [*comparisons, *rates], benchmarks, alerts, incomparable)


def declared_measures() -> dict[str, Measure]:
    """Every measure that this version of Assay declares, by name."""
    return {measure.name: measure for name in REGISTRY for measure in load_metric(name, {}).measures}


class _Side:
    """What is read of one run."""

    def __init__(self, connection: history.Connection, run_id: int) -> None:
        self.connection = connection
        self.run = history.run(connection, run_id)
        self.models = {model.name: model for model in history.models(connection, run_id)}
        self.candidates = [model for model in self.models.values() if model.role == "candidate"]
        self.metrics = {metric.measure: metric for metric in history.metrics(connection, run_id)}
        self.examples = evidence.run_examples(connection, run_id)

    def label(self, model: ModelRow) -> str:
        return f"{model.name} (run {self.run.id})"

    def parts(self, model: ModelRow, keys: Mapping[int, str]) -> dict[str, Parts]:
        """Additive parts by measure and shared example."""
        found: dict[str, Parts] = {}
        for row in evidence.score_parts(self.connection, model.id):
            if row.value is not None and row.example_id in keys:
                parts = tuple(row.parts) if row.parts is not None else (row.value, 1.0)
                found.setdefault(row.measure, {})[keys[row.example_id]] = parts
        return found


_Sides = tuple[_Side, _Side]
_Pair = tuple[ModelRow, ModelRow]
_Keys = tuple[dict[int, str], dict[int, str]]


def _shared(older: _Side, newer: _Side) -> tuple[_Keys, list[Incomparable]]:
    """Each run's row ids of the shared examples, by the examples' own ids; and what is not shared."""
    before = {example.example: example for example in older.examples}
    after = {example.example: example for example in newer.examples}
    both = before.keys() & after.keys()
    same = {name for name in both if _content(before[name]) == _content(after[name])}
    keys = (
        {before[name].id: name for name in same},
        {after[name].id: name for name in same},
    )
    skipped = []
    for side, names in ((older, before.keys() - both), (newer, after.keys() - both)):
        if names:
            skipped.append(Incomparable(f"{len(names)} examples", f"only run {side.run.id} evaluated them"))
    if len(both) > len(same):
        skipped.append(
            Incomparable(
                f"{len(both) - len(same)} examples", "their query, references or schema have changed"
            )
        )
    return keys, skipped


def _content(example: ExampleRow) -> tuple[Any, ...]:
    return (
        example.query,
        example.messages,
        example.references,
        example.label,
        (example.extra or {}).get("schema"),
    )


def _pairs(older: _Side, newer: _Side) -> tuple[list[_Pair], list[Incomparable]]:
    before = {model.name: model for model in older.candidates}
    pairs = [(before[model.name], model) for model in newer.candidates if model.name in before]
    if not pairs and len(older.candidates) == len(newer.candidates) == 1:
        return [(older.candidates[0], newer.candidates[0])], []
    paired = {model.name for _, model in pairs}
    return pairs, [
        Incomparable(model.name, f"only run {side.run.id} has a candidate of that name")
        for side in (older, newer)
        for model in side.candidates
        if model.name not in paired
    ]


def _measures(older: _Side, newer: _Side) -> tuple[dict[str, Measure], list[Incomparable]]:
    """The measures that both runs took in the same way, with this version's rule for combining them."""
    declared = declared_measures()
    measures: dict[str, Measure] = {}
    differing = []
    for name in dict.fromkeys((*older.metrics, *newer.metrics)):
        reason = _difference(
            older.metrics.get(name), newer.metrics.get(name), declared.get(name), (older, newer)
        )
        if reason:
            differing.append(Incomparable(name, reason))
        else:
            measures[name] = declared[name]
    return measures, differing


def _difference(
    before: MetricRow | None, after: MetricRow | None, known: Measure | None, sides: _Sides
) -> str | None:
    if before is None or after is None:
        return f"only run {sides[0].run.id if before else sides[1].run.id} measured it"
    if before.version != after.version:
        return f"measured by different versions: {before.version} and {after.version}"
    if before.settings != after.settings:
        return "measured with different settings"
    if known is None or known.version != before.version:
        return f"this Assay does not know version {before.version} of it"
    return None


def _metrics(sides: _Sides, pair: _Pair, measures: Mapping[str, Measure], keys: _Keys) -> list[Comparison]:
    older, newer = (side.parts(model, own) for side, model, own in zip(sides, pair, keys, strict=True))
    before, after = (side.label(model) for side, model in zip(sides, pair, strict=True))
    found = []
    for name, measure in measures.items():
        if name == "perplexity" and not _same_tokenizer(*pair):
            reason = "perplexities under different tokenizers do not compare; bits per byte do"
            found.append(not_comparable(after, before, name, measure.direction, "metric", reason))
        else:
            found.append(compare_parts(after, before, measure, newer.get(name, {}), older.get(name, {})))
    return found


def _same_tokenizer(before: ModelRow, after: ModelRow) -> bool:
    return (before.details or {}).get("tokenizer") == (after.details or {}).get("tokenizer")


def _win_rates(sides: _Sides, pair: _Pair, keys: _Keys, incomparable: list[Incomparable]) -> list[Comparison]:
    """How much more often the newer candidate beats the same baseline, under the same judge."""
    judges = [{judge.name: judge for judge in history.judges(side.connection, side.run.id)} for side in sides]
    found = []
    for name in judges[0].keys() & judges[1].keys():
        before, after = judges[0][name], judges[1][name]
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


def _benchmarks(sides: _Sides, pair: _Pair, incomparable: list[Incomparable]) -> list[Comparison]:
    """Benchmark scores on the questions that both were asked in the same words."""
    scores = [_benchmark_scores(side, model) for side, model in zip(sides, pair, strict=True)]
    values = [_benchmark_values(side, model) for side, model in zip(sides, pair, strict=True)]
    before, after = (side.label(model) for side, model in zip(sides, pair, strict=True))
    found = []
    for key in dict.fromkeys((*scores[0], *scores[1])):
        task, metric, filter_ = key
        name = f"{task} · {metric}" if filter_ == "none" else f"{task} · {metric} ({filter_})"
        old, new = scores[0].get(key), scores[1].get(key)
        if old is None or new is None:
            side = sides[0] if new is None else sides[1]
            incomparable.append(
                Incomparable(f"{name}, {pair[1].name}", f"only run {side.run.id} measured it")
            )
            continue
        direction: Direction = "higher" if new.higher_is_better else "lower"
        if (old.version, old.shots) != (new.version, new.shots):
            reason = (
                f"different task versions or shots: {old.version}, {old.shots} and {new.version}, {new.shots}"
            )
            both = new.value, old.value
            found.append(not_comparable(after, before, name, direction, "benchmark", reason, *both))
            continue
        measure = _rate(name, direction, new.version)
        ours, theirs = values[1].get(key, {}), values[0].get(key, {})
        found.append(compare_parts(after, before, measure, ours, theirs, kind="benchmark"))
    return found


_Key = tuple[str, str, str]


def _benchmark_scores(side: _Side, model: ModelRow) -> dict[_Key, BenchmarkRow]:
    rows = history.benchmarks(side.connection, side.run.id)
    return {(row.task, row.metric, row.filter): row for row in rows if row.model == model.name}


def _benchmark_values(side: _Side, model: ModelRow) -> dict[_Key, Parts]:
    found: dict[_Key, Parts] = {}
    for row in evidence.benchmark_values(side.connection, model.id):
        if row.value is not None:
            question = f"{row.doc_id} {row.prompt_hash} {row.target_hash}"
            found.setdefault((row.task, row.metric, row.filter), {})[question] = (row.value, 1.0)
    return found


def _rate(name: str, direction: Direction, version: str) -> Measure:
    return Measure(name, direction, 0.0, 1.0, "share", frozenset(), version, "", name)


def _gates(side: _Side) -> Gates:
    table = tomllib.loads(side.run.plan).get("gates", {})
    try:
        return Gates.model_validate(table)
    except ValidationError as error:
        raise BadInput(f"the gates of run {side.run.id} are not those of this Assay: {error}") from error
