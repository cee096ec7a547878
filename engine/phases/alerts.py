"""Alerts of a run: its comparisons, judges, data and history are checked by the gates and fixed checks."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from engine.compare.comparison import Comparison
from engine.compare.forgetting import ALTERED
from engine.data.leak import TIERS, Suspicion, all_jump, near_ceiling, prefers_original
from engine.gates.checks import (
    AdapterEffect,
    ComplianceRate,
    Leaked,
    cut_alerts,
    format_alerts,
    leakage_alerts,
    probe_alerts,
    prompt_alerts,
    suspicion_alerts,
    unmeasured_alerts,
)
from engine.gates.drops import SHORTEST, MeasureSeries, downtrend_alerts
from engine.gates.judges import (
    JudgeConsistency,
    MatchVerdicts,
    inconsistency_alerts,
    judge_failure_alerts,
    win_rate_alerts,
)
from engine.gates.measures import drop_alerts, evaluated
from engine.judges.judge import WHOLE
from engine.metrics.metric import Measure
from engine.phases.data import leaked_tiers
from engine.phases.judging.audits import constant_alerts, kin_alerts
from engine.phases.judging.ratings import rating_alerts
from engine.phases.judging.shared import match_name
from engine.phases.reference import EarlierRun
from engine.phases.work import FOLLOW, Work
from engine.plan.plan import Gates, Model
from engine.stats.winrate import WinRate
from store import records
from store.read import runs, trends
from store.read.answers import cut_answers
from store.read.history import Connection
from store.read.query import Word
from store.read.rows import AlertRow
from store.read.runs import Words, acknowledged
from store.read.slices import NOT_LEAKED
from store.records.alert import Alert, Evidence, LeakDifference, figure_of, kind_of, read_evidence
from store.session import opened

FORMAT = "format_compliance"
_TOLD = 20  # ids of examples behind an alert
FEWEST = 20  # values behind a score that is called near the ceiling

Summaries = Sequence[Mapping[str, Any]]


def data_alerts(
    work: Work,
    measures: Mapping[str, Measure],
    summaries: Summaries,
    slices: Summaries,
    benchmarks: Sequence[Comparison],
) -> list[Alert]:
    """Leakage for each candidate, and hints that models have seen what they are measured on."""
    tiers = leaked_tiers(work)
    counted = Counter(tiers.values())
    leaked = Leaked(
        tuple(sorted(tiers)), {tier: counted[tier] for tier in TIERS if counted[tier]}, len(work.examples)
    )
    differences = {
        model.name: _differences(work, model, measures, summaries, slices) for model in work.plan.candidates
    }
    return [
        *leakage_alerts(leaked, differences, work.plan.gates),
        *suspicion_alerts(_suspicions(work, measures, summaries, benchmarks)),
    ]


def _differences(
    work: Work, model: Model, measures: Mapping[str, Measure], summaries: Summaries, slices: Summaries
) -> list[LeakDifference]:
    """On measures from 0 to 1 where higher is better."""
    place = work.model_ids[model.name]
    without = {
        row["measure"]: row["value"]
        for row in slices
        if row["model_id"] == place and row["slice"] == NOT_LEAKED and row["value"] is not None
    }
    return [
        LeakDifference(
            row["measure"],
            row["value"],
            without[row["measure"]],
            row["value"] - without[row["measure"]],
        )
        for row in summaries
        if row["model_id"] == place
        and row["value"] is not None
        and row["measure"] in without
        and _is_share(measures[row["measure"]])
    ]


def _is_share(measure: Measure) -> bool:
    return (measure.direction, measure.low, measure.high) == ("higher", 0.0, 1.0)


def _suspicions(
    work: Work, measures: Mapping[str, Measure], summaries: Summaries, benchmarks: Sequence[Comparison]
) -> Iterator[tuple[str, str | None, Suspicion]]:
    for model in work.plan.baselines:
        for found in near_ceiling(model.name, _scores(work, model, measures, summaries)):
            yield model.name, None, found
    for candidate in work.plan.candidates:
        for baseline in work.plan.baselines:
            for found in all_jump(candidate.name, _rises(candidate, baseline, benchmarks)):
                yield candidate.name, baseline.name, found
    for model in work.plan.models:
        for found in _originals(work, model):
            yield model.name, None, found


def _scores(
    work: Work, model: Model, measures: Mapping[str, Measure], summaries: Summaries
) -> dict[str, float]:
    """A model's accuracies, as shares: on the references and on its benchmarks."""
    place = work.model_ids[model.name]
    found = {
        row["measure"]: row["value"]
        for row in summaries
        if row["model_id"] == place
        and row["value"] is not None
        and row["n"] >= FEWEST
        and _is_share(measures[row["measure"]])
        and "references" in measures[row["measure"]].needs
    }
    for row in work.recorder.rows(records.StoredBenchmarkScore, model_id=place):
        value = row.value
        if value is not None and row.higher_is_better and 0 <= value <= 1 and row.n >= FEWEST:
            found[row.task] = min(value, found.get(row.task, value))
    return found


def _rises(candidate: Model, baseline: Model, benchmarks: Sequence[Comparison]) -> dict[str, float]:
    """By how much each benchmark of fractions got better, by that of its metrics which rose the least."""
    rises: dict[str, float] = {}
    for item in benchmarks:
        values = (item.candidate_value, item.baseline_value)
        if (item.candidate, item.baseline) == (candidate.name, baseline.name) and all(
            value is not None and 0 <= value <= 1 for value in values
        ):
            task, rise = item.measure.partition(" · ")[0], -(item.worsening or 0.0)
            rises[task] = min(rise, rises.get(task, rise))
    return rises


def _originals(work: Work, model: Model) -> Iterator[Suspicion]:
    """Corpora that are in the plan a second time, reworded: bits per byte, text by text."""
    corpora = work.plan.metrics.corpora
    for name in corpora:
        if f"{name}{ALTERED}" in corpora:
            ours, theirs = (_bits(work, model, corpus) for corpus in (name, f"{name}{ALTERED}"))
            both = sorted(ours.keys() & theirs.keys())
            found = prefers_original(
                model.name, [ours[text] for text in both], [theirs[text] for text in both]
            )
            yield from found


def _bits(work: Work, model: Model, corpus: str) -> dict[int, float]:
    rows = work.recorder.rows(records.CorpusScore, model_id=work.model_ids[model.name], corpus=corpus)
    return {row.text: row.nll / math.log(2) / row.bytes for row in rows if row.nll is not None and row.bytes}


_WINDOW = 60  # newest runs of the name that are looked at


def decline_alerts(
    work: Work, measures: Mapping[str, Measure], comparisons: Sequence[Comparison]
) -> list[Alert]:
    """Alerts on measures that got worse over many runs of this name that were measured in the same way; none
    for a run that follows a training, whose curve is its own.
    """
    if FOLLOW in work.options:
        return []
    named = (Word("name", work.recorder.run().name),)
    with opened(work.store) as connection:
        if runs.count(connection, named) < SHORTEST:
            return []
        return downtrend_alerts(list(_series(work, connection, named, measures, comparisons)))


def _series(
    work: Work,
    connection: Connection,
    named: Words,
    measures: Mapping[str, Measure],
    comparisons: Sequence[Comparison],
) -> Iterator[MeasureSeries]:
    directions = {(item.candidate, item.measure): item for item in comparisons if item.delta is not None}
    first = work.plan.candidates[0].name
    for (candidate, name), item in directions.items():
        if item.direction == "none":
            continue
        points = _points(connection, work, named, name, candidate, is_first=candidate == first)
        values = tuple(value for value, _ in points)
        limit = _limit(item, measures.get(name), values[0], work.plan.gates) if values else None
        if limit is not None:
            ids = tuple(run_id for _, run_id in points)
            yield MeasureSeries(candidate, name, item.direction == "lower", limit, values, ids)


def _points(
    connection: Connection, work: Work, named: Words, measure: str, candidate: str, *, is_first: bool
) -> list[tuple[float, int]]:
    """Values and runs, oldest first, up to this run: of the candidate of that name, or of each run's first.

    Names often change from run to run ("lora-v3", "lora-v4"); then the run's first candidate is used.
    """
    for only in (candidate, None) if is_first else (candidate,):
        found = trends.trend(connection, measure, named, candidate=only, limit=_WINDOW)
        found = [point for point in found if point.run_id <= work.recorder.run_id]
        if len(found) > 1 and found[-1].run_id == work.recorder.run_id:
            alike = [point for point in found if trends.not_joined(point, found[-1]) is None]
            return [(point.value, point.run_id) for point in alike if point.value is not None]
    return []


def _limit(item: Comparison, measure: Measure | None, at: float, gates: Gates) -> float | None:
    """The drop that the plan allows in one run, in the measure's unit; None without a gate on it."""
    if item.measure in gates.metrics:
        return gates.metrics[item.measure].max * abs(at)
    if item.measure.partition(":")[0] in ("perplexity", "bits_per_byte"):
        return gates.max_perplexity_rise * abs(at)
    if item.kind == "benchmark":
        return gates.max_benchmark_drop * (1.0 if 0 <= at <= 1 else abs(at))
    if measure is None or measure.low is None or measure.high is None:
        return None
    return gates.max_metric_drop * (measure.high - measure.low)


Row = dict[str, Any]
_USUAL = 0.05  # the usual limit, where an alert does not name its own


def followed(work: Work, alerts: list[Row]) -> list[Row]:
    """The alerts to store, acknowledged like the newest acknowledged one that said the same.

    The same is: kind, candidate, baseline, measure, and slice. One that got worse reopens and
    says so: more severe than it was, beyond the interval that was acknowledged, or a further third of the
    gate's limit away. It follows the acknowledged alert in either case.
    """
    with opened(work.store) as connection:
        seen: dict[tuple[Any, ...], AlertRow] = {}
        for earlier in acknowledged(connection, work.recorder.run_id):
            found = (earlier.kind, earlier.candidate, earlier.baseline, earlier.measure)
            seen.setdefault((*found, getattr(earlier.evidence, "slice", None)), earlier)
    return [_follow(row, seen.get(_key(row))) for row in alerts]


def _key(row: Row) -> tuple[Any, ...]:
    return row["kind"], row["candidate"], row["baseline"], row["measure"], row["evidence"].get("slice")


class _Figure(NamedTuple):
    """The number that an alert is about; `worse` is +1 where more of it is worse, else -1."""

    value: float
    low: float
    high: float
    worse: int
    step: float  # a third of the limit


def _follow(row: Row, earlier: AlertRow | None) -> Row:
    if earlier is None:
        return row | {"follows": None, "acknowledged": None, "acknowledged_by": None, "note": None}
    values: Row = {"acknowledged": None, "acknowledged_by": None, "note": None}
    change = _got_worse(row, earlier)
    if change is None:
        values = {name: getattr(earlier, name) for name in values}
    else:
        who = f"acknowledged by {earlier.acknowledged_by} in run {earlier.run_id}"
        values["message"] = f"Reopened: {who} {change}. {row['message']}"
    return row | values | {"follows": earlier.id}


_RANK = ("note", "warning", "critical")


def _got_worse(row: Row, earlier: AlertRow) -> str | None:
    """How it was and how it is, where it got worse; None where it did not."""
    before = _figure(earlier.kind, earlier.evidence)
    now = _figure(row["kind"], read_evidence(row["kind"], row["evidence"]))
    if before is not None and now is not None:
        further = (now.value - before.value) * before.worse
        room = (before.high if before.worse > 0 else before.low) - before.value
        if further > before.step or (room and further > abs(room)):
            return f"at {before.value:+.3g}, now {now.value:+.3g}"
    if _RANK.index(row["severity"]) > _RANK.index(earlier.severity):
        return f"as a {earlier.severity}, now {row['severity']}"
    return None


def _figure(name: str, evidence: Evidence) -> _Figure | None:
    kind = kind_of(name)
    value = figure_of(kind, evidence)
    if value is None:
        return None
    grows = value > 0 if kind.worse == "either" else kind.worse == "more"
    low, high = getattr(evidence, "low", None), getattr(evidence, "high", None)
    step = getattr(evidence, "limit", None) or (abs(value) if kind.format == "count" else _USUAL)
    return _Figure(
        value, value if low is None else low, value if high is None else high, 1 if grows else -1, step / 3
    )


def run_alerts(
    work: Work,
    measures: Mapping[str, Measure],
    comparisons: Sequence[Comparison],
    benchmarks: Sequence[Comparison],
    earlier: EarlierRun,
    summaries: Sequence[Mapping[str, Any]],
) -> list[Alert]:
    """The alerts of the gates and checks, but those on slices, disparities, the data and the history."""
    gates = work.plan.gates
    candidates = [model.name for model in work.plan.candidates]
    verdicts = _verdicts(work)
    compliances = _compliances(work, summaries)
    checked = (
        [*comparisons, *earlier.metrics],
        [*benchmarks, *earlier.benchmarks],
        gates,
        {**earlier.measures, **measures},
    )
    looked_at = evaluated(*checked)
    if gates.min_win_rate is not None:
        looked_at |= {item.candidate for item in verdicts if item.rate.win_rate is not None}
    if gates.min_format_compliance is not None:
        looked_at |= {item.candidate for item in compliances if item.value is not None}
    return [
        *unmeasured_alerts(candidates, looked_at),
        *probe_alerts(_effects(work)),
        *prompt_alerts(_unread_systems(work), candidates),
        *cut_alerts(_ends(work), candidates, [model.name for model in work.plan.baselines]),
        *drop_alerts(*checked),
        *format_alerts(compliances, gates, candidates),
        *win_rate_alerts(verdicts, gates, candidates),
        *judge_failure_alerts(_verdicts(work, parts=True), gates),
        *inconsistency_alerts(_consistencies(work), gates),
        *constant_alerts(work),
        *kin_alerts(work),
        *rating_alerts(work),
    ]


def _verdicts(work: Work, parts: bool = False) -> list[MatchVerdicts]:
    """The win rates that the plan's gates are about: of panels and cascades, their `parts` on demand."""
    baselines = {work.model_ids[model.name] for model in work.plan.baselines}
    names = {place: name for name, place in work.model_ids.items()}
    return [
        MatchVerdicts(
            judge.name,
            names[row.candidate_id],
            names[row.baseline_id],
            WinRate(**{key: getattr(row, key) for key in WinRate.__slots__}),
            row.reason,
            _judged(work, _sides(row), outcome="loss"),
            judge.is_language_model,
        )
        for judge in work.recorder.rows(records.StoredJudge, run_id=work.recorder.run_id)
        if parts or not (judge.details or {}).get("part_of")
        for row in work.recorder.rows(records.StoredWinRate, judge_id=judge.id, turn=WHOLE)
        if row.baseline_id in baselines
    ]


def _sides(row: records.StoredWinRate) -> dict[str, int]:
    return {"judge_id": row.judge_id, "candidate_id": row.candidate_id, "baseline_id": row.baseline_id}


def _judged(work: Work, match: Mapping[str, int], **equal: Any) -> tuple[str, ...]:
    """The first examples of a match whose verdict is so and so."""
    names = {place: example for example, place in work.example_ids.items()}
    rows = work.recorder.rows(records.Verdict, **match, turn=WHOLE, **equal)
    return tuple(names[row.example_id] for row in rows[:_TOLD])


def _consistencies(work: Work) -> list[JudgeConsistency]:
    """How often each language model that judges pairs kept to its word when the answers changed places."""
    found = []
    for judge in work.recorder.rows(records.StoredJudge, run_id=work.recorder.run_id, kind="pairwise"):
        audits = {
            row.subject: row
            for row in work.recorder.rows(records.Audit, judge_id=judge.id, measure="consistency")
        }
        for candidate in work.plan.candidates:
            for baseline in work.plan.baselines:
                row = audits.get(match_name(candidate.name, baseline.name))
                if row is not None and judge.is_language_model:
                    match = {
                        "judge_id": judge.id,
                        "candidate_id": work.model_ids[candidate.name],
                        "baseline_id": work.model_ids[baseline.name],
                    }
                    figures = (row.value, row.low, row.high)
                    contradicted = _judged(work, match, consistent=False)
                    sides = (judge.name, candidate.name, baseline.name)
                    found.append(JudgeConsistency(*sides, *figures, row.n, contradicted))
    return found


def _effects(work: Work) -> list[AdapterEffect]:
    candidates = {model.name for model in work.plan.candidates}
    return [
        AdapterEffect(row.name, row.probe["max_difference"], row.probe["prompts"])
        for row in work.recorder.rows(records.StoredModel, run_id=work.recorder.run_id)
        if row.name in candidates and row.probe is not None
    ]


def _unread_systems(work: Work) -> dict[str, int]:
    """By model, the prompts that lacked their system text."""
    rows = work.recorder.rows(records.StoredModel, run_id=work.recorder.run_id)
    return {row.name: (row.details or {}).get("unread_system", 0) for row in rows}


def _ends(work: Work) -> dict[str, dict[str, tuple[int, int]]]:
    with opened(work.store) as connection:
        return cut_answers(connection, work.recorder.run_id)


def _compliances(work: Work, summaries: Sequence[Mapping[str, Any]]) -> list[ComplianceRate]:
    names = {work.model_ids[model.name]: model.name for model in work.plan.candidates}
    return [
        ComplianceRate(names[row["model_id"]], row["value"], row["low"], row["high"], row["n"], row["reason"])
        for row in summaries
        if row["measure"] == FORMAT and row["model_id"] in names
    ]
